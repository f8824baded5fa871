"""The switch by which only the spots count that lie on tissue of all slices."""

from __future__ import annotations

from typing import TYPE_CHECKING

from qtpy.QtCore import Signal
from qtpy.QtWidgets import QCheckBox
from superqt.utils import signals_blocked

from napari_staligner._errors import InputError
from napari_staligner.worker import Runner

if TYPE_CHECKING:
    from qtpy.QtWidgets import QWidget

    from napari_staligner.core.result.overlap import Overlap
    from napari_staligner.session import Session


class OverlapSwitch(QCheckBox):
    """Sets ``view.only_overlap``; the overlap is found first, in the background.

    Parameters
    ----------
    session
        The session.
    parent
        Owner.
    """

    said = Signal(str, bool)
    """A sentence for the status line, and whether it is a problem."""

    def __init__(self, session: Session, parent: QWidget) -> None:
        super().__init__("Only where slices overlap", parent)
        self.setToolTip(
            "Count only spots where all slices have tissue, in residuals, in the table of domains "
            "and slices, and in figures; the others are dimmed"
        )
        self._session = session
        self._runner = Runner(parent)
        self.clicked.connect(self._on_clicked)
        self._runner.returned.connect(self._on_runner_returned)
        self._runner.failed.connect(lambda reason: self.said.emit(reason, True))
        self._runner.ended.connect(self.refresh)
        self.refresh()

    def refresh(self) -> None:
        """Show what the session says."""
        state = self._session.alignment.state
        with signals_blocked(self):
            self.setChecked(self._session.view.only_overlap or self._runner.running)
        self.setEnabled(
            state is not None and len(state.registered.transforms) > 1 and not self._runner.running
        )

    def stop(self) -> None:
        """Drop a running search."""
        self._runner.blockSignals(True)
        self._runner.cancel()

    def _on_clicked(self, wanted: bool) -> None:
        if not wanted or self._session.overlap.known:
            self._session.view.only_overlap = wanted
            return
        try:
            self._runner.start(self._session.overlap.job().steps, "Overlap of the slices")
        except InputError as error:
            self.said.emit(str(error), True)
        self.refresh()

    def _on_runner_returned(self, found: Overlap) -> None:
        self._session.overlap.set(found)
        common = found.common
        self.said.emit(
            f"{common.sum():,} of {len(common):,} spots ({common.mean():.0%}) lie where all slices "
            "have tissue.",
            not common.any(),
        )
