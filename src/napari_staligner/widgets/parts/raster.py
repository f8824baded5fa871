"""Spots as a picture: every spot contributes, however many there are."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from scipy.ndimage import distance_transform_edt

if TYPE_CHECKING:
    from numpy.typing import NDArray

FAINT = 0.5
"""Spots with a lower alpha are drawn below the others."""
_RADII = (0.5, 3.5)
_SHARE = 0.35
"""Radius of a spot, as a share of the side of the square available to each spot."""


def draw_spots(
    xy: NDArray[np.floating],
    rgba: NDArray[np.floating],
    box: tuple[float, float, float, float],
    size: tuple[int, int],
) -> NDArray[np.uint8]:
    """Draw spots as discs into a picture.

    A pixel with the centres of several spots gets the mean of their colours; between centres, a
    pixel shows the nearest spot. So no spot is hidden, and the order does not matter.

    Parameters
    ----------
    xy
        Places of the spots, shape (spots, 2).
    rgba
        Their colours, 0..1, shape (spots, 4).
    box
        Area of the picture: smallest x and y, largest x and y.
    size
        Columns and rows of the picture.

    Returns
    -------
    RGBA, shape (rows, columns, 4), the first row at the smallest y.
    """
    x0, y0, x1, y1 = box
    margin = int(np.ceil(_RADII[1])) + 1
    places = (xy - (x0, y0)) * (size[0] / (x1 - x0), size[1] / (y1 - y0))
    with np.errstate(invalid="ignore"):
        at = np.where(np.isfinite(places), np.floor(places), -margin - 1).astype(np.intp) + margin
    seen = ((at >= 0) & (at < np.array(size) + 2 * margin)).all(axis=1)
    at, colors = at[seen], np.asarray(rgba)[seen]
    radius = float(np.clip(_SHARE * np.sqrt(size[0] * size[1] / max(1, len(at))), *_RADII))
    shape = (size[1] + 2 * margin, size[0] + 2 * margin)
    picture = np.zeros((*shape, 4))
    faint = colors[:, 3] < FAINT
    for part in (faint, ~faint):
        if part.any():
            picture = _over(_discs(at[part], colors[part], shape, radius), picture)
    inner = picture[margin:-margin, margin:-margin]
    return np.round(inner * 255).astype(np.uint8)


def _discs(
    at: NDArray[np.intp], colors: NDArray[np.floating], shape: tuple[int, int], radius: float
) -> NDArray[np.float64]:
    flat = at[:, 1] * shape[1] + at[:, 0]
    n = np.bincount(flat, minlength=shape[0] * shape[1]).reshape(shape)
    sums = [np.bincount(flat, c, shape[0] * shape[1]).reshape(shape) for c in colors.T]
    mean = np.stack(sums, axis=-1) / np.maximum(n, 1)[..., None]
    distance, nearest = distance_transform_edt(n == 0, return_indices=True)
    discs = mean[nearest[0], nearest[1]]
    discs[..., 3] *= np.clip(radius + 0.5 - distance, 0, 1)
    return discs


def _over(above: NDArray[np.float64], below: NDArray[np.float64]) -> NDArray[np.float64]:
    """Lay one picture over another."""
    alpha, beneath = above[..., 3:], below[..., 3:] * (1 - above[..., 3:])
    total = alpha + beneath
    colors = above[..., :3] * alpha + below[..., :3] * beneath
    colors = np.divide(colors, total, out=np.zeros_like(colors), where=total > 0)
    return np.concatenate([colors, total], axis=-1)
