"""Spots that the run left out, because people excluded them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from napari.layers import Points

from napari_staligner import _keys as K
from napari_staligner.core.result.access import spots_xy
from napari_staligner.layers.overlays.overlay import TissueOverlay

if TYPE_CHECKING:
    from collections.abc import Iterable

    from napari_staligner.session import Session

LEFT_OUT, TAKEN_BACK = (0.55, 0.55, 0.55, 0.9), (1.0, 1.0, 1.0, 0.9)


class ExcludedOverlay(TissueOverlay):
    """Grey crosses where spots were left out; white ones where the next run uses them again."""

    role = K.Role.EXCLUDED
    order = 5

    def follows(self) -> Iterable[Any]:
        """The result, and what was taken back."""
        return (
            self.session.result.changed,
            self.session.exclusions.changed,
            self.session.view.events.spot_scale,
        )

    def wanted(self, session: Session) -> bool:
        """Whether any spot was left out."""
        return bool(session.exclusions.left_out)

    def make(self, name: str) -> Points:
        """Make the layer for a slice."""
        layer = Points(np.zeros((0, 2)), name=f"{name} excluded", symbol="x", border_width=0)
        layer.editable = False
        return layer

    def update(self, layer: Any, name: str) -> None:
        """Draw the spots of a slice that were left out."""
        aside = self.session.exclusions.left_out.get(name)
        layer.data = np.empty((0, 2)) if aside is None else spots_xy(aside)[:, ::-1]
        if aside is None or not aside.n_obs:
            return
        marks = aside.obs[K.EXCLUDED].to_numpy(dtype=bool)
        layer.face_color = np.where(marks[:, None], LEFT_OUT, TAKEN_BACK)
        layer.symbol = "x"
        layer.size = 0.8 * self.stage.spot_size(name)
        layer.border_width = 0
