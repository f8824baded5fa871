"""Annotated regions as GeoJSON, as QuPath and TissUUmaps write and read it."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal
from uuid import NAMESPACE_URL, uuid5

import numpy as np

from napari_staligner import _keys as K
from napari_staligner._errors import InputError
from napari_staligner.core.annotations.annotations import Annotations
from napari_staligner.core.annotations.classes import Shape
from napari_staligner.core.annotations.regions import inside, library_of, outlines
from napari_staligner.io.atomic import written_beside
from napari_staligner.io.images import tissue_image

if TYPE_CHECKING:
    from anndata import AnnData
    from numpy.typing import NDArray

Coordinates = Literal["spots", "image"]
"""``"spots"`` are those of ``obsm["spatial"]`` (Visium: pixels of the full image); ``"image"``
are pixels of the tissue image in the file."""


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
    names = check_slices(adata, slices)
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


def check_slices(adata: AnnData, slices: Sequence[str] | None) -> list[str]:
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
    factor = _factor(adata, name, coordinates)
    codes = annotations.codes()[rows]
    for code, polygon in outlines(xy_of(adata, rows), codes).items():
        region = annotations.classes[code]
        color = list(bytes.fromhex(region.color.removeprefix("#")[:6]))
        polygon = affinity.scale(polygon, factor, factor, origin=(0, 0))
        yield {
            "type": "Feature",
            # The same region gets the same identifier again, so that QuPath replaces it.
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
) -> int:
    """Give the spots inside the polygons of a file their classes, as one edit.

    Parameters
    ----------
    adata
        Integrated slices.
    annotations
        Gets the classes, for the present annotator; new ones are added. Where polygons lie over
        each other, the later one holds.
    path
        The file.
    slice_name
        Slice of the polygons that name none.
    coordinates
        Of the polygons that do not say; ``None`` means those of the spots.

    Returns
    -------
    How many spots changed.

    Raises
    ------
    InputError
        The file cannot be read, or it is not known which slice it is of.
    """
    import shapely
    from shapely import affinity
    from shapely.geometry import shape

    classes = list(annotations.classes)
    codes = np.full(adata.n_obs, -2, dtype=np.int16)
    drawn: list[Shape] = []
    for number, feature in enumerate(_read_features(path), 1):
        where = f"{path.name!r}, feature {number}"
        try:
            polygon = shapely.make_valid(shape(feature["geometry"]))
        except Exception as error:
            raise InputError(f"{where}: its geometry cannot be read; export it again.") from error
        if polygon.is_empty or not polygon.area:
            continue
        said = feature.get("properties") or {}
        name = str(slice_name or (said.get("metadata") or {}).get("slice") or "")
        name = _slice_meant(adata, name, where)
        space = coordinates or (said.get("metadata") or {}).get("coordinates") or "spots"
        shrink = 1 / _factor(adata, name, space)
        polygon = affinity.scale(polygon, shrink, shrink, origin=(0, 0))
        label, color = _class_of(said, where)
        if all(label != c.name for c in classes):
            classes.append(annotations.new_class(label, classes, color=color))
        rows = rows_of_slice(adata, name)
        code = next(c.id for c in classes if c.name == label)
        codes[rows[inside(polygon, xy_of(adata, rows))]] = code
        drawn += [
            Shape(name, shapely.get_coordinates(part.exterior))
            for part in shapely.get_parts(polygon)
            if part.geom_type == "Polygon"
        ]
    rows = np.flatnonzero(codes > -2)
    what = f"the regions of {path.name}"
    return annotations.put(rows, codes[rows], what, "import", classes=classes, shapes=drawn)


def _read_features(path: Path) -> list[dict[str, Any]]:
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise InputError(f"{str(path)!r} cannot be read ({error.strerror}).") from error
    except ValueError as error:
        raise InputError(
            f"{str(path)!r} is no GeoJSON ({error}): export it again from QuPath or TissUUmaps."
        ) from error
    # QuPath writes a collection, a bare list or one feature, as the user chose.
    if isinstance(content, dict):
        content = content.get("features", [content])
    features = [f for f in content if isinstance(f, dict) and f.get("geometry")]
    if not features:
        raise InputError(f"{str(path)!r} holds no region: export annotations as GeoJSON.")
    return features


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


def _class_of(said: dict[str, Any], where: str) -> tuple[str, str]:
    """Name and hex colour of a feature's class."""
    given = said.get("classification") or {}
    label = str(given.get("name") or said.get("name") or "").strip()
    if not label:
        raise InputError(f"{where}: it has neither a classification nor a name; give it one.")
    color = given.get("color") or said.get("color")
    packed = given.get("colorRGB")
    if color is None and packed is not None:
        # Java's packed colour, as QuPath wrote it until 0.3.
        color = [int(packed) >> shift & 255 for shift in (16, 8, 0)]
    return label, "" if color is None else "#{:02x}{:02x}{:02x}".format(*map(int, color))


def _factor(adata: AnnData, name: str, coordinates: str) -> float:
    """Take coordinates of the spots to the wanted ones by this factor."""
    from anndata import AnnData

    if coordinates != "image":
        return 1.0
    image = tissue_image(AnnData(shape=(0, 0), uns={K.SPATIAL: library_of(adata, name)}))
    if image is None:
        raise InputError(
            f"Slice {name!r} has no tissue image in uns['spatial']: "
            "use the coordinates of its spots."
        )
    return image[1]


def rows_of_slice(adata: AnnData, name: str) -> NDArray[np.intp]:
    """Rows of integrated slices that belong to one of them."""
    return np.flatnonzero((adata.obs[K.SLICE] == name).to_numpy())


def xy_of(adata: AnnData, rows: NDArray[np.intp]) -> NDArray[np.float64]:
    """Coordinates of some spots as they came, float64, shape (rows, 2)."""
    return np.asarray(adata.obsm[K.SPATIAL], dtype=np.float64)[rows, :2]
