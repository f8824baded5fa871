"""Curves of all slices over one axis, one over the other, with bands."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np
import pyqtgraph as pg
from qtpy.QtCore import Qt
from qtpy.QtGui import QColor

from napari_staligner.widgets.parts.themed_plot import ThemedPlot, color_axis

if TYPE_CHECKING:
    from qtpy.QtWidgets import QWidget

    from napari_staligner.core.result.profiles import Profiles

DASHES = (
    Qt.PenStyle.SolidLine,
    Qt.PenStyle.DashLine,
    Qt.PenStyle.DotLine,
    Qt.PenStyle.DashDotLine,
    Qt.PenStyle.DashDotDotLine,
)
"""Slices, where colours stand for values; they repeat after the last."""
_BAND = 50
"""Opacity of a band, 0..255."""


class CurvesPlot(ThemedPlot):
    """Mean against distance. The wheel zooms along the axis; a double-click shows all again.

    Parameters
    ----------
    parent
        Owner.
    """

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.setMinimumHeight(200)
        self.setBackground(None)
        # Built from parts: the menus of a PlotItem would outlive the dock.
        self.view = pg.ViewBox(enableMenu=False)
        self.view.setMouseEnabled(x=True, y=False)
        self._axes = {side: pg.AxisItem(side) for side in ("left", "bottom")}
        for axis in self._axes.values():
            axis.setStyle(tickLength=3, tickTextOffset=2)
            axis.enableAutoSIPrefix(False)
            axis.linkToView(self.view)
        self.addItem(self._axes["left"], row=0, col=0)
        self.addItem(self.view, row=0, col=1)
        self.addItem(self._axes["bottom"], row=1, col=1)
        self.ci.layout.setContentsMargins(0, 4, 6, 0)
        self.ci.layout.setSpacing(0)
        self.curves: dict[tuple[str, str], pg.PlotDataItem] = {}
        """Value and slice of each curve."""
        self.bands: list[pg.FillBetweenItem] = []
        self.peaks: list[pg.InfiniteLine] = []
        self._take_theme()

    def clear_curves(self) -> None:
        """Show nothing."""
        for item in (*self.curves.values(), *self.bands, *self.peaks):
            self.view.removeItem(item)
        self.curves, self.bands, self.peaks = {}, [], []

    def show_profiles(
        self, found: Profiles, names: list[str], colors: Mapping[str, str], *, by_value: bool
    ) -> None:
        """Show the curves of some values.

        Parameters
        ----------
        found
            The profiles.
        names
            The values to show; a single one is drawn with bands and peaks.
        colors
            Hex of each value if ``by_value``, else of each slice.
        by_value
            Whether colours stand for values, and dashes for slices.
        """
        self.clear_curves()
        factor, unit = found.scale
        x = found.places * factor
        for name in names:
            for number, (slice_name, curve) in enumerate(found.curves[name].items()):
                color = QColor(colors.get(name if by_value else slice_name, "gray"))
                dash = DASHES[number % len(DASHES)] if by_value else Qt.PenStyle.SolidLine
                pen = pg.mkPen(color, width=1.5 if by_value else 2, style=dash)
                drawn = pg.PlotDataItem(x, curve.mean, pen=pen, connect="finite")
                if not by_value:
                    self._add_band(x, curve.low, curve.high, color)
                    self._add_peak(curve.peak * factor, color)
                self.view.addItem(drawn)
                self.curves[name, slice_name] = drawn
        self._axes["bottom"].setLabel(f"{found.axis.title} ({unit})")
        self._axes["left"].setLabel(found.unit)
        self.view.autoRange(padding=0.02)

    def _add_band(self, x: np.ndarray, low: np.ndarray, high: np.ndarray, color: QColor) -> None:
        known = np.isfinite(low) & np.isfinite(high)
        if not known.any():
            return
        ends = [pg.PlotCurveItem(x[known], each[known]) for each in (low, high)]
        fill = QColor(color)
        fill.setAlpha(_BAND)
        band = pg.FillBetweenItem(*ends, brush=pg.mkBrush(fill))
        self.view.addItem(band)
        self.bands.append(band)

    def _add_peak(self, at: float, color: QColor) -> None:
        if np.isfinite(at):
            line = pg.InfiniteLine(at, pen=pg.mkPen(color, style=Qt.PenStyle.DotLine))
            self.view.addItem(line, ignoreBounds=True)
            self.peaks.append(line)

    def mouseDoubleClickEvent(self, event: object) -> None:
        """Show all again."""
        self.view.autoRange(padding=0.02)

    def _color(self, text: QColor) -> None:
        for axis in self._axes.values():
            color_axis(axis, text)
