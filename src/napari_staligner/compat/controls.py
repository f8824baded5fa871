"""The controls of layers in napari's window, made when they are to be seen."""

from __future__ import annotations

import weakref
from contextlib import suppress
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

from napari_staligner.compat.drawing import drawn_later
from napari_staligner.compat.turns import in_turn
from napari_staligner.compat.viewer import MISSING

if TYPE_CHECKING:
    import napari
    from napari.layers import Layer


def controls_when_needed(viewer: napari.Viewer) -> None:
    """Let napari make the controls of a layer when they are to be seen, after the window has lived.

    napari (0.9) makes them with the layer, 25 to 50 ms each: for twelve slices with their images
    those of 24 layers, of which people look at one. Can go when napari makes them when they are
    seen.

    Parameters
    ----------
    viewer
        The viewer.
    """
    try:
        container = viewer.window._qt_viewer.controls
        add, remove, populate = container._add, container._remove, container._populate
        known = container.widgets
    except MISSING:  # no window, or another version of napari
        return
    if isinstance(known, _Controls):
        return
    container.widgets = _Controls(container, known)
    held: weakref.ref[Any] = weakref.ref(container)
    window = weakref.ref(viewer)
    due = False

    def remove_made(event: Any) -> None:
        made = held()
        if made is not None and event.value in made.widgets:
            made._remove(event)

    def show_soon() -> None:
        nonlocal due
        made, viewer = held(), window()
        if made is None or viewer is None:
            return
        with suppress(RuntimeError):  # the window was closed
            if made.currentWidget() is made.empty_widget:
                # At once: the first ones make room for themselves beside the canvas. Not drawn at
                # once, as Qt would do.
                drawn_later(viewer)
                made._populate()
            elif not due:
                due = True
                in_turn(show)

    def show() -> None:
        nonlocal due
        due, made = False, held()
        if made is not None:
            with suppress(RuntimeError):
                made._populate()

    events, selected = viewer.layers.events, viewer.layers.selection.events.changed
    events.inserted.disconnect(add)
    events.removed.disconnect(remove)
    selected.disconnect(populate)
    events.removed.connect(remove_made)
    selected.connect(show_soon)


class _Controls(dict["Layer", Any]):
    """Controls by layer, made when they are asked for.

    Parameters
    ----------
    container
        napari's container of them, held weakly.
    made
        Those that there are.
    """

    def __init__(self, container: Any, made: dict[Layer, Any]) -> None:
        super().__init__(made)
        self._container = weakref.ref(container)

    def __missing__(self, layer: Layer) -> Any:
        container: Any = self._container()
        container._add(SimpleNamespace(value=layer))
        return self.get(layer)  # none where a setting of napari's makes them for a selection
