"""Lines on the tissue, as napari's vectors."""

from __future__ import annotations

from contextlib import nullcontext
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from napari.layers import Vectors

from napari_staligner.compat import simple_thumbnail

if TYPE_CHECKING:
    from numpy.typing import NDArray


@dataclass(frozen=True)
class Edges:
    """Edges of one slice.

    Parameters
    ----------
    vectors
        Start and direction in (y, x), float64, shape (edges, 2, 2): napari's vectors.
    rgba
        Colour of each, float32, shape (edges, 4).
    """

    vectors: NDArray[np.float64]
    rgba: NDArray[np.float32]


def edges_between(
    xy: NDArray[np.float64], ends: NDArray[np.intp], length: float, rgba: NDArray[np.float32]
) -> Edges:
    """Edges between spots.

    Parameters
    ----------
    xy
        Coordinates of all spots, shape (spots, 2).
    ends
        First and second spot of each edge, shape (2, edges).
    length
        Share of the way to the second spot that is drawn, 0..1.
    rgba
        Colour of each edge, shape (edges, 4).
    """
    start = xy[ends[0], ::-1]
    return Edges(np.stack([start, length * (xy[ends[1], ::-1] - start)], axis=1), rgba)


def no_edges() -> Edges:
    """Return edges of a slice that has none."""
    return Edges(np.empty((0, 2, 2)), np.empty((0, 4), np.float32))


def vectors_layer(title: str, width: float, *, style: str = "line", ndim: int = 2) -> Vectors:
    """Make a layer of lines, empty.

    Parameters
    ----------
    title
        Its name in the list.
    width
        Width of a line, in the units of the slice, or of the world if it spans slices.
    style
        napari's ``vector_style``.
    ndim
        Number of dimensions.
    """
    layer = Vectors(
        np.zeros((0, 2, ndim)), name=title, vector_style=style, edge_width=width, ndim=ndim
    )
    layer.editable = False
    simple_thumbnail(layer)
    return layer


def set_vectors(layer: Any, vectors: NDArray[np.float64], rgba: NDArray[np.float32]) -> None:
    """Draw new lines, or the same ones in new colours; unchanged lines are not drawn again."""
    if not np.array_equal(layer.data, vectors):
        layer.data = vectors
    elif np.array_equal(layer.edge_color, rgba):
        return
    if not len(rgba):
        return
    # napari slices a hidden layer only when it is shown again. If it were drawn now, its colours
    # would be looked up for the old vectors, and there may be more of those.
    with nullcontext() if layer.visible else layer.events.edge_color.blocker():
        layer.edge_color = rgba


def set_width(layer: Any, width: float) -> None:
    """Change the width of the lines."""
    if layer.edge_width != width:
        layer.edge_width = width
