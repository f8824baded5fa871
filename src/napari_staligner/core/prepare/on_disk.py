"""Matrices that stay on disk until they are needed, as dask arrays of whole rows."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from scipy import sparse

from napari_staligner._errors import InputError
from napari_staligner.core.free_memory import free_memory
from napari_staligner.core.outside import pass_on_memory
from napari_staligner.core.prepare.guards import check_structure, with_whole_indices

if TYPE_CHECKING:
    from anndata import AnnData

INDEX = ("indices", "indptr")
_PLACE = "staligner_place"
ROWS = 4096
"""How many rows are read and written at once."""

LEAST_ROOM = 1 << 28
"""Bytes that are free before HDF5 is asked to read."""


def named_layers(adata: AnnData) -> dict[str, Any]:
    """Layers of an AnnData by name: from anndata 0.13 on, they also hold ``X``, as ``None``."""
    return {str(key): adata.layers[key] for key in adata.layers if key is not None}


def on_disk(matrix: Any) -> bool:
    """Whether a matrix is a dask array, with values that are not in memory."""
    return hasattr(matrix, "compute")


def check_room() -> None:
    """Check that HDF5 has room to read in; it ends the process where an allocation of its fails.

    Raises
    ------
    MemoryError
        Hardly any memory is left.
    """
    if free_memory().bytes < LEAST_ROOM:
        raise MemoryError("there is too little memory to read a file")


def in_memory(matrix: Any) -> Any:
    """Return a matrix with its values in memory.

    Raises
    ------
    InputError
        Its file cannot be read any more.
    MemoryError
        There is too little memory.
    """
    if not on_disk(matrix):
        return matrix
    check_room()
    try:
        return matrix.compute()
    except (InputError, MemoryError):
        raise
    except Exception as error:  # anndata raises whatever h5py, zarr or dask meet
        pass_on_memory(error)
        place = _place_of(matrix)
        if not place:
            raise
        why = (str(error).splitlines() or [type(error).__name__])[0]
        raise InputError(
            f"{place} cannot be read any more ({why}): its file was moved, removed or replaced; "
            "load the slice again."
        ) from error


def _place_of(matrix: Any) -> str:
    """File and slot that a dask array is made from; empty if it is not from a file."""
    told = (layer.annotations or {} for layer in matrix.dask.layers.values())
    return next((each[_PLACE] for each in told if _PLACE in each), "")


def left_on_disk(element: Any) -> Any:
    """Refer to a matrix in a file, CSR, CSC or dense, without reading it.

    Parameters
    ----------
    element
        Group or dataset of h5py or zarr.

    Returns
    -------
    A dask array; its blocks are rows, CSR or dense. It opens the file for each block, so the
    element may be closed. A matrix that can only be read whole is read.
    """
    import dask

    try:
        with dask.annotate(**{_PLACE: _place(element)}):
            lazy = _lazy(element)
        if lazy.numblocks[0] > 1:
            # Find out now, not in the middle of a run, whether it can be read this way.
            lazy[:1].compute()
    except Exception as error:  # anndata raises whatever h5py, zarr or dask meet
        pass_on_memory(error)
        return read_matrix(element)
    return lazy


def read_matrix(element: Any) -> Any:
    """Read a matrix from a file, even if its numbers have types that scipy does not accept.

    Parameters
    ----------
    element
        Group or dataset of h5py or zarr.
    """
    from anndata.io import read_elem

    try:
        matrix = read_elem(element)
        check_structure(_place(element), matrix)
        if sparse.issparse(matrix):
            matrix = with_whole_indices(matrix)
        # Some types show only when the values are used.
        matrix[:1].sum()
    except InputError:
        raise
    except Exception as error:  # anndata raises whatever h5py, zarr or scipy meet
        pass_on_memory(error)
        kind = str(element.attrs.get("encoding-type", ""))
        if kind not in ("csr_matrix", "csc_matrix"):
            raise
        data, *index = (np.asarray(element[key][:]) for key in ("data", *INDEX))
        data = data.astype(np.float32) if data.dtype == np.float16 else data
        make = sparse.csc_matrix if kind == "csc_matrix" else sparse.csr_matrix
        shape = tuple(int(n) for n in element.attrs["shape"])
        matrix = make((data, *(part.astype(np.int64) for part in index)), shape=shape)
        check_structure(_place(element), matrix)
    return matrix


def _lazy(element: Any) -> Any:
    from anndata.experimental import read_elem_lazy

    if np.asarray(element.attrs.get("shape", 0)).dtype.kind not in "iu":
        raise TypeError("the shape is no whole number")
    if hasattr(element, "keys") and any(element[k].dtype.kind != "i" for k in INDEX):
        raise TypeError("the indices are no whole numbers")
    if "csc" in str(element.attrs.get("encoding-type", "")):
        # Stored by columns: rows can only be read from the whole.
        return _sparse_blocks(_checked(read_elem_lazy(element), element).rechunk((-1, -1)))
    width = element.attrs["shape"][1] if "shape" in element.attrs else element.shape[1]
    return _checked(read_elem_lazy(element, chunks=(ROWS, int(width))), element)


def _checked(lazy: Any, element: Any) -> Any:
    """Look at the structure of each block once it is read, before it is joined or used."""
    if not sparse.issparse(getattr(lazy, "_meta", None)):
        return lazy
    return lazy.map_blocks(_whole, _place(element), dtype=lazy.dtype, meta=lazy._meta)


def _place(element: Any) -> str:
    """File and slot of an element, for a message."""
    file = getattr(getattr(element, "file", None), "filename", "")
    slot = str(element.name).lstrip("/")
    return f"{Path(file).name!r}: {slot}" if file else slot


def _whole(block: Any, where: str) -> Any:
    check_structure(where, block)
    return block


def unbacked(adata: AnnData) -> AnnData:
    """Return a slice opened with ``backed="r"`` as one with a dask array as ``X``."""
    if not adata.isbacked:
        return adata
    if adata.is_view:
        return adata.to_memory()
    raw = None
    if adata.raw is not None:
        raw = {"X": left_on_disk(adata.file["raw/X"]), "var": adata.raw.var}
    return with_slots(adata, X=left_on_disk(getattr(adata.X, "group", adata.X)), raw=raw)


def with_slots(adata: AnnData, **slots: Any) -> AnnData:
    """Return a slice with the same arrays in all slots, except for the given ones.

    It has its own tables and dictionaries: changes to one do not affect the other.
    """
    from anndata import AnnData

    raw = None if "raw" in slots else adata.raw
    kept: dict[str, Any] = {
        "X": None if "X" in slots else adata.X,
        "obs": adata.obs.copy(),
        "var": adata.var.copy(),
        "uns": dict(adata.uns),
        "layers": named_layers(adata),
        "raw": None if raw is None else {"X": raw.X, "var": raw.var, "varm": dict(raw.varm)},
    }
    kept |= {slot: dict(getattr(adata, slot)) for slot in ("obsm", "varm", "obsp", "varp")}
    return AnnData(**(kept | slots))


def alike(matrices: Sequence[Any]) -> list[Any]:
    """If a matrix is on disk, bring all matrices to one kind, so that they can be joined.

    Parameters
    ----------
    matrices
        Of each slice.

    Returns
    -------
    Unchanged if all are in memory; else dask arrays, sparse if one is.
    """
    if not any(map(on_disk, matrices)):
        return list(matrices)
    lazy = [matrix if on_disk(matrix) else _wrapped(matrix) for matrix in matrices]
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
