"""Whether a pair of slices fits equally well in another orientation: turned or mirrored."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from scipy import stats

from napari_staligner.core.blocks import blocks_of
from napari_staligner.core.registration.optimize import gains
from napari_staligner.core.registration.transforms import turn_between

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

    from napari_staligner.core.registration.optimize import Section
    from napari_staligner.core.registration.transforms import Matrix

BLOCK_SPOTS = 36
"""Spots in a block: about as wide as the smoothing of the last stage."""
SURE = 0.05
"""p value below which one orientation counts as better than another."""


@dataclass(frozen=True)
class Way:
    """The orientation that was found for a pair of slices.

    Parameters
    ----------
    matrix
        From the first section to the second.
    other
        In words, the other possible orientation; empty if none comes close.
    """

    matrix: Matrix
    other: str = ""


def decide(sections: Mapping[int, Section], ways: Sequence[Matrix], sigma: float) -> Way:
    """Take the better of two orientations; if they are equally good, one that is not mirrored.

    Sections are seldom mounted upside down. The gains of the spots in both orientations are
    compared by a paired t-test over blocks of tissue, because neighbouring spots are correlated.

    Parameters
    ----------
    sections
        The two, as 0 and 1.
    ways
        One or two transforms of the first to the second, the better first.
    sigma
        Smoothing, in spacings.
    """
    best, *others = ways
    if not others:
        return Way(best)
    other = others[0]
    ours, theirs = (gains(sections, (0, 1), {0: m, 1: np.eye(3)}, sigma) for m in ways)
    if _better(ours - theirs, sections):
        return Way(best)
    if turn_between(np.eye(3), best)[1] and not turn_between(np.eye(3), other)[1]:
        best, other = other, best
    degrees, mirrored = turn_between(best, other)
    return Way(best, "mirrored" if mirrored else f"turned by {degrees:.0f}°")


def _better(more: NDArray[np.float64], sections: Mapping[int, Section]) -> bool:
    """Whether spots gain more overall, by a test over blocks of tissue."""
    first, second = (sections[k].moving[0] for k in (0, 1))
    means = []
    for points, part in zip((first, second), np.split(more, [len(first)]), strict=True):
        block = blocks_of(points, BLOCK_SPOTS)
        means.append(np.bincount(block, part) / np.bincount(block))
    blocks = np.concatenate(means)
    # If all blocks are equal, apart from rounding, no test is possible.
    if len(blocks) < 3 or np.ptp(blocks) <= 1e-9 * np.abs(blocks).max():
        return bool(blocks.mean() > 0)
    return bool(stats.ttest_1samp(blocks, 0.0, alternative="greater").pvalue < SURE)
