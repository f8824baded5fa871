"""What a long computation reports while it runs."""

from __future__ import annotations

from collections.abc import Callable, Generator
from dataclasses import dataclass, replace
from typing import TypeVar

T = TypeVar("T")


@dataclass(frozen=True)
class Loss:
    """Losses of one epoch; ``triplet`` is ``None`` while there are no triplets."""

    epoch: int
    reconstruction: float
    triplet: float | None = None


@dataclass(frozen=True)
class Progress:
    """One step of a run.

    Parameters
    ----------
    stage
        What is going on, in a word or two, shown next to the bar.
    done, total
        Steps of the whole run; an epoch is one step.
    loss
        Losses of the epoch, if the step was one.
    note
        A warning to the user in a sentence, if there is one.
    outlook
        A sentence on the time and memory that the run will take, if known by now.
    lost
        A sentence on a part of the result that failed and will be missing.
    """

    stage: str
    done: int
    total: int
    loss: Loss | None = None
    note: str | None = None
    outlook: str | None = None
    lost: str | None = None


Steps = Generator[Progress, None, T]
"""A computation that yields its progress and returns its result."""


def finish(steps: Steps[T], on_progress: Callable[[Progress], object] | None = None) -> T:
    """Run a computation to its end and return its result.

    Parameters
    ----------
    steps
        The computation.
    on_progress
        Called with every step.
    """
    while True:
        try:
            step = next(steps)
        except StopIteration as end:
            return end.value  # type: ignore[no-any-return]
        if on_progress is not None:
            on_progress(step)


def part_of(steps: Steps[T], start: int, span: int, total: int) -> Steps[T]:
    """Run a part of a whole: its progress goes from ``start`` over ``span`` of ``total``."""
    while True:
        try:
            step = next(steps)
        except StopIteration as end:
            return end.value  # type: ignore[no-any-return]
        yield replace(step, done=start + span * step.done // max(step.total, 1), total=total)


def spoken(seconds: float) -> str:
    """Return a duration as people say it: ``2 min 10 s``."""
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    minutes, rest = divmod(whole, 60)
    if minutes < 60:
        return f"{minutes} min {rest} s" if rest else f"{minutes} min"
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes} min" if minutes else f"{hours} h"
