"""A small histogram with a colour bar as its axis."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pyqtgraph as pg
from napari.utils.colormaps import ensure_colormap
from qtpy.QtGui import QColor

from napari_staligner.widgets.parts.themed_plot import ThemedPlot, color_axis

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from qtpy.QtWidgets import QWidget

_BINS = 48
_HEIGHT = 96
# Room below the bars for the colours, and above them for the caption.
_BELOW, _ABOVE = 0.2, 1.35


class ColoredHistogram(ThemedPlot):
    """Histogram with a colour bar below it; it cannot be dragged or zoomed.

    Parameters
    ----------
    title
        What the values are.
    parent
        Owner.
    """

    def __init__(self, title: str, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.setFixedHeight(_HEIGHT)
        self.setBackground(None)
        # Built from parts: the menus of a PlotItem would outlive the dock.
        self.view = pg.ViewBox(enableMenu=False, enableMouse=False)
        self.axis = pg.AxisItem("bottom")
        self.axis.setStyle(tickLength=3, tickTextOffset=1)
        self.axis.enableAutoSIPrefix(False)
        self.axis.linkToView(self.view)
        self.addItem(self.view, row=0, col=0)
        self.addItem(self.axis, row=1, col=0)
        self.ci.layout.setContentsMargins(2, 0, 2, 0)
        self.ci.layout.setVerticalSpacing(0)
        self.bars = pg.BarGraphItem(x0=[], x1=[], height=[], pen=None)
        self.cut = pg.InfiniteLine(angle=90, movable=False)
        self.cut.hide()
        self._strip = pg.ImageItem()
        for item in (self.bars, self._strip, self.cut):
            self.view.addItem(item)
        self._caption = pg.LabelItem(justify="left")
        self._caption.setParentItem(self.view)
        self._caption.anchor(itemPos=(0, 0), parentPos=(0, 0), offset=(0, -3))
        self._title = title
        self._take_theme()

    def set_title(self, title: str) -> None:
        """Name the values."""
        self._title = title
        self._take_theme()

    def show_values(
        self, values: NDArray[np.floating], colormap: str, limits: tuple[float, float]
    ) -> None:
        """Show the distribution of values between the limits, coloured by a napari colormap."""
        low, high = limits
        counts, edges = np.histogram(values, bins=_BINS, range=(low, high))
        tallest = max(1, int(counts.max(initial=0)))
        cmap = ensure_colormap(colormap)
        colors = cmap.map((edges[:-1] + edges[1:] - 2 * low) / (2 * (high - low)))
        brushes = [QColor.fromRgbF(*map(float, color)) for color in colors]
        self.bars.setOpts(
            x0=edges[:-1], x1=edges[1:], height=counts / tallest, brushes=brushes, pen=None
        )
        ramp = (cmap.map(np.linspace(0, 1, 256))[:, None] * 255).astype(np.uint8)
        self._strip.setImage(ramp, autoLevels=False, levels=(0, 255))
        self._strip.setRect(low, -_BELOW, high - low, _BELOW * 0.75)
        self.view.setRange(xRange=(low, high), yRange=(-_BELOW, _ABOVE), padding=0.01)

    def show_cut(self, at: float | None) -> None:
        """Mark the value below which nothing is drawn; ``None`` removes the mark."""
        self.cut.setVisible(at is not None)
        if at is not None:
            self.cut.setValue(at)

    def _color(self, text: QColor) -> None:
        color_axis(self.axis, text)
        self._caption.setText(self._title, color=text)
        self.cut.setPen(pg.mkPen(text, width=2))
