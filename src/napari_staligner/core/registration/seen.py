"""How surely tissue images tell one way of a pair of slices from another."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from scipy.spatial.distance import cdist

from napari_staligner.core.registration.comparing import Comparison

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

    from napari_staligner.core.registration.sections import Section
    from napari_staligner.core.registration.transforms import Matrix

MOST = 500
"""Most spots of a section between which distances are taken."""
BIN = 2.0
"""Width of the classes of distances, in spacings."""


def image_evidence(
    sections: Mapping[int, Section],
    ours: Mapping[int, Matrix],
    theirs: Mapping[int, Matrix],
    sigma: float,
) -> float:
    """Standard normal deviate for one way in which the stains of two sections agree.

    Compared is the mean product of the stains of one section and those of the other, smoothed.
    Stains vary slowly over the tissue, so that unrelated images agree by chance in large parts. How
    much they do follows from how each is correlated with itself over distances (Clifford,
    Richardson & Hémon 1989), not from the number of spots.

    Parameters
    ----------
    sections
        The two, as 0 and 1, with stains as features.
    ours, theirs
        Two transforms of each into a common frame.
    sigma
        Smoothing, in spacings.

    Returns
    -------
    Below 0 if the other way agrees better.
    """
    comparison, first = Comparison(sections, sigma), len(sections[0].some)
    more = comparison.alikeness((0, 1), ours) - comparison.alikeness((0, 1), theirs)
    # The way there and the way back show the same, so they are no two witnesses.
    mean = (more[:first].mean() + more[first:].mean()) / 2
    by_chance = 0.0
    for i, j in ((0, 1), (1, 0)):
        own, other = sections[i], sections[j]
        smooth = comparison.look((j, j), np.eye(3)).values
        by_chance += _by_chance(own, own.moving[1], other, smooth) / 2
    return float(mean / np.sqrt(2 * max(by_chance, 1e-12)))


def _by_chance(
    own: Section, values: NDArray[np.float64], other: Section, smooth: NDArray[np.float64]
) -> float:
    """Variance of the mean product of two fields that have nothing to do with each other."""
    farthest = max(float(np.ptp(s.points, axis=0).max()) for s in (own, other))
    edges = np.arange(0.0, 2 * farthest + 1, BIN * max(own.step, other.step))
    here, counts, n = _covariances(own, values, edges)
    there, _, _ = _covariances(other, smooth, edges)
    products = (here * there).sum(axis=(1, 2))
    apart = float((products[1:] * counts[1:]).sum() / max(counts[1:].sum(), 1))
    at_once = float(products[0]) / n
    return max(apart * (1 - 1 / n) + at_once, at_once)


def _covariances(
    section: Section, values: NDArray[np.float64], edges: NDArray[np.float64]
) -> tuple[NDArray[np.float64], NDArray[np.float64], int]:
    """Covariances of stains by distance, shape (1 + classes, stains, stains); at 0 first.

    Then how many pairs of spots are in each class, and how many spots there are.
    """
    points, n = section.moving[0], len(values)
    centred = values - values.mean(axis=0)
    some = np.random.default_rng(0).permutation(n)[:MOST]
    away = cdist(points[some], points[some])
    apart = ~np.eye(len(some), dtype=bool)
    classes = np.digitize(away[apart], edges[1:])
    counts = np.bincount(classes, minlength=len(edges)).astype(float)
    k = centred.shape[1]
    found = np.empty((1 + len(edges), k, k))
    found[0] = centred.T @ centred / n
    for a in range(k):
        for b in range(k):
            products = np.outer(centred[some, a], centred[some, b])[apart]
            summed = np.bincount(classes, products, minlength=len(edges))
            found[1:, a, b] = summed / np.maximum(counts, 1)
    return found, np.concatenate([[0.0], counts]), n
