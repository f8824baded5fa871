"""Tiles that are computed whole or, once memory has run out, in pieces."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, TypeVar

import torch

from napari_staligner._errors import ComputeError
from napari_staligner.core.outside import out_of_memory
from napari_staligner.core.training.tiles import Tile, parts_of

if TYPE_CHECKING:
    from torch import Tensor

    from napari_staligner.core.training.data import Prepared
    from napari_staligner.core.training.model import Output

T = TypeVar("T")

FEWEST = 256
"""Smaller pieces are mostly halo, and save no more memory."""
TWICE = (
    "{memory} ran out, so from here on each epoch computes again what it could keep else: this "
    "takes longer, and the result is the same."
)
IN_PIECES = (
    "{memory} ran out, so from here on the slices are trained on in smaller pieces, down to 1/{n} "
    "of what they were: this takes longer, and the result differs in its last digits from that of "
    "a run with more memory."
)
NO_ROOM = (
    "{memory} is too small even for {n} spots at a time: {remedy}, or take fewer or smaller slices."
)


class Pieces:
    """The tiles that one process computes.

    What a tile gives is a sum over its spots, or a row for each, so that it can be computed in
    pieces, as a slice is in tiles. What other processes compute, and the order of the tiles, stay.

    Parameters
    ----------
    tiles
        By their numbers.
    data
        Has the graph that they are cut by.
    device
        Where they are computed.
    keeps
        Whether inputs and outputs are kept between two passes; this is given up first.
    """

    def __init__(
        self, tiles: Mapping[int, Tile], data: Prepared, device: torch.device, *, keeps: bool
    ) -> None:
        self._tiles, self._data, self._device = tiles, data, device
        self._of = {number: [tile] for number, tile in tiles.items()}
        self.keeps = keeps
        self.inputs: dict[int, Tensor] = {}
        """What is kept, each by the ``id`` of a piece."""
        self.norms: dict[int, Tensor] = {}
        self.outputs: dict[int, Output] = {}
        self._told, self._news = 1, ""

    def each(self, number: int, compute: Callable[[Tile], T]) -> list[T]:
        """Compute something for each piece of a tile, in smaller pieces when memory runs out.

        Parameters
        ----------
        number
            Of the tile.
        compute
            Changes nothing before it returns.

        Raises
        ------
        ComputeError
            Memory does not even suffice for the smallest pieces.
        """
        while True:
            try:
                return [compute(piece) for piece in self._of[number]]
            except (RuntimeError, MemoryError) as error:
                if not out_of_memory(error):
                    raise
            # Only now has the error let go of what was computed.
            self._save_memory()

    @property
    def most(self) -> int:
        """In how many pieces a tile is computed at most."""
        return max(map(len, self._of.values()), default=1)

    def forget(self) -> None:
        """Drop what is kept, because it has changed or takes too much memory."""
        for kept in (self.inputs, self.norms, self.outputs):
            kept.clear()

    def news(self, most: int) -> str | None:
        """Return a sentence if memory ran out since this was asked last.

        Parameters
        ----------
        most
            In how many pieces a tile is computed at most, here or by another process.
        """
        if most > self._told:
            self._told, self._news = most, IN_PIECES.format(memory=self._memory, n=most)
        said, self._news = self._news, ""
        return said or None

    def _save_memory(self) -> None:
        self.forget()
        if self._device.type == "cuda":
            torch.cuda.empty_cache()
        if self.keeps:
            self.keeps, self._news = False, TWICE.format(memory=self._memory)
            return
        largest = max(piece.n_own for pieces in self._of.values() for piece in pieces)
        if largest // 2 < FEWEST:
            remedy = "free some"
            if self._device.type == "cuda":
                remedy += ", or choose 'cpu' as device"
            raise ComputeError(NO_ROOM.format(memory=self._memory, n=largest, remedy=remedy))
        graph, places = self._data.connectivities, self._data.coordinates
        self._of = {
            number: parts_of(tile, graph, places, -(-largest // 2), self._device)
            for number, tile in self._tiles.items()
        }

    @property
    def _memory(self) -> str:
        return "The memory of the GPU" if self._device.type == "cuda" else "The memory"
