"""What napari needs to show a slice: its layers as plain tuples, without napari."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from napari_staligner import _keys as K
from napari_staligner.core.prepare.on_disk import named_layers
from napari_staligner.core.result.access import spot_size, spots_xy
from napari_staligner.io.images import shown_picture
from napari_staligner.io.scans import SHOWN, channel_colors, contrast_limits
from napari_staligner.io.session_file import Content
from napari_staligner.layers.colors import paint
from napari_staligner.layers.layouts import to_napari
from napari_staligner.session import Session

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from anndata import AnnData
    from numpy.typing import NDArray

    from napari_staligner.io.scans import Scan

    LayerData = tuple[Any, dict[str, Any], str]

IMAGE_NAME = "{} image"
"""Name of the image layer of a slice; its spots layer has the slice's name."""
CHANNEL_NAME = "{} {}"
"""Name of the layer of a channel."""


def image_layers(name: str, adata: AnnData) -> list[LayerData]:
    """Layer data of the tissue image of a slice: one layer of colours, or one for each channel.

    The image is placed in the units of the spots: coordinate (x, y) lies at (row, column) =
    (y, x). An image of full size is a pyramid, of which napari reads what it shows.
    """
    picture = shown_picture(adata)
    if picture is None:
        return []
    scan = picture.scan
    matrix = to_napari(picture.own)
    straight = matrix[0, 0] > 0 and np.allclose(matrix, np.diag([*matrix[[0, 1], [0, 1]], 1.0]))
    options: dict[str, Any] = {"multiscale": len(scan.levels) > 1}
    if straight:
        options["scale"] = (matrix[0, 0], matrix[1, 1])
    own = np.eye(3) if straight else matrix
    place = image_layer_place(own, picture.move)
    if place is not None:
        options["affine"] = place
    metadata = {K.LAYER_SLICE: name, K.LAYER_PLACE: place, K.LAYER_OWN_PLACE: own}
    return [
        (data, {**options, **look, "metadata": {**metadata, **look["metadata"]}}, "image")
        for data, look in _looks(name, scan)
    ]


def image_layer_place(own: NDArray[np.float64], move: NDArray[np.float64]) -> Any:
    """Where the layer of an image lies in its slice, as its ``metadata`` says.

    Parameters
    ----------
    own
        Its place as it came, after the scale of the layer, shape (3, 3), in (y, x, 1).
    move
        Where it was moved to, shape (3, 3), in (x, y, 1).

    Returns
    -------
    Shape (3, 3), in (y, x, 1); ``None`` if the scale says all.
    """
    place = to_napari(move) @ own
    return None if np.array_equal(place, np.eye(3)) else place


def _looks(name: str, scan: Scan) -> Iterator[tuple[Any, dict[str, Any]]]:
    """Pixels and looks of each layer of an image, the lowest first."""
    levels = [*scan.levels[:-1], scan.overview]
    if not scan.channels:
        metadata = {K.LAYER_ROLE: K.Role.IMAGE}
        data = levels if len(levels) > 1 else levels[0]
        yield data, {"name": IMAGE_NAME.format(name), "rgb": True, "metadata": metadata}
        return
    colors, limits = channel_colors(scan.channels), contrast_limits(scan)
    for number, channel in enumerate(scan.channels):
        planes = [level[number] for level in levels]
        look = {
            "name": CHANNEL_NAME.format(name, channel),
            "colormap": colors[number],
            "contrast_limits": limits[number],
            # The lowest layer covers what is below it; the others add their light.
            "blending": "additive",
            "visible": number < SHOWN,
            "metadata": {K.LAYER_ROLE: image_role(number), K.LAYER_CHANNEL: channel},
        }
        yield (planes if len(planes) > 1 else planes[0]), look


def image_role(number: int) -> str:
    """Role of the layer of a channel; the first is that of images in colours."""
    return f"{K.Role.IMAGE} {number + 1}" if number else str(K.Role.IMAGE)


def image_roles(roles: Iterable[str]) -> list[str]:
    """Roles of all layers of a tissue image among these, the lowest first."""
    return [role for role in roles if role.split()[0] == K.Role.IMAGE]


def spots_layer(name: str, adata: AnnData, colors: NDArray[np.float32]) -> LayerData:
    """Layer data of the spots of a slice.

    Parameters
    ----------
    name
        Name of the slice.
    adata
        The slice.
    colors
        RGBA of all spots, shape (4,), or of each, shape (spots, 4).
    """
    xy = spots_xy(adata)
    metadata = {
        K.LAYER_ROLE: K.Role.SPOTS,
        K.LAYER_SLICE: name,
        K.LAYER_ADATA: adata,
        **_spatialdata_keys(name, adata),
    }
    options = {
        "name": name,
        "size": spot_size(xy),
        "border_width": 0,
        "face_color": np.broadcast_to(colors, (len(xy), 4)).copy(),
        "metadata": metadata,
    }
    return xy[:, ::-1].copy(), options, "points"


def slice_layers(slices: Sequence[tuple[str, AnnData]]) -> list[LayerData]:
    """Layer data of several slices, each in its own colour, image below spots."""
    return content_layers(Content(list(slices)))


def content_layers(content: Content) -> list[LayerData]:
    """Layer data of what was read from a file, image below spots, as a session shows it.

    Parameters
    ----------
    content
        Slices, and a result and a view if there are any. The last layer carries it to the session.
    """
    session = Session()
    session.open(content)
    painting = paint(session)
    layers = []
    for name, adata in session.slices.items():
        layers += image_layers(name, adata)
        layers.append(spots_layer(name, adata, painting.rgba[name]))
    if layers:
        layers[-1][1]["metadata"][K.LAYER_CONTENT] = content
    return layers


def _spatialdata_keys(name: str, adata: AnnData) -> dict[str, Any]:
    """Metadata that lets the widgets of napari-spatialdata list a table and colour by it.

    The keys for a table that annotates an element of a SpatialData object are ``None``: with a name
    in ``table_names`` the widgets would look for the object, and there is none.
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
    """A slice as a SpatialData table: each spot is an instance in the region of its slice.

    The columns and ``uns`` entries for this are not added to the slice itself.
    """
    from anndata import AnnData
    from pandas import Categorical

    obs = adata.obs.copy(deep=False)
    obs[K.ELEMENT] = Categorical([name] * adata.n_obs)
    obs[K.INSTANCE] = np.arange(adata.n_obs)
    # Arrays, as if read from a file; scanpy stores lists.
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
