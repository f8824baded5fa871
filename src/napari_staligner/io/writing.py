"""AnnData into files of HDF5 that are closed in peace when the disk is full.

HDF5 keeps a file open that it could not write to its end: the space and the handle are lost until
the program ends, and Python tells of each of its objects by a traceback that nobody can catch. So
it writes through Python, which keeps the first failure to itself until the file is closed.
"""

from __future__ import annotations

import io
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator

    from anndata import AnnData

MOST_KEPT = 1 << 26
"""Bytes in memory of what the disk did not take, so that HDF5 finds its own tables again."""

GZIP = {"compression": "gzip", "compression_opts": 1, "shuffle": True}
"""Bytes of numbers of the same weight lie side by side, which HDF5 itself undoes: a fifth smaller
than without, and at this level written in half of the time (4 cortex slices, 14,364 spots)."""
OF_NUMBERS = ("array", "csr_matrix", "csc_matrix")
"""Elements that are all arrays; single values and texts allow no shuffling."""


def write_anndata(adata: AnnData, path: Path, compression: str | None = "gzip") -> None:
    """Write an AnnData as ``.h5ad``, as its own ``write_h5ad`` does.

    Parameters
    ----------
    adata
        What is written; text in its tables becomes categories, as in ``write_h5ad``.
    path
        The file; in the program, a draft of :func:`~napari_staligner.io.atomic.written_beside`.
    compression
        Of its arrays; those of numbers are shuffled for gzip, see :data:`GZIP`.

    Raises
    ------
    OSError
        The disk is full, for one.
    """
    import h5py
    from anndata.experimental import write_dispatched

    adata.strings_to_categoricals()
    if adata.raw is not None:
        adata.strings_to_categoricals(adata.raw.var)
    told: dict[str, Any] = {} if compression is None else {"compression": compression}

    def write(function: Any, *where: Any, iospec: Any, dataset_kwargs: Any) -> None:
        numbers = compression == "gzip" and iospec.encoding_type in OF_NUMBERS
        function(*where, dataset_kwargs=GZIP if numbers else dataset_kwargs)

    with path.open("w+b", buffering=0) as raw:
        target = _Target(raw)
        with h5py.File(target, "w") as file:
            file.attrs.update({"encoding-type": "anndata", "encoding-version": "0.1.0"})
            for slot, part in _parts(adata):
                if target.error is None:
                    write_dispatched(file, slot, part, write, dataset_kwargs=told)
        if target.error is not None:
            raise target.error


def _parts(adata: AnnData) -> Iterator[tuple[str, Any]]:
    if adata.X is not None:
        yield "X", adata.X
    if adata.raw is not None:
        yield "raw", adata.raw
    yield "obs", adata.obs
    yield "var", adata.var
    for slot in ("obsm", "varm", "obsp", "varp", "layers", "uns"):
        yield slot, dict(getattr(adata, slot))


class _Target(io.RawIOBase):
    """A file that keeps the first error of its disk, and then pretends to be written.

    An error within a call of HDF5 can end the process: it is told after the file is closed.

    Parameters
    ----------
    file
        The file, open to read and write.
    """

    def __init__(self, file: io.FileIO) -> None:
        self._file = file
        self._at = 0
        self._kept: list[tuple[int, bytes]] = []
        self._size = 0
        self.error: OSError | None = None

    def readable(self) -> bool:
        return True

    def writable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        if whence == io.SEEK_END:
            end = self._file.seek(0, io.SEEK_END)
            offset += max([end, *(at + len(data) for at, data in self._kept)])
        self._at = offset + (self._at if whence == io.SEEK_CUR else 0)
        return self._at

    def tell(self) -> int:
        return self._at

    def truncate(self, size: int | None = None) -> int:
        size = self._at if size is None else size
        try:
            self._file.truncate(size)
        except OSError as error:
            self.error = self.error or error
        return size

    def readinto(self, buffer: Any) -> int:
        view = memoryview(buffer).cast("B")
        self._file.seek(self._at)
        n = self._file.readinto(view) or 0
        for at, data in self._kept:
            a, b = max(at, self._at), min(at + len(data), self._at + len(view))
            if a < b:
                view[a - self._at : b - self._at] = data[a - at : b - at]
                n = max(n, b - self._at)
        self._at += n
        return n

    def write(self, data: Any) -> int:
        view = memoryview(data).cast("B")
        done = 0
        while done < len(view) and self.error is None:
            try:
                self._file.seek(self._at + done)
                done += self._file.write(view[done:]) or 0
            except OSError as error:
                self.error = error
        if done < len(view):
            self._keep(self._at + done, bytes(view[done:]))
        self._at += len(view)
        return len(view)

    def _keep(self, at: int, data: bytes) -> None:
        if self._size + len(data) <= MOST_KEPT:
            self._kept.append((at, data))
            self._size += len(data)
