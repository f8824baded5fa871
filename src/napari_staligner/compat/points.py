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

_DISC = """
float disc(vec2 pointcoord, float size, int symbol) {
    return length((pointcoord - vec2(0.5, 0.5)) * size) - $v_size / 2.;
}
"""
# What is left of vispy's shaders for discs without border, light, or smoothed edges.
_VERTEX = """
uniform float u_canvas_size_min;
uniform float u_canvas_size_max;
attribute vec3 a_position;
attribute vec4 a_bg_color;
attribute float a_size;
varying vec4 v_color;

void main() {
    v_color = a_bg_color;
    $setup_texcoord();
    vec4 middle = $visual_to_framebuffer(vec4(a_position, 1));
    // Along the canvas, whatever the layer's transform does.
    vec4 from = $framebuffer_to_scene_or_visual(middle);
    vec4 along = $framebuffer_to_scene_or_visual(middle + vec4(1e10, 0, 0, 0)) - from;
    vec4 edge = $scene_or_visual_to_framebuffer(from + normalize(along) * a_size);
    float size = edge.x / edge.w - middle.x / middle.w;
    if (u_canvas_size_min >= 0.) size = max(size, u_canvas_size_min);
    if (u_canvas_size_max >= 0.) size = min(size, u_canvas_size_max);
    $v_size = size;
    gl_Position = $framebuffer_to_render($apply_offset(middle, size));
}
"""
_FRAGMENT = """
varying vec4 v_color;

// vispy sets it.
$lighting_functions

void main() {
    if ($marker($pointcoord, $v_size, 0) > 0.) discard;
    gl_FragColor = v_color;
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

    vispy (0.14 to 0.17) draws each point as two triangles, computes the shapes of all its symbols
    at every pixel, and its border, light and smoothed edges where there are none. Without a GPU,
    200,000 spots take longer to draw than a person wants to wait. If a version of vispy stores
    these things elsewhere, nothing changes. Can go when vispy compiles one shader for each symbol.

    Parameters
    ----------
    markers
        From :func:`markers_of`.
    simple
        Whether to draw discs of one triangle, without border, light, or smoothed edges.
    """
    from vispy.visuals.shaders import Function

    try:
        program, corners, whole = markers.shared_program, markers._quad_vbo, markers._symbol_func
        disc = Function(_DISC)
        disc["v_size"] = markers._v_size_var
        usual = markers._shaders["vertex"], markers._shaders["fragment"]
        vertex, fragment = (_VERTEX, _FRAGMENT) if simple else usual
        if program._vcode == vertex:
            return
        # What vispy has put into the shaders, as transforms and filters, stays there.
        program.vert, program.frag = vertex, fragment
        program.frag["marker"] = disc if simple else whole
        for key, value in dict(program._set_items).items():
            # What the shaders before did not have was dropped.
            program[key] = value
    except MISSING as error:
        _log.info("Points are drawn by napari as usual: %s", error)
        return
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
