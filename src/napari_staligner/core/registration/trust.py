"""How far each pair of slices is to be trusted."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_staligner.core.registration.transforms import apply, inverse

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from napari_staligner.core.registration.transforms import Matrix

SURE = 0.05
"""p value below which one orientation counts as better than another."""
FAR = 3.0
"""Spacings between what a pair says and what the series says, from which one of them is wrong."""


@dataclass(frozen=True)
class PairTrust:
    """What tells whether a pair of slices is registered rightly.

    Parameters
    ----------
    p
        Chance that the way in which the two lie agrees better than another one by chance alone.
    apart
        Median distance, in spacings, between where the pair alone would lay a spot and where all
        pairs together lay it; 0 if there is no other pair.
    """

    p: float
    apart: float

    @property
    def doubt(self) -> str:
        """Why the pair is not to be trusted, in words; empty if nothing speaks against it."""
        why = []
        if self.p >= SURE:
            why.append(f"fits another way about as well, p = {self.p:.2f}")
        if self.apart > FAR:
            why.append(f"{self.apart:.0f} spacings from where the other pairs lay it")
        return "; ".join(why)

    @staticmethod
    def read(kept: Mapping[str, Any]) -> tuple[PairTrust, ...]:
        """Read what :func:`as_columns` gave; none where there are no figures."""
        columns = (np.asarray(kept.get(f"pair_{name}", ()), float) for name in ("p", "apart"))
        return tuple(PairTrust(float(p), float(apart)) for p, apart in zip(*columns, strict=True))


def as_columns(trust: Sequence[PairTrust]) -> dict[str, NDArray[np.float64]]:
    """Columns of figures to be kept, in the order of the pairs."""
    return {f"pair_{name}": np.array([getattr(t, name) for t in trust]) for name in ("p", "apart")}


def apart(
    points: NDArray[np.float64], alone: Matrix, first: Matrix, second: Matrix, step: float
) -> float:
    """Median distance between two places of the spots of a section, in spacings.

    Parameters
    ----------
    points
        Shape (spots, 2): the first section's.
    alone
        Takes the first section to the second, as the pair alone says.
    first, second
        Take each of the two into the frame of the series.
    step
        A spacing.
    """
    here, there = apply(alone, points), apply(inverse(second) @ first, points)
    return float(np.median(np.linalg.norm(here - there, axis=1))) / step
