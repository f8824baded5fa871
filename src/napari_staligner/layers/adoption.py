"""Slices and results that come into the viewer as layers, from a file or a sample."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from napari_staligner import _keys as K
from napari_staligner.layers.layer_data import CHANNEL_NAME, IMAGE_NAME, image_roles

if TYPE_CHECKING:
    from collections.abc import Iterable

    from napari.layers import Layer

    from napari_staligner.session import Session


class Adoption:
    """Adds the slices that layers carry to the session, and knows their layers.

    Parameters
    ----------
    session
        The session that gets the slices.
    """

    def __init__(self, session: Session) -> None:
        self._session = session

    def take_all(self, layers: Iterable[Layer]) -> None:
        """Open the slices and results that the layers of a viewer carry."""
        spots = [layer for layer in layers if _is_spots(layer)]
        for layer in spots:
            self._open(layer, spots)
        # For these, the layer that carried the content of their file was deleted.
        loose = [layer for layer in spots if not self._knows(layer)]
        self._session.add((x.metadata[K.LAYER_SLICE], x.metadata[K.LAYER_ADATA]) for x in loose)

    def take(self, layer: Layer, layers: Iterable[Layer]) -> None:
        """Open what a newly added layer carries.

        Parameters
        ----------
        layer
            The new layer. If a file has several slices, the last layer carries them all.
        layers
            All layers of the viewer.
        """
        if not _is_spots(layer):
            return
        if self._knows(layer):
            # A duplicate of a layer we know is an ordinary layer of the user's.
            layer.metadata.pop(K.LAYER_ROLE)
            return
        self._open(layer, layers)

    def _open(self, layer: Layer, layers: Iterable[Layer]) -> None:
        content = layer.metadata.pop(K.LAYER_CONTENT, None)
        if content is None or self._knows(layer):
            return
        if content.result is None:
            # Leave out slices whose layers were deleted in the meantime.
            there = {id(x.metadata[K.LAYER_ADATA]) for x in layers if _is_spots(x)}
            slices = [(name, adata) for name, adata in content.slices if id(adata) in there]
            content = replace(content, slices=slices)
        self._session.open(content, beside=True)

    def _knows(self, layer: Layer) -> bool:
        """Whether the slice of a layer is in the session."""
        adata = layer.metadata[K.LAYER_ADATA]
        return any(adata is known for known in self._session.slices.values())

    def layers_of(self, name: str, layers: Iterable[Layer]) -> dict[str, Layer]:
        """Find the layers that already show a slice, by role, and give them its name.

        Parameters
        ----------
        name
            Name of the slice in the session.
        layers
            Layers that show no slice of the session yet.
        """
        layers, adata = list(layers), self._session.slices[name]
        spots = [x for x in layers if x.metadata.get(K.LAYER_ADATA) is adata]
        if not spots:
            return {}
        found: dict[str, Layer] = {K.Role.SPOTS: spots[0]}
        old = spots[0].metadata[K.LAYER_SLICE]
        for layer in layers:
            role = str(layer.metadata.get(K.LAYER_ROLE, ""))
            if role and image_roles([role]) and layer.metadata.get(K.LAYER_SLICE) == old:
                found.setdefault(role, layer)
        for role, layer in found.items():
            layer.metadata[K.LAYER_SLICE] = name
            layer.name = name if role == K.Role.SPOTS else _image_name(name, layer)
        return found


def _image_name(name: str, layer: Layer) -> str:
    channel = layer.metadata.get(K.LAYER_CHANNEL)
    return IMAGE_NAME.format(name) if channel is None else CHANNEL_NAME.format(name, channel)


def _is_spots(layer: Layer) -> bool:
    """Whether a layer shows spots and carries their slice."""
    is_spots = layer.metadata.get(K.LAYER_ROLE) == K.Role.SPOTS
    return is_spots and K.LAYER_ADATA in layer.metadata
