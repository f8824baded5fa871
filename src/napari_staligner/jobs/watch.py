"""How a job really is: what its folder says, and whether its process still lives."""

from __future__ import annotations

import socket
from dataclasses import replace

from napari_staligner._errors import InputError
from napari_staligner.io.processes import alive
from napari_staligner.jobs.folder import GO_ON, JobFolder, JobState

STALE_SECONDS = 60.0
"""Without a sign of life for so long, a job on another machine is taken for dead."""
LATE_SECONDS = 600.0
"""After so long, a process that was started but never reported is taken for dead."""

GONE = f"Its process was killed, or the machine went down: {GO_ON}."
NEVER_BEGAN = "It never began: see log.txt in its folder."


def seen_state(folder: JobFolder) -> JobState:
    """Return the state of a job, corrected where its process is no more.

    Parameters
    ----------
    folder
        Of the job.

    Raises
    ------
    InputError
        The folder is no job's.
    """
    state = folder.state()
    if state.condition == "queued" and folder.cancel.exists():
        return JobState("cancelled")
    if state.condition != "running" or _lives(folder, state):
        return state
    # It may have ended between the two looks.
    state = folder.state()
    return state if state.ended else replace(state, condition="failed", sentence=GONE)


def running(folder: JobFolder) -> bool:
    """Whether a process computes the job now."""
    try:
        return seen_state(folder).condition == "running"
    except InputError:
        return False


def _lives(folder: JobFolder, state: JobState) -> bool:
    if state.host != socket.gethostname():
        return folder.age < STALE_SECONDS
    return alive(state.pid, state.started)
