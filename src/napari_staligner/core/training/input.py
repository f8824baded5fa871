"""The input of the model; each process holds that of the slices whose tiles it computes."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from itertools import accumulate
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from napari_staligner._errors import InputError
from napari_staligner.core.prepare.surroundings import mean_around
from napari_staligner.core.training.components import (
    NO_VARIANCE,
    ROWS,
    Moments,
    components_of,
    depth_moments,
    moments_of,
    scores,
    slice_offsets,
    slope_of,
)

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from scipy import sparse

    from napari_staligner.core.settings import Settings
    from napari_staligner.core.training.data import Prepared
    from napari_staligner.core.training.dealing import Dealt
    from napari_staligner.core.training.ranks import Ranks
    from napari_staligner.core.training.tiles import Tile
    from napari_staligner.core.training.triplets import Matches


class Input:
    """The model's input; dense for only one tile at a time.

    Log-normalised expression itself or, with ``settings.components``, its scores on the axes of
    largest variance, with depth removed: ``scores``, shape (spots held, components), scaled to a
    mean square of 1. With ``settings.wide``, the scores of a spot's surroundings follow, in as many
    columns again. ``square_sum`` is ‖X‖² of all spots, and ``square_sum_before`` what it was before
    any offset was taken out; ``moves`` are those offsets, in their order.

    What is summed over all spots is summed by slice, and the slices are added in their order, so
    that it does not depend on who holds which.
    """

    def __init__(
        self, data: Prepared, settings: Settings, device: torch.device, ranks: Ranks, dealt: Dealt
    ) -> None:
        self.device, self._ranks, self._dealt = device, ranks, dealt
        self._sizes = data.sizes
        self._ends = [0, *accumulate(data.sizes)]
        ends = [0, *accumulate(data.sizes[number] for number in dealt.held)]
        self._at = {k: slice(*ends[i : i + 2]) for i, k in enumerate(dealt.held)}
        self._graph = data.connectivities
        self.scores: Tensor | None = None
        self.moves: list[NDArray[np.float32]] = []
        self._expression: sparse.csr_matrix | None = None
        if not settings.components:
            self._expression = data.expression.stacked(dealt.held)
            self.square_sum = self.square_sum_before = self._summed(self._squares_held)
            if not self.square_sum:
                raise InputError(NO_VARIANCE)
            return
        whole = self._components(data, settings)
        self.scores = torch.from_numpy(whole).to(device)
        self.square_sum = self.square_sum_before = self._summed(self._squares_held)

    def _components(self, data: Prepared, settings: Settings) -> NDArray[np.float32]:
        """Scores of the spots that are held, and their surroundings."""
        mean, axes = components_of(self._moments(data), settings.components)
        width = axes.shape[1]
        n = sum(data.sizes[number] for number in self._at)
        whole = np.empty((n, 2 * width if settings.wide else width), dtype=np.float32)
        found = whole[:, :width]
        scores(map(data.expression.block, self._at), n, mean, axes, found)
        depth = data.log_depth if settings.depth else None
        if depth is not None:
            self._remove_depth(found, depth)

        def squares(values: NDArray[np.float32]) -> float:
            return self._summed(lambda number: sum_of_squares(values[self._at[number]]))

        n_all = sum(data.sizes) * width
        found /= np.float32(np.sqrt(squares(found) / n_all) or 1.0)
        if settings.wide:
            around = whole[:, width:]
            for number, at in self._at.items():
                around[at] = mean_around(found[at], self._near(number))
            wide = squares(around)
            if wide > 0:
                around *= np.float32(np.sqrt(squares(found) / wide))
        return whole

    def _moments(self, data: Prepared) -> Iterator[Moments]:
        """Sums of products of the genes of each slice, in the order of the slices."""
        genes, owners = data.expression.n_genes, self._dealt.slices
        turns = [owners[:number].count(owner) for number, owner in enumerate(owners)]
        own = [k for k, owner in enumerate(owners) if owner == self._ranks.rank]
        made: dict[int, NDArray[np.float64]] = {}
        begun = 0
        for number, owner in enumerate(owners):
            # All make one at a time, since an exchange waits for all; not more, as they are large.
            while begun <= turns[number]:
                for k in own[begun : begun + 1]:
                    moments = moments_of(data.expression.block(k))
                    made[k] = np.vstack([moments.products, moments.total])
                begun += 1
            room = made.pop(number) if owner == self._ranks.rank else np.empty((genes + 1, genes))
            both = self._ranks.share(torch.from_numpy(room), owner).numpy()
            yield Moments(both[:-1], both[-1], data.sizes[number])

    def _remove_depth(self, found: NDArray[np.float32], depth: NDArray[np.float64]) -> None:
        def moments(number: int) -> NDArray[np.float64]:
            own = depth[self._ends[number] : self._ends[number + 1]]
            pull, spread = depth_moments(found[self._at[number]], own, self._near(number))
            return np.append(pull, spread)

        *pull, spread = self._by_slice(moments, found.shape[1] + 1).sum(axis=0)
        slope, middle = slope_of(np.array(pull), spread), depth.mean()
        for number, at in self._at.items():
            rows, own = found[at], depth[self._ends[number] : self._ends[number + 1]]
            for start in range(0, len(rows), ROWS):
                some = slice(start, start + ROWS)
                rows[some] -= np.outer(own[some] - middle, slope)

    def _near(self, number: int) -> sparse.csr_matrix:
        """The graph of one slice."""
        rows = slice(self._ends[number], self._ends[number + 1])
        return self._graph[rows, rows]

    def _by_slice(
        self, compute: Callable[[int], NDArray[np.float64] | float], width: int
    ) -> NDArray[np.float64]:
        """What is computed of each slice where it is held, shape (slices, width)."""
        rows = torch.zeros(len(self._sizes), width, dtype=torch.float64)
        for number, owner in enumerate(self._dealt.slices):
            if owner == self._ranks.rank:
                rows[number] = torch.as_tensor(compute(number), dtype=torch.float64)
        found = self._ranks.collect(rows.to(self.device), self._dealt.slices)
        return np.asarray(found.cpu().numpy())

    def _summed(self, compute: Callable[[int], float]) -> float:
        """The sum over slices, in their order."""
        return float(sum(self._by_slice(compute, 1)[:, 0].tolist()))

    def _squares_held(self, number: int) -> float:
        if self.scores is not None:
            return sum_of_squares(self.scores[self._at[number]].cpu().numpy())
        assert self._expression is not None
        at = self._at[number]
        pointers = self._expression.indptr
        return sum_of_squares(self._expression.data[pointers[at.start] : pointers[at.stop]])

    @property
    def width(self) -> int:
        """Columns of the input."""
        whole = self._expression if self.scores is None else self.scores
        assert whole is not None
        return int(whole.shape[1])

    def offsets(self, matches: Sequence[Matches]) -> Tensor:
        """Differences of the slices in the scores, by their matched spots, a row for each."""
        assert self.scores is not None
        ranks, owners = self._ranks, self._dealt.slices
        return slice_offsets(self.scores, self._at, matches, self._sizes, ranks, owners)

    def move(self, offsets: Tensor) -> float:
        """Subtract an offset, a row for each slice, from the scores.

        Returns the largest offset as a part of the root mean square length of a spot's scores.
        """
        assert self.scores is not None
        for number, at in self._at.items():
            self.scores[at] -= offsets[number]
        self.square_sum = self._summed(self._squares_held)
        self.moves.append(offsets.cpu().numpy())
        return float(offsets.norm(dim=1).max().item() / self.width**0.5)

    def rows(self, tile: Tile) -> Tensor:
        """Rows of a tile's nodes, shape (nodes, width)."""
        nodes = tile.nodes - (self._ends[tile.of] - self._at[tile.of].start)
        if self.scores is not None:
            return self.scores.index_select(0, nodes)
        assert self._expression is not None
        rows = self._expression[nodes.cpu().numpy()]
        return torch.from_numpy(rows.toarray()).to(self.device)


def sum_of_squares(values: NDArray[np.float32]) -> float:
    """Sum of squares, by pieces, because the sum uses higher precision."""
    flat = values.reshape(-1)
    pieces = np.split(flat, range(1 << 20, flat.size, 1 << 20))
    return float(sum(np.square(piece, dtype=np.float64).sum() for piece in pieces))
