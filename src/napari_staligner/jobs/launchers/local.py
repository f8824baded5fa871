"""Jobs on this machine, in a process of their own that outlives napari and the shell."""

from __future__ import annotations

import subprocess
import sys

from napari_staligner.jobs.folder import JobFolder, JobSpec, JobState
from napari_staligner.jobs.watch import LATE_SECONDS, NEVER_BEGAN

PROGRAM = "napari_staligner.cli.app"
_APART = getattr(subprocess, "DETACHED_PROCESS", 0)  # on Windows, which knows no sessions

# Kept, so that Python does not warn about those that still run, and takes notice of those that end.
_started: list[subprocess.Popen[bytes]] = []


class Local:
    """Starts a process group of its own."""

    seconds = 1.0
    """Between two looks at a job."""

    def start(self, folder: JobFolder, spec: JobSpec) -> None:
        """Start to compute a job."""
        _started[:] = [each for each in _started if each.poll() is None]
        with folder.log.open("ab") as log:
            started = subprocess.Popen(
                command(folder),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                cwd=folder.path,
                start_new_session=True,
                creationflags=_APART,
            )
        _started.append(started)

    def look(self, folder: JobFolder, spec: JobSpec, state: JobState) -> JobState:
        """Correct the state of a job by what is known here."""
        if state.condition == "queued" and folder.age > LATE_SECONDS:
            return JobState("failed", NEVER_BEGAN)
        return state

    def cancel(self, folder: JobFolder, spec: JobSpec) -> None:
        """Nothing to do: the process sees the file."""

    def fetch(self, folder: JobFolder, spec: JobSpec) -> None:
        """Nothing to do: the result is here."""


def command(folder: JobFolder) -> list[str]:
    """The command that computes a job, with the Python of this process."""
    # -P: nothing that lies in the folder is imported.
    return [sys.executable, "-P", "-m", PROGRAM, "job", "run", str(folder.path.resolve())]
