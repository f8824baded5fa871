"""Matrices that stay on disk until they are asked for, as dask arrays of whole rows."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from scipy import sparse

if TYPE_CHECKING:
    from anndata import AnnData

ROWS = 4096
"""Rows that are read and written at once."""


def named_layers(adata: AnnData) -> dict[str, Any]:
    """Layers of an AnnData by name: from anndata 0.13 on, they also hold ``X``, as ``None``."""
    return {str(key): adata.layers[key] for key in adata.layers if key is not None}


def on_disk(matrix: Any) -> bool:
    """Whether a matrix is a dask array, whose values are not in memory."""
    return hasattr(matrix, "compute")


def in_memory(matrix: Any) -> Any:
    """Return a matrix with its values in memory."""
    return matrix.compute() if on_disk(matrix) else matrix


def left_on_disk(element: Any) -> Any:
    """Refer to a matrix in a file, CSR, CSC or dense, without reading it.

    Parameters
    ----------
    element
        Group or dataset of h5py or zarr.

    Returns
    -------
    A dask array; its blocks are rows, CSR or dense. It opens the file for each block, and the
    element may be closed.
    """
    from anndata.experimental import read_elem_lazy

    if "csc" in str(element.attrs.get("encoding-type", "")):
        # Stored by columns: rows can be had only from the whole.
        return _sparse_blocks(read_elem_lazy(element).rechunk((-1, -1)))
    width = element.attrs["shape"][1] if "shape" in element.attrs else element.shape[1]
    return read_elem_lazy(element, chunks=(ROWS, int(width)))


def unbacked(adata: AnnData) -> AnnData:
    """Return a slice that was opened with ``backed="r"`` as one whose ``X`` is a dask array."""
    if not adata.isbacked:
        return adata
    return sharing(adata, left_on_disk(getattr(adata.X, "group", adata.X)))


def sharing(adata: AnnData, x: Any) -> AnnData:
    """Return a slice of ``x`` and the same arrays: what is added to one, the other lacks."""
    from anndata import AnnData

    return AnnData(
        x,
        obs=adata.obs.copy(),
        var=adata.var.copy(),
        obsm=dict(adata.obsm),
        layers=named_layers(adata),
        uns=dict(adata.uns),
    )


def alike(matrices: Sequence[Any], shapes: Sequence[tuple[int, int]]) -> list[Any]:
    """Bring matrices of slices to one kind where one is on disk, so that they can be joined.

    Parameters
    ----------
    matrices
        Of each slice; ``None`` where it has none.
    shapes
        Spots and genes of each slice.

    Returns
    -------
    As they are, if all are in memory; else dask arrays, sparse where one is, with zeros for
    ``None``.
    """
    first = next(filter(on_disk, matrices), None)
    if first is None:
        return list(matrices)
    nothing = (sparse.csr_matrix(shape, dtype=first.dtype) for shape in shapes)
    lazy = [
        matrix if on_disk(matrix) else _wrapped(none if matrix is None else matrix)
        for matrix, none in zip(matrices, nothing, strict=True)
    ]
    kinds = [sparse.issparse(array._meta) for array in lazy]
    if any(kinds):
        lazy = [a if kind else _sparse_blocks(a) for a, kind in zip(lazy, kinds, strict=True)]
    return lazy


def _wrapped(matrix: Any) -> Any:
    from dask.array import from_array

    matrix = sparse.csr_matrix(matrix) if sparse.issparse(matrix) else np.asarray(matrix)
    return from_array(matrix, chunks=(ROWS, -1), asarray=False)


def _sparse_blocks(array: Any) -> Any:
    meta = sparse.csr_matrix((0, 0), dtype=array.dtype)
    return array.map_blocks(sparse.csr_matrix, dtype=array.dtype, meta=meta)
