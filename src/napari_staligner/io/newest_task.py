"""A thread that writes small files, so that a folder that stops holds up nobody else."""

from __future__ import annotations

import atexit
import logging
import time
from collections.abc import Callable
from threading import Condition, Thread
from weakref import WeakSet

_log = logging.getLogger(__name__)

PATIENCE_SECONDS = 0.02
"""A small file is there by then. For what takes longer, a window does not wait."""
PATIENCE_BEFORE_SECONDS = 0.15
"""A task is mostly done when the next one comes. A busy machine or a folder that stops makes a
window wait so long, a folder only once."""
STUCK_SECONDS = 3.0
"""A task that takes longer is said to wait for a folder that does not answer."""
LAST_PATIENCE_SECONDS = 3.0
"""At the end of the program, a folder that does not answer is not waited for any longer."""


class NewestTask:
    """Does one task at a time in a thread, and of those that wait only the newest.

    Each task has to leave all as it should be, whatever was done or left out before. The thread
    ends when there is nothing to do.
    """

    def __init__(self) -> None:
        self._changed = Condition()
        self._waiting: Callable[[], object] | None = None
        self._busy = self._late = False
        self._since = 0.0
        _all.add(self)

    @property
    def busy(self) -> bool:
        """Whether a task is not done yet."""
        return self._busy

    @property
    def stuck(self) -> bool:
        """Whether the task that is under way takes far longer than it should."""
        return self._busy and time.monotonic() - self._since > STUCK_SECONDS

    def give(self, task: Callable[[], object]) -> bool:
        """Do a task as soon as the one under way is done.

        The one before is waited for, so that only the last one can be lost with the program, and
        this one for a moment; neither if the one before has already taken longer than that.

        Returns
        -------
        Whether it is done.
        """
        with self._changed:
            self._late = not self.wait(0.0 if self._late else PATIENCE_BEFORE_SECONDS)
            self._waiting = task
            if not self._late:
                self._busy, self._since = True, time.monotonic()
                Thread(target=self._work, name="staligner-writer", daemon=True).start()
        return self.wait(0.0 if self._late else PATIENCE_SECONDS)

    def wait(self, seconds: float) -> bool:
        """Wait until all is done, but not longer; says whether it is."""
        with self._changed:
            return self._changed.wait_for(lambda: not self._busy, seconds)

    def finish(self) -> bool:
        """Wait at the end of a session; not for ever."""
        return self.wait(LAST_PATIENCE_SECONDS)

    def _work(self) -> None:
        while True:
            with self._changed:
                task, self._waiting = self._waiting, None
                if task is None:
                    self._busy = False
                    self._changed.notify_all()
                    return
            self._since = time.monotonic()
            try:
                task()
            except Exception:
                _log.exception("A task in the background failed")
            del task  # it may hold what is large


_all: WeakSet[NewestTask] = WeakSet()


@atexit.register
def _finish_all() -> None:
    for each in list(_all):
        each.finish()
