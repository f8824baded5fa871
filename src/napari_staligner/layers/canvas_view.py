"""How the canvas looks: reported to the session, and restored from it."""

from __future__ import annotations

import weakref
from typing import TYPE_CHECKING

from qtpy.QtCore import QTimer

from napari_staligner import _keys as K
from napari_staligner.compat import camera_of
from napari_staligner.session import CanvasView, Look

if TYPE_CHECKING:
    from collections.abc import Mapping

    import napari
    from napari.layers import Layer

    from napari_staligner.layers.stacking import Stacking
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
    stacking
        Knows how layers looked before the stack changed them.
    """

    def __init__(
        self,
        viewer: napari.Viewer,
        session: Session,
        layers: Mapping[str, Mapping[str, Layer]],
        stacking: Stacking,
    ) -> None:
        self._viewer = weakref.ref(viewer)
        self._session, self._layers, self._stacking = session, layers, stacking
        session.canvas_asked.connect(self._on_asked)
        session.canvas_wanted.connect(self._on_wanted)

    def _on_asked(self) -> None:
        viewer = self._viewer()
        if viewer is None:
            return
        camera = camera_of(viewer)
        self._session.see_canvas(
            CanvasView(
                tuple(map(float, camera.center)),
                float(camera.zoom),
                tuple(map(float, camera.angles)),
                self._looks(K.Role.IMAGE),
                self._looks(K.Role.SPOTS),
            )
        )

    def _looks(self, role: str) -> dict[str, Look]:
        layers = {name: roles[role] for name, roles in self._layers.items() if role in roles}
        return {name: Look(*self._stacking.look(layer)) for name, layer in layers.items()}

    def _on_wanted(self) -> None:
        # Not now: napari fits the view after it has added the layers of a file.
        QTimer.singleShot(0, self._show)

    def _show(self) -> None:
        viewer, wanted = self._viewer(), self._session.view.canvas
        if viewer is None or wanted is None:
            return
        for role, looks in ((K.Role.IMAGE, wanted.images), (K.Role.SPOTS, wanted.spots)):
            for name, look in looks.items():
                layer = self._layers.get(name, {}).get(role)
                if layer is not None:
                    self._stacking.set_look(layer, look.visible, look.opacity)
        camera = camera_of(viewer)
        camera.center, camera.zoom, camera.angles = wanted.center, wanted.zoom, wanted.angles
