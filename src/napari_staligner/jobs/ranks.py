"""The processes that compute one job together on one machine."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from napari_staligner._errors import ComputeError
from napari_staligner.core.training.ranks import MEETING, Ranks, standing
from napari_staligner.core.training.signs import exchange_left
from napari_staligner.jobs.folder import JobFolder
from napari_staligner.jobs.launchers.local import command
from napari_staligner.threads import share_cores, usable_cpus

LOOK_SECONDS = 0.5
ENDS_WITHIN = 10.0
"""Seconds that the other processes have to end by themselves when the first one has."""
NEVER_CAME = "One of the processes of this job ended before it began: see log.txt in its folder."


@contextmanager
def other_ranks(folder: JobFolder, size: int) -> Iterator[None]:
    """Start the other processes of a job, and end them when it has ended.

    Nothing is started if ``torchrun`` or ``srun`` have done so.

    Parameters
    ----------
    folder
        Of the job.
    size
        How many processes compute it, with this one.

    Raises
    ------
    ComputeError
        One of them ended at once.
    """
    if size == 1 or standing()[1] > 1:
        yield
        return
    with tempfile.TemporaryDirectory(prefix="staligner-") as place:
        meeting = Path(place) / "ranks"
        before, others = dict(os.environ), []
        os.environ |= _surroundings(meeting, size)
        share_cores(size)
        try:
            for rank in range(1, size):
                its = os.environ | {"RANK": str(rank)}
                run = subprocess.Popen(
                    command(folder), stdin=subprocess.DEVNULL, env=its, cwd=folder.path
                )
                others.append(run)
            _await(others, meeting)
            yield
        finally:
            _end(others)
            os.environ.clear()
            os.environ |= before


def joined_ranks() -> Ranks:
    """Join the processes of this job, if there are others."""
    rank, _ = standing()
    if rank and MEETING in os.environ:
        _came(Path(os.environ[MEETING]), rank).touch()
        _end_with_parent()
    return Ranks.joined()


def _surroundings(meeting: Path, size: int) -> dict[str, str]:
    said = {"RANK": "0", "WORLD_SIZE": str(size), MEETING: str(meeting)}
    if sys.platform == "linux":
        # They talk to each other alone.
        said["GLOO_SOCKET_IFNAME"] = "lo"
    # Unless somebody chose another number, all use as many threads, on which the bits depend.
    whole = str(usable_cpus())
    if os.environ.get("OMP_NUM_THREADS", whole) == whole:
        said["OMP_NUM_THREADS"] = str(max(1, usable_cpus() // size))
    return said


def _came(meeting: Path, rank: int) -> Path:
    return meeting.with_suffix(f".{rank}")


def _await(others: Sequence[subprocess.Popen[bytes]], meeting: Path) -> None:
    """Wait until all are here: one that never comes would be waited for much longer."""
    for rank, other in enumerate(others, 1):
        while not _came(meeting, rank).exists():
            if other.poll() is not None:
                raise ComputeError(NEVER_CAME)
            time.sleep(0.05)


def _end(others: Sequence[subprocess.Popen[bytes]]) -> None:
    distributed = sys.modules.get("torch.distributed")
    # Where an exchange was left, this would wait for it.
    if distributed is not None and distributed.is_initialized() and not exchange_left():
        distributed.destroy_process_group()
    until = time.monotonic() + ENDS_WITHIN
    for other in others:
        try:
            other.wait(max(0.0, until - time.monotonic()))
        except subprocess.TimeoutExpired:
            other.kill()
            other.wait()


def _end_with_parent() -> None:
    """End this process when the one that started it is gone, in whatever step it is."""
    parent = os.getppid()

    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(LOOK_SECONDS)
        os.write(2, b"The first process of the job is gone: this one ends, too.\n")
        os._exit(1)

    threading.Thread(target=watch, name="parent", daemon=True).start()
