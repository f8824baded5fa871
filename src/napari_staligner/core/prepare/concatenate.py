"""Joins slices into one AnnData."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
from scipy import sparse

from napari_staligner import _keys as K
from napari_staligner._errors import InputError
from napari_staligner.core.prepare.joining import slim_slices
from napari_staligner.core.prepare.libraries import drawable_libraries
from napari_staligner.core.prepare.storable import check_storable

if TYPE_CHECKING:
    from anndata import AnnData


def rehearse(
    slices: Sequence[tuple[str, AnnData]],
    used_genes: Sequence[str],
    counts: Sequence[str | None],
) -> None:
    """Join the slices without the large parts, and check that a file can hold the result.

    Parameters
    ----------
    slices, used_genes, counts
        As for :func:`concatenate`.

    Raises
    ------
    InputError
        They cannot be joined, or the result cannot be written.
    """
    # Once whole tables without values, and once a few spots with all their values.
    few = [(name, adata[:2]) for name, adata in slices]
    for join in (
        lambda: without_expression(slices, used_genes),
        lambda: concatenate(few, used_genes, counts)[0],
    ):
        try:
            joined = join()
        except (TypeError, ValueError, NotImplementedError) as error:
            raise InputError(
                f"The slices cannot be joined ({error}): leave out the columns and layers that "
                "are neither numbers nor text."
            ) from error
        check_storable(joined)


def without_expression(slices: Sequence[tuple[str, AnnData]], used_genes: Sequence[str]) -> AnnData:
    """Join slices into one AnnData like :func:`concatenate`, but without ``X`` and layers."""
    from anndata import AnnData

    tables = []
    for name, adata in slices:
        empty = sparse.csr_matrix(adata.shape, dtype=np.float32)
        part = AnnData(
            empty, obs=adata.obs, var=adata.var, uns=dict(adata.uns), obsm=dict(adata.obsm)
        )
        tables.append((name, part))
    joined, _ = concatenate(tables, used_genes, [None] * len(tables))
    joined.X = None
    return joined


def concatenate(
    slices: Sequence[tuple[str, AnnData]],
    used_genes: Sequence[str],
    counts: Sequence[str | None],
) -> tuple[AnnData, str | None]:
    """Join slices into one AnnData with all spots and all genes.

    Parameters
    ----------
    slices
        Name and AnnData of each slice.
    used_genes
        Genes to mark in ``var["used_by_staligner"]``.
    counts
        Layer of each slice that holds its counts; ``None`` for ``X``.

    Returns
    -------
    adata
        ``X``, and the layers and embeddings that all slices have, with zeros for genes that a
        slice lacks (``varm["in_slice"]`` says which); spots are named ``<spot>_<slice>``.
    counts
        The layer that holds the counts of all; ``None`` for ``X``.
    """
    import anndata as ad

    names = [name for name, _ in slices]
    parts, layer = slim_slices([adata for _, adata in slices], counts)
    joined = ad.concat(
        parts,
        join="outer",
        label=K.SLICE,
        keys=names,
        index_unique="_",
        fill_value=0,
        uns_merge="same",
    )
    # The join sorts the genes, so restore the order of the slices.
    joined = joined[:, pd.unique(np.concatenate([a.var_names for _, a in slices]))].copy()
    joined.obs[K.SLICE] = pd.Categorical(joined.obs[K.SLICE].astype(str), categories=names)
    for _, adata in slices:
        for column in adata.var:
            if column not in joined.var:
                merged = [a.var[column] for _, a in slices if column in a.var]
                whole = pd.concat(merged)
                joined.var[column] = whole[~whole.index.duplicated()].reindex(joined.var_names)
    joined.var[K.USED_GENE] = joined.var_names.isin(list(used_genes))
    joined.varm[K.IN_SLICE] = np.stack(
        [joined.var_names.isin(adata.var_names) for _, adata in slices], axis=1
    )
    # Named after the slice, for squidpy.
    joined.uns[K.SPATIAL] = drawable_libraries(slices)
    return joined, layer
