"""Which slices of a series are mirrored, by all their pairs together."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from scipy import stats

from napari_staligner.core.registration.trust import SURE

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Pair = tuple[int, int]

MOST_SLICES = 12
"""Of more slices, not all ways to mirror them are compared; each pair then decides alone."""
LARGEST = 8.0
"""Largest evidence of a pair."""


@dataclass(frozen=True)
class Lean:
    """What one pair says: whether a slice is mirrored against the other, and how surely.

    Parameters
    ----------
    mirrored
        Whether it is, as the pair lies now.
    evidence
        Standard normal deviate of the test against the other handedness; below 0 where the other
        one agrees better.
    """

    mirrored: bool
    evidence: float


def series_hands(leans: Mapping[Pair, Lean]) -> dict[Pair, tuple[bool, float]]:
    """Decide for all pairs at once: what two pairs say together may be sure where neither is.

    Of all ways to mirror the slices, those that the likeliest does not surely beat (Stouffer's sum
    over the pairs that differ) are left, and of these the one with the fewest mirrored slices is
    taken: sections are seldom mounted upside down.

    Parameters
    ----------
    leans
        What each pair says.

    Returns
    -------
    For each pair: whether it is mirrored, and the chance that this is so by chance alone; empty
    if there are too many slices.
    """
    names = sorted({k for pair in leans for k in pair})
    if not leans or len(names) > MOST_SLICES:
        return {}
    # The first slice is not mirrored: mirroring all changes nothing.
    count = 2 ** (len(names) - 1)
    mirrored = (np.arange(count)[:, None] >> np.arange(len(names) - 1)) & 1
    mirrored = np.column_stack([np.zeros(count, dtype=np.int64), mirrored])
    at = np.array([[names.index(k) for k in pair] for pair in leans])
    between = mirrored[:, at[:, 0]] ^ mirrored[:, at[:, 1]]
    now = np.array([lean.mirrored for lean in leans.values()], dtype=np.int64)
    evidence = np.clip([lean.evidence for lean in leans.values()], -LARGEST, LARGEST)
    scores = np.where(between == now, evidence, -evidence).sum(axis=1)
    best = int(scores.argmax())
    left = np.flatnonzero(_beaten(between, scores, best) < stats.norm.isf(SURE))
    fewest = np.minimum(mirrored.sum(axis=1), len(names) - mirrored.sum(axis=1))
    taken = min(left, key=lambda k: (fewest[k], -scores[k]))
    beaten = _beaten(between, scores, int(taken))
    found = {}
    for k, pair in enumerate(leans):
        nearest = float(beaten[between[:, k] != between[taken, k]].min())
        found[pair] = bool(between[taken, k]), float(stats.norm.sf(abs(nearest)))
    return found


def _beaten(
    between: NDArray[np.int64], scores: NDArray[np.float64], by: int
) -> NDArray[np.float64]:
    """Standard normal deviate by which one way to mirror the slices beats each other one."""
    differ = (between != between[by]).sum(axis=1)
    return np.asarray((scores[by] - scores) / 2 / np.sqrt(np.maximum(differ, 1)))
