"""Whether spots lie on the tissue of their image, or would in another orientation of it."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from scipy.ndimage import uniform_filter
from scipy.signal import fftconvolve

if TYPE_CHECKING:
    from numpy.typing import NDArray

SIDE = 256
"""Pixels of the longer side of the small image that is looked at."""
FARTHEST = 0.12
"""Largest shift that is tried, as a share of the longer side."""
BETTER = 0.06
"""A place is clearly better if this share more of the spots lies on tissue there."""
FEWER = 3.0
"""And if this many times fewer lie beside it."""
GOOD = 0.85
"""And if at least this share does."""
CLEAR = 0.05
"""Least difference of the mean of tissue and ground, in the range of the image: else there is no
tissue to be seen."""
_ORIENTATIONS = {
    "turned by 90° clockwise": (-1, False),
    "turned by 180°": (2, False),
    "turned by 90° counterclockwise": (1, False),
    "mirrored left to right": (0, True),
    "mirrored top to bottom": (2, True),
    "mirrored along its falling diagonal": (1, True),
    "mirrored along its rising diagonal": (-1, True),
}
"""Quarter turns counterclockwise, after a mirroring left to right if so, by what they are."""


@dataclass(frozen=True)
class ImageFit:
    """How spots lie on the tissue of an image.

    Parameters
    ----------
    share
        Of the spots, on tissue as they lie, 0..1.
    better
        What would have to be done to the image so that clearly more do; empty if nothing.
    then
        The share after that.
    matrix
        What that does to the image, float64, shape (3, 3): from (column, row, 1) of the image as
        it lies to where its pixels would be.
    """

    share: float
    better: str = ""
    then: float = 0.0
    matrix: NDArray[np.float64] = field(default_factory=lambda: np.eye(3))


def image_fit(
    pixels: NDArray[Any], at: NDArray[np.float64], size: tuple[int, int]
) -> ImageFit | None:
    """Find on which share of the tissue spots lie, for eight orientations and small shifts.

    Parameters
    ----------
    pixels
        A small version of the image, shape (height, width, colours) or (height, width).
    at
        Places (column, row) of the spots on the whole image, shape (spots, 2).
    size
        Height and width of the whole image.

    Returns
    -------
    ``None`` if no tissue can be told from the ground.
    """
    factor = SIDE / max(size)
    mask = tissue_mask(_small(pixels))
    if mask is None or not len(at):
        return None
    # The mask in pixels of SIDE; the spots are where they would be on it.
    spots = np.floor((at + 0.5) * factor).astype(int)
    share = _share_at(mask, spots)
    found = _tried(mask, spots, "", np.eye(3))
    for what, (turns, mirrored) in _ORIENTATIONS.items():
        turned = np.rot90(mask[:, ::-1] if mirrored else mask, turns)
        found += _tried(turned, spots, what, _turned(mask.shape, turns, mirrored=mirrored))
    # A shift explains much, so it has to be worth it; nothing to do is preferred to anything.
    best = max(found, key=lambda each: each.share - each.cost)
    few = (1 - best.share) * FEWER <= 1 - share
    if best.share - best.cost < share + BETTER or not few or best.share < GOOD:
        return ImageFit(share)
    # From pixels of the whole image to those of the mask, and back.
    small = np.diag([factor, factor, 1.0])
    small[:2, 2] = (factor - 1) / 2
    return ImageFit(share, best.what, best.share, np.linalg.inv(small) @ best.matrix @ small)


class _Try(NamedTuple):
    """A place of the image: what to do, its share of spots, what it costs, pixels of the mask."""

    what: str
    share: float
    cost: float
    matrix: NDArray[np.float64]


def _tried(
    mask: NDArray[np.bool_], spots: NDArray[np.intp], what: str, matrix: NDArray[np.float64]
) -> list[_Try]:
    """A mask as it is, and in the best place near by."""
    return [_Try(what, _share_at(mask, spots), 0.0, matrix), *_shifted(mask, spots, what, matrix)]


def _turned(shape: tuple[int, ...], turns: int, *, mirrored: bool) -> NDArray[np.float64]:
    """What a mirroring left to right and quarter turns counterclockwise do to (column, row, 1)."""
    height, width = shape
    matrix = np.array([[-1.0, 0, width - 1], [0, 1, 0], [0, 0, 1]]) if mirrored else np.eye(3)
    for _ in range(turns % 4):
        matrix = np.array([[0.0, 1, 0], [-1, 0, width - 1], [0, 0, 1]]) @ matrix
        height, width = width, height
    return matrix


def tissue_mask(pixels: NDArray[Any]) -> NDArray[np.bool_] | None:
    """Tell tissue from the ground by Otsu's threshold; ``None`` if they do not differ.

    The ground is what most of the border shows.

    Parameters
    ----------
    pixels
        Shape (height, width, colours) or (height, width).
    """
    values = np.asarray(pixels, dtype=np.float64)
    if values.ndim == 3:
        # Stains change some colours more than others: take the one that varies most.
        values = values[..., int(np.argmax(values[..., :3].std(axis=(0, 1))))]
    values = uniform_filter(values, 3)
    threshold = otsu(values)
    bright = values > threshold
    if bright.all() or not bright.any():
        return None
    apart = values[bright].mean() - values[~bright].mean()
    most = np.iinfo(pixels.dtype).max if pixels.dtype.kind in "ui" else np.ptp(values)
    if apart < CLEAR * most:
        return None
    border = np.concatenate([bright[0], bright[-1], bright[:, 0], bright[:, -1]])
    return np.asarray(~bright if border.mean() > 0.5 else bright)


def otsu(values: NDArray[np.float64]) -> float:
    """Threshold that parts values into two classes of least variance (Otsu 1979)."""
    counts, edges = np.histogram(values, bins=256)
    middles = (edges[:-1] + edges[1:]) / 2
    below, above = np.cumsum(counts), np.cumsum(counts[::-1])[::-1]
    sums = np.cumsum(counts * middles)
    low = sums[:-1] / np.maximum(below[:-1], 1)
    high = (sums[-1] - sums[:-1]) / np.maximum(above[1:], 1)
    return float(edges[1 + np.argmax(below[:-1] * above[1:] * (low - high) ** 2)])


def _small(pixels: NDArray[Any]) -> NDArray[Any]:
    """Nearest pixels of an image whose longer side is SIDE."""
    height, width = pixels.shape[:2]
    factor = max(height, width) / SIDE
    rows, columns = (
        np.minimum(((np.arange(max(1, round(n / factor))) + 0.5) * factor).astype(int), n - 1)
        for n in (height, width)
    )
    return pixels[np.ix_(rows, columns)]


def _share_at(mask: NDArray[np.bool_], spots: NDArray[np.intp]) -> float:
    height, width = mask.shape
    inside = ((spots >= 0) & (spots < (width, height))).all(axis=1)
    return float(mask[spots[inside, 1], spots[inside, 0]].sum() / len(spots))


def _shifted(
    mask: NDArray[np.bool_], spots: NDArray[np.intp], what: str, matrix: NDArray[np.float64]
) -> list[_Try]:
    """The best shift of a mask, if one is better than none."""
    reach = round(FARTHEST * SIDE)
    # Spots that would be pushed in from outside count, too.
    low = spots.min(axis=0) - reach
    extent = spots.max(axis=0) + reach + 1 - low
    if (extent > 8 * SIDE).any():
        return []
    counts = np.zeros(extent[::-1])
    np.add.at(counts, tuple((spots - low)[:, ::-1].T), 1)
    ground = np.zeros_like(counts)
    y, x = np.arange(extent[1]) + low[1], np.arange(extent[0]) + low[0]
    rows, columns = (y >= 0) & (y < mask.shape[0]), (x >= 0) & (x < mask.shape[1])
    ground[np.ix_(rows, columns)] = mask[np.ix_(y[rows], x[columns])]
    # sums[k] = spots that lie on tissue once the image is moved by k.
    sums = fftconvolve(counts, ground[::-1, ::-1])
    cy, cx = extent[1] - 1, extent[0] - 1
    near = sums[cy - reach : cy + reach + 1, cx - reach : cx + reach + 1] / len(spots)
    away = np.hypot(*np.mgrid[-reach : reach + 1, -reach : reach + 1]) / reach
    cost = 0.03 + 0.05 * away
    best = int(np.argmax(near - cost))
    dy, dx = np.array(np.unravel_index(best, near.shape)) - reach
    if dy == dx == 0:
        return []
    moved = " and ".join(
        f"{abs(by) / SIDE:.0%} {way}"
        for by, way in ((dx, "right" if dx > 0 else "left"), (dy, "down" if dy > 0 else "up"))
        if by
    )
    said = (
        f"{what}, and moved {moved} of its longer side"
        if what
        else f"moved {moved} of its longer side"
    )
    by = np.array([[1.0, 0, dx], [0, 1, dy], [0, 0, 1]])
    return [_Try(said, float(near.flat[best]), float(cost.flat[best]), by @ matrix)]
