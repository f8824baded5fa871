"""Slices and results that come into the viewer as layers, from a file or a sample."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from napari_staligner import _keys as K
from napari_staligner.layers.layer_data import IMAGE_NAME

if TYPE_CHECKING:
    from collections.abc import Iterable

    from anndata import AnnData
    from napari.layers import Layer

    from napari_staligner.session import Session


class Adoption:
    """Takes slices that layers carry into the session, and knows their layers.

    Parameters
    ----------
    session
        The session that gets the slices.
    """

    def __init__(self, session: Session) -> None:
        self._session = session
        # Names in the session of the slices of a result, by their names in the result.
        self._partial: dict[int, dict[str, str]] = {}

    def take(self, layers: Iterable[Layer]) -> None:
        """Take the slices of spots layers that carry one which the session lacks."""
        for layer in list(layers):
            adata = layer.metadata.get(K.LAYER_ADATA)
            if layer.metadata.get(K.LAYER_ROLE) != "spots" or adata is None:
                continue
            if any(adata is known for known in self._session.slices.values()):
                # A duplicate of a layer we know: an ordinary layer, and the user's.
                layer.metadata.pop(K.LAYER_ROLE)
                continue
            self._take_slice(layer, adata)

    def _take_slice(self, layer: Layer, adata: AnnData) -> None:
        old = str(layer.metadata[K.LAYER_SLICE])
        (name,) = self._session.add([(old, adata)])
        result = layer.metadata.pop(K.LAYER_RESULT, None)
        path = layer.metadata.pop(K.LAYER_PATH, None)
        view = layer.metadata.pop(K.LAYER_VIEW, "")
        if result is None:
            if view:
                self._session.restore_view(view)
            return
        names = self._partial.setdefault(id(result), {})
        names[old] = name
        if set(names) == set(map(str, result.obs[K.SLICE].cat.categories)):
            del self._partial[id(result)]
            _rename_slices(result, names)
            self._session.set_result(result, saved=True, path=path)
            if view:
                self._session.restore_view(view)

    def layers_of(self, name: str, layers: Iterable[Layer]) -> dict[str, Layer]:
        """Find the layers that show a slice already, by role, and call them by its name.

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
        found = {"spots": spots[0]}
        old = spots[0].metadata[K.LAYER_SLICE]
        images = [x for x in layers if _shows(x, "image", old)]
        if images:
            found["image"] = images[0]
        for role, layer in found.items():
            layer.metadata[K.LAYER_SLICE] = name
            layer.name = IMAGE_NAME.format(name) if role == "image" else name
        return found


def _shows(layer: Layer, role: str, name: str) -> bool:
    return layer.metadata.get(K.LAYER_ROLE) == role and layer.metadata.get(K.LAYER_SLICE) == name


def _rename_slices(result: AnnData, names: dict[str, str]) -> None:
    """Call the slices of a result by the names that they got in the session."""
    if all(old == new for old, new in names.items()):
        return
    result.obs[K.SLICE] = result.obs[K.SLICE].cat.rename_categories(names)
    recorded = result.uns.get(K.STALIGNER, {})
    for of in (recorded.get("transforms"), result.uns.get(K.SPATIAL)):
        if of is not None:
            renamed = {names.get(key, key): value for key, value in of.items()}
            of.clear()
            of.update(renamed)
    drawn = recorded.get("annotations", {}).get("shapes", {})
    for of, key in ((recorded, "slices"), (recorded, "pairs"), (drawn, "slice")):
        if key in of:
            old = np.asarray(of[key], dtype=object)
            new = [names.get(str(name), str(name)) for name in old.ravel()]
            of[key] = np.array(new, dtype=object).reshape(old.shape)
