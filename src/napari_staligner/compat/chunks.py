"""Chunks of zarr: their length, which numcodecs does not compare with what they claim."""

from __future__ import annotations

from functools import cache, wraps
from typing import Any

_HEADING = 16
"""Bytes at the beginning of what Blosc packed; the last four are the length of all."""


@cache
def check_chunks() -> None:
    """Let numcodecs refuse chunks that hold less than they claim.

    Blosc takes the length of a chunk from its heading, and reads on behind the end of one that was
    cut off, which ends the process. For texts of varying length, room is made for as many as the
    chunk claims, which can be all memory. Can go when numcodecs looks at the length.
    """
    from numcodecs.blosc import Blosc
    from numcodecs.vlen import VLenArray, VLenBytes, VLenUTF8

    _refuse(Blosc, lambda chunk: len(chunk) >= _HEADING and _number(chunk, 12) <= len(chunk))
    for texts in (VLenUTF8, VLenBytes, VLenArray):
        # Their number, and the length of each.
        _refuse(texts, lambda chunk: len(chunk) >= 4 and 4 * _number(chunk, 0) <= len(chunk) - 4)


def _refuse(codec: Any, holds: Any) -> None:
    decode = codec.decode

    @wraps(decode)
    def checked(self: Any, buf: Any, out: Any = None) -> Any:
        from numcodecs.compat import ensure_contiguous_ndarray

        if not holds(ensure_contiguous_ndarray(buf).view("u1").reshape(-1)):
            raise RuntimeError(f"a chunk of {self.codec_id!r} is cut off or damaged")
        return decode(self, buf, out)

    codec.decode = checked


def _number(chunk: Any, start: int) -> int:
    return int(chunk[start : start + 4].view("<u4")[0])
