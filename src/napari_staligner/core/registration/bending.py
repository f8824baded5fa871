"""What the smooth last step of a registration does: area changes of the spots, and a bent grid."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np
from scipy.spatial import KDTree

from napari_staligner import _keys as K
from napari_staligner.core.progress import Progress, Steps, finish
from napari_staligner.core.registration.deformation import deformation_of
from napari_staligner.core.registration.transforms import apply, inverse
from napari_staligner.core.result.access import spots_xy
from napari_staligner.core.result.ownership import claim

if TYPE_CHECKING:
    from anndata import AnnData
    from numpy.typing import NDArray

    from napari_staligner.core.registration.deformation import Deformation

LINES = 16
"""How many lines of the grid cross the longer side of a slice."""
_POINTS = 6
"""Pieces of a line between two crossings."""
_BESIDE = 1.5
"""Lines are drawn up to this many spacings from the nearest spot."""


@dataclass(frozen=True)
class BentGrid:
    """A regular grid over a slice, and where the bending takes it.

    Parameters
    ----------
    straight, bent
        Ends (x, y) of each piece of its lines in the coordinates of the slice, as the transform
        lays it and as it is bent, float64, shape (pieces, 2, 2).
    """

    straight: NDArray[np.float64]
    bent: NDArray[np.float64]


@dataclass(frozen=True)
class Bending:
    """How the slices of a result are bent.

    Parameters
    ----------
    area
        log2 of the factor by which the bending scales the area at each spot, float32, shape
        (spots,): 0 where it keeps its size, 1 where it doubles, NaN where the tissue folds.
    grids
        Of each slice that is bent.
    """

    area: NDArray[np.float32]
    grids: dict[str, BentGrid]


@dataclass(frozen=True)
class BendingJob:
    """Everything that finding the bending needs, copied.

    Parameters
    ----------
    slices
        Name, rows, coordinates (x, y) and deformation of each slice.
    """

    slices: tuple[tuple[str, NDArray[np.intp], NDArray[np.float64], Deformation], ...]

    def steps(self) -> Steps[Bending]:
        """Find it, a slice at a time."""
        grids, n = {}, sum(len(rows) for _, rows, _, _ in self.slices)
        area = np.zeros(n, dtype=np.float32)
        for done, (name, rows, points, found) in enumerate(self.slices):
            yield Progress(f"bending of {name}", done, len(self.slices))
            factor = found.area(points)
            area[rows] = np.where(factor > 0, np.log2(np.maximum(factor, 1e-12)), np.nan)
            if found.bends:
                grids[name] = bent_grid(found, points)
        return Bending(area, grids)


def bending_job(adata: AnnData) -> BendingJob:
    """Copy what finding the bending needs from registered slices.

    Raises
    ------
    InputError
        The slices are not registered.
    """
    labels, found = adata.obs[K.SLICE].astype(str).to_numpy(), []
    for name in map(str, adata.obs[K.SLICE].cat.categories):
        rows = np.flatnonzero(labels == name)
        if len(rows):
            found.append((name, rows, spots_xy(adata)[rows], deformation_of(adata, name)))
    return BendingJob(tuple(found))


def area_change(
    adata: AnnData, *, on_progress: Callable[[Progress], object] | None = None
) -> Bending:
    """Measure how the smooth last step of a registration stretches and squeezes the tissue.

    Parameters
    ----------
    adata
        Integrated and registered slices.
    on_progress
        Called with each :class:`~napari_staligner.core.progress.Progress`.

    Returns
    -------
    The bending. Writes ``obs["area_change"]``, float32: log2 of the determinant of the Jacobian
    matrix at each spot. The factor of the transform, which is the same for all spots of a slice, is
    not in it.

    Raises
    ------
    InputError
        The slices are not registered.
    """
    found = finish(bending_job(adata).steps(), on_progress)
    record_area(adata, found)
    return found


def record_area(adata: AnnData, found: Bending) -> None:
    """Write ``obs["area_change"]``; a column of the input of that name is moved aside."""
    claim(adata, "obs", K.AREA_CHANGE)
    adata.obs[K.AREA_CHANGE] = found.area


def bent_grid(found: Deformation, points: NDArray[np.float64]) -> BentGrid:
    """Return a grid over the tissue of a slice.

    Parameters
    ----------
    found
        How it lies in the frame.
    points
        Coordinates (x, y) of its spots.
    """
    (left, top), (right, bottom) = found.box
    step = max(right - left, bottom - top) / LINES or 1.0
    across = [np.linspace(a, b, _POINTS + 1) for a, b in _between(left, right, step)]
    down = [np.linspace(a, b, _POINTS + 1) for a, b in _between(top, bottom, step)]
    lines = [
        np.column_stack([part, np.full(len(part), y)])
        for y in np.arange(top, bottom + step, step)
        for part in across
    ]
    lines += [
        np.column_stack([np.full(len(part), x), part])
        for x in np.arange(left, right + step, step)
        for part in down
    ]
    ends = np.concatenate([np.stack([line[:-1], line[1:]], axis=1) for line in lines])
    flat = ends.reshape(-1, 2)
    near = KDTree(apply(found.matrix, points)).query(flat)[0] <= _BESIDE * found.unit
    ends = ends[near.reshape(-1, 2).all(axis=1)]
    flat, back = ends.reshape(-1, 2), inverse(found.matrix)
    bent = flat + found.displacement(flat)
    return BentGrid(apply(back, flat).reshape(-1, 2, 2), apply(back, bent).reshape(-1, 2, 2))


def _between(start: float, end: float, step: float) -> list[tuple[float, float]]:
    ticks = np.arange(start, end + step, step)
    return list(pairwise(ticks))
