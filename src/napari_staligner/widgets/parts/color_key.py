"""What the colours mean: swatches with names, or a bar with its limits."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from napari.utils.colormaps import ensure_colormap
from qtpy.QtCore import QPointF, QRectF, QSize, Qt, Signal
from qtpy.QtGui import QColor, QLinearGradient, QMouseEvent, QPainter, QPaintEvent
from qtpy.QtWidgets import QWidget

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator

    from napari_staligner.layers import Legend

_ROW, _SWATCH, _PAD, _BAR = 18, 11, 6, 150
_DIMMED = 0.35
"""Opacity of entries whose spots are dimmed."""


class ColorKey(QWidget):
    """The legend of the spots.

    Parameters
    ----------
    parent
        Owner.
    over_canvas
        Whether it lies on the canvas, with its own background, and ignores the mouse.
    """

    chosen = Signal(str)
    """A category was clicked."""

    def __init__(self, parent: QWidget | None = None, *, over_canvas: bool = False) -> None:
        super().__init__(parent)
        self._legend: Legend | None = None
        self._alone: frozenset[str] = frozenset()
        self._over_canvas = over_canvas
        if over_canvas:
            self.setAttribute(Qt.WidgetAttribute.WA_TransparentForMouseEvents)

    def show_legend(self, legend: Legend, alone: Collection[str] = ()) -> None:
        """Show another legend.

        Parameters
        ----------
        legend
            The legend.
        alone
            Categories that are shown alone; the others are dimmed. Empty shows all.
        """
        self._legend, self._alone = legend, frozenset(alone)
        names = ", ".join(name for name, _ in legend.entries)
        self.setToolTip(f"{names}: click one to show it alone" if names else "")
        self.updateGeometry()
        if self._over_canvas:
            self.place()
        self.update()

    def place(self) -> None:
        """Move to the upper right corner of the canvas, and stay within its height."""
        canvas = self.parentWidget()
        if canvas is not None:
            wanted = self.sizeHint()
            height = min(wanted.height(), canvas.height() - 2 * _PAD)
            width = wanted.width() if height == wanted.height() else self._width_of(height)
            self.setGeometry(canvas.width() - width - _PAD, _PAD, width, height)
            self.raise_()

    # -- geometry ---------------------------------------------------------------------------

    def sizeHint(self) -> QSize:
        """All names in one column on the canvas, in several columns in a dock."""
        if self._legend is None:
            return QSize(0, 0)
        if self._legend.colormap:
            return QSize(max(_BAR, self._title_width()) + 2 * _PAD, 3 * _ROW + _PAD)
        n = len(self._legend.entries)
        if self._over_canvas:
            return QSize(max(self._column(), self._title_width()) + 2 * _PAD, self._rows_height(n))
        return QSize(self._column() + 2 * _PAD, self.heightForWidth(self.width()))

    def minimumSizeHint(self) -> QSize:
        """One column."""
        return QSize(120, 2 * _ROW)

    def hasHeightForWidth(self) -> bool:
        """A wider legend has more columns."""
        return not self._over_canvas

    def heightForWidth(self, width: int) -> int:
        """Height of all names in as many columns as fit."""
        if self._legend is None or self._legend.colormap:
            return 3 * _ROW + _PAD
        columns = max(1, (width - 2 * _PAD) // self._column())
        return self._rows_height(-(-len(self._legend.entries) // columns))

    def _rows_height(self, n: int) -> int:
        return _ROW * (n + 1) + _PAD

    def _column(self) -> int:
        names = [name for name, _ in self._legend.entries] if self._legend else []
        widest = max((self.fontMetrics().horizontalAdvance(n) for n in names), default=0)
        return _SWATCH + 3 * _PAD + min(widest, 180)

    def _title_width(self) -> int:
        return self.fontMetrics().horizontalAdvance(self._title()) + _PAD

    def _title(self) -> str:
        if self._legend is None:
            return ""
        return self._legend.title + (f" ({self._legend.unit})" if self._legend.unit else "")

    def _width_of(self, height: int) -> int:
        rows = max(1, (height - _PAD) // _ROW - 1)
        n = len(self._legend.entries) if self._legend else 0
        return self._column() * -(-n // rows) + 2 * _PAD

    def _places(self) -> Iterator[tuple[str, QColor, QRectF]]:
        """Name, colour and place of each entry."""
        entries = self._legend.entries if self._legend else ()
        column = self._column()
        rows = max(1, (self.height() - _PAD) // _ROW - 1)
        if not self._over_canvas:
            rows = -(-len(entries) // max(1, (self.width() - 2 * _PAD) // column))
        for i, (name, rgba) in enumerate(entries):
            left, top = _PAD + column * (i // rows), _ROW * (1 + i % rows)
            yield name, QColor.fromRgbF(*rgba), QRectF(left, top, column - _PAD, _ROW)

    def mouseReleaseEvent(self, event: QMouseEvent) -> None:
        """A click on an entry chooses it."""
        at = QPointF(event.position())
        if event.button() == Qt.MouseButton.LeftButton:
            for name, _, place in self._places():
                if place.contains(at):
                    self.chosen.emit(name)
                    return
        super().mouseReleaseEvent(event)

    # -- painting ---------------------------------------------------------------------------

    def paintEvent(self, event: QPaintEvent) -> None:
        """Paint the legend."""
        if self._legend is None:
            return
        painter = QPainter(self)
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        if self._over_canvas:
            ground = self.palette().window().color()
            ground.setAlpha(215)
            painter.setPen(Qt.PenStyle.NoPen)
            painter.setBrush(ground)
            painter.drawRoundedRect(self.rect(), 4, 4)
        painter.setPen(self.palette().text().color())
        width = self.width() - 2 * _PAD
        self._text(painter, QRectF(_PAD, 0, width, _ROW), self._title())
        if self._legend.colormap:
            self._paint_bar(painter, width)
        else:
            self._paint_entries(painter)
        painter.end()

    def _paint_bar(self, painter: QPainter, width: int) -> None:
        if self._legend is None or not self._legend.colormap or not self._legend.limits:
            return
        ramp = QLinearGradient(_PAD, 0, _PAD + width, 0)
        steps = np.linspace(0, 1, 17)
        for at, color in zip(steps, ensure_colormap(self._legend.colormap).map(steps), strict=True):
            ramp.setColorAt(float(at), QColor.fromRgbF(*map(float, color)))
        painter.fillRect(QRectF(_PAD, _ROW + 2, width, _ROW - 6), ramp)
        low, high = self._legend.limits
        below = QRectF(_PAD, 2 * _ROW, width, _ROW)
        self._text(painter, below, f"{low:.3g}")
        self._text(painter, below, f"{high:.3g}", Qt.AlignmentFlag.AlignRight)

    def _paint_entries(self, painter: QPainter) -> None:
        for name, color, place in self._places():
            painter.setOpacity(_DIMMED if self._alone and name not in self._alone else 1.0)
            painter.save()
            painter.setPen(QColor(128, 128, 128, 150))
            painter.setBrush(color)
            top = place.top() + (_ROW - _SWATCH) / 2
            painter.drawRoundedRect(QRectF(place.left(), top, _SWATCH, _SWATCH), 3, 3)
            painter.restore()
            self._text(painter, place.adjusted(_SWATCH + _PAD, 0, 0, 0), name)

    def _text(
        self,
        painter: QPainter,
        place: QRectF,
        text: str,
        side: Qt.AlignmentFlag = Qt.AlignmentFlag.AlignLeft,
    ) -> None:
        elide = Qt.TextElideMode.ElideRight
        shown = self.fontMetrics().elidedText(text, elide, int(place.width()))
        painter.drawText(place, side | Qt.AlignmentFlag.AlignVCenter, shown)
