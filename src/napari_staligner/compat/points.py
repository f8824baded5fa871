"""How vispy draws and colours the points of napari's layers."""

from __future__ import annotations

import logging
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_staligner.compat.viewer import MISSING

if TYPE_CHECKING:
    from collections.abc import Iterator

    import napari
    from napari.layers import Points
    from numpy.typing import NDArray

_log = logging.getLogger(__name__)

# vispy's shader computes the shapes of all its symbols at every pixel, and then uses one of them.
_DISC = """
float disc(vec2 pointcoord, float size, int symbol) {
    return length((pointcoord - vec2(0.5, 0.5)) * size) - $v_size / 2.;
}
"""
# Corners around the middle of a spot of diameter 1: a square, and the smallest triangle.
_SQUARE = np.array([[-0.5, -0.5], [0.5, -0.5], [-0.5, 0.5], [0.5, 0.5]], dtype=np.float32)
_TRIANGLE = np.array([[0, 1], [-(0.75**0.5), -0.5], [0.75**0.5, -0.5]], dtype=np.float32)


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


def markers_of(viewer: napari.Viewer | None, layer: Points) -> Any:
    """The vispy visual that draws the points of a layer; ``None`` if napari stores it elsewhere.

    napari (0.9) has no public access to it. Without it the functions below do nothing, and napari
    draws and colours the points. Can go when napari itself draws points faster.
    """
    try:
        canvas = viewer.window._qt_viewer.canvas  # type: ignore[union-attr]
        markers = canvas.layer_to_visual[layer].node.points_markers
        return markers if markers._method == "instanced" else None
    except MISSING:
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
    except MISSING as error:
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
