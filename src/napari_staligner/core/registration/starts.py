"""Starts: all angles, both handednesses and all moves of one slice over another."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from scipy import fft

from napari_staligner.core.registration.raster import rasterize
from napari_staligner.core.registration.transforms import apply, shifted, turn_between, turned

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from napari_staligner.core.registration.raster import Field
    from napari_staligner.core.registration.transforms import Matrix

PIXELS = 32
"""Pixels along the longer side of the larger slice."""
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
    # When the moving slice turns about its centre, its raster never gets wider than this.
    reach = 2 * np.linalg.norm(moving[0] - center, axis=1).max() / pixel + 10
    shape = tuple(fft.next_fast_len(int(n + reach), real=True) for n in still.tissue.shape)
    spectra = _spectra(still, shape)
    found: list[tuple[float, Matrix]] = []
    for mirrored in (False, True):
        for degrees in np.arange(0.0, 360.0, STEP):
            turn = turned(degrees, mirrored=mirrored) @ shifted(-center)
            field = rasterize(apply(turn, moving[0]), moving[1], sigma=pixel, pixel=pixel)
            gained, move = _best_move(field, still, spectra, shape)
            found.append((gained, shifted(move) @ turn))
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


def _spectra(field: Field, shape: tuple[int, ...]) -> NDArray[np.complex128]:
    """Transforms of tissue, squared features and features, all weighted by the tissue."""
    weight = field.tissue[..., None]
    squares = np.square(field.values).sum(axis=2, keepdims=True)
    parts = np.concatenate([weight, weight * squares, weight * field.values], axis=2)
    return np.asarray(fft.rfft2(parts, shape, axes=(0, 1)))


def _best_move(
    moving: Field, still: Field, spectra: NDArray[np.complex128], shape: tuple[int, ...]
) -> tuple[float, NDArray[np.float64]]:
    """Gain and (x, y) of the best move of one field over another."""
    a = np.conj(_spectra(moving, shape))
    b = spectra
    products = [
        a[..., :1] * b[..., :1],
        a[..., 1:2] * b[..., :1]
        + a[..., :1] * b[..., 1:2]
        - 2 * (a[..., 2:] * b[..., 2:]).sum(axis=2, keepdims=True),
        a[..., :1] * b[..., 2:] - a[..., 2:] * b[..., :1],
    ]
    maps = fft.irfft2(np.concatenate(products, axis=2), shape, axes=(0, 1))
    overlap = maps[..., 0]
    enough = overlap >= LEAST_OVERLAP * min(moving.tissue.sum(), still.tissue.sum())
    if not enough.any():
        enough = overlap >= overlap.max()
    over = np.maximum(overlap, 1e-9)
    apart = maps[..., 1] / over - np.square(maps[..., 2:] / over[..., None]).sum(axis=2)
    gain = np.where(enough, overlap * (UNRELATED - apart), -np.inf)
    best = np.array(np.unravel_index(int(gain.argmax()), gain.shape))
    # A move beyond the fixed raster has wrapped around from below zero.
    lag = np.where(best < still.tissue.shape, best, best - np.array(shape))
    return float(gain[tuple(best)]), still.origin - moving.origin + lag * moving.pixel
