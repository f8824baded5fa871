"""Spots drawn at less cost: as discs only, of one triangle each, and new colours sent alone.

Without a GPU, drawing 200,000 spots as napari does takes longer than a person wants to wait. What
is used here of napari and vispy is theirs: where a version has it otherwise, spots are drawn and
coloured as napari does it.
"""

from __future__ import annotations

import logging
import weakref
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Iterator

    import napari
    from napari.layers import Points
    from numpy.typing import NDArray

_log = logging.getLogger(__name__)

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


class LeanSpots:
    """Draws and colours layers of many spots at less cost.

    Parameters
    ----------
    viewer
        The viewer, held weakly.
    """

    def __init__(self, viewer: napari.Viewer) -> None:
        self._viewer = weakref.ref(viewer)

    def set_lean(self, layer: Points, lean: bool) -> None:
        """Draw the spots of a layer without smoothed edges, as discs of one triangle, or not so.

        Another symbol than the disc is drawn as napari does it.
        """
        layer.antialiasing = 0 if lean else 1
        markers = self._markers(layer)
        if markers is None:
            return
        layer.events.symbol.disconnect(self._on_symbol_changed)
        if lean:
            layer.events.symbol.connect(self._on_symbol_changed)
        _simplify(markers, lean and _are_discs(layer))

    def recolor(self, layer: Points, rgba: NDArray[np.float32]) -> None:
        """Give the spots of a layer other colours, shape (spots, 4)."""
        markers = self._markers(layer)
        with _unanswered(layer, alone=markers is not None) as alone:
            layer.face_color = rgba
        if alone and not _send(markers, layer, rgba):
            layer.events.face_color()

    def _on_symbol_changed(self, event: Any) -> None:
        markers = self._markers(event.source)
        if markers is not None:
            _simplify(markers, _are_discs(event.source))

    def _markers(self, layer: Points) -> Any:
        """What vispy draws the spots of a layer with; ``None`` where napari keeps it elsewhere."""
        viewer = self._viewer()
        try:
            canvas = viewer.window._qt_viewer.canvas  # type: ignore[union-attr]
            markers = canvas.layer_to_visual[layer].node.points_markers
            return markers if markers._method == "instanced" else None
        except _MISSING:
            return None


def _are_discs(layer: Points) -> bool:
    return bool((np.asarray(layer.symbol) == "disc").all())


def _simplify(markers: Any, simple: bool) -> None:
    from vispy.visuals.shaders import Function

    try:
        whole = markers._symbol_func
        disc = Function(_DISC)
        disc["v_size"] = markers._v_size_var
        corners = markers._quad_vbo
    except _MISSING as error:
        _log.info("Spots are drawn as napari does it: %s", error)
        return
    markers.shared_program.frag["marker"] = disc if simple else whole
    corners.set_data(_TRIANGLE if simple else _SQUARE)
    markers.update()


@contextmanager
def _unanswered(layer: Points, *, alone: bool) -> Iterator[bool]:
    """Keep a layer from sending all of its spots to the GPU; yields whether that will be.

    Drawing answers both the layer's signal and that of its colours, and sends positions, sizes and
    symbols with them each time. Where the colours are not sent alone, once is enough.
    """
    colors: Any = getattr(getattr(layer, "_face", None), "events", None)
    with layer.events.face_color.blocker():
        if alone and hasattr(colors, "blocker_all"):
            with colors.blocker_all():
                yield True
        else:
            yield False


def _send(markers: Any, layer: Points, rgba: NDArray[np.float32]) -> bool:
    """Send colours alone; whether that could be done."""
    from vispy.gloo import VertexBuffer

    shown = np.asarray(layer.shown)
    colors = rgba if shown.all() else rgba[shown]
    drawn = getattr(markers, "_data", None)
    if drawn is None or len(drawn) != len(colors) or len(colors) == 0:
        return False
    buffer = VertexBuffer(np.ascontiguousarray(colors, dtype=np.float32))
    buffer.divisor = 1  # one for each spot, not for each corner
    markers.shared_program["a_bg_color"] = buffer
    markers.update()
    return True
