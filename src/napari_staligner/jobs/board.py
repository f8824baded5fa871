"""All jobs at one look, for a window that asks again and again."""

from __future__ import annotations

from dataclasses import dataclass
from time import time

from napari_staligner._errors import InputError
from napari_staligner.core.progress import Loss, Progress
from napari_staligner.core.settings import Settings
from napari_staligner.jobs.folder import JobFolder, JobSpec, JobState
from napari_staligner.jobs.launch import launcher_of
from napari_staligner.jobs.listing import known_jobs
from napari_staligner.jobs.outlook import Outlook


@dataclass(frozen=True)
class JobCard:
    """What a window shows of a job; it does not change.

    Parameters
    ----------
    folder, spec, state
        Of the job.
    last
        Its last step.
    left
        Seconds to the end; ``None`` while unknown.
    share
        How much is done, 0 to 1.
    losses
        Of its epochs, in their order.
    notes
        What it said about the slices.
    problem
        Why its place does not answer; empty if it does.
    """

    folder: JobFolder
    spec: JobSpec
    state: JobState
    last: Progress | None
    left: float | None
    share: float
    losses: tuple[Loss, ...]
    notes: tuple[str, ...]
    problem: str


class JobBoard:
    """Looks at all known jobs; each place is asked as often as it bears.

    One thread at a time may use it.
    """

    def __init__(self) -> None:
        self._seen: dict[JobFolder, Outlook] = {}
        self._problems: dict[JobFolder, str] = {}

    def look(self) -> tuple[JobCard, ...]:
        """Return all jobs as they are now, the newest first; a folder that is gone is left out."""
        return tuple(map(self._card, known_jobs()))

    def _card(self, folder: JobFolder) -> JobCard:
        try:
            return self._look(folder)
        except InputError as error:  # it is damaged, or of another version
            return _unreadable(folder, str(error))

    def _look(self, folder: JobFolder) -> JobCard:
        if folder not in self._seen:
            self._seen[folder] = Outlook(folder)
        seen = self._seen[folder]
        if time() - seen.looked >= launcher_of(seen.spec.where.on).seconds:
            self._problems[folder] = ""
            try:
                seen.look()
            except InputError as error:
                self._problems[folder] = str(error)
        return JobCard(
            folder,
            seen.spec,
            seen.state,
            seen.last,
            seen.left,
            seen.share,
            tuple(loss for _, loss in sorted(seen.losses.items())),
            tuple(seen.notes),
            self._problems.get(folder, ""),
        )


def _unreadable(folder: JobFolder, why: str) -> JobCard:
    """A job of which only its folder is known; it can be forgotten."""
    spec = JobSpec("0" * 12, "", folder.path.name, (), Settings())
    state = JobState("failed", why)
    return JobCard(folder, spec, state, None, None, 0.0, (), (), "")
