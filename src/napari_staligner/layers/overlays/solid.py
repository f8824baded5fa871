"""The spots in 3-D."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from napari.layers import Points

from napari_staligner import _keys as K
from napari_staligner.core.result.access import spots_xy
from napari_staligner.layers.arrangement import is_solid
from napari_staligner.layers.overlays.overlay import TissueOverlay

if TYPE_CHECKING:
    from collections.abc import Iterable

    from napari_staligner.session import Session


class SolidOverlay(TissueOverlay):
    """A copy of the spots of each slice, with a height: napari cannot lift a flat layer."""

    role = K.Role.SOLID
    order = 0

    def follows(self) -> Iterable[Any]:
        """Colours, sizes and opacities of the spots; a new layout arranges all layers anyway."""
        view = self.session.view
        return self.stage.painted, view.events.spot_scale, view.events.stack

    def wanted(self, session: Session) -> bool:
        """Whether the slices are shown in 3-D."""
        return is_solid(session)

    def make(self, name: str) -> Points:
        """Make the layer for a slice."""
        xy = spots_xy(self.session.slices[name])
        layer = Points(
            np.column_stack([np.zeros(len(xy)), xy[:, ::-1]]),
            name=f"{name} in 3-D",
            size=self.stage.spot_size(name),
            border_width=0,
        )
        layer.editable = False
        return layer

    def update(self, layer: Any, name: str) -> None:
        """Give the spots of a slice their colours, size and opacity."""
        size = self.stage.spot_size(name)
        if not np.all(layer.size == size):
            layer.size = size
        # In 3-D the slices lie apart, so they are opaque unless the user sets an opacity.
        opacity = self.session.view.stack.opacities.get(name, 1.0)
        if layer.opacity != opacity:
            layer.opacity = opacity
        rgba = self.stage.painting.rgba.get(name)
        if rgba is not None and not np.array_equal(layer.face_color, rgba):
            self.stage.recolor(layer, name)

    def seen(self, name: str) -> bool:
        """In 3-D all slices are visible."""
        return True
