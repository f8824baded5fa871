"""From a shared embedding to a common frame: one transform for each slice.

Matches in z between two slices say which spots lie at the same place of the tissue. A rigid
transform is found from them robustly (RANSAC, reflection tried), then refined by iterative closest
points that re-match in space and z together, trimmed. Slices are chained along the pairs that agree
best, to the reference.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import numpy as np
from scipy import sparse
from scipy.spatial import KDTree

from napari_staligner.core.graph import SAME_UNIT, spacing
from napari_staligner.core.progress import Progress, Steps

if TYPE_CHECKING:
    from numpy.typing import NDArray

FEWEST_MATCHES = 8
TRIALS = 300
INLIER_SPACINGS = 5.0
ROUNDS = 30
CANDIDATES = 8
KEPT = 0.7


@dataclass(frozen=True)
class Registered:
    """Slices in a common frame.

    Parameters
    ----------
    transforms
        Of each slice: shape (3, 3), float64, takes (x, y, 1) as a column to the reference's frame.
    aligned
        Shape (spots, 2), float64, in the units of the reference.
    """

    transforms: dict[str, NDArray[np.float64]]
    aligned: NDArray[np.float64]


@dataclass(frozen=True)
class _Side:
    """One slice of a pair, in units of its own spacing."""

    points: NDArray[np.float64]
    features: NDArray[np.float64]


def register_steps(
    coordinates: Mapping[str, NDArray[np.floating[Any]]],
    embedding: NDArray[np.float32],
    mutual: sparse.csr_matrix,
    seed: int,
) -> Steps[Registered]:
    """Register slices to the first one, a pair a step.

    Parameters
    ----------
    coordinates
        Of each slice, shape (spots, 2), in the order of the rows of the embedding.
    embedding
        Shape (spots, d).
    mutual
        Shape (spots, spots), CSR: mutual nearest neighbours across slices.
    seed
        Seed of the sampling.

    Returns
    -------
    Slices without enough matches to any other are centred on the reference and said so in a note.
    """
    names = list(coordinates)
    points = [np.asarray(coordinates[name], dtype=np.float64)[:, :2] for name in names]
    starts = np.concatenate([[0], np.cumsum([len(p) for p in points])])
    rows = [slice(a, b) for a, b in pairwise(starts)]
    found: dict[tuple[int, int], tuple[float, NDArray[np.float64]]] = {}
    pairs = [(i, j) for i in range(len(names)) for j in range(i)]
    for done, (i, j) in enumerate(pairs):
        yield Progress(f"register {names[i]} to {names[j]}", done, len(pairs))
        matches = sparse.coo_matrix(mutual[rows[i], rows[j]])
        fit = _register_pair(
            (points[i], np.asarray(embedding[rows[i]], dtype=np.float64)),
            (points[j], np.asarray(embedding[rows[j]], dtype=np.float64)),
            (matches.row, matches.col),
            seed,
        )
        if fit is not None:
            found[i, j] = fit
    order, lost = _spread(found, len(names))
    transforms = _compose(order, lost, found, points)
    for i in lost:
        note = (
            f"Slice {names[i]!r} has too few matches to the other slices to be registered; "
            f"it is centred on {names[0]!r}."
        )
        yield Progress("register", len(pairs), len(pairs), note=note)
    aligned = [apply(transform, p) for transform, p in zip(transforms, points, strict=True)]
    return Registered(dict(zip(names, transforms, strict=True)), np.concatenate(aligned))


def apply(transform: NDArray[np.float64], points: NDArray[np.float64]) -> NDArray[np.float64]:
    """Transform points of shape (spots, 2) by a 3 × 3 matrix."""
    return np.asarray(points @ transform[:2, :2].T + transform[:2, 2])


def _register_pair(
    moving: tuple[NDArray[np.float64], NDArray[np.float64]],
    fixed: tuple[NDArray[np.float64], NDArray[np.float64]],
    matches: tuple[NDArray[np.integer[Any]], NDArray[np.integer[Any]]],
    seed: int,
) -> tuple[float, NDArray[np.float64]] | None:
    """Cost (in spacings) and transform that takes the moving slice onto the fixed one.

    Slices in different units are scaled to a common spread first: among sections of one tissue
    the ratio of their spreads is close to the ratio of their units.
    """
    (a, z_a), (b, z_b) = moving, fixed
    i, j = matches
    if len(i) < FEWEST_MATCHES:
        return None
    norm_a, norm_b = _normalizer(a), _normalizer(b)
    if 1 / SAME_UNIT <= norm_a[0, 0] / norm_b[0, 0] <= SAME_UNIT:
        norm_a = norm_a.copy()
        norm_a[:2] *= norm_b[0, 0] / norm_a[0, 0]
    pa, pb = apply(norm_a, a), apply(norm_b, b)
    unit = max(spacing(pa), spacing(pb))
    start = _ransac(pa[i], pb[j], INLIER_SPACINGS * unit, seed)
    scale = _feature_scale(z_a, z_b, i, j)
    side_a, side_b = _Side(pa / unit, z_a / scale), _Side(pb / unit, z_b / scale)
    cost, in_units = _closest_points(side_a, side_b, _rescaled(start, 1 / unit))
    fitted = _rescaled(in_units, unit)
    return cost, np.linalg.inv(norm_b) @ fitted @ norm_a


def _normalizer(points: NDArray[np.float64]) -> NDArray[np.float64]:
    """Matrix that centres points and scales their root mean square radius to 1."""
    centre = points.mean(axis=0)
    radius = float(np.sqrt(np.square(points - centre).sum(axis=1).mean())) or 1.0
    matrix = np.diag([1 / radius, 1 / radius, 1.0])
    matrix[:2, 2] = -centre / radius
    return matrix


def _rescaled(transform: NDArray[np.float64], factor: float) -> NDArray[np.float64]:
    """The same rigid transform, for coordinates multiplied by ``factor``."""
    scaled = transform.copy()
    scaled[:2, 2] *= factor
    return scaled


def _rigid(a: NDArray[np.float64], b: NDArray[np.float64], mirrored: bool) -> NDArray[np.float64]:
    """Least-squares rigid transform from a to b (Kabsch), with or without a reflection."""
    centre_a, centre_b = a.mean(axis=0), b.mean(axis=0)
    u, _, vt = np.linalg.svd((a - centre_a).T @ (b - centre_b))
    wanted = -1.0 if mirrored else 1.0
    flip = np.diag([1.0, wanted * np.sign(np.linalg.det(u @ vt))])
    rotation = (u @ flip @ vt).T
    transform = np.eye(3)
    transform[:2, :2] = rotation
    transform[:2, 2] = centre_b - rotation @ centre_a
    return transform


def _ransac(
    a: NDArray[np.float64], b: NDArray[np.float64], tolerance: float, seed: int
) -> NDArray[np.float64]:
    """Rigid transform that most matches agree on, of either handedness.

    Each trial takes two matches; what counts is the sum of errors cut at the tolerance, so that
    layered tissue, where many matches are a little off along the layer, is judged smoothly.
    """
    rng = np.random.default_rng(seed)
    some = rng.permutation(len(a))[:2000]
    best_cost, best = np.inf, np.eye(3)
    for trial in range(TRIALS):
        pick = rng.choice(len(a), 2, replace=False)
        mirrored = bool(trial % 2)
        if np.allclose(a[pick[0]], a[pick[1]]) or np.allclose(b[pick[0]], b[pick[1]]):
            continue
        guess = _rigid(a[pick], b[pick], mirrored)
        for cut in (4 * tolerance, 2 * tolerance):
            errors = np.linalg.norm(apply(guess, a[some]) - b[some], axis=1)
            near = some[errors < cut]
            if len(near) >= 3:
                guess = _rigid(a[near], b[near], mirrored)
        errors = np.linalg.norm(apply(guess, a[some]) - b[some], axis=1)
        cost = float(np.minimum(errors, 4 * tolerance).mean())
        if cost < best_cost:
            best_cost, best = cost, guess
    return best


def _feature_scale(
    z_a: NDArray[np.float64],
    z_b: NDArray[np.float64],
    i: NDArray[np.integer[Any]],
    j: NDArray[np.integer[Any]],
) -> float:
    """Distance in z that counts as much as one spacing: the median of the matches."""
    return float(np.median(np.linalg.norm(z_a[i] - z_b[j], axis=1))) or 1.0


def _closest_points(
    a: _Side, b: _Side, start: NDArray[np.float64]
) -> tuple[float, NDArray[np.float64]]:
    """Iterative closest points: re-match among the nearest in space by space and z together."""
    mirrored = bool(np.linalg.det(start[:2, :2]) < 0)
    tree = KDTree(b.points)
    k = min(CANDIDATES, len(b.points))
    transform, cost = start, np.inf
    for _ in range(ROUNDS):
        moved = apply(transform, a.points)
        distance, near = tree.query(moved, k=k)
        distance, near = distance.reshape(len(moved), -1), near.reshape(len(moved), -1)
        apart = np.linalg.norm(b.features[near] - a.features[:, None], axis=2)
        combined = np.sqrt(np.square(distance) + np.square(apart))
        pick = combined.argmin(axis=1)
        rows = np.arange(len(moved))
        errors, chosen = combined[rows, pick], near[rows, pick]
        kept = np.argsort(errors, kind="stable")[: max(3, int(KEPT * len(errors)))]
        new_cost = float(errors[kept].mean())
        if new_cost > cost - 1e-6:
            break
        cost = new_cost
        transform = _rigid(a.points[kept], b.points[chosen[kept]], mirrored)
    return cost, transform


def _spread(
    found: Mapping[tuple[int, int], tuple[float, Any]], n: int
) -> tuple[list[tuple[int, int]], list[int]]:
    """Tree of the cheapest pairs from slice 0 (Prim), as (new, known), and slices not reached."""
    known: set[int] = {0}
    edges: list[tuple[int, int]] = []
    while True:
        options = [
            (cost, i, j)
            for (p, q), (cost, _) in found.items()
            for i, j in ((p, q), (q, p))
            if i not in known and j in known
        ]
        if not options:
            return edges, sorted(set(range(n)) - known)
        _, i, j = min(options)
        known.add(i)
        edges.append((i, j))


def _compose(
    edges: Sequence[tuple[int, int]],
    lost: Sequence[int],
    found: Mapping[tuple[int, int], tuple[float, NDArray[np.float64]]],
    points: Sequence[NDArray[np.float64]],
) -> list[NDArray[np.float64]]:
    transforms = [np.eye(3) for _ in points]
    for i, j in edges:
        step = found[i, j][1] if (i, j) in found else np.linalg.inv(found[j, i][1])
        transforms[i] = transforms[j] @ step
    for i in lost:
        transforms[i] = np.linalg.inv(_normalizer(points[0])) @ _normalizer(points[i])
    return transforms
