"""A plot that follows napari's theme."""

from __future__ import annotations

import pyqtgraph as pg
from qtpy.QtCore import QEvent
from qtpy.QtGui import QColor


class ThemedPlot(pg.GraphicsLayoutWidget):
    """A plot whose lines and words have the colours of napari's theme, also when it changes.

    A plot says in ``_color`` what has them, and calls ``_take_theme`` when all of it is made.
    """

    _made = False

    def changeEvent(self, event: QEvent) -> None:
        """Adopt the colours of napari's theme when it changes."""
        super().changeEvent(event)
        changes = (QEvent.Type.StyleChange, QEvent.Type.PaletteChange)
        if self._made and event.type() in changes:
            self._take_theme()

    def _take_theme(self) -> None:
        self._made = True
        self._color(self.palette().text().color())

    def _color(self, text: QColor) -> None:
        """Give what the plot is made of the colour of the theme's text."""
        raise NotImplementedError


def color_axis(axis: pg.AxisItem, text: QColor) -> None:
    """Draw an axis and its numbers in the colour of the theme's text."""
    axis.setPen(pg.mkPen(text, width=1))
    axis.setTextPen(pg.mkPen(text))
