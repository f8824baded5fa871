"""Where every place of a slice lies in the common frame, and back: transform and bending."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from scipy.interpolate import RBFInterpolator
from scipy.ndimage import map_coordinates

from napari_staligner import _keys as K
from napari_staligner._errors import InputError
from napari_staligner.core.prepare.graph import spacing
from napari_staligner.core.registration.transforms import apply, flat, inverse
from napari_staligner.core.result.access import record_of, spots_xy

if TYPE_CHECKING:
    from anndata import AnnData
    from numpy.typing import NDArray

    from napari_staligner.core.registration.transforms import Matrix

    Places = NDArray[np.float64]

KNOTS = 900
"""About how many spots the bending is interpolated between; it bends much less than spots lie."""
NODES = 160
"""Most nodes of the grid of displacements along a side."""
STILL = 1e-6
"""A displacement below this share of a spacing is a rounding error."""
_ROUNDS = 30
_REACHED = 1e-4
"""How near the inverse comes to a place, in spacings."""


@dataclass(frozen=True)
class DisplacementField:
    """Displacements on a regular grid; between its nodes they are interpolated linearly.

    Parameters
    ----------
    origin
        Place (x, y) of the first node.
    step
        Distance between nodes.
    values
        Displacement (x, y) of each node, float64, shape (rows, columns, 2). NaN where unknown.
    """

    origin: Places
    step: float
    values: NDArray[np.float64]

    @property
    def nodes(self) -> Places:
        """Place (x, y) of each node, shape (rows, columns, 2)."""
        height, width = self.values.shape[:2]
        x, y = (
            o + self.step * np.arange(n) for o, n in zip(self.origin, (width, height), strict=True)
        )
        return np.stack(np.meshgrid(x, y), axis=-1)

    def at(self, places: Places) -> Places:
        """Displacement (x, y) at places, shape (n, 2); outside the grid, that of its rim."""
        index = ((places - self.origin) / self.step)[:, ::-1].T
        parts = [
            map_coordinates(self.values[..., k], index, order=1, mode="nearest") for k in range(2)
        ]
        return np.stack(parts, axis=1)


@dataclass(frozen=True)
class Deformation:
    """How one slice lies in the common frame.

    A place of the slice is first moved by the transform, and then displaced smoothly. Away from the
    spots nothing says how tissue bends: there the displacement is that of the nearest place of
    their bounding box.

    Parameters
    ----------
    matrix
        The transform, float64, shape (3, 3): from (x, y, 1) of the slice to the frame.
    unit
        Spacing of the spots in the frame.
    box
        Least and largest place of the spots in the frame, after the transform, shape (2, 2).
    spline
        Displacement in the frame at places after the transform; ``None`` if nothing is displaced.
    """

    matrix: Matrix
    unit: float
    box: Places
    spline: RBFInterpolator | None = None

    @property
    def bends(self) -> bool:
        """Whether there is more than the transform."""
        return self.spline is not None

    def displacement(self, laid: Places) -> Places:
        """Displacement (x, y) of places that the transform has moved, shape (n, 2)."""
        if self.spline is None:
            return np.zeros_like(laid)
        return np.asarray(self.spline(np.clip(laid, *self.box)), dtype=np.float64)

    def forward(self, points: Places) -> Places:
        """Places in the frame, shape (n, 2), of places (x, y) of the slice."""
        laid = apply(self.matrix, points)
        return laid + self.displacement(laid)

    def backward(self, places: Places) -> Places:
        """Places (x, y) of the slice that lie at places of the frame, shape (n, 2).

        NaN where no place of the slice was found to lie there.
        """
        return apply(inverse(self.matrix), places - self._undone(places))

    def area(self, points: Places) -> NDArray[np.float64]:
        """Factor by which the bending scales a small area, at places (x, y) of the slice.

        The determinant of the Jacobian matrix of the displacement, shape (n,): 1 where areas keep
        their size, and not above 0 where the tissue folds. The factor of the transform, which is
        the same everywhere, is not in it.
        """
        return np.asarray(np.linalg.det(self._slopes(apply(self.matrix, points))))

    def field(self, *, backward: bool = False) -> DisplacementField:
        """Displacements on a grid over the spots and a margin of two spacings.

        Parameters
        ----------
        backward
            Whether to give what leads back from the frame to where the transform laid the tissue,
            instead of the displacements themselves.
        """
        low, high = self.box + 2 * self.unit * np.array([[-1.0], [1.0]])
        step = max(self.unit / 2, float((high - low).max()) / (NODES - 1))
        size = np.ceil((high - low) / step).astype(int) + 1
        field = DisplacementField(low, step, np.zeros((size[1], size[0], 2)))
        nodes = field.nodes.reshape(-1, 2)
        moved = -self._undone(nodes) if backward else self.displacement(nodes)
        return DisplacementField(low, step, moved.reshape(field.values.shape))

    def _slopes(self, laid: Places) -> NDArray[np.float64]:
        """Jacobian matrices of the displacement, identity included, shape (n, 2, 2)."""
        slopes = np.tile(np.eye(2), (len(laid), 1, 1))
        if self.spline is None:
            return slopes
        for axis, step in enumerate(np.eye(2) * self.unit * 1e-3):
            change = self.spline(laid + step) - self.spline(laid - step)
            slopes[:, :, axis] += change / (2e-3 * self.unit)
        return slopes

    def _undone(self, places: Places) -> Places:
        """Displacement that ends at each place of the frame; NaN where none was found to."""
        moved = np.zeros_like(places)
        if self.spline is None or not len(places):
            return moved
        open_ = np.arange(len(places))
        for _ in range(_ROUNDS):
            laid = places[open_] - moved[open_]
            moved[open_] = self.displacement(laid)
            missed = np.abs(laid + moved[open_] - places[open_]).max(axis=1)
            open_ = open_[missed > _REACHED * self.unit]
            if not len(open_):
                return moved
        moved[open_] = np.nan
        return moved


def deformation_of(adata: AnnData, name: str) -> Deformation:
    """Find how a slice of a result lies in the common frame.

    The displacement is interpolated between the spots, as ``obsm["spatial_aligned"]`` has it.

    Parameters
    ----------
    adata
        Integrated and registered slices.
    name
        Of the slice.

    Raises
    ------
    InputError
        The slices are not registered, or there is no such slice.
    """
    rows = np.flatnonzero((adata.obs[K.SLICE].astype(str) == name).to_numpy())
    if not len(rows):
        raise InputError(f"There is no slice {name!r} in this result: choose one that it has.")
    matrix = record_of(adata).get("transforms", {}).get(name)
    if matrix is None or K.SPATIAL_ALIGNED not in adata.obsm:
        raise InputError(f"Slice {name!r} has no place in a common frame: register the slices.")
    aligned = np.asarray(adata.obsm[K.SPATIAL_ALIGNED], dtype=np.float64)[rows, :2]
    return deformation(np.asarray(matrix, dtype=np.float64), spots_xy(adata)[rows], aligned)


def deformation(matrix: Matrix, points: Places, aligned: Places) -> Deformation:
    """Find a deformation from what it does to spots.

    Parameters
    ----------
    matrix
        The transform, shape (3, 3).
    points, aligned
        Where the spots are, in the slice and in the frame, shape (spots, 2) each.
    """
    laid = apply(matrix, points)
    unit = spacing(laid)
    box = np.array([laid.min(axis=0), laid.max(axis=0)])
    shift = aligned - laid
    if len(laid) < 3 or not np.abs(shift).max() > STILL * unit:
        return Deformation(matrix, unit, box)
    # One spot of each cell: as many knots as there are spots would take long, and tell no more.
    cell = max(unit, float(np.sqrt(np.prod(np.maximum(np.ptp(box, axis=0), unit)) / KNOTS)))
    _, knots = np.unique(np.floor(laid / cell).astype(np.int64), axis=0, return_index=True)
    if flat(laid[knots] - laid[knots].mean(axis=0)):
        # A thin plate needs places off the line.
        spline = RBFInterpolator(laid[knots], shift[knots], kernel="linear", degree=0)
    else:
        spline = RBFInterpolator(laid[knots], shift[knots], kernel="thin_plate_spline")
    return Deformation(matrix, unit, box, spline)
