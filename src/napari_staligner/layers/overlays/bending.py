"""A grid over each slice, as the smooth last step of the registration bends it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from napari_staligner import _keys as K
from napari_staligner.layers.overlays.overlay import TissueOverlay
from napari_staligner.layers.overlays.vectors import set_vectors, vectors_layer

if TYPE_CHECKING:
    from collections.abc import Iterable

    from napari.layers import Vectors

    from napari_staligner.session import Session

BENT_RGBA = (0.9, 0.1, 0.1, 1.0)
STRAIGHT_RGBA = (0.0, 0.0, 0.0, 0.6)
_WIDTH = 0.3
"""Width of a line, as a share of the size of a spot."""


class BendingOverlay(TissueOverlay):
    """The grid before it is bent, in black, and bent, in red."""

    role = K.Role.BENDING
    order = 32

    def follows(self) -> Iterable[Any]:
        """Whether it is shown, and what was found."""
        session = self.session
        return session.view.events.bending_shown, session.bending.changed, session.result.changed

    def wanted(self, session: Session) -> bool:
        """Whether the grid is shown, and known."""
        return session.view.bending_shown and session.bending.found is not None

    def make(self, name: str) -> Vectors:
        """Make the layer for a slice."""
        return vectors_layer(f"{name} bending", _WIDTH * self.stage.spot_size(name))

    def update(self, layer: Any, name: str) -> None:
        """Draw the grid of a slice; one that is not bent has none."""
        found = self.session.bending.found
        grid = None if found is None else found.grids.get(name)
        if grid is None:
            set_vectors(layer, np.zeros((0, 2, 2)), np.zeros((0, 4), np.float32))
            return
        ends = np.concatenate([grid.straight, grid.bent])[..., ::-1]
        vectors = np.stack([ends[:, 0], ends[:, 1] - ends[:, 0]], axis=1)
        n = len(grid.straight)
        rgba = np.repeat(np.array([STRAIGHT_RGBA, BENT_RGBA], np.float32), [n, n], axis=0)
        set_vectors(layer, vectors, rgba)
