"""What colour each spot has, and the legend that says why."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_staligner import _keys as K
from napari_staligner.core.palette import categorical_colors, to_rgba
from napari_staligner.io.layer_data import NO_VALUE

if TYPE_CHECKING:
    from collections.abc import Mapping

    import pandas as pd
    from anndata import AnnData
    from numpy.typing import NDArray

    from napari_staligner.session import Session

    Rgba = tuple[float, float, float, float]

COLORMAP = "viridis"
DIMMED = (0.5, 0.5, 0.5, 0.25)
"""RGBA of spots outside the isolated domains."""
_COUNTS_PER_SPOT = 1e4


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
    """

    title: str
    entries: tuple[tuple[str, Rgba], ...] = ()
    colormap: str | None = None
    limits: tuple[float, float] | None = None


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


def legend(session: Session) -> Legend:
    """Return what the present colours of the spots mean."""
    return paint(session).legend


def paint(session: Session) -> Painting:
    """Colour all spots as the session says, isolated domains included."""
    values = {name: _values(session, name) for name in session.slices}
    found = {name: column for name, column in values.items() if column is not None}
    if found and all(isinstance(column, np.ndarray) for column in found.values()):
        painting = _paint_numbers(session, found)
    else:
        painting = _paint_categories(session, found)
    for name, rgba in painting.rgba.items():
        shown = isolated_spots(session, name)
        if shown is not None:
            rgba[~shown] = DIMMED
    return painting


def isolated_spots(session: Session, name: str) -> NDArray[np.bool_] | None:
    """Spots of a slice in one of the isolated domains; ``None`` if none is isolated."""
    if not session.isolated:
        return None
    rows = session.rows(name)
    if rows is None or session.result is None or K.DOMAIN not in session.result.obs:
        return np.zeros(session.slices[name].n_obs, dtype=bool)
    column = session.result.obs[K.DOMAIN]
    chosen = np.array([str(d) in session.isolated for d in column.cat.categories] + [False])
    return np.asarray(chosen[column.cat.codes.to_numpy()[rows]])


# -- values ------------------------------------------------------------------------------------


def _values(session: Session, name: str) -> pd.Categorical | NDArray[np.float64] | None:
    """Numbers or categories of the spots of a slice; ``None`` if it has none of that name."""
    by, adata, rows = session.color_by, session.slices[name], session.rows(name)
    if by.kind == "gene":
        return _gene(adata, by.key)
    if by.kind == "attention":
        return None if rows is None else _attention(session, by.key, rows)
    if by.key == K.SLICE:
        return _constant(name, adata.n_obs)
    # What was computed or renamed in the result is newer than what the file came with.
    if rows is not None and session.result is not None and by.key in session.result.obs:
        return _column(session.result.obs[by.key].iloc[rows])
    return _column(adata.obs[by.key]) if by.key in adata.obs else None


def _constant(value: str, n: int) -> pd.Categorical:
    import pandas as pd

    return pd.Categorical.from_codes(np.zeros(n, dtype=np.int8), categories=[value])


def _column(column: pd.Series) -> pd.Categorical | NDArray[np.float64]:
    import pandas as pd

    if isinstance(column.dtype, pd.CategoricalDtype):
        return column.cat.rename_categories([str(c) for c in column.cat.categories]).array
    if pd.api.types.is_numeric_dtype(column) and not pd.api.types.is_bool_dtype(column):
        return column.to_numpy(dtype=np.float64, na_value=np.nan)
    known = column.notna().to_numpy()
    names = column.astype(str).to_numpy(dtype=object)
    names[~known] = None
    return pd.Categorical(names)


def _gene(adata: AnnData, gene: str) -> NDArray[np.float64] | None:
    """Expression of a gene: log1p of counts per 10,000, or as it is where X holds no counts."""
    from napari_staligner.core.slices import is_counts

    at = np.flatnonzero(adata.var_names == gene)
    if len(at) == 0 or adata.X is None:
        return None
    column = adata.X[:, [int(at[0])]]
    column = column.toarray() if hasattr(column, "toarray") else np.asarray(column)
    values = column.ravel().astype(np.float64)
    if not is_counts(np.asarray(getattr(adata.X, "data", adata.X))):
        return values
    totals = np.asarray(adata.X.sum(axis=1), dtype=np.float64).ravel()
    return np.log1p(_COUNTS_PER_SPOT * values / np.maximum(totals, 1))


def _attention(session: Session, figure: str, rows: NDArray[np.intp]) -> NDArray[np.float64] | None:
    from napari_staligner.core.attention import attention_entropy, self_attention

    if session.result is None or K.ATTENTION not in session.result.obsp:
        return None
    of = self_attention if figure == "self" else attention_entropy
    return of(session.result)[rows].astype(np.float64)


# -- colours -----------------------------------------------------------------------------------


def _title(session: Session) -> str:
    by = session.color_by
    if by.kind == "attention":
        return "attention to itself" if by.key == "self" else "entropy of the attention"
    return by.key


def _paint_numbers(session: Session, found: Mapping[str, NDArray[np.float64]]) -> Painting:
    from napari.utils.colormaps import ensure_colormap

    low, high = _limits(np.concatenate(list(found.values())))
    colormap = ensure_colormap(COLORMAP)
    rgba = _without_value(session)
    for name, values in found.items():
        known = np.isfinite(values)
        rgba[name][known] = colormap.map(np.clip((values[known] - low) / (high - low), 0, 1))
    return Painting(
        Legend(_title(session), colormap=COLORMAP, limits=(low, high)), rgba, dict(found)
    )


def _limits(values: NDArray[np.float64]) -> tuple[float, float]:
    """1st and 99th percentile; the extremes where those are the same (rare genes)."""
    values = values[np.isfinite(values)]
    if len(values) == 0:
        return 0.0, 1.0
    low, high = np.percentile(values, [1, 99])
    if low == high:
        low, high = values.min(), values.max()
    return float(low), float(high if high > low else low + 1)


def _paint_categories(session: Session, found: Mapping[str, Any]) -> Painting:
    # A column of numbers in one slice and of names in another is one of names.
    named: dict[str, pd.Categorical] = {
        name: _column(_as_names(column)) if isinstance(column, np.ndarray) else column
        for name, column in found.items()
    }
    categories = list(dict.fromkeys(c for column in named.values() for c in column.categories))
    colors = _category_colors(session, categories)
    rgba = _without_value(session)
    values = {}
    for name, column in named.items():
        table = [*(colors[c] for c in column.categories), NO_VALUE]
        rgba[name] = np.array(table, dtype=np.float32)[column.codes]
        names: NDArray[Any] = np.array([*column.categories, ""], dtype=object)
        values[name] = names[column.codes]
    entries = tuple((c, _as_tuple(colors[c])) for c in categories)
    return Painting(Legend(_title(session), entries), rgba, values)


def _as_tuple(rgba: NDArray[np.float32]) -> Rgba:
    red, green, blue, alpha = map(float, rgba)
    return red, green, blue, alpha


def _as_names(column: NDArray[np.float64]) -> pd.Series:
    import pandas as pd

    return pd.Series([f"{v:g}" if np.isfinite(v) else None for v in column], dtype=object)


def _category_colors(session: Session, categories: list[str]) -> dict[str, NDArray[np.float32]]:
    """RGBA of each category: as recorded with the result or a slice, else from the palette."""
    key = session.color_by.key
    recorded: dict[str, str] = {}
    if key == K.SLICE:
        categories = list(session.slices)
    else:
        sources = [session.result] if session.result is not None else []
        for adata in [*sources, *session.slices.values()]:
            recorded = _recorded_colors(adata, key) | recorded
    palette = categorical_colors(len(categories) + len(recorded))
    free = [c for c in dict.fromkeys(palette) if c not in recorded.values()] or palette
    missing = [c for c in categories if c not in recorded]
    recorded |= {c: free[i % len(free)] for i, c in enumerate(missing)}
    return dict(zip(categories, to_rgba([recorded[c] for c in categories]), strict=True))


def _recorded_colors(adata: AnnData, key: str) -> dict[str, str]:
    """Colours in ``uns`` of a categorical column, if they are one for each category."""
    colors = adata.uns.get(f"{key}_colors")
    if colors is None or key not in adata.obs or adata.obs[key].dtype != "category":
        return {}
    categories = [str(c) for c in adata.obs[key].cat.categories]
    return (
        dict(zip(categories, map(str, colors), strict=True))
        if len(colors) == len(categories)
        else {}
    )


def _without_value(session: Session) -> dict[str, NDArray[np.float32]]:
    return {
        name: np.tile(np.array(NO_VALUE, dtype=np.float32), (adata.n_obs, 1))
        for name, adata in session.slices.items()
    }
