"""When to stop: rules that depend on neither the scale nor the size of the data."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from napari_staligner.core.training.triplets import Matches

WINDOW = 25


class Settling:
    """Detects when a share that rises with training has stopped rising.

    Parameters
    ----------
    tolerance
        It has stopped if it gained less than this part of itself in the last 25 epochs; 0: never.
    """

    def __init__(self, tolerance: float) -> None:
        self._tolerance = tolerance
        self.seen: list[float] = []

    def settled(self, share: float) -> bool:
        """Take the share of this epoch; return whether it has settled."""
        self.seen.append(share)
        if not self._tolerance or len(self.seen) <= WINDOW:
            return False
        return share - self.seen[-1 - WINDOW] < self._tolerance * abs(share)


class MatchSettling:
    """Detects when the set of mutual nearest neighbours has settled.

    The overlap (Jaccard index) of successive sets rises while slices come together, and then stays
    the same. Its level depends on the data, but that it no longer rises does not.

    Parameters
    ----------
    tolerance
        Least rise of the overlap from one search to the next that counts; 0 means never settled.
    """

    def __init__(self, tolerance: float) -> None:
        self._tolerance = tolerance
        self.overlap = 0.0

    def settled(self, matches: Sequence[Matches], before: Sequence[Matches] | None) -> bool:
        """Take the matches of a search; return whether they have settled.

        Parameters
        ----------
        matches
            Of this search.
        before
            Those of the same spots in the search before, ``None`` in the first.
        """
        if not self._tolerance or before is None:
            return False
        keys, keys_before = _keys(matches), _keys(before)
        both = int(torch.isin(keys, keys_before, assume_unique=True).sum())
        overlap = both / max(1, len(keys) + len(keys_before) - both)
        risen, self.overlap = overlap - self.overlap, overlap
        return risen < self._tolerance


def _keys(matches: Sequence[Matches]) -> Tensor:
    """One number for each pair of spots."""
    if not matches:
        return torch.zeros(0, dtype=torch.int64)
    first, second = (torch.cat([getattr(m, part) for m in matches]) for part in ("first", "second"))
    return (first << 32) + second
