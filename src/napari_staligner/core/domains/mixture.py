"""A Gaussian mixture with one covariance for all components (mclust's EEE), from many starts.

With one covariance, the differences between components are linear in z: the quadratic term is the
same for all. So a round of expectation and maximisation needs two products of size spots × d × k,
while the general algorithm needs the scatter of all spots again. It is about twenty times faster,
which allows many starts.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import combinations, pairwise
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_staligner.core.progress import Progress, Steps

if TYPE_CHECKING:
    from numpy.typing import NDArray

STARTS, FEWEST_STARTS = 24, 12
REGULARISATION = 1e-5
ROUNDS = 2000
TRIAL_TOLERANCE, TOLERANCE = 1e-5, 1e-8
TRIAL_SPOTS = 50_000
"""Starts are tried on at most this many spots, drawn at random; the best then climbs on all."""
SAME = 2e-3
"""Two optima are the same if their mean log-likelihoods differ by less than this."""
LEVEL = 0.05


@dataclass(frozen=True)
class Fit:
    """An optimum of the likelihood.

    Parameters
    ----------
    likelihood
        Mean log-likelihood of a spot, up to a constant.
    shares
        Shape (spots, k): probability of each component for each spot.
    each
        Shape (spots,): log-likelihood of each spot, up to the same constant.
    stability
        Mean adjusted Rand index with the equally likely optima; 1 if there is no other, NaN if it
        was not computed.
    """

    likelihood: float
    shares: NDArray[np.float64]
    each: NDArray[np.float64]
    stability: float = float("nan")

    @property
    def labels(self) -> NDArray[np.int64]:
        """Most likely component of each spot, shape (spots,)."""
        return np.asarray(self.shares.argmax(axis=1), dtype=np.int64)


@dataclass(frozen=True)
class Lone:
    """Components that only one slice has, and some spots that certainly belong to them.

    Parameters
    ----------
    seeds
        Shape (spots,): the component of a spot that is known to belong to one, else -1. These are
        the first components, 0, 1, …
    slice_of
        Shape (spots,): number of the slice.
    """

    seeds: NDArray[np.int64]
    slice_of: NDArray[np.int64]

    @property
    def count(self) -> int:
        """Number of such components."""
        return int(self.seeds.max()) + 1

    @cached_property
    def _slices(self) -> NDArray[np.float64]:
        """1 where a spot belongs to a slice, shape (spots, slices)."""
        return np.eye(int(self.slice_of.max()) + 1)[self.slice_of]

    def rows(self, drawn: NDArray[np.int64]) -> Lone:
        """Return the same for some of the spots."""
        return Lone(self.seeds[drawn], self.slice_of[drawn])

    def starts(self, z: NDArray[np.float64], k: int, seed: int) -> Iterator[NDArray[np.int64]]:
        """Labels to start from: the seeds keep theirs, the others come from a fit without them."""
        free = self.seeds < 0
        for start in _starts(z[free], k - self.count, seed):
            labels = self.seeds.copy()
            labels[free] = start + self.count
            yield labels

    def barred(self, k: int) -> NDArray[np.float64]:
        """Shape (k, spots): minus infinity where a spot cannot belong to a component, else 0."""
        allowed = np.ones((k, len(self.seeds)), dtype=bool)
        for component in range(self.count):
            first = (self.seeds == component).argmax()
            allowed[component] = self.slice_of == self.slice_of[first]
        held = np.flatnonzero(self.seeds >= 0)
        allowed[:, held] = np.arange(k)[:, None] == self.seeds[held]
        return np.where(allowed, 0.0, -np.inf)

    def proportions(self, shares: NDArray[np.float64]) -> NDArray[np.float64]:
        """Log of each component's proportion in a spot's own slice, minus that in all slices.

        Takes and gives shape (k, spots).
        """
        by_slice = (shares @ self._slices + 1e-9) / np.maximum(self._slices.sum(axis=0), 1)
        log = np.log(by_slice / (shares.mean(axis=1, keepdims=True) + 1e-9))
        return np.asarray(log[:, self.slice_of])


def mixture(
    z: NDArray[np.float64],
    k: int,
    seed: int,
    blocks: NDArray[np.int64] | None = None,
    lone: Lone | None = None,
) -> Steps[Fit]:
    """Fit by the best of several starts: a single start often ends in a poor optimum.

    Parameters
    ----------
    z
        Shape (spots, d).
    k
        Components.
    seed
        Of the starts.
    blocks
        Shape (spots,): number of the block of tissue that contains a spot. With them, if the
        likelihood cannot separate optima, the one that agrees best with the others is taken.
    lone
        Components that only one slice has.

    Returns
    -------
    The most likely optimum or, of several equally likely ones, the one that agrees best with the
    others. The search ends early once the most likely one was reached three times.
    """
    z = (z - z.mean(axis=0)) / (z.std() or 1.0)
    drawn = _drawn(len(z), seed, lone)
    some = z if len(drawn) == len(z) else z[drawn]
    some_lone = lone if some is z or lone is None else lone.rows(drawn)
    scatter = some.T @ some
    fits: list[Fit] = []
    starts = some_lone.starts(some, k, seed) if some_lone else _starts(some, k, seed)
    for done, start in enumerate(starts):
        yield Progress("domains", done, STARTS + 1)
        fits.append(climb(some, scatter, start, TRIAL_TOLERANCE, some_lone))
        reached = np.array([fit.likelihood for fit in fits])
        if done + 1 >= FEWEST_STARTS and (reached > reached.max() - SAME).sum() >= 3:
            break
    yield Progress("domains", STARTS, STARTS + 1)
    best, stability = fits[int(reached.argmax())], float("nan")
    if blocks is not None:
        best, stability = most_agreed(as_likely(fits, blocks[drawn]))
    if some is z:
        return replace(climb(z, scatter, best.labels, TOLERANCE, lone), stability=stability)
    score = Rule.of(some, scatter, best.shares.T).score(z)
    if lone is not None:
        score += lone.barred(k)
    return replace(climb(z, z.T @ z, score.argmax(axis=0), TOLERANCE, lone), stability=stability)


def _drawn(n: int, seed: int, lone: Lone | None) -> NDArray[np.int64]:
    """Rows that starts are tried on; they always include the seeds of lone components."""
    if n <= TRIAL_SPOTS:
        return np.arange(n)
    drawn = np.random.default_rng(seed).choice(n, TRIAL_SPOTS, replace=False)
    return np.sort(drawn) if lone is None else np.union1d(drawn, np.flatnonzero(lone.seeds >= 0))


def as_likely(fits: Sequence[Fit], blocks: NDArray[np.int64]) -> list[Fit]:
    """Optima that the data cannot distinguish from the most likely one, each once.

    Vuong's test, with the hypothesis that the mean difference of the spots' log-likelihoods in two
    fits is zero. Neighbours are alike, so blocks of tissue are counted and not spots.

    Parameters
    ----------
    fits
        Optima.
    blocks
        Shape (spots,): number of the block that contains a spot.

    Returns
    -------
    The most likely first; those that are less likely at a level of 5 % (one-sided) are left out.
    """
    from scipy.stats import norm

    ordered = sorted(fits, key=lambda fit: -fit.likelihood)
    kept = [ordered[0]]
    _, block = np.unique(blocks, return_inverse=True)
    for before, fit in pairwise(ordered):
        if before.likelihood - fit.likelihood < SAME:
            continue
        lost = np.bincount(block, ordered[0].each - fit.each)
        if lost.sum() < norm.ppf(1 - LEVEL) * lost.std() * np.sqrt(len(lost)):
            kept.append(fit)
    return kept


def most_agreed(fits: Sequence[Fit]) -> tuple[Fit, float]:
    """The fit that agrees best with the others; the first if several do.

    Returns
    -------
    The fit, and its mean adjusted Rand index with the others; 1 if there are none.
    """
    from sklearn.metrics import adjusted_rand_score

    if len(fits) == 1:
        return fits[0], 1.0
    agreement = np.zeros((len(fits), len(fits)))
    for i, j in combinations(range(len(fits)), 2):
        agreement[i, j] = agreement[j, i] = adjusted_rand_score(fits[i].labels, fits[j].labels)
    mean = agreement.sum(axis=1) / (len(fits) - 1)
    return fits[int(mean.argmax())], float(mean.max())


@dataclass(frozen=True)
class Rule:
    """Scores of components, linear in z; ``common`` is the same for all of them."""

    towards: NDArray[np.float64]
    constant: NDArray[np.float64]
    common: float
    precision: NDArray[np.float64]

    @classmethod
    def of(
        cls, z: NDArray[np.float64], scatter: NDArray[np.float64], shares: NDArray[np.float64]
    ) -> Rule:
        """Maximise the likelihood for given shares, shape (k, spots)."""
        n, d = z.shape
        sizes = shares.sum(axis=1) + 1e-9
        means = (shares @ z) / sizes[:, None]
        within = (scatter - (means.T * sizes) @ means) / n + REGULARISATION * np.eye(d)
        precision = np.linalg.inv(within)
        towards = means @ precision
        constant = np.log(sizes / n) - 0.5 * (towards * means).sum(axis=1)
        # The part that is the same for all components: the quadratic term and the determinant.
        common = (scatter * precision).sum() / n + np.linalg.slogdet(within)[1]
        return cls(towards, constant, float(common), precision)

    def score(self, z: NDArray[np.float64]) -> NDArray[np.float64]:
        """Shape (k, spots)."""
        return np.asarray(self.towards @ z.T + self.constant[:, None])


def climb(
    z: NDArray[np.float64],
    scatter: NDArray[np.float64],
    labels: NDArray[np.integer[Any]],
    tolerance: float,
    lone: Lone | None = None,
) -> Fit:
    """Expectation and maximisation, from labels to a nearby optimum.

    Parameters
    ----------
    z
        Shape (spots, d), centred.
    scatter
        ``z.T @ z``.
    labels
        Shape (spots,): where to start.
    tolerance
        It ends when a round raises the mean log-likelihood by less than this.
    lone
        Components that only one slice has; ``labels`` have them first, and proportions are then
        those within each slice.
    """
    found, codes = np.unique(labels, return_inverse=True)
    # Components come first: numpy is many times faster over a long last axis than a short one.
    shares = (np.arange(len(found))[:, None] == codes).astype(np.float64)
    barred = np.zeros(0) if lone is None else lone.barred(len(found))
    likelihood = -np.inf
    for _ in range(ROUNDS):
        rule = Rule.of(z, scatter, shares)
        score = rule.score(z)
        if lone is not None:
            score += lone.proportions(shares) + barred
        top = score.max(axis=0)
        shares = np.exp(score - top)
        total = shares.sum(axis=0)
        shares /= total
        before, likelihood = likelihood, float((top + np.log(total)).mean() - 0.5 * rule.common)
        if likelihood - before < tolerance:
            break
    # The quadratic term is the same for all components, but not for all spots.
    own = ((z @ rule.precision) * z).sum(axis=1)
    each = top + np.log(total) - 0.5 * (rule.common + own - own.mean())
    return Fit(likelihood, shares.T, each)


def _starts(z: NDArray[np.float64], k: int, seed: int) -> Iterator[NDArray[np.integer[Any]]]:
    """Labels to start from: k-means and Ward's tree, alternately in z and in whitened z.

    Neither uses a shared covariance. If it is round, z itself works best; if it is elongated,
    whitened z does (mclust's trees start there).
    """
    from sklearn.cluster import KMeans
    from sklearn.decomposition import PCA

    white = PCA(whiten=True, svd_solver="full").fit_transform(z) if np.ptp(z, axis=0).any() else z
    for turn in range(STARTS // 4):
        for space in (z, white):
            k_means = KMeans(k, n_init=1, init="random", random_state=(seed + turn) % 2**32)
            yield k_means.fit(space).labels_
            yield _ward(space, k, seed + turn)


def _ward(z: NDArray[np.float64], k: int, seed: int, sample: int = 1500) -> NDArray[np.int64]:
    """Ward's tree on a sample; other spots go to the nearest mean (as mclust starts)."""
    from scipy.cluster.hierarchy import fcluster, linkage
    from scipy.spatial.distance import cdist

    rng = np.random.default_rng(seed)
    some = z if len(z) <= sample else z[np.sort(rng.choice(len(z), sample, replace=False))]
    labels = fcluster(linkage(some, "ward"), k, criterion="maxclust") - 1
    means = np.stack([some[labels == label].mean(axis=0) for label in np.unique(labels)])
    return np.asarray(cdist(z, means).argmin(axis=1), dtype=np.int64)
