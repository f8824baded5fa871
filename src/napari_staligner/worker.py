"""Runs a computation of core in a background thread: progress, cancel, errors, late answers.

The computation is a generator that yields :class:`~napari_staligner.core.progress.Progress` and
touches no objects of the user's. Everything it reports reaches the GUI thread as a signal.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Generator
from dataclasses import dataclass
from threading import Event
from time import monotonic
from typing import TYPE_CHECKING, Any

from napari.qt.threading import thread_worker
from napari.utils import progress
from qtpy.QtCore import QObject, Signal

from napari_staligner._errors import ComputeError, InputError
from napari_staligner.compat import keep_triton_out, load_torch_freely, slow_spinners
from napari_staligner.core.attempt import known_failure, log_failure
from napari_staligner.io.problem_report import keep_problem
from napari_staligner.threads import share_cores

if TYPE_CHECKING:
    from napari_staligner.core.progress import Progress, Steps

_log = logging.getLogger(__name__)

BAR_SECONDS = 2.0
"""Minimum time between two updates of the bar in the activity dock, which is mostly closed."""


@dataclass(frozen=True)
class _Outcome:
    """How a run ended; ``failure`` is a sentence, or ``None`` for a result."""

    generation: int
    value: Any = None
    failure: str | None = None


class Runner(QObject):
    """Runs one computation at a time in the background, with a bar in napari's activity dock.

    Parameters
    ----------
    parent
        Owner; the run is cancelled when Qt deletes it.
    """

    progressed = Signal(object)
    """A :class:`~napari_staligner.core.progress.Progress`."""
    returned = Signal(object)
    """The result; the thread is free again, so another run may follow at once."""
    failed = Signal(str)
    """Why there is no result, in one sentence. Not sent after a cancel."""
    ended = Signal()
    """The thread is free, and stays so: no other run was started with the result."""

    def __init__(self, parent: QObject | None = None) -> None:
        super().__init__(parent)
        self._worker: Any = None
        self._outcome: _Outcome | None = None
        self._title = ""
        # Increased by each start and each cancel: an answer with an older number is late.
        self._generation = 0
        self._cancelled = Event()
        self._bar = _ActivityBar()
        self.destroyed.connect(self._cancelled.set)
        self.destroyed.connect(self._bar.close)

    @property
    def running(self) -> bool:
        """Whether a computation is running or stopping."""
        return self._worker is not None

    def start(self, make_steps: Callable[[], Steps[Any]], title: str) -> None:
        """Start a computation.

        Parameters
        ----------
        make_steps
            Makes the generator; called in the thread, so heavy imports belong there.
        title
            A few words on what is computed.

        Raises
        ------
        InputError
            A computation is still running.
        """
        if self.running:
            raise InputError(f"{self._title!r} is still running: wait for it, or cancel it.")
        keep_triton_out()
        load_torch_freely()
        self._title = title
        self._generation += 1
        self._cancelled.clear()
        generation, cancelled = self._generation, self._cancelled

        def steps() -> Generator[tuple[int, Progress], None, _Outcome]:
            return (yield from _drive(make_steps, generation, cancelled))

        # Closing napari during a run shows this name in its "Close window?" question.
        steps.__qualname__ = title
        worker = thread_worker(steps, start_thread=False, ignore_errors=True)()
        worker.warned.connect(_log_warning)
        worker.yielded.connect(self._on_worker_yielded)
        worker.returned.connect(self._on_worker_returned)
        worker.finished.connect(self._on_worker_finished)
        self._worker = worker
        self._bar.open(title)
        worker.start()

    def cancel(self) -> None:
        """Stop at the next step; reports until then are dropped."""
        if self.running:
            self._generation += 1
            self._cancelled.set()

    def _on_worker_yielded(self, said: tuple[int, Progress]) -> None:
        generation, step = said
        if generation == self._generation:
            self.progressed.emit(step)
            self._bar.show(step)

    def _on_worker_returned(self, outcome: _Outcome) -> None:
        # Kept until the thread is free: who sees the result may ask for the next run at once.
        self._outcome = outcome

    def _on_worker_finished(self) -> None:
        # Closing the bar processes events; until then another start is refused.
        self._bar.close()
        self._worker = None
        outcome, self._outcome = self._outcome, None
        if outcome is not None and outcome.generation == self._generation:
            if outcome.failure is None:
                self.returned.emit(outcome.value)
            else:
                self.failed.emit(outcome.failure)
        if not self.running:
            self.ended.emit()


class _ActivityBar:
    """The bar in napari's activity dock. Not a QObject: it is closed after Qt objects are gone."""

    def __init__(self) -> None:
        self._bar: Any = None
        self._title = ""
        self._shown = 0.0
        self._showing = False

    def open(self, title: str) -> None:
        self._title = title
        self._shown = 0.0
        # gui=True: no second bar on the terminal.
        self._bar = progress(total=0, desc=title, gui=True)
        slow_spinners()

    def show(self, step: Progress) -> None:
        # napari processes events while it draws the bar, so the next steps, and even the end of
        # the run, may arrive within this call.
        now = monotonic()
        if self._bar is None or self._showing or now - self._shown < BAR_SECONDS:
            return
        self._shown, self._showing = now, True
        try:
            self._draw(self._bar, step)
        finally:
            self._showing = False

    def _draw(self, bar: Any, step: Progress) -> None:
        description = f"{self._title}: {step.stage}"
        if bar.total != step.total:
            bar.total = step.total
        if bar.desc.removesuffix(": ") != description:
            bar.set_description(description)
        if self._bar is bar:
            bar.update(step.done - bar.n)

    def close(self) -> None:
        bar, self._bar = self._bar, None
        if bar is not None:
            bar.close()


def _drive(
    make_steps: Callable[[], Steps[Any]], generation: int, cancelled: Event
) -> Generator[tuple[int, Progress], None, _Outcome]:
    """Run the steps and turn every error into a sentence.

    No exception may escape: superqt swallows a RuntimeError and then sends neither ``errored`` nor
    ``finished``, and napari shows any other with a traceback.
    """
    try:
        share_cores()
        steps = make_steps()
        while not cancelled.is_set():
            try:
                step = next(steps)
            except StopIteration as end:
                return _Outcome(generation, end.value)
            yield generation, step
        steps.close()
    except (InputError, ComputeError) as error:
        return _Outcome(generation, failure=str(error))
    except Exception as error:
        log_failure("A computation in the background failed", error)
        known = known_failure(error)
        kept = "" if known else keep_problem(error, "a computation in the window")
        return _Outcome(generation, failure=f"{known or _unexpected(error)} {kept}".rstrip())
    return _Outcome(generation)


def _unexpected(error: Exception) -> str:
    text = next((line.strip() for line in str(error).splitlines() if line.strip()), "")
    name = type(error).__name__
    return f"This failed with an unexpected {name} ({text[:200]}): please report it."


def _log_warning(shown: tuple[Any, ...]) -> None:
    message, category = shown[:2]
    _log.info("%s: %s", category.__name__, message)
