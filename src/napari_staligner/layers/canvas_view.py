"""How the canvas looks: reported to the session, and restored from it."""

from __future__ import annotations

import weakref
from typing import TYPE_CHECKING

from qtpy.QtCore import QTimer

from napari_staligner import _keys as K
from napari_staligner.compat import camera_of
from napari_staligner.layers.layer_data import CHANNEL_NAME
from napari_staligner.session import CanvasView, Look

if TYPE_CHECKING:
    from collections.abc import Mapping

    import napari
    from napari.layers import Layer

    from napari_staligner.layers.arrangement import Arrangement
    from napari_staligner.session import Session


class Canvas:
    """Camera, and which images and spots the user shows.

    Parameters
    ----------
    viewer
        The viewer, held weakly.
    session
        Its session.
    layers
        Layers of each slice by role; this mapping is kept up to date.
    arrangement
        Knows how layers looked before the stack changed them, and the unit of the world: what is
        kept of the camera is in units of the slices.
    """

    def __init__(
        self,
        viewer: napari.Viewer,
        session: Session,
        layers: Mapping[str, Mapping[str, Layer]],
        arrangement: Arrangement,
    ) -> None:
        self._viewer = weakref.ref(viewer)
        self._session, self._layers, self._arrangement = session, layers, arrangement
        self._stacking = arrangement.stacking
        session.canvas_asked.connect(self._on_asked)
        session.canvas_wanted.connect(self._on_wanted)

    def _on_asked(self) -> None:
        viewer = self._viewer()
        if viewer is None:
            return
        camera = camera_of(viewer)
        self._session.see_canvas(
            CanvasView(
                tuple(float(at) / self._arrangement.unit for at in camera.center),
                float(camera.zoom) * self._arrangement.unit,
                tuple(map(float, camera.angles)),
                self._looks(K.Role.IMAGE),
                self._looks(K.Role.SPOTS),
            )
        )

    def _looks(self, kind: str) -> dict[str, Look]:
        return {
            key: Look(*self._stacking.look(layer)) for key, layer in self._of_kind(kind).items()
        }

    def _of_kind(self, kind: str) -> dict[str, Layer]:
        """Layers by the name of their slice; further channels by their own."""
        return {
            name if role == kind else CHANNEL_NAME.format(name, role): layer
            for name, roles in self._layers.items()
            for role, layer in roles.items()
            if role.split()[0] == kind
        }

    def _on_wanted(self) -> None:
        # Not now: napari fits the view after it has added the layers of a file.
        QTimer.singleShot(0, self._show)

    def _show(self) -> None:
        viewer, wanted = self._viewer(), self._session.view.canvas
        if viewer is None or wanted is None:
            return
        for role, looks in ((K.Role.IMAGE, wanted.images), (K.Role.SPOTS, wanted.spots)):
            layers = self._of_kind(role)
            for key in looks.keys() & layers.keys():
                self._stacking.set_look(layers[key], looks[key].visible, looks[key].opacity)
        camera = camera_of(viewer)
        unit = self._arrangement.unit
        camera.center = tuple(at * unit for at in wanted.center)
        camera.zoom, camera.angles = wanted.zoom / unit, wanted.angles
