"""Exact nearest spots in an embedding, by slice: one pass serves all slices and every pair."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

BLOCK = 2048


@dataclass(frozen=True)
class Nearest:
    """The nearest spots of a block of spots of one slice, separately in each slice.

    Parameters
    ----------
    slice
        Number of the slice that the block's spots belong to.
    rows
        Shape (b,), int64: the block's spots.
    found
        For each slice, shape (b, k of the slice), int64: rows of its nearest spots, nearest
        first; in its own slice a spot finds itself.
    distance
        For each slice, the same shape, float64: Euclidean distances.
    """

    slice: int
    rows: NDArray[np.int64]
    found: tuple[NDArray[np.int64], ...]
    distance: tuple[NDArray[np.float64], ...]

    def among(self, slices: Sequence[int], k: int) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
        """Rows and distances of the k nearest in some of the slices together, nearest first."""
        found = np.concatenate([self.found[s] for s in slices], axis=1)
        distance = np.concatenate([self.distance[s] for s in slices], axis=1)
        k = min(k, found.shape[1])
        order = np.argsort(distance, axis=1, kind="stable")[:, :k]
        return np.take_along_axis(found, order, 1), np.take_along_axis(distance, order, 1)


def nearest_by_slice(
    embedding: NDArray[np.floating[Any]], slice_rows: Sequence[NDArray[np.int64]], k: int
) -> Iterator[Nearest]:
    """Find the k nearest spots of every spot in every slice, a block of spots at a time.

    Parameters
    ----------
    embedding
        Shape (spots, d).
    slice_rows
        Rows of the spots of each slice.
    k
        Neighbours in each slice, at most its size; in its own slice they include the spot itself.
    """
    from sklearn.neighbors import NearestNeighbors

    z = np.ascontiguousarray(embedding, dtype=np.float64)
    finders = [
        NearestNeighbors(n_neighbors=min(k, len(rows)), algorithm="brute").fit(z[rows])
        for rows in slice_rows
    ]
    for own, rows in enumerate(slice_rows):
        for start in range(0, len(rows), BLOCK):
            block = rows[start : start + BLOCK]
            distance, near = zip(*(f.kneighbors(z[block]) for f in finders), strict=True)
            found = tuple(there[i] for there, i in zip(slice_rows, near, strict=True))
            yield Nearest(own, block, found, tuple(distance))
