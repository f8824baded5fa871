"""A mouse over the canvas of a visible viewer, with the events that a person makes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from qtpy.QtCore import QEvent, QPoint, QPointF, Qt
from qtpy.QtGui import QMouseEvent
from qtpy.QtWidgets import QApplication

if TYPE_CHECKING:
    from napari.layers import Layer


class Mouse:
    """Presses and moves the mouse over the canvas of a visible viewer."""

    def __init__(self, viewer: Any, qtbot: Any) -> None:
        self._canvas = getattr(viewer, "__wrapped__", viewer).window._qt_viewer.canvas
        self._qtbot = qtbot

    def pixel(self, yx: tuple[float, float], cell: int | None = None) -> QPoint:
        """Find the pixel of a position in the world, in a cell of the grid."""
        canvas = self._canvas
        view = canvas.view if cell is None else canvas.grid_views[cell]
        origin = np.zeros(2) if cell is None else np.array(view.transform.translate[:2])
        probes = [origin + p for p in ((10.0, 10.0), (20.0, 10.0), (10.0, 20.0))]
        at, right, down = (np.array(canvas._map_canvas2world(p, view)[-2:]) for p in probes)
        steps = np.column_stack([right - at, down - at]) / 10
        x, y = probes[0] + np.linalg.solve(steps, np.asarray(yx) - at)
        return QPoint(round(x), round(y))

    def settle(self, layer: Layer) -> None:
        """Wait until the first spot of a layer, in the first cell, is on the canvas."""

        def seen() -> bool:
            grid = self._canvas.viewer.canvas.grid.enabled
            at = self.pixel(layer.data_to_world(layer.data[0]), 0 if grid else None)
            return self._canvas.native.rect().contains(at)

        self._qtbot.waitUntil(seen)

    def click(self, at: QPoint) -> None:
        self._qtbot.mouseClick(self._canvas.native, Qt.MouseButton.LeftButton, pos=at)

    def drag(
        self,
        start: QPoint,
        end: QPoint,
        held: Qt.KeyboardModifier = Qt.KeyboardModifier.NoModifier,
    ) -> None:
        left, native = Qt.MouseButton.LeftButton, self._canvas.native
        self._qtbot.mousePress(native, left, held, start)
        for share in (0.5, 1.0):
            self._move(start + (end - start) * share, left, held)
        self._qtbot.mouseRelease(native, left, held, end)

    def type(self, key: Qt.Key) -> None:
        self._qtbot.keyClick(self._canvas.native, key)

    def follow(self, path: list[QPoint]) -> None:
        """Press at the first point, move through all, release at the last."""
        left, native = Qt.MouseButton.LeftButton, self._canvas.native
        self._qtbot.mousePress(native, left, pos=path[0])
        for at in path[1:]:
            self._move(at, left)
        self._qtbot.mouseRelease(native, left, pos=path[-1])

    def double_click(self, at: QPoint) -> None:
        self._qtbot.mouseClick(self._canvas.native, Qt.MouseButton.LeftButton, pos=at)
        self._qtbot.mouseDClick(self._canvas.native, Qt.MouseButton.LeftButton, pos=at)

    def press_key(self, key: Qt.Key, modifier: Qt.KeyboardModifier | None = None) -> None:
        """Press a key while the canvas has the focus."""
        native = self._canvas.native
        native.setFocus()
        self._qtbot.keyClick(native, key, modifier or Qt.KeyboardModifier.NoModifier)

    def hover(self, at: QPoint) -> None:
        self._move(at, Qt.MouseButton.NoButton)

    def _move(
        self,
        at: QPoint,
        held: Qt.MouseButton,
        keys: Qt.KeyboardModifier = Qt.KeyboardModifier.NoModifier,
    ) -> None:
        # qtbot's own moves hold no button.
        native, none = self._canvas.native, Qt.MouseButton.NoButton
        everywhere = QPointF(native.mapToGlobal(at))
        move = QMouseEvent(
            QEvent.Type.MouseMove,
            QPointF(at),
            everywhere,
            none,
            held,
            keys,
        )
        self._qtbot.wait(20)  # vispy drops moves that follow too soon
        QApplication.sendEvent(native, move)
