"""Base of panels with scatter plots of the result's spots, which show and set the session."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from qtpy.QtCore import Signal
from qtpy.QtWidgets import QWidget

from napari_staligner._errors import InputError
from napari_staligner.layers import describe, painting

if TYPE_CHECKING:
    from collections.abc import Iterable

    from numpy.typing import NDArray

    from napari_staligner.session import Session
    from napari_staligner.widgets.parts.spots_view import SpotsView


class SpotsPanel(QWidget):
    """Base of panels with views in which each spot is a row of the result.

    In any of them, a lasso selects spots, a click chooses a spot, and hovering describes it.
    """

    said = Signal(str, bool)
    """A sentence for the status line, and whether it is a problem."""
    described = Signal(str)
    """Description of the spot under the mouse."""

    def __init__(self, session: Session, parent: QWidget) -> None:
        super().__init__(parent)
        self._session = session

    def _listen(self, view: SpotsView) -> None:
        view.lassoed.connect(self._on_view_lassoed)
        view.clicked.connect(self._on_view_clicked)
        view.hovered.connect(self._on_view_hovered)

    def _mark_in(self, views: Iterable[SpotsView]) -> None:
        """Put a ring around the chosen spot; all views show the result's rows."""
        session, spot, row = self._session, self._session.view.spot, None
        if spot is not None and session.result.rows(spot.slice) is not None:
            row = int(session.result.rows(spot.slice)[spot.row])  # type: ignore[index]
        for view in views:
            view.mark(row)

    def _on_view_lassoed(self, rows: NDArray[np.intp], how: str) -> None:
        session = self._session
        if how == "remove":
            session.result.selection = np.setdiff1d(session.result.selection, rows)
            return
        try:
            # Like a tool on the tissue: the chosen class is assigned too.
            session.annotations.take(
                np.union1d(session.result.selection, rows) if how == "add" else rows, "lasso"
            )
        except InputError as error:
            self.said.emit(str(error), True)

    def _on_view_clicked(self, row: int | None) -> None:
        self._session.view.spot = None if row is None else self._session.result.spot_of_row(row)

    def _on_view_hovered(self, row: int | None) -> None:
        if row is not None and self._session.result.adata is not None:
            spot = self._session.result.spot_of_row(row)
            self.described.emit(describe(self._session, painting(self._session), spot))
