"""Annotated regions as GeoJSON, for QuPath and TissUUmaps."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal
from uuid import NAMESPACE_URL, uuid5

import numpy as np

from napari_staligner import _keys as K
from napari_staligner._errors import InputError
from napari_staligner.core.annotations.annotations import Annotations
from napari_staligner.core.annotations.classes import Shape
from napari_staligner.core.annotations.regions import inside, outlines
from napari_staligner.core.prepare.libraries import libraries_of_result
from napari_staligner.core.registration.transforms import inverse
from napari_staligner.core.result.access import spots_xy
from napari_staligner.io.annotations.feature_classes import (
    class_of,
    metadata_of,
    properties_of,
    read_features,
)
from napari_staligner.io.annotations.imported import Imported
from napari_staligner.io.atomic import written_beside
from napari_staligner.io.images import image_matrix

if TYPE_CHECKING:
    from anndata import AnnData
    from numpy.typing import NDArray

Coordinates = Literal["spots", "image"]
"""``"spots"`` are those of ``obsm["spatial"]`` (Visium: pixels of the full image); ``"image"``
are pixels of the tissue image in the file."""

UNCLASSIFIED = "Unclassified"
"""Class of the regions of a file without any classes."""


def write_geojson(
    adata: AnnData,
    annotations: Annotations,
    path: Path,
    *,
    slices: Sequence[str] | None = None,
    coordinates: Coordinates = "spots",
) -> int:
    """Write the outline of each class on each slice.

    Parameters
    ----------
    adata
        Integrated slices.
    annotations
        Of these spots; those of the present annotator are written.
    path
        Target.
    slices
        Which; ``None`` takes all.
    coordinates
        Of the outlines.

    Returns
    -------
    The number of outlines.

    Raises
    ------
    InputError
        Nothing is annotated, a slice is unknown or has no image, or the file cannot be written.
    """
    names = chosen_slices(adata, slices)
    features = [f for name in names for f in _features(adata, annotations, name, coordinates)]
    if not features:
        raise InputError(
            f"No spot of {', '.join(map(repr, names))} is annotated by "
            f"{annotations.annotator!r}: annotate some first."
        )
    with written_beside(path) as draft:
        draft.write_text(
            json.dumps({"type": "FeatureCollection", "features": features}), encoding="utf-8"
        )
    return len(features)


def chosen_slices(adata: AnnData, slices: Sequence[str] | None) -> list[str]:
    """Return the slices that are meant.

    Raises
    ------
    InputError
        There is no such slice.
    """
    known = [str(name) for name in adata.obs[K.SLICE].cat.categories]
    for name in slices or ():
        if name not in known:
            raise InputError(
                f"There is no slice {name!r}: choose one of {', '.join(map(repr, known))}."
            )
    return known if slices is None else list(slices)


def _features(
    adata: AnnData, annotations: Annotations, name: str, coordinates: Coordinates
) -> Iterator[dict[str, Any]]:
    from shapely import affinity
    from shapely.geometry import mapping

    rows = rows_of_slice(adata, name)
    place = _place(adata, name, coordinates)
    codes = annotations.codes()[rows]
    for code, polygon in outlines(xy_of(adata, rows), codes).items():
        region = annotations.classes[code]
        color = list(bytes.fromhex(region.color.removeprefix("#")[:6]))
        polygon = affinity.affine_transform(polygon, _six(inverse(place)))
        yield {
            "type": "Feature",
            # The same region gets the same identifier each time, so that QuPath replaces it.
            "id": str(uuid5(NAMESPACE_URL, f"{name}/{region.name}")),
            "geometry": mapping(polygon),
            "properties": {
                "objectType": "annotation",
                "name": f"{name} {region.name}",
                "color": color,
                "classification": {"name": region.name, "color": color},
                "isLocked": False,
                "metadata": {"slice": name, "coordinates": coordinates},
            },
        }


def read_geojson(
    adata: AnnData,
    annotations: Annotations,
    path: Path,
    *,
    slice_name: str | None = None,
    coordinates: Coordinates | None = None,
) -> Imported:
    """Give the spots inside the polygons of a file their classes, as one edit.

    Parameters
    ----------
    adata
        Integrated slices.
    annotations
        Gets the classes, for the present annotator; new ones are added. Where polygons overlap,
        the later one counts.
    path
        The file.
    slice_name
        Slice of the polygons that name none.
    coordinates
        Of the polygons that do not say; ``None`` means those of the spots.

    Returns
    -------
    How many spots changed, and what was left out. Regions without a class are left out if others
    have one; if none has, all get the class ``"Unclassified"``.

    Raises
    ------
    InputError
        The file cannot be read, its slice is not known, or no region holds a spot.
    """
    regions, notes = _regions(adata, path, slice_name, coordinates)
    classes = list(annotations.classes)
    codes = np.full(adata.n_obs, -2, dtype=np.int16)
    for region in regions:
        if all(region.label != c.name for c in classes):
            classes.append(annotations.new_class(region.label, classes, color=region.color))
        rows = rows_of_slice(adata, region.slice)
        code = next(c.id for c in classes if c.name == region.label)
        codes[rows[inside(region.polygon, xy_of(adata, rows))]] = code
    rows = np.flatnonzero(codes > -2)
    if not len(rows):
        raise InputError(_beside(adata, path, regions))
    what = f"the regions of {path.name}"
    drawn = [shape for region in regions for shape in region.shapes()]
    n = annotations.put(rows, codes[rows], what, "import", classes=classes, shapes=drawn)
    return Imported(n, tuple(notes))


@dataclass(frozen=True)
class _Region:
    """A region of a file, in the coordinates of the spots; no label where it has no class."""

    polygon: Any
    slice: str
    label: str
    color: str

    def shapes(self) -> list[Shape]:
        import shapely

        return [
            Shape(self.slice, shapely.get_coordinates(part.exterior))
            for part in _polygons(self.polygon)
        ]


def _regions(
    adata: AnnData, path: Path, slice_name: str | None, coordinates: Coordinates | None
) -> tuple[list[_Region], list[str]]:
    """Regions of a file that have an area and a class, and notes on the others."""
    import shapely
    from shapely import affinity
    from shapely.geometry import shape

    found, without_area = [], 0
    for number, feature in enumerate(read_features(path), 1):
        where = f"{path.name!r}, feature {number}"
        try:
            geometry = shapely.make_valid(shape(feature["geometry"]))
        except Exception as error:
            raise InputError(f"{where}: its geometry cannot be read; export it again.") from error
        polygon = shapely.union_all(_polygons(geometry))
        if polygon.is_empty or not polygon.area:
            without_area += 1
            continue
        said = properties_of(feature)
        meta = metadata_of(said)
        name = _slice_meant(adata, str(slice_name or meta.get("slice") or ""), where)
        place = _place(adata, name, coordinates or meta.get("coordinates") or "spots")
        polygon = affinity.affine_transform(polygon, _six(place))
        found.append(_Region(polygon, name, *class_of(said)))
    notes = []
    if without_area:
        notes.append(
            f"{path.name!r}: {without_area:,} of its features are points or lines, without an "
            "area; they are left out."
        )
    if not found:
        raise InputError(f"{str(path)!r} holds no region with an area: export polygons.")
    unnamed = sum(not region.label for region in found)
    if unnamed == len(found):
        notes.append(
            f"{path.name!r}: its regions have neither a classification nor a name: "
            f"they are of the class {UNCLASSIFIED!r}."
        )
        return [replace(region, label=UNCLASSIFIED) for region in found], notes
    if unnamed:
        notes.append(
            f"{path.name!r}: {unnamed:,} of {len(found):,} regions have neither a classification "
            "nor a name; they are left out."
        )
    return [region for region in found if region.label], notes


def _polygons(geometry: Any) -> list[Any]:
    if geometry.geom_type == "Polygon":
        return [geometry]
    return [p for part in getattr(geometry, "geoms", ()) for p in _polygons(part)]


def _beside(adata: AnnData, path: Path, regions: Sequence[_Region]) -> str:
    """Say that no spot lies in any region."""
    name = regions[0].slice
    low, high = np.reshape(regions[0].polygon.bounds, (2, 2))
    xy = xy_of(adata, rows_of_slice(adata, name))
    theirs, ours = (
        f"x {a[0]:g} to {b[0]:g}, y {a[1]:g} to {b[1]:g}"
        for a, b in ((low, high), (xy.min(axis=0), xy.max(axis=0)))
    )
    return (
        f"{path.name!r}: no spot lies in any of its {len(regions):,} regions (the first is at "
        f"{theirs}; the spots of {name!r} are at {ours}): check the slice, and whether its "
        "coordinates are pixels of the tissue image (--coordinates image)."
    )


def _slice_meant(adata: AnnData, name: str, where: str) -> str:
    known = [str(s) for s in adata.obs[K.SLICE].cat.categories]
    if name in known:
        return name
    if not name and len(known) == 1:
        return known[0]
    raise InputError(
        f"{where}: it is not known which slice it lies on"
        + (f" (it says {name!r})" if name else "")
        + f": name one of {', '.join(map(repr, known))}."
    )


def _place(adata: AnnData, name: str, coordinates: str) -> NDArray[np.float64]:
    """Matrix from the coordinates of a file to those of the spots, shape (3, 3)."""
    if coordinates != "image":
        return np.eye(3)
    libraries = libraries_of_result(adata, name).values()
    place = next((image_matrix(library) for library in libraries), None)
    if place is None:
        raise InputError(
            f"Slice {name!r} has no tissue image in uns['spatial']: "
            "use the coordinates of its spots."
        )
    return place


def _six(matrix: NDArray[np.float64]) -> list[float]:
    """A matrix as shapely wants it."""
    return [*matrix[:2, :2].ravel(), *matrix[:2, 2]]


def rows_of_slice(adata: AnnData, name: str) -> NDArray[np.intp]:
    """Rows of integrated slices that belong to one of them."""
    return np.flatnonzero((adata.obs[K.SLICE] == name).to_numpy())


def xy_of(adata: AnnData, rows: NDArray[np.intp]) -> NDArray[np.float64]:
    """Original coordinates of some spots, float64, shape (rows, 2)."""
    return spots_xy(adata)[rows]
