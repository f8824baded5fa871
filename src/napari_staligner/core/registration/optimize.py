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
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from napari_staligner.core.registration.bounded import descend
from napari_staligner.core.registration.choice import Model
from napari_staligner.core.registration.outline import Outline, outline_of
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
ROUNDS = 30
"""Most rounds in which the middle of differences that level off is found."""
STIFFNESS = 0.05
"""Cost of scaling and shearing, against the variance of the embedding."""
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

    @cached_property
    def outline(self) -> Outline:
        """Where the section ends."""
        return outline_of(self.points, self.step)

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
    cut: Collection[Pair] = (),
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

    Returns
    -------
    Transforms, and by how much the sections of each pair differ where they lie on each other, in
    variances of the embedding.
    """
    transforms, costs = dict(start), dict.fromkeys(pairs, 0.0)
    for sigma in sigmas:
        stage = _Stage(sections, pairs, transforms, fixed, models, sigma, cut)
        transforms, _ = stage.transforms(descend(stage.cost, *stage.bounds(), FIRST_STEP))
        costs = {pair: stage.difference(pair, transforms) for pair in pairs}
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
        _Stage(sections, [pair], transforms, pair[1], models, sigma).difference(pair, transforms)
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
    return stage.overlap(pair, transforms) * (UNRELATED - stage.difference(pair, transforms))


def covered(
    sections: Mapping[int, Section], pair: Pair, transforms: Mapping[int, Matrix], sigma: float
) -> float:
    """Share of each section that lies on the other, the smaller of the two, 0..1."""
    stage = _Stage(sections, [pair], transforms, pair[1], {pair[0]: Model.RIGID}, sigma)
    return stage.covered(pair, transforms)


def gains(
    sections: Mapping[int, Section], pair: Pair, transforms: Mapping[int, Matrix], sigma: float
) -> NDArray[np.float64]:
    """Gain of each spot that is looked up, of the first section and then of the second.

    Shape (spots,): how much less its embedding differs from the other section, where it overlaps,
    than from unrelated tissue; at worst as much more.
    """
    stage = _Stage(sections, [pair], transforms, pair[1], {pair[0]: Model.RIGID}, sigma)
    return stage.gains(pair, transforms)


class _Levels(NamedTuple):
    """The s and b of the cost of a pair at one smoothing, and what its outlines cost."""

    stray: float
    off: float
    rim: float = 0.0


class _Pull(NamedTuple):
    """Slope of the cost by the places of points of a section, looked up in another."""

    direction: Pair
    points: NDArray[np.float64]
    places: NDArray[np.float64]
    by_place: NDArray[np.float64]


class _Compared(NamedTuple):
    """One section looked up in another: the look, the places, and what the spots differ by."""

    look: FieldSample
    places: NDArray[np.float64]
    apart: NDArray[np.float64]
    squares: NDArray[np.float64]


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
        parts = self._compare(pair, self._start).values()
        weight = np.concatenate([part.look.tissue for part in parts])
        squares = np.concatenate([part.squares for part in parts])
        if not weight.any():
            return _Levels(UNRELATED, UNRELATED)
        usual = float(np.average(squares, weights=weight))
        # Where all features are the same, nothing differs.
        stray = max(min(UNRELATED, STRAY * usual), 1e-9)
        off = float(np.average(_levelled(squares, stray), weights=weight))
        if not whole:
            return _Levels(stray, off)
        raised = min(stray, off * (1 + OUTLINE * min(usual, 1.0)))
        return _Levels(stray, raised, RIM * max(0.0, min(usual, 1.0) - ALIKE))

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

    def covered(self, pair: Pair, transforms: Mapping[int, Matrix]) -> float:
        """See :func:`covered`; the rim, where tissue fades out, is no lack."""
        shares = []
        for i, j in (pair, pair[::-1]):
            own = self._fields[i].look(self._sections[i].moving[0]).tissue.mean()
            there = self._look((i, j), transforms)[0].tissue.mean()
            shares.append(float(there / max(own, 1e-9)))
        return min(1.0, *shares)

    def difference(self, pair: Pair, transforms: Mapping[int, Matrix]) -> float:
        """Mean squared difference of a pair where its sections lie on each other."""
        parts = self._compare(pair, transforms).values()
        weight = sum(float(part.look.tissue.sum()) for part in parts)
        return sum(float(part.look.tissue @ part.squares) for part in parts) / max(weight, 1e-9)

    def _compare(
        self, pair: Pair, transforms: Mapping[int, Matrix], stray: float = np.inf
    ) -> dict[Pair, _Compared]:
        """Look each section up in the other; less what they differ by everywhere.

        That is the mean, or where differences level off at ``stray``, what costs least.
        """
        directions = (pair, pair[::-1])
        looks = {d: self._look(d, transforms) for d in directions}
        apart = {d: look.values - self._sections[d[0]].moving[1] for d, (look, _) in looks.items()}
        signed = np.concatenate([apart[pair], -apart[pair[::-1]]])
        tissue = np.concatenate([look.tissue for look, _ in looks.values()])
        offset = _middle(signed, tissue, stray)
        found = {}
        for d, (look, places) in looks.items():
            own = apart[d] - (offset if d == pair else -offset)
            found[d] = _Compared(look, places, own, np.square(own).sum(axis=1))
        return found

    def pair_cost(self, pair: Pair, transforms: Mapping[int, Matrix]) -> tuple[float, list[_Pull]]:
        """Cost of a pair, and its slopes."""
        stray, off, rim = self._levels[pair]
        parts = self._compare(pair, transforms, stray)
        spots = sum(len(part.squares) for part in parts.values())
        cost, pulls = off, []
        for d, (look, places, apart, squares) in parts.items():
            more = _levelled(squares, stray) - off
            cost += float(look.tissue @ more) / spots
            counted = look.tissue * np.exp(-squares / stray)
            by_value = 2 * (look.slopes @ apart[:, :, None])[:, :, 0] * counted[:, None]
            by_place = (by_value + look.tissue_slopes * more[:, None]) / spots
            pulls.append(_Pull(d, self._sections[d[0]].moving[0], places, by_place))
            if rim:
                costed, pull = self._rim_cost(d, transforms)
                cost += rim * costed
                pulls.append(pull._replace(by_place=rim * pull.by_place))
        return cost, pulls

    def _rim_cost(self, direction: Pair, transforms: Mapping[int, Matrix]) -> tuple[float, _Pull]:
        """How far the outline of one section is from that of the other: 0 to a half."""
        i, j = direction
        points = self._sections[i].outline.points
        places = apply(inverse(transforms[j]) @ transforms[i], points)
        away, slopes = self._sections[j].outline.look(places)
        far = (TORN * max(self._sections[k].step for k in direction)) ** 2
        share = np.exp(-np.square(away) / far)
        by_place = (2 * away / far * share)[:, None] * slopes / (2 * len(points))
        return float((1 - share).mean()) / 2, _Pull(direction, points, places, by_place)

    def cost(self, values: NDArray[np.float64]) -> tuple[float, NDArray[np.float64]]:
        """Mean cost of the pairs plus stiffness, and the slope with respect to the values."""
        transforms, by_values = self.transforms(values)
        total, slope = 0.0, np.zeros(self.size)
        for pair in self._pairs:
            cost, pulls = self.pair_cost(pair, transforms)
            total += cost / len(self._pairs)
            for (i, j), points, places, by_place in pulls:
                by_frame = by_place @ inverse(transforms[j])[:2, :2] / len(self._pairs)
                for k, spots, sign in ((i, points, 1.0), (j, places, -1.0)):
                    if k in self._at:
                        moment = by_frame.T @ np.column_stack([spots, np.ones(len(spots))])
                        slope[self._at[k]] += sign * (by_values[k][:, :2] * moment).sum(axis=(1, 2))
        for k, at in self._at.items():
            back = inverse(self._start[k])[:2, :2]
            stretch = transforms[k][:2, :2] @ back
            strain = stretch.T @ stretch - np.eye(2)
            total += STIFFNESS * float(np.square(strain).sum()) / 4
            by = by_values[k][:, :2, :2] @ back
            slope[at] += STIFFNESS * ((stretch @ strain) * by).sum(axis=(1, 2))
        return total, slope


def _levelled(squares: NDArray[np.float64], stray: float) -> NDArray[np.float64]:
    """Squared differences that level off at ``stray`` (Welsch)."""
    return np.asarray(stray * -np.expm1(-squares / stray))


def _middle(
    values: NDArray[np.float64], weights: NDArray[np.float64], stray: float
) -> NDArray[np.float64]:
    """What costs least to take from all values, shape (n, d): by means whose weights follow."""
    counted = weights
    middle = counted @ values / max(float(counted.sum()), 1e-9)
    for _ in range(ROUNDS if np.isfinite(stray) else 0):
        before = middle
        counted = weights * np.exp(-np.square(values - middle).sum(axis=1) / stray)
        middle = counted @ values / max(float(counted.sum()), 1e-9)
        if np.square(middle - before).sum() <= 1e-14 * stray:
            break
    return np.asarray(middle)
