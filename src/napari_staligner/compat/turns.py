"""What is new on a canvas, drawn a few parts at a time."""

from __future__ import annotations

import weakref
from collections import deque
from typing import TYPE_CHECKING, Any

from napari_staligner.compat.viewer import grid_of

if TYPE_CHECKING:
    from collections.abc import Callable

    import napari
    from napari.layers import Layer

MOMENT_MS = 20
"""For how long the window lives between two parts of a change that takes it long, at least."""
DRAWN_TOGETHER = 8
"""So many layers are drawn anew at once."""
_UNSEEN_MS = 250  # a canvas that is not seen is not drawn


def in_turn(act: Callable[[], object]) -> None:
    """Do something in a turn of the event loop of its own, after all that waits for one.

    Timers that are due at the same time are one turn for Qt, and a window that is busy makes all of
    them due. Here the window lives between each act and the next, whoever wants them.

    Parameters
    ----------
    act
        What to do, or a part of it; dropped if it is a method of a widget that is deleted by then.
    """
    _waiting.append(act)
    timer = _timer_of_turns()
    if not timer.isActive():
        timer.start(1)


def _take_turn() -> None:
    act = _waiting.popleft()
    if _waiting:
        # Now, since the act may open a dialog, in which the others go on.
        _timer_of_turns().start(MOMENT_MS)
    try:
        owner = getattr(getattr(act, "func", act), "__self__", None)
        getattr(owner, "objectName", str)()
    except RuntimeError:  # its widget was deleted
        return
    act()


def _timer_of_turns() -> Any:
    from qtpy.QtCore import QCoreApplication, QTimer

    application = QCoreApplication.instance()
    if application not in _timers:
        timer = _timers[application] = QTimer(application)
        timer.setSingleShot(True)
        timer.timeout.connect(_take_turn)
    return _timers[application]


_waiting: deque[Callable[[], object]] = deque()
_timers: weakref.WeakKeyDictionary[Any, Any] = weakref.WeakKeyDictionary()


class Turns:
    """Draws what is new on a canvas a few parts at a time.

    vispy (0.16) builds the programs of a visual when it is first drawn, and again where it has
    another parent: some 30 ms each in Python, two to six for each slice. Twelve slices that are
    laid out anew would freeze the window for two seconds; so it lives between the drawings of one
    cell of the grid, or of two layers, and the next. Can go when vispy keeps what it has built.

    Parameters
    ----------
    canvas
        napari's canvas, held weakly.
    ended
        Called when all is shown.
    """

    def __init__(self, canvas: Any, ended: Callable[[], object]) -> None:
        from qtpy.QtCore import QTimer

        self._canvas = weakref.ref(canvas)
        self._waiting: list[tuple[Any, Layer | None]] = []
        self._at_once = 0
        self._connected = False
        self._ended = ended
        self._timer = QTimer()
        self._timer.setSingleShot(True)
        self._timer.timeout.connect(self._next)

    @property
    def over(self) -> bool:
        """Whether all is shown."""
        return not self._waiting

    def parents(self) -> dict[Layer, Any]:
        """Where the layers lie in the scene."""
        canvas: Any = self._canvas()
        return {layer: shown.node.parent for layer, shown in canvas.layer_to_visual.items()}

    def take(self, viewer: napari.Viewer, before: dict[Layer, Any]) -> None:
        """Take turns with what has another place in the scene than before."""
        canvas: Any = self._canvas()
        shown = {layer: canvas.layer_to_visual[layer].node for layer in viewer.layers}
        moved = {x: node for x, node in shown.items() if before.get(x) is not node.parent}
        if not moved:
            return
        waits = {node for node, _ in self._waiting}
        still = {x: n for x, n in shown.items() if waits & {n, n.parent.parent}}
        self.end()
        parts = {x: node for x, node in (still | moved).items() if x.visible}
        if grid_of(viewer).enabled:
            cells = dict.fromkeys(node.parent.parent for node in parts.values())
            self._waiting, self._at_once = [(cell, None) for cell in cells], 1
        else:
            self._waiting, self._at_once = [(node, layer) for layer, node in parts.items()], 2
        if len(parts) <= DRAWN_TOGETHER:
            self._waiting = []
        if self._waiting:
            for node, _ in self._waiting:
                node.visible = False
            canvas._scene_canvas.events.draw.connect(self._on_draw)
            self._connected = True
            self._timer.start(_UNSEEN_MS)

    def _on_draw(self, _: object) -> None:
        self._timer.start(MOMENT_MS)

    def _next(self) -> None:
        some, self._waiting = self._waiting[: self._at_once], self._waiting[self._at_once :]
        for node, layer in some:
            node.visible = layer is None or layer.visible
        if self.over:
            self.end()
        else:
            self._timer.start(_UNSEEN_MS)

    def end(self) -> None:
        """Show all that still waits."""
        for node, layer in self._waiting:
            node.visible = layer is None or layer.visible
        self._waiting = []
        canvas = self._canvas()
        if canvas is not None and self._connected:
            self._connected = False
            self._timer.stop()
            canvas._scene_canvas.events.draw.disconnect(self._on_draw)
            self._ended()
