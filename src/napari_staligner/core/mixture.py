"""A Gaussian mixture with one covariance for all components (mclust's EEE), from many starts.

With one covariance, what tells components apart is linear in z: the quadratic term is the same for
all. So a round of expectation and maximisation needs two products of size spots × d × k, where the
general algorithm needs the scatter of all spots again; it is some twenty times faster, and many
starts can be afforded.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
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
"""Starts are tried on so many spots, drawn where there are more; the best then climbs on all."""
SAME = 2e-3
"""Two optima are the same when their mean log-likelihoods differ by less than this."""


@dataclass(frozen=True)
class Fit:
    """An optimum of the likelihood.

    Parameters
    ----------
    likelihood
        Mean log-likelihood of a spot, up to a constant.
    shares
        Shape (spots, k): probability of each component for each spot.
    """

    likelihood: float
    shares: NDArray[np.float64]

    @property
    def labels(self) -> NDArray[np.int64]:
        """Likeliest component of each spot, shape (spots,)."""
        return np.asarray(self.shares.argmax(axis=1), dtype=np.int64)


def mixture(z: NDArray[np.float64], k: int, seed: int) -> Steps[Fit]:
    """Fit by the best of several starts: one start alone falls into poor optima.

    Parameters
    ----------
    z
        Shape (spots, d).
    k
        Components.
    seed
        Of the starts.

    Returns
    -------
    The likeliest optimum; the search ends early when it was reached three times.
    """
    z = (z - z.mean(axis=0)) / (z.std() or 1.0)
    some = z
    if len(z) > TRIAL_SPOTS:
        drawn = np.random.default_rng(seed).choice(len(z), TRIAL_SPOTS, replace=False)
        some = z[np.sort(drawn)]
    scatter = some.T @ some
    fits: list[Fit] = []
    for done, start in enumerate(_starts(some, k, seed)):
        yield Progress("domains", done, STARTS + 1)
        fits.append(climb(some, scatter, start, TRIAL_TOLERANCE))
        reached = np.array([fit.likelihood for fit in fits])
        if done + 1 >= FEWEST_STARTS and (reached > reached.max() - SAME).sum() >= 3:
            break
    yield Progress("domains", STARTS, STARTS + 1)
    best = fits[int(reached.argmax())]
    if some is z:
        return climb(z, scatter, best.labels, TOLERANCE)
    rule = _Rule.of(some, scatter, best.shares)
    return climb(z, z.T @ z, rule.score(z).argmax(axis=1), TOLERANCE)


@dataclass(frozen=True)
class _Rule:
    """What tells components apart is linear in z; ``common`` is the same for all of them."""

    towards: NDArray[np.float64]
    constant: NDArray[np.float64]
    common: float

    @classmethod
    def of(
        cls, z: NDArray[np.float64], scatter: NDArray[np.float64], shares: NDArray[np.float64]
    ) -> _Rule:
        """Maximise the likelihood for given shares."""
        n, d = z.shape
        sizes = shares.sum(axis=0) + 1e-9
        means = (shares.T @ z) / sizes[:, None]
        within = (scatter - (means.T * sizes) @ means) / n + REGULARISATION * np.eye(d)
        precision = np.linalg.inv(within)
        towards = means @ precision
        constant = np.log(sizes / n) - 0.5 * (towards * means).sum(axis=1)
        # What is the same for all components: the quadratic term and the determinant.
        common = (scatter * precision).sum() / n + np.linalg.slogdet(within)[1]
        return cls(towards, constant, float(common))

    def score(self, z: NDArray[np.float64]) -> NDArray[np.float64]:
        """Shape (spots, k)."""
        return np.asarray(z @ self.towards.T + self.constant)


def climb(
    z: NDArray[np.float64],
    scatter: NDArray[np.float64],
    labels: NDArray[np.integer[Any]],
    tolerance: float,
) -> Fit:
    """Expectation and maximisation, from labels to the optimum nearby.

    Parameters
    ----------
    z
        Shape (spots, d), centred.
    scatter
        ``z.T @ z``.
    labels
        Shape (spots,): where to start.
    tolerance
        Ends when a round raises the mean log-likelihood by less.
    """
    found, codes = np.unique(labels, return_inverse=True)
    shares = np.eye(len(found))[codes]
    likelihood = -np.inf
    for _ in range(ROUNDS):
        rule = _Rule.of(z, scatter, shares)
        score = rule.score(z)
        top = score.max(axis=1, keepdims=True)
        shares = np.exp(score - top)
        total = shares.sum(axis=1, keepdims=True)
        shares /= total
        before, likelihood = likelihood, float((top + np.log(total)).mean() - 0.5 * rule.common)
        if likelihood - before < tolerance:
            break
    return Fit(likelihood, shares)


def _starts(z: NDArray[np.float64], k: int, seed: int) -> Iterator[NDArray[np.integer[Any]]]:
    """Labels to start from: k-means and Ward's tree, by turns in z and in whitened z.

    Neither knows of a shared covariance. Where it is round, z itself serves best; where it is long,
    whitened z does (mclust's trees start there).
    """
    from sklearn.cluster import KMeans
    from sklearn.decomposition import PCA

    white = PCA(whiten=True, svd_solver="full").fit_transform(z)
    for turn in range(STARTS // 4):
        for space in (z, white):
            k_means = KMeans(k, n_init=1, init="random", random_state=(seed + turn) % 2**32)
            yield k_means.fit(space).labels_
            yield _ward(space, k, seed + turn)


def _ward(z: NDArray[np.float64], k: int, seed: int, sample: int = 1500) -> NDArray[np.int64]:
    """Ward's tree on a sample, the others to the nearest mean (as mclust starts)."""
    from scipy.cluster.hierarchy import fcluster, linkage
    from scipy.spatial.distance import cdist

    rng = np.random.default_rng(seed)
    some = z if len(z) <= sample else z[np.sort(rng.choice(len(z), sample, replace=False))]
    labels = fcluster(linkage(some, "ward"), k, criterion="maxclust") - 1
    means = np.stack([some[labels == label].mean(axis=0) for label in np.unique(labels)])
    return np.asarray(cdist(z, means).argmin(axis=1), dtype=np.int64)
