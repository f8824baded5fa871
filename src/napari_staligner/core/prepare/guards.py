"""What is kept from compiled code of others, because it ends the process instead of failing.

:data:`GUARDS` lists all of it, with the case that showed each; so does ``docs/reliability.md``.
"""

from __future__ import annotations

import warnings
from contextlib import nullcontext
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from scipy import sparse

from napari_staligner._errors import InputError
from napari_staligner.core.prepare.loess_process import loess_aside

if TYPE_CHECKING:
    import pandas as pd

FEWEST_FITTED = 20
"""Genes that must vary for a fit of their variance over their mean."""


@dataclass(frozen=True)
class Guard:
    """Something that is kept from compiled code.

    Parameters
    ----------
    callee
        The function of another package.
    kept
        What does not reach it.
    case
        What was seen with it.
    instead
        What happens now.
    where
        Module and function that do so, ``core.module:function``.
    """

    callee: str
    kept: str
    case: str
    instead: str
    where: str


GUARDS = (
    Guard(
        "skmisc.loess, by scanpy.pp.highly_variable_genes(flavor='seurat_v3')",
        f"fewer than 2 spots, fewer than {FEWEST_FITTED} genes that vary in float32, values that "
        "are not finite",
        "SIGSEGV with counts that are all zero, with constant genes, with 1 to 3 genes that vary, "
        "with one spot, with NaN or infinity, and with 1e-300, which is 0 in float32",
        "genes are ranked by their plain variance",
        "core.prepare.guards:variable_gene_table",
    ),
    Guard(
        "skmisc.loess",
        "everything: it runs in a process of its own",
        "the crashes above; others may be found",
        "genes are ranked by their plain variance, and the process is started anew",
        "core.prepare.loess_process:loess_aside",
    ),
    Guard(
        "scipy.sparse (C++)",
        "sparse matrices whose indices lie outside their shape, or whose row ends decrease",
        "reads and writes outside the arrays after one number of a file was damaged",
        "the file or slice is refused, with the slot",
        "core.prepare.guards:check_structure",
    ),
    Guard(
        "umap-learn and pynndescent (numba), by scanpy.tl.umap",
        "everything: it runs in a process of its own",
        "it holds Python's lock for seconds and cannot be interrupted; its end would be napari's",
        "the panel says that the UMAP failed",
        "core.evaluation.umap:umap_steps",
    ),
    Guard(
        "the OpenGL driver, by vispy",
        "drawing in the context of another canvas after layers are removed",
        "the process ended when points were drawn again",
        "the canvas's own context is made current first",
        "compat.drawing:draw_after_removals",
    ),
    Guard(
        "HDF5",
        "datasets that claim far more bytes than are stored",
        "a damaged shape asked for all memory, and the kernel ended the process",
        "the file is refused",
        "io.formats.guard:check_size",
    ),
    Guard(
        "HDF5",
        "external links, external storage and virtual datasets of other files",
        "a file read what its user had not chosen",
        "the file is refused",
        "io.formats.guard:check_links",
    ),
    Guard(
        "HDF5, by h5py",
        "the failures of a disk while a result is written: it writes through Python, which keeps "
        "the first one until the file is closed",
        "a full disk: the handle and the space were lost until the program ended, tracebacks that "
        "nobody can catch, and SIGSEGV where Python raised within a call of HDF5",
        "one sentence, and nothing is left of the draft",
        "io.writing:write_anndata",
    ),
    Guard(
        "HDF5",
        "heaps of texts with an object of size zero, anywhere in a file",
        "a search without end that holds Python's lock, after a block of a file was zeroed",
        "the file is refused",
        "io.formats.heaps:check_heaps",
    ),
    Guard(
        "HDF5, by h5py",
        "datasets and attributes of lists of varying length, which no format has",
        "SIGSEGV, after one damaged byte made such a list of a text",
        "the file is refused",
        "io.formats.guard:check_types",
    ),
    Guard(
        "HDF5, by h5py",
        "groups within themselves, and JSON that is nested without end",
        "a deadlock: they used up Python's stack, and h5py keeps its lock when that ends it",
        "the file is refused",
        "io.formats.guard:check_links",
    ),
    Guard(
        "HDF5",
        "reading of counts that stay in their file, with less than 256 MB of memory left",
        "SIGSEGV in two runs whose memory ran out: it does not look at each allocation",
        "the run ends with a sentence",
        "core.prepare.on_disk:check_room",
    ),
    Guard(
        "the system's memory maps, by tifffile",
        "images that are not packed: they are read row by row instead",
        "SIGBUS, once the file of an open image had become shorter",
        "the lost part is shown empty, and that is said",
        "io.pixels:PlainPixels",
    ),
    Guard(
        "the system's memory maps, by numpy",
        "a scratch file whose room was not reserved before",
        "SIGBUS, once the disk of temporary files was full",
        "the run ends with a sentence that names the folder",
        "core.prepare.expression:_reserve",
    ),
    Guard(
        "zlib, by gzip",
        "streams that unpack to more than 200 times their size, beyond 256 MB",
        "a file of a few MB filled all memory",
        "the file is refused",
        "io.formats.guard:opened",
    ),
    Guard(
        "Blosc and the texts of zarr, by numcodecs",
        "chunks that hold less than they claim",
        "SIGSEGV with a chunk that was cut off, behind whose end it read; room for as many texts "
        "as a damaged number claimed",
        "the store is refused, or the part of the image shown empty, and that is said",
        "compat.chunks:check_chunks",
    ),
    Guard(
        "torch, numpy and pandas",
        "runs that need more memory than is free",
        "the kernel ended the process in the middle of a run",
        "the run is refused before it starts",
        "core.training.estimate:check_memory",
    ),
)


def variable_gene_table(
    matrix: sparse.csr_matrix, n_top: int, *, counts: bool
) -> pd.DataFrame | None:
    """Fit how variable genes are, with scanpy.

    Parameters
    ----------
    matrix
        Shape (spots, genes): counts, or logarithms.
    n_top
        How many genes are marked as variable.
    counts
        Whether ``seurat_v3`` is used, else ``seurat``.

    Returns
    -------
    The table of :func:`scanpy.pp.highly_variable_genes`, one row for each gene; ``None`` where
    there is too little to fit.
    """
    import scanpy as sc
    from anndata import AnnData

    matrix = sparse.csr_matrix(matrix, dtype=np.float32)
    if not _can_be_fitted(matrix):
        return None
    try:
        with warnings.catch_warnings(), loess_aside() if counts else nullcontext():
            # That fewer genes than asked for vary, and of logarithms: what comes is looked at.
            warnings.simplefilter("ignore")
            return sc.pp.highly_variable_genes(
                AnnData(matrix),
                n_top_genes=n_top,
                flavor="seurat_v3" if counts else "seurat",
                inplace=False,
            )
    except (ValueError, IndexError, KeyError):
        # The loess fit of seurat_v3 fails where too few spots give too few distinct means, or its
        # process ends; the bins of seurat fail where hardly a gene varies.
        return None


def _can_be_fitted(matrix: sparse.csr_matrix) -> bool:
    if matrix.shape[0] < 2 or not np.isfinite(matrix.data).all():
        return False
    mean = np.asarray(matrix.mean(axis=0, dtype=np.float64)).ravel()
    square = np.asarray(matrix.astype(np.float64).power(2).mean(axis=0)).ravel()
    # As scanpy decides which genes are constant, a little more strictly.
    varying = square - mean**2 > 1e-12 * np.maximum(square, np.finfo(np.float32).tiny)
    return int(np.count_nonzero(varying)) >= FEWEST_FITTED


def with_whole_indices(matrix: Any) -> Any:
    """Return a compressed sparse matrix whose indices are whole numbers, as scipy needs them.

    Raises
    ------
    ValueError
        Its parts do not belong together.
    """
    if not all(isinstance(p, np.ndarray) for p in (matrix.data, matrix.indices, matrix.indptr)):
        raise ValueError("a part of it is no array")
    if matrix.indices.dtype.kind == matrix.indptr.dtype.kind == "i":
        return matrix
    with np.errstate(invalid="ignore"):  # what was no number is outside afterwards
        index = [part.astype(np.int64) for part in (matrix.indices, matrix.indptr)]
    return type(matrix)((matrix.data, *index), shape=matrix.shape)


def check_structure(where: str, matrix: Any) -> None:
    """Check that the indices of a sparse matrix are inside of it; scipy itself does not look.

    Parameters
    ----------
    where
        Start of the message: the file or slice, and the slot.
    matrix
        Anything; only compressed sparse matrices in memory are looked at.

    Raises
    ------
    InputError
        They are not.
    """
    if getattr(matrix, "format", "") not in ("csr", "csc") or not sparse.issparse(matrix):
        return
    try:
        with_whole_indices(matrix).check_format(full_check=True)
    except (ValueError, IndexError) as error:
        raise InputError(
            f"{where} is a damaged sparse matrix ({str(error).rstrip('.')}): copy or export it "
            "again."
        ) from error
