"""3 × 3 matrices in the plane: applying, fitting and parametrising them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from napari_staligner._errors import InputError
from napari_staligner.core.registration.choice import Model

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Matrix = NDArray[np.float64]


FLAT = 1e-3
"""Vectors are on a line if their spread across their longest direction is below this part of it."""
FARTHEST = 2.0
"""Largest move of a small transform, in radii of the slice: about its width."""
RESIZED = 2.0
"""Largest ratio of scales of slices of one tissue, either way, once they share a unit."""
SHEARED = 0.8
"""Largest off-diagonal entry of an affine part, relative to the least on the diagonal; below 1, so
that the part can always be inverted."""


def apply(transform: Matrix, points: NDArray[np.floating]) -> NDArray[np.float64]:
    """Transform points.

    Parameters
    ----------
    transform
        Shape (3, 3): takes (x, y, 1) as a column to the new place.
    points
        Shape (spots, 2).
    """
    return np.asarray(points @ transform[:2, :2].T + transform[:2, 2], dtype=np.float64)


def shifted(by: NDArray[np.floating]) -> Matrix:
    """Matrix that moves by (x, y)."""
    matrix = np.eye(3)
    matrix[:2, 2] = by
    return matrix


def inverse(transform: Matrix) -> Matrix:
    """The inverse of an invertible transform, in closed form."""
    (a, b), (c, d) = transform[:2, :2]
    matrix = np.eye(3)
    matrix[:2, :2] = np.array([[d, -b], [-c, a]]) / (a * d - b * c)
    matrix[:2, 2] = -matrix[:2, :2] @ transform[:2, 2]
    return matrix


def scale_of(transform: Matrix) -> float:
    """Factor by which a transform scales lengths; with shear, the root of the factor of areas."""
    (a, b), (c, d) = transform[:2, :2]
    return float(np.sqrt(abs(a * d - b * c)))


def turned(degrees: float, *, mirrored: bool = False) -> Matrix:
    """Matrix that mirrors x if ``mirrored``, and then turns from x to y about the origin."""
    angle = np.deg2rad(degrees)
    matrix = np.eye(3)
    matrix[:2, :2] = [[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]]
    if mirrored:
        matrix[:2, 0] *= -1
    return matrix


def turn_between(first: Matrix, second: Matrix) -> tuple[float, bool]:
    """Angle from one transform to another, 0 to 180 degrees, and whether that mirrors.

    A mirror image has no unique angle; the one after mirroring x first is given.
    """
    between = second[:2, :2] @ inverse(first)[:2, :2]
    mirrored = bool(np.linalg.det(between) < 0)
    x = between[:, 0] * (-1 if mirrored else 1)
    return float(np.rad2deg(np.abs(np.arctan2(x[1], x[0])))), mirrored


def about(center: NDArray[np.floating], matrix: Matrix) -> Matrix:
    """The same matrix, with a point (x, y) as its origin."""
    return shifted(center) @ matrix @ shifted(-np.asarray(center))


def flat(vectors: NDArray[np.floating]) -> bool:
    """Whether vectors, shape (n, 2), are on one line through 0."""
    length, width = (*np.linalg.svd(vectors, compute_uv=False), 0.0)[:2]
    return not width > FLAT * length


def fit_points(moving: NDArray[np.floating], fixed: NDArray[np.floating], model: Model) -> Matrix:
    """Least-squares transform that takes points onto their partners.

    Rigid and similarity try both handednesses (Kabsch). The scale of a similarity is the ratio
    of the spreads, which is consistent in both directions.

    Parameters
    ----------
    moving, fixed
        Shape (points, 2) each.
    model
        What the transform may do.

    Raises
    ------
    InputError
        The points do not determine a transform of the model that can be inverted.
    """
    if model is not Model.RIGID and min(np.ptp(p, axis=0).max() for p in (moving, fixed)) == 0:
        raise InputError(
            "All pairs are at one place, which gives no scale: add one elsewhere, or choose "
            f"{Model.RIGID}."
        )
    a, b = moving - moving.mean(axis=0), fixed - fixed.mean(axis=0)
    if model is Model.AFFINE:
        linear = _affine(a, b)
        return shifted(fixed.mean(axis=0)) @ linear @ shifted(-moving.mean(axis=0))
    u, sizes, vt = np.linalg.svd(a.T @ b)
    # The better of the two handednesses is the one of the singular vectors themselves.
    linear = (u @ vt).T
    if len(moving) < 3 or sizes[1] <= 1e-9 * sizes[0]:
        # Points on a line do not show a mirror image, so assume none.
        linear = (u @ np.diag([1.0, np.sign(np.linalg.det(u @ vt))]) @ vt).T
    if model is Model.SIMILARITY:
        linear = linear * np.sqrt(np.square(b).sum() / np.square(a).sum())
    matrix = np.eye(3)
    matrix[:2, :2] = linear
    matrix[:2, 2] = fixed.mean(axis=0) - linear @ moving.mean(axis=0)
    return matrix


def _affine(moving: NDArray[np.floating], fixed: NDArray[np.floating]) -> Matrix:
    """Least-squares linear map of centred points, as a matrix."""
    matrix = np.eye(3)
    matrix[:2, :2] = np.linalg.lstsq(moving, fixed, rcond=None)[0].T
    if flat(moving) or flat(matrix[:2, :2]):
        raise InputError(
            "The pairs are on one line, which gives no shear: add one off the line, or choose "
            f"{Model.SIMILARITY}."
        )
    return matrix


def parameters(model: Model) -> int:
    """Number of parameters of :func:`small`: the move and those of the model."""
    return {Model.RIGID: 3, Model.SIMILARITY: 4, Model.AFFINE: 6}[model]


def limits(model: Model, scale: float) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Least and largest values of :func:`small` that are geometrically possible, around 0.

    All transforms between them can be inverted, and none mirrors.

    Parameters
    ----------
    model
        What the transform may do.
    scale
        Scale of the transform before it: both together scale by :data:`RESIZED` at most.

    Returns
    -------
    Shape (values,) each. Moves are in radii of the slice.
    """
    shrunk, grown = min(1.0, 1 / RESIZED / scale), max(1.0, RESIZED / scale)
    if model is Model.AFFINE:
        beside = SHEARED * shrunk
        low = [shrunk - 1, -beside, -beside, shrunk - 1]
        high = [grown - 1, beside, beside, grown - 1]
    else:
        logs = [np.log([shrunk, grown])] if model is Model.SIMILARITY else []
        low, high = ([sign * np.pi, *(log[k] for log in logs)] for k, sign in enumerate((-1, 1)))
    return np.array([-FARTHEST, -FARTHEST, *low]), np.array([FARTHEST, FARTHEST, *high])


def small(values: NDArray[np.float64], model: Model) -> tuple[Matrix, NDArray[np.float64]]:
    """A transform near the identity, and its derivatives.

    Parameters
    ----------
    values
        Move in x and y, then the angle (rigid), the logarithm of the scale (similarity), or
        the four entries of the linear part minus the identity (affine).
    model
        What the transform may do.

    Returns
    -------
    Shape (3, 3), and the derivative with respect to each value, shape (values, 3, 3).
    """
    matrix, slopes = np.eye(3), np.zeros((len(values), 3, 3))
    matrix[:2, 2] = values[:2]
    slopes[0, 0, 2] = slopes[1, 1, 2] = 1.0
    if model is Model.AFFINE:
        matrix[:2, :2] += values[2:].reshape(2, 2)
        for k in range(4):
            slopes[2 + k, k // 2, k % 2] = 1.0
        return matrix, slopes
    scale = np.exp(values[3]) if model is Model.SIMILARITY else 1.0
    cos, sin = np.cos(values[2]), np.sin(values[2])
    matrix[:2, :2] = scale * np.array([[cos, -sin], [sin, cos]])
    slopes[2, :2, :2] = scale * np.array([[-sin, -cos], [cos, -sin]])
    if model is Model.SIMILARITY:
        slopes[3, :2, :2] = matrix[:2, :2]
    return matrix, slopes
