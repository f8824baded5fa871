"""Damaged heaps of HDF5 files, in which HDF5 would search without end."""

from __future__ import annotations

import io
import struct
from collections.abc import Iterator
from contextlib import suppress
from itertools import chain
from pathlib import Path
from typing import IO, TYPE_CHECKING, TypeAlias

from napari_staligner._errors import InputError

if TYPE_CHECKING:
    import h5py

SIGNATURE = b"GCOL\x01"
"""Three bytes follow that HDF5 does not look at, so that damage may be in them."""
LONGEST = 1 << 30
"""Bytes at the beginning of a file that are looked at in any case: a second at most. Of what
follows, the pieces in which datasets store their values are left out: heaps are not in them, and
they are nearly all of a large file."""
Span: TypeAlias = tuple[int, int]
"""First byte, and the one behind the last."""
_PIECE = 1 << 24
_HEAD, _OBJECT = 16, 16


def check_heaps(path: Path) -> None:
    """Check that the heaps in which a file keeps its texts come to an end.

    HDF5 goes from object to object by their sizes. One of size zero, as a zeroed block of a disk
    leaves it, holds it for ever, and Python with it.

    Parameters
    ----------
    path
        A file; one that is not HDF5 is left to others.

    Raises
    ------
    InputError
        A heap does not come to an end.
    """
    try:
        with path.open("rb") as file:
            if file.read(4) != b"\x89HDF":
                return
            size = file.seek(0, io.SEEK_END)
            endless = any(map(_is_endless, _heaps(file, 0, min(size, LONGEST))))
            if size > LONGEST and not endless:
                spans = _outside(_stored(path), LONGEST, size)
                endless = any(map(_is_endless, chain(*(_heaps(file, *span) for span in spans))))
    except OSError:
        return  # the reader says what is wrong
    if endless:
        raise InputError(
            f"{str(path)!r} is damaged (a heap of its texts has no end): copy or download it again."
        )


def _heaps(file: IO[bytes], start: int, stop: int) -> Iterator[bytes]:
    """Yield the collections that begin in a part of a file, each as it is stored."""
    for at in range(start, stop, _PIECE):
        file.seek(at)
        # One that begins within the piece may end behind it.
        piece = file.read(min(_PIECE, stop - at) + len(SIGNATURE) - 1)
        found = piece.find(SIGNATURE)
        while found >= 0:
            file.seek(at + found)
            head = file.read(_HEAD)
            if len(head) == _HEAD:
                (size,) = struct.unpack_from("<Q", head, 8)
                if size <= _PIECE:
                    yield head + file.read(max(0, size - _HEAD))
            found = piece.find(SIGNATURE, found + 1)


def _stored(path: Path) -> list[Span]:
    """Where datasets store their values, as far as that can be known.

    Neither attributes nor values are read, so that no heap is.
    """
    import h5py

    spans: list[Span] = []

    def look(_: str, member: h5py.Group | h5py.Dataset) -> None:
        if not isinstance(member, h5py.Dataset):
            return
        own = member.id
        if member.chunks is None:
            if (at := own.get_offset()) is not None:
                spans.append((at, at + own.get_storage_size()))
        else:
            own.chunk_iter(lambda one: spans.append((one.byte_offset, one.byte_offset + one.size)))

    # What cannot be known is looked at as well, which takes longer.
    unknown = suppress(OSError, RuntimeError, KeyError, ValueError, AttributeError)
    with unknown, h5py.File(path, "r") as file:
        file.visititems(look)
    return spans


def _outside(spans: list[Span], start: int, stop: int) -> Iterator[Span]:
    """Yield what lies between spans, from start to stop."""
    for first, last in sorted(spans):
        if first > start:
            yield start, min(first, stop)
        start = max(start, last)
        if start >= stop:
            return
    yield start, stop


def _is_endless(heap: bytes) -> bool:
    at = _HEAD
    while at + _OBJECT <= len(heap):
        index, _, _, size = struct.unpack_from("<HHIQ", heap, at)
        # Free space tells its whole size; an object that of its content, in steps of eight bytes.
        step = size if index == 0 else _OBJECT + -(-size // 8) * 8
        if step == 0:
            return True
        at += step
    return False
