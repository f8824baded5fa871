"""What the smooth last step of the registration did: a bent grid, and colours of area changes."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from qtpy.QtCore import Signal
from qtpy.QtWidgets import QCheckBox, QHBoxLayout, QLabel, QPushButton, QWidget
from superqt.utils import signals_blocked

from napari_staligner import _keys as K
from napari_staligner._errors import InputError
from napari_staligner.session import ColorBy
from napari_staligner.worker import Runner

if TYPE_CHECKING:
    from napari_staligner.core.registration.bending import Bending
    from napari_staligner.session import Session

STRAIGHT = "No slice is bent: tick “Smooth displacement”, and register."


class BendingRow(QWidget):
    """Shows the bending, which is found in the background when it is first asked for.

    Parameters
    ----------
    session
        Whose alignment it is.
    """

    said = Signal(str, bool)
    """A sentence for the status line, and whether it is a problem."""

    def __init__(self, session: Session) -> None:
        super().__init__()
        self._session = session
        self.runner = Runner(self)
        self._again = False
        self.grid = QCheckBox("Bent grid")
        self.grid.setToolTip("A regular grid over each slice (black), and as it is bent (red)")
        self.area = QPushButton("Colour by area change")
        self.area.setToolTip(
            "log2 of the factor by which the smooth displacement scales the area at each spot: "
            "0 keeps its size, 1 doubles, −1 halves"
        )
        # Beside the row, not in it: only the layout of a box leaves room for wrapped text.
        self.text = QLabel()
        self.text.setWordWrap(True)
        row = QHBoxLayout(self)
        row.setContentsMargins(0, 0, 0, 0)
        row.addWidget(self.grid)
        row.addWidget(self.area)
        row.addStretch(1)
        self.grid.toggled.connect(self._on_grid_toggled)
        self.area.clicked.connect(self._on_area_clicked)
        self.runner.returned.connect(session.bending.set)
        self.runner.failed.connect(lambda reason: self.said.emit(reason, True))
        self.runner.ended.connect(self._on_runner_ended)

    def show_bending(self) -> None:
        """Show what is known; what is on the canvas and no longer known is found again."""
        view, bending = self._session.view, self._session.bending
        with signals_blocked(self.grid):
            self.grid.setChecked(view.bending_shown)
        bent = bool(bending.bent)
        for control in (self.grid, self.area):
            control.setEnabled(bent or view.bending_shown)
        if not bent:
            self.text.setText(STRAIGHT)
        else:
            self.text.setText("" if bending.found is None else self._told(bending.found))
        shown = view.bending_shown or view.color_by == ColorBy("obs", K.AREA_CHANGE)
        if bent and shown and bending.found is None:
            self._find()

    def teardown(self) -> None:
        """End a run."""
        self.runner.blockSignals(True)
        self.runner.cancel()

    def _told(self, found: Bending) -> str:
        """Change of area in the middle 90 % of the spots of each bent slice."""
        told = []
        for name in found.grids:
            rows = self._session.result.rows(name)
            values = found.area[:0] if rows is None else found.area[rows]
            known = values[np.isfinite(values)]
            if len(known):
                low, high = 2 ** np.percentile(known, (5, 95))
                told.append(f"{name} ×{low:.2f} to ×{high:.2f}")
            if len(known) < len(values):
                told.append(f"{name} folds at {len(values) - len(known):,} spots")
        return f"Areas (5–95 %): {'; '.join(told)}." if told else ""

    def _find(self) -> None:
        if self.runner.running:
            self._again = True
            return
        try:
            self.runner.start(self._session.bending.job().steps, "Bending")
        except InputError as error:
            self.said.emit(str(error), True)

    def _on_runner_ended(self) -> None:
        if self._again:
            self._again = False
            self.show_bending()

    def _on_grid_toggled(self, shown: bool) -> None:
        self._session.view.bending_shown = shown

    def _on_area_clicked(self) -> None:
        self._session.view.color_by = ColorBy("obs", K.AREA_CHANGE)
