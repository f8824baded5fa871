"""The input of SEDR: principal components of the scaled genes, and spatial neighbours."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from scipy import sparse

from napari_staligner._errors import InputError
from napari_staligner.core.prepare.graph import spatial_graph
from napari_staligner.core.prepare.guards import variable_gene_table
from napari_staligner.core.settings import Settings

if TYPE_CHECKING:
    from numpy.typing import NDArray

COMPONENTS = 200
VARIABLE_GENES = 2000
FEWEST_SPOTS, FEWEST_COUNTS = 50, 10
"""Of a gene that is used."""
PER_SPOT = 1e6
NEIGHBORS_HEXAGONAL, NEIGHBORS_ELSEWHERE = 12, 6
"""Neighbours on the tissue: the authors use 12 for Visium and 6 for Stereo-seq."""
HEXAGONAL = 1.15
"""On a hexagonal grid the sixth nearest spot is no farther than this many times the nearest; on a
square one it is √2 times as far, among scattered spots more."""


def sedr_components(counts: Any) -> NDArray[np.float32]:
    """First 200 principal components of the scaled variable genes, all slices together.

    Genes in at least 50 spots and with 10 counts or more, scaled to a million counts per spot, not
    logged; the 2,000 most variable (``seurat_v3`` on the counts), each with mean 0 and variance 1.

    Parameters
    ----------
    counts
        Shape (spots, genes): of the genes that all slices have.

    Raises
    ------
    InputError
        Fewer than two genes are left.
    """
    import scanpy as sc
    from anndata import AnnData

    from napari_staligner.core.training.components import principal_components, scores

    counts = sparse.csr_matrix(counts, dtype=np.float32)
    spots, sums = counts.getnnz(axis=0), np.asarray(counts.sum(axis=0)).ravel()
    counts = counts[:, (spots >= FEWEST_SPOTS) & (sums >= FEWEST_COUNTS)]
    if counts.shape[1] < 2:
        raise InputError(
            f"SEDR needs genes that all slices have, in {FEWEST_SPOTS} spots and with "
            f"{FEWEST_COUNTS} counts at least, and {counts.shape[1]} are left: compare with the "
            "other methods."
        )
    scaled = AnnData(counts.copy())
    sc.pp.normalize_total(scaled, target_sum=PER_SPOT)
    values = sparse.csr_matrix(scaled.X)
    if counts.shape[1] > VARIABLE_GENES:
        found = variable_gene_table(counts, VARIABLE_GENES, counts=True)
        if found is None:
            raise InputError(
                "SEDR needs the most variable genes, and too few genes vary between the spots to "
                "find them: compare with the other methods."
            )
        values = values[:, found["highly_variable"].to_numpy(bool)]
    # principal_components centres the values without making a dense table of spots by genes.
    values = sparse.csr_matrix(values @ sparse.diags(1 / _deviations(values)), dtype=np.float32)
    n = min(COMPONENTS, min(values.shape) - 1)
    mean, axes = principal_components([values], n)
    return scores([values], values.shape[0], mean, axes)


def _deviations(values: sparse.csr_matrix) -> NDArray[np.float64]:
    """Standard deviation of each gene, as in scanpy's ``pp.scale``; 1 for a constant one."""
    n = values.shape[0]
    double = values.astype(np.float64)
    mean = np.asarray(double.mean(axis=0)).ravel()
    square = np.asarray(double.multiply(double).mean(axis=0)).ravel()
    found = np.sqrt(np.maximum(square - mean**2, 0) * n / max(n - 1, 1))
    return np.where(found > 0, found, 1.0)


def neighbors(
    coordinates: NDArray[np.float64], rows: Sequence[NDArray[np.intp]]
) -> tuple[sparse.csr_matrix, int]:
    """Nearest spots on the tissue, within each slice.

    Parameters
    ----------
    coordinates
        Shape (spots, 2), in the units of each slice.
    rows
        Spots of each slice.

    Returns
    -------
    Shape (spots, spots), CSR, 1 where either is among the k nearest of the other; and k: 12 if all
    slices are on hexagonal grids, as with Visium, else 6.
    """
    k = NEIGHBORS_HEXAGONAL
    if not all(_hexagonal(coordinates[of]) for of in rows):
        k = NEIGHBORS_ELSEWHERE
    n = len(coordinates)
    found = sparse.csr_matrix((n, n), dtype=np.float32)
    for of in rows:
        graph = spatial_graph(coordinates[of], Settings(n_neighbors=k)).connectivities.tocoo()
        places = (of[graph.row], of[graph.col])
        found = found + sparse.csr_matrix((graph.data, places), shape=(n, n))
    return found.tocsr(), k


def _hexagonal(points: NDArray[np.float64]) -> bool:
    from scipy.spatial import KDTree

    if len(points) < 8:
        return False
    distance, _ = KDTree(points).query(points, k=7)
    return bool(np.median(distance[:, 6]) <= HEXAGONAL * np.median(distance[:, 1]))
