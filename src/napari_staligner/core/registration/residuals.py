"""How far each spot lies from its counterparts, once the slices are in one frame."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
from scipy.spatial import KDTree

from napari_staligner.core.graph import find_radius

if TYPE_CHECKING:
    from numpy.typing import NDArray

REACH = 6.0
"""A counterpart lies within so many spacings, if there is one."""
CANDIDATES = 64
_CHUNK = 4096


def counterparts(
    aligned: Sequence[NDArray[np.float64]],
    features: Sequence[NDArray[np.floating]],
    pairs: Sequence[tuple[int, int]],
    unit: float,
) -> list[NDArray[np.float64]]:
    """Find where the counterpart of each spot lies, as seen from the spot.

    Within reach, the spots of the other slice are weighted by how near they are in space (a
    Gaussian of a third of the reach) and in the embedding (a Gaussian as wide as the best matches
    are apart); the counterpart is the mean of their places. Over several other slices it is the
    mean.

    Parameters
    ----------
    aligned
        Places in the common frame of the spots of each slice, shape (spots, 2).
    features
        Embedding of each, shape (spots, d).
    pairs
        Pairs of slices that are compared.
    unit
        A spacing in the frame.

    Returns
    -------
    Shape (spots, 2) for each slice, in spacings; NaN where no other slice has tissue.
    """
    trees = [KDTree(points / unit) for points in aligned]
    sums = [np.zeros_like(points, dtype=np.float64) for points in aligned]
    counts = [np.zeros(len(points)) for points in aligned]
    for pair in pairs:
        for i, j in (pair, pair[::-1]):
            shift = _shift(trees[i].data, trees[j], features[i], features[j])
            known = np.isfinite(shift[:, 0])
            sums[i][known] += shift[known]
            counts[i] += known
    return [
        np.where(n[:, None] > 0, s / np.maximum(n, 1)[:, None], np.nan)
        for s, n in zip(sums, counts, strict=True)
    ]


def _shift(
    points: NDArray[np.float64],
    tree: KDTree,
    own: NDArray[np.floating],
    other: NDArray[np.floating],
) -> NDArray[np.float64]:
    k = min(CANDIDATES, tree.n)
    distance, near = tree.query(points, k=k, distance_upper_bound=REACH)
    distance, near = distance.reshape(len(points), k), near.reshape(len(points), k)
    # Farther than this from the next spot there is no tissue, neither in a grid nor scattered.
    outside = distance[:, 0] > 1.5 * find_radius(np.asarray(tree.data))
    found = np.isfinite(distance)
    near = np.where(found, near, 0)
    apart = np.concatenate(
        [
            np.square(other[near[a : a + _CHUNK]] - own[a : a + _CHUNK, None]).sum(axis=2)
            for a in range(0, len(points), _CHUNK)
        ]
    ).astype(np.float64)
    apart[~found] = np.inf
    best = apart.min(axis=1, initial=np.inf)
    width = float(np.median(best[np.isfinite(best)])) if np.isfinite(best).any() else 1.0
    best = np.where(np.isfinite(best), best, 0.0)
    logs = -np.square(distance) * 4.5 / REACH**2 - (apart - best[:, None]) / (2 * (width or 1.0))
    weights = np.where(found, np.exp(np.where(found, logs, 0.0)), 0.0)
    total = np.maximum(weights.sum(axis=1), 1e-300)
    places = (weights[..., None] * np.asarray(tree.data)[near]).sum(axis=1) / total[:, None]
    return np.where(outside[:, None], np.nan, places - points)
