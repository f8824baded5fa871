"""How far each spot can be trusted to have found its like in the other slices."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_staligner.core.progress import Progress, Steps

if TYPE_CHECKING:
    from numpy.typing import NDArray

NEIGHBORS = 90


def confidence_steps(
    embedding: NDArray[np.floating[Any]], sizes: Sequence[int], k: int = NEIGHBORS
) -> Steps[NDArray[np.float32]]:
    r"""Confidence of each spot, a slice a step.

    Among the k nearest spots in z (its own left out), count those of other slices and divide by
    how many there would be if the slices were mixed evenly:

    .. math:: c_i = \min\left(1, \frac{m_i / k}{1 - (n_{s(i)} - 1) / (N - 1)}\right)

    with :math:`m_i` neighbours from other slices, :math:`n_s` spots of the own slice and N in all.
    1 means that the neighbourhood is as mixed as it can be; 0 that no other slice comes near. A
    spot of a structure that only its slice has scores low.

    Parameters
    ----------
    embedding
        Shape (spots, d), rows of a slice contiguous.
    sizes
        Spots of each slice.
    k
        Neighbours looked at, cut to what there is.

    Returns
    -------
    Shape (spots,), float32, 0..1; all zero for a single slice.
    """
    from sklearn.neighbors import NearestNeighbors

    n = len(embedding)
    if len(sizes) < 2:
        return np.zeros(n, dtype=np.float32)
    k = min(k, n - 1)
    slice_of = np.repeat(np.arange(len(sizes)), sizes)
    finder = NearestNeighbors(n_neighbors=k + 1).fit(embedding)
    confidence = np.empty(n, dtype=np.float32)
    start = 0
    for s, size in enumerate(sizes):
        yield Progress("confidence", start, n)
        rows = np.arange(start, start + size)
        near = finder.kneighbors(embedding[rows], return_distance=False)
        foreign = (slice_of[near] != s).sum(axis=1) / k
        evenly = 1 - (size - 1) / (n - 1)
        confidence[rows] = np.minimum(1.0, foreign / evenly)
        start += size
    return confidence
