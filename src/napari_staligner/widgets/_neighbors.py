"""The table of one spot's neighbours and the weights between them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from qtpy.QtCore import Qt, Signal
from qtpy.QtGui import QColor
from qtpy.QtWidgets import QAbstractItemView, QHeaderView, QTableWidget, QTableWidgetItem, QWidget

from napari_staligner.widgets._cells import CellDelegate, Role

if TYPE_CHECKING:
    from pandas import DataFrame

NAME, DOMAIN, DISTANCE, TAKES, GIVES = range(5)
_HEADS = {
    "Neighbour": "The spot itself first, then by falling weight; click a row to go there",
    "Domain": "Domain of the neighbour",
    "Distance": "In the units of the slice’s coordinates",
    "Takes": "Weight that the spot takes from this neighbour (incoming)",
    "Gives": "Weight that this neighbour takes from the spot (outgoing)",
}


class NeighborTable(QTableWidget):
    """One row a neighbour; a click says its row in the result."""

    chosen = Signal(int)
    """Row in the result of the neighbour that was clicked."""

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

    def show_neighbors(self, neighbors: DataFrame | None, colors: Mapping[str, str]) -> None:
        """Show what ``core.attention.neighbor_table`` found; ``None`` shows nothing.

        Parameters
        ----------
        neighbors
            The neighbours, the spot itself first.
        colors
            Hex colour of each domain.
        """
        self.setRowCount(0 if neighbors is None else len(neighbors))
        if neighbors is None:
            return
        largest = float(neighbors[["incoming", "outgoing"]].to_numpy().max()) or 1.0
        for at, line in enumerate(neighbors.itertuples()):
            name = self._cell(at, NAME, line.name)
            name.setToolTip(line.name)
            name.setData(Qt.ItemDataRole.UserRole, int(line.Index))
            if at == 0:
                name.setText("itself")
            domain = self._cell(at, DOMAIN, line.domain)
            if line.domain in colors:
                domain.setData(Role.COLOR, QColor(colors[line.domain]))
            known = line.distance == line.distance  # not nan
            self._cell(at, DISTANCE, f"{line.distance:.4g}" if known and at else "–")
            for column, weight in ((TAKES, line.incoming), (GIVES, line.outgoing)):
                self._cell(at, column, f"{weight:.3f}").setData(Role.SHARE, weight / largest)

    def _cell(self, row: int, column: int, text: str) -> QTableWidgetItem:
        item = QTableWidgetItem(text)
        left = column in (NAME, DOMAIN)
        side = Qt.AlignmentFlag.AlignLeft if left else Qt.AlignmentFlag.AlignRight
        item.setTextAlignment(side | Qt.AlignmentFlag.AlignVCenter)
        self.setItem(row, column, item)
        return item

    def _on_cell_clicked(self, row: int, column: int) -> None:
        self.chosen.emit(self.item(row, NAME).data(Qt.ItemDataRole.UserRole))
