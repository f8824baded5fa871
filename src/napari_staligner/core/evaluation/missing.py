"""Labels that say in words that there is none."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    import pandas as pd
    from numpy.typing import NDArray

WORDS = frozenset(("", "nan", "na", "n/a", "#n/a", "<na>", "none", "null", "nat"))
"""Texts, in small letters, that programs write where there is no value."""


def is_missing(value: object) -> bool:
    """Whether a value is none, or a text that says so."""
    return value is None or value != value or str(value).strip().casefold() in WORDS


def without_words(column: pd.Series) -> tuple[pd.Series, list[str]]:
    """Take texts that say that there is no label as none.

    Parameters
    ----------
    column
        Labels, of any dtype.

    Returns
    -------
    The column, object dtype where it held such texts, and these texts, the commonest first.
    """
    import pandas as pd

    if not (isinstance(column.dtype, pd.CategoricalDtype) or column.dtype.kind == "O"):
        return column, []
    values = column.astype(object)
    words = values.map(lambda value: isinstance(value, str) and is_missing(value)).astype(bool)
    if not words.any():
        return column, []
    counts = values[words].value_counts()
    return values.where(~words, np.nan), [str(word) for word in counts.index]


def label_codes(column: pd.Series) -> tuple[NDArray[np.int64], list[str], list[str]]:
    """Number the labels of spots.

    Parameters
    ----------
    column
        Labels, shape (spots,), of any dtype.

    Returns
    -------
    Code of each spot, shape (spots,), -1 where there is no label; the labels; and the texts that
    were taken as none.
    """
    import pandas as pd

    known, words = without_words(column)
    codes, found = pd.factorize(known, sort=True)
    return np.asarray(codes, dtype=np.int64), [str(label) for label in found], words
