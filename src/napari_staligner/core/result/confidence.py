"""How reliably each spot has found spots like it in the other slices."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from scipy import sparse

from napari_staligner.core.progress import Progress, Steps
from napari_staligner.core.training.matching import PARTNERS, draw_pairs
from napari_staligner.core.training.ranks import Arrays, Ranks
from napari_staligner.core.training.sharing import each
from napari_staligner.core.training.triplets import nearest

if TYPE_CHECKING:
    from numpy.typing import NDArray

NEIGHBORS, STEP = 90, 10
BLOCK = 4096
MOST = 5000
"""Most spots of a slice that walks pass through."""


def confidence_steps(
    embedding: NDArray[np.floating[Any]],
    sizes: Sequence[int],
    k: int = NEIGHBORS,
    *,
    seed: int = 0,
    ranks: Ranks | None = None,
) -> Steps[NDArray[np.float32]]:
    r"""Confidence of each spot: how often walks to the other slices and back return home.

    A walk goes from spot i to one of the 10 spots nearest in z in slice t, and from there to one
    of the 10 nearest in i's own slice s. It returns home if it ends among the k nearest of i in s.
    Walks with both steps within s show how often that can happen at all:

    .. math:: c_i = \frac{1}{S - 1} \sum_{t \ne s} \min\left(1,
        \frac{P(i \to t \to \mathrm{home})}{P(i \to s \to \mathrm{home})}\right)

    1 means that every other slice has the neighbourhood of the spot. If a slice lacks it, the walk
    lands on the nearest spots there and returns to where those belong, so c falls to 0. The number
    of spots of a kind in a slice does not count: a structure that is rarer in the other slices
    loses little, as long as they have about 10 spots of it.

    In a slice of more than 5,000 spots, walks pass only through 5,000 drawn ones; every spot still
    gets a confidence. With more than 13 slices, each is compared with 12 others on average. If one
    slice has more than twice as many spots as the other, walks pass through half of it, a quarter,
    and so on: 10 out of few spots cover a larger part of the tissue, so walks would end far from a
    home that is one of many.

    Parameters
    ----------
    embedding
        Shape (spots, d), rows of a slice contiguous.
    sizes
        Spots of each slice.
    k
        Number of home spots of each spot; fewer if the slice has fewer.
    seed
        Of the draw.
    ranks
        The processes that share the pairs of slices; ``None`` for this one alone.

    Returns
    -------
    Shape (spots,), float32, 0..1; all zero for a single slice.
    """
    parts = np.split(np.asarray(embedding, dtype=np.float32), np.cumsum(sizes)[:-1])
    walked = [_Walked(z, k, [seed, number]) for number, z in enumerate(parts)]
    pairs = _pairs(len(parts), seed)
    total = 2 * len(pairs)
    confidence = [np.zeros(len(z)) for z in parts]
    others = np.bincount(np.ravel(pairs).astype(np.int64), minlength=len(parts))

    def look(wanted: tuple[int, int]) -> Arrays:
        number, n = wanted
        return vars(walked[number].look(n))

    def said_first(_: int) -> Progress:
        return Progress("confidence", 0, total)

    both = [*pairs, *((t, s) for s, t in pairs)]
    wanted = sorted({(a, walked[a].drawn_for(len(parts[b]))) for a, b in both})
    sizes_wanted = [len(parts[number]) for number, _ in wanted]
    found = yield from each(wanted, look, said_first, ranks or Ranks(), sizes_wanted)
    overs = {key: _Over(**arrays) for key, arrays in zip(wanted, found, strict=True)}
    del found

    def walk(pair: tuple[int, int]) -> Arrays:
        s, t = pair
        over = {a: overs[a, walked[a].drawn_for(len(parts[b]))] for a, b in ((s, t), (t, s))}
        there, back = (
            _incidence(_nearest(parts[a], parts[b][over[b].drawn], STEP), len(over[b].drawn))
            for a, b in ((s, t), (t, s))
        )
        ways = ((s, there, back[over[t].drawn]), (t, back, there[over[s].drawn]))
        return {
            str(own): _ratio(_come_home(out, home, over[own].homes), over[own].stay)
            for own, out, home in ways
        }

    def said(number: int) -> Progress:
        return Progress("confidence", 2 * number, total)

    loads = [len(parts[s]) + len(parts[t]) for s, t in pairs]
    for ratios in (yield from each(pairs, walk, said, ranks or Ranks(), loads)):
        for own, ratio in ratios.items():
            confidence[int(own)] += np.minimum(1.0, ratio) / others[int(own)]
    yield Progress("confidence", total, total)
    return np.concatenate(confidence).astype(np.float32)


def _ratio(found: NDArray[np.float64], stay: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.divide(found, stay, out=np.zeros(len(found)), where=stay > 0)


@dataclass(frozen=True)
class _Over:
    """Walks over some of a slice's spots.

    Parameters
    ----------
    drawn
        Rows of these spots.
    homes
        Shape (spots of the slice, k): the home of each spot among them.
    stay
        Shape (spots of the slice,): share of walks within the slice that return home.
    """

    drawn: NDArray[np.int64]
    homes: NDArray[np.int32]
    stay: NDArray[np.float64]


class _Walked:
    """A slice, thinned to match the number of spots of another one."""

    def __init__(self, z: NDArray[np.float32], k: int, seed: Sequence[int]) -> None:
        self._z, self._k, self._seed = z, k, seed

    def drawn_for(self, other: int) -> int:
        """How many spots are drawn for walks to a slice of ``other`` spots: up to twice as many."""
        n = min(len(self._z), MOST)
        while n > 2 * other:
            n = (n + 1) // 2
        return n

    def look(self, n: int) -> _Over:
        """Draw so many spots, and find the homes of all among them."""
        rows = np.arange(len(self._z))
        if n < len(rows):
            rows = np.sort(np.random.default_rng(self._seed).permutation(rows)[:n])
        near = _nearest(self._z, self._z[rows], min(self._k + 1, n))
        home = _without_self(_in_order(self._z, self._z[rows], near), rows)
        homes = home.astype(np.int32)
        walk = _incidence(home[:, :STEP], n)
        return _Over(rows, homes, _come_home(walk, walk[rows], homes))


def _pairs(n_slices: int, seed: int) -> list[tuple[int, int]]:
    """Pairs of slices that are compared."""
    if n_slices <= PARTNERS + 1:
        return list(combinations(range(n_slices), 2))
    return draw_pairs(n_slices, n_slices * PARTNERS // 2, torch.Generator().manual_seed(seed))


def _nearest(
    query: NDArray[np.float32], reference: NDArray[np.float32], k: int
) -> NDArray[np.int64]:
    """Rows of the k nearest, in any order."""
    found = nearest(torch.from_numpy(query), torch.from_numpy(reference), k)
    return np.asarray(found.numpy())


def _in_order(
    query: NDArray[np.float32], reference: NDArray[np.float32], near: NDArray[np.int64]
) -> NDArray[np.int64]:
    """The nearest, the nearest of them first; of equally near ones, the first row first."""
    near = np.sort(near, axis=1)
    for start in range(0, len(near), BLOCK // 4):
        rows = slice(start, start + BLOCK // 4)
        apart = reference[near[rows]] - query[rows, None]
        order = np.einsum("nkd,nkd->nk", apart, apart).argsort(axis=1, kind="stable")
        near[rows] = np.take_along_axis(near[rows], order, axis=1)
    return near


def _without_self(near: NDArray[np.int64], drawn: NDArray[np.int64]) -> NDArray[np.int64]:
    """Drop each spot from its own list, or the last one found if it is not in it."""
    n, k = near.shape
    keep = drawn[near] != np.arange(n)[:, None]
    keep[keep.all(axis=1), k - 1] = False
    return np.asarray(near[keep].reshape(n, k - 1))


def _incidence(near: NDArray[np.integer[Any]], n_columns: int) -> sparse.csr_matrix:
    """Where a step can go: 1 in row i for each of its nearest."""
    n, k = near.shape
    ones = np.ones(n * k, dtype=np.float32)
    return sparse.csr_matrix((ones, near.ravel(), np.arange(n + 1) * k), shape=(n, n_columns))


def _come_home(
    out: sparse.csr_matrix, back: sparse.csr_matrix, home: NDArray[np.int32]
) -> NDArray[np.float64]:
    """Share of the walks of each spot that end at home."""
    n = out.shape[0]
    steps = max(out[:1].nnz * back[:1].nnz, 1)
    found = [
        (out[start : start + BLOCK] @ back)
        .multiply(_incidence(home[start : start + BLOCK], back.shape[1]))
        .sum(axis=1)
        for start in range(0, n, BLOCK)
    ]
    return np.asarray(np.concatenate(found) / steps, dtype=np.float64).ravel()
