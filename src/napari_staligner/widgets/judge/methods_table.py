"""The figures of the methods side by side: one row per method, the best in bold."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from qtpy.QtCore import Qt
from qtpy.QtWidgets import QAbstractItemView, QHeaderView, QTreeWidget, QTreeWidgetItem

from napari_staligner.core.evaluation.comparison import best, key_figures
from napari_staligner.core.evaluation.metrics import METRICS

if TYPE_CHECKING:
    from qtpy.QtWidgets import QWidget

    from napari_staligner.core.evaluation.comparison import Method

_VALUE_WIDTH = 44
_RIGHT = Qt.AlignmentFlag.AlignRight | Qt.AlignmentFlag.AlignVCenter


class MethodsTable(QTreeWidget):
    """A few figures of each method; all of them are in the tab Figures."""

    def __init__(self, parent: QWidget) -> None:
        super().__init__(parent)
        self.setRootIsDecorated(False)
        self.setUniformRowHeights(True)
        self.setSelectionMode(QAbstractItemView.SelectionMode.NoSelection)
        self.setFocusPolicy(Qt.FocusPolicy.NoFocus)
        self.setVerticalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
        self.header().setStretchLastSection(False)
        self.header().setMinimumSectionSize(40)
        self.show_methods(())

    def show_methods(self, methods: Sequence[Method]) -> None:
        """Show these methods; the labels have no row."""
        found = [method for method in methods if method.key]
        keys = key_figures(found)
        self.clear()
        self.setVisible(bool(found))
        arrows = ["↑" if METRICS[key].higher_is_better else "↓" for key in keys]
        titles = [f"{METRICS[key].title} {a}" for key, a in zip(keys, arrows, strict=True)]
        self.setColumnCount(1 + len(keys))
        self.setHeaderLabels(["Method", *titles])
        bold = {key: best(found, key) for key in keys}
        for row, method in enumerate(found):
            item = QTreeWidgetItem([method.title])
            item.setToolTip(0, f'{method.title}: obsm["{method.key}"]')
            for column, key in enumerate(keys, 1):
                value = method.overall.get(key, float("nan"))
                item.setText(column, "–" if value != value else f"{value:.3f}")
                item.setTextAlignment(column, _RIGHT)
                font = item.font(column)
                font.setBold(row in bold[key])
                item.setFont(column, font)
            self.addTopLevelItem(item)
        for column, key in enumerate(keys, 1):
            self.headerItem().setToolTip(column, METRICS[key].meaning)
            self.headerItem().setTextAlignment(column, _RIGHT)
        self._fit()

    def _fit(self) -> None:
        """Give the names the width that the figures leave, and show all rows."""
        header = self.header()
        header.setSectionResizeMode(QHeaderView.ResizeMode.Interactive)
        header.setSectionResizeMode(0, QHeaderView.ResizeMode.Stretch)
        for column in range(1, self.columnCount()):
            header.resizeSection(column, max(_VALUE_WIDTH, header.sectionSizeHint(column)))
        rows = self.topLevelItemCount()
        height = self.sizeHintForRow(0) * rows if rows else 0
        self.setFixedHeight(height + header.sizeHint().height() + 2 * self.frameWidth())
