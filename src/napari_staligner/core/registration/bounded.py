"""Descent that stays within bounds and starts with a short step."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from scipy import optimize

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    Costed = tuple[float, NDArray[np.float64]]

ITERATIONS = 60
REFUSED = 1e6
"""Cost, on top of the start's, of a place where the cost or slope is not finite."""
TOLERANCE = 1e-5
"""Slope at which the descent ends; the smallest gain is SciPy's default."""
LEAST_GAIN = 2.2e-9


def descend(
    cost: Callable[[NDArray[np.float64]], Costed],
    low: NDArray[np.float64],
    high: NDArray[np.float64],
    first: float,
    least_gain: float = LEAST_GAIN,
) -> NDArray[np.float64]:
    """Minimise from 0 by L-BFGS-B, within the bounds.

    Without bounds, rounding can make a line search try any place at all. If all values are
    bounded, L-BFGS-B never evaluates the cost outside the bounds.

    Parameters
    ----------
    cost
        Takes values of shape (n,); returns the cost, and its slope of the same shape.
    low, high
        Shape (n,): bounds, around 0.
    first
        Length of the first step, when the curvature is not known yet.
    least_gain
        Share of the cost by which a step lowers it, below which the descent ends.

    Returns
    -------
    Shape (n,), within the bounds; 0 if the cost or its slope there is not finite.
    """
    start = np.zeros(len(low))
    value, slope = cost(start)
    steepness = float(np.linalg.norm(slope))
    if not (np.isfinite(value) and np.isfinite(steepness) and steepness > 0):
        return start
    # Within bounds, the first step is as long as the slope.
    scale = first / steepness

    def scaled(values: NDArray[np.float64]) -> Costed:
        there, by = cost(values)
        if not (np.isfinite(there) and np.isfinite(by).all()):
            return (value + REFUSED) * scale, np.zeros_like(by)
        return there * scale, by * scale

    found = optimize.minimize(
        scaled,
        start,
        jac=True,
        method="L-BFGS-B",
        bounds=optimize.Bounds(low, high),
        options={
            "maxiter": ITERATIONS,
            "gtol": TOLERANCE * scale,
            "ftol": least_gain * min(1.0, scale),
        },
    )
    return np.asarray(found.x)
