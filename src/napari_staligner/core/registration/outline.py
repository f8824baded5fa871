"""The outline of a section: where it ends, and how far any place is from there."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from scipy import ndimage

from napari_staligner.core.registration.raster import Field, rasterize

if TYPE_CHECKING:
    from numpy.typing import NDArray

SMOOTH, PIXEL = 1.0, 0.5
"""Smoothing and pixel of the raster, in distances to the sixth neighbour."""
MARGIN = 8.0
"""How far around a section distances are known, in the same unit; further out they are as there."""


@dataclass(frozen=True)
class Outline:
    """Where a section ends.

    Parameters
    ----------
    points
        Shape (n, 2): places all along the outline.
    distance
        One value: how far a place is from the outline, positive outside.
    """

    points: NDArray[np.float64]
    distance: Field

    def look(self, places: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Distances at places of shape (n, 2), and their slopes; 0 slope far from the section."""
        low = self.distance.origin
        size = (np.array(self.distance.tissue.shape) - 1) * self.distance.pixel
        inside = np.clip(places, low, low + size)
        found = self.distance.look(inside)
        near = (inside == places).all(axis=1)
        return found.values[:, 0], found.slopes[:, :, 0].T * near[:, None]


def outline_of(points: NDArray[np.float64], step: float) -> Outline:
    """Find the outline of a section; holes in it are no ends.

    Parameters
    ----------
    points
        Shape (spots, 2).
    step
        Distance from a spot to its sixth neighbour.
    """
    field = rasterize(points, np.zeros((len(points), 1)), SMOOTH * step, PIXEL * step)
    around = int(np.ceil(MARGIN * step / field.pixel))
    tissue = ndimage.binary_fill_holes(np.pad(field.tissue, around) > 0.5)
    origin = field.origin - around * field.pixel
    within, without = (ndimage.distance_transform_edt(part) for part in (tissue, ~tissue))
    # Half a pixel lies between the last one inside and the outline.
    away = np.where(tissue, 0.5 - within, without - 0.5) * field.pixel
    rim = np.argwhere(tissue & (within < 1.5))
    places = origin + rim * field.pixel
    return Outline(
        places, Field(origin, field.pixel, np.stack([away, np.ones(away.shape)], axis=2))
    )
