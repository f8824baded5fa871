"""Markers: genes of a domain or of the selection, against the rest or against another slice."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from qtpy.QtCore import QAbstractTableModel, QModelIndex, Qt, Signal
from qtpy.QtWidgets import (
    QComboBox,
    QFormLayout,
    QHBoxLayout,
    QHeaderView,
    QLabel,
    QVBoxLayout,
    QWidget,
)
from superqt.utils import signals_blocked

from napari_staligner import _keys as K
from napari_staligner._errors import InputError
from napari_staligner.session import ColorBy, Region
from napari_staligner.widgets.parts.cells import CellRole
from napari_staligner.widgets.parts.form import narrow
from napari_staligner.widgets.parts.run_row import RunRow
from napari_staligner.widgets.parts.sorted_table import SortedTable

if TYPE_CHECKING:
    import pandas as pd
    from numpy.typing import NDArray

    from napari_staligner.session import Session

GENE, SCORE, FOLD, P, INSIDE, AGAINST = range(6)
_HEADS = {
    "Gene": ("gene", "Click a gene to colour the tissue by it"),
    "Score": ("score", "z score of the Wilcoxon test"),
    "log2FC": ("log2_fold_change", "log2 of the fold change of mean expression"),
    "p adj.": ("p", "p value of the test, adjusted for all genes (Benjamini and Hochberg)"),
    "In": ("inside", "Share of the compared spots that express the gene"),
    "Out": ("against", "Share of the other spots that express the gene"),
}
_WIDTHS = {SCORE: 44, FOLD: 52, P: 56}
_SELECTION, _ALL, _REST = "\0selection", "\0all", "\0rest"
_PART = "\0"
"""Separates the column and the name of a region."""


class MarkersPanel(QWidget):
    """Which spots are compared with which, and the genes that mark them."""

    said = Signal(str, bool)
    """A sentence for the status line, and whether it is a problem."""

    def __init__(self, session: Session, parent: QWidget) -> None:
        super().__init__(parent)
        self._session = session
        self._title = ""
        self.region, self.where, self.against = (narrow(QComboBox()) for _ in range(3))
        self.region.setToolTip(
            "Spots to find markers for: a domain, a region named in a column of obs (such as the "
            "annotation), or the selection"
        )
        self.where.setToolTip("Use their spots in one slice, or in all slices")
        self.against.setToolTip("All other spots there, or the same region in another slice")
        self.run = RunRow(
            "Find markers",
            "Genes that these spots express more than the others (Wilcoxon, scanpy)",
            "the markers have not changed",
            self,
        )
        self.title = QLabel()
        self.table = MarkerTable(self)
        self._lay_out()
        self.where.currentIndexChanged.connect(self._fill_against)
        self.run.clicked.connect(self._on_find_clicked)
        self.run.returned.connect(self._on_run_returned)
        self.run.said.connect(self.said)
        self.table.chosen.connect(self._on_gene_chosen)

    def _lay_out(self) -> None:
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        form = QFormLayout()
        form.addRow("Markers of", self.region)
        form.addRow("in", self.where)
        row = QHBoxLayout()
        row.addWidget(self.against, 1)
        row.addWidget(self.run)
        form.addRow("against", row)
        layout.addLayout(form)
        layout.addWidget(self.title)
        layout.addWidget(self.table, 1)

    # -- what is shown ----------------------------------------------------------------------

    def refresh(self) -> None:
        """Offer the present domains, named regions, selection and slices."""
        session = self._session
        regions = [(f"Domain {name}", name) for name in session.domains.names]
        regions += [
            (f"{column}: {name}", _key(Region(column, name)))
            for column, names in session.result.named_columns.items()
            for name in names
        ]
        if len(session.result.selection):
            regions.insert(0, (f"Selection ({len(session.result.selection):,} spots)", _SELECTION))
        slices = [("all slices", _ALL), *((name, name) for name in self._names())]
        _offer(self.region, regions)
        _offer(self.where, slices)
        self._fill_against()
        for box in (self.region, self.where, self.against):
            box.setEnabled(bool(regions))
        self.run.allow(bool(regions))

    def follow(self) -> None:
        """Choose what is shown alone in the session: the selection, a region or a domain."""
        session, isolated = self._session, self._session.view.isolated
        if len(session.result.selection):
            key = _SELECTION
        elif session.view.region is not None:
            key = _key(session.view.region)
        elif len(isolated) == 1:
            (key,) = isolated
        else:
            return
        self.region.setCurrentIndex(max(0, self.region.findData(key)))

    def start_over(self) -> None:
        """Forget the markers: there is another result."""
        self.run.stop()
        self.title.setText("")
        self.table.genes.show(None)
        self.refresh()

    def _names(self) -> list[str]:
        """Slices of the result."""
        return [n for n in self._session.slices if self._session.result.rows(n) is not None]

    def _fill_against(self) -> None:
        """Offer other slices to compare with only if the spots are from one slice."""
        where = self.where.currentData()
        choices = [("all other spots", _REST)]
        if where not in (None, _ALL):
            choices = [("other spots there", _REST)]
            choices += [(f"the same in {n}", n) for n in self._names() if n != where]
        _offer(self.against, choices)

    # -- finding ----------------------------------------------------------------------------

    def rows(self) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
        """Rows of the result to find markers for, and the rows they are compared with."""
        region, where, against = (
            box.currentData() for box in (self.region, self.where, self.against)
        )
        every = self._rows_of_region(region)
        inside = np.intersect1d(every, self._rows_of_slice(where))
        if against != _REST:
            return inside, np.intersect1d(every, self._rows_of_slice(against))
        return inside, np.setdiff1d(self._rows_of_slice(where), every)

    def _rows_of_region(self, region: str) -> NDArray[np.intp]:
        result = self._session.result.adata
        if region == _SELECTION or result is None:
            return self._session.result.selection
        if _PART in region:
            return self._session.result.rows_of_region(Region(*region.split(_PART, 1)))
        return np.flatnonzero((result.obs[K.DOMAIN].astype(str) == region).to_numpy())

    def _rows_of_slice(self, where: str) -> NDArray[np.intp]:
        names = self._names() if where == _ALL else [where]
        found = [self._session.result.rows(name) for name in names]
        return np.sort(np.concatenate([rows for rows in found if rows is not None]))

    def _on_find_clicked(self) -> None:
        try:
            job = self._session.result.marker_job(*self.rows())
        except InputError as error:
            self.said.emit(str(error), True)
            return

        self._title = (
            f"{self.region.currentText()} in {self.where.currentText()} "
            f"against {self.against.currentText()}"
        )
        self.run.start(job.steps, "Finding markers")

    def _on_run_returned(self, table: pd.DataFrame) -> None:
        self.title.setText(self._title)
        self.table.genes.show(table)

    def _on_gene_chosen(self, gene: str) -> None:
        self._session.view.color_by = ColorBy("gene", gene)


class MarkerModel(QAbstractTableModel):
    """Rows of :func:`~napari_staligner.core.result.markers.marker_steps`."""

    def __init__(self, parent: QWidget) -> None:
        super().__init__(parent)
        self._columns: list[NDArray[Any]] = [np.empty(0) for _ in _HEADS]

    def show(self, table: pd.DataFrame | None) -> None:
        """Show these genes; ``None`` shows nothing."""
        self.beginResetModel()
        self._columns = [
            np.empty(0) if table is None else table[key].to_numpy() for key, _ in _HEADS.values()
        ]
        self.endResetModel()

    def gene(self, row: int) -> str:
        """Gene in a row."""
        return str(self._columns[GENE][row])

    def rowCount(self, parent: QModelIndex | None = None) -> int:
        """One row per gene."""
        return 0 if parent is not None and parent.isValid() else len(self._columns[GENE])

    def columnCount(self, parent: QModelIndex | None = None) -> int:
        """Gene and figures."""
        return 0 if parent is not None and parent.isValid() else len(_HEADS)

    def headerData(
        self, section: int, orientation: Qt.Orientation, role: int = Qt.ItemDataRole.DisplayRole
    ) -> Any:
        """Titles of the columns, and what they mean."""
        if orientation == Qt.Orientation.Horizontal:
            title, (_, tip) = list(_HEADS.items())[section]
            if role == Qt.ItemDataRole.DisplayRole:
                return title
            if role == Qt.ItemDataRole.ToolTipRole:
                return tip
        return None

    def data(self, index: QModelIndex, role: int = Qt.ItemDataRole.DisplayRole) -> Any:
        """Text, sort value, and length of the bar of a cell."""
        column = index.column()
        value = self._columns[column][index.row()]
        if role == Qt.ItemDataRole.DisplayRole:
            return _text(column, value)
        if role == Qt.ItemDataRole.ToolTipRole:
            return str(value) if column == GENE else f"{value:.6g}"
        if role == CellRole.SORT:
            return str(value).casefold() if column == GENE else float(value)
        if role == CellRole.SHARE and column in (INSIDE, AGAINST):
            return float(value)
        if role == Qt.ItemDataRole.TextAlignmentRole and column != GENE:
            return Qt.AlignmentFlag.AlignRight | Qt.AlignmentFlag.AlignVCenter
        return None


def _text(column: int, value: Any) -> str:
    if column == GENE:
        return str(value)
    if column == P:
        return "≈ 0" if value < 1e-300 else f"{value:.1g}"
    if column in (INSIDE, AGAINST):
        return f"{value:.0%}"
    return f"{value:.1f}" if column == SCORE else f"{value:.2f}"


class MarkerTable(SortedTable):
    """The genes; a click, Space or Enter chooses one."""

    chosen = Signal(str)
    """A gene was chosen."""

    def __init__(self, parent: QWidget) -> None:
        super().__init__(parent)
        self.genes = MarkerModel(self)
        self.show_sorted(self.genes, SCORE, Qt.SortOrder.DescendingOrder)
        self.setMinimumHeight(120)
        header = self.horizontalHeader()
        header.setSectionResizeMode(QHeaderView.ResizeMode.Fixed)
        header.setSectionResizeMode(GENE, QHeaderView.ResizeMode.Stretch)
        for column in range(1, len(_HEADS)):
            header.resizeSection(column, _WIDTHS.get(column, 47))
        # Also with the arrow keys: people look through markers by going down the list.
        self.selectionModel().currentRowChanged.connect(self._on_current_changed)
        self.clicked.connect(self._on_current_changed)

    def gene(self, row: int) -> str:
        """Gene in a row, in the present order of the table."""
        return self.genes.gene(self._sorted.mapToSource(self._sorted.index(row, 0)).row())

    def _on_current_changed(self, index: QModelIndex) -> None:
        if index.isValid():
            self.chosen.emit(self.gene(index.row()))


def _key(region: Region) -> str:
    return f"{region.column}{_PART}{region.name}"


def _offer(box: QComboBox, choices: list[tuple[str, str]]) -> None:
    """Fill a box, and keep the choice if it is still offered."""
    chosen = box.currentData()
    with signals_blocked(box):
        box.clear()
        for text, key in choices:
            box.addItem(text, key)
        box.setCurrentIndex(max(0, box.findData(chosen)) if choices else -1)
