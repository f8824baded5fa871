"""The tree of the surest pairs, by which all slices are first brought together."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_staligner.core.registration.transforms import inverse

if TYPE_CHECKING:
    from napari_staligner.core.registration.transforms import Matrix

    Pair = tuple[int, int]


def spread(costs: Mapping[Pair, Any], reference: int, n: int) -> tuple[list[Pair], list[int]]:
    """Tree of the cheapest pairs from the reference (Prim), as (new, known), and who is left."""
    known: set[int] = {reference}
    edges: list[Pair] = []
    while True:
        options = [
            (cost, i, j)
            for (p, q), cost in costs.items()
            for i, j in ((p, q), (q, p))
            if i not in known and j in known
        ]
        if not options:
            return edges, sorted(set(range(n)) - known)
        _, i, j = min(options)
        known.add(i)
        edges.append((i, j))


def compose(
    edges: Sequence[Pair], found: Mapping[Pair, Matrix], reference: int
) -> dict[int, Matrix]:
    """Transforms into the reference's frame, by those from the first of each pair to the second."""
    frame = {reference: np.eye(3)}
    for i, j in edges:
        there = found[i, j] if (i, j) in found else inverse(found[j, i])
        frame[i] = frame[j] @ there
    return frame
