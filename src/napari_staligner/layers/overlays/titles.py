"""The names of the slices, written over them in the mosaic."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from napari.layers import Points
from napari.utils.theme import get_theme

from napari_staligner import _keys as K
from napari_staligner.core.result.access import spots_xy
from napari_staligner.layers.arrangement import footprint
from napari_staligner.layers.overlays.overlay import TissueOverlay

if TYPE_CHECKING:
    from collections.abc import Iterable

    from napari_staligner.session import Session

_NAME = "slice"
"""The feature of the points that holds the text."""


class TitlesOverlay(TissueOverlay):
    """The name of each slice at its upper left corner.

    A cell of the grid shows its own name; in the stack all names would overlap.
    """

    role = K.Role.TITLE
    order = 60
    spans = True

    def follows(self) -> Iterable[Any]:
        """The theme; a new layout or new slices arrange all layers anyway."""
        viewer = self.stage.viewer
        return () if viewer is None else (viewer.events.theme,)

    def wanted(self, session: Session) -> bool:
        """Whether there are slices side by side."""
        return session.view.layout == "mosaic" and len(session.slices) > 1

    def make(self, name: str) -> Points:
        """Make the layer."""
        layer = Points(
            np.zeros((0, 2)),
            name="slice names",
            features={_NAME: np.empty(0, dtype=object)},
            size=1e-3,
            face_color="transparent",
            border_width=0,
            text={"string": f"{{{_NAME}}}", "anchor": "upper_left", "size": 10},
        )
        layer.editable = False
        return layer

    def update(self, layer: Any, name: str) -> None:
        """Write the names where the slices are, in a colour of the theme."""
        corners = {
            name: footprint(spots_xy(self.session.slices[name]), roles).all[0]
            for name, roles in self.stage.live().items()
            if name in self.session.paging.shown
        }
        places = [self.stage.arrangement.world(n, xy[None])[0, 1:] for n, xy in corners.items()]
        if list(layer.features[_NAME]) != list(corners) or not np.array_equal(layer.data, places):
            layer.data = np.reshape(places, (-1, 2))
            layer.features = {_NAME: np.array(list(corners), dtype=object)}
        if self.stage.viewer is not None:
            layer.text.color = get_theme(self.stage.viewer.theme).text.as_hex()
