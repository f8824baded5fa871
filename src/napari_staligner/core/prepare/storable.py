"""Converts tables of slices to what ``.h5ad`` can hold, before anything is computed.

Columns of names in one slice and numbers in another, lists, dates, booleans with missing values:
pandas can hold them, HDF5 cannot, and joining slices makes some of them. Values stay as they are if
possible; else numbers stay numbers, and all others become text.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import date, timedelta
from decimal import Decimal
from itertools import islice
from pathlib import PurePath
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from pandas.api import types

from napari_staligner import _keys as K
from napari_staligner._errors import InputError
from napari_staligner.core.prepare.on_disk import named_layers, with_slots
from napari_staligner.core.prepare.storable_columns import (
    Column,
    as_text,
    is_clean,
    one_type,
    plain,
    unwritable,
)

if TYPE_CHECKING:
    from anndata import AnnData

# -- slices ---------------------------------------------------------------------------------------


def storable_slices(
    slices: Sequence[tuple[str, AnnData]],
) -> tuple[list[tuple[str, AnnData]], list[str]]:
    """Convert the tables of slices to what the joined ``.h5ad`` can hold.

    Parameters
    ----------
    slices
        Name and AnnData of each slice; not changed.

    Returns
    -------
    slices
        The same with ``obs``, ``var``, frames of ``obsm``, and the joined part of ``uns`` in forms
        that a file can hold. A column has the same type in all slices. Other arrays are shared.
    notes
        A sentence for each column that changes its type, and for each name that changes.
    """
    names = [name for name, _ in slices]
    obs, notes = storable_frames({name: adata.obs for name, adata in slices}, "obs")
    var, more = storable_frames({name: adata.var for name, adata in slices}, "var")
    notes += more
    ready = []
    for name, (_, adata) in zip(names, slices, strict=True):
        uns, more = _uns(name, adata.uns)
        obsm, others = _obsm(name, adata.obsm, obs[name].index)
        notes += [*more, *others]
        held = with_slots(
            adata,
            X=_of_usual_width(adata.X),
            obs=obs[name],
            var=var[name],
            obsm=obsm,
            varm={},
            obsp={},
            varp={},
            layers={key: _of_usual_width(layer) for key, layer in named_layers(adata).items()},
            uns=uns,
        )
        ready.append((name, held))
    return ready, notes


def _of_usual_width(matrix: Any) -> Any:
    """A matrix, as float32 if it is float16, which sparse matrices do not support."""
    return matrix.astype(np.float32) if getattr(matrix, "dtype", None) == np.float16 else matrix


def _uns(name: str, uns: Mapping[str, Any]) -> tuple[dict[str, Any], list[str]]:
    """``uns`` with the part that is joined made storable, and the rest unchanged."""
    held, notes = dict(uns), list[str]()
    for key, value in uns.items():
        if key == K.SPATIAL or str(key).endswith("_colors"):
            lost: list[str] = []
            held[key] = storable_value(value, f"uns[{key!r}]", lost)
            if held[key] is _NOTHING:
                del held[key]
            notes += [
                f"Slice {name!r}: {slot} cannot be written to a file and is left out."
                for slot in lost
            ]
    return held, notes


def _obsm(
    name: str, obsm: Mapping[str, Any], index: pd.Index[Any]
) -> tuple[dict[str, Any], list[str]]:
    held, notes = dict(obsm), list[str]()
    for key, value in obsm.items():
        if isinstance(value, pd.DataFrame):
            frames, more = storable_frames({name: value}, f"obsm[{key!r}]")
            held[key] = frames[name].set_axis(index)
            notes += more
    return held, notes


def check_storable(adata: AnnData) -> None:
    """Write an AnnData, without large arrays of ``uns``, to memory as it would go to a file.

    Parameters
    ----------
    adata
        A result, or a version of it with few spots or without values in its matrices.

    Raises
    ------
    InputError
        Something cannot be written; the message names the slot.
    """
    parts = {"obs": adata.obs, "var": adata.var, "X": adata.X}
    parts |= {f"layers[{key!r}]": layer for key, layer in named_layers(adata).items()}
    parts |= {f"obsm[{key!r}]": value for key, value in adata.obsm.items()}
    parts |= {f"uns[{key!r}]": _without_numbers(value) for key, value in adata.uns.items()}
    for slot, part in parts.items():
        problem = "" if part is None else unwritable(part)
        if problem:
            raise InputError(
                f"{slot} of the joined slices cannot be written to .h5ad ({problem}): drop it, or "
                "change it to text or numbers."
            )


def _without_numbers(value: Any) -> Any:
    """The same with arrays of numbers emptied: they can always be written, and may be large."""
    if isinstance(value, Mapping):
        return {key: _without_numbers(part) for key, part in value.items()}
    return value[:0] if isinstance(value, np.ndarray) and value.dtype.kind in "biuf" else value


# -- frames ---------------------------------------------------------------------------------------


def storable_frames(
    frames: Mapping[str, pd.DataFrame], slot: str
) -> tuple[dict[str, pd.DataFrame], list[str]]:
    """Convert frames that will be joined to what a file can hold.

    Parameters
    ----------
    frames
        Of each slice, by name; not changed.
    slot
        ``"obs"`` or ``"var"``, for the notes.

    Returns
    -------
    frames
        New ones: names are text and unique, and a column has the same type in all frames that have
        it. If one lacks it, the type is one that allows missing values.
    notes
        A sentence for each change of a type or a name.
    """
    notes: list[str] = []
    columns: dict[str, dict[str, Column]] = {}
    for name, frame in frames.items():
        names = storable_keys(frame.columns)
        notes += _renamed(name, slot, frame, names)
        for position, key in enumerate(names):
            column = plain(frame.iloc[:, position])
            known = column.values.notna().any()
            columns.setdefault(key, {})[name] = column if known else column._replace(held=())
    made: dict[str, dict[str, pd.Series[Any]]] = {name: {} for name in frames}
    for key, of in columns.items():
        alike, kept = one_type(of, gaps=len(of) < len(frames))
        notes += _said(f"{slot}[{key!r}]", of, kept, list(frames))
        for name, part in alike.items():
            made[name][key] = part
    return {
        name: _frame(frame, list(made[name]), made[name]) for name, frame in frames.items()
    }, notes


def _frame(
    frame: pd.DataFrame, order: Sequence[str], columns: Mapping[str, pd.Series[Any]]
) -> pd.DataFrame:
    index = pd.Index(storable_names(frame.index), dtype=object)
    if isinstance(frame.index.name, str) and frame.index.name not in columns:
        index.name = storable_name(frame.index.name)
    parts = {key: columns[key].set_axis(index) for key in order}
    return pd.DataFrame(parts, index=index, columns=pd.Index(order, dtype=object))


def storable_names(names: pd.Index[Any]) -> list[str]:
    """Names of spots or genes as text that a file can hold."""
    return [as_text(name) for name in names] if not is_clean(names) else list(names)


def storable_name(name: object) -> str:
    """Name of a column or a key: text without signs that mean a path in a file."""
    text = "_".join(map(as_text, name)) if isinstance(name, tuple) else as_text(name)
    text = text.replace("/", "_")
    # These mean the group itself, the one above it (in zarr), and the names of the rows.
    return {"": "unnamed", ".": "_", "..": "__", "_index": "index"}.get(text, text)


def storable_keys(names: Iterable[object]) -> list[str]:
    """Names of columns or keys that a file can hold, each once; one that is taken gets a number."""
    given = list(names)
    fit = [storable_name(name) for name in given]
    made, present, taken = dict[str, None](), set(given), set(fit)
    for own, name in zip(given, fit, strict=True):
        # What is called so itself keeps its name.
        free, number = name, 2
        while free in made or (free != own and free in present) or (free != name and free in taken):
            free, number = f"{name} ({number})", number + 1
        made[free] = None
    return list(made)


def with_storable_keys(value: Any) -> Any:
    """An entry of ``uns`` with keys that a file can hold, and the same values."""
    if not isinstance(value, Mapping):
        return value
    parts = zip(storable_keys(value), value.values(), strict=True)
    return {key: with_storable_keys(part) for key, part in parts}


def unfit_name(names: Iterable[str]) -> str | None:
    """Return the first name that :func:`storable_name` would change, if there is one."""
    return next((name for name in names if storable_name(name) != name), None)


def _renamed(name: str, slot: str, frame: pd.DataFrame, names: Sequence[str]) -> list[str]:
    changed = [
        f"{old!r} is called {new!r}"
        for old, new in zip(frame.columns, names, strict=True)
        if old != new
    ]
    if not changed:
        return []
    more = f", and {len(changed) - 3} more likewise" if len(changed) > 3 else ""
    return [
        f"Slice {name!r}: a file cannot hold all names of {slot}, so "
        f"{', '.join(changed[:3])}{more}."
    ]


def _said(where: str, columns: Mapping[str, Column], kept: str, names: Sequence[str]) -> list[str]:
    """Say what a column held and how it is kept, if that is another kind of values."""
    held: dict[tuple[str, ...], list[str]] = {}
    for name, column in columns.items():
        if column.held:
            held.setdefault(column.held, []).append(name)
    if not kept or all(words == (kept,) for words in held):
        return []
    whole = len(held) == 1 and len(columns) == len(names)
    parts = [
        " and ".join(words) + ("" if whole else f" in {_listed(of)}") for words, of in held.items()
    ]
    return [f"{where} holds {_and(parts)}: it is kept as {kept}."]


def _listed(names: Sequence[str]) -> str:
    shown = [repr(name) for name in islice(names, 3)]
    return _and([*shown, f"{len(names) - 3} more"] if len(names) > 3 else shown)


def _and(parts: Sequence[str]) -> str:
    *first, last = parts
    return f"{', '.join(first)} and {last}" if first else last


# -- uns ------------------------------------------------------------------------------------------

_NOTHING = object()


def storable_value(value: Any, slot: str, lost: list[str]) -> Any:
    """Convert an entry of ``uns`` to what a file can hold.

    Parameters
    ----------
    value
        Anything; not changed.
    slot
        Its name, for messages.
    lost
        The names of entries that cannot be kept are appended.

    Returns
    -------
    Mappings stay mappings, with names that a file can hold; lists and arrays become arrays of
    numbers or text; all else becomes JSON.
    """
    if isinstance(value, Mapping):
        made = {
            key: storable_value(part, f"{slot}[{own!r}]", lost)
            for key, (own, part) in zip(storable_keys(value), value.items(), strict=True)
        }
        return {key: part for key, part in made.items() if part is not _NOTHING}
    if isinstance(value, pd.DataFrame):
        return storable_frames({"": value}, slot)[0][""]
    if isinstance(value, pd.Series | pd.Index | list | tuple | set | range) or (
        isinstance(value, np.ndarray) and value.dtype.kind not in "biufc"
    ):
        value = _storable_list(value)
    elif isinstance(value, str | bytes | date | timedelta | PurePath | np.datetime64 | Decimal):
        value = as_text(value)
    elif isinstance(value, complex):
        value = np.complex128(value)
    elif isinstance(value, int) and not isinstance(value, bool) and abs(value) >= 2**63:
        value = str(value)
    if value is None or value is pd.NA or not unwritable(_without_numbers(value)):
        # None and a missing entry mean the same, and older readers know only the latter.
        return _NOTHING if value is None or value is pd.NA else value
    lost.append(slot)
    return _NOTHING


def _storable_list(value: Any) -> Any:
    """A list as an array of numbers or text, or as JSON."""
    if isinstance(value, np.ndarray) and (value.dtype.names or value.ndim == 0):
        return value
    listed = np.asarray(value, dtype=object) if isinstance(value, np.ndarray) else list(value)
    if isinstance(listed, list) and any(types.is_list_like(part) for part in listed):
        try:
            numbers = np.asarray(listed)
        except ValueError:
            return as_text(listed)
        return numbers if numbers.dtype.kind in "biuf" else as_text(listed)
    shape = np.shape(listed)
    column = plain(pd.Series(np.ravel(np.asarray(listed, dtype=object)), dtype=object)).values
    if types.is_extension_array_dtype(column.dtype):
        return column.array
    return (
        column.fillna("").to_numpy().reshape(shape)
        if column.dtype == object
        else (column.to_numpy().reshape(shape))
    )
