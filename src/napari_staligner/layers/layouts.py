"""Where the slices lie in the world, in each layout.

A placement is a 3 × 3 matrix that maps (x, y, 1) of a slice, in its own units, to the world.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from napari_staligner.core.prepare.graph import SAME_UNIT

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

    from napari_staligner.session import Layout

    Matrix = NDArray[np.float64]

GAP = 0.06
"""Gap between slices of the mosaic, as a share of the widest slice."""


@dataclass(frozen=True)
class Footprint:
    """What a slice covers, in its own units.

    Parameters
    ----------
    spots
        Smallest and largest (x, y) of the spots, shape (2, 2).
    all
        The same of spots and tissue image together.
    """

    spots: NDArray[np.float64]
    all: NDArray[np.float64]

    @property
    def center(self) -> NDArray[np.float64]:
        """Middle (x, y) of the spots."""
        return self.spots.mean(axis=0)

    @property
    def extent(self) -> float:
        """Larger side of the spots' box, > 0."""
        return float(np.ptp(self.spots, axis=0).max()) or 1.0


def placements(
    layout: Layout,
    footprints: Mapping[str, Footprint],
    transforms: Mapping[str, Matrix] | None = None,
    microns: Mapping[str, float] | None = None,
    aspect: float = 1.0,
) -> dict[str, Matrix]:
    """Place each slice.

    ``grid`` puts the middle of every slice at the origin, for cells with synced cameras;
    ``mosaic`` puts slices side by side, in as many rows as fill the window best; ``stack`` puts
    them in the frame of ``transforms``, or centred on each other where there are none.

    Slices keep their own units; where all have a known size, those of the first slice. Where they
    have not, and the largest extent is more than 1.5 times the smallest, the
    units are assumed to differ, and every slice is scaled to the extent of the first, so that they
    can be compared side by side. Coordinates do not change. In the stack, the transforms set the
    scale.

    Parameters
    ----------
    layout
        The layout.
    footprints
        What each slice covers.
    transforms
        Alignment of slices: 3 × 3 matrices from their coordinates to a common frame.
    microns
        µm per unit of each slice; ``None`` if it is not known of all.
    aspect
        Width of the window as a share of its height.
    """
    if not footprints:
        return {}
    scales = _scales(footprints, microns)
    centred = {n: _scale(scales[n]) @ _move(-f.center) for n, f in footprints.items()}
    if layout == "mosaic":
        return _mosaic(centred, footprints, aspect)
    if layout == "stack" and transforms:
        return _aligned(centred, footprints, transforms)
    return centred


def to_napari(placement: Matrix) -> Matrix:
    """Return a placement of (x, y) as the affine of a layer, whose axes are (y, x)."""
    order = [1, 0, 2]
    return placement[np.ix_(order, order)]


def _scales(
    footprints: Mapping[str, Footprint], microns: Mapping[str, float] | None
) -> dict[str, float]:
    if microns is not None:
        first = microns[next(iter(footprints))]
        # Sizes that were estimated differ a little; slices of one unit keep it.
        return {n: _alike(microns[n] / first) for n in footprints}
    extents = {name: footprint.extent for name, footprint in footprints.items()}
    if max(extents.values()) <= SAME_UNIT * min(extents.values()):
        return dict.fromkeys(extents, 1.0)
    first = next(iter(extents.values()))
    return {name: first / extent for name, extent in extents.items()}


def _alike(ratio: float) -> float:
    return 1.0 if abs(ratio - 1) < 0.05 else ratio


def best_columns(n: int, width: float, height: float, aspect: float) -> int:
    """In how many columns tiles are largest.

    Parameters
    ----------
    n
        Number of tiles.
    width, height
        Of a tile.
    aspect
        Width of the window as a share of its height.
    """

    def size(columns: int) -> float:
        return min(aspect / (columns * width), 1 / (-(-n // columns) * height))

    # Of equal sizes, the one with the fewest empty places.
    return max(range(1, n + 1), key=lambda c: (round(size(c) * width, 9), -(c * -(-n // c))))


def _mosaic(
    centred: dict[str, Matrix], footprints: Mapping[str, Footprint], aspect: float
) -> dict[str, Matrix]:
    boxes = {name: _mapped(m, footprints[name].all) for name, m in centred.items()}
    names = list(boxes)
    sizes = np.array([np.ptp(boxes[name], axis=0) for name in names])
    gap = GAP * sizes.max()
    width, height = sizes.max(axis=0) + gap
    n_columns = best_columns(len(names), float(width), float(height), aspect)
    rows, columns = np.divmod(np.arange(len(names)), n_columns)
    widths = np.array([sizes[columns == c, 0].max() for c in range(columns.max() + 1)]) + gap
    heights = np.array([sizes[rows == r, 1].max() for r in range(rows.max() + 1)]) + gap
    x = (np.cumsum(widths) - widths / 2)[columns]
    y = (np.cumsum(heights) - heights / 2)[rows]
    return {
        name: _move(np.array([x[i], y[i]]) - boxes[name].mean(axis=0)) @ centred[name]
        for i, name in enumerate(names)
    }


def _aligned(
    centred: dict[str, Matrix],
    footprints: Mapping[str, Footprint],
    transforms: Mapping[str, Matrix],
) -> dict[str, Matrix]:
    """Slices in the frame of their transforms; those without one are centred on the rest."""
    aligned = {n: np.asarray(transforms[n], float) for n in footprints if n in transforms}
    if not aligned:
        return centred
    corners = np.vstack([_mapped(m, footprints[n].spots) for n, m in aligned.items()])
    middle = _move((corners.min(axis=0) + corners.max(axis=0)) / 2)
    return {name: aligned.get(name, middle @ centred[name]) for name in footprints}


def _mapped(matrix: Matrix, box: NDArray[np.float64]) -> NDArray[np.float64]:
    """Bounding box of a transformed box: smallest and largest (x, y)."""
    (x0, y0), (x1, y1) = box
    corners = np.array([[x0, y0, 1], [x1, y0, 1], [x0, y1, 1], [x1, y1, 1]]) @ matrix.T
    return np.array([corners[:, :2].min(axis=0), corners[:, :2].max(axis=0)])


def _move(by: NDArray[np.float64]) -> Matrix:
    matrix = np.eye(3)
    matrix[:2, 2] = by
    return matrix


def _scale(by: float) -> Matrix:
    return np.diag([by, by, 1.0])
