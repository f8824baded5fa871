"""Slices as a registration compares them: their spots, their rasters, their outlines."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Hashable
from dataclasses import dataclass, field
from functools import cached_property
from threading import Lock
from typing import TYPE_CHECKING

import numpy as np

from napari_staligner.core.registration.outline import Outline, outline_of
from napari_staligner.core.registration.raster import Field, rasterize

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Pair = tuple[int, int]

PIXEL = 0.5
"""Width of a pixel, as a share of the smoothing or of the spacing, whichever is larger."""
MOST_BYTES = 256 << 20
"""How much the rasters take that are kept for other pairs."""


class Rasters:
    """Rasters that are kept while there is room; the one that was not asked for longest goes first.

    Threads that ask for the same one at the same time make it once.

    Parameters
    ----------
    most
        Bytes that are kept.
    """

    def __init__(self, most: int = MOST_BYTES) -> None:
        self._most, self._bytes = most, 0
        self._kept: OrderedDict[Hashable, Field] = OrderedDict()
        self._made: dict[Hashable, Lock] = {}
        self._lock = Lock()

    def get(self, key: Hashable, make: Callable[[], Field]) -> Field:
        """Return the raster of a key, which is made if it is not kept."""
        with self._lock:
            made = self._made.setdefault(key, Lock())
        with made:
            with self._lock:
                if key in self._kept:
                    self._kept.move_to_end(key)
                    return self._kept[key]
            found = make()
            with self._lock:
                self._kept[key] = found
                self._bytes += found.layers.nbytes
                while self._bytes > self._most and len(self._kept) > 1:
                    self._bytes -= self._kept.popitem(last=False)[1].layers.nbytes
            return found


@dataclass(frozen=True)
class Spots:
    """Spots of a section that are looked up in others.

    Parameters
    ----------
    points
        Shape (3, n): x, y and 1.
    features
        Shape (n, d).
    """

    points: NDArray[np.float64]
    features: NDArray[np.float64]


@dataclass(frozen=True)
class Section:
    """One slice in a registration.

    Parameters
    ----------
    points
        Shape (spots, 2), in a unit that all sections share: about a spacing. Spots without a match
        in any other slice, and spots far from the rest, are left out.
    features
        Shape (spots, d), scaled to a variance of 1 in all.
    some
        Rows of the spots that are looked up in other sections.
    step
        Distance from a spot to its sixth neighbour.
    rasters
        Where rasters are kept.
    look_under
        Returns the stains under the spots, shape (spots, stains), or ``None`` if there are none;
        ``None`` if the slice has no image. It is called only if the embedding leaves a doubt.
    """

    points: NDArray[np.float64]
    features: NDArray[np.float64]
    some: NDArray[np.intp]
    step: float
    rasters: Rasters = field(default_factory=Rasters, repr=False)
    look_under: Callable[[], NDArray[np.float64] | None] | None = field(default=None, repr=False)

    @cached_property
    def stained(self) -> Section | None:
        """The section with the stains under its spots as features; ``None`` without an image."""
        stains = None if self.look_under is None else self.look_under()
        if stains is None:
            return None
        return Section(self.points, stains, self.some, self.step)

    @cached_property
    def moving(self) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Points and features of the spots that are looked up."""
        return self.points[self.some], self.features[self.some]

    @cached_property
    def spots(self) -> Spots:
        """The spots that are looked up."""
        return self._spots(self.some)

    def few(self, most: int) -> Spots:
        """Some of the spots that are looked up, drawn, at most as many."""
        if len(self.some) <= most:
            return self.spots
        drawn = np.random.default_rng(0).permutation(len(self.some))[:most]
        return self._spots(self.some[np.sort(drawn)])

    def _spots(self, rows: NDArray[np.intp]) -> Spots:
        points = np.vstack([self.points[rows].T, np.ones(len(rows))])
        return Spots(np.ascontiguousarray(points), self.features[rows])

    @cached_property
    def outline(self) -> Outline:
        """Where the section ends."""
        return outline_of(self.points, self.step)

    def field(self, sigma: float) -> Field:
        """Smoothed features; the smoothing in spacings."""
        wide = sigma * self.step
        pixel = PIXEL * max(self.step, wide / 2)
        return self.rasters.get(
            (id(self), sigma), lambda: rasterize(self.points, self.features, wide, pixel)
        )
