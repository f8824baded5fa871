"""Workarounds for versions of napari, vispy, Qt and triton; there are none elsewhere.

Each says what happens without it and when it can go. No window library is loaded before a function
that needs one is called. ``napari>=0.7.1`` is what has to work.
"""

from __future__ import annotations

import gc
import logging
import sys
import weakref
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Iterator

    import napari
    from napari.layers import Layer, Points
    from numpy.typing import NDArray

_log = logging.getLogger(__name__)

SPINNER_SPEED = 10
"""Of napari's sign of activity, in percent: about three pictures a second."""

# vispy's shader works out the shapes of all its symbols at every pixel to take one of them.
_DISC = """
float disc(vec2 pointcoord, float size, int symbol) {
    return length((pointcoord - vec2(0.5, 0.5)) * size) - $v_size / 2.;
}
"""
# Corners around the middle of a spot, whose diameter is 1: a square, and the smallest triangle.
_SQUARE = np.array([[-0.5, -0.5], [0.5, -0.5], [-0.5, 0.5], [0.5, 0.5]], dtype=np.float32)
_TRIANGLE = np.array([[0, 1], [-(0.75**0.5), -0.5], [0.75**0.5, -0.5]], dtype=np.float32)
_MISSING = (AttributeError, KeyError, TypeError)


# -- the viewer ----------------------------------------------------------------------------------


def unwrapped(viewer: napari.Viewer) -> napari.Viewer:
    """Viewer itself, where napari hands out a proxy of it.

    napari hands each dock a ``PublicOnlyProxy`` of its own. A proxy neither lives as long as the
    viewer nor is the same for two docks: without this each dock would have a session of its own,
    and a weak reference to the viewer would be dead at once. Can go when napari hands plugins the
    viewer.
    """
    return getattr(viewer, "__wrapped__", viewer)


def camera_of(viewer: napari.Viewer) -> Any:
    """Camera of a viewer.

    napari 0.9 moved ``viewer.camera`` to ``viewer.scene.camera``. The old name warns there, and the
    new one is unknown to earlier versions. Can go with the support of napari below 0.9.
    """
    return viewer.scene.camera if hasattr(viewer, "scene") else viewer.camera


def grid_of(viewer: napari.Viewer) -> Any:
    """Grid of a viewer.

    napari 0.9 moved ``viewer.grid`` to ``viewer.canvas.grid``. The old name warns there, and the
    new one is unknown to earlier versions. Can go with the support of napari below 0.9.
    """
    return viewer.canvas.grid if hasattr(viewer, "canvas") else viewer.grid


def node_of(viewer: napari.Viewer | None, layer: Layer) -> Any:
    """Node of vispy's scene that draws a layer; ``None`` without a window.

    napari (0.9) has no public way to it, and takes no overlay of a kind of ours. What has the
    node's transform and its parent lies where the layer lies, moves with it from cell to cell of
    the grid, and is in no list. Where a version of napari keeps it elsewhere, nothing is drawn
    there. Can go when napari takes overlays of plugins.
    """
    try:
        return viewer.window._qt_viewer.canvas.layer_to_visual[layer].node  # type: ignore[union-attr]
    except (AttributeError, KeyError):
        return None


def draw_after_removals(viewer: napari.Viewer) -> None:
    """Let what is drawn after layers have left a viewer reach its canvas.

    napari (0.9) ends the removal of layers with all that waits to be sent to the graphics card, in
    whatever context of OpenGL is in use then, which may be none: new colours of points are lost,
    and the next drawing of these ends the process. Here the canvas's own is taken into use first.
    Can go when napari does that.
    """
    held = weakref.ref(viewer)

    def use_context(_: object = None) -> None:
        with suppress(AttributeError):
            held().window._qt_viewer.canvas.native.makeCurrent()  # type: ignore[union-attr]

    for event in (viewer.layers.events.removed, viewer.layers.events.end_batch):
        event.connect(use_context, position="first")


@contextmanager
def layers_removed(viewer: napari.Viewer) -> Iterator[None]:
    """Remove layers of a viewer, several as quickly as one.

    napari (0.9) searches all objects of the process for garbage at each removal, which takes half a
    second once torch and scanpy are there. It has to on Windows, whose drivers need to be told at
    once; elsewhere the search is kept to what is new. Can go when napari does so on Windows only.
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


def markers_visual() -> Any:
    """Make a visual of points as napari draws them.

    vispy alone would draw them as the points of OpenGL, of which graphics cards cut off large ones;
    napari (0.9) has a class of its own that does without. Can go when vispy does so by itself.
    """
    try:
        from napari._vispy.visuals.markers import Markers
    except ImportError:
        from vispy.scene.visuals import Markers
    return Markers()


# -- drawing of points ---------------------------------------------------------------------------


def markers_of(viewer: napari.Viewer | None, layer: Points) -> Any:
    """What vispy draws the points of a layer with; ``None`` where napari keeps it elsewhere.

    napari (0.9) has no public way to it. Without it the functions below do nothing, and napari
    draws and colours the points. Can go when napari draws points at less cost itself.
    """
    try:
        canvas = viewer.window._qt_viewer.canvas  # type: ignore[union-attr]
        markers = canvas.layer_to_visual[layer].node.points_markers
        return markers if markers._method == "instanced" else None
    except _MISSING:
        return None


def draw_discs(markers: Any, *, simple: bool) -> None:
    """Draw points as discs of one triangle each, or again as vispy does it.

    vispy (0.14 to 0.17) draws each point as two triangles and works out the shapes of all its
    symbols at every pixel. Without a GPU, 200,000 spots take longer to draw than a person wants to
    wait. Where a version of vispy keeps these things elsewhere, nothing changes. Can go when vispy
    compiles one shader for each symbol.

    Parameters
    ----------
    markers
        From :func:`markers_of`.
    simple
        Whether as discs of one triangle.
    """
    from vispy.visuals.shaders import Function

    try:
        whole = markers._symbol_func
        disc = Function(_DISC)
        disc["v_size"] = markers._v_size_var
        corners = markers._quad_vbo
    except _MISSING as error:
        _log.info("Points are drawn as napari does it: %s", error)
        return
    markers.shared_program.frag["marker"] = disc if simple else whole
    corners.set_data(_TRIANGLE if simple else _SQUARE)
    markers.update()


def send_colors(markers: Any, layer: Points, rgba: NDArray[np.float32]) -> bool:
    """Send the colours of a layer's points to the GPU alone; whether that could be done.

    napari (0.9) sends positions, sizes and symbols with them. Without this a new colour of 200,000
    spots costs as much as a new layer. Can go when napari sends colours alone.

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
    """Keep a layer from sending all of its points to the GPU; yields whether that will be.

    napari (0.9) answers both the layer's signal and that of its colours, and sends positions, sizes
    and symbols each time. Where the colours are not sent alone, once is enough. Can go with
    :func:`send_colors`.
    """
    colors: Any = getattr(getattr(layer, "_face", None), "events", None)
    with layer.events.face_color.blocker():
        if alone and hasattr(colors, "blocker_all"):
            with colors.blocker_all():
                yield True
        else:
            yield False


# -- computing beside a window -------------------------------------------------------------------


def slow_spinners() -> None:
    """Slow down the signs of activity that napari shows, one in the status bar of each window.

    The canvas makes Qt (6) compose the whole window anew for whatever changes in it, however small.
    Where no graphics card draws, napari's 33 pictures a second take more of two cores than a
    training leaves. Can go when napari's sign of activity draws more rarely.
    """
    from napari.resources import LOADING_GIF_PATH
    from qtpy.QtWidgets import QApplication, QLabel

    for window in QApplication.topLevelWidgets():
        for label in window.findChildren(QLabel):
            movie = label.movie()
            if movie and movie.fileName() == LOADING_GIF_PATH:
                movie.setSpeed(SPINNER_SPEED)


def keep_triton_out(mapped: Path = Path("/proc/self/maps")) -> None:
    """Keep triton from being loaded into a process in which LLVM draws the canvas.

    Where Mesa draws (software, AMD, Intel), its LLVM is there by now. torch with CUDA loads triton,
    which brings another LLVM, and the two of them end the process with a segmentation fault.
    Nothing here needs triton; torch goes without it where it cannot be imported. Can go when triton
    hides the symbols of its LLVM.

    Parameters
    ----------
    mapped
        List of the libraries in this process, on Linux.
    """
    if "triton" in sys.modules:
        return
    try:
        drawn_by_llvm = "libLLVM" in mapped.read_text()
    except OSError:
        return
    if drawn_by_llvm:
        # An entry without a module is Python's way to say that a name cannot be imported.
        sys.modules["triton"] = None  # type: ignore[assignment]
