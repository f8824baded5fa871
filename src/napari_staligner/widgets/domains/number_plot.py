"""How stable each number of domains is; a click on the plot takes a number."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
import pyqtgraph as pg
from qtpy.QtCore import QEvent, Qt, Signal
from qtpy.QtGui import QColor, QMouseEvent

from napari_staligner.widgets.parts.themed_plot import ThemedPlot, color_axis

if TYPE_CHECKING:
    from qtpy.QtCore import QPoint
    from qtpy.QtWidgets import QWidget

    from napari_staligner.core.domains.number import NumberStability

_HEIGHT = 150
# Okabe and Ito's blue and orange: everyone can tell them apart, on dark and light.
_AGREED, _KEPT = "#56b4e9", "#e69f00"
# Room above 1 for the legend.
_TOP = 1.28


class NumberPlot(ThemedPlot):
    """Two curves over k: how far two halves of the tissue agree, and which spots keep their domain.

    Parameters
    ----------
    parent
        Owner.
    """

    chosen = Signal(int)
    """A number of domains was clicked."""

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.setFixedHeight(_HEIGHT)
        self.setBackground(None)
        self.viewport().setMouseTracking(True)
        self.viewport().setCursor(Qt.CursorShape.PointingHandCursor)
        self._found: tuple[NumberStability, ...] = ()
        # Built from parts: the menus of a PlotItem would outlive the dock.
        self.view = pg.ViewBox(enableMenu=False, enableMouse=False)
        self._axes = {side: pg.AxisItem(side) for side in ("left", "bottom")}
        for axis in self._axes.values():
            axis.setStyle(tickLength=3, tickTextOffset=2)
            axis.enableAutoSIPrefix(False)
            axis.linkToView(self.view)
        self._axes["left"].setTicks([[(value, f"{value:g}") for value in (0, 0.25, 0.5, 0.75, 1)]])
        self.addItem(self._axes["left"], row=0, col=0)
        self.addItem(self.view, row=0, col=1)
        self.addItem(self._axes["bottom"], row=1, col=1)
        self.ci.layout.setContentsMargins(2, 0, 2, 0)
        self.ci.layout.setSpacing(0)
        self.present = pg.InfiniteLine(angle=90, movable=False)
        self.pointed = pg.InfiniteLine(angle=90, movable=False)
        self.spread = pg.ErrorBarItem(x=np.empty(0), y=np.empty(0), height=np.empty(0), beam=0.2)
        self.curves = {name: _curve(color) for name, color in _NAMES.items()}
        for item in (self.present, self.pointed, self.spread, *self.curves.values()):
            self.view.addItem(item)
        self._legend = pg.LegendItem(offset=(4, 1), labelTextSize="8pt", colCount=2)
        self._legend.setParentItem(self.view)
        for name, curve in self.curves.items():
            self._legend.addItem(curve, name)
        self._take_theme()

    def show_numbers(self, found: Sequence[NumberStability]) -> None:
        """Draw what ``core.domains.number`` found."""
        self._found = tuple(found)
        k = np.array([one.domains for one in found], dtype=float)
        mean, kept = (np.array([getattr(one, name) for one in found]) for name in ("mean", "kept"))
        agreed, share = self.curves.values()
        agreed.setData(k, mean)
        share.setData(k, kept)
        self.spread.setData(x=k, y=mean, height=2 * np.array([one.sd for one in found]))
        self._axes["bottom"].setTicks([[(one.domains, str(one.domains)) for one in found]])
        if len(k):
            low = min(0.0, float(mean.min()))
            self.view.setRange(xRange=(k.min() - 0.5, k.max() + 0.5), yRange=(low, _TOP), padding=0)
        self.pointed.hide()

    def show_present(self, k: int | None) -> None:
        """Mark the number of the present domains."""
        self.present.setVisible(k is not None)
        if k is not None:
            self.present.setValue(k)

    def _under(self, at: QPoint) -> NumberStability | None:
        """The number below the mouse, if it is over the plot."""
        place = self.view.mapSceneToView(self.mapToScene(at))
        if not self._found or not self.view.viewRect().contains(place):
            return None
        return min(self._found, key=lambda one: abs(one.domains - place.x()))

    def mouseMoveEvent(self, event: QMouseEvent) -> None:
        """Say what the number below the mouse has."""
        found = self._under(event.pos())
        self.pointed.setVisible(found is not None)
        self.setToolTip("" if found is None else _told(found))
        if found is not None:
            self.pointed.setValue(found.domains)
        super().mouseMoveEvent(event)

    def mouseReleaseEvent(self, event: QMouseEvent) -> None:
        """Take the number below the mouse."""
        super().mouseReleaseEvent(event)
        found = self._under(event.pos())
        if found is not None and event.button() == Qt.MouseButton.LeftButton:
            self.chosen.emit(found.domains)

    def leaveEvent(self, event: QEvent) -> None:
        """Point at nothing."""
        super().leaveEvent(event)
        self.pointed.hide()

    def _color(self, text: QColor) -> None:
        for axis in self._axes.values():
            color_axis(axis, text)
        faint = QColor(text)
        faint.setAlpha(90)
        self.present.setPen(pg.mkPen(text, width=1, style=Qt.PenStyle.DashLine))
        self.pointed.setPen(pg.mkPen(faint, width=6))
        self._legend.setLabelTextColor(text)
        for _, label in self._legend.items:
            label.setText(label.text, color=text)


_NAMES = {"halves agree (ARI)": _AGREED, "spots that keep their domain": _KEPT}


def _curve(color: str) -> pg.PlotDataItem:
    return pg.PlotDataItem(
        pen=pg.mkPen(color, width=2), symbol="o", symbolSize=6, symbolBrush=color, symbolPen=None
    )


def _told(found: NumberStability) -> str:
    return (
        f"k = {found.domains}: two halves of the tissue agree by {found.mean:.2f} "
        f"(± {found.sd:.2f}), and {found.kept:.0%} of the spots keep their domain. "
        "Click to take it."
    )
