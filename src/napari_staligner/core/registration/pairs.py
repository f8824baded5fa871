"""Registration of a pair of sections: from many starts to the best way, coarse to fine."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from napari_staligner.core.registration.ambiguity import Way, decide, turned_back
from napari_staligner.core.registration.comparing import best_smoothing, covered, gain
from napari_staligner.core.registration.optimize import refine
from napari_staligner.core.registration.starts import LEAST_OVERLAP, PIXELS, distinct, starts
from napari_staligner.core.registration.transforms import inverse

if TYPE_CHECKING:
    from napari_staligner.core.registration.choice import Model
    from napari_staligner.core.registration.sections import Section
    from napari_staligner.core.registration.transforms import Matrix

TRIED = 4
"""Number of starts of a pair that are refined."""
MIDDLE = 4.0
"""Smoothing, in spacings, at which the orientation of a pair is decided."""
FINEST = 1.0
"""The same for what a pair says of its handedness to the others: the noise of single spots is in
both ways that are compared, and falls out."""
LEAST = 2.0
"""Least smoothing of the last stage, in spacings; below it, the noise of single spots decides."""
CLEAR = 2.5
"""Smoothing of the last stage, in those at which the pair differs least: there, what they share and
what each has for itself weigh the same; what is coarser is mostly shared. Of several factors, pairs
contradict each other little with this one (``triangles`` in ``benchmarks/registration.py``)."""
WHOLE = 0.85
"""Share of each of two sections that lies on the other where they show the same piece of tissue."""


class PairFit(NamedTuple):
    """A pair of slices, one registered to the other.

    How much it differs, how it lies, the last smoothing, and whether its outlines tell nothing.
    """

    cost: float
    way: Way
    finest: float
    cut: bool


def register_pair(
    first: Section,
    second: Section,
    model: Model,
    lying: Matrix | None = None,
    *,
    cut: bool = False,
) -> PairFit:
    """The way from the first section to the second: the best of several starts.

    One of them is how the two lie, where they have one unit. Outlines count unless the sections
    are ``cut``, or turn out to show parts of each other.
    """
    if _order(first) > _order(second):
        # The same way whichever comes first, so that the two transforms are inverse.
        fit = register_pair(
            second, first, model, None if lying is None else inverse(lying), cut=cut
        )
        return fit._replace(way=turned_back(fit.way))
    sections, pair, models = {0: first, 1: second}, (0, 1), {0: model}
    largest = max(np.ptp(s.points, axis=0).max() for s in (first, second))
    coarse = max(2 * MIDDLE, float(largest) / PIXELS)

    def laid(matrix: Matrix) -> dict[int, Matrix]:
        return {0: matrix, 1: np.eye(3)}

    def refined(matrix: Matrix, sigmas: Sequence[float], *, rough: bool = False) -> Matrix:
        cuts = [pair] if cut else []
        return refine(sections, [pair], laid(matrix), 1, models, sigmas, cuts, rough=rough)[0][0]

    def gained(matrix: Matrix) -> float:
        return gain(sections, pair, laid(matrix), coarse)

    found = starts(first.moving, (second.points, second.features), TRIED)
    if lying is not None and covered(sections, pair, laid(lying), coarse) >= LEAST_OVERLAP:
        found.append(lying)
    rough = sorted((refined(m, (coarse,), rough=True) for m in found), key=gained, reverse=True)
    close = [refined(m, _halved(coarse, MIDDLE)) for m in distinct(rough)[:2]]
    clearest = best_smoothing(sections, pair, laid(close[0]))
    way = decide(sections, close, MIDDLE, FINEST)
    return finished(first, second, model, PairFit(0.0, way, max(LEAST, CLEAR * clearest), cut))


def finished(first: Section, second: Section, model: Model, fit: PairFit) -> PairFit:
    """Refine the way of a pair down to its last smoothing, and see whether outlines tell."""
    sections, pair, cut = {0: first, 1: second}, (0, 1), fit.cut

    def refined(matrix: Matrix, sigmas: Sequence[float]) -> tuple[Matrix, float]:
        laid, cuts = {0: matrix, 1: np.eye(3)}, [pair] if cut else []
        found, costs = refine(sections, [pair], laid, 1, {0: model}, sigmas, cuts)
        return found[0], costs[pair]

    last = _halved(MIDDLE, fit.finest)
    matrix, cost = refined(fit.way.matrix, last)
    if not cut and covered(sections, pair, {0: matrix, 1: np.eye(3)}, fit.finest) < WHOLE:
        cut = True
        matrix, cost = refined(matrix, (MIDDLE, *last))
    return fit._replace(cost=cost, way=replace(fit.way, matrix=matrix), cut=cut)


def _halved(start: float, end: float) -> list[float]:
    """Smoothings below the start, each half of the one before, with the end as the last."""
    halvings = max(1, int(np.ceil(np.log2(start / end))))
    return [max(end, start / 2**k) for k in range(1, halvings + 1)]


def _order(section: Section) -> tuple[float, ...]:
    return len(section.points), *section.features.mean(axis=0).round(6)
