"""Figures and edges read from the attention of a result.

Row *i* of ``obsp["attention"]`` says how much of spot *i*'s representation comes from each spot
that sends to it; the diagonal is the weight of the spot itself, and the row sums to 1.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from napari_staligner import _keys as K
from napari_staligner._errors import InputError

if TYPE_CHECKING:
    from anndata import AnnData
    from numpy.typing import NDArray
    from pandas import DataFrame
    from scipy.sparse import csr_matrix


def self_attention(adata: AnnData) -> NDArray[np.float32]:
    """Weight that each spot gives to itself.

    Parameters
    ----------
    adata
        Result of an integration, with ``obsp["attention"]``.

    Returns
    -------
    Weights, shape (spots,), 0..1.

    Raises
    ------
    InputError
        There is no attention.
    """
    return np.asarray(_attention(adata).diagonal(), dtype=np.float32)


def attention_entropy(adata: AnnData) -> NDArray[np.float32]:
    """How evenly each spot spreads its attention over its senders, itself included.

    The entropy of the spot's weights divided by the logarithm of their number: 1 if all are
    equal, near 0 if one has nearly all the weight, 0 for a spot that receives only from itself.

    Parameters
    ----------
    adata
        Result of an integration, with ``obsp["attention"]``.

    Returns
    -------
    Normalised entropies, shape (spots,), 0..1.

    Raises
    ------
    InputError
        There is no attention.
    """
    matrix = _attention(adata)
    receivers, weights = _receivers(matrix), np.asarray(matrix.data, dtype=np.float64)
    heard = weights > 0
    receivers, weights = receivers[heard], weights[heard]
    n_spots = matrix.shape[0]
    senders = np.bincount(receivers, minlength=n_spots)
    entropy = np.bincount(receivers, -weights * np.log(weights), minlength=n_spots)
    several = senders > 1
    out = np.zeros(n_spots, dtype=np.float32)
    out[several] = np.clip(entropy[several] / np.log(senders[several]), 0, 1)
    return out


def foreign_attention(adata: AnnData) -> NDArray[np.float32]:
    """How much attention each spot gives to spots of other domains.

    Parameters
    ----------
    adata
        Result of an integration, with ``obsp["attention"]`` and ``obs["domain"]``.

    Returns
    -------
    Sum of the weights of senders in another domain, shape (spots,), 0..1; the rest of a spot's
    weights goes to itself and to its own domain. 0 for spots without a domain.

    Raises
    ------
    InputError
        There is no attention, or there are no domains.
    """
    matrix, codes = _attention(adata), _domain_codes(adata)
    receivers = _receivers(matrix)
    across = _across(codes, receivers, matrix.indices)
    sums = np.bincount(receivers[across], matrix.data[across], minlength=matrix.shape[0])
    return np.clip(sums, 0, 1).astype(np.float32)


def border_attention(adata: AnnData) -> DataFrame:
    """Mean attention at the borders of domains, across them and within.

    The weights of a spot sum to 1, so a spot with more neighbours gives less to each. So only
    spots that receive from both kinds of neighbours are compared, by the mean weight of each kind;
    in the mean over spots, every spot counts the same.

    Parameters
    ----------
    adata
        Result of an integration, with ``obsp["attention"]`` and ``obs["domain"]``.

    Returns
    -------
    One row per domain of the receiving spots; columns are ``spots`` (how many receive from
    both), ``within`` and ``across`` (mean weight of a neighbour; ``nan`` without such spots).

    Raises
    ------
    InputError
        There is no attention, or there are no domains.
    """
    import pandas as pd

    matrix, codes = _attention(adata), _domain_codes(adata)
    receivers, senders = _receivers(matrix), matrix.indices
    known = (receivers != senders) & (codes[receivers] >= 0) & (codes[senders] >= 0)
    across = _across(codes, receivers, senders)
    means = [_mean_weight(matrix, receivers, known & kind) for kind in (~across, across)]
    both = np.isfinite(means[0]) & np.isfinite(means[1])
    domains = pd.Categorical.from_codes(codes, adata.obs[K.DOMAIN].cat.categories.astype(str))
    table = pd.DataFrame({"within": means[0], "across": means[1]})[both]
    grouped = table.groupby(domains[both], observed=False)
    out = grouped.mean()
    out.insert(0, "spots", grouped.size())
    return out.rename_axis("domain")


def attention_edges(
    adata: AnnData, rows: NDArray[np.integer], *, threshold: float = 0.0, strongest: int = 0
) -> tuple[NDArray[np.intp], NDArray[np.intp], NDArray[np.float32]]:
    """Edges on which some spots receive from others, without the self loops.

    Parameters
    ----------
    adata
        Result of an integration, with ``obsp["attention"]``.
    rows
        Rows of the result whose incoming edges are wanted.
    threshold
        Edges with a smaller weight are left out.
    strongest
        Keep only this many of the strongest senders of each receiving spot; 0 keeps all. If weights
        are equal, the sender that comes first in the result is kept.

    Returns
    -------
    Receivers, senders (rows of the result) and weights, each of shape (edges,), ordered as
    ``rows`` and by sender within a receiver.

    Raises
    ------
    InputError
        There is no attention.
    """
    rows = np.asarray(rows, dtype=np.intp)
    part = _attention(adata)[rows]
    order = _receivers(part)
    senders, weights = part.indices.astype(np.intp), np.asarray(part.data, dtype=np.float32)
    kept = (senders != rows[order]) & (weights >= threshold)
    order, senders, weights = order[kept], senders[kept], weights[kept]
    if strongest > 0:
        by_weight = np.lexsort((senders, -weights, order))
        degree = np.bincount(order, minlength=len(rows))
        starts = np.cumsum(degree) - degree
        rank = np.arange(len(order)) - starts[order[by_weight]]
        kept = by_weight[rank < strongest]
        order, senders, weights = order[kept], senders[kept], weights[kept]
    tidy = np.lexsort((senders, order))
    return rows[order[tidy]], senders[tidy], weights[tidy]


def spot_edges(
    adata: AnnData, row: int, *, threshold: float = 0.0, strongest: int = 0
) -> tuple[NDArray[np.intp], NDArray[np.intp], NDArray[np.float32]]:
    """Edges on which one spot receives from others, or they receive from it.

    Parameters
    ----------
    adata
        Result of an integration, with ``obsp["attention"]``.
    row
        Row of the spot in the result.
    threshold, strongest
        As in :func:`attention_edges`.

    Returns
    -------
    Receivers, senders and weights, each of shape (edges,); the spot is one of the two.

    Raises
    ------
    InputError
        There is no attention.
    """
    matrix = _attention(adata)
    at = np.flatnonzero(matrix.indices == row)
    collecting = np.union1d(np.searchsorted(matrix.indptr, at, side="right") - 1, [row])
    receivers, senders, weights = attention_edges(
        adata, collecting, threshold=threshold, strongest=strongest
    )
    own = (receivers == row) | (senders == row)
    return receivers[own], senders[own], weights[own]


def top_weight(adata: AnnData) -> float:
    """Upper end of a colour scale for edges: few weights are above it.

    Parameters
    ----------
    adata
        Result of an integration, with ``obsp["attention"]``.

    Returns
    -------
    99th percentile of the weights between different spots; 1 if there are none.

    Raises
    ------
    InputError
        There is no attention.
    """
    matrix = _attention(adata)
    between = matrix.data[matrix.indices != _receivers(matrix)]
    top = float(np.percentile(between, 99)) if len(between) else 0.0
    return top if top > 0 else 1.0


def neighbor_table(adata: AnnData, row: int) -> DataFrame:
    """Spots that one spot receives from or sends to.

    Parameters
    ----------
    adata
        Result of an integration, with ``obsp["attention"]``.
    row
        Row of the spot in the result.

    Returns
    -------
    One row per neighbour: the spot itself first, then by decreasing incoming weight. The index is
    the row in the result; columns are ``name``, ``domain`` (empty if there are none),
    ``distance`` (in the units of the slice, ``nan`` if unknown), ``incoming`` (how much the spot
    takes from the neighbour) and ``outgoing`` (how much the neighbour takes from the spot).

    Raises
    ------
    InputError
        There is no attention.
    """
    import pandas as pd

    matrix = _attention(adata)
    heard = slice(matrix.indptr[row], matrix.indptr[row + 1])
    incoming = pd.Series(matrix.data[heard], index=matrix.indices[heard], dtype=np.float64)
    at = np.flatnonzero(matrix.indices == row)
    listeners = np.searchsorted(matrix.indptr, at, side="right") - 1
    outgoing = pd.Series(matrix.data[at], index=listeners, dtype=np.float64)
    table = pd.DataFrame({"incoming": incoming, "outgoing": outgoing}).fillna(0.0)
    table = table.reindex(table.index.union([row]), fill_value=0.0)

    found = table.index.to_numpy()
    table.insert(0, "name", adata.obs_names[found])
    domain = adata.obs[K.DOMAIN].iloc[found].astype(str).to_numpy() if K.DOMAIN in adata.obs else ""
    table.insert(1, "domain", domain)
    table.insert(2, "distance", _distances(adata, row, found))
    table["other"] = found != row
    table = table.sort_values(["other", "incoming"], ascending=[True, False], kind="stable").drop(
        columns="other"
    )
    return table.rename_axis(index="row")


def _distances(adata: AnnData, row: int, others: NDArray[np.integer]) -> NDArray[np.float64]:
    """Distance of a spot to others; nan if it is not in the graph."""
    distances = np.full(len(others), np.nan)
    if K.DISTANCES in adata.obsp:
        known = adata.obsp[K.DISTANCES][[row]].tocsr()
        at = np.searchsorted(others, known.indices)
        there = at < len(others)
        there[there] = others[at[there]] == known.indices[there]
        distances[at[there]] = known.data[there]
    distances[others == row] = 0.0
    return distances


def _mean_weight(
    matrix: csr_matrix, receivers: NDArray[np.intp], which: NDArray[np.bool_]
) -> NDArray[np.float64]:
    """Mean of some weights of each receiving spot; nan if it has none of them."""
    n_spots = matrix.shape[0]
    n = np.bincount(receivers[which], minlength=n_spots)
    sums = np.bincount(receivers[which], matrix.data[which], minlength=n_spots)
    return np.divide(sums, n, out=np.full(n_spots, np.nan), where=n > 0)


def _across(
    codes: NDArray[np.integer], receivers: NDArray[np.integer], senders: NDArray[np.integer]
) -> NDArray[np.bool_]:
    """Which edges join spots of two domains."""
    ends = codes[receivers], codes[senders]
    return np.asarray((ends[0] != ends[1]) & (ends[0] >= 0) & (ends[1] >= 0))


def _domain_codes(adata: AnnData) -> NDArray[np.intp]:
    if K.DOMAIN not in adata.obs:
        raise InputError(
            f"The result has no obs[{K.DOMAIN!r}]: find domains to compare attention across them."
        )
    return np.asarray(adata.obs[K.DOMAIN].cat.codes, dtype=np.intp)


def _attention(adata: AnnData) -> csr_matrix:
    if K.ATTENTION not in adata.obsp:
        raise InputError(
            f"The result has no obsp[{K.ATTENTION!r}]: run the integration to get attention."
        )
    return adata.obsp[K.ATTENTION].tocsr()


def _receivers(matrix: csr_matrix) -> NDArray[np.intp]:
    """Row of every stored element, in the order of ``data``."""
    return np.repeat(np.arange(matrix.shape[0]), np.diff(matrix.indptr))
