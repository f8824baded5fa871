"""Layers that lie over the spots or fill a cell: edges, the marker of a spot, blanks."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from napari.layers import Image, Points, Vectors

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from napari_staligner.layers.edges import Edges

_EDGE_WIDTH = {"graph": 0.05, "attention": 0.12}
"""Width of edges, as a share of the size of a spot."""
_TITLES = {"graph": "{} neighbours", "attention": "{} attention"}


def edges_layer(name: str, kind: str, spot_size: float, *, visible: bool) -> Vectors:
    """Make a layer for edges of a slice, empty.

    Parameters
    ----------
    name
        Name of the slice.
    kind
        ``"graph"`` or ``"attention"``.
    spot_size
        Diameter of its spots.
    visible
        Whether they are shown.
    """
    layer = Vectors(
        np.zeros((0, 2, 2)),
        name=_TITLES[kind].format(name),
        vector_style="line",
        edge_width=_EDGE_WIDTH[kind] * spot_size,
        visible=visible,
    )
    layer.editable = False
    return layer


def set_edges(layer: Vectors, edges: Edges) -> None:
    """Draw other edges."""
    layer.data = edges.vectors
    if len(edges.rgba):
        layer.edge_color = edges.rgba


def marker_layer(name: str, spot_size: float) -> Points:
    """Make a layer that marks a spot by a ring, empty."""
    layer = Points(
        np.zeros((0, 2)),
        name=f"{name} chosen spot",
        size=1.7 * spot_size,
        face_color="transparent",
        canvas_size_limits=(16, 10000),
    )
    layer.editable = False
    return layer


def set_marker(layer: Points, yx: NDArray[np.float64] | None) -> None:
    """Put the ring around a point (y, x), or take it away."""
    if yx is None:
        layer.data = np.zeros((0, 2))
        return
    # A black ring and a thinner white one on it are seen on any colour.
    layer.data = np.array([yx, yx])
    layer.border_width_is_relative = True
    layer.border_width = np.array([0.16, 0.08])
    layer.border_color = np.array([[0, 0, 0, 1], [1, 1, 1, 1]], dtype=np.float32)


def blank_layer(name: str, xy: NDArray[np.float64]) -> Image:
    """Make an image of nothing, at a point (x, y), to fill a place in a cell of the grid."""
    layer = Image(
        np.zeros((1, 1, 4), dtype=np.uint8), rgb=True, translate=xy[::-1], name=f"{name} (blank)"
    )
    layer.editable = False
    return layer
