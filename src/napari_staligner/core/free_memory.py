"""How much more memory this process may take: of the machine, and by its own limits."""

from __future__ import annotations

import math
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import psutil

from napari_staligner.threads import cgroup_folders

_ENDLESS = 1 << 60
"""Version 1 of cgroups has no word for no limit, only a very large number."""


class FreeMemory(NamedTuple):
    """What is left.

    Parameters
    ----------
    bytes
        How much.
    said
        In a few words, of what it is left.
    remedy
        What else helps than to need less.
    """

    bytes: float
    said: str = "are free"
    remedy: str = "take another machine"


def free_memory() -> FreeMemory:
    """Return the least of what the machine has and of what the limits of this process leave.

    The limits are those of ``ulimit -v`` and ``ulimit -d``, which queues set for their jobs, and of
    its cgroups (versions 1 and 2), which containers and queues set.
    """
    machine = FreeMemory(float(psutil.virtual_memory().available))
    return min([machine, *_left_by_ulimit(), *_left_by_cgroups()], key=lambda left: left.bytes)


def _left_by_ulimit() -> Iterator[FreeMemory]:
    try:
        import resource
    except ImportError:  # Windows has no such limits
        return
    used = psutil.Process().memory_info()
    for option, kind, held in (
        ("-v", resource.RLIMIT_AS, used.vms),
        # Only Linux counts it, and maps of memory with it.
        ("-d", resource.RLIMIT_DATA, getattr(used, "data", 0)),
    ):
        most, _ = resource.getrlimit(kind)
        if most != resource.RLIM_INFINITY:
            left = max(0.0, float(most - held))
            yield FreeMemory(left, f"are left below the limit of ulimit {option}", "raise it")


def _left_by_cgroups() -> Iterator[FreeMemory]:
    for folder in cgroup_folders("memory"):
        left = _left_in(folder)
        if math.isfinite(left):
            yield FreeMemory(left, "are left of what its container or queue allows", "raise that")


def _left_in(cgroup: Path) -> float:
    """Bytes that one cgroup may still take; what it can drop of its cache is free."""
    try:
        if (cgroup / "memory.max").is_file():
            most, used, cached = "memory.max", "memory.current", "inactive_file"
        else:
            most, used = "memory.limit_in_bytes", "memory.usage_in_bytes"
            cached = "total_inactive_file"
        limit = int((cgroup / most).read_text())
        if limit >= _ENDLESS:
            return math.inf
        held = int((cgroup / used).read_text())
        lines = (cgroup / "memory.stat").read_text().splitlines()
        dropped = dict(line.split()[:2] for line in lines).get(cached, "0")
        return max(0.0, float(limit - held + int(dropped)))
    except (OSError, ValueError):  # no limit, or it is "max"
        return math.inf
