"""The switch that shows the outlines of cells, which are read when they are first asked for."""

from __future__ import annotations

from typing import TYPE_CHECKING

from qtpy.QtCore import Signal
from qtpy.QtWidgets import QCheckBox
from superqt.utils import signals_blocked

from napari_staligner.io.outlines import OutlinesFound
from napari_staligner.worker import Runner

if TYPE_CHECKING:
    from qtpy.QtWidgets import QWidget

    from napari_staligner.session import Session

_TIP = (
    "Rims of the cells, or masks of a SpatialData store, in the colours of their spots; they are "
    "read from the folder or store that the slice was opened from"
)
_NONE = "No loaded slice came with outlines of cells, as Xenium, MERSCOPE, CosMx and SpatialData do"


SMALL = 0.4
"""Diameter of spots, as a share of the usual one, at which the rims of their cells are seen."""


class OutlinesSwitch(QCheckBox):
    """Sets ``view.outlines_shown``, and has the outlines read in the background.

    Spots of the usual size would cover the rims in their own colour, so that they become smaller.

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
        super().__init__("Outlines of cells", parent)
        self._session, self._size = session, 1.0
        self.runner = Runner(parent)
        self.toggled.connect(self._on_toggled)
        self.runner.returned.connect(self._on_runner_returned)
        self.runner.failed.connect(self._on_runner_failed)
        self.runner.ended.connect(self.show_session)
        self.show_session()

    def show_session(self) -> None:
        """Show what the session says; outlines that are shown and lacking are read."""
        outlines, shown = self._session.outlines, self._session.view.outlines_shown
        with signals_blocked(self):
            self.setChecked(shown)
        there = bool(outlines.available)
        self.setEnabled(there or shown)
        self.setToolTip(_TIP if there else _NONE)
        if shown and outlines.lacking and not self.runner.running:
            self.runner.start(outlines.job().steps, "Outlines of cells")

    def teardown(self) -> None:
        """End a run."""
        self.runner.blockSignals(True)
        self.runner.cancel()

    def _on_toggled(self, shown: bool) -> None:
        view = self._session.view
        if shown:
            self._session.outlines.forget()
            self._size = view.spot_scale
            view.spot_scale = min(SMALL, self._size)
        elif view.spot_scale == SMALL:
            # Nobody has chosen another size meanwhile.
            view.spot_scale = self._size
        view.outlines_shown = shown
        self.show_session()

    def _on_runner_failed(self, reason: str) -> None:
        # Not asked for again until the switch is: it would fail again.
        self._session.outlines.set(OutlinesFound())
        self.said.emit(reason, True)

    def _on_runner_returned(self, found: OutlinesFound) -> None:
        self._session.outlines.set(found)
        if found.problems:
            self.said.emit(" ".join(found.problems), True)
