"""How cells of the docks' tables are painted: swatches, names with a note, figures with a bar."""

from __future__ import annotations

from enum import IntEnum
from typing import Any

from qtpy.QtCore import QModelIndex, QRect, QRectF, QSize, Qt
from qtpy.QtGui import QColor, QFont, QPainter, QPen
from qtpy.QtWidgets import QStyle, QStyledItemDelegate, QStyleOptionViewItem


class CellRole(IntEnum):
    """What a model provides to the delegate in addition to Qt's own roles."""

    SORT = Qt.ItemDataRole.UserRole + 1
    COLOR = Qt.ItemDataRole.UserRole + 2
    """Colour of the swatch or bar."""
    SHARE = Qt.ItemDataRole.UserRole + 3
    """Length of the bar, 0..1 of the cell."""
    NOTE = Qt.ItemDataRole.UserRole + 4
    """Second, smaller line."""
    HEAT = Qt.ItemDataRole.UserRole + 6
    """How much of the colour the whole cell has, 0..1, where there is no room for figures."""
    DIMMED = Qt.ItemDataRole.UserRole + 5
    """The row is not among those shown on the tissue."""


class CellDelegate(QStyledItemDelegate):
    """Paints a cell from the roles above: a swatch, text with a note, a bar under a figure."""

    def sizeHint(self, option: QStyleOptionViewItem, index: QModelIndex) -> QSize:
        """Leave room for the swatch next to the text."""
        hint = super().sizeHint(option, index)
        if index.data(CellRole.COLOR) is not None and index.data(CellRole.SHARE) is None:
            hint.setWidth(hint.width() + _swatch_side(option.rect) + 6)
        return hint

    def paint(self, painter: QPainter, option: QStyleOptionViewItem, index: QModelIndex) -> None:
        """Paint one cell."""
        # Views reuse one option for all cells of a row: a colour must not carry over to the next.
        option = QStyleOptionViewItem(option)
        self.initStyleOption(option, index)
        text, option.text = option.text, ""
        style = option.widget.style()
        style.drawControl(QStyle.ControlElement.CE_ItemViewItem, option, painter, option.widget)
        painter.save()
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        if index.data(CellRole.DIMMED):
            painter.setOpacity(0.35)
        rect = option.rect.adjusted(5, 2, -5, -2)
        heat = index.data(CellRole.HEAT)
        if heat is not None:
            _paint_heat(painter, option.rect, index.data(CellRole.COLOR), heat)
            painter.restore()
            return
        color, share = index.data(CellRole.COLOR), index.data(CellRole.SHARE)
        if color is not None and share is None:
            rect = _paint_swatch(painter, rect, color, alone=not text)
        elif share is not None:
            _paint_bar(painter, rect, color or option.palette.highlight().color(), share)
            rect = rect.adjusted(0, 0, 0, -5)
        _paint_text(painter, rect, option, text, index.data(CellRole.NOTE))
        painter.restore()


def _swatch_side(rect: QRect) -> int:
    return int(min(14, max(8, rect.height() - 8)))


def _paint_swatch(painter: QPainter, rect: QRect, color: QColor, *, alone: bool) -> QRect:
    """Paint the swatch and return the rest of the cell."""
    side = _swatch_side(rect)
    left = rect.center().x() - side / 2 if alone else rect.left()
    square = QRectF(left, rect.center().y() - side / 2 + 0.5, side, side)
    painter.setPen(QPen(QColor(128, 128, 128, 150), 1))
    painter.setBrush(color)
    painter.drawRoundedRect(square, 3, 3)
    return rect.adjusted(side + 6, 0, 0, 0)


def _paint_heat(painter: QPainter, rect: QRect, color: QColor, share: float) -> None:
    filled = QColor(color)
    filled.setAlphaF(0.08 + 0.92 * min(1.0, share) if share > 0 else 0.0)
    painter.setPen(QPen(QColor(128, 128, 128, 90), 1))
    painter.setBrush(filled)
    painter.drawRect(QRectF(rect).adjusted(1.5, 5.5, -1.5, -5.5))


def _paint_bar(painter: QPainter, rect: QRect, color: QColor, share: float) -> None:
    track = QRectF(rect.left(), rect.bottom() - 2, rect.width(), 3)
    painter.setPen(Qt.PenStyle.NoPen)
    painter.setBrush(QColor(128, 128, 128, 60))
    painter.drawRoundedRect(track, 1.5, 1.5)
    if share > 0:
        track.setWidth(max(2.0, track.width() * min(1.0, share)))
        painter.setBrush(color)
        painter.drawRoundedRect(track, 1.5, 1.5)


def _paint_text(
    painter: QPainter, rect: QRect, option: QStyleOptionViewItem, text: str, note: Any
) -> None:
    painter.setPen(option.palette.text().color())
    painter.setFont(option.font)
    elide = Qt.TextElideMode.ElideRight
    align = option.displayAlignment & Qt.AlignmentFlag.AlignHorizontal_Mask
    if not note:
        shown = option.fontMetrics.elidedText(text, elide, rect.width())
        painter.drawText(rect, align | Qt.AlignmentFlag.AlignVCenter, shown)
        return
    shown = option.fontMetrics.elidedText(text, elide, rect.width())
    painter.drawText(rect, align | Qt.AlignmentFlag.AlignTop, shown)
    small = QFont(option.font)
    small.setItalic(True)
    small.setPointSizeF(small.pointSizeF() * 0.85)
    painter.setFont(small)
    shown = painter.fontMetrics().elidedText(str(note), elide, rect.width())
    painter.drawText(rect, align | Qt.AlignmentFlag.AlignBottom, shown)
