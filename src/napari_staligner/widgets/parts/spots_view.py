"""A scatter plot of spots, drawn as a picture, with picking and a lasso."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import pyqtgraph as pg
from qtpy.QtCore import QEvent, Qt, QTimer, Signal
from qtpy.QtGui import QColor, QResizeEvent
from scipy.spatial import KDTree

from napari_staligner.core.annotations.regions import inside
from napari_staligner.widgets.parts.raster import draw_spots
from napari_staligner.widgets.parts.themed_plot import ThemedPlot

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from qtpy.QtWidgets import QWidget

    How = Literal["replace", "add", "remove"]

_NEAR = 8
"""A spot within this many pixels of the mouse is picked."""
_MARGIN = 0.04
_LATER_MS = 60
"""Delay before the picture is drawn again: the tissue, in the same colours, goes first."""


class SpotsView(ThemedPlot):
    """Spots in a plane. A drag is a lasso, the wheel zooms, the middle button moves the view.

    Parameters
    ----------
    title
        Title of the plot.
    parent
        Owner.
    """

    lassoed = Signal(object, str)
    """Numbers of the spots inside a lasso, and how they change the selection: ``"replace"``,
    ``"add"`` (Shift) or ``"remove"`` (Ctrl or Alt)."""
    clicked = Signal(object)
    """Number of the spot that was clicked; ``None`` if the click was near no spot."""
    hovered = Signal(object)
    """Number of the spot under the mouse, or ``None``."""

    def __init__(self, title: str, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.setBackground(None)
        self.view = _View(self)
        self.addItem(self.view, row=0, col=0)
        self.ci.layout.setContentsMargins(0, 0, 0, 0)
        self.picture = pg.ImageItem(axisOrder="row-major")
        self.line = pg.PlotCurveItem()
        self.ring = pg.ScatterPlotItem(size=13, brush=None)
        for item in (self.picture, self.line, self.ring):
            self.view.addItem(item)
        self._caption = pg.LabelItem(justify="left", size="8pt")
        self._caption.setParentItem(self.view)
        self._caption.anchor(itemPos=(0, 0), parentPos=(0, 0), offset=(2, -2))
        self._title = title
        self._xy: NDArray[np.float64] = np.empty((0, 2))
        self._shown: object = None
        self._rgba = np.empty((0, 4), np.float32)
        self._tree: KDTree | None = None
        self._redraw = QTimer(self)
        self._redraw.setSingleShot(True)
        self._redraw.setInterval(_LATER_MS)
        self._redraw.timeout.connect(self.draw)
        self.view.sigRangeChanged.connect(self._on_range_changed)
        self.scene().sigMouseMoved.connect(self._on_mouse_moved)
        self.setMinimumSize(120, 120)
        self._take_theme()

    # -- what is shown ----------------------------------------------------------------------

    def show_spots(self, xy: NDArray[np.floating], rgba: NDArray[np.floating]) -> None:
        """Show spots at positions, shape (spots, 2), in colours, shape (spots, 4)."""
        if xy is not self._shown:
            # Stored to recognise it: arrays of a result are replaced, never written to.
            self._shown, self._xy, self._tree = xy, np.asarray(xy, dtype=np.float64)[:, :2], None
            self.reset()
        self._rgba = rgba
        self._redraw.start()

    def mark(self, spot: int | None) -> None:
        """Put a ring around a spot."""
        x, y = (np.empty((2, 0))) if spot is None else self._xy[[spot]].T
        self.ring.setData(x, y)

    def reset(self) -> None:
        """Show all spots."""
        known = self._xy[np.isfinite(self._xy).all(axis=1)]
        if len(known):
            (x0, y0), (x1, y1) = known.min(axis=0), known.max(axis=0)
            self.view.setRange(xRange=(x0, x1), yRange=(y0, y1), padding=_MARGIN)

    def draw(self) -> None:
        """Draw the visible part at the resolution of the screen."""
        self._redraw.stop()
        (x0, x1), (y0, y1) = self.view.viewRange()
        ratio = self.devicePixelRatioF()
        size = (round(self.view.width() * ratio), round(self.view.height() * ratio))
        if len(self._xy) == 0 or min(size) < 1:
            self.picture.clear()
            return
        picture = draw_spots(self._xy, self._rgba, (x0, y0, x1, y1), size)
        self.picture.setImage(picture, autoLevels=False, levels=(0, 255))
        self.picture.setRect(x0, y0, x1 - x0, y1 - y0)

    def pixel(self, spot: int) -> Any:
        """Position of a spot in the widget, as a QPoint."""
        return self.mapFromScene(self.view.mapViewToScene(pg.Point(*self._xy[spot])))

    # -- events -----------------------------------------------------------------------------

    def resizeEvent(self, event: QResizeEvent) -> None:
        """Draw for the new size."""
        super().resizeEvent(event)
        if hasattr(self, "_redraw"):
            self._redraw.start()

    def leaveEvent(self, event: QEvent) -> None:
        """No spot is under the mouse now."""
        super().leaveEvent(event)
        self.hovered.emit(None)

    def _color(self, text: QColor) -> None:
        self._caption.setText(self._title, color=text)
        self.line.setPen(pg.mkPen(text, width=1.5))
        self.ring.setPen(pg.mkPen(text, width=2))

    def _on_range_changed(self) -> None:
        self._redraw.start()

    def _on_mouse_moved(self, position: Any) -> None:
        self.hovered.emit(self.spot_near(self.view.mapSceneToView(position)))

    def spot_near(self, point: Any) -> int | None:
        """Number of the spot nearest to a point of the plot, if it is close on the screen."""
        if len(self._xy) == 0:
            return None
        if self._tree is None:
            self._tree = KDTree(np.nan_to_num(self._xy, nan=np.inf, posinf=1e30))
        distance, spot = self._tree.query((point.x(), point.y()))
        per_pixel = max(self.view.viewPixelSize())
        return int(spot) if distance <= _NEAR * per_pixel else None

    def take_lasso(self, corners: NDArray[np.float64], how: How) -> None:
        """Emit which spots are inside a lasso."""
        if len(corners) > 2:
            self.lassoed.emit(inside(corners, self._xy), how)


class _View(pg.ViewBox):
    """The plot area and its mouse. No PlotItem, because its menus would outlive the dock."""

    def __init__(self, owner: SpotsView) -> None:
        super().__init__(enableMenu=False, lockAspect=True)
        self._owner = owner
        self._corners: list[tuple[float, float]] = []

    def mouseDragEvent(self, event: Any, axis: int | None = None) -> None:
        """Draw the lasso with the left button; the others work as usual."""
        if event.button() != Qt.MouseButton.LeftButton:
            super().mouseDragEvent(event, axis)
            return
        event.accept()
        if event.isStart():
            first = self.mapToView(event.buttonDownPos())
            self._corners = [(first.x(), first.y())]
        at = self.mapToView(event.pos())
        self._corners.append((at.x(), at.y()))
        corners = np.array(self._corners)
        if event.isFinish():
            self._owner.line.setData([], [])
            self._owner.take_lasso(corners, _how(event.modifiers()))
        else:
            self._owner.line.setData(*np.vstack([corners, corners[:1]]).T)

    def mouseClickEvent(self, event: Any) -> None:
        """A click chooses a spot, a double click shows all."""
        if event.button() != Qt.MouseButton.LeftButton:
            return
        event.accept()
        if event.double():
            self._owner.reset()
        else:
            self._owner.clicked.emit(self._owner.spot_near(self.mapToView(event.pos())))


def _how(modifiers: Any) -> How:
    keys = Qt.KeyboardModifier
    if modifiers & (keys.ControlModifier | keys.AltModifier):
        return "remove"
    return "add" if modifiers & keys.ShiftModifier else "replace"
