"""Compare numbers of domains, and take one."""

from __future__ import annotations

from typing import TYPE_CHECKING

from qtpy.QtCore import Signal
from qtpy.QtWidgets import QLabel, QPushButton, QVBoxLayout, QWidget

from napari_staligner._errors import InputError
from napari_staligner.widgets.domains.number_plot import NumberPlot
from napari_staligner.widgets.parts.form import row
from napari_staligner.widgets.parts.run_row import RunRow

if TYPE_CHECKING:
    from napari_staligner.core.domains.number import NumberStability
    from napari_staligner.session import Session

TIP = (
    "Find domains in either half of the tissue alone, for each k, and see how far both say the "
    "same of every spot. No labels are used."
)
READING = (
    "Look for a k above its neighbours; of two about as high, the larger one shows more. Click a k "
    "to use it."
)


class NumberPanel(QWidget):
    """A button that compares numbers of domains, and the plot of what it found.

    Parameters
    ----------
    session
        Holds the result.
    parent
        Owner.
    """

    chosen = Signal(int)
    """A number of domains was taken."""
    said = Signal(str, bool)
    """A sentence for the status line, and whether it is a problem."""

    def __init__(self, session: Session, parent: QWidget) -> None:
        super().__init__(parent)
        self._session = session
        unchanged = "the numbers are not compared"
        self.run = RunRow("Which k is stable?", TIP, unchanged, self)
        self.plot = NumberPlot(self)
        self.reading = QLabel(READING)
        self.reading.setWordWrap(True)
        self.hide_plot = QPushButton("Hide")
        self.hide_plot.setToolTip("Hide the plot")
        self.found = QWidget()
        inside = QVBoxLayout(self.found)
        inside.setContentsMargins(0, 0, 0, 0)
        inside.addWidget(self.plot)
        line = row(self.reading, self.hide_plot)
        line.layout().setStretch(0, 1)
        inside.addWidget(line)
        self.found.hide()
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.addWidget(self.run)
        layout.addWidget(self.found)
        self.run.clicked.connect(self._on_run_clicked)
        self.run.returned.connect(self._on_run_returned)
        self.run.said.connect(self.said)
        self.plot.chosen.connect(self.chosen)
        self.hide_plot.clicked.connect(self.found.hide)

    def allow(self, ready: bool) -> None:
        """Say whether there is an embedding."""
        self.run.allow(ready)

    def forget(self) -> None:
        """Stop, and drop what was found: the result is another one."""
        self.run.stop()
        self.plot.show_numbers(())
        self.found.hide()

    def show_present(self) -> None:
        """Mark the number of the present domains."""
        self.plot.show_present(len(self._session.domains.names) or None)

    def _on_run_clicked(self) -> None:
        try:
            job = self._session.domains.number_job()
        except InputError as error:
            self.said.emit(str(error), True)
            return
        self.run.start(job.steps, "Comparing numbers of domains")

    def _on_run_returned(self, found: list[NumberStability]) -> None:
        self.plot.show_numbers(found)
        self.show_present()
        self.found.show()
