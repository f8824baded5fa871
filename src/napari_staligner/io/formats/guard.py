"""Checks on files while they are read: unpacking without end, being cut off, leading elsewhere."""

from __future__ import annotations

import gzip
import io
import os
import re
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

import h5py

from napari_staligner._errors import InputError
from napari_staligner.compat import check_chunks
from napari_staligner.core.json_text import json_of
from napari_staligner.core.outside import pass_on_memory
from napari_staligner.io.formats.heaps import check_heaps

if TYPE_CHECKING:
    from numpy.typing import NDArray

GZIP = b"\x1f\x8b"
MOST_RATIO = 200
"""Count tables, mostly zeros, shrink to a fiftieth at most; deflate's limit is a thousandth."""
ALWAYS_FINE = 1 << 28
"""Bytes that any file may unpack to, whatever its ratio."""
H5_RATIO = 1100
"""None of HDF5's built-in filters compresses more than deflate."""
DEEPEST = 100
"""Groups within each other; Python's stack holds the reading of some three hundred."""
H5_ERRORS = (OSError, RuntimeError, KeyError, ValueError, TypeError)
"""What h5py raises on damaged files, depending on the part that is damaged."""


@contextmanager
def opened(path: Path) -> Iterator[IO[bytes]]:
    """Open a file to read its bytes, unpacked where it is gzip.

    Parameters
    ----------
    path
        The file.

    Raises
    ------
    InputError
        There is no such file, it is empty, it is cut off, or it unpacks to far more than a table
        of counts does.
    """
    check_file(path)
    try:
        with path.open("rb") as file:
            packed = file.read(2) == GZIP
    except OSError as error:
        raise InputError(
            f"{str(path)!r} cannot be opened ({error.strerror}): check its permissions."
        ) from error
    if not packed:
        with path.open("rb") as file:
            yield file
        return
    raw = _Unpacked(path)
    try:
        with io.BufferedReader(raw, 1 << 20) as stream:
            yield stream
    except Exception:
        # A parser written in C may replace the stream's error with its own.
        if raw.error is not None:
            raise raw.error from None
        raise


class _Unpacked(io.RawIOBase):
    """A gzip file as a stream that raises an :class:`InputError` if it is damaged or too large."""

    def __init__(self, path: Path) -> None:
        self.error: InputError | None = None
        self._path = path
        self._file = gzip.GzipFile(path, "rb")
        self._left = max(ALWAYS_FINE, MOST_RATIO * path.stat().st_size)

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        try:
            n = self._file.readinto(buffer)
        except (EOFError, OSError, zlib.error) as error:
            self.error = InputError(
                f"{str(self._path)!r} is cut off or damaged ({error}): copy or download it again."
            )
            raise self.error from error
        self._left -= n
        if self._left < 0:
            self.error = InputError(
                f"{str(self._path)!r} unpacks to more than {MOST_RATIO} times its size, which no "
                "table of counts does: unpack it yourself if you trust it."
            )
            raise self.error
        return n

    def close(self) -> None:
        self._file.close()
        super().close()


def check_file(path: Path) -> None:
    """Check that a path is a file that holds something.

    Raises
    ------
    InputError
        It is missing, is a folder, or is empty.
    """
    if path.is_dir():
        raise InputError(f"{str(path)!r} is a folder where a file belongs: put the file there.")
    if not path.is_file():
        raise InputError(f"There is no file {str(path)!r}: check the path.")
    if path.stat().st_size == 0:
        raise InputError(f"{str(path)!r} is empty: copy or download it again.")


@contextmanager
def opened_h5(path: Path) -> Iterator[h5py.File]:
    """Open an HDF5 file that holds all its data itself.

    Raises
    ------
    InputError
        It cannot be opened, is cut off, or refers to other files.
    """
    check_file(path)
    check_heaps(path)
    try:
        file = h5py.File(path, "r")
    except H5_ERRORS as error:
        pass_on_memory(error)
        raise InputError(
            f"{str(path)!r} is cut off or no HDF5 file ({_first(error)}): copy or download it "
            "again."
        ) from error
    with file:
        try:
            check_links(file, path)
            yield file
        except (OSError, RuntimeError, KeyError) as error:
            pass_on_memory(error)
            raise InputError(
                f"{str(path)!r} is damaged ({_first(error)}): copy or download it again."
            ) from error


def check_own(path: Path) -> None:
    """Check that an AnnData, file or folder, holds all its data itself.

    Raises
    ------
    InputError
        It leads to other files.
    """
    if path.is_dir():
        check_inside(path)
        return
    check_heaps(path)
    try:
        file = h5py.File(path, "r")
    except H5_ERRORS:
        return  # anndata's own reader says what is wrong
    with file:
        check_links(file, path, whole=True)


def check_links(group: h5py.Group, path: Path, *, whole: bool = False) -> None:
    """Check that nothing in an HDF5 file leads to another file, or without end into itself.

    Parameters
    ----------
    group
        The file.
    path
        Where it lies.
    whole
        Whether all of it is read, and not some members by their names.

    Raises
    ------
    InputError
        There is an external link, external storage, a virtual dataset of other files, a type
        that h5py crashes with; or, in what is read whole, a group within itself: that would never
        come back, and h5py can keep its lock for good when Python's stack is used up.
    """
    check_types(group, group.name, path)
    waiting: list[tuple[h5py.Group, frozenset[int]]] = [(group, frozenset())]
    met = set()
    while waiting:
        here, above = waiting.pop()
        names: list[str] = []
        with _lost_parts_left():
            address = h5py.h5o.get_info(here.id).addr
            if whole and (address in above or len(above) > DEEPEST):
                raise InputError(
                    f"{str(path)!r} is damaged ({here.name!r} is a group within itself): copy or "
                    "download it again."
                )
            names = [] if address in met else list(here)
            met.add(address)
        for name in names:
            with _lost_parts_left():
                found = _check_member(here, name, path)
                if found is not None:
                    waiting.append((found, above | {address}))


def _check_member(here: h5py.Group, name: str, path: Path) -> h5py.Group | None:
    """Check one member; returns it if it is a group, whose members must be checked too."""
    where = f"{here.name.rstrip('/')}/{name}"
    link = here.get(name, getlink=True)
    if isinstance(link, h5py.ExternalLink):
        raise _leads_out(path, where, link.filename)
    # The target of a soft link is checked where it is, or does not exist.
    soft = isinstance(link, h5py.SoftLink)
    member = here.get(name) if soft else here[name]
    if not soft:
        check_types(member, where, path)
        if isinstance(member, h5py.Dataset):
            _check_dataset(member, where, path)
    return member if isinstance(member, h5py.Group) else None


@contextmanager
def _lost_parts_left() -> Iterator[None]:
    """Go on with other parts if one cannot be opened: whoever reads that one is told so, too.

    A check that ended there would let a reader that saves what is left come to the others.
    """
    try:
        yield
    except InputError:
        raise
    except H5_ERRORS as error:
        pass_on_memory(error)


def _check_dataset(dataset: h5py.Dataset, where: str, path: Path) -> None:
    if dataset.external:
        raise _leads_out(path, where, dataset.external[0][0])
    if dataset.is_virtual:
        others = [s.file_name for s in dataset.virtual_sources() if s.file_name != "."]
        if others:
            raise _leads_out(path, where, others[0])


def check_types(member: h5py.Group | h5py.Dataset, where: str, path: Path) -> None:
    """Check that a member and its attributes hold no lists of varying length.

    No format that is read has them. One damaged byte makes them of a text, and h5py would follow
    what lies there as if it were a list.

    Raises
    ------
    InputError
        They do.
    """
    types = []
    if isinstance(member, h5py.Dataset):
        with _lost_parts_left():
            types.append(member.id.get_type())
    for number in range(h5py.h5a.get_num_attrs(member.id)):
        with _lost_parts_left():
            types.append(h5py.h5a.open(member.id, index=number).get_type())
    if any(each.detect_class(h5py.h5t.VLEN) for each in types):
        raise InputError(
            f"{str(path)!r} is damaged ({where!r} is of a type that is not used): copy or download "
            "it again."
        )


def values(dataset: h5py.Dataset, path: Path) -> NDArray[Any]:
    """Read a dataset if its size is plausible; see :func:`check_size`."""
    check_size(dataset, path)
    return dataset[()]


def check_size(dataset: h5py.Dataset, path: Path) -> None:
    """Check that a dataset holds about as much as it claims.

    Raises
    ------
    InputError
        It would need far more memory than the stored bytes can fill.
    """
    stored = dataset.id.get_storage_size()
    if dataset.nbytes > max(ALWAYS_FINE, H5_RATIO * stored):
        raise InputError(
            f"{str(path)!r}: {dataset.name!r} claims {dataset.nbytes:,} bytes but holds "
            f"{stored:,}: it is damaged; copy or download it again."
        )


def check_inside(folder: Path) -> None:
    """Check that all of a zarr store is in its own folder; its chunks are when they are read.

    Parameters
    ----------
    folder
        The store.

    Raises
    ------
    InputError
        A link, or a path in the metadata, leads out of the folder.
    """
    check_chunks()
    root = folder.resolve()
    for place, folders, files in os.walk(root):
        for name in (*folders, *files):
            member = Path(place, name)
            if member.is_symlink() and not member.resolve().is_relative_to(root):
                raise _leads_out(folder, str(member.relative_to(root)), str(member.resolve()))
        for name in _METADATA & set(files):
            _check_metadata(folder, Path(place, name))


_METADATA = {".zarray", ".zattrs", ".zmetadata", "zmetadata", "zarr.json"}
_RUNS_CODE = re.compile(r"(numcodecs\.)?pickle", re.IGNORECASE)
"""Codecs of zarr that run what is stored."""
_OUT = re.compile(r"([/\\]|[A-Za-z]:[/\\]|[a-z][a-z0-9+]*://).*|(.*[/\\])?\.\.([/\\].*)?")


def _check_metadata(folder: Path, path: Path) -> None:
    try:
        told = json_of(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise InputError(
            f"{str(path)!r} is damaged ({_first(error)}): copy or write the store again."
        ) from error
    codec = next((name for name in _codecs(told) if _RUNS_CODE.fullmatch(name)), None)
    if codec is not None:
        raise InputError(
            f"{str(path)!r} stores values with {codec!r}, which would run code from the file: ask "
            "for a copy whose texts are stored as texts."
        )
    # The paths of a multiscale image are in its attributes; a store's members in its metadata.
    members = told.get("metadata") if isinstance(told, dict) else None
    names = list(members) if path.name != ".zattrs" and isinstance(members, dict) else []
    for name in (*names, *_paths(told)):
        # The name of an element, "/images/blobs", is not a path in the file system.
        if _OUT.fullmatch(name):
            raise _leads_out(folder, path.name, name)


def _codecs(told: Any) -> Iterator[str]:
    """All names of codecs, wherever they are: ``id`` in version 2 of zarr, ``name`` in 3."""
    if isinstance(told, dict):
        yield from (str(told[key]) for key in ("id", "name") if isinstance(told.get(key), str))
        for value in told.values():
            yield from _codecs(value)
    elif isinstance(told, list):
        for value in told:
            yield from _codecs(value)


def _paths(told: Any) -> Iterator[str]:
    """All texts under the key ``path`` of the ``datasets`` of images."""
    if isinstance(told, dict):
        for key, value in told.items():
            if key == "datasets" and isinstance(value, list):
                yield from (
                    str(each["path"]) for each in value if isinstance(each, dict) and "path" in each
                )
            else:
                yield from _paths(value)
    elif isinstance(told, list):
        for value in told:
            yield from _paths(value)


def _leads_out(path: Path, where: str, target: str) -> InputError:
    return InputError(
        f"{str(path)!r} refers to another file at {where!r} ({target!r}), which is not followed: "
        "ask for a copy that holds its data itself."
    )


def _first(error: Exception) -> str:
    lines = str(error).strip().splitlines()
    return lines[0].rstrip(".") if lines else type(error).__name__
