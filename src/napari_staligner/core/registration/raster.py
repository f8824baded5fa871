"""The embedding of a slice as an image: smooth, defined everywhere, with its slope."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from scipy import sparse

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
MOST_AT_ONCE = 1 << 16
"""Numbers that are smoothed at once: as many as stay near the processor."""
BLOCK = 32
"""Rows that are smoothed by one product."""
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
    layers
        Shape (nx, ny, d + 1): mean feature around each pixel, weighted by a Gaussian; then whether
        there is tissue, 0..1.
    """

    origin: NDArray[np.float64]
    pixel: float
    layers: NDArray[np.float64]

    @property
    def values(self) -> NDArray[np.float64]:
        """Features, shape (nx, ny, d)."""
        return self.layers[..., :-1]

    @property
    def tissue(self) -> NDArray[np.float64]:
        """Tissue, shape (nx, ny)."""
        return self.layers[..., -1]

    def look(self, points: NDArray[np.float64], *, slopes: bool = True) -> FieldSample:
        """Interpolate between pixels at points of shape (n, 2); slopes are 0 if not wanted."""
        nx, ny, count = self.layers.shape
        at = (points.T - self.origin[:, None]) / self.pixel
        last = np.array([[nx - 1.0], [ny - 1.0]])
        inside = np.all((at >= 0) & (at <= last), axis=0)
        at = np.clip(at, 0.0, last)
        corner = np.minimum(at.astype(np.int32), np.array([[nx - 2], [ny - 2]], dtype=np.int32))
        shares = _shares(*(at - corner), slopes=slopes, pixel=self.pixel)
        flat = corner[0] * np.int32(ny) + corner[1]
        corners = flat[:, None] + np.array([0, 1, ny, ny + 1], dtype=np.int32)
        # A sparse product gathers, weighs and adds without arrays in between.
        columns = np.broadcast_to(corners, shares.shape).ravel()
        ends = np.arange(0, shares.size + 1, 4, dtype=np.int32)
        whole = (len(ends) - 1, nx * ny)
        mixed = sparse.csr_array((shares.ravel(), columns, ends), shape=whole)
        found = (mixed @ self.layers.reshape(-1, count)).reshape(-1, len(points), count)
        by = found[1:] if slopes else np.broadcast_to(np.float64(0), (2, *found.shape[1:]))
        return FieldSample(
            found[0, :, :-1], by[:, :, :-1], found[0, :, -1] * inside, by[:, :, -1] * inside
        )


@dataclass(frozen=True)
class FieldSample:
    """A field at n points: values (n, d), their slopes (2, n, d), tissue (n,) and its (2, n)."""

    values: NDArray[np.float64]
    slopes: NDArray[np.float64]
    tissue: NDArray[np.float64]
    tissue_slopes: NDArray[np.float64]


def _shares(
    x: NDArray[np.float64], y: NDArray[np.float64], *, slopes: bool, pixel: float
) -> NDArray[np.float64]:
    """Shares of corners x0y0, x0y1, x1y0, x1y1, shape (1, n, 4); then their slopes by x and y."""
    left, down = 1 - x, 1 - y
    shares = np.empty((3 if slopes else 1, len(x), 4))
    for k, (by_x, by_y) in enumerate(((left, down), (left, y), (x, down), (x, y))):
        np.multiply(by_x, by_y, out=shares[0, :, k])
    if slopes:
        for axis, (low, high) in ((1, (down, y)), (2, (left, x))):
            for k, share in enumerate((low, high)):
                near, far = (k, 2 + k) if axis == 1 else (2 * k, 2 * k + 1)
                np.divide(share, -pixel, out=shares[axis, :, near])
                np.divide(share, pixel, out=shares[axis, :, far])
    return shares


def components(embedding: NDArray[np.floating], most: int) -> NDArray[np.float64]:
    """Principal components of an embedding, shape (spots, up to ``most``).

    All 0 where all spots are the same.
    """
    z = np.asarray(embedding, dtype=np.float64)
    count = min(most, *z.shape)
    if not np.ptp(z, axis=0).any():
        return np.zeros((len(z), count))
    z = z - z.mean(axis=0)
    # Of few columns, the products of all pairs of them are much less than the spots.
    directions = np.linalg.eigh(z.T @ z)[1][:, ::-1][:, :count]
    signs = np.sign(directions[np.abs(directions).argmax(axis=0), np.arange(count)])
    return np.ascontiguousarray(z @ (directions * signs))


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
    binned = sparse.csc_array(
        (np.ones(len(points)), flat, np.arange(len(points) + 1)), shape=(shape.prod(), len(points))
    )

    def blurred(weights: NDArray[np.float64]) -> NDArray[np.float64]:
        counted = (binned @ weights).reshape(*shape, weights.shape[1])
        return blur(counted, sigma / pixel)

    places = (points - origin) / sigma
    x, y = places.T
    sums = blurred(np.column_stack([np.ones(len(points)), x, y, x * x, y * y, x * y]))
    density = sums[..., 0]
    usual = float(np.median(density.ravel()[flat])) or 1.0
    tilt, slack = _tilt(sums, usual, pixel / sigma)
    layers = np.empty((*shape, features.shape[1] + 1))
    at_once = max(1, MOST_AT_ONCE // (3 * int(shape.prod())))
    for first in range(0, features.shape[1], at_once):
        some = features[:, first : first + at_once]
        n = some.shape[1]
        summed = blurred(np.concatenate([some, some * x[:, None], some * y[:, None]], axis=1))
        into = layers[..., first : first + n]
        np.multiply(summed[..., :n], slack[..., None], out=into)
        into += summed[..., n : 2 * n] * tilt[0][..., None]
        into += summed[..., 2 * n :] * tilt[1][..., None]
    layers[..., -1] = np.clip((density / usual - OUTSIDE) / (INSIDE - OUTSIDE), 0.0, 1.0)
    return Field(origin, pixel, layers)


def blur(image: NDArray[np.float64], sigma: float) -> NDArray[np.float64]:
    """Smooth all layers of an image, shape (nx, ny, layers), with nothing around it.

    A Gaussian is two products with a band matrix, which are cut into blocks along the band.
    """
    radius = int(TRUNCATE * sigma + 0.5)
    weights = np.exp(-0.5 * np.square(np.arange(-radius, radius + 1) / sigma))
    weights /= weights.sum()
    band = np.zeros((BLOCK, BLOCK + 2 * radius))
    for row in range(BLOCK):
        band[row, row : row + 2 * radius + 1] = weights
    for _ in range(2):
        n, width, layers = image.shape
        padded = np.zeros((n + 2 * radius, width * layers))
        padded[radius : n + radius] = image.reshape(n, -1)
        image = np.empty((n, width, layers))
        for first in range(0, n, BLOCK):
            rows = min(BLOCK, n - first)
            below = padded[first : first + rows + 2 * radius]
            np.matmul(
                band[:rows, : rows + 2 * radius],
                below,
                out=image[first : first + rows].reshape(rows, -1),
            )
        image = image.transpose(1, 0, 2)
    return image


def _tilt(
    sums: NDArray[np.float64], usual: float, pixel: float
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Factors of the sums of features × place, shape (2, nx, ny), and of the sums of features.

    With M the weighted second moments about the pixel and m the first, the plane's value at the
    pixel is (Σ f - m M⁻¹ Σ f (p - q)) / (n - m M⁻¹ m). The sums are those of 1, x, y, x², y², xy.
    """
    density, sum_x, sum_y, sum_xx, sum_yy, sum_xy = np.moveaxis(sums, 2, 0)
    x, y = np.meshgrid(*(np.arange(n) * pixel for n in density.shape), indexing="ij")
    m = np.stack([sum_x - x * density, sum_y - y * density])
    xx = sum_xx - 2 * x * sum_x + x**2 * density
    yy = sum_yy - 2 * y * sum_y + y**2 * density
    xy = sum_xy - x * sum_y - y * sum_x + x * y * density
    # Far outside, where there are almost no spots, the plane is level.
    xx, yy = xx + RIDGE * usual, yy + RIDGE * usual
    slope = np.stack([yy * m[0] - xy * m[1], xx * m[1] - xy * m[0]]) / (xx * yy - xy**2)
    total = np.maximum(density - (m * slope).sum(axis=0), 1e-6 * usual)
    return -slope / total, (1 + slope[0] * x + slope[1] * y) / total
