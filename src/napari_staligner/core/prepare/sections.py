"""Several sections in one file: how they are detected, and how they are split."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from napari_staligner import _keys as K
from napari_staligner._errors import InputError
from napari_staligner.core.prepare.coordinates import unique_places, xy_of_slice
from napari_staligner.core.prepare.libraries import (
    column_of_libraries,
    hashable,
    libraries_in,
    library_of_part,
    named_values,
    no_library,
    section_columns,
)
from napari_staligner.core.prepare.notes import add_notes
from napari_staligner.core.result.provenance import mark_source, source_of
from napari_staligner.core.result.source import COUNTS, Source

if TYPE_CHECKING:
    from anndata import AnnData
    from numpy.typing import NDArray

MOST_SECTIONS = 60
"""A column with more values does not name sections."""
FEWEST_COINCIDING, SHARE_COINCIDING = 10, 0.05
"""If this many spots, and this share, are at the place of another, it is no accident."""
PARTED = 0.02
"""A column separates sections if at most this share of those spots still coincide within them."""
INTERLEAVED = 0.1
"""Sections are mixed if the nearest spot of this share of spots is of another section."""


@dataclass(frozen=True)
class Sections:
    """Several sections that a file holds.

    Parameters
    ----------
    key
        Column of ``obs`` that names them; empty if none does.
    values
        Their names.
    reason
        How they were detected, to follow after "holds several sections".
    certain
        Whether something else agrees with the column: libraries of ``uns["spatial"]`` with the
        names of its values, or places that coincide only across them.
    """

    key: str
    values: tuple[str, ...]
    reason: str
    certain: bool = False

    def sentence(self) -> str:
        """Say so, and what to do; to follow after "Slice 'A': "."""
        if not self.key:
            return (
                f"it seems to hold several sections ({self.reason}), and no column of obs "
                "separates them; add one that names the section of each spot and give it as "
                "--slice-key."
            )
        there = f"obs[{self.key!r}] names {len(self.values)} sections ({_some(self.values)}"
        if self.certain:
            return f"{there}; {self.reason}), so it was split by --slice-key {self.key}."
        return f"{there}; {self.reason}); to split them, give --slice-key {self.key}."


def sections_of(adata: AnnData) -> Sections | None:
    """Detect whether a file holds several sections.

    Parameters
    ----------
    adata
        What a file holds; reads ``obs``, ``uns["spatial"]`` and the coordinates.

    Returns
    -------
    The surest finding; ``None`` if there is no sign of several sections.
    """
    libraries = libraries_in(adata.uns.get(K.SPATIAL))
    by_library = _by_libraries(adata, libraries)
    if by_library is not None and by_library.certain:
        return by_library
    try:
        xy = np.asarray(xy_of_slice("", adata), dtype=np.float64)
    except InputError:
        return by_library
    by_place = _by_places(adata, xy)
    if by_place is not None:
        return by_place
    return by_library or _by_name(adata)


def _by_libraries(adata: AnnData, libraries: dict[str, Any]) -> Sections | None:
    if not libraries:
        return None
    key = column_of_libraries(adata.obs, libraries)
    values = () if key is None else _values(adata, key)
    known = set(values) & set(libraries)
    if len(values) > MOST_SECTIONS:
        return None
    if len(values) > 1 and known:
        sure = len(known) > 1
        what = f"as {_n(len(known), 'library', 'libraries')} in uns['spatial']"
        return Sections(str(key), values, f"named {what}", certain=sure)
    if len(values) == 1 or len(libraries) < 2:
        return None
    # More libraries than the spots name: a column may still have a usual name for sections.
    found = _by_name(adata)
    reason = f"uns['spatial'] has {len(libraries)} libraries"
    return Sections("", (), reason) if found is None else replace(found, reason=reason)


def _by_places(adata: AnnData, xy: NDArray[np.float64]) -> Sections | None:
    """Detect spots at the same place, or mixed with those of other sections."""
    finite = np.isfinite(xy).all(axis=1)
    together = np.zeros(len(xy), dtype=bool)
    together[finite] = _coinciding(xy[finite])
    n = int(together.sum())
    coincide = n >= max(FEWEST_COINCIDING, SHARE_COINCIDING * len(xy))
    for key in _candidates(adata) if coincide else ():
        points, codes = _coded(adata, key, xy)
        within = sum(
            _coinciding(points[codes == code]).sum() for code in range(codes.max(initial=-1) + 1)
        )
        if within <= PARTED * n:
            reason = f"{n:,} spots lie at the place of a spot of another"
            return Sections(str(key), _values(adata, key), reason, certain=True)
    for key in section_columns(adata.obs.columns):
        values = _values(adata, key)
        if 1 < len(values) <= MOST_SECTIONS and _interleaved(adata, key, xy):
            reason = "their spots lie among each other"
            return Sections(str(key), values, reason, certain=True)
    if not coincide:
        return None
    return Sections("", (), f"{n:,} spots lie at the place of another")


def _by_name(adata: AnnData) -> Sections | None:
    """Detect a column with a usual name for sections."""
    for key in section_columns(adata.obs.columns):
        values = _values(adata, key)
        if 1 < len(values) <= MOST_SECTIONS:
            return Sections(str(key), values, "they lie apart and may be one slide")
    return None


def _candidates(adata: AnnData) -> list[Any]:
    """Columns that may name sections: those with a usual name first, then by fewest values."""
    called = section_columns(adata.obs.columns)
    several = {}
    for key in adata.obs.columns:
        n = hashable(adata.obs[key]).nunique()
        if 2 <= n <= MOST_SECTIONS:
            several[key] = n
    others = sorted((k for k in several if k not in called), key=lambda key: several[key])
    return [key for key in called if key in several] + others


def _coinciding(xy: NDArray[np.float64]) -> NDArray[np.bool_]:
    """Which spots are at the place of another."""
    _, at, counts = unique_places(xy)
    return np.asarray(counts[at] > 1)


def _interleaved(adata: AnnData, key: Any, xy: NDArray[np.float64]) -> bool:
    """Whether spots of a section are mixed with those of others."""
    from scipy.spatial import KDTree

    points, codes = _coded(adata, key, xy)
    if len(points) < FEWEST_COINCIDING:
        return False
    nearest = KDTree(points).query(points, k=2)[1][:, 1]
    return bool((codes[nearest] != codes).mean() > INTERLEAVED)


def _coded(adata: AnnData, key: Any, xy: NDArray[np.float64]) -> tuple[NDArray[Any], NDArray[Any]]:
    """Places of the spots for which a column names a section, and the section's number."""
    codes, _ = pd.factorize(named_values(adata.obs[key]))
    known = np.isfinite(xy).all(axis=1) & (codes >= 0)
    return xy[known], codes[known]


def _values(adata: AnnData, key: Any) -> tuple[str, ...]:
    """Names in a column that have spots: in the order of its categories, else sorted."""
    column = hashable(adata.obs[key])
    if hasattr(column, "cat"):
        values = column.cat.remove_unused_categories().cat.categories.to_series()
    else:
        values = pd.Series(column.dropna().unique())
        with suppress(TypeError):  # texts and numbers
            values = values.sort_values()
    return tuple(dict.fromkeys(named_values(values).dropna()))


def split_by(name: str, adata: AnnData, key: str) -> list[tuple[str, AnnData]]:
    """Split a file that holds several slices by a column of ``obs``.

    Parameters
    ----------
    name
        Of the file, for messages.
    adata
        All slices of the file.
    key
        Column of ``obs``; spots without a value are left out, and a note says so.

    Returns
    -------
    Name and AnnData of each: a copy with only its own library of ``uns["spatial"]``, if any.

    Raises
    ------
    InputError
        There is no such column, or it is empty.
    """
    if key not in adata.obs:
        raise InputError(
            f"{name!r} has no obs[{key!r}] to tell slices apart: "
            f"choose one of {', '.join(map(repr, adata.obs.columns)) or 'none'}."
        )
    values = named_values(adata.obs[key]).to_numpy()
    slices = [(clean_name(v), _part(adata, key, v, values == v)) for v in _values(adata, key)]
    if not slices:
        raise InputError(f"{name!r}: obs[{key!r}] is empty: choose another column.")
    empty = int(sum(value is None for value in values))
    if empty:
        # Said once, for the file.
        add_notes(
            slices[0][1],
            [
                f"{empty:,} spots of {name!r} have no value in obs[{key!r}] and "
                "belong to no slice; they were left out."
            ],
        )
    return slices


def _part(adata: AnnData, key: str, value: str, rows: NDArray[np.bool_]) -> AnnData:
    part = adata[rows].copy()
    there = libraries_in(adata.uns.get(K.SPATIAL))
    own = library_of_part(adata, part.obs, value)
    if there:
        part.uns[K.SPATIAL] = {} if own is None else {own[0]: own[1]}
    if there and own is None:
        add_notes(part, [no_library(there)])
    source = source_of(adata)
    part.uns.pop(K.SOURCE, None)
    if source is not None:
        mark_source(part, replace(source, choices={**source.choices, str(key): value}))
    return part


def is_part(source: Source | None) -> bool:
    """Whether a slice is already one of several in a file, chosen by name or by a column."""
    return source is not None and bool(source.slice or set(source.choices) - {COUNTS})


def split_where_certain(name: str, adata: AnnData) -> list[tuple[str, AnnData]]:
    """Split a file if its sections are certain; else return it as one slice, with a note.

    Parameters
    ----------
    name
        Of the file.
    adata
        What it holds.
    """
    found = sections_of(adata)
    if found is None:
        return [(clean_name(name), adata)]
    if not found.certain:
        add_notes(adata, [found.sentence()])
        return [(clean_name(name), adata)]
    parts = split_by(name, adata, found.key)
    add_notes(parts[0][1], [f"it is one of {len(parts)} in {name!r}: {found.sentence()}"])
    return parts


def clean_name(name: str) -> str:
    """Names become keys of HDF5 groups, where a slash would start another level."""
    return name.strip().replace("/", "_") or "slice"


def _some(values: Sequence[str]) -> str:
    return ", ".join(values[:4]) + (", …" if len(values) > 4 else "")


def _n(n: int, one: str, more: str) -> str:
    return f"{n} {one if n == 1 else more}"
