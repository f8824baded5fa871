"""The embedding of a slice as an image: smooth, defined everywhere, with its slope."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from scipy import ndimage

if TYPE_CHECKING:
    from numpy.typing import NDArray

TRUNCATE = 3.0
"""Gaussians are cut off at this many standard deviations."""
RIDGE = 0.05
"""Second moment that is added to that of the spots, in smoothings, for each usual density."""
ASTRAY = 2.0
"""A spot is astray if it is further from the middle than this many widths of its slice."""
FEW_PIXELS, PIXELS_A_SPOT = 1 << 14, 256
"""Most pixels of a raster: the first number, or the second times the spots if that is more."""
OUTSIDE, INSIDE = 0.25, 0.75
"""The tissue fades out between these densities, as shares of the density inside it."""


@dataclass(frozen=True)
class Field:
    """Features of a slice on a raster.

    Parameters
    ----------
    origin
        Place (x, y) of the first pixel.
    pixel
        Width of a pixel.
    values
        Shape (nx, ny, d): mean feature around each pixel, weighted by a Gaussian.
    tissue
        Shape (nx, ny), 0..1: whether there is tissue.
    """

    origin: NDArray[np.float64]
    pixel: float
    values: NDArray[np.float64]
    tissue: NDArray[np.float64]

    def look(self, points: NDArray[np.float64]) -> FieldSample:
        """Interpolate at points of shape (n, 2)."""
        size = np.array(self.tissue.shape)
        at = (points - self.origin) / self.pixel
        inside: NDArray[np.bool_] = np.all((at >= 0) & (at <= size - 1), axis=1)
        corner = np.clip(np.floor(at).astype(np.intp), 0, size - 2)
        share = np.clip(at - corner, 0.0, 1.0)
        flat = corner[:, 0] * size[1] + corner[:, 1]
        corners = flat[:, None] + np.array([0, 1, size[1], size[1] + 1])
        values = _bilinear(self.values.reshape(-1, self.values.shape[2])[corners], share)
        tissue = _bilinear(self.tissue.ravel()[corners][..., None], share)
        return FieldSample(
            values[0],
            values[1] / self.pixel,
            tissue[0][:, 0] * inside,
            tissue[1][:, :, 0] * inside[:, None] / self.pixel,
        )


@dataclass(frozen=True)
class FieldSample:
    """A field at n points: values (n, d), their slopes (n, 2, d), tissue (n,) and its (n, 2)."""

    values: NDArray[np.float64]
    slopes: NDArray[np.float64]
    tissue: NDArray[np.float64]
    tissue_slopes: NDArray[np.float64]


def _bilinear(
    corners: NDArray[np.float64], share: NDArray[np.float64]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Values and slopes (by pixel) between corners x0y0, x0y1, x1y0, x1y1, shape (n, 4, d)."""
    x, y = share[:, 0, None], share[:, 1, None]
    near = corners[:, 0] * (1 - y) + corners[:, 1] * y
    far = corners[:, 2] * (1 - y) + corners[:, 3] * y
    up = corners[:, 1] - corners[:, 0]
    by_y = up + x * (corners[:, 3] - corners[:, 2] - up)
    return near + x * (far - near), np.stack([far - near, by_y], axis=1)


def components(embedding: NDArray[np.floating], most: int) -> NDArray[np.float64]:
    """Principal components of an embedding, shape (spots, up to ``most``).

    All 0 where all spots are the same.
    """
    from sklearn.decomposition import PCA

    z = np.asarray(embedding, dtype=np.float64)
    count = min(most, *z.shape)
    if not np.ptp(z, axis=0).any():
        return np.zeros((len(z), count))
    return np.asarray(PCA(count, svd_solver="full").fit_transform(z))


def together(points: NDArray[np.float64]) -> NDArray[np.bool_]:
    """Find the spots that are not far from the others.

    One spot with a coordinate far off must not stretch the raster of a slice, nor its search.

    Parameters
    ----------
    points
        Shape (spots, 2).
    """
    low, middle, high = np.quantile(points, (0.05, 0.5, 0.95), axis=0)
    return np.asarray((np.abs(points - middle) <= ASTRAY * (high - low).max()).all(axis=1))


def rasterize(
    points: NDArray[np.float64], features: NDArray[np.float64], sigma: float, pixel: float
) -> Field:
    """Smooth the features of spots onto a raster, with a plane fitted around each pixel.

    A plane and not a mean: at the rim all spots are on one side, so a mean belongs to a place
    further inside.

    Parameters
    ----------
    points
        Shape (spots, 2).
    features
        Shape (spots, d).
    sigma
        Standard deviation of the Gaussian, in the units of the points.
    pixel
        Width of a pixel; wider if spots are so scattered that the raster would be mostly empty.
    """
    margin = TRUNCATE * sigma
    origin = points.min(axis=0) - margin
    n_pixels = np.prod((np.ptp(points, axis=0) + 2 * margin) / pixel)
    pixel *= max(1.0, float(n_pixels / max(FEW_PIXELS, PIXELS_A_SPOT * len(points))) ** 0.5)
    shape = np.ceil((np.ptp(points, axis=0) + 2 * margin) / pixel).astype(int) + 2
    at = np.round((points - origin) / pixel).astype(np.intp)
    flat = at[:, 0] * shape[1] + at[:, 1]

    def blurred(weights: NDArray[np.float64]) -> NDArray[np.float64]:
        counted = np.bincount(flat, weights, minlength=int(shape.prod())).reshape(shape)
        return np.asarray(ndimage.gaussian_filter(counted, sigma / pixel, truncate=TRUNCATE))

    density = blurred(np.ones(len(points)))
    usual = float(np.median(density.ravel()[flat])) or 1.0
    tilt, slack = _tilt(density, usual, (points - origin) / sigma, pixel / sigma, blurred)
    values = np.stack(
        [
            blurred(column) * slack
            + blurred(column * (points[:, 0] - origin[0]) / sigma) * tilt[0]
            + blurred(column * (points[:, 1] - origin[1]) / sigma) * tilt[1]
            for column in features.T
        ],
        axis=2,
    )
    tissue = np.clip((density / usual - OUTSIDE) / (INSIDE - OUTSIDE), 0.0, 1.0)
    return Field(origin, pixel, values, tissue)


def _tilt(
    density: NDArray[np.float64],
    usual: float,
    at: NDArray[np.float64],
    pixel: float,
    blurred: Callable[[NDArray[np.float64]], NDArray[np.float64]],
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Factors of the sums of features × place, shape (2, nx, ny), and of the sums of features.

    With M the weighted second moments about the pixel and m the first, the plane's value at the
    pixel is (Σ f - m M⁻¹ Σ f (p - q)) / (n - m M⁻¹ m).
    """
    x, y = np.meshgrid(*(np.arange(n) * pixel for n in density.shape), indexing="ij")
    sum_x, sum_y = blurred(at[:, 0]), blurred(at[:, 1])
    m = np.stack([sum_x - x * density, sum_y - y * density])
    xx = blurred(at[:, 0] ** 2) - 2 * x * sum_x + x**2 * density
    yy = blurred(at[:, 1] ** 2) - 2 * y * sum_y + y**2 * density
    xy = blurred(at[:, 0] * at[:, 1]) - x * sum_y - y * sum_x + x * y * density
    # Far outside, where there are almost no spots, the plane is level.
    xx, yy = xx + RIDGE * usual, yy + RIDGE * usual
    slope = np.stack([yy * m[0] - xy * m[1], xx * m[1] - xy * m[0]]) / (xx * yy - xy**2)
    total = np.maximum(density - (m * slope).sum(axis=0), 1e-6 * usual)
    return -slope / total, (1 + slope[0] * x + slope[1] * y) / total
