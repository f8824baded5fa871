"""Workarounds for versions of napari, vispy, Qt and triton; all of them are in this module.

Each says what happens without it and when it can be removed. Qt and napari are loaded only when a
function that needs them is called. The plugin must work with ``napari>=0.7.1``.
"""

from __future__ import annotations

import gc
import logging
import sys
import weakref
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from types import MethodType
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    import napari
    from napari.layers import Layer, Points
    from numpy.typing import NDArray

_log = logging.getLogger(__name__)

MOMENT_MS = 20
"""For how long the window lives between two parts of a change that takes it long, at least."""
_DRAWN_TOGETHER = 8
_UNSEEN_MS = 250  # a canvas that is not seen is not drawn
SPINNER_SPEED = 10
"""Speed of napari's activity spinner, in percent: about three frames a second."""

# vispy's shader computes the shapes of all its symbols at every pixel, and then uses one of them.
_DISC = """
float disc(vec2 pointcoord, float size, int symbol) {
    return length((pointcoord - vec2(0.5, 0.5)) * size) - $v_size / 2.;
}
"""
# Corners around the middle of a spot of diameter 1: a square, and the smallest triangle.
_SQUARE = np.array([[-0.5, -0.5], [0.5, -0.5], [-0.5, 0.5], [0.5, 0.5]], dtype=np.float32)
_TRIANGLE = np.array([[0, 1], [-(0.75**0.5), -0.5], [0.75**0.5, -0.5]], dtype=np.float32)
_MISSING = (AttributeError, KeyError, TypeError)


# -- the viewer ----------------------------------------------------------------------------------


def unwrapped(viewer: napari.Viewer) -> napari.Viewer:
    """Return the viewer itself if napari gives a proxy of it.

    napari gives each dock its own ``PublicOnlyProxy``. A proxy does not live as long as the
    viewer, and differs between docks: without this each dock would have its own session, and a
    weak reference to the viewer would be dead at once. Can go when napari gives plugins the
    viewer.
    """
    return getattr(viewer, "__wrapped__", viewer)


def camera_of(viewer: napari.Viewer) -> Any:
    """Camera of a viewer.

    napari 0.9 moved ``viewer.camera`` to ``viewer.scene.camera``. There the old name warns;
    earlier versions do not have the new one. Can go when napari below 0.9 is no longer supported.
    """
    return viewer.scene.camera if hasattr(viewer, "scene") else viewer.camera


def grid_of(viewer: napari.Viewer) -> Any:
    """Grid of a viewer.

    napari 0.9 moved ``viewer.grid`` to ``viewer.canvas.grid``. There the old name warns; earlier
    versions do not have the new one. Can go when napari below 0.9 is no longer supported.
    """
    return viewer.canvas.grid if hasattr(viewer, "canvas") else viewer.grid


def scale_bar_of(viewer: napari.Viewer) -> Any:
    """Scale bar of a viewer.

    napari 0.9 moved ``viewer.scale_bar`` to ``viewer.canvas.overlays.scale_bar``. There the old
    name warns; earlier versions do not have the new one. Can go when napari below 0.9 is no longer
    supported.
    """
    return viewer.canvas.overlays.scale_bar if hasattr(viewer, "canvas") else viewer.scale_bar


def canvas_size(viewer: napari.Viewer) -> tuple[float, float]:
    """Width and height of a viewer's canvas, in pixels; equal where napari does not tell.

    Can go when napari below 0.9 is no longer supported.
    """
    height, width = getattr(getattr(viewer, "canvas", None), "size", (1, 1))
    return float(max(width, 1)), float(max(height, 1))


def load_units() -> None:
    """Let pint read its table of units, for which napari's first layer would freeze the window.

    It takes 0.3 s. Can go when napari (0.9) loads it without the window waiting.
    """
    with suppress(ImportError, AttributeError):
        from pint import get_application_registry

        get_application_registry().micrometer  # noqa: B018


def on_canvas_resized(viewer: napari.Viewer, slot: Any) -> None:
    """Call a method when the canvas has another size, where napari tells (0.9).

    Can go when napari below 0.9 is no longer supported.
    """
    events = getattr(getattr(viewer, "canvas", None), "events", None)
    if events is not None and hasattr(events, "size"):
        events.size.connect(slot)


def node_of(viewer: napari.Viewer | None, layer: Layer) -> Any:
    """Node of vispy's scene that draws a layer; ``None`` without a window.

    napari (0.9) has no public access to it, and does not accept custom overlays. A visual with the
    node's transform and parent lies where the layer lies, moves with it from cell to cell of the
    grid, and is not in the list of layers. If a version of napari stores the node elsewhere,
    nothing is drawn. Can go when napari accepts overlays from plugins.
    """
    try:
        return viewer.window._qt_viewer.canvas.layer_to_visual[layer].node  # type: ignore[union-attr]
    except (AttributeError, KeyError):
        return None


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


@contextmanager
def layers_removed(viewer: napari.Viewer) -> Iterator[None]:
    """Remove several layers of a viewer as quickly as one.

    napari (0.9) runs a full garbage collection at each removal, which takes half a second once
    torch and scanpy are loaded. It must do so on Windows, where drivers need to know at once;
    elsewhere only new objects are collected here. Can go when napari does so on Windows only.
    """
    spare = sys.platform != "win32"
    if spare:
        gc.freeze()
    try:
        with viewer.layers.batched_update():
            yield
    finally:
        if spare:
            gc.unfreeze()


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

    napari (0.9) builds it after each layer that is added, moved in the list, shown or hidden, and
    after each property of the grid; each time it places all names of layers once for each layer.
    With 24 layers in a grid that is 0.1 s for each change. Can go when napari builds it once
    before it draws. What lies elsewhere in the scene afterwards is drawn in turns, see
    :class:`_Turns`.

    Parameters
    ----------
    viewer
        The viewer. Nothing inside may ask where the canvas shows something, or remove layers:
        napari has its own pause for that, see :func:`layers_removed`.
    """
    try:
        canvas = viewer.window._qt_viewer.canvas
        build = canvas._update_scenegraph
        place_later = canvas._defer_canvas_overlay_position_update
        paused = canvas._pause_scene_graph
    except _MISSING:  # no window, or another version of napari
        yield
        return
    if paused:  # by napari, or by another of these
        yield
        return
    turns = _turns_of.setdefault(canvas, _Turns(canvas))
    # A method, since napari finds what it connects to events by its name.
    canvas._update_overlay_canvas_positions = MethodType(_placed_later, canvas)
    canvas._pause_scene_graph = True
    try:
        with turns.taken(viewer):
            try:
                yield
            finally:
                canvas._pause_scene_graph = False
                build()
    finally:
        del canvas._update_overlay_canvas_positions
        place_later()


def _placed_later(canvas: Any, event: object = None) -> None:
    """Leave the places of the names for the next drawing."""


_placed_later.__name__ = "_update_overlay_canvas_positions"


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
        self.end()
        before = {layer: shown.node.parent for layer, shown in canvas.layer_to_visual.items()}
        yield
        shown = {layer: canvas.layer_to_visual[layer].node for layer in viewer.layers}
        moved = {
            x: node for x, node in shown.items() if x.visible and before.get(x) is not node.parent
        }
        cells = {node.parent.parent: None for node in moved.values()}
        if grid_of(viewer).enabled:
            parts, self._at_once = [(cell, None) for cell in cells], 1
        else:
            parts, self._at_once = [(node, layer) for layer, node in moved.items()], 2
        self._waiting = parts if len(moved) > _DRAWN_TOGETHER else []
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
    except _MISSING:
        return False


def _whole(canvas: Any) -> Any:
    """Take a picture of a canvas once all of it is shown."""
    _turns_of[canvas].end()
    return canvas.screenshot()


def markers_visual() -> Any:
    """Make a visual of points as napari draws them.

    vispy alone would draw them as OpenGL points, and graphics cards limit the size of those;
    napari (0.9) has its own class without this limit. Can go when vispy has no such limit.
    """
    try:
        from napari._vispy.visuals.markers import Markers
    except ImportError:
        from vispy.scene.visuals import Markers
    return Markers()


# -- drawing of points ---------------------------------------------------------------------------


def markers_of(viewer: napari.Viewer | None, layer: Points) -> Any:
    """The vispy visual that draws the points of a layer; ``None`` if napari stores it elsewhere.

    napari (0.9) has no public access to it. Without it the functions below do nothing, and napari
    draws and colours the points. Can go when napari itself draws points faster.
    """
    try:
        canvas = viewer.window._qt_viewer.canvas  # type: ignore[union-attr]
        markers = canvas.layer_to_visual[layer].node.points_markers
        return markers if markers._method == "instanced" else None
    except _MISSING:
        return None


def draw_discs(markers: Any, *, simple: bool) -> None:
    """Draw points as discs of one triangle each, or again as vispy does.

    vispy (0.14 to 0.17) draws each point as two triangles and computes the shapes of all its
    symbols at every pixel. Without a GPU, 200,000 spots take longer to draw than a person wants to
    wait. If a version of vispy stores these things elsewhere, nothing changes. Can go when vispy
    compiles one shader for each symbol.

    Parameters
    ----------
    markers
        From :func:`markers_of`.
    simple
        Whether to draw discs of one triangle.
    """
    from vispy.visuals.shaders import Function

    try:
        whole = markers._symbol_func
        disc = Function(_DISC)
        disc["v_size"] = markers._v_size_var
        corners = markers._quad_vbo
    except _MISSING as error:
        _log.info("Points are drawn by napari as usual: %s", error)
        return
    markers.shared_program.frag["marker"] = disc if simple else whole
    corners.set_data(_TRIANGLE if simple else _SQUARE)
    markers.update()


def send_colors(markers: Any, layer: Points, rgba: NDArray[np.float32]) -> bool:
    """Send only the colours of a layer's points to the GPU; says whether that was possible.

    napari (0.9) sends positions, sizes and symbols too. Without this, recolouring 200,000 spots
    costs as much as a new layer. Can go when napari sends only colours.

    Parameters
    ----------
    markers
        From :func:`markers_of`.
    layer
        The points.
    rgba
        Colours of all its points, float32, shape (points, 4), 0..1.
    """
    from vispy.gloo import VertexBuffer

    shown = np.asarray(layer.shown)
    colors = rgba if shown.all() else rgba[shown]
    drawn = getattr(markers, "_data", None)
    if drawn is None or len(drawn) != len(colors) or len(colors) == 0:
        return False
    buffer = VertexBuffer(np.ascontiguousarray(colors, dtype=np.float32))
    buffer.divisor = 1  # one for each point, not for each corner
    markers.shared_program["a_bg_color"] = buffer
    markers.update()
    return True


@contextmanager
def colors_unsent(layer: Points, *, alone: bool) -> Iterator[bool]:
    """Prevent a layer from sending all of its points to the GPU; yields whether it does.

    napari (0.9) reacts to both the layer's signal and the signal of its colours, and sends
    positions, sizes and symbols each time. If the colours cannot be sent alone, once is enough.
    Can go with :func:`send_colors`.
    """
    colors: Any = getattr(getattr(layer, "_face", None), "events", None)
    with layer.events.face_color.blocker():
        if alone and hasattr(colors, "blocker_all"):
            with colors.blocker_all():
                yield True
        else:
            yield False


# -- computing next to a window ------------------------------------------------------------------


def slow_spinners() -> None:
    """Slow down napari's activity spinners, one in the status bar of each window.

    The canvas makes Qt (6) compose the whole window again for every change, however small.
    Without a graphics card, napari's 33 frames a second need more of two cores than a training
    leaves free. Can go when napari's spinner draws less often.
    """
    from napari.resources import LOADING_GIF_PATH
    from qtpy.QtCore import Qt
    from qtpy.QtWidgets import QApplication, QLabel, QMainWindow, QStatusBar

    direct = Qt.FindChildOption.FindDirectChildrenOnly
    for window in QApplication.topLevelWidgets():
        # Not window.statusBar(), which would make one; nor all labels: a workbench has hundreds.
        bars = (
            window.findChildren(QStatusBar, options=direct)
            if isinstance(window, QMainWindow)
            else []
        )
        for label in (label for bar in bars for label in bar.findChildren(QLabel)):
            movie = label.movie()
            if movie and movie.fileName() == LOADING_GIF_PATH:
                movie.setSpeed(SPINNER_SPEED)


def keep_triton_out(mapped: Path = Path("/proc/self/maps")) -> None:
    """Prevent triton from being loaded into a process in which LLVM draws the canvas.

    If Mesa draws (software, AMD, Intel), its LLVM is already loaded by now. torch with CUDA loads
    triton, which brings another LLVM, and the two crash the process with a segmentation fault.
    Nothing here needs triton, and torch works without it if it cannot be imported. Can go when
    triton hides the symbols of its LLVM.

    Parameters
    ----------
    mapped
        File that lists the libraries of this process, on Linux.
    """
    if "triton" in sys.modules:
        return
    try:
        drawn_by_llvm = "libLLVM" in mapped.read_text()
    except OSError:
        return
    if drawn_by_llvm:
        # With None as the entry, Python refuses to import the name.
        sys.modules["triton"] = None  # type: ignore[assignment]


def no_layers_yet(viewer: napari.Viewer) -> list[tuple[Any, dict[str, Any], str]]:
    """Layer data of a sample whose layers come later: an empty layer that goes at once.

    napari (0.7 to 0.9) fails on a sample without layers. Can go when it takes none.
    """
    from qtpy.QtCore import QTimer

    held = weakref.ref(unwrapped(viewer))

    def remove() -> None:
        there = held()
        if there is None:
            return
        for layer in [layer for layer in there.layers if _COMING in layer.metadata]:
            there.layers.remove(layer)

    QTimer.singleShot(0, remove)
    options = {"name": "coming", "ndim": 2, "metadata": {_COMING: True}}
    return [(np.empty((0, 2)), options, "points")]


_COMING = "staligner_coming"
