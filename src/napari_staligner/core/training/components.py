"""The low-rank input: principal components, with technical effects removed."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

import numpy as np
import torch
from scipy import sparse
from torch import Tensor

from napari_staligner._errors import InputError

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from napari_staligner.core.training.triplets import Matches

ROWS = 4096
LEAST_VARIANCE = 1e-6
"""Least variance of the genes, relative to their mean square, above rounding in float32."""
NO_VARIANCE = (
    "The variable genes that the slices share are the same in all spots, so there is nothing to "
    "align: check that X, or the layer named by counts_layer, holds the counts."
)


def principal_components(
    blocks: Iterable[sparse.csr_matrix], n_components: int
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Axes along which expression varies most, from one pass over its rows.

    Exact: computed from the covariance of the genes, which adds up over blocks of rows, so that
    only one block is dense at a time and slices may come one by one.

    Parameters
    ----------
    blocks
        Log-normalised expression, each of shape (some spots, genes), CSR.
    n_components
        How many; fewer if there are fewer.

    Returns
    -------
    mean
        Shape (genes,), float32.
    axes
        Shape (genes, components), float32, orthonormal, the largest variance first.

    Raises
    ------
    InputError
        All rows are the same.
    """
    from scipy.linalg import eigh

    gram, total, n = 0.0, 0.0, 0
    for block in blocks:
        for start in range(0, block.shape[0], ROWS):
            dense = block[start : start + ROWS].toarray()
            gram = gram + (dense.T @ dense).astype(np.float64)
            total = total + dense.sum(axis=0, dtype=np.float64)
            n += len(dense)
    mean = np.asarray(total) / n
    covariance = np.asarray(gram) / n - np.outer(mean, mean)
    if np.trace(covariance) <= LEAST_VARIANCE * np.trace(gram) / n:
        raise InputError(NO_VARIANCE)
    g = len(mean)
    k = min(n_components, g, max(1, n - 1))
    found = _iterated(covariance, k) if 4 * k < g else None
    values, axes = found or eigh(covariance, subset_by_index=(g - k, g - 1))
    order = np.argsort(-values, kind="stable")
    return mean.astype(np.float32), np.ascontiguousarray(axes[:, order], dtype=np.float32)


def _iterated(
    covariance: NDArray[np.float64], k: int
) -> tuple[NDArray[np.float64], NDArray[np.float64]] | None:
    """The largest eigenvalues and their vectors; ``None`` if the iteration does not converge.

    It cannot start if the genes' sum is the same in all spots, nor end if many eigenvalues are
    alike.
    """
    from scipy.sparse.linalg import ArpackError, eigsh

    g = len(covariance)
    try:
        values, axes = eigsh(covariance, k=k, v0=np.full(g, g**-0.5))
    except ArpackError:
        return None
    return values, axes


def scores(
    blocks: Iterable[sparse.csr_matrix],
    n_spots: int,
    mean: NDArray[np.float32],
    axes: NDArray[np.float32],
    out: NDArray[np.float32] | None = None,
) -> NDArray[np.float32]:
    """Centred expression on the axes, shape (n_spots, components), without ever being dense."""
    found = np.empty((n_spots, axes.shape[1]), dtype=np.float32) if out is None else out
    centre, end = mean @ axes, 0
    for block in blocks:
        start, end = end, end + block.shape[0]
        np.subtract(block @ axes, centre, out=found[start:end])
    return found


def depth_slope(
    x: NDArray[np.float32], log_depth: NDArray[np.float64], connectivities: sparse.csr_matrix
) -> NDArray[np.float32]:
    r"""How the input changes with sequencing depth, estimated from neighbours on the tissue.

    Neighbours show nearly the same tissue, so differences between them that go with their depth are
    technical; layers with more RNA than others have no effect on it. The slope b minimises the sum
    over neighbours of :math:`\|(x_i - x_j) - b (l_i - l_j)\|^2`.

    Parameters
    ----------
    x
        Shape (N, r).
    log_depth
        Shape (N,): logarithm of a spot's total counts.
    connectivities
        Shape (N, N), CSR, symmetric.

    Returns
    -------
    Shape (r,); zero if all neighbours have the same depth.
    """
    degree = np.asarray(connectivities.sum(axis=1)).ravel()
    apart = degree * log_depth - connectivities @ log_depth
    spread = float(apart @ log_depth)
    if spread <= 0:
        return np.zeros(x.shape[1], dtype=np.float32)
    # By rows, because a product with float64 would make a copy of x.
    starts = range(0, len(x), ROWS)
    slope = sum(apart[start : start + ROWS] @ x[start : start + ROWS] for start in starts)
    return np.asarray(slope / spread, dtype=np.float32)


def scaled(
    x: NDArray[np.float32], log_depth: NDArray[np.float64] | None, slope: NDArray[np.float32]
) -> NDArray[np.float32]:
    """Remove depth from the input and scale it to a mean square of 1, in place.

    Parameters
    ----------
    x
        Shape (N, r).
    log_depth, slope
        See :func:`depth_slope`; ``None`` leaves depth in.
    """
    squares = 0.0
    for start in range(0, len(x), ROWS):
        rows = x[start : start + ROWS]
        if log_depth is not None:
            rows -= np.outer(log_depth[start : start + ROWS] - log_depth.mean(), slope)
        squares += float(np.square(rows, dtype=np.float64).sum())
    x /= np.float32(np.sqrt(squares / x.size) or 1.0)
    return x


def slice_offsets(x: Tensor, matches: Sequence[Matches], sizes: Sequence[int]) -> Tensor:
    r"""Differences of slices in the input, estimated only from their matched spots.

    The offsets :math:`o` minimise the sum over matched spots of
    :math:`w_{ij} \|(x_i - o_{s(i)}) - (x_j - o_{s(j)})\|^2`, where every spot counts once,
    however many matches it has. Spots of a structure that only one slice has have few matches, so
    they hardly affect the offset, unlike a mean over all spots.

    Parameters
    ----------
    x
        Shape (N, r): the input of all spots, rows of a slice contiguous.
    matches
        For each pair of slices.
    sizes
        Spots of each slice.

    Returns
    -------
    Shape (slices, r); their mean over spots is zero. A slice without matches is not moved.
    """
    n_slices = len(sizes)
    ends = np.cumsum([0, *sizes])
    laplacian = torch.zeros(n_slices, n_slices, dtype=torch.float64, device=x.device)
    pull = torch.zeros(n_slices, x.shape[1], dtype=torch.float64, device=x.device)
    for match in matches:
        if not len(match.first):
            continue
        i, j = (
            int(np.searchsorted(ends, int(rows[0]), "right")) - 1
            for rows in (match.first, match.second)
        )
        # Only the rows of these two slices, however many slices there are.
        first, second = match.first - ends[i], match.second - ends[j]
        share_i, share_j = (1.0 / torch.bincount(rows)[rows] for rows in (first, second))
        weight = (0.5 * (share_i + share_j)).double()
        total = weight.sum()
        # Sum weights by spot first, so that no array of size matches × components is made.
        apart = torch.bincount(first, weight, sizes[i]).to(x.dtype) @ x[ends[i] : ends[i + 1]]
        apart -= torch.bincount(second, weight, sizes[j]).to(x.dtype) @ x[ends[j] : ends[j + 1]]
        laplacian[i, i] += total
        laplacian[j, j] += total
        laplacian[i, j] -= total
        laplacian[j, i] -= total
        pull[i] += apart.double()
        pull[j] -= apart.double()
    # The pseudo-inverse gives zero where no match decides.
    offsets = torch.linalg.pinv(laplacian, hermitian=True) @ pull
    share = torch.tensor(sizes, dtype=torch.float64, device=x.device)
    linked = (laplacian.diagonal() > 0).double()
    weights = share * linked
    if weights.sum() > 0:
        offsets -= linked[:, None] * (weights @ offsets) / weights.sum()
    found: Tensor = offsets.to(x.dtype)
    return found
