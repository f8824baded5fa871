"""Figures of embeddings before and after integration: overall, by slice pair, slice and label."""

from __future__ import annotations

from textwrap import fill
from typing import TYPE_CHECKING

from qtpy.QtCore import QSignalBlocker, Qt, Signal
from qtpy.QtGui import QBrush, QColor
from qtpy.QtWidgets import (
    QAbstractItemView,
    QComboBox,
    QFormLayout,
    QHeaderView,
    QListWidget,
    QListWidgetItem,
    QTreeWidget,
    QTreeWidgetItem,
    QVBoxLayout,
    QWidget,
)

from napari_staligner import _keys as K
from napari_staligner._errors import InputError
from napari_staligner.core.evaluation.baselines import COMPUTED, TITLES, yardsticks
from napari_staligner.core.evaluation.metrics import METRICS
from napari_staligner.widgets.parts.form import narrow
from napari_staligner.widgets.parts.run_row import RunRow

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from anndata import AnnData

    from napari_staligner.core.evaluation.evaluation import Evaluation, Figures
    from napari_staligner.session import Session

_KEY = Qt.ItemDataRole.UserRole
_METRIC = Qt.ItemDataRole.UserRole + 1
_NO_LABELS = ""
_TITLE_WIDTH, _VALUE_WIDTH = 138, 64
_FIT = 3
"""How many embeddings fit into a narrow dock."""
_NO_EMBEDDINGS = {K.SPATIAL, K.SPATIAL_ALIGNED, K.SHIFT}
# Both are readable in napari's dark and light themes, and with colour blindness.
BETTER, WORSE = QColor("#3d9df5"), QColor("#e8871e")
_MARKS = {1: " ✓", 0: "", -1: " ✗"}
_WORDS = {1: "better than {}", 0: "", -1: "worse than {}"}


class FiguresPanel(QWidget):
    """Which embeddings are compared against which labels, and the table."""

    said = Signal(str, bool)
    """A sentence for the status line, and whether it is a problem."""
    pair_chosen = Signal(tuple)
    """A slice pair was clicked."""
    compared = Signal()
    """All methods were compared, and their pictures can be shown."""

    def __init__(self, session: Session, parent: QWidget) -> None:
        super().__init__(parent)
        self._session = session
        self._left_out: list[str] = []
        self.embeddings = QListWidget()
        self.embeddings.setToolTip(
            "Embeddings to compare; the others are compared with the first checked one"
        )
        self.labels = narrow(QComboBox())
        self.labels.setToolTip("Column of obs to compare with, such as an annotation of layers")
        self.run = RunRow(
            "Compute figures",
            "Computed in the background; missing embeddings are added to obsm",
            "nothing has changed",
            self,
        )
        self.methods = RunRow(
            "Compare with other methods",
            "Neighbour means, Harmony and SEDR on the same slices, with domains of the same "
            "mixture: computed in the background, stored in obsm, and then shown side by side",
            "nothing has changed",
            self,
        )
        self.table = FiguresTree(self)
        self._lay_out()
        self.embeddings.itemChanged.connect(self._on_item_changed)
        self.table.itemClicked.connect(self._on_row_clicked)
        self.run.clicked.connect(self._on_compute_clicked)
        self.methods.clicked.connect(self._on_methods_clicked)
        self.methods.returned.connect(self._on_methods_returned)
        self.run.returned.connect(self._on_run_returned)
        for row in (self.run, self.methods):
            row.said.connect(self.said)
            row.ended.connect(self._allow)

    def _lay_out(self) -> None:
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 4, 0, 0)
        form = QFormLayout()
        form.setFieldGrowthPolicy(QFormLayout.FieldGrowthPolicy.AllNonFixedFieldsGrow)
        form.addRow("Compare", self.embeddings)
        form.addRow("against", self.labels)
        layout.addLayout(form)
        layout.addWidget(self.run)
        layout.addWidget(self.methods)
        layout.addWidget(self.table, 1)

    # -- what is chosen ---------------------------------------------------------------------

    def chosen(self) -> tuple[str, ...]:
        """Keys of the embeddings that are checked, in their order."""
        return tuple(
            item.data(_KEY) for item in self._items() if item.checkState() == Qt.CheckState.Checked
        )

    def label(self) -> str | None:
        """Column to compare with."""
        return self.labels.currentData() or None

    def _items(self) -> Iterator[QListWidgetItem]:
        return (self.embeddings.item(row) for row in range(self.embeddings.count()))

    # -- what is shown ----------------------------------------------------------------------

    def refresh(self) -> None:
        """Offer the embeddings and columns of the result, and show the figures."""
        result = self._session.result.adata
        self._fill_embeddings(result)
        self._fill_labels(result)
        self.embeddings.setEnabled(result is not None)
        self.labels.setEnabled(result is not None)
        self._allow()
        self.show_figures()

    def show_figures(self) -> None:
        """Show the session's figures, or none."""
        self.table.show_figures(self._session.figures.evaluation)

    def _fill_embeddings(self, result: AnnData | None) -> None:
        checked = {i.data(_KEY): i.checkState() == Qt.CheckState.Checked for i in self._items()}
        blocked = QSignalBlocker(self.embeddings)
        self.embeddings.clear()
        for key, (text, usable) in _embeddings(result).items():
            item = QListWidgetItem(text, self.embeddings)
            item.setData(_KEY, key)
            item.setToolTip(f'obsm["{key}"]' if usable else "pip install napari-staligner[harmony]")
            on = usable and checked.get(key, key in (K.PCA, K.EMBEDDING))
            item.setCheckState(Qt.CheckState.Checked if on else Qt.CheckState.Unchecked)
            if not usable:
                item.setFlags(item.flags() & ~Qt.ItemFlag.ItemIsEnabled)
        del blocked
        row = self.embeddings.sizeHintForRow(0) if self.embeddings.count() else 20
        self.embeddings.setFixedHeight(row * min(max(self.embeddings.count(), 1), 5) + 6)

    def _fill_labels(self, result: AnnData | None) -> None:
        before = self.labels.currentData()
        self.labels.clear()
        self.labels.addItem("no labels", _NO_LABELS)
        obs = {} if result is None else dict(result.obs.items())
        for column, values in obs.items():
            if column not in (K.SLICE, K.DOMAIN) and values.dtype.kind != "f":
                self.labels.addItem(f"obs: {column}", str(column))
        self.labels.setCurrentIndex(max(0, self.labels.findData(before)))

    def _allow(self) -> None:
        # One at a time, because both set the session's figures.
        there = self._session.result.adata is not None
        self.run.allow(there and bool(self.chosen()) and not self.methods.running)
        self.methods.allow(there and not self.run.running)

    def _on_item_changed(self) -> None:
        self._allow()

    # -- computing --------------------------------------------------------------------------

    def _on_compute_clicked(self) -> None:
        try:
            job = self._session.figures.job(self.label(), self.chosen())
        except InputError as error:
            self.said.emit(str(error), True)
            return

        self.run.start(job.steps, "Computing figures")
        self._allow()

    def _on_methods_clicked(self) -> None:
        figures = self._session.figures
        try:
            keys, self._left_out = figures.beside_yardsticks(self.chosen())
            job = figures.job(self.label(), keys)
        except InputError as error:
            self.said.emit(str(error), True)
            return

        self.methods.start(job.steps, "Comparing methods")
        self._allow()

    def _on_run_returned(self, evaluation: Evaluation) -> bool:
        """Take figures if they still belong to these domains; return whether they do."""
        self._session.figures.set(evaluation)
        taken = self._session.figures.evaluation is evaluation
        if taken:
            self.said.emit(" ".join(evaluation.notes), False)
        else:
            self.said.emit("The domains have changed: compute the figures again.", True)
        return taken

    def _on_methods_returned(self, evaluation: Evaluation) -> None:
        if not self._on_run_returned(evaluation):
            return
        self.said.emit(" ".join([*self._left_out, *evaluation.notes]), False)
        self.compared.emit()

    def stop(self) -> None:
        """End a running computation without its result."""
        self.run.stop()
        self.methods.stop()

    def _on_row_clicked(self, item: QTreeWidgetItem) -> None:
        pair = item.data(0, _KEY)
        if pair:
            self.pair_chosen.emit(tuple(pair))


def _embeddings(result: AnnData | None) -> dict[str, tuple[str, bool]]:
    """Title of each embedding that can be compared, and whether it is available here."""
    if result is None:
        return {}
    found = {}
    here = yardsticks()
    for key in (K.PCA, K.EMBEDDING, *(key for key in COMPUTED if key != K.PCA)):
        usable = key in result.obsm or key == K.EMBEDDING or key in here
        where = "" if key in result.obsm else " (computed here)" if usable else " (not installed)"
        found[key] = TITLES[key] + where, usable
    if K.EMBEDDING not in result.obsm:
        del found[K.EMBEDDING]
    for key, array in result.obsm.items():
        flat = getattr(array, "ndim", 0) == 2 and array.shape[1] > 1
        drawn = key in _NO_EMBEDDINGS or str(key).startswith(K.UMAP)
        if flat and key not in found and not drawn:
            found[str(key)] = str(key), True
    return found


class FiguresTree(QTreeWidget):
    """One row per figure, with slice pairs and slices below it; one column per embedding."""

    def __init__(self, parent: QWidget) -> None:
        super().__init__(parent)
        self.setSelectionBehavior(QAbstractItemView.SelectionBehavior.SelectRows)
        self.setUniformRowHeights(True)
        self.setIndentation(14)
        self.setMinimumHeight(110)
        self.header().setStretchLastSection(False)
        self.header().setMinimumSectionSize(60)
        self.show_figures(None)

    def show_figures(self, evaluation: Evaluation | None) -> None:
        """Show these figures; open rows stay open."""
        rows = [self.topLevelItem(row) for row in range(self.topLevelItemCount())]
        opened = {item.data(0, _METRIC) for item in rows if item.isExpanded()}
        self.clear()
        found = {} if evaluation is None else dict(evaluation.figures)
        titles = [TITLES.get(key, key) for key in found]
        self.setColumnCount(1 + len(found))
        self.setHeaderLabels(["Figure", *(fill(title, 10) for title in titles)])
        for column, (key, title) in enumerate(zip(found, titles, strict=True), 1):
            self.headerItem().setToolTip(column, f'{title}: obsm["{key}"]')
        for metric in METRICS:
            if any(metric in figures.overall for figures in found.values()) or any(
                metric in one for figures in found.values() for one in figures.slices.values()
            ):
                self._add(metric, found, titles, expanded=metric in opened)
        header = self.header()
        few = len(found) <= _FIT
        header.setSectionResizeMode(QHeaderView.ResizeMode.Interactive)
        if few:
            header.setSectionResizeMode(0, QHeaderView.ResizeMode.Stretch)
        header.resizeSection(0, _TITLE_WIDTH)
        for column in range(1, 1 + len(found)):
            header.resizeSection(column, max(_VALUE_WIDTH, header.sectionSizeHint(column)))

    def _add(
        self, metric: str, found: Mapping[str, Figures], titles: list[str], *, expanded: bool
    ) -> None:
        about = METRICS[metric]
        arrow = "↑" if about.higher_is_better else "↓"
        overall = [figures.overall for figures in found.values()]
        top = _item(f"{about.title} {arrow}", metric, overall, titles)
        best = "Higher is better." if about.higher_is_better else "Lower is better."
        top.setToolTip(0, f"{about.meaning} {best}")
        top.setData(0, _METRIC, metric)
        first = next(iter(found.values()))
        for pair in first.pairs:
            values = [figures.pairs[pair] for figures in found.values()]
            child = _item(" – ".join(pair), metric, values, titles)
            child.setData(0, _KEY, pair)
            if any(metric in figures for figures in values):
                top.addChild(child)
        for name in first.slices:
            values = [figures.slices[name] for figures in found.values()]
            if any(metric in figures for figures in values):
                top.addChild(_item(name, metric, values, titles))
        for label in first.labels if metric == "f1" else ():
            values = [
                {metric: figures.labels.get(label, float("nan"))} for figures in found.values()
            ]
            top.addChild(_item(label, metric, values, titles))
        self.addTopLevelItem(top)
        top.setExpanded(expanded)


def _item(
    title: str, metric: str, values: list[Mapping[str, float]], titles: list[str]
) -> QTreeWidgetItem:
    """One row: figures of all embeddings, marked by comparison with the first."""
    item = QTreeWidgetItem([title])
    item.setToolTip(0, title)
    nan = float("nan")
    first = values[0].get(metric, nan)
    for column, figures in enumerate(values, 1):
        value = figures.get(metric, nan)
        sign = METRICS[metric].compare(value, first)
        item.setText(column, ("–" if value != value else f"{value:.3f}") + _MARKS[sign])
        item.setTextAlignment(column, Qt.AlignmentFlag.AlignRight | Qt.AlignmentFlag.AlignVCenter)
        if sign:
            item.setForeground(column, QBrush(BETTER if sign > 0 else WORSE))
            item.setToolTip(column, _WORDS[sign].format(titles[0]))
    return item
