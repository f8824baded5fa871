"""How far each spot is from its counterparts, once the slices are in one frame."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from scipy import sparse
from scipy.spatial import KDTree

from napari_staligner.core.prepare.graph import find_radius
from napari_staligner.core.progress import Progress, finish
from napari_staligner.core.registration.raster import components, rasterize, together
from napari_staligner.core.training.ranks import Arrays, Ranks
from napari_staligner.core.training.sharing import each

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from napari_staligner.core.registration.raster import Field

    Features = NDArray[np.float64]

REACH = 6.0
"""Counterparts are not searched for beyond this distance, in spacings."""
USUAL = 3.0
"""Prior standard deviation of displacements, in spacings."""
SMOOTHING = 2.0
"""Smoothing of the embedding that is looked up, in spacings."""
COMPONENTS = 10
NEIGHBORS = 19
"""Spots, including itself, that determine a displacement: two rings of a hexagonal grid."""
ROUNDS = 6
TISSUE = 0.5


@dataclass(frozen=True)
class _Slice:
    """Points in spacings of the frame, features, their field, noise, and means over neighbours."""

    points: NDArray[np.float64]
    features: NDArray[np.float64]
    field: Field
    noise: float
    mean: sparse.csr_array


def counterparts(
    aligned: Sequence[NDArray[np.float64]],
    embedding: NDArray[np.floating],
    matches: Mapping[tuple[int, int], tuple[NDArray[np.intp], NDArray[np.intp]]],
    unit: float,
    threads: int = 1,
    ranks: Ranks | None = None,
) -> list[NDArray[np.float64]]:
    r"""Find the displacement from each spot to its counterpart.

    The displacement u of a spot minimises, over the spots q around it,

    .. math:: \frac{d}{s^2} \overline{\lVert F(q + u) - z_q \rVert^2} + \lVert u \rVert^2 / 3^2

    with F the smoothed embedding of the other slice and :math:`s^2/d` the variance of a component
    of z about the smoothed embedding of its own slice. It is found by Gauss-Newton steps (Lucas
    and Kanade 1981). It is 0 where the embedding does not change, for example along a layer. For
    several other slices it is the mean.

    Parameters
    ----------
    aligned
        Places of the spots of each slice in the common frame, shape (spots, 2).
    embedding
        Shape (spots of all slices, d).
    matches
        Pairs of slices that are compared, with the rows of their matching spots. Their median
        difference is taken as an overall difference of the two slices, not as a displacement.
    unit
        A spacing in the frame.
    threads
        How many slices are looked at at a time; the result is the same.
    ranks
        The processes that share the slices, all with the same of everything; ``None`` for this one
        alone.

    Returns
    -------
    Shape (spots, 2) for each slice, in spacings; NaN where no other slice has tissue.
    """
    if not matches:
        return [np.full(points.shape, np.nan) for points in aligned]
    slices = _prepared(aligned, embedding, unit)
    ways: list[list[tuple[int, Features]]] = [[] for _ in slices]
    for (a, b), (first, second) in matches.items():
        apart = slices[a].features[first] - slices[b].features[second]
        offset = np.median(apart, axis=0) if len(apart) else np.zeros(apart.shape[1])
        ways[a].append((b, offset))
        ways[b].append((a, -offset))

    def mean(number: int) -> Arrays:
        return {"shift": _mean_shift(slices, number, ways[number])}

    def said(number: int) -> Progress:
        return Progress("residuals", number, len(slices))

    loads = [len(of) * len(own.points) for of, own in zip(ways, slices, strict=True)]
    found = finish(each(range(len(slices)), mean, said, ranks or Ranks(), loads, threads))
    return [arrays["shift"] for arrays in found]


def _mean_shift(
    slices: Sequence[_Slice], number: int, others: Sequence[tuple[int, Features]]
) -> NDArray[np.float64]:
    """Mean displacement of a slice's spots towards others, NaN where none has tissue."""
    own = slices[number]
    total, seen = np.zeros_like(own.points), np.zeros(len(own.points))
    for other, offset in others:
        shift, known = _shift(own, slices[other], offset)
        total[known] += shift[known]
        seen += known
    return np.where(seen[:, None] > 0, total / np.maximum(seen, 1)[:, None], np.nan)


def _prepared(
    aligned: Sequence[NDArray[np.float64]], embedding: NDArray[np.floating], unit: float
) -> list[_Slice]:
    z = components(embedding, COMPONENTS)
    slices = []
    rows = np.split(z, np.cumsum([len(points) for points in aligned])[:-1])
    for points, features in zip(aligned, rows, strict=True):
        scaled = points / unit
        sigma = SMOOTHING * max(1.0, find_radius(scaled) / 1.1)
        whole = together(scaled)
        field = rasterize(scaled[whole], features[whole], sigma, sigma / 4)
        noise = float(np.square(field.look(scaled).values - features).sum(axis=1).mean())
        k = min(NEIGHBORS, len(scaled))
        near = KDTree(scaled).query(scaled, k=k)[1].reshape(len(scaled), k)
        slices.append(
            _Slice(scaled, features, field, noise / features.shape[1] or 1.0, _mean_of(near))
        )
    return slices


def _shift(
    own: _Slice, other: _Slice, offset: NDArray[np.float64]
) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
    """Displacement of each spot towards another slice, and whether that has tissue there."""
    known = other.field.look(own.points, slopes=False).tissue > TISSUE
    shift = np.zeros_like(own.points)
    if not known.any():
        return shift, known
    noise = max(own.noise, other.noise)
    target = own.features - offset
    for _ in range(ROUNDS):
        look = other.field.look(own.points + shift)
        seen = (look.tissue > TISSUE).astype(np.float64)
        apart, (x, y) = target - look.values, look.slopes
        # Products of the slopes by x and y with each other, and with what the spots differ by.
        products = [seen, *(seen * np.einsum("nk,nk->n", a, b) for a, b in _both(x, y, apart))]
        share, xx, yy, xy, right, up = (own.mean @ np.column_stack(products)).T
        weight = 1 / np.maximum(share, 1e-9) / noise
        xx, yy = (squares * weight + 1 / USUAL**2 for squares in (xx, yy))
        xy = xy * weight
        right, up = (slope * weight - shift[:, k] / USUAL**2 for k, slope in enumerate((right, up)))
        area = xx * yy - xy * xy
        step = np.column_stack([(yy * right - xy * up) / area, (xx * up - xy * right) / area])
        shift = own.mean @ (shift + step)
        length = np.linalg.norm(shift, axis=1, keepdims=True)
        shift *= np.minimum(1.0, REACH / np.maximum(length, 1e-9))
    return shift, known


def _both(x: Features, y: Features, apart: Features) -> list[tuple[Features, Features]]:
    return [(x, x), (y, y), (x, y), (x, apart), (y, apart)]


def _mean_of(near: NDArray[np.intp]) -> sparse.csr_array:
    """Matrix that takes the mean over the neighbours of each spot."""
    n, k = near.shape
    ends = np.arange(n + 1) * k
    return sparse.csr_array((np.full(near.size, 1 / k), near.ravel(), ends), shape=(n, n))
