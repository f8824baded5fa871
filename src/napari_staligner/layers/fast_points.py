"""Spots drawn at less cost: as discs only, of one triangle each, and new colours sent alone.

Where a version of napari or vispy has it otherwise, spots are drawn and coloured as napari does it.
"""

from __future__ import annotations

import weakref
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_staligner.compat import colors_unsent, draw_discs, markers_of, send_colors

if TYPE_CHECKING:
    import napari
    from napari.layers import Points
    from numpy.typing import NDArray


class FastSpots:
    """Draws and colours layers of many spots at less cost.

    Parameters
    ----------
    viewer
        The viewer, held weakly.
    """

    def __init__(self, viewer: napari.Viewer) -> None:
        self._viewer = weakref.ref(viewer)

    def set_fast(self, layer: Points, fast: bool) -> None:
        """Draw the spots of a layer without smoothed edges, as discs of one triangle, or not so.

        Another symbol than the disc is drawn as napari does it.
        """
        layer.antialiasing = 0 if fast else 1
        markers = markers_of(self._viewer(), layer)
        if markers is None:
            return
        layer.events.symbol.disconnect(self._on_symbol_changed)
        if fast:
            layer.events.symbol.connect(self._on_symbol_changed)
        draw_discs(markers, simple=fast and _are_discs(layer))

    def recolor(self, layer: Points, rgba: NDArray[np.float32]) -> None:
        """Give the spots of a layer other colours, shape (spots, 4)."""
        markers = markers_of(self._viewer(), layer)
        with colors_unsent(layer, alone=markers is not None) as alone:
            layer.face_color = rgba
        if alone and not send_colors(markers, layer, rgba):
            layer.events.face_color()

    def _on_symbol_changed(self, event: Any) -> None:
        markers = markers_of(self._viewer(), event.source)
        if markers is not None:
            draw_discs(markers, simple=_are_discs(event.source))


def _are_discs(layer: Points) -> bool:
    return bool((np.asarray(layer.symbol) == "disc").all())
