"""The table of one spot's matches in the other slices."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from qtpy.QtCore import QSize, Qt, Signal
from qtpy.QtGui import QColor
from qtpy.QtWidgets import QAbstractItemView, QHeaderView, QTableWidget, QTableWidgetItem, QWidget

from napari_staligner.widgets._cells import CellDelegate, Role

if TYPE_CHECKING:
    from pandas import DataFrame

NAME, SLICE, DOMAIN, DISTANCE = range(4)
_HEADS = {
    "Match": "Spot of another slice; click a row to go there",
    "Slice": "Slice of the match",
    "Domain": "Domain of the match",
    "Distance": "In the embedding",
}


class MatchTable(QTableWidget):
    """One row a match, the nearest first; a click says its row in the result."""

    chosen = Signal(int)
    """Row in the result of the match that was clicked."""

    def __init__(self, parent: QWidget) -> None:
        super().__init__(0, len(_HEADS), parent)
        self.setHorizontalHeaderLabels(list(_HEADS))
        for column, tip in enumerate(_HEADS.values()):
            self.horizontalHeaderItem(column).setToolTip(tip)
        self.setItemDelegate(CellDelegate(self))
        self.setSelectionMode(QAbstractItemView.SelectionMode.NoSelection)
        self.setEditTriggers(QAbstractItemView.EditTrigger.NoEditTriggers)
        self.setShowGrid(False)
        self.setWordWrap(False)
        self.verticalHeader().hide()
        self.verticalHeader().setDefaultSectionSize(26)
        header = self.horizontalHeader()
        header.setMinimumSectionSize(48)
        header.setSectionResizeMode(QHeaderView.ResizeMode.ResizeToContents)
        header.setSectionResizeMode(NAME, QHeaderView.ResizeMode.Stretch)
        self.cellClicked.connect(self._on_cell_clicked)

    def show_matches(self, matches: DataFrame | None, colors: Mapping[str, str]) -> None:
        """Show what ``core.links.matches`` found; ``None`` shows nothing.

        Parameters
        ----------
        matches
            The matches, the nearest first.
        colors
            Hex colour of each domain.
        """
        self.setRowCount(0 if matches is None else len(matches))
        if matches is None:
            return
        largest = float(matches["distance"].max()) if len(matches) else 1.0
        for at, line in enumerate(matches.itertuples()):
            name = self._cell(at, NAME, line.name)
            name.setToolTip(line.name)
            name.setData(Qt.ItemDataRole.UserRole, int(line.Index))
            of_slice = self._cell(at, SLICE, line.slice)
            of_slice.setSizeHint(QSize(self.fontMetrics().horizontalAdvance(line.slice) + 16, 26))
            domain = self._cell(at, DOMAIN, line.domain)
            if line.domain in colors:
                domain.setData(Role.COLOR, QColor(colors[line.domain]))
            distance = self._cell(at, DISTANCE, f"{line.distance:.3f}")
            distance.setData(Role.SHARE, line.distance / (largest or 1.0))

    def _cell(self, row: int, column: int, text: str) -> QTableWidgetItem:
        item = QTableWidgetItem(text)
        side = Qt.AlignmentFlag.AlignRight if column == DISTANCE else Qt.AlignmentFlag.AlignLeft
        item.setTextAlignment(side | Qt.AlignmentFlag.AlignVCenter)
        self.setItem(row, column, item)
        return item

    def _on_cell_clicked(self, row: int, column: int) -> None:
        self.chosen.emit(self.item(row, NAME).data(Qt.ItemDataRole.UserRole))
