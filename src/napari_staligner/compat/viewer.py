"""The viewer, and where versions of napari keep its parts."""

from __future__ import annotations

import weakref
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    import napari
    from napari.layers import Layer

MISSING = (AttributeError, KeyError, TypeError)
"""What is raised where another version of napari keeps a part elsewhere."""


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
