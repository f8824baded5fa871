"""One look at a job: its state, its losses, and how long it may take yet."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from time import time

from napari_staligner._errors import InputError
from napari_staligner.core.progress import Loss, Progress, spoken
from napari_staligner.jobs.folder import JobFolder, JobSpec, JobState, Tail
from napari_staligner.jobs.launch import look_at

PACE_STEPS, FEWEST_STEPS = 60, 5
"""The time left is told from so many last steps, and not from fewer than these."""


@dataclass
class Outlook:
    """How one job is; :meth:`look` asks again, and reads only what is new.

    Parameters
    ----------
    folder
        Of the job.
    """

    folder: JobFolder
    spec: JobSpec = field(init=False)
    state: JobState = field(init=False, default_factory=lambda: JobState("queued"))
    steps: list[tuple[float, Progress]] = field(init=False, default_factory=list)
    losses: dict[int, Loss] = field(init=False, default_factory=dict)
    notes: list[str] = field(init=False, default_factory=list)
    looked: float = field(init=False, default=0.0)

    def __post_init__(self) -> None:
        self.spec = self.folder.spec()
        self._tail = Tail(self.folder)

    def look(self) -> None:
        """Ask how the job is now, and read its new steps.

        Raises
        ------
        InputError
            Its place does not answer.
        """
        self.looked = time()
        try:
            self.state = look_at(self.folder)
        finally:
            for when, step in self._tail.new():
                self._take(when, step)

    def _take(self, when: float, step: Progress) -> None:
        # After a resume, steps and epochs are told again.
        if self.steps and step.done < self.steps[-1][1].done:
            self.steps.clear()
        self.steps = [*self.steps[-PACE_STEPS:], (when, step)]
        if step.loss is not None:
            self.losses[step.loss.epoch] = step.loss
        for said in (step.note, step.lost):
            if said and said not in self.notes:
                self.notes.append(said)

    @property
    def last(self) -> Progress | None:
        """The last step."""
        return self.steps[-1][1] if self.steps else None

    @property
    def left(self) -> float | None:
        """Seconds to the end at the present pace; ``None`` while unknown."""
        if self.state.condition != "running" or len(self.steps) < FEWEST_STEPS:
            return None
        (first, begun), (last, now) = self.steps[0], self.steps[-1]
        if now.done <= begun.done:
            return None
        return max(0.0, (now.total - now.done) * (last - first) / (now.done - begun.done))

    @property
    def share(self) -> float:
        """How much is done, 0 to 1."""
        if self.state.condition == "done":
            return 1.0
        return 0.0 if self.last is None else min(1.0, self.last.done / max(1, self.last.total))

    def lines(self) -> Iterator[str]:
        """Tell it in lines for the shell."""
        yield f"{self.spec.title}: {self.state.condition}, {self.share:.0%}"
        if self.state.sentence:
            yield self.state.sentence
        if self.last is not None and not self.state.ended:
            epoch = f", epoch {self.last.loss.epoch}" if self.last.loss else ""
            left = "" if self.left is None else f", about {spoken(self.left)} left"
            yield f"{self.last.stage}{epoch}{left}"
        yield from self.notes
        yield f"Folder: {self.folder.path}"


def look_closely(folder: JobFolder) -> Outlook:
    """Return how a job is now."""
    seen = Outlook(folder)
    seen.look()
    return seen


def glance(folder: JobFolder) -> Outlook | str:
    """Return how a job is now, or why that cannot be told."""
    try:
        return look_closely(folder)
    except InputError as error:
        return str(error)
