"""A smooth last step: a thin-plate spline through the counterparts, unless it folds."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from scipy.interpolate import RBFInterpolator

from napari_staligner.core.registration.transforms import flat

if TYPE_CHECKING:
    from numpy.typing import NDArray

CELL = 5.0
"""Spacings over which counterparts are averaged to one anchor of the spline."""
FEWEST_ANCHORS = 6
SMOOTHING = 0.05
"""Weight of bending relative to the distance to the anchors, in radii of the slice."""
GRID = 60
"""Points along each side of the grid where bending and folding are measured."""


@dataclass(frozen=True)
class Warp:
    """A smooth displacement of one slice.

    Parameters
    ----------
    shift
        Displacement of each spot, shape (spots, 2), in the units of the points.
    bending
        Bending energy, the integral of the squared second derivatives with lengths in radii of
        the slice; 0 for an affine map.
    least_area
        Smallest factor by which the map scales an area; if it is not above 0, the map folds.
    """

    shift: NDArray[np.float64]
    bending: float
    least_area: float

    @property
    def folds(self) -> bool:
        """Whether two places of the slice are mapped to the same place."""
        return self.least_area <= 0


def warp(
    points: NDArray[np.float64], shift: NDArray[np.float64], unit: float, anchored: float = CELL
) -> Warp | None:
    """Fit a thin-plate spline to wanted displacements.

    Parameters
    ----------
    points
        Shape (spots, 2).
    shift
        Wanted displacement of each spot; NaN where it does not matter.
    unit
        A spacing.
    anchored
        Spacings over which the wanted displacements are averaged.

    Returns
    -------
    ``None`` if there are too few places to fit a spline to, or all are on one line.
    """
    known = np.isfinite(shift).all(axis=1)
    if not known.any():
        return None
    cells = np.floor(points[known] / (anchored * unit)).astype(np.int64)
    _, cell, counts = np.unique(cells, axis=0, return_inverse=True, return_counts=True)
    if len(counts) < FEWEST_ANCHORS:
        return None

    def averaged(values: NDArray[np.float64]) -> NDArray[np.float64]:
        sums = [np.bincount(cell.ravel(), column) for column in values.T]
        return np.stack(sums, axis=1) / counts[:, None]

    center = points.mean(axis=0)
    radius = float(np.linalg.norm(points - center, axis=1).max()) or 1.0
    anchors = (averaged(points[known]) - center) / radius
    if flat(anchors - anchors.mean(axis=0)):
        return None
    spline = RBFInterpolator(
        anchors,
        averaged(shift[known]) / radius,
        kernel="thin_plate_spline",
        smoothing=SMOOTHING,
    )
    inside = (points - center) / radius
    bending, least_area = _measure(spline, inside)
    return Warp(spline(inside) * radius, bending, least_area)


def _measure(spline: RBFInterpolator, points: NDArray[np.float64]) -> tuple[float, float]:
    """Bending energy and smallest area factor over the box of the points."""
    axes = [np.linspace(a, b, GRID) for a, b in zip(points.min(0), points.max(0), strict=True)]
    steps = [float(axis[1] - axis[0]) or 1.0 for axis in axes]
    grid = np.stack(np.meshgrid(*axes, indexing="ij"), axis=-1)
    moved = spline(grid.reshape(-1, 2)).reshape(grid.shape)
    bending, slopes = 0.0, []
    for k in range(2):
        by_x, by_y = np.gradient(moved[..., k], *steps)
        slopes.append((by_x, by_y))
        (xx, xy), (_, yy) = np.gradient(by_x, *steps), np.gradient(by_y, *steps)
        bending += float((xx**2 + 2 * xy**2 + yy**2).sum() * steps[0] * steps[1])
    (ux, uy), (vx, vy) = slopes
    return bending, float(((1 + ux) * (1 + vy) - uy * vx).min())
