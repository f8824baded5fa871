"""Starts: all angles, both handednesses and all moves of one slice over another."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from scipy import fft

from napari_staligner.core.registration.raster import rasterize
from napari_staligner.core.registration.transforms import (
    apply,
    inverse,
    shifted,
    turn_between,
    turned,
)

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from napari_staligner.core.registration.raster import Field
    from napari_staligner.core.registration.transforms import Matrix

PIXELS = 32
"""Pixels along the longer side of the larger slice."""
FINER = 3.0
"""Pixels of the moving slice's raster, along one of the others."""
LEAST_PIXELS = 1e-4
"""Least overlap that is divided by, in pixels."""
STEP = 10.0
"""Step between the angles that are tried, in degrees."""
UNRELATED = 2.0
"""Mean squared difference of features of variance 1 at unrelated places."""
LEAST_OVERLAP = 0.4
"""Least share of the smaller slice that overlaps the other in every start."""


def starts(
    moving: tuple[NDArray[np.float64], NDArray[np.float64]],
    fixed: tuple[NDArray[np.float64], NDArray[np.float64]],
    count: int,
) -> list[Matrix]:
    """Find the transforms under which two slices agree over most of their tissue.

    For each angle and handedness, the gain over unrelated tissue (see
    :func:`~napari_staligner.core.registration.optimize.gain`) is computed for all moves at once by
    Fourier transforms.

    Parameters
    ----------
    moving, fixed
        Points, shape (spots, 2), in a common unit, and features, shape (spots, d).
    count
        How many to return.

    Returns
    -------
    The best first, all with different angles or handedness; one more if these all have the same
    handedness.
    """
    widest = max(float(np.ptp(points, axis=0).max()) for points, _ in (moving, fixed))
    pixel = (widest or 1.0) / PIXELS
    still = rasterize(*fixed, sigma=pixel, pixel=pixel)
    center = moving[0].mean(axis=0)
    # Smoothed once, and looked at from all sides.
    field = rasterize(moving[0] - center, moving[1], sigma=pixel, pixel=pixel / FINER)
    # However the moving slice turns about its centre, it lies on these pixels.
    reach = int(np.linalg.norm(moving[0] - center, axis=1).max() / pixel) + 5
    grid = np.stack(np.meshgrid(*2 * [np.arange(-reach, reach + 1)], indexing="ij"), axis=-1)
    pixels = pixel * grid.reshape(-1, 2)
    shape = tuple(fft.next_fast_len(n + len(grid), real=True) for n in still.tissue.shape)
    spectra = _spectra(np.moveaxis(still.layers, 2, 0), shape)
    found: list[tuple[float, Matrix]] = []
    for mirrored in (False, True):
        for degrees in np.arange(0.0, 360.0, STEP):
            turn = turned(degrees, mirrored=mirrored)
            look = field.look(apply(inverse(turn), pixels), slopes=False)
            layers = np.vstack([look.values.T, look.tissue]).reshape(-1, *grid.shape[:2])
            gained, lag = _best_move(layers, still, spectra, shape)
            move = still.origin + (lag + reach) * pixel
            found.append((gained, shifted(move) @ turn @ shifted(-center)))
    found.sort(key=lambda pair: -pair[0])
    return _both_hands([matrix for _, matrix in found], count)


def _both_hands(matrices: list[Matrix], count: int) -> list[Matrix]:
    """The first distinct ones, and the first of the other handedness."""
    kept = distinct(matrices)
    mirrored = [turn_between(kept[0], matrix)[1] for matrix in kept]
    if True in mirrored[count:] and True not in mirrored[:count]:
        return [*kept[:count], kept[mirrored.index(True)]]
    return kept[:count]


def distinct(matrices: list[Matrix]) -> list[Matrix]:
    """Those with another angle or handedness than all before them."""
    kept: list[Matrix] = []
    for matrix in matrices:
        if not any(_alike(matrix, other) for other in kept):
            kept.append(matrix)
    return kept


def _alike(first: Matrix, second: Matrix) -> bool:
    """Whether two transforms have about the same angle and the same handedness."""
    degrees, mirrored = turn_between(first, second)
    return not mirrored and degrees < 2.5 * STEP


def _spectra(layers: NDArray[np.float64], shape: tuple[int, ...]) -> NDArray[np.complex64]:
    """Transforms of tissue, squared features and features, all weighted by the tissue.

    Of features and tissue, shape (d + 1, nx, ny).
    """
    values, tissue = layers[:-1], layers[-1]
    weighed = values * tissue
    squares = np.einsum("dxy,dxy->xy", weighed, values)
    parts = np.concatenate([tissue[None], squares[None], weighed]).astype(np.float32)
    return np.asarray(fft.rfft2(parts, shape))


def _best_move(
    moving: NDArray[np.float64],
    still: Field,
    spectra: NDArray[np.complex64],
    shape: tuple[int, ...],
) -> tuple[float, NDArray[np.intp]]:
    """Gain and pixels (x, y) of the best move of one field's layers over another field."""
    a, b = np.conj(_spectra(moving, shape)), spectra
    products = np.empty_like(a)
    np.multiply(a[0], b[0], out=products[0])
    products[1] = a[1] * b[0] + a[0] * b[1] - 2 * np.einsum("dxy,dxy->xy", a[2:], b[2:])
    np.multiply(a[0], b[2:], out=products[2:])
    products[2:] -= a[2:] * b[0]
    maps = fft.irfft2(products, shape, overwrite_x=True)
    overlap = maps[0]
    enough = overlap >= LEAST_OVERLAP * min(moving[-1].sum(), still.tissue.sum())
    if not enough.any():
        enough = overlap >= overlap.max()
    over = np.maximum(overlap, LEAST_PIXELS)
    differ = maps[1] - np.einsum("dxy,dxy->xy", maps[2:], maps[2:]) / over
    gain = np.where(enough, overlap * (UNRELATED - differ / over), -np.inf)
    best = np.array(np.unravel_index(int(gain.argmax()), gain.shape))
    # A move beyond the fixed raster has wrapped around from below zero.
    lag = np.where(best < still.tissue.shape, best, best - np.array(shape))
    return float(gain[tuple(best)]), lag
