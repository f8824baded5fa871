"""Spots drawn faster: as plain discs of one triangle each, with new colours sent on their own.

If a version of napari or vispy works differently, spots are drawn and coloured by napari as usual.
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
    """Draws and colours layers of many spots faster.

    Parameters
    ----------
    viewer
        The viewer, held weakly.
    """

    def __init__(self, viewer: napari.Viewer) -> None:
        self._viewer = weakref.ref(viewer)

    def set_fast(self, layer: Points, fast: bool) -> None:
        """Switch fast drawing of a layer on or off: discs of one triangle, without smoothed edges.

        Other symbols, and discs with a border or light, are drawn by napari as usual.
        """
        layer.antialiasing = 0 if fast else 1
        markers = markers_of(self._viewer(), layer)
        if markers is None:
            return
        for changed in (layer.events.symbol, layer.events.border_width, layer.events.shading):
            changed.disconnect(self._on_look_changed)
            if fast:
                changed.connect(self._on_look_changed)
        draw_discs(markers, simple=fast and _are_plain(layer))

    def recolor(self, layer: Points, rgba: NDArray[np.float32]) -> None:
        """Give the spots of a layer new colours, shape (spots, 4)."""
        markers = markers_of(self._viewer(), layer)
        with colors_unsent(layer, alone=markers is not None) as alone:
            layer.face_color = rgba
        if alone and not send_colors(markers, layer, rgba):
            layer.events.face_color()

    def _on_look_changed(self, event: Any) -> None:
        markers = markers_of(self._viewer(), event.source)
        if markers is not None:
            draw_discs(markers, simple=_are_plain(event.source))


def _are_plain(layer: Points) -> bool:
    """Whether points are discs without a border or light."""
    discs = (np.asarray(layer.symbol) == "disc").all()
    return bool(discs and not np.any(layer.border_width) and layer.shading == "none")
