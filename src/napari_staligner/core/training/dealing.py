"""Which process computes which tiles, and holds the input of which slices."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from napari_staligner.core.training.ranks import Ranks
from napari_staligner.core.training.tiles import cut

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

EVEN = 1.05
"""Whole slices are dealt if the busiest rank then has at most this many times what it has of tiles
that are dealt one by one."""


@dataclass(frozen=True)
class Dealt:
    """What the ranks compute and hold; the same on all of them but for ``held``.

    Parameters
    ----------
    tiles
        The rank that computes each tile.
    slices
        The rank that reads each slice for what is summed over slices.
    held
        Numbers of the slices that this rank reads, and whose input it holds.
    """

    tiles: list[int]
    slices: list[int]
    held: tuple[int, ...]


def deal_tiles(ranks: Ranks, loads: Sequence[int], of: Sequence[int], n_slices: int) -> Dealt:
    """Deal whole slices where that is about as even as tiles one by one, and tiles else.

    Parameters
    ----------
    ranks
        The processes.
    loads
        How long each tile takes, in any unit.
    of
        The slice of each tile.
    n_slices
        How many slices there are.
    """
    whole = [0] * n_slices
    for number, load in zip(of, loads, strict=True):
        whole[number] += load
    slices, tiles = ranks.deal(whole), ranks.deal(loads)
    if _busiest(slices, whole) <= EVEN * _busiest(tiles, loads):
        tiles = [slices[number] for number in of]
    own = {number for number, owner in zip(of, tiles, strict=True) if owner == ranks.rank}
    own |= {number for number, owner in enumerate(slices) if owner == ranks.rank}
    return Dealt(tiles, slices, tuple(sorted(own)))


def cut_and_dealt(
    ranks: Ranks, sizes: Sequence[int], coordinates: NDArray[np.floating] | None, most: int
) -> tuple[list[tuple[int, NDArray[np.intp]]], Dealt]:
    """Cut slices into tiles and deal them: their slices and rows, and who computes which.

    Parameters
    ----------
    ranks
        The processes.
    sizes, coordinates, most
        As for :func:`~napari_staligner.core.training.tiles.split`.
    """
    pieces = cut(sizes, coordinates, most)
    loads, of = [len(own) for _, own in pieces], [number for number, _ in pieces]
    return pieces, deal_tiles(ranks, loads, of, len(sizes))


def _busiest(owners: Sequence[int], loads: Sequence[int]) -> int:
    given = dict.fromkeys(owners, 0)
    for owner, load in zip(owners, loads, strict=True):
        given[owner] += load
    return max(given.values())
