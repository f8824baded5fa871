"""Matches the barcodes of a file with spots.

Programs that join samples add the sample to the barcode (``AAAC-1`` becomes ``AAAC-1-S1``,
``AAAC-1_1`` or ``S1_AAAC-1``), and some drop the ``-1`` of the library. A sign separates what is
added, so barcodes are compared without such parts, the same number for all of one side.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache, partial
from itertools import product
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

_SIGN = re.compile(r"[-_.:#|/ ]")


@dataclass(frozen=True)
class Cut:
    """How many parts to remove from the front and the back of a barcode."""

    front: int = 0
    back: int = 0

    @property
    def parts(self) -> int:
        """How many there are."""
        return self.front + self.back

    def of(self, barcode: str) -> str:
        """The barcode without them; empty if it has too few parts."""
        ends = [match.span() for match in _SIGN.finditer(barcode)]
        if len(ends) < self.front + self.back:
            return ""
        start = ends[self.front - 1][1] if self.front else 0
        end = ends[len(ends) - self.back][0] if self.back else len(barcode)
        return barcode[start:end]


_CUTS = [Cut(front, back) for front in range(3) for back in range(4)]
_WAYS = sorted(product(_CUTS, _CUTS), key=lambda way: way[0].parts + way[1].parts)
_TELLING = 8
"""Fewest letters that identify a barcode when parts of both sides were removed."""


def match_barcodes(
    wanted: Sequence[str], spots: Sequence[str]
) -> tuple[NDArray[np.intp], Cut, Cut]:
    """Find barcodes among those of spots.

    Parameters
    ----------
    wanted
        Barcodes of a file, unique.
    spots
        Barcodes of the spots.

    Returns
    -------
    For each wanted barcode the spot, -1 if there is none; and what was removed from all wanted
    barcodes and from all of the spots. Of the cuts that leave both unique, it is the one that finds
    most spots; of several such, the smallest.
    """
    found, of_best, most = np.full(len(wanted), -1, dtype=np.intp), (Cut(), Cut()), 0
    cut_wanted, cut_spots = (cache(partial(_unique, tuple(of))) for of in (wanted, spots))
    for theirs, ours in _WAYS:
        of, among = cut_wanted(theirs), cut_spots(ours)
        hits = of.keys() & among.keys()
        if theirs.parts and ours.parts:
            # What is left of numbered names ("spot_1", "cell_1") identifies nothing.
            hits = {barcode for barcode in hits if len(barcode) >= _TELLING}
        if len(hits) > most:
            most, of_best = len(hits), (theirs, ours)
            found = np.full(len(wanted), -1, dtype=np.intp)
            for barcode in hits:
                found[of[barcode]] = among[barcode]
        if most == len(wanted):
            break
    return found, *of_best


def _unique(barcodes: Sequence[str], cut: Cut) -> dict[str, int]:
    """Position by cut barcode; empty if two of them become the same."""
    pairs = [(cut.of(barcode), place) for place, barcode in enumerate(barcodes)]
    pairs = [pair for pair in pairs if pair[0]]
    places = dict(pairs)
    return places if len(places) == len(pairs) else {}
