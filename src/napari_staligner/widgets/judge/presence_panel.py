"""The table domain × slice: spots and share, their confidence, and the verdict of the test."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from qtpy.QtCore import QAbstractTableModel, QModelIndex, Qt
from qtpy.QtGui import QColor
from qtpy.QtWidgets import QHeaderView, QWidget

from napari_staligner.widgets.parts.cells import CellRole
from napari_staligner.widgets.parts.legend import short_names
from napari_staligner.widgets.parts.sorted_table import SortedTable

if TYPE_CHECKING:
    from napari_staligner.core.domains.presence import Presence
    from napari_staligner.session import Session

DOMAIN, SLICE, SPOTS, SHARE, CONFIDENCE, VERDICT = range(6)
_HEADS = {
    "Domain": "Click a row to see only its domain on the tissue; Esc shows all",
    "Slice": "The slice that the row is about",
    "Spots": "Spots of the domain in the slice",
    "Share": "Share of the slice's spots",
    "Conf.": "Mean confidence of these spots: how well other slices share their neighbourhood",
    "Verdict": "Shared, in this slice only, or depleted in it, by a permutation of blocks of "
    "tissue; unclear if a difference as large is in too few blocks",
}
_WIDTHS = {DOMAIN: 58, SPOTS: 46, SHARE: 48, CONFIDENCE: 44, VERDICT: 94}
_RIGHT = Qt.AlignmentFlag.AlignRight | Qt.AlignmentFlag.AlignVCenter
MOST_LETTERS = 6
"""Names of slices that are longer are shortened to what tells them apart; tips have the whole."""
_VERDICTS = ("slice-specific", "depleted", "unclear", "shared")
_SPECIFIC, _DEPLETED = QColor("#e8871e"), QColor("#3d9df5")


class PresenceModel(QAbstractTableModel):
    """Rows of the session's table of presence."""

    def __init__(self, session: Session, parent: QWidget) -> None:
        super().__init__(parent)
        self._session = session
        self._rows: tuple[Presence, ...] = ()
        self._slices: list[str] = []
        self._names: dict[str, str] = {}
        self._colors: dict[str, QColor] = {}

    def refresh(self) -> None:
        """Show the current table."""
        self.beginResetModel()
        table = self._session.overlap.presence() or self._session.domains.presence()
        self._rows = () if table is None else table.rows
        self._slices = list(dict.fromkeys(row.slice for row in self._rows))
        long = any(len(name) > MOST_LETTERS for name in self._slices)
        shown = short_names(self._slices) if long else self._slices
        self._names = dict(zip(self._slices, shown, strict=True))
        self._colors = {d: QColor(color) for d, color in self._session.domains.colors.items()}
        self.endResetModel()

    def domain(self, row: int) -> str:
        """Domain of a row."""
        return self._rows[row].label

    def dim(self) -> None:
        """Dim the domains that are not isolated."""
        if self._rows:
            last = self.index(len(self._rows) - 1, len(_HEADS) - 1)
            self.dataChanged.emit(self.index(0, 0), last, [CellRole.DIMMED])

    def rowCount(self, parent: QModelIndex | None = None) -> int:
        """One row per domain and slice."""
        return 0 if parent is not None and parent.isValid() else len(self._rows)

    def columnCount(self, parent: QModelIndex | None = None) -> int:
        """One column per title."""
        return 0 if parent is not None and parent.isValid() else len(_HEADS)

    def headerData(
        self, section: int, orientation: Qt.Orientation, role: int = Qt.ItemDataRole.DisplayRole
    ) -> Any:
        """Titles of the columns, and what they mean."""
        if orientation == Qt.Orientation.Horizontal:
            title, tip = list(_HEADS.items())[section]
            if role == Qt.ItemDataRole.DisplayRole:
                return title
            if role == Qt.ItemDataRole.ToolTipRole:
                return tip
        return None

    def data(self, index: QModelIndex, role: int = Qt.ItemDataRole.DisplayRole) -> Any:
        """Text, sort value and look of a cell."""
        row, column = self._rows[index.row()], index.column()
        match role:
            case Qt.ItemDataRole.DisplayRole:
                return self._names[row.slice] if column == SLICE else _text(row, column)
            case CellRole.SORT:
                return self._order(index.row(), column)
            case CellRole.SHARE if column in (SHARE, CONFIDENCE):
                value = row.share if column == SHARE else row.confidence
                return 0.0 if value != value else value
            case CellRole.COLOR if column in (DOMAIN, SHARE):
                return self._colors.get(row.label)
            case CellRole.DIMMED:
                isolated = self._session.view.isolated
                return bool(isolated) and row.label not in isolated
            case Qt.ItemDataRole.TextAlignmentRole if column in (SPOTS, SHARE, CONFIDENCE):
                return _RIGHT
            case Qt.ItemDataRole.ForegroundRole if column == VERDICT:
                return {"slice-specific": _SPECIFIC, "depleted": _DEPLETED}.get(row.verdict)
            case Qt.ItemDataRole.ToolTipRole:
                return _tip(row)
        return None

    def _order(self, place: int, column: int) -> float:
        """Sort value of a cell; domains and slices keep their usual order."""
        row, n = self._rows[place], len(self._rows)
        if column == SPOTS:
            return row.spots
        if column == SHARE:
            return row.share
        if column == CONFIDENCE:
            return -1.0 if row.confidence != row.confidence else row.confidence
        if column == VERDICT:
            return _VERDICTS.index(row.verdict) * n + place
        if column == SLICE:
            return self._slices.index(row.slice) * n + place
        return place


def _text(row: Presence, column: int) -> str:
    confidence = "–" if row.confidence != row.confidence else f"{row.confidence:.2f}"
    texts = (row.label, row.slice, f"{row.spots:,}", f"{row.share:.0%}", confidence, row.verdict)
    return texts[column]


def _tip(row: Presence) -> str:
    elsewhere = "" if row.elsewhere != row.elsewhere else f", {row.elsewhere:.1%} elsewhere"
    return (
        f"Domain {row.label} in {row.slice}: {row.spots:,} spots, {row.share:.1%} of the slice"
        f"{elsewhere}; {row.verdict} (q = {row.q:.2g})"
    )


class PresencePanel(SortedTable):
    """The table; a click on a row isolates its domain on the tissue, a second one shows all."""

    def __init__(self, session: Session, parent: QWidget) -> None:
        super().__init__(parent)
        self._session = session
        self.table = PresenceModel(session, self)
        self.show_sorted(self.table, DOMAIN, Qt.SortOrder.AscendingOrder)
        self.setMinimumHeight(110)
        header = self.horizontalHeader()
        header.setSectionResizeMode(QHeaderView.ResizeMode.Interactive)
        header.setSectionResizeMode(SLICE, QHeaderView.ResizeMode.Stretch)
        for column, width in _WIDTHS.items():
            header.resizeSection(column, width)
        self.clicked.connect(self._on_row_clicked)

    def refresh(self) -> None:
        """Show the current domains."""
        self.table.refresh()

    def domain(self, row: int) -> str:
        """Domain in a row of the table as sorted."""
        return self.table.domain(self._sorted.mapToSource(self._sorted.index(row, 0)).row())

    def _on_row_clicked(self, index: QModelIndex) -> None:
        domain = self.domain(index.row())
        only = frozenset({domain})
        alone = self._session.view.isolated == only
        self._session.view.isolated = frozenset() if alone else only
