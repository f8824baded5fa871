"""The scene that napari and vispy draw: built once for several changes, and drawn in turns."""

from __future__ import annotations

import sys
import weakref
from contextlib import ExitStack, contextmanager, suppress
from functools import cache
from types import MethodType
from typing import TYPE_CHECKING, Any

from napari_staligner.compat.garbage import only_new_garbage
from napari_staligner.compat.viewer import MISSING, grid_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    import napari
    from napari.layers import Layer

MOMENT_MS = 20
"""For how long the window lives between two parts of a change that takes it long, at least."""
_DRAWN_TOGETHER = 8
_MOST_SHADERS = 200
_UNSEEN_MS = 250  # a canvas that is not seen is not drawn


def draw_after_removals(viewer: napari.Viewer) -> None:
    """Make sure that what is drawn after layers are removed reaches the canvas.

    When layers are removed, napari (0.9) sends everything pending to the graphics card in the
    current OpenGL context, which may be the wrong one or none. Then new colours of points are lost,
    and drawing the points again crashes the process. This makes the canvas's own context current
    first. Can go when napari does that.
    """
    held = weakref.ref(viewer)

    def use_context(_: object = None) -> None:
        with suppress(AttributeError):
            held().window._qt_viewer.canvas.native.makeCurrent()  # type: ignore[union-attr]

    for event in (viewer.layers.events.removed, viewer.layers.events.end_batch):
        event.connect(use_context, position="first")


@cache
def remember_shaders() -> None:
    """Let vispy read the code of shaders once that it builds for each visual anew.

    vispy (0.16) searches the code of each program for its variables, some 10 ms in Python. Those of
    twelve slices have the same code. Can go when vispy remembers what it found.
    """
    from vispy.gloo.program import Program

    read = getattr(Program, "_parse_variables_from_code", None)
    if read is None:  # another version of vispy
        return
    known: dict[tuple[str, ...], dict[str, Any]] = {}

    def read_once(self: Any, update_variables: bool = True) -> None:
        code = tuple(shader.code for shader in self._shaders)
        if code not in known:
            read(self, update_variables=False)
            if len(known) == _MOST_SHADERS:
                known.clear()
            known[code] = self._code_variables
        self._code_variables = dict(known[code])
        if update_variables:
            self._process_pending_variables()

    Program._parse_variables_from_code = read_once


@contextmanager
def layers_removed(viewer: napari.Viewer) -> Iterator[None]:
    """Remove several layers of a viewer as quickly as one.

    napari (0.9) runs a full garbage collection at each removal, which takes half a second once
    torch and scanpy are loaded. It must do so on Windows, where drivers need to know at once;
    elsewhere only new objects are collected here. Can go when napari does so on Windows only.
    """
    with ExitStack() as inside:
        if sys.platform != "win32":
            inside.enter_context(only_new_garbage())
        inside.enter_context(viewer.layers.batched_update())
        yield


@contextmanager
def layers_moved(viewer: napari.Viewer, layers: Iterable[Layer]) -> Iterator[None]:
    """Move several layers of a viewer as quickly as one.

    napari (0.9) works out the range of all layers after each change of the place of each: for 24
    layers that is a third of the time. Can go when napari does so once for several changes.

    Parameters
    ----------
    viewer
        The viewer.
    layers
        Those that are moved.
    """
    ranged = getattr(viewer, "_on_layers_change", None)
    if ranged is None:
        yield
        return
    with ExitStack() as blocked:
        for layer in layers:
            for moved in (layer.events.scale, layer.events.units, layer.events.affine):
                blocked.enter_context(moved.blocker(ranged))
        yield
    if len(viewer.layers):
        ranged()


@contextmanager
def scene_built_once(viewer: napari.Viewer) -> Iterator[None]:
    """Let napari build the scene of its canvas once for several changes of its layers.

    napari (0.9) builds it after each layer that is added, removed, moved in the list, shown or
    hidden, and after each property of the grid; each time it places all names of layers once for
    each layer. With 24 layers in a grid that is 0.1 s for each change. Can go when napari builds it
    once before it draws. What lies elsewhere in the scene afterwards is drawn in turns, see
    :class:`_Turns`, and not before the event loop has lived, see :func:`drawn_later`.

    Parameters
    ----------
    viewer
        The viewer. Nothing inside may ask where the canvas shows something.
    """
    try:
        canvas = viewer.window._qt_viewer.canvas
        build = canvas._update_scenegraph
        place_later = canvas._defer_canvas_overlay_position_update
        paused = canvas._pause_scene_graph
    except MISSING:  # no window, or another version of napari
        yield
        return
    if paused:  # by napari, or by another of these
        yield
        return
    turns = _turns_of.setdefault(canvas, _Turns(canvas))
    # Methods, since napari finds what it connects to events by its name.
    canvas._update_overlay_canvas_positions = MethodType(_placed_later, canvas)
    canvas._resume_scene_graph_update = MethodType(_cleaned, canvas)
    canvas._update_scenegraph = MethodType(_built_later, canvas)
    turns.build_due, canvas._pause_scene_graph = False, True
    try:
        with turns.taken(viewer), _kept_in_size(viewer):
            try:
                yield
            finally:
                canvas._pause_scene_graph = False
                del canvas._resume_scene_graph_update, canvas._update_scenegraph
                if turns.build_due:
                    build()
    finally:
        del canvas._update_overlay_canvas_positions
        place_later()
        drawn_later(viewer)


@contextmanager
def _kept_in_size(viewer: napari.Viewer) -> Iterator[None]:
    """Leave the room of the canvas as it is until the event loop lives again.

    A layer with a third dimension makes napari (0.9) show a slider before it finds that there is
    nothing to slide, and Qt draws the canvas for its room with it, and again without. Can go when
    napari knows the range of a new dimension first.
    """
    try:
        layout = viewer.window._qt_viewer.dims.parentWidget().layout()
        layout.setEnabled(False)
    except MISSING:
        yield
        return
    try:
        yield
    finally:
        layout.setEnabled(True)
        layout.update()


def _placed_later(canvas: Any, event: object = None) -> None:
    """Leave the places of the names for the next drawing."""


_placed_later.__name__ = "_update_overlay_canvas_positions"


def _built_later(canvas: Any, event: object = None) -> None:
    """Note that the scene is to be built."""
    _turns_of[canvas].build_due = True


_built_later.__name__ = "_update_scenegraph"


def _cleaned(canvas: Any) -> None:
    """Tidy up after layers that were removed; the scene is built later."""
    canvas._clean_and_update_scenegraph()


_cleaned.__name__ = "_resume_scene_graph_update"


def drawn_later(viewer: napari.Viewer) -> None:
    """Draw the canvas not before the event loop has lived once.

    Qt draws what changed before it looks at a timer, a key or the mouse. Without a GPU a drawing
    takes as long as the change that made it due, so that both together freeze the window for twice
    as long. Can go when all drawing is done by graphics cards.
    """
    try:
        native = viewer.window._qt_viewer.canvas.native
    except MISSING:
        return
    if native not in _held:
        from qtpy.QtCore import QTimer

        _held.add(native)
        native.setUpdatesEnabled(False)
        # Not 0 ms: Qt does not take that for a timer.
        QTimer.singleShot(1, lambda: _draw(native))


def _draw(native: Any) -> None:
    _held.discard(native)
    with suppress(RuntimeError):  # the window was closed
        native.setUpdatesEnabled(True)


_held: weakref.WeakSet[Any] = weakref.WeakSet()


class _Turns:
    """Draws what is new on a canvas a few parts at a time.

    vispy (0.16) builds the programs of a visual when it is first drawn, and again where it has
    another parent: some 30 ms each in Python, two to six for each slice. Twelve slices that are
    laid out anew would freeze the window for two seconds; so it lives between the drawings of one
    cell of the grid, or of two layers, and the next. Can go when vispy keeps what it has built.

    Parameters
    ----------
    canvas
        napari's canvas, held weakly.
    """

    def __init__(self, canvas: Any) -> None:
        from qtpy.QtCore import QTimer

        self._canvas = weakref.ref(canvas)
        self.build_due = False
        """Whether napari asked for the scene to be built while that waited."""
        self._waiting: list[tuple[Any, Layer | None]] = []
        self._at_once = 0
        self._timer = QTimer()
        self._timer.setSingleShot(True)
        self._timer.timeout.connect(self._next)

    @property
    def over(self) -> bool:
        """Whether all is shown."""
        return not self._waiting

    @contextmanager
    def taken(self, viewer: napari.Viewer) -> Iterator[None]:
        """Take turns with what has another place in the scene afterwards."""
        canvas: Any = self._canvas()
        before = {layer: shown.node.parent for layer, shown in canvas.layer_to_visual.items()}
        yield
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
        if len(parts) <= _DRAWN_TOGETHER:
            self._waiting = []
        if self._waiting:
            for node, _ in self._waiting:
                node.visible = False
            canvas._scene_canvas.events.draw.connect(self._on_draw)
            # What is asked for a picture of itself is whole.
            canvas.screenshot = MethodType(_whole, canvas)
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
        if canvas is not None and "screenshot" in vars(canvas):
            self._timer.stop()
            del canvas.screenshot
            canvas._scene_canvas.events.draw.disconnect(self._on_draw)


_turns_of: weakref.WeakKeyDictionary[Any, _Turns] = weakref.WeakKeyDictionary()


def being_drawn(viewer: napari.Viewer) -> bool:
    """Whether parts of the canvas still wait for their first drawing, see :class:`_Turns`."""
    try:
        return not _turns_of[viewer.window._qt_viewer.canvas].over
    except MISSING:
        return False


def _whole(canvas: Any) -> Any:
    """Take a picture of a canvas once all of it is shown."""
    _turns_of[canvas].end()
    return canvas.screenshot()
