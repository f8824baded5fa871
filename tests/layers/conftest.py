"""Viewers with slices, and a mouse over their canvas."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from fakes import fake_result
from napari.components import ViewerModel
from qtpy.QtCore import QEvent, QPoint, QPointF, Qt
from qtpy.QtGui import QMouseEvent
from qtpy.QtWidgets import QApplication

from napari_staligner import _keys as K
from napari_staligner.layers import open_session

if TYPE_CHECKING:
    from anndata import AnnData
    from napari.layers import Layer

    from napari_staligner.session import Session


@dataclass
class Shown:
    """A viewer, its session with two slices, and their integration."""

    viewer: ViewerModel
    session: Session
    slices: list[tuple[str, AnnData]]
    result: AnnData

    def layer(self, name: str, role: str = "spots") -> Layer:
        (found,) = [
            layer
            for layer in self.viewer.layers
            if layer.metadata.get(K.LAYER_SLICE) == name
            and layer.metadata.get(K.LAYER_ROLE) == role
        ]
        return found


@pytest.fixture
def viewer(qapp) -> ViewerModel:
    """Return a viewer without a window, quick to make; the event loop is there."""
    return ViewerModel()


@pytest.fixture
def shown(viewer) -> Shown:
    """Return a viewer that shows two slices, not integrated yet; it has no window."""
    slices, result = fake_result()
    session = open_session(viewer)
    session.add(slices)
    return Shown(viewer, session, slices, result)


class Mouse:
    """Presses and moves the mouse over the canvas of a visible viewer."""

    def __init__(self, viewer: Any, qtbot: Any) -> None:
        self._canvas = viewer.__wrapped__.window._qt_viewer.canvas
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


@pytest.fixture
def canvas(make_napari_viewer_proxy, qtbot) -> tuple[Shown, Mouse]:
    """Return a visible viewer with two integrated slices, and its mouse."""
    viewer = make_napari_viewer_proxy(show=True)
    slices, result = fake_result()
    session = open_session(viewer)
    session.add(slices)
    session.set_result(result)
    qtbot.waitUntil(lambda: viewer.__wrapped__.window._qt_viewer.canvas.native.isVisible())
    return Shown(viewer, session, slices, result), Mouse(viewer, qtbot)
