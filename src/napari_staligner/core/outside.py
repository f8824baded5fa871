"""What fails outside of the program: a full disk, a read-only folder, a network that stops, a GPU.

No report of such a failure helps, so that it gets a sentence with a remedy instead.
"""

from __future__ import annotations

import errno
import os
import re
from collections.abc import Iterator

from napari_staligner.core.free_memory import free_memory

_ELSEWHERE = "choose another place"
_CONNECTION = "check the disk or the network, and try again"
_NO_MEMORY = (
    *("out of memory", "not enough memory", "allocate memory", "memory allocation failed"),
    # Of C++, and of a thread that has no room for its stack.
    *("bad_alloc", "can't start new thread", "unable to allocate"),
)
"""What libraries say, in lower case."""
_GPU = re.compile(r"\b(?:CUDA|HIP)(?: driver)? error: ([^\n]+)|\bCUDA unknown error\b")
_MISTAKES = ("device-side assert", "illegal", "invalid", "misaligned")
_PLENTY = 1 << 30
REMEDIES = {
    errno.ENOSPC: f"free some space, or {_ELSEWHERE}",
    errno.EDQUOT: f"free some of your quota, or {_ELSEWHERE}",
    errno.EFBIG: _ELSEWHERE,
    errno.EROFS: _ELSEWHERE,
    errno.EACCES: f"check its permissions, or {_ELSEWHERE}",
    errno.EPERM: f"check its permissions, or {_ELSEWHERE}",
    errno.ENAMETOOLONG: "choose a shorter name",
    errno.EISDIR: "give the name of a file",
    errno.ENOTDIR: "check the path",
    errno.ENOENT: "check whether it was moved or removed",
    errno.EMFILE: "close other windows, or raise the limit of open files (ulimit -n)",
    errno.ENFILE: "close other programs",
    errno.EIO: _CONNECTION,
    errno.ESTALE: _CONNECTION,
    errno.ENODEV: _CONNECTION,
    errno.ENXIO: _CONNECTION,
    errno.ENOTCONN: _CONNECTION,
    errno.ETIMEDOUT: _CONNECTION,
    errno.EHOSTDOWN: _CONNECTION,
    errno.EHOSTUNREACH: _CONNECTION,
}
"""What helps, by the number of the system's error."""


def system_error(error: BaseException) -> int | None:
    """Return the number of the system's error behind an error; ``None`` if there is none.

    Parameters
    ----------
    error
        Of any type: HDF5 tells the number only within a long text.
    """
    for each in _chain(error):
        if isinstance(each, OSError) and each.errno in REMEDIES:
            return each.errno
        if found := re.search(r"\berrno = (\d+)", str(each)):
            return int(found[1]) if int(found[1]) in REMEDIES else None
    return None


def out_of_memory(error: BaseException) -> bool:
    """Whether there was too little memory; most compiled code says so only in its message."""
    return any(
        isinstance(each, MemoryError) or any(sign in str(each).lower() for sign in _NO_MEMORY)
        for each in _chain(error)
    )


def lacks_memory(error: BaseException) -> bool:
    """Whether a reader failed because memory is short, and not because a file is damaged.

    With too little memory each library fails in its own way, and the file is in order. A damaged
    one may claim a size that no memory has: then plenty is left.
    """
    return out_of_memory(error) and free_memory().bytes < _PLENTY


def pass_on_memory(error: BaseException) -> None:
    """Raise a :class:`MemoryError` if memory is short; before a file is called damaged.

    Raises
    ------
    MemoryError
        See :func:`lacks_memory`.
    """
    if lacks_memory(error):
        raise MemoryError(str(error)) from error


def outside_reason(error: BaseException) -> str:
    """Say in a few words what failed outside of the program; empty if nothing did."""
    number = system_error(error)
    if number is None:
        return ""
    files = (each.filename for each in _chain(error) if isinstance(each, OSError))
    named = next((f"{os.fsdecode(name)!r}: " for name in files if _is_path(name)), "")
    return f"{named}{os.strerror(number)}"


def outside_sentence(error: BaseException) -> str:
    """Say what failed outside of the program, and what helps; empty if nothing did."""
    number = system_error(error)
    if number is None:
        return ""
    return f"A file could not be read or written ({outside_reason(error)}): {REMEDIES[number]}."


def gpu_failure(error: BaseException) -> str:
    """Say in a few words how the GPU or its driver failed; empty if it did not.

    Not what a program's own mistakes on a GPU look like: those are to be reported.
    """
    for each in _chain(error):
        found = _GPU.search(str(each))
        if found and not any(sign in found[0] for sign in _MISTAKES):
            return (found[1] or found[0]).strip(" .:")[:120]
    return ""


def _chain(error: BaseException) -> Iterator[BaseException]:
    """The error, and those that it was raised from."""
    here: BaseException | None = error
    while here is not None:
        yield here
        here = here.__cause__


def _is_path(name: object) -> bool:
    return isinstance(name, str | bytes) and bool(name)
