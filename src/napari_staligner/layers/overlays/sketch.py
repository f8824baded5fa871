"""Layers for what is being drawn, and for spots that are proposed."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from napari.layers import Points, Vectors

from napari_staligner.core.palette import to_rgba

if TYPE_CHECKING:
    from numpy.typing import NDArray

_LINE = 0.25
"""Width of a line, as a share of the size of a spot."""


def sketch_layer(name: str, spot_size: float) -> Vectors:
    """Make a layer for what is being drawn on a slice, empty."""
    layer = Vectors(
        np.zeros((0, 2, 2)),
        name=f"{name} drawing",
        vector_style="line",
        edge_width=_LINE * spot_size,
    )
    layer.editable = False
    return layer


def set_sketch(layer: Vectors, yx: NDArray[np.float64], color: str) -> None:
    """Draw another line through points (y, x), shape (n, 2)."""
    if len(yx) < 2:
        if len(layer.data):
            layer.data = np.zeros((0, 2, 2))
        return
    layer.data = np.stack([yx[:-1], np.diff(yx, axis=0)], axis=1)
    layer.edge_color = np.tile(to_rgba([color]), (len(yx) - 1, 1))


def proposal_layer(name: str, spot_size: float) -> Points:
    """Make a layer for spots of a slice that are proposed for a class, empty."""
    layer = Points(
        np.zeros((0, 2)), name=f"{name} proposal", size=1.15 * spot_size, border_color="white"
    )
    layer.editable = False
    return layer


def set_proposal(
    layer: Points, yx: NDArray[np.float64], confidence: NDArray[np.floating], color: str
) -> None:
    """Propose other spots.

    Parameters
    ----------
    layer
        The layer.
    yx
        Their places, shape (n, 2).
    confidence
        Of each, 0..1: the less, the paler.
    color
        Of the class.
    """
    layer.data = yx
    if len(yx) == 0:
        return
    rgba = np.tile(to_rgba([color]), (len(yx), 1))
    rgba[:, 3] = 0.15 + 0.85 * confidence
    layer.face_color = rgba
    layer.border_width = 0.12
