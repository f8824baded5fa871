"""Images of which only parts are shown: pyramids, and channels, masked where they are looked at."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

Inside = Callable[[NDArray[np.float32], NDArray[np.float32]], NDArray[np.bool_]]
"""Whether places (y, x) in the world are shown; of two arrays that broadcast."""


def masked_levels(
    levels: Sequence[Any], to_world: NDArray[np.float64], inside: Inside, *, rgb: bool
) -> list[Any]:
    """Levels of an image that show only what lies inside; nothing is computed yet.

    Parameters
    ----------
    levels
        Shape (height, width, 3 or 4) if they are colours, else (height, width); finest first.
    to_world
        From (row, column, 1) of the finest level to the world, shape (3, 3).
    inside
        What is shown.
    rgb
        Whether they are colours: outside they become transparent, others zero.

    Returns
    -------
    Arrays of dask.
    """
    finest = np.array(levels[0].shape[:2])
    return [_masked(level, to_world @ _to_finest(level, finest), inside, rgb) for level in levels]


def _to_finest(level: Any, finest: NDArray[np.intp]) -> NDArray[np.float64]:
    """From (row, column, 1) of a level to those of the finest."""
    factor = finest / np.array(level.shape[:2])
    matrix = np.diag([*factor, 1.0])
    matrix[:2, 2] = (factor - 1) / 2
    return matrix


def _masked(level: Any, to_world: NDArray[np.float64], inside: Inside, rgb: bool) -> Any:
    import dask.array as da

    if not hasattr(level, "dask"):
        level = da.from_array(level, chunks=(2048, 2048, -1)[: level.ndim], name=False)
    seen = da.map_blocks(
        _inside_of_block,
        chunks=level.chunks[:2],
        dtype=bool,
        to_world=to_world.astype(np.float32),
        inside=inside,
        meta=np.empty((0, 0), dtype=bool),
    )
    if not rgb:
        return da.where(seen, level, level.dtype.type(0))
    alpha = level[..., 3] if level.shape[2] == 4 else level.dtype.type(255)
    shown = da.where(seen, alpha, level.dtype.type(0)).astype(level.dtype)
    return da.concatenate([level[..., :3], shown[..., None]], axis=2).rechunk({2: -1})


def _inside_of_block(
    to_world: NDArray[np.float32], inside: Inside, block_info: Any = None
) -> NDArray[np.bool_]:
    (top, bottom), (left, right) = block_info[None]["array-location"]
    rows = np.arange(top, bottom, dtype=np.float32)[:, None]
    columns = np.arange(left, right, dtype=np.float32)[None]
    return inside(*pixels_world(rows, columns, to_world))


def pixels_world(
    rows: NDArray[np.float32], columns: NDArray[np.float32], to_world: NDArray[np.floating[Any]]
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Places (y, x) in the world of pixels, in shapes that broadcast.

    Parameters
    ----------
    rows, columns
        Shapes (n, 1) and (1, m).
    to_world
        From (row, column, 1) to the world, shape (3, 3).
    """
    m = to_world.astype(np.float32)
    return (
        m[0, 0] * rows + m[0, 1] * columns + m[0, 2],
        m[1, 0] * rows + m[1, 1] * columns + m[1, 2],
    )
