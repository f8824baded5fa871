"""Colours for categories that most people can tell apart."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

# The seven hues of Okabe and Ito, then, one after the other, the colour farthest (CIEDE2000) from
# all before it and from the grey of spots without a value, as seen with normal colour vision and
# with each of the three kinds of colour blindness (Machado 2009); very light, very dark and
# greyish colours were left out. A test measures the distances.
_COLORS = (
    "#0072b2 #e69f00 #009e73 #d55e00 #cc79a7 #56b4e9 #f0e442 #780f2d "
    "#b4e1c3 #2d3c69 #b40000 #5af0ff #3c00d2 #00695a #7878ff #c3b478 "
    "#96694b #a53c5a #e1b4d2 #964b87 #ff5a87 #d2e196 #78964b #d200b4 "
    "#8700ff #4b8778 #873c2d #ff69d2 #5a2d4b #78c3a5 #782d96 #0f4b3c"
).split()


def categorical_colors(n: int) -> list[str]:
    """Return ``n`` hex colours for categories, the first ones easiest to tell apart.

    The first 32 differ; after that the colours repeat.

    Parameters
    ----------
    n
        Number of categories.
    """
    return [_COLORS[i % len(_COLORS)] for i in range(n)]


def to_rgba(colors: Sequence[str]) -> NDArray[np.float32]:
    """Return colours, hex or any name that matplotlib knows, as float32 RGBA, shape (n, 4).

    A colour that cannot be read becomes grey.
    """
    return np.array([_one_rgba(str(color)) for color in colors], dtype=np.float32).reshape(-1, 4)


def _one_rgba(color: str) -> tuple[float, ...]:
    digits = color.removeprefix("#")
    if color.startswith("#") and len(digits) in (6, 8):
        try:
            values = [value / 255 for value in bytes.fromhex(digits)]
        except ValueError:
            return _UNREADABLE
        return tuple(values) if len(values) == 4 else (*values, 1.0)
    from matplotlib.colors import to_rgba as from_name

    try:
        return tuple(map(float, from_name(color)))
    except ValueError:
        return _UNREADABLE


_UNREADABLE = (0.6, 0.6, 0.6, 1.0)
