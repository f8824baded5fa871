"""Processes that try cases and may die of them; one that does not answer is ended."""

from __future__ import annotations

import multiprocessing as mp
import signal
import time
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import psutil
from fuzz.cases import Case

from napari_staligner.threads import share_cores

HEAVY = (
    "scanpy torch torch_geometric squidpy spatialdata skmisc.loess matplotlib.pyplot "
    "napari_staligner.cli.app napari_staligner.core.stages napari_staligner.core.integrate "
    "napari_staligner.report.report napari_staligner.session.session"
).split()
"""Imported once, in the process that the others are forked from."""
PATIENCE = 60.0
"""Seconds of the processor that a case may take: tiny ones take less than two."""
DEADLOCK = 600.0
"""Seconds of the clock after which a case hangs, whatever else the machine has to do."""
CASES_EACH = 300
"""After so many cases a process is replaced, so that no case is tried in the mess of all others."""


@dataclass(frozen=True)
class Verdict:
    """What came of a case.

    Parameters
    ----------
    faults
        A sentence for each thing that must not happen; the first line tells the kind.
    refused
        The sentence by which the input was refused, if it was.
    """

    faults: tuple[str, ...] = ()
    refused: str = ""


class Pool:
    """Tries one case after another in a process of its own.

    Parameters
    ----------
    folder
        Where the samples are, and where the cases write.
    """

    def __init__(self, folder: Path) -> None:
        # As the program's entries do; the libraries are loaded in the process that is forked.
        share_cores()
        self._context = mp.get_context("forkserver")
        self._context.set_forkserver_preload(HEAVY)
        self._folder = folder
        self._process: Any = None
        self._line: Connection | None = None
        self._tried = 0

    def try_case(self, case: Case) -> Verdict:
        """Try a case; the end of its process is a fault, and so is silence."""
        if self._process is None or self._tried >= CASES_EACH:
            self.close()
            self._start()
        assert self._line is not None
        self._tried += 1
        try:
            self._line.send(case)
            if self._answered():
                return Verdict(*self._line.recv())
        except (EOFError, OSError):
            return Verdict((f"ended by {self._ending()}",))
        self._process.kill()
        self._ending()
        return Verdict((f"no answer after {PATIENCE:.0f} s of work",))

    def _answered(self) -> bool:
        """Wait for the answer to a case; not longer than it may take."""
        assert self._line is not None
        worker, end = psutil.Process(self._process.pid), time.monotonic() + DEADLOCK
        before = sum(worker.cpu_times()[:2])
        while not self._line.poll(1.0):
            try:
                worked = sum(worker.cpu_times()[:2]) - before
            except psutil.Error:  # it has died, which the pipe tells
                return self._line.poll(PATIENCE)
            if worked > PATIENCE or time.monotonic() > end:
                return False
        return True

    def close(self) -> None:
        """End the process."""
        if self._process is None:
            return
        assert self._line is not None
        self._line.close()
        self._process.join(PATIENCE)
        self._process = None

    def _start(self) -> None:
        self._line, theirs = self._context.Pipe()
        self._process = self._context.Process(
            target=_serve, args=(theirs, self._folder), daemon=True
        )
        self._process.start()
        theirs.close()
        self._tried = 0
        if not self._line.poll(DEADLOCK):
            raise TimeoutError("the process that tries cases does not start")
        self._line.recv()

    def _ending(self) -> str:
        self._process.join(PATIENCE)
        code = self._process.exitcode
        self._process = None
        if code is not None and code < 0:
            return f"the signal {signal.Signals(-code).name}"
        return f"exit code {code}"


def _serve(line: Connection, folder: Path) -> None:
    from fuzz.work import Workplace

    place = Workplace(folder)
    line.send("ready")
    while True:
        try:
            case = line.recv()
        except EOFError:
            return
        line.send(place.do(case))
