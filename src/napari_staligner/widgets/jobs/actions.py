"""What is done to a job at the press of a button, as steps for the background."""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import TYPE_CHECKING

from napari_staligner.core.progress import Progress

if TYPE_CHECKING:
    from napari_staligner.core.progress import Steps
    from napari_staligner.io.session_file import Content
    from napari_staligner.jobs.folder import JobFolder

LOG_BYTES = 100_000
"""The end of a log that is shown."""


@dataclass(frozen=True)
class Brought:
    """What was read of a job: its result, or the end of its log."""

    content: Content | None = None
    log: str | None = None


def result_steps(folder: JobFolder) -> Steps[Brought]:
    """Read the result of a job, from another machine if it is there."""
    from napari_staligner.io.session_file import open_file
    from napari_staligner.jobs.launch import fetch_result

    yield Progress("reading the result", 0, 1)
    return Brought(open_file(fetch_result(folder)))


def log_steps(folder: JobFolder) -> Steps[Brought]:
    """Read the end of a job's log."""
    yield Progress("reading the log", 0, 1)
    if not folder.log.exists():
        return Brought(log="The job has printed nothing yet.")
    with folder.log.open("rb") as file:
        file.seek(max(0, file.seek(0, os.SEEK_END) - LOG_BYTES))
        text = file.read().decode(errors="replace")
    return Brought(log=text or "The job has printed nothing.")


def cancel_steps(folder: JobFolder) -> Steps[str]:
    """Ask a job to end."""
    from napari_staligner.jobs.launch import cancel_job

    yield Progress("cancelling the job", 0, 1)
    cancel_job(folder)
    return "It ends at its next step."


def resume_steps(folder: JobFolder) -> Steps[str]:
    """Go on with a job."""
    from napari_staligner.jobs.launch import resume_job

    yield Progress("starting the job", 0, 1)
    resume_job(folder)
    return "It goes on."


def forget_steps(folder: JobFolder) -> Steps[str]:
    """Take a job off the list."""
    from napari_staligner.jobs.listing import forget_job

    yield Progress("forgetting the job", 0, 1)
    forget_job(folder)
    return f"Its folder stays: {folder.path}"
