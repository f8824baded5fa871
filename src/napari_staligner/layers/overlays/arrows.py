"""Residuals as arrows."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from napari_staligner import _keys as K
from napari_staligner.core.result.access import spots_xy
from napari_staligner.layers.overlays.overlay import TissueOverlay
from napari_staligner.layers.overlays.vectors import set_vectors, vectors_layer

if TYPE_CHECKING:
    from collections.abc import Iterable

    from napari.layers import Vectors
    from numpy.typing import NDArray

    from napari_staligner.session import Session

ARROW_RGBA = (1.0, 1.0, 1.0, 0.9)
_WIDTH = 0.18
"""Width of an arrow, as a share of the size of a spot."""


class ArrowsOverlay(TissueOverlay):
    """Arrows from the spots of each slice to their counterparts in the others."""

    role = K.Role.SHIFT
    order = 30

    def follows(self) -> Iterable[Any]:
        """What is shown, and the alignment."""
        session = self.session
        return session.view.events.arrows, session.alignment.changed, session.result.changed

    def wanted(self, session: Session) -> bool:
        """Whether residuals are shown as arrows."""
        return session.view.arrows

    def make(self, name: str) -> Vectors:
        """Make the layer for a slice."""
        width = _WIDTH * self.stage.spot_size(name)
        return vectors_layer(f"{name} residuals", width, style="arrow")

    def update(self, layer: Any, name: str) -> None:
        """Draw the arrows of a slice."""
        vectors = arrows(self.session, name)
        rgba = np.tile(np.array(ARROW_RGBA, np.float32), (len(vectors), 1))
        set_vectors(layer, vectors, rgba)


def arrows(session: Session, name: str) -> NDArray[np.float64]:
    """Arrows from the spots of a slice to their counterparts, as napari's vectors.

    Returns
    -------
    Start and direction in (y, x) of the slice, float64, shape (spots with a counterpart, 2, 2).
    """
    state, rows = session.alignment.state, session.result.rows(name)
    if state is None or rows is None:
        return np.zeros((0, 2, 2))
    shift = state.registered.shift[rows]
    known = np.isfinite(shift).all(axis=1)
    linear = state.registered.transforms[name][:2, :2]
    own = np.linalg.solve(linear, shift[known].T).T
    return np.stack([spots_xy(session.slices[name])[known, ::-1], own[:, ::-1]], axis=1)
