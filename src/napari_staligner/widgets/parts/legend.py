"""The legend of the domains: a table with colour, name, and spots in total and by slice."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from qtpy.QtCore import QAbstractTableModel, QModelIndex, QSortFilterProxyModel, Qt, Signal
from qtpy.QtGui import QColor, QKeyEvent, QMouseEvent, QResizeEvent
from qtpy.QtWidgets import QAbstractItemView, QTableView, QWidget

from napari_staligner.core.domains.presence import Presence
from napari_staligner.widgets.parts.cells import CellDelegate, CellRole

SWATCH, NAME, SPOTS, FIRST_SLICE = range(4)
_SWATCH_WIDTH, _NAME_WIDTH, _SPOTS_WIDTH, _ROW_HEIGHT = 28, 108, 58, 32
_SLICE_WIDTHS = (62, 90)
_NARROWEST, _NARROW_NAME = 15, 74
"""Widths of a slice and of the names where the slices have no room for figures."""
_FEW = 3
"""So many slices always have figures."""


@dataclass(frozen=True)
class LegendRow:
    """What the legend says about a domain or class; ``specific`` is set if one slice has it."""

    name: str
    color: str
    counts: tuple[int, ...]
    specific: Presence | None
    dimmed: bool
    note: str = ""
    """Second line, if ``specific`` is not set."""


class LegendModel(QAbstractTableModel):
    """Rows of the legend, in the order of the domains."""

    renamed = Signal(str, str)
    """A name was edited: the old and the new name."""

    def __init__(self, parent: QWidget, title: str) -> None:
        super().__init__(parent)
        self._title = title
        self._slices: tuple[str, ...] = ()
        self._sizes: tuple[int, ...] = ()
        self._rows: tuple[LegendRow, ...] = ()
        self._largest_share = 1.0
        self._heads: tuple[str, ...] = ()
        self.narrow = False
        """Whether the slices have colours in place of figures, and short heads."""

    def set_narrow(self, narrow: bool) -> None:
        """Give the slices colours in place of figures, or figures."""
        if narrow != self.narrow:
            self.narrow = narrow
            if self._rows:
                last = self.index(len(self._rows) - 1, self.columnCount() - 1)
                self.dataChanged.emit(self.index(0, 0), last)
            if self._slices:
                end = self.columnCount() - 1
                self.headerDataChanged.emit(Qt.Orientation.Horizontal, FIRST_SLICE, end)

    def show(self, slices: Sequence[str], sizes: Sequence[int], rows: Sequence[LegendRow]) -> None:
        """Show these rows; sizes are the spots of each slice."""
        # No reset if the shape is the same: it would close an editor and lose the current row.
        same = (tuple(slices), len(rows)) == (self._slices, len(self._rows))
        if not same:
            self.beginResetModel()
        self._slices, self._sizes, self._rows = tuple(slices), tuple(sizes), tuple(rows)
        self._heads = short_names(self._slices)
        shares = [self._share(row, i) for row in rows for i in range(len(slices))]
        self._largest_share = max(shares, default=0.0) or 1.0
        if not same:
            self.endResetModel()
        elif rows:
            last = self.index(len(rows) - 1, self.columnCount() - 1)
            self.dataChanged.emit(self.index(0, 0), last)

    def domain(self, index: QModelIndex) -> str:
        """Name of the domain in the row of an index."""
        return self._rows[index.row()].name

    def rowCount(self, parent: QModelIndex | None = None) -> int:
        """One row per domain."""
        return 0 if parent is not None and parent.isValid() else len(self._rows)

    def columnCount(self, parent: QModelIndex | None = None) -> int:
        """Swatch, name, spots, and one column per slice."""
        return 0 if parent is not None and parent.isValid() else FIRST_SLICE + len(self._slices)

    def flags(self, index: QModelIndex) -> Qt.ItemFlag:
        """Only names can be edited."""
        flags = super().flags(index)
        return flags | Qt.ItemFlag.ItemIsEditable if index.column() == NAME else flags

    def headerData(
        self, section: int, orientation: Qt.Orientation, role: int = Qt.ItemDataRole.DisplayRole
    ) -> Any:
        """Titles of the columns, and what they mean."""
        if orientation == Qt.Orientation.Vertical:
            return None
        by_slice = section - FIRST_SLICE
        if role == Qt.ItemDataRole.DisplayRole:
            heads = self._heads if self.narrow else self._slices
            return ("", self._title, "Spots", *heads)[section]
        if role == Qt.ItemDataRole.TextAlignmentRole and self.narrow and by_slice >= 0:
            return Qt.AlignmentFlag.AlignCenter
        if role == Qt.ItemDataRole.TextAlignmentRole and section >= SPOTS:
            return Qt.AlignmentFlag.AlignRight | Qt.AlignmentFlag.AlignVCenter
        if role == Qt.ItemDataRole.ToolTipRole:
            if by_slice < 0:
                return ("Sort in the original order", "Sort by name", "Sort by size")[section]
            name, size = self._slices[by_slice], self._sizes[by_slice]
            return f"{name}: {size:,} spots; a bar is its share of them"
        return None

    def data(self, index: QModelIndex, role: int = Qt.ItemDataRole.DisplayRole) -> Any:
        """One cell."""
        row, column = self._rows[index.row()], index.column()
        if role == CellRole.DIMMED:
            return row.dimmed
        if role == Qt.ItemDataRole.TextAlignmentRole and column >= SPOTS:
            return Qt.AlignmentFlag.AlignRight | Qt.AlignmentFlag.AlignVCenter
        if column == SWATCH:
            return self._swatch(index.row(), row, role)
        if column == NAME:
            return _name(row, role)
        if column == SPOTS:
            return _figure(sum(row.counts), role)
        return self._by_slice(row, column - FIRST_SLICE, role)

    def setData(self, index: QModelIndex, value: Any, role: int = Qt.ItemDataRole.EditRole) -> bool:
        """Ask for another name; the row changes once the session has accepted it."""
        if role != Qt.ItemDataRole.EditRole:
            return False
        self.renamed.emit(self.domain(index), str(value))
        return True

    def _share(self, row: LegendRow, i: int) -> float:
        return row.counts[i] / self._sizes[i] if self._sizes[i] else 0.0

    def _swatch(self, number: int, row: LegendRow, role: int) -> Any:
        if role == CellRole.COLOR:
            return QColor(row.color)
        if role == CellRole.SORT:
            return number
        if role == Qt.ItemDataRole.ToolTipRole:
            return f"{row.color}: click to choose another colour"
        return None

    def _by_slice(self, row: LegendRow, i: int, role: int) -> Any:
        if role == CellRole.COLOR:
            return QColor(row.color)
        if role == (CellRole.HEAT if self.narrow else CellRole.SHARE):
            return self._share(row, i) / self._largest_share
        if self.narrow and role == Qt.ItemDataRole.DisplayRole:
            return ""
        if role == Qt.ItemDataRole.ToolTipRole:
            total = sum(row.counts) or 1
            return (
                f"{row.counts[i]:,} spots of {row.name}: {self._share(row, i):.1%} of "
                f"{self._slices[i]}, {row.counts[i] / total:.1%} of {row.name}"
            )
        return _figure(row.counts[i], role)


def short_names(names: Sequence[str]) -> tuple[str, ...]:
    """Return what tells names apart: without the beginning and the end that all of them share.

    Parameters
    ----------
    names
        The names; a single one stays as it is.
    """
    if len(set(names)) < 2:
        return tuple(names)
    start = _same_letters(names)
    rest = [name[start:] for name in names]
    end = _same_letters([each[::-1] for each in rest])
    return tuple(each[: len(each) - end] or name for each, name in zip(rest, names, strict=True))


def _same_letters(names: Sequence[str]) -> int:
    """How many letters names begin with alike."""
    same = [len(set(letters)) == 1 for letters in zip(*names, strict=False)]
    return next((i for i, each in enumerate(same) if not each), len(same))


def _name(row: LegendRow, role: int) -> Any:
    if role in (Qt.ItemDataRole.DisplayRole, Qt.ItemDataRole.EditRole):
        return row.name
    if role == CellRole.SORT:
        # "10" after "9": names that are numbers come first, in their order.
        return f"{int(row.name):09d}" if row.name.isdecimal() else row.name.casefold()
    specific = row.specific
    if role == CellRole.NOTE and (specific is not None or row.note):
        return f"only in {specific.slice}" if specific is not None else row.note
    if role == Qt.ItemDataRole.ToolTipRole:
        if row.note:
            return f"{row.name}: click to choose it, double-click to rename it. {row.note}."
        only_in = ""
        if specific is not None:
            only_in = (
                f" It is in {specific.slice}; every other slice lacks it (q = {specific.q:.2g})."
            )
        return f"{row.name}: click to show it alone, double-click to rename it.{only_in}"
    return None


def _figure(n: int, role: int) -> Any:
    if role == Qt.ItemDataRole.DisplayRole:
        return f"{n:,}"
    return n if role == CellRole.SORT else None


class LegendTable(QTableView):
    """The legend; clicks become signals with the name of the domain."""

    chosen = Signal(str, bool)
    """A row was clicked, or Space or Enter pressed on it; the flag says whether Ctrl was held."""
    rename_started = Signal()
    """A name was double-clicked."""
    color_wanted = Signal(str)
    """A swatch was clicked."""

    def __init__(self, parent: QWidget, title: str = "Domain") -> None:
        super().__init__(parent)
        self._ctrl = False
        self.legend = LegendModel(self, title)
        self._sorted = QSortFilterProxyModel(self)
        self._sorted.setSourceModel(self.legend)
        self._sorted.setSortRole(CellRole.SORT)
        self.setModel(self._sorted)
        self.setItemDelegate(CellDelegate(self))
        # The session decides what is shown alone, so Qt has no selection of its own.
        self.setSelectionMode(QAbstractItemView.SelectionMode.NoSelection)
        triggers = QAbstractItemView.EditTrigger
        self.setEditTriggers(triggers.DoubleClicked | triggers.EditKeyPressed)
        self.setShowGrid(False)
        self.setWordWrap(False)
        self.setSortingEnabled(True)
        self.sortByColumn(SWATCH, Qt.SortOrder.AscendingOrder)
        self.verticalHeader().hide()
        self.verticalHeader().setDefaultSectionSize(_ROW_HEIGHT)
        self.horizontalHeader().setMinimumSectionSize(_NARROWEST)
        self.horizontalHeader().setTextElideMode(Qt.TextElideMode.ElideMiddle)
        self.setHorizontalScrollMode(QAbstractItemView.ScrollMode.ScrollPerPixel)
        self.clicked.connect(self._on_cell_clicked)
        self.doubleClicked.connect(self._on_cell_double_clicked)
        self._sorted.modelReset.connect(self._fit)

    def cell(self, domain: str, column: int) -> QModelIndex:
        """Index of a domain's cell, in the present order of the table."""
        for i in range(self._sorted.rowCount()):
            if self._domain(self._sorted.index(i, 0)) == domain:
                return self._sorted.index(i, column)
        raise KeyError(domain)

    def mousePressEvent(self, event: QMouseEvent) -> None:
        """Remember whether Ctrl was held: ``clicked`` does not say."""
        self._ctrl = bool(event.modifiers() & Qt.KeyboardModifier.ControlModifier)
        super().mousePressEvent(event)

    def keyPressEvent(self, event: QKeyEvent) -> None:
        """Space and Enter do what a click does."""
        keys = (Qt.Key.Key_Space, Qt.Key.Key_Return, Qt.Key.Key_Enter)
        at = self.currentIndex()
        editing = self.state() == QAbstractItemView.State.EditingState
        if event.key() in keys and at.isValid() and not editing:
            self._choose(at, bool(event.modifiers() & Qt.KeyboardModifier.ControlModifier))
        else:
            super().keyPressEvent(event)

    def resizeEvent(self, event: QResizeEvent) -> None:
        """Keep the columns filling the width."""
        super().resizeEvent(event)
        self._fit()

    def _fit(self) -> None:
        """Give the names the width that the counts leave; scroll if that is too little."""
        header, columns = self.horizontalHeader(), self._sorted.columnCount()
        width = self.viewport().width()
        header.resizeSection(SWATCH, _SWATCH_WIDTH)
        header.resizeSection(SPOTS, _SPOTS_WIDTH)
        used = _SWATCH_WIDTH + _SPOTS_WIDTH
        names = _NAME_WIDTH
        if columns > FIRST_SLICE:
            fair = (width - used - _NAME_WIDTH) // (columns - FIRST_SLICE)
            self.legend.set_narrow(fair < _SLICE_WIDTHS[0] and columns - FIRST_SLICE > _FEW)
            each = min(max(fair, _SLICE_WIDTHS[0]), _SLICE_WIDTHS[1])
            if self.legend.narrow:
                names = _NARROW_NAME
                each = max((width - used - names) // (columns - FIRST_SLICE), _NARROWEST)
            for column in range(FIRST_SLICE, columns):
                header.resizeSection(column, each)
                used += each
        header.resizeSection(NAME, max(names, width - used))

    def _domain(self, index: QModelIndex) -> str:
        return self.legend.domain(self._sorted.mapToSource(index))

    def _choose(self, index: QModelIndex, ctrl: bool) -> None:
        if index.column() == SWATCH:
            self.color_wanted.emit(self._domain(index))
        else:
            self.chosen.emit(self._domain(index), ctrl)

    def _on_cell_clicked(self, index: QModelIndex) -> None:
        self._choose(index, self._ctrl)

    def _on_cell_double_clicked(self, index: QModelIndex) -> None:
        if index.column() == NAME:
            self.rename_started.emit()
