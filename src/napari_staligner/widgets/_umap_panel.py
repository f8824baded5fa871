"""The UMAP beside the tissue, before and after integration, and what is selected on either."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from qtpy.QtCore import QSignalBlocker
from qtpy.QtWidgets import (
    QHBoxLayout,
    QLabel,
    QProgressBar,
    QPushButton,
    QSizePolicy,
    QStackedWidget,
    QVBoxLayout,
    QWidget,
)

from napari_staligner import _keys as K
from napari_staligner.io.layer_data import NO_VALUE
from napari_staligner.layers import painting
from napari_staligner.widgets._base import seen
from napari_staligner.widgets._spots_panel import SpotsPanel
from napari_staligner.widgets._spots_view import SpotsView
from napari_staligner.worker import Runner

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from napari_staligner.core.progress import Progress, Steps
    from napari_staligner.core.umap import Umap
    from napari_staligner.session import Session

_NOWHERE = np.empty((0, 2))
_TITLES = {K.UMAP_BEFORE: "before integration", K.UMAP: "after integration"}


class UmapPanel(SpotsPanel):
    """Two UMAPs of the result, coloured as the tissue is; a lasso on either selects spots."""

    def __init__(self, session: Session, parent: QWidget) -> None:
        super().__init__(session, parent)
        self._runner = Runner(self)
        self.views = {key: SpotsView(title, self) for key, title in _TITLES.items()}
        self.compute = QPushButton("Compute UMAP")
        self.compute.setToolTip(
            "UMAP of the embedding and, for comparison, of the genes without integration (scanpy)"
        )
        self.bar, self.cancel = QProgressBar(), QPushButton("Cancel")
        self.bar.setMinimumWidth(60)
        self.lasso = QPushButton("Lasso on tissue")
        self.lasso.setCheckable(True)
        self.lasso.setToolTip(
            "A drag over the tissue selects spots instead of moving the view. "
            "On the UMAP a drag always does; there Shift adds to the selection, Ctrl removes."
        )
        self.clear = QPushButton("Clear")
        self.clear.setToolTip("Select nothing and show all spots (Esc)")
        self.count = QLabel()
        self._lay_out()
        self._connect_all()

    def _lay_out(self) -> None:
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        self.pictures = QWidget()
        row = QHBoxLayout(self.pictures)
        row.setContentsMargins(0, 0, 0, 0)
        row.setSpacing(2)
        for view in self.views.values():
            row.addWidget(view)
        layout.addWidget(self.pictures, 1)
        self._place = QStackedWidget()
        self._place.addWidget(self.compute)
        self._place.addWidget(_row(self.bar, self.cancel))
        self._place.setSizePolicy(QSizePolicy.Policy.Preferred, QSizePolicy.Policy.Fixed)
        layout.addWidget(self._place)
        layout.addWidget(_row(self.lasso, self.clear, self.count))

    def _connect_all(self) -> None:
        self.compute.clicked.connect(self._on_compute_clicked)
        self.cancel.clicked.connect(self._on_cancel_clicked)
        self.lasso.toggled.connect(self._on_lasso_toggled)
        self.clear.clicked.connect(self._session.show_all)
        self._runner.progressed.connect(self._on_runner_progressed)
        self._runner.returned.connect(self._on_runner_returned)
        self._runner.failed.connect(self._on_runner_failed)
        self._runner.ended.connect(self._show_controls)
        for view in self.views.values():
            self._listen(view)

    # -- what is shown ----------------------------------------------------------------------

    def refresh(self) -> None:
        """Show the UMAPs there are, in the present colours."""
        self.show_colors()
        self.show_selection()
        self._show_controls()

    def stop(self) -> None:
        """The result is another: what is computed for the old one is no use."""
        self._runner.cancel()

    def show_colors(self) -> None:
        """Colour as the tissue is; later, while the panel is not seen."""
        if not seen(self):
            return
        result = self._session.result
        found = (
            {} if result is None else {k: result.obsm[k] for k in self.views if k in result.obsm}
        )
        rgba = _rgba_of_rows(self._session) if found else np.empty((0, 4), np.float32)
        for key, view in self.views.items():
            # Without any, two empty planes say where they will be.
            view.setVisible(key in found or not found)
            places = found.get(key)
            view.show_spots(_NOWHERE if places is None else places, rgba)
        self.show_spot()

    def show_spot(self) -> None:
        """Mark the spot that is looked at."""
        result = self._session.result
        self._mark_in(
            view for key, view in self.views.items() if result is not None and key in result.obsm
        )

    def show_selection(self) -> None:
        """Say how many spots are shown, where not all are."""
        focus = self._session.focus()
        self.clear.setEnabled(focus is not None)
        self.count.setText("" if focus is None else f"{focus.sum():,} of {len(focus):,} spots")
        self.show_lasso()

    def show_lasso(self) -> None:
        """Show whether the lasso is on."""
        blocked = QSignalBlocker(self.lasso)
        self.lasso.setChecked(self._session.tool == "lasso")
        del blocked

    def _show_controls(self) -> None:
        result = self._session.result
        ready = result is not None and K.EMBEDDING in result.obsm
        self.lasso.setEnabled(result is not None)
        self.compute.setEnabled(ready and not self._runner.running)
        again = result is not None and K.UMAP in result.obsm
        self.compute.setText("Compute UMAP again" if again else "Compute UMAP")
        self._place.setCurrentIndex(0)

    # -- computing --------------------------------------------------------------------------

    def _on_compute_clicked(self) -> None:
        job = self._session.umap_job()

        def steps() -> Steps[Umap]:
            from napari_staligner.core.umap import umap_steps

            return umap_steps(job)

        self.bar.setRange(0, 0)
        self.compute.setEnabled(False)
        self._place.setCurrentIndex(1)
        self.said.emit("", False)
        self._runner.start(steps, "Computing UMAP")

    def _on_cancel_clicked(self) -> None:
        self._runner.cancel()
        self.said.emit("Cancelled: the UMAP is as it was.", False)

    def _on_runner_progressed(self, step: Progress) -> None:
        self.bar.setRange(0, step.total)
        self.bar.setValue(step.done)
        self.bar.setFormat(step.stage.removeprefix("UMAP "))

    def _on_runner_returned(self, umap: Umap) -> None:
        self._session.set_umap(umap)

    def _on_runner_failed(self, reason: str) -> None:
        self.said.emit(reason, True)

    # -- selecting --------------------------------------------------------------------------

    def _on_lasso_toggled(self, on: bool) -> None:
        self._session.tool = "lasso" if on else ""


def _rgba_of_rows(session: Session) -> NDArray[np.float32]:
    """Colour of each row of the result."""
    if session.result is None:
        return np.empty((0, 4), np.float32)
    rgba = np.tile(np.array(NO_VALUE, dtype=np.float32), (session.result.n_obs, 1))
    for name, colors in painting(session).rgba.items():
        rows = session.rows(name)
        # A result that has just come is coloured in a moment.
        if rows is not None and len(rows) == len(colors):
            rgba[rows] = colors
    return rgba


def _row(*widgets: QWidget) -> QWidget:
    row = QWidget()
    layout = QHBoxLayout(row)
    layout.setContentsMargins(0, 0, 0, 0)
    for widget in widgets:
        layout.addWidget(widget)
    return row
