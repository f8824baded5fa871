"""Damaged heaps of HDF5 files, in which HDF5 would search without end."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from pathlib import Path
from typing import IO

from napari_staligner._errors import InputError

SIGNATURE = b"GCOL\x01\x00\x00\x00"
LONGEST = 1 << 30
"""Bytes at the beginning of a file that are looked at: a second at most, if it was not read yet."""
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
            endless = any(map(_is_endless, _heaps(file)))
    except OSError:
        return  # the reader says what is wrong
    if endless:
        raise InputError(
            f"{str(path)!r} is damaged (a heap of its texts has no end): copy or download it again."
        )


def _heaps(file: IO[bytes]) -> Iterator[bytes]:
    """Yield the collections of a file, each as it is stored."""
    at = 0
    while at < LONGEST:
        file.seek(at)
        piece = file.read(_PIECE + len(SIGNATURE))
        found = piece.find(SIGNATURE)
        while found >= 0:
            file.seek(at + found)
            head = file.read(_HEAD)
            if len(head) == _HEAD:
                (size,) = struct.unpack_from("<Q", head, 8)
                if size <= _PIECE:
                    yield head + file.read(max(0, size - _HEAD))
            found = piece.find(SIGNATURE, found + 1)
        if len(piece) <= _PIECE:
            return
        at += _PIECE


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
