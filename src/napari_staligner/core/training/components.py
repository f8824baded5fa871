"""The low-rank input: principal components, with technical effects removed."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import torch
from scipy import sparse
from torch import Tensor

from napari_staligner._errors import InputError

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from napari_staligner.core.training.ranks import Ranks
    from napari_staligner.core.training.triplets import Matches

ROWS = 4096
LEAST_VARIANCE = 1e-6
"""Least variance of the genes, relative to their mean square, above rounding in float32."""
NO_VARIANCE = (
    "The variable genes that the slices share are the same in all spots, so there is nothing to "
    "align: check that X, or the layer named by counts_layer, holds the counts."
)


class Moments(NamedTuple):
    """Sums over the rows of some expression.

    ``products`` of each two genes, shape (genes, genes), and ``total`` of each gene, shape
    (genes,), float64; and ``n``, the number of rows.
    """

    products: NDArray[np.float64]
    total: NDArray[np.float64]
    n: int


def moments_of(block: sparse.csr_matrix) -> Moments:
    """Sum over the rows of a block; only some of them are dense at a time."""
    genes = block.shape[1]
    products, total = np.zeros((genes, genes)), np.zeros(genes)
    for start in range(0, block.shape[0], ROWS):
        dense = block[start : start + ROWS].toarray()
        products += dense.T @ dense
        total += dense.sum(axis=0, dtype=np.float64)
    return Moments(products, total, block.shape[0])


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
    return components_of(map(moments_of, blocks), n_components)


def components_of(
    parts: Iterable[Moments], n_components: int
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """The same from the sums of each block, which are added in their order."""
    from scipy.linalg import eigh

    parts = iter(parts)
    gram, total, n = next(parts)
    for part in parts:
        gram, total, n = gram + part.products, total + part.total, n + part.n
    mean = total / n
    covariance = gram / n - np.outer(mean, mean)
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
    return slope_of(*depth_moments(x, log_depth, connectivities))


def depth_moments(
    x: NDArray[np.float32], log_depth: NDArray[np.float64], connectivities: sparse.csr_matrix
) -> tuple[NDArray[np.float64], float]:
    """The sums that :func:`depth_slope` is made of; those of slices add up."""
    degree = np.asarray(connectivities.sum(axis=1)).ravel()
    apart = degree * log_depth - connectivities @ log_depth
    # By rows, because a product with float64 would make a copy of x.
    starts = range(0, len(x), ROWS)
    pull = sum(apart[start : start + ROWS] @ x[start : start + ROWS] for start in starts)
    return np.asarray(pull, dtype=np.float64), float(apart @ log_depth)


def slope_of(pull: NDArray[np.float64], spread: float) -> NDArray[np.float32]:
    """The slope of such sums; zero if all neighbours have the same depth."""
    if spread <= 0:
        return np.zeros(len(pull), dtype=np.float32)
    return np.asarray(pull / spread, dtype=np.float32)


def slice_offsets(
    x: Tensor,
    at: Mapping[int, slice],
    matches: Sequence[Matches],
    sizes: Sequence[int],
    ranks: Ranks,
    owners: Sequence[int],
) -> Tensor:
    r"""Differences of slices in the input, estimated only from their matched spots.

    The offsets :math:`o` minimise the sum over matched spots of
    :math:`w_{ij} \|(x_i - o_{s(i)}) - (x_j - o_{s(j)})\|^2`, where every spot counts once,
    however many matches it has. Spots of a structure that only one slice has have few matches, so
    they hardly affect the offset, unlike a mean over all spots.

    Parameters
    ----------
    x, at
        The input of the spots that this process holds, shape (spots held, r), and the rows of each
        slice of which it does.
    matches
        For each pair of slices.
    sizes
        Spots of each slice.
    ranks, owners
        The processes, and the one that sums the input of each slice.

    Returns
    -------
    Shape (slices, r); their mean over spots is zero. A slice without matches is not moved.
    """
    ends = np.cumsum([0, *sizes])
    found = [match for match in matches if len(match.first)]
    pairs = [
        tuple(int(np.searchsorted(ends, int(rows[0]), "right")) - 1 for rows in (m.first, m.second))
        for m in found
    ]
    sums = torch.zeros(2 * len(found), x.shape[1], dtype=x.dtype, device=x.device)
    laplacian = torch.zeros(len(sizes), len(sizes), dtype=torch.float64, device=x.device)
    for number, (match, (i, j)) in enumerate(zip(found, pairs, strict=True)):
        rows = match.first - int(ends[i]), match.second - int(ends[j])
        share_i, share_j = (1.0 / torch.bincount(each)[each] for each in rows)
        weight = (0.5 * (share_i + share_j)).double()
        for side, k in enumerate((i, j)):
            if owners[k] == ranks.rank:
                # Sum weights by spot first, so that no array of size matches × components is made.
                of_spot = torch.bincount(rows[side], weight, sizes[k]).to(x.dtype)
                sums[2 * number + side] = of_spot @ x[at[k]]
        total = weight.sum()
        laplacian[i, i] += total
        laplacian[j, j] += total
        laplacian[i, j] -= total
        laplacian[j, i] -= total
    sums = ranks.collect(sums, [owners[k] for pair in pairs for k in pair])
    pull = torch.zeros(len(sizes), x.shape[1], dtype=torch.float64, device=x.device)
    for (i, j), here, there in zip(pairs, sums[::2], sums[1::2], strict=True):
        apart = (here - there).double()
        pull[i] += apart
        pull[j] -= apart
    # The pseudo-inverse gives zero where no match decides.
    offsets = torch.linalg.pinv(laplacian, hermitian=True) @ pull
    share = torch.tensor(sizes, dtype=torch.float64, device=x.device)
    linked = (laplacian.diagonal() > 0).double()
    weights = share * linked
    if weights.sum() > 0:
        offsets -= linked[:, None] * (weights @ offsets) / weights.sum()
    return torch.as_tensor(offsets, dtype=x.dtype)
