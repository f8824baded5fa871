"""Compact blocks of tissue: neighbours are alike, so blocks and not spots are drawn at random."""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray


BLOCK_SPOTS, MOST_BLOCKS = 16, 256
"""Spots of a block of tissue; most blocks of a slice (blocks are larger if it has more spots)."""


def blocks_of(points: NDArray[np.floating[Any]], spots: int = BLOCK_SPOTS) -> NDArray[np.int64]:
    """Cut one slice into compact blocks with equal numbers of spots, by halving the longer side.

    Parameters
    ----------
    points
        Shape (spots, 2).
    spots
        About how many spots a block has; more if there would be too many blocks.

    Returns
    -------
    Shape (spots,): number of the block.
    """
    there = np.ascontiguousarray(points, dtype=np.float64)
    return _blocks(there.tobytes(), len(there), spots)


def halves(
    rows: NDArray[np.intp], points: NDArray[np.float64]
) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """Halve some of the spots of a slice across the longer side of their extent.

    Parameters
    ----------
    rows
        Rows of the spots.
    points
        Shape (spots of the slice, 2).

    Returns
    -------
    Rows of both halves, in order along that side; equal numbers, or one more in the second.
    """
    side = int(np.ptp(points[rows], axis=0).argmax())
    rows = rows[np.argsort(points[rows, side], kind="stable")]
    return rows[: len(rows) // 2], rows[len(rows) // 2 :]


@lru_cache(maxsize=32)
def _blocks(coordinates: bytes, n: int, spots: int) -> NDArray[np.int64]:
    """Blocks, cached: each change of the domains needs those of the same spots again."""
    points = np.frombuffer(coordinates).reshape(n, -1)
    wanted = min(MOST_BLOCKS, n / spots)
    parts = [np.arange(n)]
    for _ in range(max(0, int(np.round(np.log2(max(wanted, 1)))))):
        parts = [half for rows in parts for half in halves(rows, points)]
    block = np.empty(n, dtype=np.int64)
    for number, rows in enumerate(parts):
        block[rows] = number
    block.flags.writeable = False
    return block
