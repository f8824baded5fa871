"""Reading ``.h5ad`` files and ``.zarr`` folders: whole, or with the matrices left on disk."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import h5py

from napari_staligner import _keys as K
from napari_staligner._errors import InputError
from napari_staligner.core.outside import pass_on_memory
from napari_staligner.core.prepare.guards import check_structure
from napari_staligner.core.prepare.matrices import with_plain_matrices
from napari_staligner.core.prepare.notes import add_notes
from napari_staligner.core.prepare.on_disk import left_on_disk, read_matrix
from napari_staligner.core.result.access import record_of
from napari_staligner.core.result.ownership import written
from napari_staligner.core.result.provenance import mark_source
from napari_staligner.core.result.soundness import make_sound
from napari_staligner.io.formats.guard import check_own
from napari_staligner.io.sources import file_source

if TYPE_CHECKING:
    from anndata import AnnData


def is_result(adata: AnnData) -> bool:
    """Whether these are integrated slices from :func:`napari_staligner.integrate`."""
    there = K.STALIGNER in adata.uns and K.EMBEDDING in adata.obsm and K.SLICE in adata.obs
    # An exported slice may have such a column of its own.
    return there and K.SLICE in written(adata)["obs"]


def read_file(path: Path) -> AnnData:
    """Read an ``.h5ad`` file or a ``.zarr`` folder as it is; slices get their source.

    Raises
    ------
    InputError
        The file cannot be read.
    """
    import anndata as ad

    return _read(path, ad.read_zarr if path.is_dir() else ad.read_h5ad)


def check_matrices(path: str, adata: AnnData) -> None:
    """Check the sparse matrices of what was read, before anything takes rows of them.

    Parameters
    ----------
    path
        Where it was read, for the message.
    adata
        The table.

    Raises
    ------
    InputError
        One is damaged.
    """
    for slot, matrix in _matrices(adata):
        check_structure(f"{path!r}: {slot}", matrix)


def _matrices(adata: AnnData) -> Iterator[tuple[str, Any]]:
    """Matrices of an AnnData with the names of their slots; also of the slices that it keeps."""
    yield "X", adata.X
    if adata.raw is not None:
        yield "raw.X", adata.raw.X
    for slot in ("layers", "obsm", "varm", "obsp", "varp"):
        part = getattr(adata, slot)
        yield from ((f"{slot}[{key!r}]", part[key]) for key in part)
    yield from _matrices_in(record_of(adata), f"uns[{K.STALIGNER!r}]")


def _matrices_in(held: Any, where: str) -> Iterator[tuple[str, Any]]:
    from anndata import AnnData

    if isinstance(held, AnnData):
        yield from ((f"{where}.{slot}", matrix) for slot, matrix in _matrices(held))
    elif isinstance(held, Mapping):
        for key, value in held.items():
            yield from _matrices_in(value, f"{where}[{key!r}]")
    else:
        yield where, held


def read_backed(path: Path) -> AnnData:
    """Read what an integration needs from a file, and leave ``X`` and ``layers`` on disk.

    Raises
    ------
    InputError
        The file cannot be read.
    """
    return _read(path, left_on_disk_of)


def _read(path: Path, read: Callable[[Path], AnnData]) -> AnnData:
    if not path.exists():
        raise InputError(f"There is no file {str(path)!r}: check the path.")
    try:
        check_own(path)
        adata = read(path)
    except InputError:
        raise
    except Exception as error:  # anndata passes on any error of h5py, zlib or its own readers
        pass_on_memory(error)
        try:
            adata = _what_can_be_read(path)
        except Exception as second:  # a needed part is lost: the first error says why
            pass_on_memory(second)
            raise InputError(
                f"{str(path)!r} cannot be read as .h5ad ({_first_line(error)}): "
                "it may be cut off or of another format; copy or export it again."
            ) from error
    check_matrices(path.name, adata)
    if is_result(adata):
        make_sound(path.name, adata)
        return adata
    adata = with_plain_matrices(path.stem, adata)
    mark_source(adata, file_source(path))
    return adata


def left_on_disk_of(path: Path) -> AnnData:
    """Return an AnnData as :func:`read_backed` does, without a check and without its source."""
    import anndata as ad

    with _opened(path) as file:
        if file.attrs.get("encoding-type") != "anndata":
            # Written by anndata before 0.7: its own reader knows how.
            return ad.read_h5ad(path)
        return _by_elements(file, left_on_disk)


def _what_can_be_read(path: Path) -> AnnData:
    """Read a file although parts that are not needed cannot be read; the notes say which."""
    with _opened(path) as file:
        return _by_elements(file, read_matrix)


def _by_elements(file: Any, read_matrix: Callable[[Any], Any]) -> AnnData:
    """Read the elements of a file that an integration needs, and leave out what cannot be read."""
    import anndata as ad

    reader = _Reader([])
    raw = None
    if {"X", "var"} <= set(file.get("raw", ())):
        with reader.noting(".raw"):
            raw = {
                "X": read_matrix(file["raw"]["X"]),
                "var": ad.io.read_elem(file["raw"]["var"]),
            }
    adata = ad.AnnData(
        read_matrix(file["X"]) if "X" in file else None,
        obs=ad.io.read_elem(file["obs"]),
        var=ad.io.read_elem(file["var"]),
        uns=reader.dictionary(file.get("uns", {}), "uns"),
        obsm=reader.arrays(file.get("obsm", {}), "obsm"),
        varm=reader.arrays(file.get("varm", {}), "varm"),
        layers=reader.arrays(file.get("layers", {}), "layers", read_matrix),
        raw=raw,
    )
    add_notes(adata, reader.notes)
    return adata


@contextmanager
def _opened(path: Path) -> Iterator[Any]:
    if path.is_dir():
        import zarr

        yield zarr.open_group(path.resolve(), mode="r")
        return
    with h5py.File(path.resolve(), "r") as file:
        yield file


def _first_line(error: Exception) -> str:
    lines = str(error).strip().splitlines()
    return lines[0].rstrip(".") if lines else type(error).__name__


def _group_of(file: Any) -> type:
    """Class of the groups in a file of h5py or zarr."""
    return h5py.Group if isinstance(file, h5py.Group) else type(file)


@dataclass
class _Reader:
    """Reads elements one by one; those that cannot be read are noted and left out."""

    notes: list[str]

    @contextmanager
    def noting(self, slot: str) -> Iterator[None]:
        """Go on where an element cannot be read."""
        try:
            yield
        except Exception as error:  # as above: any error of the readers
            pass_on_memory(error)
            self.notes.append(f"{slot} cannot be read ({_first_line(error)}) and was left out.")

    def arrays(
        self, group: Any, slot: str, read: Callable[[Any], Any] | None = None
    ) -> dict[str, Any]:
        """Read the arrays of a group."""
        import anndata as ad

        found = {}
        for key in group:
            with self.noting(f"{slot}[{key!r}]"):
                found[key] = (read or ad.io.read_elem)(group[key])
        return found

    def dictionary(self, group: Any, slot: str) -> dict[str, Any]:
        """Read a dictionary; a damaged one inside it is read key by key."""
        import anndata as ad

        found = {}
        for key in group:
            element, here = group[key], f"{slot}[{key!r}]"
            kind = element.attrs.get("encoding-type", "dict")
            try:
                found[key] = ad.io.read_elem(element)
            except Exception as error:  # as above
                pass_on_memory(error)
                if kind == "dict" and isinstance(element, _group_of(group)):
                    found[key] = self.dictionary(element, here)
                    continue
                with self.noting(here):
                    found[key] = ad.io.read_elem(element)
        return found
