"""Colours for categories that most people can tell apart."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence

    from anndata import AnnData
    from numpy.typing import NDArray

# The seven hues of Okabe and Ito. Then, one by one, the colour farthest (CIEDE2000) from all before
# it and from the grey of spots without a value, both with normal colour vision and with each of
# the three kinds of colour blindness (Machado 2009); very light, very dark and greyish colours
# were left out. A test measures the distances.
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


def free_colors(taken: Sequence[str]) -> list[str]:
    """Return the colours of the palette that are not taken; those similar to a taken one come last.

    Parameters
    ----------
    taken
        Hex colours.
    """
    free = [color for color in _COLORS if color not in {one[:7] for one in taken}]
    if not taken or not free:
        return free or list(_COLORS)
    ours, theirs = to_rgba(free)[:, None, :3], to_rgba(taken)[None, :, :3]
    # Roughly as the eye weighs red, green and blue.
    mean = (ours + theirs)[..., 0] / 2
    weights = np.stack([2 + mean, np.full_like(mean, 4), 3 - mean], axis=-1)
    nearest = np.sqrt((weights * (ours - theirs) ** 2).sum(axis=-1)).min(axis=1)
    return [free[i] for i in np.argsort(nearest < _ALIKE, kind="stable")]


_ALIKE = 0.5
"""Distance of similar colours, where black and white are 3 apart."""


def recorded_colors(adata: AnnData, key: str) -> dict[str, str]:
    """Colours in ``uns`` of a categorical column, hex; empty if there are too few."""
    colors = adata.uns.get(f"{key}_colors")
    if colors is None or key not in adata.obs or adata.obs[key].dtype != "category":
        return {}
    categories = [str(c) for c in adata.obs[key].cat.categories]
    if isinstance(colors, Mapping):
        found = {str(category): hex_color(color) for category, color in colors.items()}
    elif len(colors := [colors] if isinstance(colors, str) else list(colors)) < len(categories):
        return {}
    else:
        # If there are more colours than categories, use the first ones, as scanpy does.
        found = {c: hex_color(color) for c, color in zip(categories, colors, strict=False)}
    return {category: color for category, color in found.items() if color}


def to_rgba(colors: Sequence[Any]) -> NDArray[np.float32]:
    """Return colours, hex or in any other form, as float32 RGBA, shape (n, 4).

    A colour that cannot be read becomes grey; see :func:`hex_color` for what can.
    """
    return np.array([_one_rgba(color) for color in colors], dtype=np.float32).reshape(-1, 4)


def _one_rgba(color: Any) -> tuple[float, ...]:
    digits = hex_color(color).removeprefix("#")
    if not digits:
        return _UNREADABLE
    values = [value / 255 for value in bytes.fromhex(digits)]
    return tuple(values) if len(values) == 4 else (*values, 1.0)


_UNREADABLE = (0.6, 0.6, 0.6, 1.0)


def hex_color(value: Any) -> str:
    """Return a colour as hex.

    Parameters
    ----------
    value
        Red, green, blue and optionally opacity: 0-255 or fractions of 1; a whole number that packs
        them, as in Java; or hex, ``rgb(...)`` or a name that matplotlib knows.

    Returns
    -------
    ``#rrggbb``, or ``#rrggbbaa`` if it is not opaque; empty if it cannot be read.
    """
    value = value.tolist() if hasattr(value, "tolist") else value
    if isinstance(value, str):
        return _hex_of_text(value.strip())
    if isinstance(value, (list, tuple)):
        return _hex_of_parts(list(value))
    if isinstance(value, bool) or not isinstance(value, (int, float)) or value != value // 1:
        return ""
    return _hex_of_parts([int(value) >> shift & 255 for shift in (16, 8, 0)])


def _hex_of_text(text: str) -> str:
    if text[:1] in tuple("[(") or text.casefold().startswith("rgb"):
        inside = text[re.search(r"[\[(]|$", text).end() :].rstrip(")]")  # type: ignore[union-attr]
        return _hex_of_parts(inside.replace(",", " ").split())
    # Six digits may also be hex; in a text, that is what they mean.
    if re.fullmatch(r"-\d+|\d{9,}", text):
        return hex_color(int(text))
    if re.fullmatch(r"#?([0-9a-fA-F]{6}|[0-9a-fA-F]{8})", text):
        return _without_opaque(f"#{text.removeprefix('#').lower()}")
    from matplotlib.colors import to_hex

    for spelled in (text, text.casefold()):
        try:
            return _without_opaque(to_hex(spelled, keep_alpha=True))
        except ValueError:
            continue
    return ""


def _hex_of_parts(parts: Sequence[Any]) -> str:
    try:
        levels = [float(part) for part in parts]
    except (TypeError, ValueError):
        return ""
    if len(levels) not in (3, 4):
        return ""
    color, alpha = levels[:3], levels[3:]
    if all(0 <= level <= 1 for level in color):
        color = [255 * level for level in color]
    alpha = [255 * level if 0 <= level <= 1 else level for level in alpha]
    if not all(0 <= level <= 255 for level in [*color, *alpha]):
        return ""
    digits = "".join(f"{round(level):02x}" for level in [*color, *alpha])
    return _without_opaque(f"#{digits}")


def _without_opaque(color: str) -> str:
    return color[:7] if len(color) == 9 and color.endswith("ff") else color
