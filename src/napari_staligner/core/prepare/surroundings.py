"""The mean around a spot, as far as a slice bears it: structures there may be narrow."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from scipy import sparse

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

HOPS, WIDEST = 2, 0.02
"""Steps on the graph that define the surroundings of a spot, and the largest part of a slice that
they may cover."""


def surroundings(
    x: NDArray[np.float32],
    connectivities: sparse.csr_matrix,
    sizes: Sequence[int],
    out: NDArray[np.float32] | None = None,
) -> NDArray[np.float32]:
    """Mean of the input around each spot, scaled to the mean square of the input.

    Two steps each take the mean of a spot and its neighbours on the tissue: in all 19 spots on a
    hexagonal grid, the nearer ones with more weight. If these are more than 2 % of a slice, its
    structures are probably narrower than that, so there is only one step, or none.

    Parameters
    ----------
    x
        Shape (N, r).
    connectivities
        Shape (N, N), CSR: the spatial graph of all slices, without self loops.
    sizes
        Spots of each slice; rows of a slice are contiguous.
    out
        Array to write to.

    Returns
    -------
    Shape (N, r).
    """
    found = np.empty_like(x) if out is None else out
    squares, before, end = 0.0, 0.0, 0
    for size in sizes:
        start, end = end, end + size
        own = x[start:end]
        around = mean_around(own, connectivities[start:end, start:end])
        found[start:end] = around
        squares += float(np.square(around, dtype=np.float64).sum())
        before += float(np.square(own, dtype=np.float64).sum())
    if squares > 0:
        found *= np.float32(np.sqrt(before / squares))
    return found


def mean_around(x: NDArray[np.float32], connectivities: sparse.csr_matrix) -> NDArray[np.float32]:
    """Mean of the input around each spot of one slice, shape (spots, r)."""
    step = mean_step(connectivities)
    for _ in range(steps_borne(step)):
        x = step @ x
    return x


def mean_step(connectivities: sparse.csr_matrix) -> sparse.csr_matrix:
    """Matrix that takes the mean of a spot and its neighbours, shape (N, N), float32."""
    near = sparse.csr_matrix(connectivities + sparse.eye(connectivities.shape[0]), dtype=np.float32)
    near.data = np.repeat(1 / np.diff(near.indptr).astype(np.float32), np.diff(near.indptr))
    return near


def steps_borne(step: sparse.csr_matrix) -> int:
    """How many steps, up to two, reach only a small part of a slice."""
    most, reached = WIDEST * step.shape[0] ** 2, step
    for steps in range(HOPS):
        if reached.nnz > most:
            return steps
        reached = reached @ step
    return HOPS


def averaged(
    z: NDArray[np.floating[Any]], connectivities: Any, slice_of: NDArray[np.integer[Any]]
) -> NDArray[np.float64]:
    """Mean of an embedding over each spot and its neighbours on the tissue.

    What a spot differs by from its neighbours is mostly noise. Where a spot and its neighbours are
    more than 2 % of a slice, its structures are probably as narrow, and it stays as it is.

    Parameters
    ----------
    z
        Shape (spots, d).
    connectivities
        Shape (spots, spots), CSR: the spatial graph, without self loops.
    slice_of
        Shape (spots,): number of the slice.

    Returns
    -------
    Shape (spots, d), float64.
    """
    step = mean_step(sparse.csr_matrix(connectivities) != 0)
    sizes = np.bincount(slice_of)
    reached = np.bincount(slice_of, np.diff(step.indptr))
    borne = (reached <= WIDEST * sizes**2)[slice_of]
    z = np.asarray(z, dtype=np.float64)
    return np.where(borne[:, None], step @ z, z)
