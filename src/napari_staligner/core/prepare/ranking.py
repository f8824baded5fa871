"""Which genes are used of those that slices share: the most variable by their rank over slices."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
from scipy import sparse

from napari_staligner.core.prepare.counts import ValueKind, kind_of
from napari_staligner.core.prepare.guards import variable_gene_table
from napari_staligner.core.prepare.slices import (
    FEWEST_GENES,
    LARGEST_LOG,
    expression_of,
    normalize,
    variance,
)

if TYPE_CHECKING:
    from anndata import AnnData
    from numpy.typing import NDArray


def variability(name: str, adata: AnnData, counts_layer: str | None) -> pd.Series[float]:
    """How much more each gene of a slice varies than genes of its mean do.

    Of counts, the standardised variance of ``seurat_v3``; of logarithms, the normalised dispersion
    of ``seurat``. Where neither can be fitted, the variance.

    Parameters
    ----------
    name, adata, counts_layer
        The slice.

    Returns
    -------
    Of each gene, by its name, float64; only their order means something.
    """
    matrix = sparse.csr_matrix(expression_of(name, adata, counts_layer), dtype=np.float32)
    kind = kind_of(matrix)
    if kind is ValueKind.NORMALISED:
        matrix = normalize(name, adata, counts_layer)
    found = None
    if kind is ValueKind.COUNTS or matrix.data.max(initial=0) <= LARGEST_LOG:
        found = _beyond_mean(matrix, counts=kind is ValueKind.COUNTS)
    return pd.Series(variance(matrix) if found is None else found, adata.var_names)


def _beyond_mean(matrix: sparse.csr_matrix, *, counts: bool) -> NDArray[np.float64] | None:
    table = variable_gene_table(matrix, matrix.shape[1], counts=counts)
    if table is None:
        return None
    found = table["variances_norm" if counts else "dispersions_norm"].to_numpy(np.float64)
    # Genes that have a bin of seurat to themselves get no dispersion.
    known = np.isfinite(found)
    return np.where(known, found, -np.inf) if known.sum() >= FEWEST_GENES else None


def best_ranked(shared: Sequence[str], found: Sequence[pd.Series[float]], n_top: int) -> list[str]:
    """Take the genes that rank as the most variable over slices.

    What is variable in one slice alone, by noise or by a fold in the tissue, does not come first
    then, and what all slices but one agree on does not fall out, however many slices there are.

    Parameters
    ----------
    shared
        Genes that all slices have.
    found
        :func:`variability` of each slice.
    n_top
        How many.

    Returns
    -------
    Those of the lowest median rank, in the order of ``shared``; all where there are no more.
    """
    if len(shared) <= n_top:
        return list(shared)
    ranks = [of_slice[shared].rank(ascending=False).to_numpy() for of_slice in found]
    best = np.argsort(np.median(ranks, axis=0), kind="stable")[:n_top]
    return [shared[i] for i in np.sort(best)]
