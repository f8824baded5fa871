r"""Moves all slices together until their embeddings agree.

With :math:`F_j` the smoothed embedding of slice j, :math:`z_p` that of a spot p of slice i, and
:math:`T_i` the transform of slice i into the common frame, a pair of slices costs

.. math::

    C_{ij} = \frac{\sum_p w_p \lVert F_j(T_j^{-1} T_i\, p) - z_p - \mu_{ij} \rVert^2}{\sum_p w_p}

summed over the spots of both slices, each looked up in the other. The weights are 0 where the
other slice has no tissue, and for the worst tenth of the spots, chosen anew at each smoothing.
:math:`\mu_{ij}`, the mean of what it is subtracted from, is the overall difference of the two
slices. The cost is symmetric in the two slices, so that the transforms in both directions are
inverse.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np

from napari_staligner.core.registration.bounded import descend
from napari_staligner.core.registration.choice import Model
from napari_staligner.core.registration.raster import Field, FieldSample, rasterize
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

    from napari_staligner.core.registration.transforms import Matrix

    Pair = tuple[int, int]

KEPT = 0.9
"""Share of the spots in the overlap that count: the worst may be in a structure of one slice."""
STIFFNESS = 0.05
"""Cost of scaling and shearing, relative to the variance of the embedding."""
LEAST_OVERLAP = 0.9
"""Share of the overlap at the start below which moving apart costs: over less tissue, sections
agree better by chance."""
PARTING = 10.0
"""Cost of no overlap at all, relative to the variance of the embedding."""
SMOOTHINGS = tuple(2 ** (k / 2) for k in range(6))
"""In spacings, from one to nearly six: the smoothings for the last comparison of a pair."""
PIXEL = 0.5
"""Width of a pixel, as a share of the smoothing or of the spacing, whichever is larger."""
FIRST_STEP = 1.0
"""First step of a stage, in the unit of the sections: about a spacing at the rim."""


@dataclass(frozen=True)
class Section:
    """One slice in a registration.

    Parameters
    ----------
    points
        Shape (spots, 2), in a unit that all sections share: about a spacing. Spots without a match
        in any other slice, and spots far from the rest, are left out.
    features
        Shape (spots, d), scaled to a variance of 1 in all.
    some
        Rows of the spots that are looked up in other sections.
    step
        Distance from a spot to its sixth neighbour.
    """

    points: NDArray[np.float64]
    features: NDArray[np.float64]
    some: NDArray[np.intp]
    step: float

    @cached_property
    def moving(self) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Points and features of the spots that are looked up."""
        return self.points[self.some], self.features[self.some]

    def field(self, sigma: float) -> Field:
        """Smoothed features."""
        sigma *= self.step
        return rasterize(self.points, self.features, sigma, PIXEL * max(self.step, sigma / 2))


def refine(
    sections: Mapping[int, Section],
    pairs: Sequence[Pair],
    start: Mapping[int, Matrix],
    fixed: int,
    models: Mapping[int, Model],
    sigmas: Sequence[float],
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

    Returns
    -------
    Transforms, and the cost of each pair, in variances of the embedding.
    """
    transforms, costs = dict(start), dict.fromkeys(pairs, 0.0)
    floors: dict[Pair, float] = {}
    for sigma in sigmas:
        stage = _Stage(sections, pairs, transforms, fixed, models, sigma)
        floors = floors or {p: LEAST_OVERLAP * stage.overlap(p, transforms) for p in pairs}
        stage.floors = floors
        transforms, _ = stage.transforms(descend(stage.cost, *stage.bounds(), FIRST_STEP))
        costs = {pair: stage.compare(pair, transforms)[0] for pair in pairs}
    return transforms, costs


def best_smoothing(
    sections: Mapping[int, Section], pair: Pair, transforms: Mapping[int, Matrix]
) -> float:
    """The smoothing among :data:`SMOOTHINGS`, in spacings, at which a pair differs least.

    With a finer one, what the sections share is lost in the noise of the spots and in what only
    one section has; with a coarser one, in the smoothing.
    """
    models = {pair[0]: Model.RIGID}
    costs = [
        _Stage(sections, [pair], transforms, pair[1], models, sigma).compare(pair, transforms)[0]
        for sigma in SMOOTHINGS
    ]
    return SMOOTHINGS[int(np.argmin(costs))]


def gain(
    sections: Mapping[int, Section], pair: Pair, transforms: Mapping[int, Matrix], sigma: float
) -> float:
    """Gain of a pair over unrelated tissue: overlap times how much less it differs.

    Unlike the cost, it can compare starts of different overlap.
    """
    stage = _Stage(sections, [pair], transforms, pair[1], {pair[0]: Model.RIGID}, sigma)
    cost, _ = stage.compare(pair, transforms)
    return stage.overlap(pair, transforms) * (UNRELATED - cost)


def gains(
    sections: Mapping[int, Section], pair: Pair, transforms: Mapping[int, Matrix], sigma: float
) -> NDArray[np.float64]:
    """Gain of each spot that is looked up, of the first section and then of the second.

    Shape (spots,): how much less its embedding differs from the other section, where it overlaps,
    than from unrelated tissue; at worst as much more.
    """
    stage = _Stage(sections, [pair], transforms, pair[1], {pair[0]: Model.RIGID}, sigma)
    return stage.gains(pair, transforms)


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
    ) -> None:
        self._sections, self._pairs, self._start = sections, pairs, start
        self._fields = {k: section.field(sigma) for k, section in sections.items()}
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
        self.floors: Mapping[Pair, float] = dict.fromkeys(pairs, 0.0)
        self._weights = {
            direction: self._trimmed(direction) for i, j in pairs for direction in ((i, j), (j, i))
        }

    def bounds(self) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Least and largest of the values, shape (size,) each; see :func:`limits`."""
        low, high = np.zeros(self.size), np.zeros(self.size)
        for k, at in self._at.items():
            ends = limits(self._models[k], scale_of(self._start[k]))
            low[at], high[at] = (self._radii[k] * end for end in ends)
        return low, high

    def _trimmed(self, direction: Pair) -> NDArray[np.float64]:
        """1 for the spots that count at their present places, 0 for the others."""
        i, _ = direction
        look, _ = self._look(direction, self._start)
        over = look.tissue > 0
        if not over.any():
            return np.ones(len(over))
        apart = look.values - self._sections[i].moving[1]
        error = np.square(apart - np.median(apart[over], axis=0)).sum(axis=1)
        return np.asarray(error <= np.quantile(error[over], KEPT), dtype=np.float64)

    def _look(
        self, direction: Pair, transforms: Mapping[int, Matrix]
    ) -> tuple[FieldSample, NDArray[np.float64]]:
        """The field of one section at the spots of the other, and their places."""
        i, j = direction
        there = inverse(transforms[j]) @ transforms[i]
        places = apply(there, self._sections[i].moving[0])
        return self._fields[j].look(places), places

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

    def overlap(self, pair: Pair, transforms: Mapping[int, Matrix]) -> float:
        """Share of one section that overlaps the other: the larger of the two shares."""
        looks = (self._look(d, transforms)[0] for d in (pair, pair[::-1]))
        return max(float(look.tissue.mean()) for look in looks)

    def gains(self, pair: Pair, transforms: Mapping[int, Matrix]) -> NDArray[np.float64]:
        """See :func:`gains`."""
        found = []
        for d in (pair, pair[::-1]):
            look, _ = self._look(d, transforms)
            apart = look.values - self._sections[d[0]].moving[1]
            over = look.tissue > 0
            apart -= np.median(apart[over], axis=0) if over.any() else 0.0
            less = UNRELATED - np.square(apart).sum(axis=1)
            found.append(look.tissue * np.maximum(less, -UNRELATED))
        return np.concatenate(found)

    def compare(
        self, pair: Pair, transforms: Mapping[int, Matrix]
    ) -> tuple[float, dict[Pair, tuple[NDArray[np.float64], NDArray[np.float64]]]]:
        """Cost of a pair; for each direction its slope with respect to the places, and these."""
        directions = (pair, pair[::-1])
        looks = {d: self._look(d, transforms) for d in directions}
        signs = dict(zip(directions, (1.0, -1.0), strict=True))
        apart, weights = {}, {}
        for d, (look, _) in looks.items():
            apart[d] = look.values - self._sections[d[0]].moving[1]
            weights[d] = self._weights[d] * look.tissue
        total = max(sum(w.sum() for w in weights.values()), 1e-9)
        mean = sum(signs[d] * (weights[d] @ apart[d]) for d in directions) / total
        apart = {d: a - signs[d] * mean for d, a in apart.items()}
        squares = {d: np.square(a).sum(axis=1) for d, a in apart.items()}
        cost = float(sum(weights[d] @ squares[d] for d in directions) / total)
        larger = max(directions, key=lambda d: float(looks[d][0].tissue.mean()))
        seen, floor = float(looks[larger][0].tissue.mean()), self.floors[pair]
        lack = max(0.0, 1 - seen / floor) if floor > 0 else 0.0
        slopes = {}
        for d, (look, places) in looks.items():
            by_value = 2 * (look.slopes @ apart[d][:, :, None])[:, :, 0] * weights[d][:, None]
            by_tissue = look.tissue_slopes * (self._weights[d] * (squares[d] - cost))[:, None]
            slopes[d] = (by_value + by_tissue) / total, places
        if lack:
            by_place, places = slopes[larger]
            parting = -2 * PARTING * lack / floor / len(places)
            slopes[larger] = by_place + parting * looks[larger][0].tissue_slopes, places
        return cost + PARTING * lack**2, slopes

    def cost(self, values: NDArray[np.float64]) -> tuple[float, NDArray[np.float64]]:
        """Mean cost of the pairs plus stiffness, and the slope with respect to the values."""
        transforms, by_values = self.transforms(values)
        total, slope = 0.0, np.zeros(self.size)
        for pair in self._pairs:
            cost, by_places = self.compare(pair, transforms)
            total += cost / len(self._pairs)
            for (i, j), (by_place, places) in by_places.items():
                by_frame = by_place @ inverse(transforms[j])[:2, :2] / len(self._pairs)
                for k, points, sign in (
                    (i, self._sections[i].moving[0], 1.0),
                    (j, places, -1.0),
                ):
                    if k in self._at:
                        moment = by_frame.T @ np.column_stack([points, np.ones(len(points))])
                        slope[self._at[k]] += sign * (by_values[k][:, :2] * moment).sum(axis=(1, 2))
        for k, at in self._at.items():
            back = inverse(self._start[k])[:2, :2]
            stretch = transforms[k][:2, :2] @ back
            strain = stretch.T @ stretch - np.eye(2)
            total += STIFFNESS * float(np.square(strain).sum()) / 4
            by = by_values[k][:, :2, :2] @ back
            slope[at] += STIFFNESS * ((stretch @ strain) * by).sum(axis=(1, 2))
        return total, slope
