"""Slices as plain text: a table of spots, and counts in the format of 10x Genomics."""

from __future__ import annotations

import gzip
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
from scipy import sparse

from napari_staligner import _keys as K
from napari_staligner.core.prepare.on_disk import in_memory
from napari_staligner.core.progress import Progress
from napari_staligner.core.result.access import record_of, spots_xy
from napari_staligner.io.export.parts import (
    columns_made,
    counted,
    file_names,
    own_names,
    rows_by_slice,
)
from napari_staligner.io.h5ad import genes_of_slice

if TYPE_CHECKING:
    from anndata import AnnData
    from numpy.typing import NDArray

    from napari_staligner.core.progress import Steps

GENES = 4096
"""How many columns of counts are written at once."""


def table_steps(adata: AnnData, draft: Path) -> Steps[str]:
    """Write the spots of each slice as ``<slice>_coordinates.csv`` into a folder.

    The columns are ``barcode``, ``x``, ``y``, ``x_aligned`` and ``y_aligned`` (if the slices were
    aligned), and what was made here: ``domain``, ``alignment_confidence``, ``annotation`` and so
    on. The counts are next to it: ``<slice>_matrix.mtx.gz`` with ``…_barcodes.tsv.gz`` and
    ``…_features.tsv.gz``. :func:`~napari_staligner.read_slices` can read the folder.

    Parameters
    ----------
    adata
        Integrated slices.
    draft
        The folder.
    """
    slices = rows_by_slice(adata)
    files, step = file_names(slices), 0
    for name, rows in slices.items():
        yield Progress(f"writing {name}", step, 2 * len(slices))
        start = str(draft / files[name])
        table = spot_table(adata, name, rows)
        table.to_csv(f"{start}_coordinates.csv", index=False)
        yield Progress(f"counts of {name}", step + 1, 2 * len(slices))
        if adata.X is not None:
            yield from _write_counts(adata, name, rows, start, step + 1, 2 * len(slices))
        step += 2
    return f"Tables of {counted(slices)}"


def spot_table(adata: AnnData, name: str, rows: NDArray[np.intp]) -> pd.DataFrame:
    """Return what a result says about the spots of a slice; see :func:`table_steps`."""
    xy = spots_xy(adata)[rows]
    table = {"barcode": own_names(adata, name, rows), "x": xy[:, 0], "y": xy[:, 1]}
    if K.SPATIAL_ALIGNED in adata.obsm:
        aligned = np.asarray(adata.obsm[K.SPATIAL_ALIGNED])[rows]
        table |= {"x_aligned": aligned[:, 0], "y_aligned": aligned[:, 1]}
    table |= {key: adata.obs[key].iloc[rows].to_numpy() for key in columns_made(adata)}
    return pd.DataFrame(table)


def _write_counts(
    adata: AnnData, name: str, rows: NDArray[np.intp], start: str, done: int, total: int
) -> Steps[None]:
    """Write the counts of a slice as a matrix of genes × spots, a piece at a time."""
    layer = record_of(adata).get(K.COUNTS_LAYER)
    matrix = adata.X if layer is None else adata.layers[str(layer)]
    genes = genes_of_slice(adata, name)
    counts = sparse.csc_matrix(in_memory(matrix[rows]))[:, genes]
    counts.sort_indices()
    whole = bool((counts.data == np.round(counts.data)).all())
    kind, form = ("integer", "%d %d %d") if whole else ("real", "%d %d %.9g")
    n_spots, n_genes = counts.shape
    with gzip.open(f"{start}_matrix.mtx.gz", "wt", compresslevel=4, encoding="ascii") as file:
        file.write(f"%%MatrixMarket matrix coordinate {kind} general\n")
        file.write(f"{n_genes} {n_spots} {counts.nnz}\n")
        for first in range(0, n_genes, GENES):
            part = counts[:, first : first + GENES].tocoo()
            entries = zip(part.col + first + 1, part.row + 1, part.data, strict=True)
            file.writelines(form % entry + "\n" for entry in entries)
            yield Progress(f"counts of {name}", done, total)
    _write_lines(f"{start}_barcodes.tsv.gz", own_names(adata, name, rows))
    names = adata.var_names[genes]
    ids = adata.var["gene_ids"][genes].astype(str) if "gene_ids" in adata.var else names
    lines = (f"{i}\t{gene}\tGene Expression" for i, gene in zip(ids, names, strict=True))
    _write_lines(f"{start}_features.tsv.gz", lines)


def _write_lines(path: str, lines: Iterable[str]) -> None:
    with gzip.open(path, "wt", encoding="utf-8") as file:
        file.writelines(f"{line}\n" for line in lines)
