"""The colour of each spot, and the legend that explains it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_staligner import _keys as K
from napari_staligner.core.palette import free_colors, recorded_colors, to_rgba
from napari_staligner.layers.spot_values import Numbers, as_names, title_of, values_of
from napari_staligner.session.view import ColorBy, Scale

if TYPE_CHECKING:
    import pandas as pd
    from numpy.typing import NDArray

    from napari_staligner.session import Session

    Rgba = tuple[float, float, float, float]

DIMMED = (0.5, 0.5, 0.5, 0.25)
"""RGBA of spots outside the isolated domains, the region or the selection, or not trusted."""
NO_VALUE = (0.6, 0.6, 0.6, 0.6)
"""RGBA of a spot without a value."""
SIGNED = (ColorBy("obs", K.AREA_CHANGE),)
"""What is as often below 0 as above, with 0 for no change."""
DIVERGING = "RdBu_r"
"""Colour map for that."""
HIDDEN = (0.0, 0.0, 0.0, 0.0)
"""RGBA of hidden spots."""


@dataclass(frozen=True)
class Legend:
    """What the colours of the spots mean.

    Parameters
    ----------
    title
        What the spots are coloured by.
    entries
        Name and RGBA of each category; empty for a scale.
    colormap
        Name of the colour map; ``None`` for categories.
    limits
        Values at the two ends of the colour map.
    unit
        Unit of the numbers, if it is known; empty for categories.
    log
        Whether the logarithm is shown.
    """

    title: str
    entries: tuple[tuple[str, Rgba], ...] = ()
    colormap: str | None = None
    limits: tuple[float, float] | None = None
    unit: str = ""
    log: bool = False


@dataclass(frozen=True)
class Painting:
    """Colours and values of all spots.

    Parameters
    ----------
    legend
        What the colours mean.
    rgba
        Colour of each spot by slice, float32, shape (spots, 4).
    values
        Value of each spot by slice, numbers or names; a slice without values is missing.
    """

    legend: Legend
    rgba: Mapping[str, NDArray[np.float32]] = field(default_factory=dict)
    values: Mapping[str, NDArray[Any]] = field(default_factory=dict)

    def renamed(self, names: Mapping[str, str]) -> Painting:
        """Return the same colours with categories renamed, ``{old: new}``."""
        entries = tuple((names.get(name, name), rgba) for name, rgba in self.legend.entries)
        values = {}
        for slice_, held in self.values.items():
            values[slice_] = held.copy()
            for old, new in names.items():
                values[slice_][held == old] = new
        return replace(self, legend=replace(self.legend, entries=entries), values=values)


def paint(session: Session) -> Painting:
    """Colour all spots as the session says; those that are not shown are dimmed."""
    values = {name: values_of(session, name) for name in session.slices}
    found = {name: column for name, column in values.items() if column is not None}
    numbers = {name: column for name, column in found.items() if isinstance(column, Numbers)}
    if found and len(numbers) == len(found):
        painting = _paint_numbers(session, numbers)
    else:
        painting = _paint_categories(session, found)
    focus, common = session.focus.mask(), session.overlap.mask
    for name, rgba in painting.rgba.items():
        shown = shown_spots(session, name, focus)
        if shown is not None:
            rgba[~shown] = DIMMED
        rows = session.result.rows(name)
        if common is not None and rows is not None:
            rgba[~common[rows]] = DIMMED
        doubtful = doubtful_spots(session, name)
        if doubtful is not None:
            rgba[doubtful] = HIDDEN if session.view.trust.hide else DIMMED
    return painting


def shown_spots(
    session: Session, name: str, focus: NDArray[np.bool_] | None
) -> NDArray[np.bool_] | None:
    """Spots of a slice that are in the session's focus; ``None`` if all are shown."""
    if focus is None:
        return None
    rows = session.result.rows(name)
    return np.zeros(session.slices[name].n_obs, dtype=bool) if rows is None else focus[rows]


def isolated_spots(session: Session, name: str) -> NDArray[np.bool_] | None:
    """Spots of a slice in one of the isolated domains; ``None`` if none is isolated."""
    if not session.view.isolated:
        return None
    rows = session.result.rows(name)
    if rows is None or session.result.adata is None or K.DOMAIN not in session.result.adata.obs:
        return np.zeros(session.slices[name].n_obs, dtype=bool)
    column = session.result.adata.obs[K.DOMAIN]
    chosen = np.array([str(d) in session.view.isolated for d in column.cat.categories] + [False])
    return np.asarray(chosen[column.cat.codes.to_numpy()[rows]])


def doubtful_spots(session: Session, name: str) -> NDArray[np.bool_] | None:
    """Spots of a slice with less confidence than required; ``None`` if none is required."""
    result, rows, least = session.result.adata, session.result.rows(name), session.view.trust.least
    if not least or rows is None or result is None or K.CONFIDENCE not in result.obs:
        return None
    return np.asarray(result.obs[K.CONFIDENCE].to_numpy()[rows] < least)


# -- colours -----------------------------------------------------------------------------------


def _paint_numbers(session: Session, found: Mapping[str, Numbers]) -> Painting:
    from napari.utils.colormaps import ensure_colormap

    scale, by = session.view.scale, session.view.color_by
    counts = any(numbers.counts for numbers in found.values())
    every = np.concatenate([numbers.values for numbers in found.values()])
    every = every[np.isfinite(every)]
    log = (counts if scale.log is None else scale.log) and bool((every >= 0).all())
    low, high = _limits(np.log1p(every) if log else every, scale.percentiles)
    colormap = scale.colormap
    if by in SIGNED and not log:
        # No change has the middle colour, as long as nobody chose other colours.
        low, high = -max(-low, high), max(-low, high)
        colormap = DIVERGING if colormap == Scale().colormap else colormap
    values = {n: np.log1p(x.values) if log else x.values for n, x in found.items()}
    # 256 colours are all that a screen can show; mapping each value takes ten times as long.
    table = ensure_colormap(colormap).map(np.linspace(0, 1, 256))
    table = np.vstack([table, NO_VALUE]).astype(np.float32)
    rgba = _without_value(session)
    for name, column in values.items():
        steps = np.clip((column - low) * (255 / (high - low)), 0, 255)
        rgba[name] = table[np.where(np.isfinite(column), steps.round(), 256).astype(np.intp)]
    unit = f"{'log1p of ' if log else ''}{'counts per 10,000' if counts else ''}"
    unit = unit.removesuffix(" of ")
    legend = Legend(title_of(by), (), colormap, (low, high), unit, log)
    return Painting(legend, rgba, values)


def _limits(values: NDArray[np.float64], percentiles: tuple[float, float]) -> tuple[float, float]:
    """Two percentiles; the extremes if these are equal (rare genes)."""
    if len(values) == 0:
        return 0.0, 1.0
    low, high = np.percentile(values, percentiles)
    if low == high:
        low, high = values.min(), values.max()
    return float(low), float(high if high > low else low + 1)


def _paint_categories(session: Session, found: Mapping[str, Any]) -> Painting:
    # A column with numbers in one slice and names in another is treated as names.
    named: dict[str, pd.Categorical] = {
        name: as_names(column) if isinstance(column, Numbers) else column
        for name, column in found.items()
    }
    categories = list(dict.fromkeys(c for column in named.values() for c in column.categories))
    colors = category_colors(session, session.view.color_by.key, categories)
    rgba = _without_value(session)
    values = {}
    for name, column in named.items():
        table = [*(colors[c] for c in column.categories), NO_VALUE]
        rgba[name] = np.array(table, dtype=np.float32)[column.codes]
        names: NDArray[Any] = np.array([*column.categories, ""], dtype=object)
        values[name] = names[column.codes]
    entries = tuple((c, _as_tuple(colors[c])) for c in categories)
    return Painting(Legend(title_of(session.view.color_by), entries), rgba, values)


def _as_tuple(rgba: NDArray[np.float32]) -> Rgba:
    red, green, blue, alpha = map(float, rgba)
    return red, green, blue, alpha


def category_colors(
    session: Session, key: str, categories: list[str]
) -> dict[str, NDArray[np.float32]]:
    """RGBA of each category, as recorded in the result or a slice, or else from the palette.

    Parameters
    ----------
    session
        The session.
    key
        The column of ``obs``.
    categories
        Names in it.
    """
    recorded: dict[str, str] = {}
    if key == K.SLICE:
        categories = list(session.slices)
    else:
        sources = [session.result.adata] if session.result.adata is not None else []
        for adata in [*sources, *session.slices.values()]:
            # Categories with different names must differ in colour; the first keeps its own.
            taken = {color[:7] for color in recorded.values()}
            recorded |= {
                category: color
                for category, color in recorded_colors(adata, key).items()
                if category in categories and category not in recorded and color[:7] not in taken
            }
    free = free_colors(list(recorded.values()))
    missing = [c for c in categories if c not in recorded]
    recorded |= {c: free[i % len(free)] for i, c in enumerate(missing)}
    return dict(zip(categories, to_rgba([recorded[c] for c in categories]), strict=True))


def _without_value(session: Session) -> dict[str, NDArray[np.float32]]:
    return {
        name: np.tile(np.array(NO_VALUE, dtype=np.float32), (adata.n_obs, 1))
        for name, adata in session.slices.items()
    }
