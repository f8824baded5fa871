"""Keys of a dock that also work while the canvas has the focus."""

from __future__ import annotations

import weakref
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from napari_staligner import _keys as K
from napari_staligner.compat import unwrapped

if TYPE_CHECKING:
    import napari


class CanvasKeys:
    """Binds keys of a viewer and of the slices' layers, and restores them afterwards.

    napari asks the active layer before the viewer, and a digit would change that layer's mode.

    Parameters
    ----------
    viewer
        The viewer, held weakly.
    actions
        What each key does.
    """

    def __init__(self, viewer: napari.Viewer, actions: Mapping[str, Callable[[], object]]) -> None:
        viewer = unwrapped(viewer)
        self._viewer = weakref.ref(viewer)
        self._actions = dict(actions)
        self._before: list[tuple[weakref.ref[Any], dict[Any, Any]]] = []

    def bind(self) -> None:
        """Take the keys; a second call changes nothing."""
        viewer = self._viewer()
        if viewer is None or self._before:
            return
        self._take(viewer)
        for layer in viewer.layers:
            self._on_layer(layer)
        viewer.layers.events.inserted.connect(self._on_inserted)

    def release(self) -> None:
        """Restore the keys as they were before; safe to call twice."""
        viewer = self._viewer()
        if viewer is not None and self._before:
            viewer.layers.events.inserted.disconnect(self._on_inserted)
        while self._before:
            held, before = self._before.pop()
            provider = held()
            if provider is not None:
                provider.keymap.clear()
                provider.keymap.update(before)

    def _on_inserted(self, event: Any) -> None:
        self._on_layer(event.value)

    def _on_layer(self, layer: Any) -> None:
        if K.LAYER_ROLE in layer.metadata:
            self._take(layer)

    def _take(self, provider: Any) -> None:
        self._before.append((weakref.ref(provider), dict(provider.keymap)))
        for key, action in self._actions.items():
            provider.bind_key(key, _bound(action), overwrite=True)


def _bound(action: Callable[[], object]) -> Callable[[Any], None]:
    def act(_: Any) -> None:
        action()

    return act
