"""A table of spots, one per row; a click goes to the spot."""

from __future__ import annotations

from collections.abc import Collection, Mapping

from qtpy.QtCore import Qt, Signal
from qtpy.QtGui import QColor
from qtpy.QtWidgets import QAbstractItemView, QHeaderView, QTableWidget, QTableWidgetItem, QWidget

from napari_staligner.widgets.parts.cells import CellDelegate, CellRole

NAME = 0
"""Column of the spot's name, in every table of spots."""


class SpotTable(QTableWidget):
    """Base of the tables of spots.

    Parameters
    ----------
    heads
        Tool tip of each column by its header; the first column holds the spots' names.
    words
        Columns with text; the others have numbers.
    parent
        Owner.
    """

    chosen = Signal(int)
    """Row in the result of the spot that was clicked."""

    def __init__(self, heads: Mapping[str, str], words: Collection[int], parent: QWidget) -> None:
        super().__init__(0, len(heads), parent)
        self._words = words
        self.setHorizontalHeaderLabels(list(heads))
        for column, tip in enumerate(heads.values()):
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

    def _spot(self, at: int, name: str, row: int) -> QTableWidgetItem:
        """Show a spot's name, and remember its row in the result."""
        item = self._cell(at, NAME, name)
        item.setToolTip(name)
        item.setData(Qt.ItemDataRole.UserRole, row)
        return item

    def _domain(self, at: int, column: int, domain: str, colors: Mapping[str, str]) -> None:
        """Show a domain with its colour."""
        item = self._cell(at, column, domain)
        if domain in colors:
            item.setData(CellRole.COLOR, QColor(colors[domain]))

    def _cell(self, row: int, column: int, text: str) -> QTableWidgetItem:
        item = QTableWidgetItem(text)
        left = column in self._words
        side = Qt.AlignmentFlag.AlignLeft if left else Qt.AlignmentFlag.AlignRight
        item.setTextAlignment(side | Qt.AlignmentFlag.AlignVCenter)
        self.setItem(row, column, item)
        return item

    def _on_cell_clicked(self, row: int, column: int) -> None:
        self.chosen.emit(self.item(row, NAME).data(Qt.ItemDataRole.UserRole))
