"""How threads wait and how many there are, so that runs and the window can share one machine.

OpenMP's threads spin while they wait for each other, and so take cores from the threads they wait
for, from other runs and from the window. Libraries also start a thread for each core, even if a
container or a job may use fewer. They read these variables when they are loaded, so this module
loads none of them.
"""

from __future__ import annotations

import math
import os
import sys
from collections.abc import Generator, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from threading import Lock
from typing import Any, TypeVar

WAITING = ("OMP_WAIT_POLICY", "GOMP_SPINCOUNT", "KMP_BLOCKTIME", "KMP_LIBRARY")
"""Variables that say how threads wait. GNU's, LLVM's and Intel's OpenMP read the first, only GNU's
the second, only LLVM's and Intel's the others."""

SPINS = 1000
"""Spins before a thread of GNU's OpenMP sleeps: about 10 µs; the default is 3 ms. With none, a
single run takes a tenth longer."""

CGROUPS = Path("/sys/fs/cgroup")
MEMBERSHIP = Path("/proc/self/cgroup")

Y = TypeVar("Y")
T = TypeVar("T")

# For each kind of library, the variables that set its number of threads.
_COUNTS = {
    "openmp": ("OMP_NUM_THREADS",),
    "torch": ("OMP_NUM_THREADS", "MKL_NUM_THREADS"),
    "mkl": ("OMP_NUM_THREADS", "MKL_NUM_THREADS"),
    "openblas": ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS"),
    "blis": ("OMP_NUM_THREADS", "BLIS_NUM_THREADS"),
    "numba": ("NUMBA_NUM_THREADS",),
}


def share_cores(among: int = 1) -> None:
    """Make waiting threads yield, and limit threads to the cores that the process may use.

    Sets environment variables for libraries that are not loaded yet, and lowers the number of
    threads of those that are. What the user set does not change, nor do numbers of threads if the
    process may use the whole machine. Call this in each thread that computes: OpenMP and numba
    have a separate number for each thread.

    Parameters
    ----------
    among
        How many processes share the cores.
    """
    if not any(name in os.environ for name in WAITING):
        os.environ["OMP_WAIT_POLICY"] = "passive"
        os.environ["GOMP_SPINCOUNT"] = str(SPINS)
    usable = max(1, usable_cpus() // among)
    if usable == os.cpu_count():
        return
    # Libraries respect the affinity themselves, but not quotas or jobs.
    if usable < _affinity():
        os.environ.setdefault("OMP_NUM_THREADS", str(usable))
        # numba refuses a new number once its threads are running.
        if "numba" not in sys.modules:
            os.environ.setdefault("NUMBA_NUM_THREADS", str(usable))
    _lower_loaded(usable)


def usable_cpus() -> int:
    """How many threads of this process can run at a time, 1 or more.

    The minimum of its affinity, its cgroups' quota (versions 1 and 2; part of a core counts as
    one) and Slurm's ``SLURM_CPUS_PER_TASK``.
    """
    limits = [_affinity(), math.ceil(min(_quota(), sys.maxsize))]
    slurm = os.environ.get("SLURM_CPUS_PER_TASK", "")
    if slurm.isdecimal() and int(slurm):
        limits.append(int(slurm))
    return max(1, min(limits))


def wanted_threads(among: int = 1) -> int:
    """How many threads of ours compute at a time: the cores, or fewer if the user set so.

    Parameters
    ----------
    among
        How many processes share the cores.
    """
    usable, wanted = usable_cpus() // among, os.environ.get("OMP_NUM_THREADS", "")
    return max(1, min(usable, int(wanted)) if wanted.isdecimal() else usable)


_single_lock = Lock()
_singles: list[Any] = []


@contextmanager
def single_products() -> Iterator[None]:
    """Compute products of matrices on one thread, all threads of the process meanwhile.

    Their threads spin while they wait for small products, and by their number sums are rounded.
    """
    from threadpoolctl import ThreadpoolController

    with _single_lock:
        # Only the first that enters knows the number that the last one sets again.
        limited = None if _singles else ThreadpoolController().limit(limits=1, user_api="blas")
        _singles.append(limited)
    try:
        yield
    finally:
        with _single_lock:
            if len(_singles) > 1:
                _singles.pop()
            else:
                _singles.pop().restore_original_limits()


def in_single_products(steps: Generator[Y, None, T]) -> Generator[Y, None, T]:
    """Take each step of a computation with :func:`single_products`."""
    with closing(steps):
        while True:
            with single_products():
                try:
                    step = next(steps)
                except StopIteration as end:
                    return end.value
            yield step


def _affinity() -> int:
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def _quota() -> float:
    """Cores that this process may use by its cgroups and their parents."""
    return min(map(_share, cgroup_folders("cpu")), default=math.inf)


def cgroup_folders(controller: str) -> Iterator[Path]:
    """Yield the folders in which the limits of this process may stand; some do not exist.

    Parameters
    ----------
    controller
        What is limited, ``cpu`` or ``memory``. Both versions of cgroups are looked at, and all
        parents: the least limit counts.
    """
    try:
        lines = MEMBERSHIP.read_text().splitlines()
    except OSError:
        return
    for line in lines:
        _, _, named = line.partition(":")
        controllers, _, path = named.partition(":")
        if controllers and controller not in controllers.split(","):
            continue
        # In a container the path is often the host's, and not visible here.
        for name in (controllers, controller if controllers else "unified"):
            root = CGROUPS / name
            folder = root / path.strip("/")
            while folder != root:
                yield folder
                folder = folder.parent
            yield root


def _share(cgroup: Path) -> float:
    """Cores that one cgroup may use."""
    try:
        if (cgroup / "cpu.max").is_file():
            quota, period = map(int, (cgroup / "cpu.max").read_text().split())
        else:
            quota = int((cgroup / "cpu.cfs_quota_us").read_text())
            period = int((cgroup / "cpu.cfs_period_us").read_text())
    except (OSError, ValueError):  # no quota, or it is "max"
        return math.inf
    return quota / period if quota > 0 and period > 0 else math.inf


def _lower_loaded(most: int) -> None:
    """Lower the number of threads of libraries that are already loaded."""
    from threadpoolctl import ThreadpoolController

    numba, torch = sys.modules.get("numba"), sys.modules.get("torch")
    # numba first: it also sets the number of the OpenMP that starts its threads, even torch's.
    if numba and _free("numba", most) and most < numba.config.NUMBA_NUM_THREADS:
        numba.set_num_threads(most)
    if torch and _free("torch", most) and torch.get_num_threads() > most:
        torch.set_num_threads(most)
    for library in ThreadpoolController().lib_controllers:
        if _free(library.internal_api, most) and library.num_threads > most:
            library.set_num_threads(most)


def _free(kind: str, most: int) -> bool:
    """Whether the user has not set the number of threads of a library."""
    names = _COUNTS.get(kind, ("OMP_NUM_THREADS",))
    return all(os.environ.get(name, str(most)) == str(most) for name in names)
