"""The matrix of slice pairs: a colour for each, a tick for those that were seen."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np
from qtpy.QtCore import QEvent, QPointF, QRectF, QSize, Qt, Signal
from qtpy.QtGui import QColor, QHelpEvent, QMouseEvent, QPainter, QPaintEvent, QPen
from qtpy.QtWidgets import QSizePolicy, QToolTip, QWidget

from napari_staligner.widgets.parts.legend import short_names

if TYPE_CHECKING:
    Pair = tuple[str, str]

_MARGIN, _LARGEST = 2, 44
_UNKNOWN = QColor(128, 128, 128, 60)
_FRAME = QColor("#00e5ff")


class PairMatrix(QWidget):
    """A cell for each pair, below the diagonal; names of the slices at its steps.

    Parameters
    ----------
    parent
        Owner.
    """

    pair_clicked = Signal(tuple)
    """Names of the two slices."""

    def __init__(self, parent: QWidget) -> None:
        super().__init__(parent)
        self._names: tuple[str, ...] = ()
        self._colors: dict[Pair, QColor] = {}
        self._marks: dict[Pair, str] = {}
        self._tips: dict[Pair, str] = {}
        self._chosen: Pair | None = None
        self.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Expanding)
        self.setMinimumHeight(120)

    def sizeHint(self) -> QSize:
        """Room for cells that can be clicked."""
        return QSize(300, 40 + 24 * max(len(self._names), 3))

    def show_pairs(
        self,
        names: Sequence[str],
        values: Mapping[Pair, float],
        limits: tuple[float, float],
        tips: Mapping[Pair, str],
    ) -> None:
        """Show a value for each pair.

        Parameters
        ----------
        names
            Names of the slices, in their order.
        values
            The value of each pair; NaN if it is not known.
        limits
            The worst value and the best one.
        tips
            What the tool tip of each pair says.
        """
        from napari.utils.colormaps import ensure_colormap

        self._names, self._tips = tuple(names), dict(tips)
        worst, best = limits
        share = np.array([(v - worst) / ((best - worst) or 1.0) for v in values.values()])
        known = np.isfinite(share)
        rgba = ensure_colormap("viridis").map(np.clip(np.where(known, share, 0), 0, 1))
        self._colors = {
            pair: QColor.fromRgbF(*map(float, rgba[i])) if known[i] else _UNKNOWN
            for i, pair in enumerate(values)
        }
        self.updateGeometry()
        self.update()

    def show_marks(self, marks: Mapping[Pair, str], chosen: Pair | None) -> None:
        """Write a sign on some pairs, and frame one."""
        self._marks, self._chosen = dict(marks), chosen
        self.update()

    def cell(self, pair: Pair) -> QRectF:
        """Where the cell of a pair is."""
        column, row = sorted(map(self._names.index, pair))
        side, left = self._side(), self._left()
        return QRectF(left + column * side, _MARGIN + row * side, side, side)

    def _left(self) -> float:
        widths = [self.fontMetrics().horizontalAdvance(n) for n in short_names(self._names)]
        return max(widths, default=0) + 8.0

    def _side(self) -> float:
        n = max(len(self._names), 1)
        room = min(self.width() - self._left() - _MARGIN, self.height() - 2 * _MARGIN)
        return min(room / n, _LARGEST)

    def _pair_at(self, at: QPointF) -> Pair | None:
        return next((pair for pair in self._colors if self.cell(pair).contains(at)), None)

    def paintEvent(self, event: QPaintEvent) -> None:
        """Paint names, cells and signs."""
        painter = QPainter(self)
        text = self.palette().text().color()
        side = self._side()
        for row, name in enumerate(short_names(self._names)):
            painter.setPen(text)
            place = QRectF(0, _MARGIN + row * side, self._left() - 5, side)
            painter.drawText(
                place, Qt.AlignmentFlag.AlignRight | Qt.AlignmentFlag.AlignVCenter, name
            )
            # At the step of the diagonal the same name heads the column.
            head = QRectF(self._left() + row * side + 2, _MARGIN + row * side, 3 * side, side)
            painter.drawText(head, Qt.AlignmentFlag.AlignLeft | Qt.AlignmentFlag.AlignVCenter, name)
        for pair, color in self._colors.items():
            self._paint_cell(painter, pair, color)
        painter.end()

    def _paint_cell(self, painter: QPainter, pair: Pair, color: QColor) -> None:
        rect = self.cell(pair).adjusted(1, 1, -1, -1)
        chosen = pair == self._chosen
        painter.setPen(QPen(_FRAME, 2.5) if chosen else Qt.PenStyle.NoPen)
        painter.setBrush(color)
        painter.drawRect(rect)
        if mark := self._marks.get(pair, ""):
            painter.setPen(QColor("black" if color.lightnessF() > 0.45 else "white"))
            painter.drawText(rect, Qt.AlignmentFlag.AlignCenter, mark)

    def mousePressEvent(self, event: QMouseEvent) -> None:
        """Choose the pair under the mouse."""
        pair = self._pair_at(event.position())
        if pair is not None:
            self.pair_clicked.emit(pair)

    def event(self, event: QEvent) -> bool:
        """Show what is known of the pair under the mouse."""
        if event.type() == QEvent.Type.ToolTip and isinstance(event, QHelpEvent):
            pair = self._pair_at(QPointF(event.pos()))
            QToolTip.showText(event.globalPos(), self._tips.get(pair, "") if pair else "", self)
            return True
        return bool(super().event(event))
