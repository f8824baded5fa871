"""Layers of a viewer that change at once, and what they need not do then."""

from __future__ import annotations

import copy
import sys
from contextlib import ExitStack, contextmanager
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_staligner.compat.garbage import only_new_garbage
from napari_staligner.compat.scene import when_built

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    import napari
    from napari.layers import Layer, Vectors

_MOST_LINES = 50


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
    """Move, show and hide several layers of a viewer as quickly as one.

    napari (0.9) works out the range of all layers after each change of the place of each: for 24
    layers that is a third of the time. And each change of a layer makes it find what it shows and
    send it to the graphics card, some 8 ms for 4,000 points, though in two dimensions that is the
    same wherever it lies. Inside :func:`~napari_staligner.compat.scene.scene_built_once` the layers
    are sent when the scene is built. Can go when napari does both once, and only where needed.

    Parameters
    ----------
    viewer
        The viewer.
    layers
        Those that change. Nothing inside may change their data.
    """
    layers = list(layers)
    ranged = getattr(viewer, "_on_layers_change", None)
    if ranged is None or not all(hasattr(layer, "_block_refresh") for layer in layers):
        yield
        return
    before = [(x.visible, np.array(x.scale), np.array(x.affine.affine_matrix)) for x in layers]
    with ExitStack() as blocked:
        for layer in layers:
            blocked.enter_context(layer._block_refresh())
            for moved in (layer.events.scale, layer.events.units, layer.events.affine):
                blocked.enter_context(moved.blocker(ranged))
        yield
    for layer, (visible, scale, affine) in zip(layers, before, strict=True):
        # The size of points is sent with their data.
        other = not np.array_equal(layer.scale, scale)
        if layer.ndim > 2:
            other |= not np.array_equal(layer.affine.affine_matrix, affine)
        if layer.visible and (other or not visible):
            when_built(viewer, partial(layer.refresh, extent=False))
    if len(viewer.layers):
        ranged()


def simple_thumbnail(layer: Vectors) -> None:
    """Let the small picture of a layer of lines show some of them only.

    napari (0.9) draws up to 1,024 into it, one after the other, whenever they change: 60 ms. Can go
    when it draws them at once.
    """
    if hasattr(layer, "_max_vectors_thumbnail"):
        layer._max_vectors_thumbnail = _MOST_LINES


def sliced_when_needed(layer: Layer) -> None:
    """Let a layer find what it shows only where that is another part of it.

    napari (0.9) lets all layers do so whenever the point of the viewer changes, in the dimensions
    that are displayed, too. Those follow the range of all layers: with each layer that is added,
    all others would be sent to the graphics card again, 8 ms for 4,000 points. Can go when napari
    compares what is not displayed.
    """
    try:
        state: Any = layer._slicing_state
        take, _ = state.set_slice_input, state._slice_input
    except AttributeError:  # another version of napari
        return

    def take_if_other(wanted: Any, force: bool) -> bool:
        known = state._slice_input
        same = known.ndisplay == wanted.ndisplay and tuple(known.order) == tuple(wanted.order)
        if force or not same or wanted.not_displayed:
            return bool(take(wanted, force))
        state._slice_input = copy.deepcopy(wanted)
        return False

    state.set_slice_input = take_if_other


def marked_when_needed(layer: Layer) -> None:
    """Let a layer of points draw the marks of what is selected only where something is.

    napari (0.9) does so after each change of the zoom, and each time that the mouse comes to
    another point, so that the canvas is drawn once more. Can go when napari draws them only where
    there are some, or were.
    """
    needed = ("_set_highlight", "_highlight_index", "_drag_box", "_drag_box_stored")
    if not all(hasattr(layer, name) for name in needed):  # no points, or another version of napari
        return
    points: Any = layer
    usual = points._set_highlight

    def mark_if_any(force: bool = False) -> None:
        selecting = str(points.mode) == "select" or len(points.selected_data)
        shown = len(points._highlight_index) or points._drag_box_stored is not None
        if selecting or shown or points._drag_box is not None:
            usual(force)

    points._set_highlight = mark_if_any
