"""Which library of ``uns["spatial"]``, with its tissue image, belongs to which slice."""

from __future__ import annotations

import re
from collections.abc import Collection, Hashable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from napari_staligner import _keys as K
from napari_staligner.core.result.access import spot_size, spots_xy

if TYPE_CHECKING:
    from anndata import AnnData
    from numpy.typing import NDArray

UNNAMED = "library"
"""Name for a library that is ``uns["spatial"]`` itself, without a name."""

SECTION_COLUMNS: tuple[str, ...] = (
    *("library_id", "library", "library_ids", "slice", "slice_id", "section", "section_id"),
    *("sample", "sample_id", "sample_name", "samples", "slide", "slide_id", "slice_name"),
    *("batch_name", "batch", "orig.ident", "brain_section_label", "section_name", "puck"),
    *("replicate", "capture_area", "dataset", "experiment"),
)
"""Columns of ``obs`` that name sections or libraries, in lower case, the surest first."""

_ADDED = "added"
"""Key in a library of a result: what was added for drawing."""
_DIAMETER, _HIRES, _LOWRES = "spot_diameter_fullres", "tissue_hires_scalef", "tissue_lowres_scalef"
_OF_INPUT = re.compile(r"_of_input(_\d+)?$")
_NO_VALUE = frozenset({"", "nan", "na", "n/a", "<na>", "none", "null"})


def libraries_in(spatial: object) -> dict[str, Mapping[str, Any]]:
    """Return the libraries of ``uns["spatial"]`` by name.

    Parameters
    ----------
    spatial
        Its value. Entries that are not libraries are ignored, and so is a value that is not a
        dictionary; a library without a name is called ``"library"``.
    """
    if not isinstance(spatial, Mapping):
        return {}
    if isinstance(spatial.get("images"), Mapping) and "scalefactors" in spatial:
        return {UNNAMED: spatial}
    return {str(key): each for key, each in spatial.items() if isinstance(each, Mapping)}


def factor_of(library: object, name: str) -> float | None:
    """Return a scale factor of a library as a positive number; ``None`` if it is none.

    Parameters
    ----------
    library
        Of ``uns["spatial"]``; other programs write its factors as text or in arrays of length one.
    name
        A key of its ``scalefactors``.
    """
    factors = library.get("scalefactors") if isinstance(library, Mapping) else None
    value = factors.get(name) if isinstance(factors, Mapping) else None
    try:
        number = float(np.asarray(value).reshape(()).item())
    except (TypeError, ValueError):
        return None
    return number if np.isfinite(number) and number > 0 else None


def named_values(column: pd.Series) -> pd.Series:
    """Return the values of a column as names.

    Returns
    -------
    Texts without spaces around them, whole numbers without a decimal point, and ``None`` for a
    missing value or the text "nan".
    """
    codes, values = pd.factorize(hashable(column))
    names = np.array([*map(as_name, values), None], dtype=object)
    return pd.Series(names[codes], index=column.index, dtype=object, name=column.name)


def hashable(column: pd.Series) -> pd.Series:
    """Return a column; as text if its values cannot be hashed, such as lists."""
    if column.dtype != object or column.map(lambda value: isinstance(value, Hashable)).all():
        return column
    return column.where(column.isna(), column.map(str))


def as_name(value: Any) -> str | None:
    """Return a value as a name; ``None`` if it is not one. See :func:`named_values`."""
    if isinstance(value, float | np.floating) and float(value).is_integer():
        value = int(value)
    text = (value.decode(errors="replace") if isinstance(value, bytes) else str(value)).strip()
    return None if text.lower() in _NO_VALUE else text


def section_columns(columns: Iterable[Any]) -> list[Any]:
    """Return the columns with a usual name for sections, the surest first.

    One of the input that was moved aside, such as ``library_id_of_input``, still counts.
    """
    small = {_OF_INPUT.sub("", str(column).strip().lower()): column for column in columns}
    return [small[name] for name in SECTION_COLUMNS if name in small]


def column_of_libraries(obs: pd.DataFrame, names: Collection[str]) -> Any | None:
    """Find the column of ``obs`` whose values are names of libraries; ``None`` if there is none.

    Parameters
    ----------
    obs
        Of all spots of a file.
    names
        Of its libraries. Two values of a column have to be among them, and half of its values; in a
        column with a usual name for sections, one is enough.
    """
    called = section_columns(obs.columns)
    best: tuple[int, Any] = (0, None)
    for column in [*called, *(c for c in obs.columns if c not in called)]:
        if str(column).lower() == "in_tissue":
            continue
        values = set(named_values(obs[column]).dropna().unique())
        known = len(values & set(names))
        enough = known >= 1 if column in called else known >= max(2, len(values) / 2)
        if enough and known > best[0]:
            best = known, column
    return best[1]


def own_library(adata: AnnData, name: str = "") -> tuple[str, Mapping[str, Any]] | None:
    """Return the library of a slice, with its name.

    The only one; or the one with the name of the slice; or the one that a column of ``obs`` names
    for all spots. ``None`` if there is no such library.

    Parameters
    ----------
    adata
        The slice; reads ``uns["spatial"]`` and ``obs``.
    name
        Of the slice.
    """
    libraries = libraries_in(adata.uns.get(K.SPATIAL))
    if len(libraries) > 1:
        key = _named_for(adata.obs, libraries, name)
        return None if key is None else (key, libraries[key])
    return next(iter(libraries.items()), None)


def library_of_part(
    adata: AnnData, part_obs: pd.DataFrame, value: str
) -> tuple[str, Mapping[str, Any]] | None:
    """Return the library of one of several slices in a file; ``None`` if none is named for it.

    Parameters
    ----------
    adata
        All slices of the file.
    part_obs
        ``obs`` of the slice.
    value
        Name of the slice.
    """
    libraries = libraries_in(adata.uns.get(K.SPATIAL))
    key = _named_for(part_obs, libraries, value)
    if key is None and len(libraries) > 1:
        column = column_of_libraries(adata.obs, libraries)
        key = None if column is None else _only(part_obs[column], libraries)
    return None if key is None else (key, libraries[key])


def drawable_libraries(slices: Sequence[tuple[str, AnnData]]) -> dict[str, dict[str, Any]]:
    """Return the libraries of slices under their names; see :func:`drawable`."""
    own = ((name, adata, own_library(adata, name)) for name, adata in slices)
    return {
        name: drawable(library[1], spots_xy(adata))
        for name, adata, library in own
        if library is not None
    }


def drawable(library: Mapping[str, Any], xy: NDArray[np.floating[Any]]) -> dict[str, Any]:
    """Return a library that squidpy and TissUUmaps can draw with their defaults.

    If its scale factors lack ``spot_diameter_fullres``, spots get the size at which they nearly
    touch; if its only image is ``lowres``, it also becomes ``hires``.

    Parameters
    ----------
    library
        Of a slice.
    xy
        Coordinates of the spots, shape (spots, 2).

    Returns
    -------
    One that records in ``added`` what was added; see :func:`as_it_came`.
    """
    library = as_it_came(library)
    factors = library.get("scalefactors")
    factors = dict(factors) if isinstance(factors, Mapping) else {}
    images = library.get("images")
    images = dict(images) if isinstance(images, Mapping) else {}
    added: dict[str, Any] = {}
    if factor_of(library, _DIAMETER) is None:
        factors[_DIAMETER] = spot_size(np.asarray(xy, dtype=np.float64))
        added[_DIAMETER] = True
    if "hires" not in images and "lowres" in images and factor_of(library, _LOWRES) is not None:
        # A factor of a missing image; it is restored together with the slice.
        added["hires"] = factors.get(_HIRES, np.nan)
        images["hires"], factors[_HIRES] = images["lowres"], factors[_LOWRES]
    made = {**library, "images": images, "scalefactors": factors}
    return made | ({_ADDED: added} if added else {})


def as_it_came(library: Mapping[str, Any]) -> dict[str, Any]:
    """Return a library without what :func:`drawable` added."""
    made = dict(library)
    added = made.pop(_ADDED, None)
    if not isinstance(added, Mapping):
        return made
    made["images"], made["scalefactors"] = dict(made["images"]), dict(made["scalefactors"])
    if _DIAMETER in added:
        made["scalefactors"].pop(_DIAMETER, None)
    if "hires" in added:
        made["images"].pop("hires", None)
        made["scalefactors"].pop(_HIRES, None)
        if np.isfinite(float(added["hires"])):
            made["scalefactors"][_HIRES] = float(added["hires"])
    return made


def without_library(name: str, adata: AnnData) -> str | None:
    """Say that a slice gets no library although there are some; ``None`` if all is clear."""
    there = libraries_in(adata.uns.get(K.SPATIAL))
    if not there or own_library(adata, name) is not None:
        return None
    return no_library(there)


def no_library(names: Iterable[str]) -> str:
    """Say that none of these libraries is known to belong to a slice."""
    there = ", ".join(map(repr, names))
    return (
        f"none of the libraries in uns['spatial'] ({there}) has the name of the slice, or is named "
        "by a column of obs such as 'library_id', so it has no tissue image."
    )


def libraries_of_result(result: AnnData, name: str) -> dict[str, Any]:
    """Return the part of ``uns["spatial"]`` that belongs to a slice of a result.

    A library has the name of its slice. If a slice had several, each has that name, a space and
    its own name.
    """
    names = sorted(map(str, result.obs[K.SLICE].cat.categories), key=len, reverse=True)
    found = {}
    for key, library in libraries_in(result.uns.get(K.SPATIAL)).items():
        owner = next((n for n in names if key == n or key.startswith(f"{n} ")), None)
        if owner == name:
            found[key] = library
    return found


def _named_for(obs: pd.DataFrame, libraries: Collection[str], name: str) -> str | None:
    """Name of the library that has the name of a slice, or that its spots name."""
    if name and name.strip() in libraries:
        return name.strip()
    named = (_only(obs[column], libraries) for column in section_columns(obs.columns))
    return next(filter(None, named), None)


def _only(column: pd.Series, libraries: Collection[str]) -> str | None:
    """The one library that a column names."""
    values = set(named_values(column).dropna().unique())
    return values.pop() if len(values) == 1 and values <= set(libraries) else None
