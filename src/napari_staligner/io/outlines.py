"""Outlines of the cells of a slice: where they are, and which spot each belongs to."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from napari_staligner._errors import InputError
from napari_staligner.core.prepare.libraries import named_values, own_library
from napari_staligner.core.progress import Progress
from napari_staligner.core.registration.transforms import apply
from napari_staligner.core.result.access import spots_xy
from napari_staligner.io.formats.rims import count_rims, read_rims
from napari_staligner.io.masks import open_masks

if TYPE_CHECKING:
    from anndata import AnnData
    from numpy.typing import NDArray

    from napari_staligner.core.progress import Steps

OUTLINES, OUTLINES_MATRIX = "cell_outlines_path", "cell_outlines_matrix"
"""In ``metadata`` of a library: file or element with the outlines, and its place, float64, shape
(3, 3): from its (x, y, 1) to those of the spots; the units of the spots if it is absent."""
OUTLINES_KEY = "cell_outlines_key"
"""In ``metadata`` of a library: column of ``obs`` with the names of the cells, or their numbers in
the mask; absent where these are the names of the spots."""
_LEAST_INSIDE = 0.5
"""If fewer cells lie in their own outline, it is said: the outlines lie in other coordinates."""


@dataclass(frozen=True)
class CellShapes:
    """Where the outlines of the cells of a slice are.

    Parameters
    ----------
    path
        File or element.
    matrix
        From its (x, y, 1) to those of the spots, float64, shape (3, 3).
    key
        Column of ``obs`` with names or numbers of the cells; empty for the names of the spots.
    """

    path: Path
    matrix: NDArray[np.float64] = field(repr=False)
    key: str = ""

    @property
    def are_masks(self) -> bool:
        """Whether it is an image with a number for each cell, as labels of SpatialData are."""
        return self.path.parent.name == "labels"


@dataclass(frozen=True)
class Outlines:
    """Outlines of the cells of a slice, as closed lines.

    Parameters
    ----------
    corners
        (x, y) of all corners in the units of the spots, float32, shape (corners, 2).
    starts
        Where each line begins, and the end of the last one, shape (lines + 1,).
    rows
        Row of its spot in the slice, shape (lines,).
    notes
        Sentences on what was left out or looks wrong.
    """

    corners: NDArray[np.float32] = field(repr=False)
    starts: NDArray[np.intp] = field(repr=False)
    rows: NDArray[np.intp] = field(repr=False)
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class Masks:
    """Cells of a slice as an image of whole numbers.

    Parameters
    ----------
    levels
        Arrays of dask, the finest first, shape (height, width).
    matrix
        From (column, row, 1) of the finest to (x, y, 1) of the spots, float64, shape (3, 3).
    numbers
        Number of the cell of each spot, int64, shape (spots,); 0 where it has none.
    """

    levels: tuple[Any, ...] = field(repr=False)
    matrix: NDArray[np.float64] = field(repr=False)
    numbers: NDArray[np.int64] = field(repr=False)


def outlines_metadata(
    path: Path, matrix: NDArray[np.float64] | None = None, key: str = ""
) -> dict[str, Any]:
    """Return what ``metadata`` of a library tells of outlines; see :data:`OUTLINES`."""
    told: dict[str, Any] = {OUTLINES: str(path.resolve())}
    if matrix is not None:
        told[OUTLINES_MATRIX] = np.asarray(matrix, dtype=np.float64)
    return told | ({OUTLINES_KEY: key} if key else {})


def cell_shapes(library: Mapping[str, Any]) -> CellShapes | None:
    """Return where a slice came with outlines of its cells; ``None`` if it did not.

    Parameters
    ----------
    library
        The slice's own part of ``uns["spatial"]``.
    """
    told = library.get("metadata")
    if not isinstance(told, Mapping) or not told.get(OUTLINES):
        return None
    matrix = told.get(OUTLINES_MATRIX)
    place = np.eye(3) if matrix is None else np.asarray(matrix, dtype=np.float64).reshape(3, 3)
    return CellShapes(Path(str(told[OUTLINES])), place, str(told.get(OUTLINES_KEY, "")))


def shapes_of(adata: AnnData, name: str) -> CellShapes | None:
    """Return where the outlines of the cells of a slice are; ``None`` if it has none."""
    library = own_library(adata, name)
    return None if library is None else cell_shapes(library[1])


def outlines_text(shapes: CellShapes | None, n_spots: int) -> str:
    """Say in a few words which outlines there are; empty without any.

    Parameters
    ----------
    shapes
        Where they are.
    n_spots
        Of the slice.
    """
    if shapes is None:
        return ""
    if not shapes.path.exists():
        return f"not there any more: {str(shapes.path)!r}"
    if shapes.are_masks:
        return f"of {n_spots:,} cells, as masks ({shapes.path.name})"
    try:
        return f"of {count_rims(shapes.path):,} cells ({shapes.path.name})"
    except InputError as error:
        return f"none: {str(error).rstrip('.')}"


def read_outlines(name: str, adata: AnnData) -> Outlines | Masks:
    """Read the outlines of the cells of a slice.

    Parameters
    ----------
    name
        Of the slice.
    adata
        The slice; reads its own library of ``uns["spatial"]``, ``obsm["spatial"]``, and the names
        of the spots or the column of ``obs`` that the library tells.

    Returns
    -------
    Lines, or masks where a SpatialData store holds labels. Outlines without a spot are left out.

    Raises
    ------
    InputError
        The slice came without outlines, they cannot be read, or none is of its spots.
    """
    shapes = shapes_of(adata, name)
    if shapes is None:
        raise InputError(
            f"Slice {name!r} came without outlines of cells: open the folder of Xenium, MERSCOPE "
            "or CosMx that holds them, or a SpatialData store."
        )
    if not shapes.path.exists():
        raise InputError(
            f"The outlines of slice {name!r} are not at {str(shapes.path)!r} any more: put them "
            "back, or go on without them."
        )
    names = _names(name, adata, shapes)
    if shapes.are_masks:
        levels = open_masks(shapes.path)
        return Masks(levels, shapes.matrix, _numbers(names, linked=bool(shapes.key)))
    return _outlines(name, shapes, names, spots_xy(adata))


def _names(name: str, adata: AnnData, shapes: CellShapes) -> NDArray[np.object_]:
    """Name of the cell of each spot, as the outlines tell it."""
    if not shapes.key:
        return adata.obs_names.to_numpy(dtype=object)
    if shapes.key not in adata.obs:
        raise InputError(
            f"Slice {name!r} has no obs[{shapes.key!r}] any more, which names the cells of its "
            "outlines: open it again from its own file."
        )
    return named_values(adata.obs[shapes.key]).to_numpy(dtype=object)


def _numbers(names: NDArray[np.object_], *, linked: bool) -> NDArray[np.int64]:
    if not linked:
        return np.zeros(len(names), dtype=np.int64)
    numbers = pd.to_numeric(pd.Series(names), errors="coerce").fillna(0)
    return numbers.to_numpy(dtype=np.int64)


def _outlines(
    name: str, shapes: CellShapes, names: NDArray[np.object_], xy: NDArray[np.float64]
) -> Outlines:
    rims = read_rims(shapes.path)
    rows = pd.Index(names).get_indexer(pd.Index(rims.names)).astype(np.intp)
    sizes = np.diff(rims.starts)
    kept = (rows >= 0) & (sizes > 2)
    if not kept.any():
        some = ", ".join(map(repr, rims.names[:2])) or "none"
        raise InputError(
            f"No outline in {str(shapes.path)!r} ({some}) is of a spot of slice {name!r} "
            f"({str(names[0])!r}): give the outlines of the same sample."
        )
    corners = apply(shapes.matrix, rims.corners[np.repeat(kept, sizes)])
    starts = np.append(0, np.cumsum(sizes[kept])).astype(np.intp)
    made = Outlines(corners.astype(np.float32), starts, rows[kept])
    lost = len(set(rims.names[rows < 0]))
    notes = [f"Slice {name!r}: {lost:,} outlines without a spot are left out."] if lost else []
    return Outlines(made.corners, starts, made.rows, (*notes, *_misplaced(name, made, xy)))


def _misplaced(name: str, made: Outlines, xy: NDArray[np.float64]) -> list[str]:
    """Say if most cells do not lie where their outlines are."""
    low = np.minimum.reduceat(made.corners, made.starts[:-1])
    high = np.maximum.reduceat(made.corners, made.starts[:-1])
    at = xy[made.rows]
    inside = float(((at >= low) & (at <= high)).all(axis=1).mean())
    if inside >= _LEAST_INSIDE:
        return []
    return [
        f"Slice {name!r}: only {inside:.0%} of its cells lie within their own outline, so these "
        "are in other coordinates than the cells: do not judge by them."
    ]


@dataclass(frozen=True)
class OutlinesFound:
    """What was read of several slices.

    Parameters
    ----------
    held
        Outlines by slice.
    problems
        Sentences on those that could not be read.
    """

    held: Mapping[str, Outlines | Masks] = field(default_factory=dict)
    problems: tuple[str, ...] = ()


@dataclass(frozen=True)
class OutlinesJob:
    """What reading outlines needs of slices, copied.

    Parameters
    ----------
    slices
        Name and a light table of each.
    """

    slices: tuple[tuple[str, AnnData], ...]

    def steps(self) -> Steps[OutlinesFound]:
        """Read them; those that cannot be read are told of."""
        held: dict[str, Outlines | Masks] = {}
        problems: list[str] = []
        for done, (name, adata) in enumerate(self.slices):
            yield Progress(f"reading outlines of {name}", done, len(self.slices))
            try:
                held[name] = found = read_outlines(name, adata)
            except InputError as error:
                problems.append(str(error))
                continue
            problems += found.notes if isinstance(found, Outlines) else ()
        return OutlinesFound(held, tuple(problems))


def outlines_job(slices: Mapping[str, AnnData]) -> OutlinesJob:
    """Copy what reading outlines needs: names, places and libraries, no counts.

    Parameters
    ----------
    slices
        Slices that came with outlines, by name.
    """
    from anndata import AnnData

    from napari_staligner import _keys as K

    light = []
    for name, adata in slices.items():
        library = own_library(adata, name)
        own = {} if library is None else {library[0]: {"metadata": library[1].get("metadata", {})}}
        table = AnnData(
            obs=adata.obs.copy(),
            obsm={K.SPATIAL: spots_xy(adata).copy()},
            uns={K.SPATIAL: {key: {"images": {}, **each} for key, each in own.items()}},
        )
        light.append((name, table))
    return OutlinesJob(tuple(light))
