"""Converts columns of tables to the types that ``.h5ad`` can hold: booleans, numbers, text."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from datetime import date, timedelta
from decimal import Decimal
from numbers import Number
from pathlib import PurePath
from typing import TYPE_CHECKING, Any, Final, Literal, NamedTuple

import numpy as np
import pandas as pd
from pandas.api import types

if TYPE_CHECKING:
    Base = Literal["text", "numbers", "booleans", ""]

TEXT: Final = "text"
NUMBERS: Final = "numbers"
BOOLEANS: Final = "booleans"
EXACT = 2**53
"""Whole numbers up to this are exact in float64."""


class Column(NamedTuple):
    """A column of a slice in a form that a file can hold, and in words the values that it had."""

    values: pd.Series[Any]
    held: tuple[str, ...]


def unwritable(element: Any) -> str:
    """Write an element of an AnnData to memory; return why that fails, or an empty text.

    Parameters
    ----------
    element
        What anndata can write: a frame, an array, a mapping, a text, a number.
    """
    import h5py
    from anndata.io import write_elem

    with h5py.File("nowhere", "w", driver="core", backing_store=False) as file:
        try:
            write_elem(file, "element", element)
        except Exception as error:
            # Any error: a file would fail in the same way.
            return str(error).split("\n", 1)[0] or type(error).__name__
    return ""


# -- one column -----------------------------------------------------------------------------------


def plain(column: pd.Series[Any]) -> Column:
    """Convert a column to what a file can hold.

    Parameters
    ----------
    column
        Of any type; not changed.

    Returns
    -------
    Booleans, numbers or text; with missing values, as ``boolean``, ``Int64`` or float64, and
    object; or a categorical of such categories.
    """
    dtype = column.dtype
    if isinstance(dtype, pd.CategoricalDtype):
        held: list[tuple[str, ...]] = []

        def change(categories: pd.Series[Any]) -> pd.Series[Any]:
            made = plain(categories)
            held.append(made.held)
            return made.values

        return Column(_on_values(column, change), held[0])
    if isinstance(dtype, np.dtype) and dtype.kind in "biufc":
        if dtype in (np.longdouble, np.clongdouble):
            # Its width depends on the machine.
            column = column.astype(np.complex128 if dtype.kind == "c" else np.float64)
        return Column(column, (BOOLEANS if dtype.kind == "b" else NUMBERS,))
    if isinstance(dtype, pd.BooleanDtype):
        return Column(column if column.hasnans else column.astype(bool), (BOOLEANS,))
    if types.is_integer_dtype(dtype) and not isinstance(dtype, pd.SparseDtype):
        whole = column.astype("UInt64" if types.is_unsigned_integer_dtype(dtype) else "Int64")
        return Column(whole if whole.hasnans else whole.astype(whole.dtype.numpy_dtype), (NUMBERS,))
    if types.is_float_dtype(dtype):
        return Column(column.astype(np.float64), (NUMBERS,))
    if isinstance(dtype, pd.SparseDtype):
        return plain(column.sparse.to_dense())
    return _of_objects(column, column.astype(object))


def _of_objects(column: pd.Series[Any], values: pd.Series[Any]) -> Column:
    """A column of Python objects, or of a pandas type that a file cannot hold."""
    values = values.where(values.notna(), np.nan)
    present = values[values.notna()]
    kind = types.infer_dtype(present, skipna=False)
    if kind == "empty":
        return Column(pd.Series(np.nan, index=values.index, dtype=np.float64), ())
    if kind == "string":
        return Column(_texts(values), (TEXT,))
    if kind == "boolean":
        return Column(values.astype("boolean" if len(present) < len(values) else bool), (BOOLEANS,))
    held = tuple(dict.fromkeys(map(_word, present)))
    if all(isinstance(value, Number) for value in present):
        numbers = _numbers(values)
        return Column(_texts(values) if numbers is None else numbers, held)
    if kind in ("datetime64", "timedelta64", "datetime", "timedelta"):
        # As pandas writes them: without the time if all are at midnight.
        return Column(column.astype(str).astype(object).where(values.notna(), np.nan), held)
    return Column(_texts(values), held)


def _numbers(values: pd.Series[Any]) -> pd.Series[Any] | None:
    """Python numbers in the array type that holds them exactly; ``None`` if there is none."""
    present = values[values.notna()]
    gaps = len(present) < len(values)
    if any(isinstance(value, complex | np.complexfloating) for value in present):
        return values.astype(np.complex128)
    try:
        whole = all(int(value) == value for value in present if not isinstance(value, float))
        if whole and not any(isinstance(value, float | np.floating) for value in present):
            exact = all(abs(value) <= EXACT for value in present)
            return values.astype((np.float64 if exact else "Int64") if gaps else np.int64)
        decimal = any(isinstance(value, Decimal) for value in present)
        numbers = present.astype(np.float64)
        same = decimal or all(float(a) == b for a, b in zip(numbers, present, strict=True))
        return values.astype(np.float64) if same else None
    except (OverflowError, TypeError, ValueError):
        return None


def _texts(values: pd.Series[Any]) -> pd.Series[Any]:
    """Values as text; missing values stay."""
    present = values.notna().to_numpy()
    made = np.full(len(values), np.nan, dtype=object)
    held = values.to_numpy(dtype=object)[present]
    made[present] = held if is_clean(held) else [as_text(value) for value in held]
    return pd.Series(made, index=values.index, dtype=object)


def is_clean(values: Any) -> bool:
    """Whether all are text that HDF5 can hold."""
    if not all(isinstance(value, str) for value in values):
        return False
    whole = "".join(values)
    try:
        whole.encode()
    except UnicodeEncodeError:
        return False
    return "\0" not in whole


def as_text(value: Any) -> str:
    """Return a value as text that HDF5 can hold; lists and dictionaries as JSON."""
    if isinstance(value, bytes):
        text = value.decode(errors="backslashreplace")
    elif isinstance(value, float | np.floating):
        text = str(value).removesuffix(".0")
    elif isinstance(value, Mapping | list | tuple | set | frozenset | np.ndarray):
        try:
            text = json.dumps(value, default=_listable, ensure_ascii=False)
        except (TypeError, ValueError):
            text = str(value)
    else:
        text = str(value)
    return text.encode(errors="backslashreplace").decode().replace("\0", "\\0")


def _listable(value: Any) -> Any:
    if isinstance(value, np.ndarray | np.generic):
        return value.tolist()
    return sorted(value, key=str) if isinstance(value, set | frozenset) else str(value)


_WORDS: tuple[tuple[type | tuple[type, ...], str], ...] = (
    (str, TEXT),
    ((bool, np.bool_), BOOLEANS),
    (Decimal, "decimals"),
    (Number, NUMBERS),
    ((list, tuple, set, frozenset, np.ndarray), "lists"),
    (Mapping, "dictionaries"),
    ((timedelta, np.timedelta64), "durations"),
    ((date, np.datetime64), "dates"),
    (pd.Period, "periods"),
    (pd.Interval, "intervals"),
    (bytes, "bytes"),
    (PurePath, "paths"),
)


def _word(value: Any) -> str:
    """What a value is, in words."""
    found = (word for kind, word in _WORDS if isinstance(value, kind))
    return next(found, f"objects of type {type(value).__name__}")


# -- one column of several slices -----------------------------------------------------------------


def one_type(
    columns: Mapping[str, Column], *, gaps: bool
) -> tuple[dict[str, pd.Series[Any]], Base]:
    """Bring columns to one type, see :func:`_alike`; to text if no rule applies."""
    try:
        alike, base = _alike(columns, gaps=gaps)
        if not any(unwritable(_array(part)) for part in alike.values()):
            return alike, base
    except (TypeError, ValueError, NotImplementedError):
        pass
    texts = {name: Column(_on_values(c.values, _texts), c.held) for name, c in columns.items()}
    return _alike(texts, gaps=gaps)


def _array(column: pd.Series[Any]) -> Any:
    """The values as they are written; only a few of numbers, which can always be written."""
    if types.is_numeric_dtype(column.dtype):
        column = column[:2]
    return column.to_numpy() if isinstance(column.dtype, np.dtype) else column.array


def _alike(columns: Mapping[str, Column], *, gaps: bool) -> tuple[dict[str, pd.Series[Any]], Base]:
    """Bring the columns of several slices to one type.

    Parameters
    ----------
    columns
        Of each slice that has it.
    gaps
        Whether another slice lacks it.

    Returns
    -------
    The columns, and what they hold: text if one does, else numbers if one does.
    """
    parts = {name: column.values for name, column in columns.items()}
    filled = {name: part for name, part in parts.items() if part.notna().any()}
    bases = {_base(part) for part in filled.values()}
    base: Base = next((b for b in (TEXT, NUMBERS, BOOLEANS) if b in bases), "")
    gaps, sort = gaps or len(filled) < len(parts), False
    if any(map(_categorical, filled.values())) and not all(map(_categorical, filled.values())):
        filled = {
            name: plain(part.astype(object)).values if _categorical(part) else part
            for name, part in filled.items()
        }
    if base == NUMBERS:
        exact = _one_dtype(list(filled.values()), gaps=gaps)
        if exact is None:
            base = TEXT
        else:
            filled = {name: _on_values(p, lambda v: v.astype(exact)) for name, p in filled.items()}
    if base == BOOLEANS:
        some = gaps or any(isinstance(part.dtype, pd.BooleanDtype) for part in filled.values())
        kind = "boolean" if some else bool
        filled = {
            name: part if _categorical(part) else part.astype(kind) for name, part in filled.items()
        }
    if base == TEXT:
        filled = {name: _on_values(part, _texts) for name, part in filled.items()}
        gaps = gaps or any(part.hasnans for part in filled.values())
        if gaps and not all(map(_categorical, filled.values())):
            # Text with missing values can only be written as categories.
            filled = {name: part.astype(object).astype("category") for name, part in filled.items()}
            sort = True
    filled = _one_categorical(filled, sort=sort)
    like = next(iter(filled.values()), None)
    return {
        name: filled[name] if name in filled else _empty(part.index, like)
        for name, part in parts.items()
    }, base


def _base(column: pd.Series[Any]) -> Base:
    dtype = column.cat.categories.dtype if _categorical(column) else column.dtype
    if types.is_bool_dtype(dtype):
        return "booleans"
    return "numbers" if types.is_numeric_dtype(dtype) else "text"


def _categorical(column: pd.Series[Any]) -> bool:
    return isinstance(column.dtype, pd.CategoricalDtype)


def _one_dtype(columns: Sequence[pd.Series[Any]], *, gaps: bool) -> Any:
    """The type that holds all numbers of these columns exactly; ``None`` if there is none."""
    held = [pd.Series(part.cat.categories) if _categorical(part) else part for part in columns]
    nullable = any(types.is_extension_array_dtype(part.dtype) for part in held)
    kinds = [getattr(part.dtype, "numpy_dtype", part.dtype) for part in held]
    common = np.result_type(*(np.dtype(np.int8) if k.kind == "b" else k for k in kinds))
    gaps = gaps and not any(map(_categorical, columns))
    if common.kind in "iu":
        if not nullable and not gaps:
            return common
        if nullable or not _exact_as_float(held):
            return "UInt64" if common.kind == "u" else "Int64"
        return np.dtype(np.float64)
    mixed = any(kind.kind in "iu" for kind in kinds)
    if common == np.float16 and any(map(_categorical, columns)):
        common = np.dtype(np.float32)
    return None if mixed and not _exact_as_float(held) else common


def _exact_as_float(columns: Sequence[pd.Series[Any]]) -> bool:
    whole = (part for part in columns if types.is_integer_dtype(part.dtype) and len(part))
    return all(int(part.max()) <= EXACT and int(part.min()) >= -EXACT for part in whole)


def _one_categorical(
    columns: dict[str, pd.Series[Any]], *, sort: bool
) -> dict[str, pd.Series[Any]]:
    """Give categorical columns the same categories.

    Their order counts only if it is the same in all slices. Those made from text are sorted, as in
    pandas.
    """
    some = [part.cat.categories for part in columns.values() if _categorical(part)]
    if not some:
        return columns
    same = all(found.equals(some[0]) for found in some)
    ordered = same and all(part.cat.ordered for part in columns.values())
    union = some[0] if same else pd.Index(pd.unique(pd.concat(list(map(pd.Series, some)))))
    kind = pd.CategoricalDtype(union.sort_values() if sort else union, ordered=ordered)
    return {name: part.astype(kind) for name, part in columns.items()}


def _empty(index: pd.Index[Any], like: pd.Series[Any] | None) -> pd.Series[Any]:
    """A column without any values, with the type of another."""
    dtype = np.dtype(np.float64) if like is None else like.dtype
    return pd.Series(np.nan if dtype == np.float64 else None, index=index, dtype=dtype)


def _on_values(
    column: pd.Series[Any], change: Callable[[pd.Series[Any]], pd.Series[Any]]
) -> pd.Series[Any]:
    """Change the values of a column; for a categorical one, its categories."""
    if not _categorical(column):
        return change(column)
    made = change(pd.Series(column.cat.categories))
    found = pd.Index(pd.unique(made))
    # One more, for the spots without a category.
    where = np.append(found.get_indexer(pd.Index(made)), -1)
    codes = where[column.cat.codes.to_numpy()]
    changed = pd.Categorical.from_codes(codes, found, ordered=column.cat.ordered)
    return pd.Series(changed, index=column.index)
