"""Log-normalised expression of all slices, computed one slice at a time when it is needed."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import IO, TYPE_CHECKING, Any

import numpy as np
from scipy import sparse

from napari_staligner._errors import ComputeError
from napari_staligner.core.prepare.slices import normalize

if TYPE_CHECKING:
    from anndata import AnnData
    from numpy.typing import NDArray

HOLD_BYTES = 1 << 30
"""If one matrix of all slices is needed and takes more bytes, it goes to a scratch file."""


@dataclass(frozen=True)
class Expression:
    """Log-normalised expression of the shared genes, slice by slice.

    Parameters
    ----------
    sizes
        Spots of each slice.
    n_genes
        Shared variable genes.
    stored
        How many values the blocks store, at most.
    block
        Makes the block of a slice from its number: shape (spots, genes), CSR float32, columns
        sorted. Counts on disk are read for it, so that only one slice is in memory at a time.
    """

    sizes: tuple[int, ...]
    n_genes: int
    stored: int
    block: Callable[[int], sparse.csr_matrix]

    @classmethod
    def of_slices(
        cls,
        slices: Sequence[tuple[str, AnnData]],
        genes: Sequence[str],
        layers: Sequence[str | None],
        stored: int,
    ) -> Expression:
        """Take the genes of slices; their counts, in these layers, may be in memory or on disk."""

        def block(number: int) -> sparse.csr_matrix:
            name, adata = slices[number]
            whole = normalize(name, adata, layers[number])
            part = sparse.csr_matrix(whole[:, adata.var_names.get_indexer(genes)])
            # Sums are taken in this order; it must not depend on the order of genes in a file.
            part.sort_indices()
            return part

        return cls(tuple(adata.n_obs for _, adata in slices), len(genes), stored, block)

    @classmethod
    def held(cls, blocks: Sequence[sparse.csr_matrix]) -> Expression:
        """Take existing blocks."""
        sizes = tuple(block.shape[0] for block in blocks)
        stored = sum(block.nnz for block in blocks)
        return cls(sizes, blocks[0].shape[1], stored, blocks.__getitem__)

    def __iter__(self) -> Iterator[sparse.csr_matrix]:
        return map(self.block, range(len(self.sizes)))

    @property
    def shape(self) -> tuple[int, int]:
        """Number of all spots, and of genes."""
        return sum(self.sizes), self.n_genes

    @property
    def spools(self) -> bool:
        """Whether one matrix of all slices would go to a scratch file."""
        return 8 * self.stored > HOLD_BYTES

    def stacked(self, numbers: Sequence[int] | None = None) -> sparse.csr_matrix:
        """Make one matrix of all slices, or of some, in memory or in a scratch file.

        The system keeps as much of the file in memory as there is room for.
        """
        index = np.int32 if self.stored < np.iinfo(np.int32).max else np.int64
        values, columns = (self._room(kind) for kind in (np.float32, index))
        some = range(len(self.sizes)) if numbers is None else numbers
        shape = sum(self.sizes[number] for number in some), self.n_genes
        pointers = np.zeros(shape[0] + 1, dtype=index)
        row = end = 0
        for block in map(self.block, some):
            start, end = end, end + block.nnz
            values[start:end], columns[start:end] = block.data, block.indices
            pointers[row + 1 : row + 1 + block.shape[0]] = start + block.indptr[1:]
            row += block.shape[0]
        return sparse.csr_matrix((values[:end], columns[:end], pointers), shape, copy=False)

    def _room(self, kind: type[np.generic]) -> NDArray[Any]:
        if not self.spools:
            return np.empty(self.stored, dtype=kind)
        # The file has no name, and disappears with the array.
        with tempfile.TemporaryFile() as file:
            _reserve(file, self.stored * np.dtype(kind).itemsize)
            return np.memmap(file, dtype=kind, mode="w+", shape=(self.stored,))


def _reserve(file: IO[bytes], size: int) -> None:
    """Take the room of a file on the disk: a map of a disk that is full ends the process."""
    if not size or not hasattr(os, "posix_fallocate"):
        return
    try:
        os.posix_fallocate(file.fileno(), 0, size)
    except OSError as error:
        raise ComputeError(
            f"The folder for temporary files, {tempfile.gettempdir()!r}, has no room for "
            f"{size / 2**30:.1f} GB ({error.strerror}): free some space, or set TMPDIR to another "
            "folder."
        ) from error
