"""The session of a viewer and the layers that show it."""

from __future__ import annotations

from typing import TYPE_CHECKING
from weakref import WeakKeyDictionary

from napari_staligner.layers.colors import Legend, legend
from napari_staligner.layers.tissue import Tissue
from napari_staligner.session import Session

if TYPE_CHECKING:
    import napari

    from napari_staligner.io.layer_data import LayerData

__all__ = ["Legend", "legend", "open_session", "sample_olfactory_bulb"]

_open: WeakKeyDictionary[napari.Viewer, tuple[Session, Tissue]] = WeakKeyDictionary()


def open_session(viewer: napari.Viewer) -> Session:
    """Return the session of a viewer, made on the first call.

    With it comes the keeper of the viewer's layers: slices that are in the viewer already, or
    are opened later, belong to the session. Both end with the viewer.
    """
    # napari hands docks a proxy of the viewer, a new one to each.
    viewer = getattr(viewer, "__wrapped__", viewer)
    if viewer not in _open:
        session = Session()
        _open[viewer] = session, Tissue(viewer, session)
    return _open[viewer][0]


def sample_olfactory_bulb() -> list[LayerData]:
    """Layer data of the simulated olfactory bulb, for File ▸ Open Sample."""
    from napari_staligner.io.layer_data import slice_layers
    from napari_staligner.samples import SLICE_NAMES, simulated_olfactory_bulb

    return slice_layers(list(zip(SLICE_NAMES, simulated_olfactory_bulb(), strict=True)))
