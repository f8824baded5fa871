"""The Explore dock: colour by anything, the UMAP next to the tissue, and markers."""

from __future__ import annotations

import weakref
from typing import TYPE_CHECKING

from qtpy.QtCore import QEvent, QObject, Qt
from qtpy.QtGui import QKeySequence, QShortcut
from qtpy.QtOpenGLWidgets import QOpenGLWidget
from qtpy.QtWidgets import QMainWindow, QSplitter, QWidget

from napari_staligner.compat import unwrapped
from napari_staligner.layers import legend
from napari_staligner.widgets.explore.color_panel import ColorPanel
from napari_staligner.widgets.explore.markers_panel import MarkersPanel
from napari_staligner.widgets.explore.umap_panel import UmapPanel
from napari_staligner.widgets.parts.color_key import ColorKey
from napari_staligner.widgets.parts.dock import Dock

if TYPE_CHECKING:
    import napari.viewer


class ExploreWidget(Dock):
    """Colours of the spots, their places in the embedding, and the genes that mark them."""

    def __init__(self, viewer: napari.viewer.Viewer) -> None:
        super().__init__(viewer)
        self._viewer = weakref.ref(unwrapped(viewer))
        self._canvas: QWidget | None = None
        self.canvas_key: ColorKey | None = None
        self.colors = ColorPanel(self.session, self)
        self.umap = UmapPanel(self.session, self)
        self.markers = MarkersPanel(self.session, self)
        self._lay_out()
        self._connect_all()
        self._refresh()

    def _lay_out(self) -> None:
        self.body.addWidget(self.colors)
        parts = QSplitter(Qt.Orientation.Vertical)
        parts.setChildrenCollapsible(False)
        parts.addWidget(self.umap)
        parts.addWidget(self.markers)
        parts.setStretchFactor(0, 3)
        parts.setStretchFactor(1, 2)
        self.body.addWidget(parts, 1)

    def _connect_all(self) -> None:
        self.listen(self.umap, self.markers)
        self.umap.described.connect(self._on_spot_described)
        escape = QShortcut(QKeySequence("Esc"), self)
        escape.setContext(Qt.ShortcutContext.WidgetWithChildrenShortcut)
        escape.activated.connect(self.session.focus.show_all)
        session = self.session
        self._connect(session.slices.changed, self._on_session_slices_changed)
        self._connect(session.result.changed, self._on_session_result_changed)
        self._connect(session.domains.relabelled, self._on_session_domains_changed)
        self._connect(session.domains.renamed, self._on_session_domains_changed)
        self._connect(session.domains.recolored, self._show_colors)
        self._connect(session.view.events.scale, self._show_colors)
        self._connect(session.result.values_changed, self._show_colors)
        self._connect(session.view.events.color_by, self._show_colors)
        self._connect(session.view.events.isolated, self._on_session_focus_changed)
        self._connect(session.view.events.region, self._on_session_focus_changed)
        self._connect(session.result.selection_changed, self._on_session_focus_changed)
        self._connect(session.annotations.changed, self._on_session_annotations_changed)
        self._connect(session.annotations.view_changed, self._on_session_annotations_changed)
        self._connect(session.view.events.tool, self.umap.show_lasso)
        self._connect(session.view.events.legend_shown, self._show_colors)
        self._connect(session.view.events.spot_scale, self._show_colors)
        self._connect(session.figures.umap_changed, self._on_session_umap_changed)
        self._connect(session.view.events.spot, self.umap.show_spot)

    def _come_to_sight(self) -> None:
        self._show_colors()

    def teardown(self) -> None:
        """End all connections, and remove the legend from the canvas."""
        super().teardown()
        canvas, self._canvas = self._canvas, None
        key, self.canvas_key = self.canvas_key, None
        if canvas is not None and key is not None:
            canvas.removeEventFilter(self)
            key.deleteLater()

    # -- what is shown ----------------------------------------------------------------------

    def _refresh(self) -> None:
        self.colors.box.fill()
        self._show_colors()
        self.umap.refresh()
        self.markers.refresh()
        self._show_status()

    def _show_colors(self) -> None:
        if self.seen:
            self.colors.show_set()
        self.umap.show_colors()
        self._show_canvas_key()

    def _show_status(self) -> None:
        if not self.session.slices:
            self.say("There is nothing to explore yet: open slices first.")
        elif self.session.result.adata is None:
            self.say("UMAP and markers need an integrated result: integrate the slices first.")
        else:
            self.say("")

    def _show_canvas_key(self) -> None:
        """Show the legend on the canvas, or remove it."""
        shown = self.session.view.legend_shown and bool(self.session.slices)
        if shown and self.canvas_key is None:
            self._canvas = _canvas_beside(self)
            if self._canvas is not None:
                self._canvas.installEventFilter(self)
                self.canvas_key = ColorKey(self._canvas, over_canvas=True)
        if self.canvas_key is not None:
            if shown:
                self.canvas_key.show_legend(legend(self.session), self.session.focus.alone)
            self.canvas_key.setVisible(shown)

    def eventFilter(self, watched: QObject, event: QEvent) -> bool:
        """Keep the legend in its corner when the size of the canvas changes."""
        if event.type() == QEvent.Type.Resize and self.canvas_key is not None:
            self.canvas_key.place()
        return bool(super().eventFilter(watched, event))

    # -- the panels -------------------------------------------------------------------------

    def _on_spot_described(self, text: str) -> None:
        viewer = self._viewer()
        if viewer is not None:
            viewer.status = text

    # -- the session ------------------------------------------------------------------------

    def _on_session_slices_changed(self) -> None:
        self._refresh()

    def _on_session_result_changed(self) -> None:
        self.umap.stop()
        self.markers.start_over()
        self._refresh()

    def _on_session_domains_changed(self) -> None:
        self.colors.box.fill()
        self.markers.refresh()
        self._show_colors()

    def _on_session_focus_changed(self) -> None:
        self.umap.show_selection()
        self._show_colors()
        self.markers.refresh()
        self.markers.follow()

    def _on_session_annotations_changed(self) -> None:
        self.colors.box.fill()
        self.markers.refresh()

    def _on_session_umap_changed(self) -> None:
        self.colors.box.fill()
        self.umap.refresh()


def _canvas_beside(dock: QWidget) -> QWidget | None:
    """The canvas of the window that a dock belongs to."""
    parent = dock.parentWidget()
    while parent is not None and not isinstance(parent, QMainWindow):
        parent = parent.parentWidget()
    return None if parent is None else parent.centralWidget().findChild(QOpenGLWidget)
