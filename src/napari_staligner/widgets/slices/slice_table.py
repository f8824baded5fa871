"""The table of the loaded slices."""

from __future__ import annotations

from typing import TYPE_CHECKING

from qtpy.QtCore import QItemSelectionModel, Qt, Signal
from qtpy.QtGui import QColor
from qtpy.QtWidgets import QAbstractItemView, QHeaderView, QTableWidget, QTableWidgetItem
from superqt.utils import signals_blocked

from napari_staligner.core.prepare.notes import notes_of
from napari_staligner.io.images import image_problem

if TYPE_CHECKING:
    from anndata import AnnData

    from napari_staligner.session import Session

NAME, SPOTS, GENES, IMAGE, NEIGHBORS = range(5)
_HEADS = {
    "Slice": "Name of the slice; its tooltip lists the columns of obs, and how the file was read",
    "Spots": "Number of spots, beads, bins or cells",
    "Genes": "Number of genes",
    "Image": "✓ if the file has a tissue image",
    "Neigh-\nbours": "Average neighbours of a spot, in the graph set below; 5 to 10 is right",
}
_WARNING = QColor("#e8871e")


class SliceTable(QTableWidget):
    """One row per slice, in the order of loading; with several, a tick says which are shown."""

    ticked = Signal(list)
    """The user changed which slices have a tick; carries their names."""

    def __init__(self) -> None:
        super().__init__(0, len(_HEADS))
        self.setHorizontalHeaderLabels(list(_HEADS))
        for column, tip in enumerate(_HEADS.values()):
            self.horizontalHeaderItem(column).setToolTip(tip)
        left = Qt.AlignmentFlag.AlignLeft | Qt.AlignmentFlag.AlignVCenter
        self.horizontalHeaderItem(NAME).setTextAlignment(left)
        self.setSelectionBehavior(QAbstractItemView.SelectionBehavior.SelectRows)
        self.setEditTriggers(QAbstractItemView.EditTrigger.NoEditTriggers)
        self.setVerticalScrollMode(QAbstractItemView.ScrollMode.ScrollPerPixel)
        self.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
        self.setTextElideMode(Qt.TextElideMode.ElideMiddle)
        self.setShowGrid(False)
        self.setWordWrap(False)
        self.verticalHeader().hide()
        self.verticalHeader().setDefaultSectionSize(26)
        header = self.horizontalHeader()
        header.setHighlightSections(False)
        header.setMinimumSectionSize(40)
        header.setSectionResizeMode(QHeaderView.ResizeMode.ResizeToContents)
        header.setSectionResizeMode(NAME, QHeaderView.ResizeMode.Stretch)
        self.itemChanged.connect(self._on_item_changed)

    @property
    def chosen(self) -> list[str]:
        """Names of the selected slices."""
        rows = sorted(index.row() for index in self.selectionModel().selectedRows())
        return [self.item(row, NAME).text() for row in rows]

    def show_session(self, session: Session, *, building: bool) -> None:
        """Show slices and neighbours; with ``building``, missing graphs show as in progress."""
        chosen = set(self.chosen)
        with signals_blocked(self):
            self._show_rows(session, building=building)
            self.show_ticks(session)
        self._choose(chosen)

    def show_ticks(self, session: Session) -> None:
        """Tick the slices that are shown; a single slice has no tick."""
        shown = session.paging.shown
        with signals_blocked(self):
            for row in range(self.rowCount() if len(session.slices) > 1 else 0):
                item = self.item(row, NAME)
                ticked = item.text() in shown
                item.setCheckState(Qt.CheckState.Checked if ticked else Qt.CheckState.Unchecked)

    def _on_item_changed(self) -> None:
        items = [self.item(row, NAME) for row in range(self.rowCount())]
        self.ticked.emit([i.text() for i in items if i.checkState() == Qt.CheckState.Checked])

    def _show_rows(self, session: Session, *, building: bool) -> None:
        self.setRowCount(len(session.slices))
        for row, (name, adata) in enumerate(session.slices.items()):
            self._show_slice(row, name, adata)
            graph = session.slices.graphs.get(name)
            cell = self._cell(row, NEIGHBORS, "…" if building else "–")
            if graph is None:
                continue
            sentence = graph.describe(name)
            cell.setText(("⚠ " if sentence else "") + f"{graph.mean_neighbors:.1f}")
            if sentence:
                cell.setForeground(_WARNING)
            radius = "" if graph.radius is None else f"Radius {graph.radius:.4g}. "
            cell.setToolTip(radius + (sentence or f"{graph.alone} spots have no neighbour."))

    def _show_slice(self, row: int, name: str, adata: AnnData) -> None:
        columns = ", ".join(map(str, adata.obs)) or "none"
        notes = "\n".join(notes_of(name, adata))
        self._cell(row, NAME, name).setToolTip(
            f"{name}. Columns of obs: {columns}.\n{notes}".strip()
        )
        self._cell(row, SPOTS, f"{adata.n_obs:,}")
        self._cell(row, GENES, f"{adata.n_vars:,}")
        self._cell(row, IMAGE, "✓" if image_problem(adata) is None else "")

    def _cell(self, row: int, column: int, text: str) -> QTableWidgetItem:
        item = QTableWidgetItem(text)
        side = Qt.AlignmentFlag.AlignLeft if column == NAME else Qt.AlignmentFlag.AlignRight
        side = Qt.AlignmentFlag.AlignHCenter if column == IMAGE else side
        item.setTextAlignment(side | Qt.AlignmentFlag.AlignVCenter)
        self.setItem(row, column, item)
        return item

    def _choose(self, names: set[str]) -> None:
        self.clearSelection()
        flags = QItemSelectionModel.SelectionFlag.Select | QItemSelectionModel.SelectionFlag.Rows
        for row in range(self.rowCount()):
            if self.item(row, NAME).text() in names:
                self.selectionModel().select(self.model().index(row, NAME), flags)
