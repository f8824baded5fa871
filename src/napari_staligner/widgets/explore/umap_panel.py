"""The UMAP next to the tissue, before and after integration, and the selection on both."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from qtpy.QtCore import QSignalBlocker
from qtpy.QtWidgets import (
    QHBoxLayout,
    QLabel,
    QPushButton,
    QVBoxLayout,
    QWidget,
)

from napari_staligner import _keys as K
from napari_staligner.layers import painting
from napari_staligner.layers.colors import NO_VALUE
from napari_staligner.widgets.parts.dock import seen
from napari_staligner.widgets.parts.run_row import RunRow
from napari_staligner.widgets.parts.spots_panel import SpotsPanel
from napari_staligner.widgets.parts.spots_view import SpotsView

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from napari_staligner.session import Session

_NOWHERE = np.empty((0, 2))
_TITLES = {K.UMAP_BEFORE: "before integration", K.UMAP: "after integration"}


class UmapPanel(SpotsPanel):
    """Two UMAPs of the result, coloured like the tissue; a lasso on either selects spots."""

    def __init__(self, session: Session, parent: QWidget) -> None:
        super().__init__(session, parent)
        self.views = {key: SpotsView(title, self) for key, title in _TITLES.items()}
        self.run = RunRow(
            "Compute UMAP",
            "UMAP of the embedding and, for comparison, of the genes without integration (scanpy)",
            "the UMAP has not changed",
            self,
        )
        self.lasso = QPushButton("Lasso on tissue")
        self.lasso.setCheckable(True)
        self.lasso.setToolTip(
            "Dragging over the tissue selects spots instead of moving the view. On the UMAP "
            "dragging always selects; Shift adds to the selection, Ctrl removes from it."
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
        layout.addWidget(self.run)
        row = QHBoxLayout()
        for widget in (self.lasso, self.clear, self.count):
            row.addWidget(widget)
        layout.addLayout(row)

    def _connect_all(self) -> None:
        self.lasso.toggled.connect(self._on_lasso_toggled)
        self.clear.clicked.connect(self._session.focus.show_all)
        self.run.clicked.connect(self._on_compute_clicked)
        self.run.returned.connect(self._session.figures.set_umap)
        self.run.said.connect(self.said)
        self.run.ended.connect(self._show_controls)
        for view in self.views.values():
            self._listen(view)

    # -- what is shown ----------------------------------------------------------------------

    def refresh(self) -> None:
        """Show the available UMAPs in the present colours."""
        self.show_colors()
        self.show_selection()
        self._show_controls()

    def stop(self) -> None:
        """Stop computing: there is another result."""
        self.run.stop()

    def show_colors(self) -> None:
        """Colour like the tissue; postponed while the panel is hidden."""
        if not seen(self):
            return
        result = self._session.result.adata
        found = (
            {} if result is None else {k: result.obsm[k] for k in self.views if k in result.obsm}
        )
        rgba = _rgba_of_rows(self._session) if found else np.empty((0, 4), np.float32)
        for key, view in self.views.items():
            # Without any, two empty plots show where they will be.
            view.setVisible(key in found or not found)
            places = found.get(key)
            view.show_spots(_NOWHERE if places is None else places, rgba)
        self.show_spot()

    def show_spot(self) -> None:
        """Mark the chosen spot."""
        result = self._session.result.adata
        self._mark_in(
            view for key, view in self.views.items() if result is not None and key in result.obsm
        )

    def show_selection(self) -> None:
        """Say how many spots are shown, unless all are."""
        focus = self._session.focus.mask()
        self.clear.setEnabled(focus is not None)
        self.count.setText("" if focus is None else f"{focus.sum():,} of {len(focus):,} spots")
        self.show_lasso()

    def show_lasso(self) -> None:
        """Show whether the lasso is on."""
        blocked = QSignalBlocker(self.lasso)
        self.lasso.setChecked(self._session.view.tool == "lasso")
        del blocked

    def _show_controls(self) -> None:
        result = self._session.result.adata
        ready = result is not None and K.EMBEDDING in result.obsm
        self.lasso.setEnabled(result is not None)
        self.run.allow(ready)
        again = result is not None and K.UMAP in result.obsm
        self.run.button.setText("Compute UMAP again" if again else "Compute UMAP")

    # -- computing --------------------------------------------------------------------------

    def _on_compute_clicked(self) -> None:
        job = self._session.figures.umap_job()

        self.run.start(job.steps, "Computing UMAP")

    # -- selecting --------------------------------------------------------------------------

    def _on_lasso_toggled(self, on: bool) -> None:
        self._session.view.tool = "lasso" if on else ""


def _rgba_of_rows(session: Session) -> NDArray[np.float32]:
    """Colour of each row of the result."""
    if session.result.adata is None:
        return np.empty((0, 4), np.float32)
    rgba = np.tile(np.array(NO_VALUE, dtype=np.float32), (session.result.adata.n_obs, 1))
    for name, colors in painting(session).rgba.items():
        rows = session.result.rows(name)
        # A new result is not coloured yet; its colours follow in a moment.
        if rows is not None and len(rows) == len(colors):
            rgba[rows] = colors
    return rgba
