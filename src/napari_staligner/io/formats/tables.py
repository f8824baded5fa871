"""Tables of spots and of counts, as text or parquet."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import IO, TYPE_CHECKING

import numpy as np
import pandas as pd
from scipy import sparse

from napari_staligner._errors import InputError
from napari_staligner.io.formats.guard import check_file, opened

if TYPE_CHECKING:
    from numpy.typing import NDArray

CELLS = 4_000_000
"""How many numbers of a count table are parsed at once."""


def read_table(
    path: Path,
    *,
    ids: Sequence[str] = (),
    names: Sequence[str] | None = None,
    comment: bool = False,
) -> pd.DataFrame:
    """Read a whole table of spots.

    Parameters
    ----------
    path
        Text, gzip or not, or parquet.
    ids
        Columns that hold names, which are kept as text.
    names
        Of the columns, if the table has no heading.
    comment
        Whether to skip lines that start with ``#``.

    Raises
    ------
    InputError
        It cannot be read, or has no rows.
    """
    check_file(path)
    if path.suffix == ".parquet":
        frame = _read_parquet(path)
    else:
        with opened(path) as stream:
            frame = _parsed(
                path,
                stream,
                sep=separator(path),
                header=None if names is not None else "infer",
                names=None if names is None else list(names),
                dtype=dict.fromkeys(ids, str),
                comment="#" if comment else None,
            )
    if not len(frame):
        raise InputError(f"{str(path)!r} has no rows: copy or export it again.")
    frame.columns = frame.columns.map(str)
    for name in set(ids) & set(frame.columns):
        frame[name] = names_as_text(frame[name])
    return frame


def names_as_text(column: pd.Series) -> pd.Series:
    """Return names as text; some files hold them as bytes."""
    if column.dtype == object:
        return column.map(lambda value: value.decode() if isinstance(value, bytes) else str(value))
    return column.astype(str)


def separator(path: Path) -> str:
    """Find the separator of a text table from its first line that is not a comment."""
    with opened(path) as stream:
        line = next((line for line in stream if not line.startswith(b"#")), b"")
    counts = {sep: line.count(sep.encode()) for sep in ("\t", ",", ";", " ")}
    return max(counts, key=lambda sep: counts[sep]) if any(counts.values()) else ","


def need_columns(frame: pd.DataFrame, columns: Sequence[str], path: Path, what: str) -> None:
    """Check that a table has columns.

    Raises
    ------
    InputError
        One is missing.
    """
    missing = [column for column in columns if column not in frame]
    if missing:
        there = ", ".join(map(repr, list(frame.columns)[:12])) or "none"
        raise InputError(
            f"{str(path)!r} has no column {missing[0]!r} (it has {there}): give {what}, with its "
            "columns as they were written."
        )


def numbers(frame: pd.DataFrame, columns: Sequence[str], path: Path) -> NDArray[np.float64]:
    """Return columns as numbers, shape (rows, columns).

    Raises
    ------
    InputError
        A value is missing or not a number.
    """
    found = np.empty((len(frame), len(columns)))
    for k, column in enumerate(columns):
        found[:, k] = pd.to_numeric(frame[column], errors="coerce")
        wrong = np.flatnonzero(~np.isfinite(found[:, k]))
        if len(wrong):
            raise InputError(
                f"{str(path)!r}: column {column!r} holds no number in {len(wrong):,} rows (the "
                f"first is row {wrong[0] + 1}, {str(frame[column].iloc[wrong[0]])!r}): mend or "
                "drop them."
            )
    return found


def read_wide(
    path: Path, ids: Sequence[str] = ()
) -> tuple[sparse.csr_matrix, pd.DataFrame, list[str]]:
    """Read a table of counts piece by piece.

    Parameters
    ----------
    path
        Text, gzip or not; each row has names first, then counts.
    ids
        Columns that hold names; missing ones are ignored. By default the first column.

    Returns
    -------
    Counts, CSR float32; the columns of names as text; the names of the other columns.

    Raises
    ------
    InputError
        It cannot be read, or holds something that is not a number.
    """
    sep = separator(path)
    with opened(path) as stream:
        head = _parsed(path, stream, sep=sep, nrows=1, comment="#")
    columns = [str(column) for column in head.columns]
    # R writes no heading for the names of rows, so pandas makes them the index.
    bare = not isinstance(head.index, pd.RangeIndex)
    named = [name for name in columns if name in ids] if ids else columns[: not bare]
    counted = [name for name in columns if name not in named]
    if not counted or not (named or bare):
        raise InputError(
            f"{str(path)!r} has the columns {', '.join(map(repr, columns[:6]))}, so it is no table "
            "of counts separated by commas or tabs: export it again."
        )
    parts, keys = [], []
    for piece in _pieces(path, sep, max(1, CELLS // len(columns)), named):
        if not len(piece):
            continue
        parts.append(_piece(path, piece[counted]))
        keys.append(piece.index.to_frame(name="") if bare else piece[named])
    if not parts:
        raise InputError(f"{str(path)!r} has no rows: copy or export it again.")
    return sparse.vstack(parts, format="csr"), pd.concat(keys, ignore_index=True), counted


def _pieces(path: Path, sep: str, rows: int, named: Sequence[str]) -> Iterator[pd.DataFrame]:
    names = dict.fromkeys(named, str)
    with opened(path) as stream:
        try:
            yield from pd.read_csv(
                stream, sep=sep, comment="#", low_memory=False, chunksize=rows, dtype=names
            )
        except (ValueError, UnicodeDecodeError) as error:
            raise _unreadable(path, error) from error


def _piece(path: Path, piece: pd.DataFrame) -> sparse.csr_matrix:
    for column, kind in piece.dtypes.items():
        if kind.kind not in "iufb":
            bad = piece[column][pd.to_numeric(piece[column], errors="coerce").isna()]
            what = str(bad.iloc[0]) if len(bad) else str(kind)
            raise InputError(
                f"{str(path)!r}: column {str(column)!r} holds {what!r}, which is no count: "
                "export the table again."
            )
    values = piece.to_numpy(dtype=np.float32)
    if not np.isfinite(values).all():
        raise InputError(
            f"{str(path)!r} has rows without all their counts: it is cut off or damaged; "
            "copy or export it again."
        )
    return sparse.csr_matrix(values)


def _parsed(path: Path, stream: IO[bytes], **options: object) -> pd.DataFrame:
    try:
        return pd.read_csv(stream, low_memory=False, **options)
    except InputError:
        raise
    except (ValueError, UnicodeDecodeError) as error:
        raise _unreadable(path, error) from error


def _read_parquet(path: Path) -> pd.DataFrame:
    try:
        return pd.read_parquet(path)
    except (OSError, ValueError) as error:
        raise _unreadable(path, error) from error


def _unreadable(path: Path, error: Exception) -> InputError:
    if isinstance(error, InputError):
        return error
    line = (str(error).strip().splitlines() or [type(error).__name__])[0].rstrip(".")
    return InputError(f"{str(path)!r} cannot be read as a table ({line}): copy or export it again.")
