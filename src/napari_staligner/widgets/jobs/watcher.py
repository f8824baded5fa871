"""Looks at the jobs again and again, in a thread: a folder on a slow disk freezes no window."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from qtpy.QtCore import QObject, QTimer, Signal
from superqt.utils import create_worker

from napari_staligner.jobs.board import JobBoard

if TYPE_CHECKING:
    from napari_staligner.jobs.board import JobCard

_log = logging.getLogger(__name__)


class JobWatcher(QObject):
    """Tells how all jobs are, a second after the last time.

    Parameters
    ----------
    parent
        Owner.
    """

    seen = Signal(object)
    """The :class:`~napari_staligner.jobs.board.JobCard` of every job, the newest first."""

    def __init__(self, parent: QObject) -> None:
        super().__init__(parent)
        self._board = JobBoard()
        self._looking = False
        self._timer = QTimer(self)
        self._timer.setSingleShot(True)
        self._timer.setInterval(1000)
        self._timer.timeout.connect(self.look)

    @property
    def looking(self) -> bool:
        """Whether a look is going on."""
        return self._looking

    def look(self) -> None:
        """Look now, unless a look is going on; the next one follows by itself."""
        if self._looking:
            return
        self._looking = True
        worker = create_worker(_look, self._board, _start_thread=False)
        worker.returned.connect(self._on_worker_returned)
        worker.start()

    def stop(self) -> None:
        """Look no more."""
        self.blockSignals(True)
        self._timer.stop()

    def _on_worker_returned(self, cards: tuple[JobCard, ...] | None) -> None:
        self._looking = False
        if self.signalsBlocked():
            return
        self._timer.start()
        if cards is not None:
            self.seen.emit(cards)


def _look(board: JobBoard) -> tuple[JobCard, ...] | None:
    try:
        return board.look()
    except Exception:
        # Shown again at the next look; what is wrong with one job is in its card.
        _log.exception("The jobs could not be looked at")
        return None
