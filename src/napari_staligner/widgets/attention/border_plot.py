"""Bars of the mean attention within and across the borders of each domain."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np
import pyqtgraph as pg
from qtpy.QtGui import QColor

from napari_staligner.widgets.parts.themed_plot import ThemedPlot, color_axis

if TYPE_CHECKING:
    from pandas import DataFrame
    from qtpy.QtWidgets import QWidget

_HEIGHT = 112
_WIDTH = 0.36
# Room above the bars for the caption, as a share of the tallest.
_ABOVE = 1.35
_CAPTION = "Weights at borders: full within, hollow across"


class BorderPlot(ThemedPlot):
    """Two bars per domain: weights within (filled) and across (hollow); not interactive.

    Parameters
    ----------
    parent
        Owner.
    """

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.setFixedHeight(_HEIGHT)
        self.setBackground(None)
        # Built from parts: the menus of a PlotItem would outlive the dock.
        self.view = pg.ViewBox(enableMenu=False, enableMouse=False)
        self._axes = {side: pg.AxisItem(side) for side in ("left", "bottom")}
        for axis in self._axes.values():
            axis.setStyle(tickLength=3, tickTextOffset=2)
            axis.enableAutoSIPrefix(False)
            axis.linkToView(self.view)
        self.addItem(self._axes["left"], row=0, col=0)
        self.addItem(self.view, row=0, col=1)
        self.addItem(self._axes["bottom"], row=1, col=1)
        self.ci.layout.setContentsMargins(2, 0, 2, 0)
        self.ci.layout.setSpacing(0)
        self.within = pg.BarGraphItem(x=[], height=[], width=_WIDTH)
        self.across = pg.BarGraphItem(x=[], height=[], width=_WIDTH)
        for bars in (self.within, self.across):
            self.view.addItem(bars)
        self._caption = pg.LabelItem(justify="left")
        self._caption.setParentItem(self.view)
        self._caption.anchor(itemPos=(0, 0), parentPos=(0, 0), offset=(0, -3))
        self._take_theme()

    def show_table(self, table: DataFrame, colors: Mapping[str, str]) -> None:
        """Show what ``core.attention.border_attention`` found.

        Parameters
        ----------
        table
            One row per domain.
        colors
            Hex colour of each domain.
        """
        x = np.arange(len(table))
        fills = [QColor(colors.get(str(domain), "gray")) for domain in table.index]
        pens = [pg.mkPen(color, width=2) for color in fills]
        within, across = (np.nan_to_num(table[name].to_numpy()) for name in ("within", "across"))
        self.within.setOpts(x=x - _WIDTH / 2, height=within, brushes=fills, pens=pens)
        hollow = [QColor(0, 0, 0, 0)] * len(fills)
        self.across.setOpts(x=x + _WIDTH / 2, height=across, brushes=hollow, pens=pens)
        tallest = max(float(within.max(initial=0)), float(across.max(initial=0))) or 1.0
        names = [_short(str(domain), len(table)) for domain in table.index]
        self._axes["bottom"].setTicks([list(zip(x.tolist(), names, strict=True))])
        self.view.setRange(
            xRange=(-0.6, max(len(table), 1) - 0.4), yRange=(0, tallest * _ABOVE), padding=0
        )
        lines = [
            f"{domain}: {line.within:.3f} within, {line.across:.3f} across ({line.spots:,} spots)"
            for domain, line in zip(table.index, table.itertuples(), strict=True)
        ]
        self.setToolTip("\n".join(lines))

    def _color(self, text: QColor) -> None:
        for axis in self._axes.values():
            color_axis(axis, text)
        self._caption.setText(_CAPTION, color=text)


def _short(name: str, n_domains: int) -> str:
    """Shorten a name to fit under its bars."""
    room = max(2, 40 // max(1, n_domains))
    return name if len(name) <= room else name[: room - 1] + "…"
