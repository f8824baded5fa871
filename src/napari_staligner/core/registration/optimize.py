r"""Moves all slices together until their embeddings agree.

With :math:`F_j` the smoothed embedding of slice j, :math:`z_p` that of a spot p of slice i, and
:math:`T_i` the transform of slice i into the common frame, a spot differs by

.. math:: d_p^2 = \lVert F_j(T_j^{-1} T_i\, p) - z_p - \mu_{ij} \rVert^2

where :math:`\mu_{ij}`, the mean of what it is subtracted from, is what the two slices differ by
everywhere. It costs :math:`s (1 - e^{-d_p^2 / s})`, which levels off: a spot that differs much more
than is usual for the pair may lie in a structure of its own, and how much more tells nothing. A
spot that lies on no tissue of the other slice costs b. A pair costs the mean over the spots of both
slices, each looked up in the other, so that the way there and the way back are inverse.

With b the usual cost of a spot on the tissue, it does not matter where a slice ends. But sections
that cover each other as a whole also tell by their outlines how they lie, the more, the less their
embeddings agree: then b is raised, and each place on the outline of one section costs by its
distance from the outline of the other, which levels off, too: a tear or a fold is not to decide.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from napari_staligner.core.registration.bounded import LEAST_GAIN, descend
from napari_staligner.core.registration.comparing import Comparison
from napari_staligner.core.registration.starts import UNRELATED
from napari_staligner.core.registration.transforms import (
    apply,
    inverse,
    limits,
    parameters,
    scale_of,
    shifted,
    small,
)

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from napari_staligner.core.registration.choice import Model
    from napari_staligner.core.registration.sections import Section
    from napari_staligner.core.registration.transforms import Matrix

    Pair = tuple[int, int]

STRAY = 3.0
"""Difference, in the usual one of a pair, at which what a spot costs levels off."""
OUTLINE = 3.0
"""How much more a spot off the tissue costs than a usual one on it, where the embeddings do not
agree at all; in proportion to their difference where they do."""
RIM, ALIKE = 3.0, 0.2
"""Cost of an outline far from the other, for each variance by which the embeddings of a pair differ
more than the second number: with less, they alone tell to a part of a spacing how it lies."""
TORN = 3.0
"""Distance between outlines, in spacings, at which what it costs levels off."""
ROUGH, ROUGH_GAIN = 1000, 1e-5
"""Most spots of a section that are looked up, and least gain of a step, where about the best is
enough: neighbours see about the same."""
STIFFNESS = 0.05
"""Cost of scaling and shearing, against the variance of the embedding."""
FIRST_STEP = 1.0
"""First step of a stage, in the unit of the sections: about a spacing at the rim."""


def refine(
    sections: Mapping[int, Section],
    pairs: Sequence[Pair],
    start: Mapping[int, Matrix],
    fixed: int,
    models: Mapping[int, Model],
    sigmas: Sequence[float],
    cut: Collection[Pair] = (),
    *,
    rough: bool = False,
) -> tuple[dict[int, Matrix], dict[Pair, float]]:
    """Move all sections but one until the pairs agree best, coarse to fine.

    Parameters
    ----------
    sections
        The sections.
    pairs
        Pairs that are compared.
    start
        Transform of each section into the common frame.
    fixed
        The section that stays.
    models
        What the transform of each may do.
    sigmas
        Smoothing of each stage, in spacings.
    cut
        Pairs whose outlines tell nothing, since a section of theirs shows a part of the other.
    rough
        Whether about the best is enough: it is found with fewer spots.

    Returns
    -------
    Transforms, and by how much the sections of each pair differ where they lie on each other, in
    variances of the embedding.
    """
    transforms = dict(start)
    for sigma in sigmas:
        most, least_gain = (ROUGH, ROUGH_GAIN) if rough else (None, LEAST_GAIN)
        stage = _Stage(sections, pairs, transforms, fixed, models, sigma, cut, most)
        values = descend(stage.cost, *stage.bounds(), FIRST_STEP, least_gain)
        transforms, _ = stage.transforms(values)
    return transforms, {pair: stage.difference(pair, transforms) for pair in pairs}


class _Levels(NamedTuple):
    """The s and b of the cost of a pair at one smoothing, and what its outlines cost."""

    stray: float
    off: float
    rim: float = 0.0


class _Pull(NamedTuple):
    """Slope of the cost by where a matrix takes the spots of a section, shape (2, 3)."""

    direction: Pair
    there: Matrix
    moment: NDArray[np.float64]


class _Stage:
    """The cost at one smoothing, as a function of small moves of the sections.

    The values of a section are its moves about its centre (see :func:`small`). Those of the
    linear part are multiplied by its radius, so that all are lengths at the rim.
    """

    def __init__(
        self,
        sections: Mapping[int, Section],
        pairs: Sequence[Pair],
        start: Mapping[int, Matrix],
        fixed: int,
        models: Mapping[int, Model],
        sigma: float,
        cut: Collection[Pair] = (),
        most: int | None = None,
    ) -> None:
        self._sections, self._pairs, self._start = sections, pairs, start
        self._comparison = Comparison(sections, sigma, most)
        self._middles: dict[Pair, NDArray[np.float64]] = {}
        self._models = {k: models[k] for k in sections if k != fixed}
        ends = np.cumsum([0, *(parameters(model) for model in self._models.values())])
        self._at = {
            k: slice(a, b) for k, a, b in zip(self._models, ends[:-1], ends[1:], strict=True)
        }
        self.size = int(ends[-1])
        self._centers = {k: start[k][:2, 2] for k in self._models}
        self._radii = {
            k: float(np.linalg.norm(apply(start[k], sections[k].points) - c, axis=1).mean()) or 1.0
            for k, c in self._centers.items()
        }
        self._levels = {pair: self._level(pair, whole=pair not in cut) for pair in pairs}

    def bounds(self) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Least and largest of the values, shape (size,) each; see :func:`limits`."""
        low, high = np.zeros(self.size), np.zeros(self.size)
        for k, at in self._at.items():
            ends = limits(self._models[k], scale_of(self._start[k]))
            low[at], high[at] = (self._radii[k] * end for end in ends)
        return low, high

    def _level(self, pair: Pair, *, whole: bool) -> _Levels:
        """What is usual for a pair as it lies now."""
        found = self._comparison.compare(pair, self._start)
        if not found.tissue.any():
            return _Levels(UNRELATED, UNRELATED)
        usual = found.difference
        # Where all features are the same, nothing differs.
        stray = max(min(UNRELATED, STRAY * usual), 1e-9)
        levelled = -stray * np.expm1(-found.squares / stray)
        off = float(np.average(levelled, weights=found.tissue))
        if not whole:
            return _Levels(stray, off)
        raised = min(stray, off * (1 + OUTLINE * min(usual, 1.0)))
        return _Levels(stray, raised, RIM * max(0.0, min(usual, 1.0) - ALIKE))

    def transforms(
        self, values: NDArray[np.float64]
    ) -> tuple[dict[int, Matrix], dict[int, NDArray[np.float64]]]:
        """Transforms of all sections, and the derivatives with respect to the values of each."""
        matrices, slopes = dict(self._start), {}
        for k, at in self._at.items():
            per = np.where(np.arange(at.stop - at.start) < 2, 1.0, 1 / self._radii[k])
            matrix, by = small(values[at] * per, self._models[k])
            before = shifted(-self._centers[k]) @ self._start[k]
            after = shifted(self._centers[k])
            matrices[k] = after @ matrix @ before
            slopes[k] = after @ (by * per[:, None, None]) @ before
        return matrices, slopes

    def difference(self, pair: Pair, transforms: Mapping[int, Matrix]) -> float:
        """Mean squared difference of a pair where its sections lie on each other."""
        return self._comparison.compare(pair, transforms).difference

    def pair_cost(self, pair: Pair, transforms: Mapping[int, Matrix]) -> tuple[float, list[_Pull]]:
        """Cost of a pair, and its slopes."""
        stray, off, rim = self._levels[pair]
        # The middle moves little from one trial to the next.
        found = self._comparison.compare(
            pair, transforms, stray, self._middles.get(pair), slopes=True
        )
        self._middles[pair] = found.middle
        less = np.expm1(-found.squares / stray)
        more = -stray * less - off
        spots = len(more)
        cost = off + float((found.tissue * more).sum()) / spots
        counted = 2 * found.tissue * (1 + less)
        first = len(found.looks[0].tissue)
        pulls = []
        for k, part in enumerate((slice(first), slice(first, None))):
            direction, look = (pair, pair[::-1])[k], found.looks[k]
            signed = found.apart[part] if k == 0 else -found.apart[part]
            by_place = np.einsum("and,nd->an", look.slopes, signed) * counted[part]
            by_place += look.tissue_slopes * more[part]
            points = self._comparison.spots[direction[0]].points
            moment = np.einsum("an,bn->ab", by_place, points) / spots
            if rim:
                costed, by_rim = self._rim_cost(direction, found.there[k])
                cost += rim * costed
                moment += rim * by_rim
            pulls.append(_Pull(direction, found.there[k], moment))
        return cost, pulls

    def _rim_cost(self, direction: Pair, there: Matrix) -> tuple[float, NDArray[np.float64]]:
        """How far the outline of one section is from that of the other: 0 to a half; its slope."""
        i, j = direction
        points = self._sections[i].outline.points
        away, slopes = self._sections[j].outline.look(apply(there, points))
        far = (TORN * max(self._sections[k].step for k in direction)) ** 2
        share = np.exp(-np.square(away) / far)
        by_place = (2 * away / far * share)[:, None] * slopes / (2 * len(points))
        moment = by_place.T @ np.column_stack([points, np.ones(len(points))])
        return float((1 - share).mean()) / 2, moment

    def cost(self, values: NDArray[np.float64]) -> tuple[float, NDArray[np.float64]]:
        """Mean cost of the pairs plus stiffness, and the slope with respect to the values."""
        transforms, by_values = self.transforms(values)
        total, slope = 0.0, np.zeros(self.size)
        for pair in self._pairs:
            cost, pulls = self.pair_cost(pair, transforms)
            total += cost / len(self._pairs)
            for (i, j), there, moment in pulls:
                by_frame = inverse(transforms[j])[:2, :2].T @ moment / len(self._pairs)
                for k, by, sign in ((i, by_frame, 1.0), (j, by_frame @ there.T, -1.0)):
                    if k in self._at:
                        slope[self._at[k]] += sign * (by_values[k][:, :2] * by).sum(axis=(1, 2))
        for k, at in self._at.items():
            back = inverse(self._start[k])[:2, :2]
            stretch = transforms[k][:2, :2] @ back
            strain = stretch.T @ stretch - np.eye(2)
            total += STIFFNESS * float(np.square(strain).sum()) / 4
            by = by_values[k][:, :2, :2] @ back
            slope[at] += STIFFNESS * ((stretch @ strain) * by).sum(axis=(1, 2))
        return total, slope
