"""Brings matrices of slices to forms that the engine can use: CSR, CSC or dense, of usual types."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from scipy import sparse

from napari_staligner._errors import InputError
from napari_staligner.core.prepare.guards import check_structure, with_whole_indices
from napari_staligner.core.prepare.on_disk import named_layers, on_disk, with_slots

if TYPE_CHECKING:
    from anndata import AnnData


def with_plain_matrices(name: str, adata: AnnData) -> AnnData:
    """Return a slice with plain ``X``, ``layers`` and ``.raw``; the same slice if they already are.

    Sparse arrays and other sparse formats become CSR matrices, half floats become float32, and
    objects that are numbers become float64; no value changes.

    Raises
    ------
    InputError
        ``X`` or a layer holds something other than numbers.
    """
    raw = adata.raw
    plain = {key: _plain(name, f"layers[{key!r}]", m) for key, m in named_layers(adata).items()}
    x = None if adata.X is None else _plain(name, "X", adata.X)
    of_raw = None if raw is None else _plain(name, ".raw", raw.X)
    same = all(plain[key] is m for key, m in named_layers(adata).items())
    if same and x is adata.X and (raw is None or of_raw is raw.X):
        return adata
    slots: dict[str, Any] = {"X": x, "layers": plain}
    if raw is not None:
        slots["raw"] = {"X": of_raw, "var": raw.var, "varm": dict(raw.varm)}
    return with_slots(adata, **slots)


def _plain(name: str, slot: str, matrix: Any) -> Any:
    if on_disk(matrix):
        meta = matrix._meta
        plain = _plain(name, slot, meta)
        if plain is meta:
            return matrix
        return matrix.map_blocks(
            lambda block: _plain(name, slot, block), dtype=plain.dtype, meta=plain
        )
    if sparse.issparse(matrix) and not isinstance(matrix, sparse.csr_matrix | sparse.csc_matrix):
        csc = getattr(matrix, "format", "") == "csc"
        matrix = (sparse.csc_matrix if csc else sparse.csr_matrix)(matrix)
    elif not sparse.issparse(matrix) and type(matrix) is not np.ndarray:
        matrix = np.asarray(np.ma.filled(matrix, 0) if np.ma.isMaskedArray(matrix) else matrix)
    check_structure(f"Slice {name!r}: {slot}", matrix)
    if sparse.issparse(matrix):
        matrix = with_whole_indices(matrix)
    if matrix.dtype.kind in "biu" or matrix.dtype in (np.float32, np.float64):
        return matrix.astype(np.uint8) if matrix.dtype.kind == "b" else matrix
    if matrix.dtype.kind == "f" and matrix.dtype.itemsize < 4:
        return _cast(matrix, np.float32)
    try:
        return _cast(matrix, np.float64)
    except (TypeError, ValueError):
        raise InputError(
            f"Slice {name!r}: {slot} holds values of type {matrix.dtype}, not numbers; give it "
            "counts."
        ) from None


def _cast(matrix: Any, kind: type[np.floating[Any]]) -> Any:
    """Cast the stored values; scipy has no sparse matrices of half floats."""
    if not sparse.issparse(matrix):
        if matrix.dtype.kind == "c":
            raise TypeError
        return matrix.astype(kind)
    values = np.asarray(matrix.data)
    if values.dtype.kind == "c":
        raise TypeError
    return type(matrix)((values.astype(kind), matrix.indices, matrix.indptr), shape=matrix.shape)
