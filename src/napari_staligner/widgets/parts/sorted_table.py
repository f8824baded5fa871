"""A table with sorting by a click on a header and choosing by a click on a row."""

from __future__ import annotations

from qtpy.QtCore import QAbstractTableModel, QSortFilterProxyModel, Qt
from qtpy.QtWidgets import QAbstractItemView, QTableView, QWidget

from napari_staligner.widgets.parts.cells import CellDelegate, CellRole


class SortedTable(QTableView):
    """Shows a model, sorted by ``CellRole.SORT``.

    Parameters
    ----------
    parent
        Owner.
    """

    def __init__(self, parent: QWidget) -> None:
        super().__init__(parent)
        self._sorted = QSortFilterProxyModel(self)
        self._sorted.setSortRole(CellRole.SORT)
        self.setItemDelegate(CellDelegate(self))
        self.setSelectionBehavior(QAbstractItemView.SelectionBehavior.SelectRows)
        self.setSelectionMode(QAbstractItemView.SelectionMode.SingleSelection)
        self.setShowGrid(False)
        self.setWordWrap(False)
        self.verticalHeader().hide()
        self.verticalHeader().setDefaultSectionSize(24)

    def show_sorted(self, model: QAbstractTableModel, column: int, order: Qt.SortOrder) -> None:
        """Show a model, initially sorted by a column."""
        self._sorted.setSourceModel(model)
        self.setModel(self._sorted)
        self.setSortingEnabled(True)
        self.sortByColumn(column, order)
        self.horizontalHeader().setMinimumSectionSize(40)
