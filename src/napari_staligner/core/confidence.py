"""How far each spot can be trusted to have found its like in the other slices."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from scipy import sparse

from napari_staligner.core.progress import Progress, Steps

if TYPE_CHECKING:
    from numpy.typing import NDArray

NEIGHBORS, STEP = 90, 10
BLOCK = 4096


def confidence_steps(
    embedding: NDArray[np.floating[Any]], sizes: Sequence[int], k: int = NEIGHBORS
) -> Steps[NDArray[np.float32]]:
    r"""Confidence of each spot: how often walks to the other slices and back come home.

    A walk goes from spot i to one of the 10 spots nearest in z in slice t, and from there to one
    of the 10 nearest in i's own slice s. It comes home if it ends among the k nearest of i in s.
    A walk that takes both steps within s says how often that can happen at all:

    .. math:: c_i = \frac{1}{S - 1} \sum_{t \ne s} \min\left(1,
        \frac{P(i \to t \to \mathrm{home})}{P(i \to s \to \mathrm{home})}\right)

    1 means that every other slice has the neighbourhood of the spot. Where a slice lacks it, the
    walk lands on what is nearest there, and comes back to where that belongs, so that c falls to 0.
    Only the way counts, not how many spots of a kind a slice has: a structure that is rarer in the
    other slices loses little, as long as they have some 10 spots of it.

    Parameters
    ----------
    embedding
        Shape (spots, d), rows of a slice contiguous.
    sizes
        Spots of each slice.
    k
        Spots that are home to each spot, cut to what there is.

    Returns
    -------
    Shape (spots,), float32, 0..1; all zero for a single slice.
    """
    parts = np.split(np.asarray(embedding, dtype=np.float64), np.cumsum(sizes)[:-1])
    n_slices, done = len(parts), 0
    total = n_slices * n_slices
    walks, homes, stay = [], [], []
    for z in parts:
        yield Progress("confidence", done, total)
        near = _nearest(z, z, min(k + 1, len(z)))
        near = _without_self(near)
        home = _incidence(near, len(z))
        walk = _incidence(near[:, :STEP], len(z))
        homes.append(home)
        walks.append(walk)
        stay.append(_come_home(walk, walk, home))
        done += 1
    confidence = [np.zeros(len(z)) for z in parts]
    for s in range(n_slices):
        for t in range(s + 1, n_slices):
            yield Progress("confidence", done, total)
            there = _incidence(_nearest(parts[s], parts[t], STEP), len(parts[t]))
            back = _incidence(_nearest(parts[t], parts[s], STEP), len(parts[s]))
            for own, out, home in ((s, there, back), (t, back, there)):
                found = _come_home(out, home, homes[own])
                ratio = np.divide(found, stay[own], out=np.zeros(len(found)), where=stay[own] > 0)
                confidence[own] += np.minimum(1.0, ratio) / (n_slices - 1)
            done += 2
    yield Progress("confidence", total, total)
    return np.concatenate(confidence).astype(np.float32)


def _nearest(
    query: NDArray[np.float64], reference: NDArray[np.float64], k: int
) -> NDArray[np.int64]:
    from sklearn.neighbors import NearestNeighbors

    finder = NearestNeighbors(n_neighbors=min(k, len(reference)), algorithm="brute").fit(reference)
    return np.asarray(finder.kneighbors(query, return_distance=False), dtype=np.int64)


def _without_self(near: NDArray[np.int64]) -> NDArray[np.int64]:
    """Drop each spot from its own list, or the last where duplicates crowd it out."""
    n, k = near.shape
    keep = near != np.arange(n)[:, None]
    keep[keep.all(axis=1), k - 1] = False
    return np.asarray(near[keep].reshape(n, k - 1))


def _incidence(near: NDArray[np.int64], n_columns: int) -> sparse.csr_matrix:
    """Where a step can go: 1 in row i for each of its nearest."""
    n, k = near.shape
    ones = np.ones(n * k, dtype=np.float32)
    return sparse.csr_matrix((ones, near.ravel(), np.arange(n + 1) * k), shape=(n, n_columns))


def _come_home(
    out: sparse.csr_matrix, back: sparse.csr_matrix, home: sparse.csr_matrix
) -> NDArray[np.float64]:
    """Share of the walks of each spot that end at home."""
    n = out.shape[0]
    steps = max(out[:1].nnz * back[:1].nnz, 1)
    found = [
        (out[start : start + BLOCK] @ back).multiply(home[start : start + BLOCK]).sum(axis=1)
        for start in range(0, n, BLOCK)
    ]
    return np.asarray(np.concatenate(found) / steps, dtype=np.float64).ravel()
