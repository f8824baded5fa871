"""Integrated slices with their annotations as a SpatialData store (zarr)."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_staligner import _keys as K
from napari_staligner.core.annotations.annotations import Annotations
from napari_staligner.core.annotations.regions import outlines
from napari_staligner.core.prepare.libraries import libraries_of_result
from napari_staligner.core.result.access import record_of
from napari_staligner.core.result.ownership import claim
from napari_staligner.io.annotations.geojson import rows_of_slice, xy_of
from napari_staligner.io.atomic import written_beside
from napari_staligner.io.images import tissue_image

if TYPE_CHECKING:
    from anndata import AnnData
    from spatialdata import SpatialData

ALIGNED = "aligned"
"""Name of the coordinate system that the slices share."""


def write_spatialdata(adata: AnnData, annotations: Annotations, path: Path) -> Path:
    """Write integrated slices as a SpatialData store.

    Each slice has a coordinate system of its own name, in the units of its coordinates, and, where
    it was aligned, a place in the system ``"aligned"``. Its elements are circles (``…_spots``), the
    tissue image (``…_image``), outlines of the annotated classes (``…_regions``) and what was drawn
    (``…_drawn``). The table is the whole result.

    Parameters
    ----------
    adata
        Integrated slices.
    annotations
        Of these spots.
    path
        Folder to write, ``.zarr``; one that is there is replaced when all is written.

    Returns
    -------
    The path.

    Raises
    ------
    InputError
        The folder cannot be written.
    """
    store = to_spatialdata(adata, annotations)
    with written_beside(path) as draft:
        store.write(draft)
    return path


def to_spatialdata(adata: AnnData, annotations: Annotations) -> SpatialData:
    """Return integrated slices as a SpatialData object; see :func:`write_spatialdata`."""
    from spatialdata import SpatialData
    from spatialdata.models import TableModel

    names = [str(name) for name in adata.obs[K.SLICE].cat.categories]
    keys = {name: _element_name(name) for name in names}
    elements: dict[str, Any] = {}
    for name in names:
        elements |= _elements(adata, annotations, name, keys[name])
    table = adata.copy()
    spots = [f"{keys[name]}_spots" for name in names]
    claim(table, "obs", K.ELEMENT, K.INSTANCE)
    table.obs[K.ELEMENT] = adata.obs[K.SLICE].cat.rename_categories(spots)
    table.obs[K.INSTANCE] = _instances(adata)
    table.uns.pop(K.SPATIAL, None)  # the images are elements of their own
    table = TableModel.parse(table, region=spots, region_key=K.ELEMENT, instance_key=K.INSTANCE)
    return SpatialData.init_from_elements({**elements, "table": table})


def _elements(adata: AnnData, annotations: Annotations, name: str, key: str) -> dict[str, Any]:
    import geopandas
    import shapely
    from spatialdata.models import ShapesModel

    from napari_staligner.core.result.access import spot_size

    rows = rows_of_slice(adata, name)
    xy, places = xy_of(adata, rows), _places(adata, name)
    spots = ShapesModel.parse(
        xy,
        geometry=0,
        radius=spot_size(xy) / 2,
        index=np.arange(len(rows)),
        transformations=places,
    )
    elements = {f"{key}_spots": spots}
    regions = outlines(xy, annotations.codes()[rows])
    classes = [annotations.classes[code] for code in regions]
    drawn = [(e, s) for e, s in annotations.shapes if s.slice == name and len(s.xy) > 2]
    frames = {
        "regions": geopandas.GeoDataFrame(
            {
                "annotation": [c.name for c in classes],
                "color": [c.color for c in classes],
                "geometry": list(regions.values()),
            }
        ),
        "drawn": geopandas.GeoDataFrame(
            {
                "what": [edit.what for edit, _ in drawn],
                "how": [edit.how for edit, _ in drawn],
                "who": [edit.who for edit, _ in drawn],
                "when": [edit.when for edit, _ in drawn],
                "geometry": [shapely.Polygon(shape.xy) for _, shape in drawn],
            }
        ),
    }
    for what, frame in frames.items():
        if len(frame):
            elements[f"{key}_{what}"] = ShapesModel.parse(frame, transformations=places)
    return elements | _image(adata, name, key)


def _image(adata: AnnData, name: str, key: str) -> dict[str, Any]:
    from anndata import AnnData
    from spatialdata.models import Image2DModel
    from spatialdata.transformations import Scale, Sequence

    found = tissue_image(AnnData(shape=(0, 0), uns={K.SPATIAL: libraries_of_result(adata, name)}))
    if found is None:
        return {}
    pixels, factor = found
    to_spots = Scale([1 / factor, 1 / factor], axes=("x", "y"))
    places = {system: Sequence([to_spots, t]) for system, t in _places(adata, name).items()}
    image = Image2DModel.parse(
        pixels,
        dims=("y", "x", "c"),
        c_coords=["r", "g", "b", "a"][: pixels.shape[2]],
        transformations=places,
    )
    return {f"{key}_image": image}


def _places(adata: AnnData, name: str) -> dict[str, Any]:
    """Transformations of a slice to its own coordinate system and the common one."""
    from spatialdata.transformations import Affine, Identity

    places: dict[str, Any] = {_element_name(name): Identity()}
    matrix = record_of(adata).get("transforms", {}).get(name)
    if matrix is not None:
        axes = ("x", "y")
        places[ALIGNED] = Affine(np.asarray(matrix, float), input_axes=axes, output_axes=axes)
    return places


def _instances(adata: AnnData) -> np.ndarray:
    """Number of each spot within its slice."""
    numbers = np.zeros(adata.n_obs, dtype=np.int64)
    for name in adata.obs[K.SLICE].cat.categories:
        rows = rows_of_slice(adata, str(name))
        numbers[rows] = np.arange(len(rows))
    return numbers


def _element_name(name: str) -> str:
    """SpatialData takes letters, digits, '_', '-' and '.' in the names of elements."""
    return "".join(c if c.isalnum() or c in "_-." else "_" for c in name)
