"""What napari needs to show a slice: its layers as plain tuples, without napari."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from napari_staligner import _keys as K
from napari_staligner.core.palette import categorical_colors, to_rgba
from napari_staligner.core.prepare.on_disk import named_layers
from napari_staligner.core.result.access import spot_size, spots_xy
from napari_staligner.io.images import tissue_image
from napari_staligner.io.session_file import Content

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from anndata import AnnData
    from numpy.typing import NDArray

    LayerData = tuple[Any, dict[str, Any], str]

IMAGE_NAME = "{} image"
"""Name of the image layer of a slice; its spots bear the slice's name."""
NO_VALUE = (0.6, 0.6, 0.6, 0.6)
"""RGBA of a spot without a value."""


def image_layer(name: str, adata: AnnData) -> LayerData | None:
    """Layer data of the tissue image of a slice, or ``None`` if it has none.

    The image is scaled so that the world's unit is that of the spots: coordinate (x, y) lies at
    (row, column) = (y, x).
    """
    found = tissue_image(adata)
    if found is None:
        return None
    image, factor = found
    options = {
        "name": IMAGE_NAME.format(name),
        "rgb": True,
        "scale": (1 / factor, 1 / factor),
        "metadata": {K.LAYER_ROLE: "image", K.LAYER_SLICE: name},
    }
    return image, options, "image"


def spots_layer(
    name: str,
    adata: AnnData,
    colors: NDArray[np.float32],
    *,
    result: AnnData | None = None,
    path: Path | None = None,
    view: str = "",
) -> LayerData:
    """Layer data of the spots of a slice.

    Parameters
    ----------
    name
        Name of the slice.
    adata
        The slice.
    colors
        RGBA of all spots, shape (4,), or of each, shape (spots, 4).
    result
        The result that the slice comes from, if it was read from one.
    path
        The file of that result.
    view
        What was looked at when the session of the slice was saved, JSON.
    """
    xy = spots_xy(adata)
    metadata = {
        K.LAYER_ROLE: "spots",
        K.LAYER_SLICE: name,
        K.LAYER_ADATA: adata,
        **_spatialdata_keys(name, adata),
    }
    if result is not None:
        metadata |= {K.LAYER_RESULT: result, K.LAYER_PATH: path}
    if view:
        metadata[K.LAYER_VIEW] = view
    options = {
        "name": name,
        "size": spot_size(xy),
        "border_width": 0,
        "face_color": np.broadcast_to(colors, (len(xy), 4)).copy(),
        "metadata": metadata,
    }
    return xy[:, ::-1].copy(), options, "points"


def slice_layers(slices: Sequence[tuple[str, AnnData]]) -> list[LayerData]:
    """Layer data of several slices, each in a colour of its own, image below spots."""
    return content_layers(Content(list(slices)))


def content_layers(content: Content) -> list[LayerData]:
    """Layer data of what was read from a file.

    Parameters
    ----------
    content
        Slices; with a result they are coloured by domain and carry it, and so they do the view.
    """
    layers = []
    result = content.result
    slice_colors = to_rgba(categorical_colors(len(content.slices)))
    domain_colors = None if result is None else _domain_rgba(result)
    for (name, adata), color in zip(content.slices, slice_colors, strict=True):
        image = image_layer(name, adata)
        layers += [image] if image is not None else []
        rows = None if result is None else (result.obs[K.SLICE] == name).to_numpy()
        if result is None or domain_colors is None or rows is None or not rows.any():
            layers.append(spots_layer(name, adata, color, view=content.view))
            continue
        layers.append(
            spots_layer(
                name,
                adata,
                domain_colors[rows],
                result=result,
                path=content.path,
                view=content.view,
            )
        )
    return layers


def _domain_rgba(result: AnnData) -> NDArray[np.float32]:
    """RGBA of the domain of each row; of the slice, where there are no domains."""
    key = K.DOMAIN if K.DOMAIN in result.obs else K.SLICE
    column = result.obs[key]
    names = column.cat.categories
    colors = result.uns.get(f"{key}_colors", categorical_colors(len(names)))
    table = np.vstack([to_rgba(list(colors)), np.array([NO_VALUE], dtype=np.float32)])
    return table[column.cat.codes.to_numpy()]


def _spatialdata_keys(name: str, adata: AnnData) -> dict[str, Any]:
    """Metadata by which the widgets of napari-spatialdata list a table and colour by it.

    The keys of a table that annotates an element of a SpatialData object are ``None``: with a name
    in ``table_names`` they would look for the object, and there is none.
    """
    return {
        K.LAYER_TABLE: _table(name, adata),
        "name": name,
        "region_key": None,
        "instance_key": None,
        "table_names": None,
        "_n_indices": adata.n_obs,
        "indices": list(range(adata.n_obs)),
        "_columns_df": None,
    }


def _table(name: str, adata: AnnData) -> AnnData:
    """A slice as a table of SpatialData: each spot is an instance in the region of its slice.

    What that needs in ``obs`` and ``uns`` stays out of the slice itself.
    """
    from anndata import AnnData
    from pandas import Categorical

    obs = adata.obs.copy(deep=False)
    obs[K.ELEMENT] = Categorical([name] * adata.n_obs)
    obs[K.INSTANCE] = np.arange(adata.n_obs)
    # As they come from a file; scanpy keeps lists.
    uns = {k: np.asarray(v) if k.endswith("_colors") else v for k, v in adata.uns.items()}
    attributes = {"region": name, "region_key": K.ELEMENT, "instance_key": K.INSTANCE}
    return AnnData(
        adata.X,
        obs=obs,
        var=adata.var,
        obsm=dict(adata.obsm),
        layers=named_layers(adata),
        uns=uns | {"spatialdata_attrs": attributes},
    )
