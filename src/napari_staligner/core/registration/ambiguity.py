"""Whether a pair of slices fits equally well in another orientation: turned or mirrored."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
from scipy import stats

from napari_staligner.core.blocks import blocks_of
from napari_staligner.core.registration.comparing import gains
from napari_staligner.core.registration.seen import image_evidence
from napari_staligner.core.registration.transforms import inverse, turn_between
from napari_staligner.core.registration.trust import SURE

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

    from napari_staligner.core.registration.sections import Section
    from napari_staligner.core.registration.transforms import Matrix

BLOCK_SPOTS = 36
"""Spots in a block: about as wide as the smoothing of the last stage."""


@dataclass(frozen=True)
class Way:
    """The orientation that was found for a pair of slices.

    Parameters
    ----------
    matrix
        From the first section to the second.
    other
        In words, how it may lie as well; empty if nothing else comes close.
    p
        Chance that this way is better by chance alone.
    instead
        The same in the other handedness, if that was compared.
    evidence
        Standard normal deviate for this way against ``instead``; below 0 if that agrees better.
    seen
        Whether the tissue images were asked.
    """

    matrix: Matrix
    other: str = ""
    p: float = 0.0
    instead: Matrix | None = None
    evidence: float = np.inf
    seen: bool = False

    @property
    def mirrored(self) -> bool:
        """Whether it mirrors."""
        return turn_between(np.eye(3), self.matrix)[1]


def turned_back(way: Way) -> Way:
    """The way from the second section to the first."""
    instead = None if way.instead is None else inverse(way.instead)
    return replace(way, matrix=inverse(way.matrix), instead=instead)


def decide(
    sections: Mapping[int, Section], ways: Sequence[Matrix], sigma: float, finer: float
) -> Way:
    """Take the better of two orientations; if they are equally good, one that is not mirrored.

    Sections are seldom mounted upside down. The gains of the spots in both orientations are
    compared by a paired t-test over blocks of tissue, because neighbouring spots are correlated. If
    they do not tell, the tissue images are asked, and both answers are summed.

    Parameters
    ----------
    sections
        The two, as 0 and 1.
    ways
        One or two transforms of the first to the second, the better first.
    sigma
        Smoothing, in spacings.
    finer
        The same for the handedness, which other pairs help to tell.
    """
    best, *others = ways
    if not others:
        return Way(best)
    other = others[0]
    ours, theirs = ({0: matrix, 1: np.eye(3)} for matrix in ways)
    p = _chance(sections, [(0, 1)], ours, theirs, sigma)
    if p < SURE:
        return Way(best, p=p, evidence=_deviate(p))
    images = _images(sections, ours, theirs, sigma)
    if images is not None:
        both = _summed(_deviate(p), images)
        if both < 0:
            best, other, ours, theirs, images, both = other, best, theirs, ours, -images, -both
        p = float(stats.norm.sf(both))
        if p < SURE:
            return Way(best, p=p, evidence=both, seen=True)
    degrees, mirrored = turn_between(best, other)
    if not mirrored:
        return Way(best, f"turned by {degrees:.0f}°", p)
    evidence = _deviate(_chance(sections, [(0, 1)], ours, theirs, finer))
    if images is not None:
        evidence = _summed(evidence, images)
    if turn_between(np.eye(3), best)[1]:
        best, other, evidence = other, best, -evidence
    return Way(best, "mirrored", p, other, evidence, images is not None)


def _images(
    sections: Mapping[int, Section],
    ours: Mapping[int, Matrix],
    theirs: Mapping[int, Matrix],
    sigma: float,
) -> float | None:
    """Standard normal deviate for our way by the stains; ``None`` if not both have an image."""
    stained = {k: section.stained for k, section in sections.items()}
    known = {k: section for k, section in stained.items() if section is not None}
    if len(known) < len(sections):
        return None
    return image_evidence(known, ours, theirs, sigma)


def _summed(first: float, second: float) -> float:
    """Two standard normal deviates as one (Stouffer)."""
    return (first + second) / 2**0.5


def _deviate(p: float) -> float:
    return float(stats.norm.isf(np.clip(p, 1e-15, 1 - 1e-15)))


def better(
    sections: Sequence[Section],
    pairs: Sequence[tuple[int, int]],
    ours: Mapping[int, Matrix],
    theirs: Mapping[int, Matrix],
    sigma: float,
) -> bool:
    """Whether sections surely agree better one way than another.

    Parameters
    ----------
    sections, pairs
        The sections, and the pairs of them that are compared.
    ours, theirs
        Transforms of each into a common frame.
    sigma
        Smoothing, in spacings.
    """
    return _chance(dict(enumerate(sections)), pairs, ours, theirs, sigma) < SURE


def _chance(
    sections: Mapping[int, Section],
    pairs: Sequence[tuple[int, int]],
    ours: Mapping[int, Matrix],
    theirs: Mapping[int, Matrix],
    sigma: float,
) -> float:
    """P of a paired t-test, over blocks of tissue, of what spots gain more over all pairs."""
    more: dict[int, NDArray[np.float64]] = {}
    for pair in pairs:
        two = {k: sections[k] for k in pair}
        here, there = (
            gains(two, pair, {k: transforms[k] for k in pair}, sigma)
            for transforms in (ours, theirs)
        )
        parts = np.split(here - there, [len(sections[pair[0]].some)])
        for k, part in zip(pair, parts, strict=True):
            more[k] = more.get(k, 0.0) + part
    means = []
    for k, part in more.items():
        block = blocks_of(sections[k].moving[0], BLOCK_SPOTS)
        means.append(np.bincount(block, part) / np.bincount(block))
    blocks = np.concatenate(means)
    # If all blocks are equal, apart from rounding, no test is possible.
    if len(blocks) < 3 or np.ptp(blocks) <= 1e-9 * np.abs(blocks).max():
        return 0.0 if blocks.mean() > 0 else 1.0
    return float(stats.ttest_1samp(blocks, 0.0, alternative="greater").pvalue)
