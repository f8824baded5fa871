"""Figures and edges read from the attention of a result.

Row *i* of ``obsp["attention"]`` says how much of spot *i*'s representation comes from each spot
that sends to it; the diagonal is what it keeps of itself, and the row sums to 1.
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
    """How evenly each spot listens to those that send to it, itself included.

    The entropy of the spot's weights over the logarithm of their number: 1 if all weigh the
    same, near 0 if one of them is all that counts, 0 for a spot that hears only itself.

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


def attention_edges(
    adata: AnnData, rows: NDArray[np.integer], *, threshold: float = 0.0, strongest: int = 0
) -> tuple[NDArray[np.intp], NDArray[np.intp], NDArray[np.float32]]:
    """Edges by which some spots hear others, without the self loops.

    Parameters
    ----------
    adata
        Result of an integration, with ``obsp["attention"]``.
    rows
        Rows of the result whose incoming edges are wanted.
    threshold
        Edges with a smaller weight are left out.
    strongest
        Keep only the strongest so many senders of each receiving spot; 0 keeps all. Of equal
        weights the sender that stands first in the result is kept.

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


def top_weight(adata: AnnData) -> float:
    """Upper end of a colour scale for edges: few weights lie above it.

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
    """Spots that one spot hears or is heard by.

    Parameters
    ----------
    adata
        Result of an integration, with ``obsp["attention"]``.
    row
        Row of the spot in the result.

    Returns
    -------
    One row per neighbour: the spot itself first, then by falling incoming weight. The index is
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
    """Distance of a spot to others; nan where the graph does not know it."""
    distances = np.full(len(others), np.nan)
    if K.DISTANCES in adata.obsp:
        known = adata.obsp[K.DISTANCES][[row]].tocsr()
        at = np.searchsorted(others, known.indices)
        there = at < len(others)
        there[there] = others[at[there]] == known.indices[there]
        distances[at[there]] = known.data[there]
    distances[others == row] = 0.0
    return distances


def _attention(adata: AnnData) -> csr_matrix:
    if K.ATTENTION not in adata.obsp:
        raise InputError(
            f"The result has no obsp[{K.ATTENTION!r}]: run the integration to get attention."
        )
    return adata.obsp[K.ATTENTION].tocsr()


def _receivers(matrix: csr_matrix) -> NDArray[np.intp]:
    """Row of every stored element, in the order of ``data``."""
    return np.repeat(np.arange(matrix.shape[0]), np.diff(matrix.indptr))
