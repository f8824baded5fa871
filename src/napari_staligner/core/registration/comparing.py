"""How two sections differ where they lie on each other, at one smoothing."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from napari_staligner.core.registration.starts import UNRELATED
from napari_staligner.core.registration.transforms import inverse

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from napari_staligner.core.registration.raster import FieldSample
    from napari_staligner.core.registration.sections import Section
    from napari_staligner.core.registration.transforms import Matrix

    Pair = tuple[int, int]

ROUNDS = 30
"""Most rounds in which the middle of differences that level off is found."""
SMOOTHINGS = tuple(2 ** (k / 2) for k in range(6))
"""In spacings, from one to nearly six: the smoothings for the last comparison of a pair."""


class Compared(NamedTuple):
    """Two sections, each looked up in the other.

    Parameters
    ----------
    looks
        What the second shows at the spots of the first, and the first at those of the second.
    there
        Transforms from the first to the second and back.
    apart
        Shape (spots of both, d): by how much the second's embedding is more than the first's,
        at the spots of the first and then at those of the second; less the middle.
    squares
        Shape (spots of both,): the squared differences.
    tissue
        Shape (spots of both,): whether they lie on the other section.
    middle
        What the two differ by everywhere, shape (d,).
    """

    looks: tuple[FieldSample, FieldSample]
    there: tuple[Matrix, Matrix]
    apart: NDArray[np.float64]
    squares: NDArray[np.float64]
    tissue: NDArray[np.float64]
    middle: NDArray[np.float64]

    @property
    def difference(self) -> float:
        """Mean squared difference where the sections lie on each other."""
        return float((self.tissue * self.squares).sum() / max(self.tissue.sum(), 1e-9))

    @property
    def overlap(self) -> float:
        """Share of one section that overlaps the other: the larger of the two shares."""
        return max(float(look.tissue.mean()) for look in self.looks)


class Comparison:
    """Sections at one smoothing.

    Parameters
    ----------
    sections
        The sections.
    sigma
        Smoothing, in spacings.
    most
        Most spots of a section that are looked up in others; all that may be if ``None``.
    """

    def __init__(
        self, sections: Mapping[int, Section], sigma: float, most: int | None = None
    ) -> None:
        self._fields = {k: section.field(sigma) for k, section in sections.items()}
        self.spots = {
            k: section.spots if most is None else section.few(most)
            for k, section in sections.items()
        }

    def look(self, direction: Pair, there: Matrix, *, slopes: bool = False) -> FieldSample:
        """The field of the second section at the spots of the first, which a matrix takes there."""
        i, j = direction
        return self._fields[j].look((there[:2] @ self.spots[i].points).T, slopes=slopes)

    def compare(
        self,
        pair: Pair,
        transforms: Mapping[int, Matrix],
        stray: float = np.inf,
        middle: NDArray[np.float64] | None = None,
        *,
        slopes: bool = False,
    ) -> Compared:
        """Look each section up in the other; less what they differ by everywhere.

        That is the mean, or where differences level off at ``stray``, what costs least; it is
        searched for from ``middle`` on.
        """
        i, j = pair
        ways = there, back = _between(transforms[i], transforms[j])
        looks = (
            self.look(pair, there, slopes=slopes),
            self.look((j, i), back, slopes=slopes),
        )
        apart = np.concatenate(
            [
                looks[0].values - self.spots[i].features,
                self.spots[j].features - looks[1].values,
            ]
        )
        tissue = np.concatenate([look.tissue for look in looks])
        middle = _middle(apart, tissue, stray, middle)
        apart -= middle
        squares = np.einsum("nd,nd->n", apart, apart)
        return Compared(looks, ways, apart, squares, tissue, middle)

    def gains(self, pair: Pair, transforms: Mapping[int, Matrix]) -> NDArray[np.float64]:
        """See :func:`gains`."""
        found = []
        i, j = pair
        there, back = _between(transforms[i], transforms[j])
        for direction, way in ((pair, there), ((j, i), back)):
            look = self.look(direction, way)
            apart = look.values - self.spots[direction[0]].features
            over = look.tissue > 0
            apart -= np.median(apart[over], axis=0) if over.any() else 0.0
            less = UNRELATED - np.square(apart).sum(axis=1)
            found.append(look.tissue * np.maximum(less, -UNRELATED))
        return np.concatenate(found)

    def alikeness(self, pair: Pair, transforms: Mapping[int, Matrix]) -> NDArray[np.float64]:
        """Product of each spot's features and the other section's: of the first, then the second.

        Shape (spots,). Unlike that of :meth:`gains`, its mean is 0 where sections overlap and have
        nothing in common.
        """
        found = []
        i, j = pair
        there, back = _between(transforms[i], transforms[j])
        for direction, way in ((pair, there), ((j, i), back)):
            look, own = self.look(direction, way), self.spots[direction[0]].features
            over = np.maximum(look.tissue, 1e-9)
            here, other = (v - np.average(v, axis=0, weights=over) for v in (own, look.values))
            found.append(look.tissue * (here * other).sum(axis=1))
        return np.concatenate(found)

    def covered(self, pair: Pair, transforms: Mapping[int, Matrix]) -> float:
        """See :func:`covered`; the rim, where tissue fades out, is no lack."""
        i, j = pair
        there, back = _between(transforms[i], transforms[j])
        shares = []
        for direction, way in ((pair, there), ((j, i), back)):
            k = direction[0]
            own = self.look((k, k), np.eye(3)).tissue.mean()
            over = self.look(direction, way).tissue.mean()
            shares.append(float(over / max(own, 1e-9)))
        return min(1.0, *shares)


def best_smoothing(
    sections: Mapping[int, Section], pair: Pair, transforms: Mapping[int, Matrix]
) -> float:
    """The smoothing among :data:`SMOOTHINGS`, in spacings, at which a pair differs least.

    With a finer one, what the sections share is lost in the noise of the spots and in what only
    one section has; with a coarser one, in the smoothing.
    """
    costs = [
        Comparison(sections, sigma).compare(pair, transforms).difference for sigma in SMOOTHINGS
    ]
    return SMOOTHINGS[int(np.argmin(costs))]


def gain(
    sections: Mapping[int, Section], pair: Pair, transforms: Mapping[int, Matrix], sigma: float
) -> float:
    """Gain of a pair over unrelated tissue: overlap times how much less it differs.

    Unlike the cost, it can compare starts of different overlap.
    """
    found = Comparison(sections, sigma).compare(pair, transforms)
    return found.overlap * (UNRELATED - found.difference)


def covered(
    sections: Mapping[int, Section], pair: Pair, transforms: Mapping[int, Matrix], sigma: float
) -> float:
    """Share of each section that lies on the other, the smaller of the two, 0..1."""
    return Comparison(sections, sigma).covered(pair, transforms)


def gains(
    sections: Mapping[int, Section], pair: Pair, transforms: Mapping[int, Matrix], sigma: float
) -> NDArray[np.float64]:
    """Gain of each spot that is looked up, of the first section and then of the second.

    Shape (spots,): how much less its embedding differs from the other section, where it overlaps,
    than from unrelated tissue; at worst as much more.
    """
    return Comparison(sections, sigma).gains(pair, transforms)


def _between(first: Matrix, second: Matrix) -> tuple[Matrix, Matrix]:
    """From the first section to the second, and back."""
    return inverse(second) @ first, inverse(first) @ second


def _middle(
    values: NDArray[np.float64],
    weights: NDArray[np.float64],
    stray: float,
    start: NDArray[np.float64] | None,
) -> NDArray[np.float64]:
    """What costs least to take from all values, shape (n, d): by means whose weights follow."""
    if start is None:
        start = weights @ values / max(float(weights.sum()), 1e-9)
    middle = start
    if not np.isfinite(stray):
        return middle
    squares = np.einsum("nd,nd->n", values, values)
    for _ in range(ROUNDS):
        before = middle
        # The squared distance from the middle, less what is the same for all.
        further = (values @ (2 * middle) - squares) / stray
        further -= middle @ middle / stray
        counted = weights * np.exp(np.minimum(further, 0.0))
        middle = counted @ values / max(float(counted.sum()), 1e-9)
        if np.square(middle - before).sum() <= 1e-14 * stray:
            break
    return np.asarray(middle)
