"""The session of a viewer and the layers that show it."""

from __future__ import annotations

from typing import TYPE_CHECKING
from weakref import WeakKeyDictionary

from napari_staligner.compat import unwrapped
from napari_staligner.layers.colors import Legend, Painting, paint
from napari_staligner.layers.tissue import Tissue
from napari_staligner.layers.tools.pick import describe
from napari_staligner.session import Session
from napari_staligner.threads import share_cores

if TYPE_CHECKING:
    import napari

    from napari_staligner.layers.layer_data import LayerData

__all__ = [
    "Legend",
    "Painting",
    "describe",
    "legend",
    "open_session",
    "painting",
    "sample_olfactory_bulb",
]

# Whatever napari opens of the plugin comes by here, before it loads what has threads.
share_cores()

_open: WeakKeyDictionary[napari.Viewer, tuple[Session, Tissue]] = WeakKeyDictionary()


def open_session(viewer: napari.Viewer) -> Session:
    """Return the session of a viewer, made on the first call.

    With it comes the keeper of the viewer's layers: slices that are in the viewer already, or
    are opened later, belong to the session. Both end with the viewer.
    """
    viewer = unwrapped(viewer)
    if viewer not in _open:
        session = Session()
        _open[viewer] = session, Tissue(viewer, session)
    return _open[viewer][0]


def painting(session: Session) -> Painting:
    """Return the present colours of all spots, which are not to be written to.

    Its viewer's layers have them already, where the session has a viewer.
    """
    shown = (tissue.painting for known, tissue in _open.values() if known is session)
    return next(shown, None) or paint(session)


def legend(session: Session) -> Legend:
    """Return what the present colours of the spots mean."""
    return painting(session).legend


def sample_olfactory_bulb() -> list[LayerData]:
    """Layer data of the simulated olfactory bulb, for File ▸ Open Sample."""
    from napari_staligner.layers.layer_data import slice_layers
    from napari_staligner.samples import sample_slices

    return slice_layers(sample_slices())
