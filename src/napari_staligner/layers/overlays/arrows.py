"""Residuals as arrows."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from napari.layers import Vectors

from napari_staligner.core.result.access import spots_xy

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from napari_staligner.session import Session


ROLE = "shift"


ARROW_RGBA = (1.0, 1.0, 1.0, 0.9)


ARROW_WIDTH = 0.18
"""Width of an arrow, as a share of the size of a spot."""


def arrows_layer(name: str, spot_size: float) -> Vectors:
    """Make a layer for the arrows of a slice, empty."""
    layer = Vectors(
        np.zeros((0, 2, 2)),
        name=f"{name} residuals",
        vector_style="arrow",
        edge_width=ARROW_WIDTH * spot_size,
        edge_color=[ARROW_RGBA],
    )
    layer.editable = False
    return layer


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
