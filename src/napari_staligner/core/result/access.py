"""What integrated slices and single ones are read by: coordinates, and the size of a spot."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from napari_staligner import _keys as K

if TYPE_CHECKING:
    from anndata import AnnData
    from numpy.typing import NDArray

    LayerData = tuple[Any, dict[str, Any], str]


def spots_xy(adata: AnnData) -> NDArray[np.float64]:
    """Return the coordinates (x, y) of the spots, float64, shape (spots, 2)."""
    return np.asarray(adata.obsm[K.SPATIAL], dtype=np.float64)[:, :2]


def spot_size(xy: NDArray[np.float64]) -> float:
    """Diameter that lets spots nearly touch, in the units of the coordinates.

    0.95 × the distance to the fourth neighbour, its lower quartile: inside a square or hexagonal
    grid that neighbour is as near as the first; among scattered spots, whose first neighbour is
    much nearer than most, discs of this size still cover the tissue.
    """
    from scipy.spatial import KDTree

    if len(xy) < 2:
        return 1.0
    rng = np.random.default_rng(0)
    some = xy if len(xy) <= 5000 else xy[rng.choice(len(xy), 5000, replace=False)]
    nth = min(4, len(xy) - 1) + 1
    distance = float(np.quantile(KDTree(xy).query(some, k=[nth])[0], 0.25))
    return 0.95 * distance if distance > 0 else 1.0
