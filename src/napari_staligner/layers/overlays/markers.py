"""Layers beside image and spots: edges, the marker of a spot, spots in 3-D, blanks."""

from __future__ import annotations

from contextlib import nullcontext
from typing import TYPE_CHECKING

import numpy as np
from napari.layers import Image, Points, Vectors

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from napari_staligner.layers.overlays.edges import Edges
    from napari_staligner.layers.overlays.links import Lines

EDGE_WIDTHS = {"graph": 0.05, "attention": 0.12, "spot": 0.3}
"""Width of edges, as a share of the size of a spot; ``spot``: those of the chosen spot alone."""
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
        edge_width=EDGE_WIDTHS[kind] * spot_size,
        visible=visible,
    )
    layer.editable = False
    return layer


def set_edges(layer: Vectors, edges: Edges, width: float) -> None:
    """Draw other edges, in another width."""
    if layer.edge_width != width:
        layer.edge_width = width
    _set_vectors(layer, edges.vectors, edges.rgba)


def _set_vectors(layer: Vectors, vectors: NDArray[np.float64], rgba: NDArray[np.float32]) -> None:
    layer.data = vectors
    if not len(rgba):
        return
    # napari slices a layer that is hidden once it is seen again: drawn now, its colours would be
    # looked up for the vectors of before, which may be more.
    with nullcontext() if layer.visible else layer.events.edge_color.blocker():
        layer.edge_color = rgba


def links_layer(name: str, width: float) -> Vectors:
    """Make a layer for links between slices, in the world and empty.

    Parameters
    ----------
    name
        Name of the slice that it goes with.
    width
        Width of a line, in the units of the world.
    """
    layer = Vectors(
        np.zeros((0, 2, 3)), name=f"{name} links", vector_style="line", edge_width=width, ndim=3
    )
    layer.editable = False
    return layer


def set_links(layer: Vectors, lines: Lines) -> None:
    """Draw other links."""
    _set_vectors(layer, lines.vectors, lines.rgba)


def marker_layer(name: str, spot_size: float) -> Points:
    """Make a layer that marks spots by rings, empty."""
    layer = Points(
        np.zeros((0, 2)),
        name=f"{name} chosen spot",
        size=1.7 * spot_size,
        face_color="transparent",
        canvas_size_limits=(16, 10000),
    )
    layer.editable = False
    return layer


def set_marker(
    layer: Points, yx: NDArray[np.float64] | None, matches: NDArray[np.float64] | None = None
) -> None:
    """Put a ring around a point, and thinner ones around others, or take them away.

    Parameters
    ----------
    layer
        The layer.
    yx
        The chosen spot (y, x), if it is in this slice.
    matches
        Spots that match the chosen one of another slice, shape (n, 2).
    """
    rings = np.zeros((0, 2)) if matches is None else matches
    # A black ring and a thinner white one on it are seen on any colour.
    chosen = np.zeros((0, 2)) if yx is None else np.array([yx, yx])
    layer.data = np.vstack([rings, chosen])
    if len(layer.data) == 0:
        return
    black, white = (0, 0, 0, 1), (1, 1, 1, 1)
    layer.border_width_is_relative = True
    layer.border_width = np.array([0.05] * len(rings) + [0.16, 0.08][: len(chosen)])
    colors = [white] * len(rings) + [black, white][: len(chosen)]
    layer.border_color = np.array(colors, dtype=np.float32)


def solid_layer(name: str, xy: NDArray[np.float64], spot_size: float) -> Points:
    """Make a layer for the spots of a slice in 3-D, unseen: napari cannot lift a flat layer.

    Parameters
    ----------
    name
        Name of the slice.
    xy
        Coordinates of its spots, shape (spots, 2).
    spot_size
        Diameter of its spots.
    """
    layer = Points(
        np.column_stack([np.zeros(len(xy)), xy[:, ::-1]]),
        name=f"{name} in 3-D",
        size=spot_size,
        border_width=0,
        visible=False,
    )
    layer.editable = False
    return layer


def title_layer(name: str, xy: NDArray[np.float64]) -> Points:
    """Make a layer that writes the name of a slice at a point (x, y), over what is below."""
    layer = Points(
        xy[::-1][None],
        name=f"{name} (name)",
        size=1e-3,
        opacity=1,
        face_color="transparent",
        border_width=0,
        text={"string": {"constant": name}, "anchor": "upper_left", "size": 10},
    )
    layer.editable = False
    return layer


def blank_layer(name: str, xy: NDArray[np.float64]) -> Image:
    """Make an image of nothing, at a point (x, y), to fill a place in a cell of the grid."""
    layer = Image(
        np.zeros((1, 1, 4), dtype=np.uint8), rgb=True, translate=xy[::-1], name=f"{name} (blank)"
    )
    layer.editable = False
    return layer
