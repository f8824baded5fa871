"""Embeddings side by side: for each, the tissue with its domains, and its UMAP."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from qtpy.QtCore import Qt
from qtpy.QtGui import QShowEvent
from qtpy.QtWidgets import (
    QFileDialog,
    QFormLayout,
    QGridLayout,
    QHBoxLayout,
    QLabel,
    QScrollArea,
    QVBoxLayout,
    QWidget,
)

from napari_staligner import _keys as K
from napari_staligner._errors import InputError
from napari_staligner.core.palette import categorical_colors, to_rgba
from napari_staligner.core.result.access import spots_xy
from napari_staligner.layers.colors import DIMMED, NO_VALUE
from napari_staligner.widgets.judge.methods_table import MethodsTable
from napari_staligner.widgets.parts.choice import ChoiceRow
from napari_staligner.widgets.parts.dock import seen
from napari_staligner.widgets.parts.run_row import RunRow
from napari_staligner.widgets.parts.spots_panel import SpotsPanel
from napari_staligner.widgets.parts.spots_view import SpotsView

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from napari_staligner.core.evaluation.comparison import Method
    from napari_staligner.core.evaluation.umap import Umap
    from napari_staligner.session import Session

BY = {
    "slice": ("Slice", "Colour the UMAPs by slice: do the slices mix?"),
    "domain": ("Domain", "Colour the UMAPs by the domains of each embedding"),
}
_NONE = "Compute figures first: the domains of each embedding come with them."
_HEIGHT = 110
"""Least height of a picture."""
_GAP = 0.06
"""Gap between two slices, relative to their height."""


class PicturesPanel(SpotsPanel):
    """A row for the labels and for each embedding; a lasso on any picture selects on all."""

    def __init__(self, session: Session, parent: QWidget) -> None:
        super().__init__(session, parent)
        self._stale = True
        self._by = "slice"
        self._methods: tuple[Method, ...] = ()
        self.tissues: list[SpotsView] = []
        self.umaps: dict[str, SpotsView] = {}
        self._places: NDArray[np.float64] = np.empty((0, 2))
        self.empty = QLabel(_NONE)
        self.empty.setWordWrap(True)
        self.by = ChoiceRow(BY)
        self.run = RunRow(
            "Compute UMAPs",
            "Compute the UMAP of each embedding that lacks one (scanpy), and store it in obsm",
            "there are no new UMAPs",
            self,
        )
        self.table = MethodsTable(self)
        self.names = QLabel()
        self.names.setToolTip("The slices, from left to right")
        self.names.setTextFormat(Qt.TextFormat.PlainText)
        self.names.setWordWrap(True)
        self.save = RunRow(
            "Save picture…",
            "All methods on all slices, with these figures, in one picture (PNG, PDF, SVG)",
            "no picture was written",
            self,
        )
        self._target = Path()
        self._lay_out()
        self.by.chosen.connect(self._on_by_chosen)
        self.run.clicked.connect(self._on_compute_clicked)
        self.run.returned.connect(self._on_run_returned)
        self.save.clicked.connect(self._on_save_clicked)
        self.save.returned.connect(self._on_save_returned)
        for row in (self.run, self.save):
            row.said.connect(self.said)

    def _lay_out(self) -> None:
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 4, 0, 0)
        form = QFormLayout()
        form.addRow("UMAPs by", self.by)
        layout.addLayout(form)
        rows = QHBoxLayout()
        rows.addWidget(self.run, 1)
        rows.addWidget(self.save, 1)
        layout.addLayout(rows)
        layout.addWidget(self.empty)
        layout.addWidget(self.table)
        layout.addWidget(self.names)
        scroll = QScrollArea()
        scroll.setWidgetResizable(True)
        scroll.setFrameShape(QScrollArea.Shape.NoFrame)
        scroll.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
        self.pictures = QWidget()
        self._grid = QGridLayout(self.pictures)
        self._grid.setContentsMargins(0, 0, 0, 0)
        self._grid.setSpacing(2)
        scroll.setWidget(self.pictures)
        layout.addWidget(scroll, 1)

    # -- what is shown ----------------------------------------------------------------------

    def refresh(self) -> None:
        """Show the embeddings that have figures; if the panel is hidden, wait until it is shown."""
        self._stale = not seen(self)
        if self._stale:
            return
        self._methods = self._session.figures.methods()
        self._places = _in_a_row(self._session)
        self._make_views()
        self.table.show_methods(self._methods)
        self.save.allow(bool(self._methods))
        self.by.show_chosen(self._by)
        self.by.setEnabled(bool(self.umaps))
        self.empty.setVisible(not self._methods)
        self.run.allow(bool(self._lacking()))
        self.show_colors()

    def showEvent(self, event: QShowEvent) -> None:
        """Update: another tab of the dock hid the panel."""
        super().showEvent(event)
        self.show_if_stale()

    def show_if_stale(self) -> None:
        """Update, if the panel is visible."""
        if self._stale and seen(self):
            self.refresh()

    def _lacking(self) -> list[str]:
        """Embeddings without a UMAP."""
        return [method.key for method in self._methods if method.key and method.umap is None]

    def _make_views(self) -> None:
        """Put a title above the pictures of each embedding, and the pictures in two columns."""
        while self._grid.count():
            item = self._grid.takeAt(0)
            widget = None if item is None else item.widget()
            if widget is not None:
                widget.setParent(None)  # hidden from now on; deleted in a moment
                widget.deleteLater()
        self.tissues, self.umaps = [], {}
        self.names.setText(" · ".join(self._session.result.by_slice))
        self.names.setVisible(bool(self._methods))
        self._grid.setColumnStretch(0, max(1, len(self._session.result.by_slice) - 1))
        self._grid.setColumnStretch(1, 1)
        for number, method in enumerate(self._methods):
            title = QLabel(method.title)
            title.setTextFormat(Qt.TextFormat.PlainText)
            title.setWordWrap(True)
            self._grid.addWidget(title, 2 * number, 0, 1, 2)
            tissue = self._view("")
            self.tissues.append(tissue)
            if method.umap is None:
                self._grid.addWidget(tissue, 2 * number + 1, 0, 1, 2)
                continue
            self._grid.addWidget(tissue, 2 * number + 1, 0)
            self.umaps[method.key] = self._view("UMAP")
            self._grid.addWidget(self.umaps[method.key], 2 * number + 1, 1)

    def _view(self, title: str) -> SpotsView:
        view = SpotsView(title, self.pictures)
        view.setMinimumHeight(_HEIGHT)
        self._listen(view)
        return view

    def show_colors(self) -> None:
        """Colour the pictures, and dim what the session does not show."""
        self._stale = self._stale or not seen(self)
        if self._stale:
            return
        focus = self._session.focus.mask()
        by_slice = _by_slice(self._session)
        for method, tissue in zip(self._methods, self.tissues, strict=True):
            by_domain = np.vstack([to_rgba(method.colors), NO_VALUE])[method.codes]
            tissue.show_spots(self._places, _dimmed(by_domain, focus))
            if method.umap is not None:
                rgba = by_slice if self._by == "slice" else by_domain
                self.umaps[method.key].show_spots(method.umap, _dimmed(rgba, focus))
        self.show_spot()

    def show_spot(self) -> None:
        """Mark the spot that is inspected."""
        if not self._stale:
            self._mark_in([*self.tissues, *self.umaps.values()])

    def _on_by_chosen(self, by: str) -> None:
        self._by = by
        self.show_colors()

    # -- computing --------------------------------------------------------------------------

    def _on_compute_clicked(self) -> None:
        try:
            job = self._session.figures.umaps_job(self._lacking())
        except InputError as error:
            self.said.emit(str(error), True)
            return

        self.run.start(job.steps, "Computing UMAPs")

    def _on_run_returned(self, umap: Umap) -> None:
        self._session.figures.set_umap(umap)

    def stop(self) -> None:
        """End what runs without an answer."""
        self.run.stop()
        self.save.stop()

    # -- the picture as a file --------------------------------------------------------------

    def _on_save_clicked(self) -> None:
        from napari_staligner.io.atomic import check_target
        from napari_staligner.report.picture import picture_form, picture_job

        path, figures = self._session.path, self._session.figures.evaluation
        result = self._session.result.adata
        start = "methods.png" if path is None else str(path.with_suffix(".png"))
        kinds = "PNG (*.png);;PDF (*.pdf);;SVG (*.svg)"
        name, _ = QFileDialog.getSaveFileName(self, "Save picture", start, kinds)
        if not name or result is None or figures is None:
            return
        target = Path(name)
        try:
            self._target = check_target(target if target.suffix else target.with_suffix(".png"))
            job = picture_job(result, figures, picture_form(self._target))
        except InputError as error:
            self.said.emit(str(error), True)
            return

        self.save.start(job.steps, "Drawing picture")

    def _on_save_returned(self, picture: bytes) -> None:
        from napari_staligner.io.atomic import written_beside

        try:
            with written_beside(self._target) as draft:
                draft.write_bytes(picture)
        except InputError as error:
            self.said.emit(str(error), True)
        else:
            self.said.emit(f"Picture written to {self._target}.", False)


def _in_a_row(session: Session) -> NDArray[np.float64]:
    """Places of the result's spots, with slices of equal height in a row and y upwards."""
    if session.result.adata is None:
        return np.empty((0, 2))
    places, left = np.empty((session.result.adata.n_obs, 2)), 0.0
    for name, adata in session.slices.items():
        rows = session.result.rows(name)
        if rows is None:
            continue
        xy = spots_xy(adata)
        corner, size = xy.min(axis=0), np.ptp(xy, axis=0)
        places[rows] = (xy - corner) / max(size[1], size[0] / 3, 1e-12) + (left, 0)
        left = places[rows, 0].max() + _GAP
    return places * (1, -1)


def _by_slice(session: Session) -> NDArray[np.float32]:
    """Colour of each spot's slice, as on the tissue."""
    if session.result.adata is None:
        return np.empty((0, 4), np.float32)
    names = list(session.slices)
    colors = dict(zip(names, to_rgba(categorical_colors(len(names))), strict=True))
    codes = session.result.adata.obs[K.SLICE].cat
    return np.array([colors[name] for name in codes.categories])[codes.codes.to_numpy()]


def _dimmed(rgba: NDArray[np.floating], focus: NDArray[np.bool_] | None) -> NDArray[np.floating]:
    if focus is None:
        return rgba
    return np.where(focus[:, None], rgba, np.array(DIMMED, dtype=rgba.dtype))
