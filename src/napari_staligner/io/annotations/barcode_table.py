"""Reads tables by barcode from Loupe, pandas and spreadsheets, and recognises their columns."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from napari_staligner import _keys as K
from napari_staligner._errors import InputError
from napari_staligner.core.evaluation.missing import is_missing
from napari_staligner.io.annotations.barcode_match import match_barcodes

if TYPE_CHECKING:
    import pandas as pd

BARCODE = "Barcode"
_LINES = 20
"""Number of lines used to find the separator."""
_LOOKED_AT = 200
"""Number of rows used to find the column of barcodes."""
_SEPARATORS = (",", ";", "\t", "|")


def read_barcode_table(path: Path) -> pd.DataFrame:
    """Read a table as text, with any separator.

    Returns
    -------
    Text without blanks at the ends; empty cells stay empty.

    Raises
    ------
    InputError
        The file cannot be read, or is no table.
    """
    import pandas as pd

    try:
        text = _decoded(path.read_bytes())
    except OSError as error:
        raise InputError(f"{str(path)!r} cannot be read ({error.strerror}).") from error
    head = [line for line in text.splitlines()[:_LINES] if line.strip()]
    try:
        separator = max(
            _SEPARATORS, key=lambda sign: min((_cells(x, sign) for x in head), default=0)
        )
        table = pd.read_csv(io.StringIO(text), sep=separator, dtype=str, keep_default_na=False)
    except (ValueError, csv.Error) as error:
        raise InputError(f"{str(path)!r} is no CSV table ({error}): export it again.") from error
    if table.index.nlevels > 1:
        raise InputError(
            f"{str(path)!r} is no CSV table (its rows have more cells than its heading): export it "
            "again."
        )
    if not isinstance(table.index, pd.RangeIndex):
        # R writes names of rows, so a row is longer than the header.
        table = table.reset_index(names="")
    table.columns = [_without_mark(str(name)) for name in table.columns]
    return table.fillna("").apply(lambda column: column.astype(str).str.strip())


def _decoded(content: bytes) -> str:
    if content[:2] in (b"\xff\xfe", b"\xfe\xff"):
        return content.decode("utf-16", "replace")
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError:
        return content.decode("cp1252", "replace")


def _cells(line: str, separator: str) -> int:
    return len(next(csv.reader([line], delimiter=separator), []))


def _without_mark(name: str) -> str:
    # What pandas calls a column without a heading.
    return "" if name.startswith("Unnamed: ") else name.strip()


def barcode_column(table: pd.DataFrame, spots: Sequence[str], path: Path) -> int:
    """Find the column of barcodes: ``Barcode``, or the one with the barcodes of the spots.

    Parameters
    ----------
    table
        As :func:`read_barcode_table` gives it.
    spots
        Barcodes of the spots.
    path
        Of the table, for messages.

    Raises
    ------
    InputError
        There is none.
    """
    names = [str(name).casefold() for name in table.columns]
    for name in ("barcode", "barcodes"):
        if name in names:
            return names.index(name)
    heads = [[*dict.fromkeys(table.iloc[:_LOOKED_AT, at])] for at in range(len(names))]
    hits = [int((match_barcodes(texts, spots)[0] >= 0).sum()) for texts in heads]
    if not hits or not max(hits):
        raise InputError(
            f"{str(path)!r} needs a column {BARCODE!r} and one with the classes; "
            f"it has {_listed(table.columns)}."
        )
    return hits.index(max(hits))


def label_column(
    table: pd.DataFrame, barcodes: int, wanted: str | None, path: Path
) -> tuple[int, str]:
    """Find the column of the classes.

    Parameters
    ----------
    table
        As :func:`read_barcode_table` gives it.
    barcodes
        Place of the column of barcodes.
    wanted
        Name of the column, if it is known.
    path
        Of the table, for messages.

    Returns
    -------
    Its position, and a sentence if it was chosen from several.

    Raises
    ------
    InputError
        There is no such column, or several could be meant.
    """
    names = [str(name) for name in table.columns]
    if wanted is not None:
        if wanted not in names:
            raise InputError(
                f"{path.name!r} has no column {wanted!r}: choose one of {_listed(names)}."
            )
        return names.index(wanted), ""
    found, others = candidates(table, barcodes), _others(table, barcodes)
    if not found:
        raise InputError(
            f"{str(path)!r} needs a column {BARCODE!r} and one with the classes; "
            f"it has {_listed(names)}."
        )
    if len(found) > 1:
        raise InputError(
            f"{path.name!r} has several columns that could hold the classes: name one of "
            f"{_listed([names[at] for at in found])} (--column)."
        )
    left = [names[at] for at in others if at != found[0]]
    if not left or names[found[0]] == K.ANNOTATION:
        return found[0], ""
    said = f"{path.name!r}: the classes are taken from its column {names[found[0]]!r}"
    return found[0], f"{said}, not from {_listed(left)}."


def candidates(table: pd.DataFrame, barcodes: int) -> list[int]:
    """Positions of the columns that could hold the classes; a single one if it is clear.

    Parameters
    ----------
    table
        As :func:`read_barcode_table` gives it.
    barcodes
        Place of the column of barcodes.
    """
    others = _others(table, barcodes)
    annotation = [at for at in others if table.columns[at] == K.ANNOTATION]
    named = [at for at in others if _has_names(table.iloc[:, at])]
    return annotation[:1] or named or others


def _others(table: pd.DataFrame, barcodes: int) -> list[int]:
    return [
        at
        for at, name in enumerate(map(str, table.columns))
        if at != barcodes and name != K.SLICE and not _is_count(table.iloc[:, at], name)
    ]


def _is_count(column: pd.Series, name: str) -> bool:
    """Whether a column without a heading numbers the rows, like the index of pandas."""
    return not name and [*column] in ([*map(str, range(n, n + len(column)))] for n in (0, 1))


def _has_names(column: pd.Series) -> bool:
    """Whether a column holds names, not numbers or truth values."""
    import pandas as pd

    said = column[~column.map(is_missing)]
    numbers = pd.to_numeric(said, errors="coerce").notna()
    truths = said.str.casefold().isin(("true", "false"))
    return len(said) > 0 and not (numbers | truths).all()


def _listed(names: Sequence[object]) -> str:
    return ", ".join(map(repr, names)) or "none"
