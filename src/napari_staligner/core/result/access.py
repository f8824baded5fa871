"""Access to what is often read from slices, integrated or single: coordinates, records, names."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_staligner import _keys as K

if TYPE_CHECKING:
    from anndata import AnnData
    from numpy.typing import NDArray


def spots_xy(adata: AnnData) -> NDArray[np.float64]:
    """Return the coordinates (x, y) of the spots, float64, shape (spots, 2)."""
    return np.asarray(adata.obsm[K.SPATIAL], dtype=np.float64)[:, :2]


def record_of(adata: AnnData) -> Mapping[str, Any]:
    """Return what this package has recorded in ``uns["staligner"]``; empty if nothing."""
    kept = adata.uns.get(K.STALIGNER)
    return kept if isinstance(kept, Mapping) else {}


def has_record(adata: AnnData) -> bool:
    """Whether there is a record in ``uns["staligner"]``, even an empty one."""
    return isinstance(adata.uns.get(K.STALIGNER), Mapping)


def writable_record(adata: AnnData) -> dict[str, Any]:
    """Return ``uns["staligner"]`` to write to; it is made if it is missing."""
    if not has_record(adata):
        adata.uns[K.STALIGNER] = {}
    kept: dict[str, Any] = adata.uns[K.STALIGNER]
    return kept


def drop_record(adata: AnnData) -> None:
    """Remove ``uns["staligner"]``."""
    del adata.uns[K.STALIGNER]


def spot_size(xy: NDArray[np.float64]) -> float:
    """Diameter that lets spots nearly touch, in the units of the coordinates.

    0.95 × the lower quartile of the distance to the fourth neighbour. Inside a square or hexagonal
    grid that neighbour is as near as the first. Among scattered spots, where the first neighbour
    is much nearer than most, discs of this size still cover the tissue.
    """
    from scipy.spatial import KDTree

    if len(xy) < 2:
        return 1.0
    rng = np.random.default_rng(0)
    some = xy if len(xy) <= 5000 else xy[rng.choice(len(xy), 5000, replace=False)]
    nth = min(4, len(xy) - 1) + 1
    distance = float(np.quantile(KDTree(xy).query(some, k=[nth])[0], 0.25))
    return 0.95 * distance if distance > 0 else 1.0
