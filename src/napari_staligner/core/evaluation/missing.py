"""Texts among labels that mean "no label"."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    import pandas as pd
    from numpy.typing import NDArray

WORDS = frozenset(("", "nan", "na", "n/a", "#n/a", "<na>", "none", "null", "nat"))
"""Texts, in lower case, that programs write for a missing value."""


def is_missing(value: object) -> bool:
    """Whether a value is missing, or a text that means so."""
    return value is None or value != value or str(value).strip().casefold() in WORDS


def without_words(column: pd.Series) -> tuple[pd.Series, list[str]]:
    """Replace texts that mean "no label" by missing values.

    Parameters
    ----------
    column
        Labels, of any dtype.

    Returns
    -------
    The column, with object dtype if it held such texts, and these texts, the most common first.
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
    Code of each spot, shape (spots,), -1 without a label; the labels; and the texts that were
    taken as no label.
    """
    import pandas as pd

    known, words = without_words(column)
    codes, found = pd.factorize(known, sort=True)
    return np.asarray(codes, dtype=np.int64), [str(label) for label in found], words
