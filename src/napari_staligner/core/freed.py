"""Memory that was freed, given back to the system.

GNU's allocator keeps freed memory for what comes next. Between large arrays that come and go, small
ones stay, so that what comes next often does not fit there: of what a run of 200,000 spots held, a
third was free.
"""

from __future__ import annotations

import ctypes
import os
import sys
from functools import cache
from pathlib import Path

LARGE = 8 << 20
"""Arrays of so many bytes come from the system and go back to it, each by itself."""
HUGE_PAGES = Path("/sys/kernel/mm/transparent_hugepage/enabled")

_MMAP_THRESHOLD = -3


def keep_little() -> None:
    """Let large arrays go back to the system at once; call this before any is made.

    It concerns the whole process. Where the system has no huge pages, to take memory anew takes as
    long as to compute with it: then nothing changes, nor where the user set such a limit.
    """
    if "MALLOC_MMAP_THRESHOLD_" in os.environ or not _has_huge_pages():
        return
    library = _library()
    if library is not None and hasattr(library, "mallopt"):
        library.mallopt(_MMAP_THRESHOLD, LARGE)
        # Read by torch; numpy asks for them by itself.
        os.environ.setdefault("THP_MEM_ALLOC_ENABLE", "1")


def give_back() -> None:
    """Give freed memory back to the system, where its allocator can do so, as Dask's workers do."""
    library = _library()
    if library is not None and hasattr(library, "malloc_trim"):
        library.malloc_trim(0)


@cache
def _library() -> ctypes.CDLL | None:
    return ctypes.CDLL(None) if sys.platform == "linux" else None


def _has_huge_pages() -> bool:
    try:
        return "[never]" not in HUGE_PAGES.read_text()
    except OSError:
        return False
