"""Which spots of which slices a search for matches compares: all, or drawn ones."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import fields
from itertools import combinations, pairwise
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from scipy import sparse
from torch import Tensor

from napari_staligner._errors import InputError
from napari_staligner.core.progress import Progress, Steps
from napari_staligner.core.settings import Settings
from napari_staligner.core.training.ranks import Arrays, Ranks
from napari_staligner.core.training.sharing import each
from napari_staligner.core.training.triplets import Matches, Triplets, draw_triplets, mutual_nearest

if TYPE_CHECKING:
    from numpy.typing import NDArray

Pair = tuple[int, int]

PARTNERS = 12
"""With more slices, a slice is compared with this many others in a search, on average."""
FEWEST_NEAREST = 5
"""With fewer nearest neighbours than this, most drawn spots would have no match."""


def pairs_of(names: Sequence[str], settings: Settings) -> list[Pair]:
    """Pairs of slices to align, as indices; every pair unless the settings name some."""
    if settings.pairs is None:
        return list(combinations(range(len(names)), 2))
    at = {name: i for i, name in enumerate(names)}
    found = set()
    for first, second in settings.pairs:
        for name in (first, second):
            if name not in at:
                raise InputError(
                    f"Setting 'pairs' names slice {name!r}, which is not loaded: "
                    f"choose among {', '.join(map(repr, names))}."
                )
        if first != second:
            found.add((min(at[first], at[second]), max(at[first], at[second])))
    return sorted(found)


def pairs_compared(names: Sequence[str], settings: Settings) -> int:
    """Number of pairs of slices that one search compares."""
    n = len(pairs_of(names, settings))
    thinned = settings.search_spots and settings.pairs is None
    return min(n, len(names) * PARTNERS // 2) if thinned else n


def draw_pairs(n_slices: int, n_pairs: int, generator: torch.Generator) -> list[Pair]:
    """Draw pairs of slices, including a random chain through all slices; sorted."""
    order = torch.randperm(n_slices, generator=generator).tolist()
    chain = {(min(pair), max(pair)) for pair in pairwise(order)}
    rest = [pair for pair in combinations(range(n_slices), 2) if pair not in chain]
    others = torch.randperm(len(rest), generator=generator).tolist()
    return sorted(chain | {rest[k] for k in others[: max(0, n_pairs - len(chain))]})


class Matcher:
    """Finds mutual nearest neighbours between slices and draws triplets from them.

    Of a slice with more than ``settings.search_spots`` spots, a search uses only that many, which
    :meth:`thin` draws. k shrinks in proportion, so that the same share of a slice counts as near.
    With many slices, only some pairs are compared: a chain through all slices, so that none is
    isolated, and random pairs.
    """

    def __init__(
        self,
        names: Sequence[str],
        sizes: Sequence[int],
        settings: Settings,
        device: torch.device,
        ranks: Ranks | None = None,
    ) -> None:
        self.settings, self.ranks, self._device = settings, ranks or Ranks(), device
        self.names = names
        self.rows = torch.arange(sum(sizes), device=device).split(list(sizes))
        self.slice_of = torch.repeat_interleave(torch.arange(len(sizes)), torch.tensor(sizes)).to(
            device
        )
        self.generator = torch.Generator().manual_seed(settings.seed)
        # A separate generator, so that the draws of triplets do not depend on it.
        self.thinning = torch.Generator().manual_seed(settings.seed)
        self._all_pairs = pairs_of(names, settings)
        self._n_pairs = pairs_compared(names, settings)
        self._most = settings.search_spots or max(sizes)
        self.thins = max(sizes) > self._most or self._n_pairs < len(self._all_pairs)
        self.pairs, self._drawn = self._all_pairs, self.rows
        self.thin()

    def thin(self) -> None:
        """Draw new spots and pairs of slices for the next searches."""
        self._drawn = tuple(parts[0] for parts in self._parts())
        self.pairs = self._draw_pairs()

    def find(self, embedding: Tensor, done: int, total: int) -> Steps[list[Matches]]:
        """Matches of the drawn spots of every drawn pair of slices, one pair per step."""

        def match(pair: Pair) -> Matches:
            i, j = pair
            return self._match(embedding, pair, self._drawn[i], self._drawn[j])

        return (yield from self._each(match, done, total))

    def find_all(self, embedding: Tensor, done: int, total: int) -> Steps[list[Matches]]:
        """Matches of all spots of every drawn pair of slices, one pair per step.

        Large slices are cut into random parts, and each part is compared with one part of the other
        slice. Every spot takes part, and the cost grows with the number of spots, not its square.
        """
        parts = self._parts()

        def match(pair: Pair) -> Matches:
            first, second = (parts[number] for number in pair)
            found = [
                self._match(embedding, pair, first[r % len(first)], second[r % len(second)])
                for r in range(max(len(first), len(second)))
            ]
            return found[0] if len(found) == 1 else Matches.joined(found)

        return (yield from self._each(match, done, total))

    def draw(self, matches: Sequence[Matches]) -> Triplets | None:
        """Draw the triplets of the next epochs."""
        return draw_triplets(
            matches, self.rows, self.slice_of, self.settings.positives, self.generator
        )

    def _each(
        self, match: Callable[[Pair], Matches], done: int, total: int
    ) -> Steps[list[Matches]]:
        """Match every drawn pair; of several ranks, each matches some."""

        def arrays(pair: Pair) -> Arrays:
            found = match(pair)
            return {part.name: getattr(found, part.name).cpu().numpy() for part in fields(found)}

        def said(number: int) -> Progress:
            i, j = self.pairs[number]
            return Progress(f"match {self.names[i]} and {self.names[j]}", done, total)

        loads = [len(self._drawn[i]) * len(self._drawn[j]) for i, j in self.pairs]
        found = yield from each(self.pairs, arrays, said, self.ranks, loads)
        return [
            Matches(**{name: torch.from_numpy(part).to(self._device) for name, part in one.items()})
            for one in found
        ]

    def _match(self, embedding: Tensor, pair: Pair, first: Tensor, second: Tensor) -> Matches:
        k_there, k_back = (
            self._k(len(rows), len(self.rows[number]))
            for rows, number in ((second, pair[1]), (first, pair[0]))
        )
        return mutual_nearest(embedding, first, second, k_there, k_back)

    def _k(self, drawn: int, whole: int) -> int:
        """Number of nearest neighbours among the drawn spots of a slice."""
        k = self.settings.mnn_k
        return k if drawn == whole else max(min(k, FEWEST_NEAREST), round(k * drawn / whole))

    def _parts(self) -> list[tuple[Tensor, ...]]:
        """Rows of each slice in random parts of about equal size, none too large to compare."""
        return [tuple(self._split(rows)) for rows in self.rows]

    def _split(self, rows: Tensor) -> Iterator[Tensor]:
        n_parts = -(-len(rows) // self._most)
        if n_parts == 1:
            yield rows
            return
        order = torch.randperm(len(rows), generator=self.thinning).to(rows.device)
        for part in order.tensor_split(n_parts):
            yield rows[part.sort().values]

    def _draw_pairs(self) -> list[Pair]:
        if self._n_pairs == len(self._all_pairs):
            return self._all_pairs
        return draw_pairs(len(self.names), self._n_pairs, self.thinning)


def match_matrix(matches: list[Matches], n: int) -> sparse.csr_matrix:
    """Matches as a symmetric matrix; with many slices they are the largest part of a result.

    Parameters
    ----------
    matches
        Is emptied, so that they are in memory only once.
    n
        Number of all spots.
    """
    if not matches:
        return sparse.csr_matrix((n, n), dtype=np.float32)
    firsts, seconds, distances = [], [], []
    for match in matches:
        firsts.append(match.first.cpu().numpy().astype(np.int32))
        seconds.append(match.second.cpu().numpy().astype(np.int32))
        distances.append(match.distance.cpu().numpy())
    matches.clear()
    half = sparse.csr_matrix(
        (_emptied(distances), (_emptied(firsts), _emptied(seconds))), shape=(n, n)
    )
    return (half + half.T).tocsr()


def _emptied(parts: list[NDArray[Any]]) -> NDArray[Any]:
    """Join arrays, and let go of them."""
    joined = np.concatenate(parts)
    parts.clear()
    return joined
