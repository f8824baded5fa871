"""Mutual nearest neighbours across slices, and the triplets drawn from them."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, fields
from functools import cached_property
from itertools import repeat

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from napari_staligner.core.settings import Positives

BLOCK_ELEMENTS = 1 << 20
"""Distances in a batch: few enough for a cache, enough for threads to take turns."""
STRIDE = 8
AT_ONCE = 1 << 19
"""How many triplets are differentiated at once."""


@dataclass(frozen=True)
class Matches:
    """Mutual nearest neighbours of two slices.

    Parameters
    ----------
    first, second
        Shape (pairs,), int64: rows in all spots, sorted by ``first``, then ``second``.
    distance
        Shape (pairs,), float32: Euclidean distance in z.
    """

    first: Tensor
    second: Tensor
    distance: Tensor

    @classmethod
    def joined(cls, parts: Sequence[Matches]) -> Matches:
        """Concatenate matches."""
        return cls(*(torch.cat(values) for values in zip(*map(_parts, parts), strict=True)))


@dataclass(frozen=True)
class Triplets:
    """Rows of anchors, positives and negatives, each of shape (triplets,), int64."""

    anchor: Tensor
    positive: Tensor
    negative: Tensor

    def loss(self, embedding: Tensor, margin: float) -> Tensor:
        """Mean over anchors of max(0, ‖z_a − z_p‖ − ‖z_a − z_n‖ + margin)."""
        anchor, positive, negative = (
            embedding.index_select(0, rows) for rows in (self.anchor, self.positive, self.negative)
        )
        return F.triplet_margin_loss(anchor, positive, negative, margin=margin)

    def pull(self, embedding: Tensor, margin: float) -> tuple[Tensor, Tensor]:
        """The loss and its gradient in z, by pieces, so that memory does not grow with triplets.

        The gradient of a spot is summed in the order of triplets: on a GPU, too, the same triplets
        give the same bits, which the way back of ``index_select`` does not.
        """
        total, gradient = embedding.new_zeros(()), torch.zeros_like(embedding)
        for piece in self._pieces:
            anchor, positive, negative = ends = [
                embedding[mentions.rows].requires_grad_() for mentions in piece
            ]
            share = len(anchor) / len(self.anchor)
            loss = F.triplet_margin_loss(anchor, positive, negative, margin=margin) * share
            found = torch.autograd.grad(loss, ends)
            moved = torch.zeros_like(embedding)
            for role in (1, 2, 0):
                piece[role].add(found[role], moved)
            gradient += moved
            total += loss.detach()
        return total, gradient

    @cached_property
    def _pieces(self) -> list[list[_Mentions]]:
        """Anchors, positives and negatives of at most ``AT_ONCE`` triplets."""
        split = zip(*(rows.split(AT_ONCE) for rows in _parts(self)), strict=True)
        return [[_Mentions.of(rows) for rows in part] for part in split]


@dataclass(frozen=True)
class _Mentions:
    """Rows of spots, which may repeat, and the order that brings equal ones together."""

    rows: Tensor
    order: Tensor
    different: Tensor
    pointers: Tensor

    @classmethod
    def of(cls, rows: Tensor) -> _Mentions:
        order = rows.argsort(stable=True)
        different, counts = rows[order].unique_consecutive(return_counts=True)
        return cls(rows, order, different, F.pad(counts.cumsum(0), (1, 0)))

    def add(self, values: Tensor, to: Tensor) -> None:
        """Add values, one for each mention, to the rows of ``to``."""
        to[self.different] += torch.segment_reduce(values[self.order], "sum", offsets=self.pointers)


def _parts(held: Matches | Triplets) -> list[Tensor]:
    return [getattr(held, each.name) for each in fields(held)]


def nearest(query: Tensor, reference: Tensor, k: int) -> Tensor:
    """Find the k nearest rows of ``reference`` for each row of ``query``, exactly.

    Parameters
    ----------
    query, reference
        Shapes (n, d) and (m, d), float32.
    k
        Neighbours; at most m are returned.

    Returns
    -------
    Shape (n, min(k, m)), int64, in any order.
    """
    k = min(k, len(reference))
    block = max(1, BLOCK_ELEMENTS // len(reference))
    centre = reference.mean(0)
    # Centred, so that the cancellation in ‖a‖² − 2ab + ‖b‖² stays at rounding error.
    query, reference = query - centre, reference - centre
    half_norm = reference.square().sum(1).mul_(0.5)
    threads = torch.get_num_threads()
    found: list[Tensor] = []
    # Products have their own threads; numpy's selection releases the lock for others.
    with ThreadPoolExecutor(threads) as pool:
        select = pool.map if threads > 1 else map
        for rows in query.split(block * threads):
            values = torch.addmm(half_norm, rows, reference.t(), alpha=-1.0)
            found += select(_smallest, values.split(block), repeat(k))
    return torch.cat(found)


def _smallest(values: Tensor, k: int) -> Tensor:
    """Columns of the k smallest values of each row, in any order.

    A bound from every eighth column leaves a little more than k values of each row, and the k
    smallest are selected from these. numpy's selection uses the processor's widest instructions.
    Rows with too few values left by chance, and rows with a tie for the last place, are selected
    from whole.
    """
    n, m = values.shape
    share = k / STRIDE
    rank = int(share + 3 * share**0.5 + 2)
    if values.is_cuda or m < 4 * STRIDE * rank:
        return values.topk(k, largest=False).indices
    flat = values.numpy()
    bound = np.partition(flat[:, ::STRIDE], rank - 1, axis=1)[:, rank - 1 : rank]
    at = np.flatnonzero(flat <= bound)
    starts = np.arange(n + 1) * m
    counts = np.diff(np.searchsorted(at, starts))
    near = flat.take(at)
    filled = np.arange(max(k, int(counts.max()))) < counts[:, None]
    left = np.full(filled.shape, np.inf, dtype=flat.dtype)
    left[filled] = near
    limit = np.repeat(np.partition(left, k - 1, axis=1)[:, k - 1], counts)
    nearest_at = at[near <= limit]
    exact = np.diff(np.searchsorted(nearest_at, starts)) == k
    if exact.all():
        return torch.from_numpy(nearest_at.reshape(n, k) - starts[:-1, None])
    found = np.empty((n, k), dtype=np.int64)
    found[exact] = (nearest_at[exact[nearest_at // m]] % m).reshape(-1, k)
    whole = torch.from_numpy(np.flatnonzero(~exact))
    found[~exact] = values[whole].topk(k, largest=False).indices.numpy()
    return torch.from_numpy(found)


def _sorted(keys: Tensor) -> Tensor:
    return keys.sort().values if keys.is_cuda else torch.from_numpy(np.sort(keys.numpy()))


def mutual_nearest(
    embedding: Tensor, first: Tensor, second: Tensor, k: int, k_back: int | None = None
) -> Matches:
    """Pairs of spots of two slices where each is among the other's k nearest in z.

    Parameters
    ----------
    embedding
        Shape (N, d), float32: z of all spots.
    first, second
        Rows of the two slices, int64.
    k
        Number of nearest neighbours, at most the size of the slice.
    k_back
        The same for spots of the second slice in the first, if different.
    """
    z_first, z_second = embedding[first], embedding[second]
    there = nearest(z_first, z_second, k)
    back = nearest(z_second, z_first, k if k_back is None else k_back)
    m = len(second)
    keys = (torch.arange(len(first), device=embedding.device)[:, None] * m + there).flatten()
    keys_back = (back * m + torch.arange(m, device=embedding.device)[:, None]).flatten()
    # No key occurs twice on one side, so a key that occurs twice is from both sides.
    both = _sorted(torch.cat([keys, keys_back]))
    keys = both[:-1][both[1:] == both[:-1]]
    i, j = torch.div(keys, m, rounding_mode="floor"), keys % m
    # index_select, because indexing with brackets takes several times as long.
    apart = z_first.index_select(0, i).sub_(z_second.index_select(0, j))
    return Matches(first[i], second[j], torch.linalg.vector_norm(apart, dim=1))


def draw_triplets(
    matches: Sequence[Matches],
    slice_rows: Sequence[Tensor],
    slice_of: Tensor,
    positives: Positives,
    generator: torch.Generator,
) -> Triplets | None:
    """Draw one triplet for each anchor and each pair of slices where it has matches.

    Parameters
    ----------
    matches
        For each pair of slices; anchors come from both slices of a pair.
    slice_rows
        Rows of the spots of each slice, contiguous.
    slice_of
        Shape (N,), int64: the slice of each spot.
    positives
        ``"random"``: any match of the anchor, drawn uniformly; ``"nearest"``: its nearest.
    generator
        On the CPU, so that every device draws the same.

    Returns
    -------
    The triplets, or ``None`` if there are no matches at all.
    """
    anchors, chosen = [], []
    for match in matches:
        for anchor, positive in ((match.first, match.second), (match.second, match.first)):
            if len(anchor):
                unique, pick = _one_per_anchor(anchor, match.distance, positives, generator)
                anchors.append(unique)
                chosen.append(positive[pick])
    if not anchors:
        return None
    anchor = torch.cat(anchors)
    sizes = torch.tensor([len(rows) for rows in slice_rows], device=anchor.device)
    starts = torch.stack([rows[0] for rows in slice_rows])
    own = slice_of[anchor]
    drawn = torch.rand(len(anchor), generator=generator, dtype=torch.float64).to(anchor.device)
    offset = torch.minimum((drawn * sizes[own]).long(), sizes[own] - 1)
    return Triplets(anchor, torch.cat(chosen), starts[own] + offset)


def _one_per_anchor(
    anchor: Tensor, distance: Tensor, positives: Positives, generator: torch.Generator
) -> tuple[Tensor, Tensor]:
    """Anchors, each once, and the index of the match drawn for each."""
    # By anchor, then by distance: the bits of numbers that are not below 0 have their order.
    order = torch.argsort((anchor << 32) + distance.view(torch.int32), stable=True)
    unique, counts = torch.unique_consecutive(anchor[order], return_counts=True)
    start = counts.cumsum(0) - counts
    if positives == "nearest":
        return unique, order[start]
    drawn = torch.rand(len(unique), generator=generator, dtype=torch.float64).to(anchor.device)
    return unique, order[start + torch.minimum((drawn * counts).long(), counts - 1)]
