"""What fails outside of the program: a full disk, a folder that is read-only, a network that stops.

No report of such a failure helps, so that it gets a sentence with a remedy instead.
"""

from __future__ import annotations

import errno
import os
import re
from collections.abc import Iterator

_ELSEWHERE = "choose another place"
_CONNECTION = "check the disk or the network, and try again"
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


def _chain(error: BaseException) -> Iterator[BaseException]:
    """The error, and those that it was raised from."""
    here: BaseException | None = error
    while here is not None:
        yield here
        here = here.__cause__


def _is_path(name: object) -> bool:
    return isinstance(name, str | bytes) and bool(name)
