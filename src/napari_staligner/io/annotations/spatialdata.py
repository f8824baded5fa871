"""Spots, tissue image and annotated regions of a slice as elements of SpatialData."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_staligner.core.annotations.regions import outlines
from napari_staligner.core.prepare.image_move import image_move
from napari_staligner.core.prepare.libraries import libraries_of_result
from napari_staligner.core.result.access import record_of
from napari_staligner.io.annotations.geojson import rows_of_slice, xy_of
from napari_staligner.io.images import own_image

if TYPE_CHECKING:
    from anndata import AnnData

    from napari_staligner.core.annotations.annotations import Annotations

ALIGNED = "aligned"
"""Name of the coordinate system that the slices share."""


def elements_of(adata: AnnData, annotations: Annotations, name: str, key: str) -> dict[str, Any]:
    """Return the elements of a slice.

    Parameters
    ----------
    adata
        Integrated slices.
    annotations
        Of these spots.
    name
        Of the slice.
    key
        Name of its elements and its coordinate system; see :func:`element_names`.

    Returns
    -------
    By name: circles (``…_spots``), the tissue image (``…_image``), outlines of the annotated
    classes (``…_regions``) and what was drawn (``…_drawn``).
    """
    import geopandas
    import shapely
    from spatialdata.models import ShapesModel

    from napari_staligner.core.result.access import spot_size

    rows = rows_of_slice(adata, name)
    xy, places = xy_of(adata, rows), _places(adata, name, key)
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
    from spatialdata.models import Image2DModel
    from spatialdata.transformations import Affine, Scale, Sequence

    libraries = libraries_of_result(adata, name).values()
    library: Mapping[str, Any] = next(iter(libraries), {})
    found, move = own_image(library), image_move(library)
    if found is None:
        return {}
    pixels, factor = found
    axes = ("x", "y")
    to_spots: list[Any] = [Scale([1 / factor, 1 / factor], axes=axes)]
    if not np.array_equal(move, np.eye(3)):
        to_spots.append(Affine(move, input_axes=axes, output_axes=axes))
    places = {system: Sequence([*to_spots, t]) for system, t in _places(adata, name, key).items()}
    image = Image2DModel.parse(
        pixels,
        dims=("y", "x", "c"),
        c_coords=["r", "g", "b", "a"][: pixels.shape[2]],
        transformations=places,
    )
    return {f"{key}_image": image}


def _places(adata: AnnData, name: str, key: str) -> dict[str, Any]:
    """Transformations from a slice to its own coordinate system and to the common one."""
    from spatialdata.transformations import Affine, Identity

    places: dict[str, Any] = {key: Identity()}
    matrix = record_of(adata).get("transforms", {}).get(name)
    if matrix is not None:
        axes = ("x", "y")
        places[ALIGNED] = Affine(np.asarray(matrix, float), input_axes=axes, output_axes=axes)
    return places


def element_names(names: Iterable[str]) -> dict[str, str]:
    """Names of the elements of slices: SpatialData accepts only letters, digits and ``_-.``.

    No two are the same, even if case is ignored.
    """
    found: dict[str, str] = {}
    for name in names:
        plain = "".join(c if c.isalnum() or c in "_-." else "_" for c in name).lstrip("_.")
        free, number = plain or "slice", 2
        while free.lower() in {key.lower() for key in found.values()}:
            free, number = f"{plain or 'slice'}_{number}", number + 1
        found[name] = free
    return found
