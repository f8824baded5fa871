"""A button that starts a computation; during the run, a bar and Cancel replace it."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from qtpy.QtCore import Signal
from qtpy.QtWidgets import (
    QHBoxLayout,
    QProgressBar,
    QPushButton,
    QSizePolicy,
    QStackedWidget,
    QWidget,
)

from napari_staligner.worker import Runner

if TYPE_CHECKING:
    from napari_staligner.core.progress import Progress, Steps


class RunRow(QStackedWidget):
    """One computation, its button and its progress.

    Parameters
    ----------
    text, tip
        Text and tool tip of the button.
    unchanged
        What to say after a cancel: what has not changed.
    parent
        Owner.
    """

    clicked = Signal()
    """The button was clicked: the receiver should call :meth:`start`."""
    returned = Signal(object)
    """The result."""
    said = Signal(str, bool)
    """A sentence for the status line, and whether it is a problem; empty at the start."""
    ended = Signal()
    """The next computation may start."""

    def __init__(self, text: str, tip: str, unchanged: str, parent: QWidget) -> None:
        super().__init__(parent)
        self._runner = Runner(self)
        self._ready = False
        self._unchanged = unchanged
        self.button, self.cancel = QPushButton(text), QPushButton("Cancel")
        self.button.setToolTip(tip)
        self.cancel.setToolTip(f"Stop: {unchanged}")
        self.bar = QProgressBar()
        self.bar.setMinimumWidth(60)
        running = QWidget()
        row = QHBoxLayout(running)
        row.setContentsMargins(0, 0, 0, 0)
        row.addWidget(self.bar, 1)
        row.addWidget(self.cancel)
        self.addWidget(self.button)
        self.addWidget(running)
        self.setSizePolicy(QSizePolicy.Policy.Preferred, QSizePolicy.Policy.Fixed)
        self.button.clicked.connect(self.clicked)
        self.cancel.clicked.connect(self._on_cancel_clicked)
        self._runner.progressed.connect(self._on_runner_progressed)
        self._runner.returned.connect(self.returned)
        self._runner.failed.connect(lambda reason: self.said.emit(reason, True))
        self._runner.ended.connect(self._on_runner_ended)

    @property
    def running(self) -> bool:
        """Whether the computation is running."""
        return self._runner.running

    def allow(self, ready: bool) -> None:
        """Say whether there is something to compute from."""
        self._ready = ready
        self.button.setEnabled(ready and not self.running)

    def start(self, make_steps: Callable[[], Steps[Any]], title: str) -> None:
        """Start; see :meth:`napari_staligner.worker.Runner.start`."""
        self.bar.setRange(0, 0)
        self.bar.setFormat("%p%")
        self.cancel.setEnabled(True)
        self.said.emit("", False)
        self._runner.start(make_steps, title)
        self.button.setEnabled(False)
        self.setCurrentIndex(1)

    def stop(self) -> None:
        """Stop, and drop the answer."""
        self._runner.cancel()

    def _on_cancel_clicked(self) -> None:
        # The computation stops at its next step.
        self.cancel.setEnabled(False)
        self.stop()
        self.said.emit(f"Cancelled: {self._unchanged}.", False)

    def _on_runner_progressed(self, step: Progress) -> None:
        self.bar.setRange(0, step.total)
        self.bar.setValue(step.done)
        self.bar.setFormat(f"{step.stage} %p%")

    def _on_runner_ended(self) -> None:
        self.setCurrentIndex(0)
        self.allow(self._ready)
        self.ended.emit()
