"""A quantity of the spots of integrated slices: a gene, a column of obs, or the attention."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, get_args

import numpy as np

from napari_staligner import _keys as K
from napari_staligner._errors import InputError
from napari_staligner.core.prepare.counts import counts_slot, is_counts, stored
from napari_staligner.core.result import attention

if TYPE_CHECKING:
    from anndata import AnnData
    from numpy.typing import NDArray

QuantityKind = Literal["obs", "gene", "attention"]
MOST_CATEGORIES = 60
_PER_SPOT = 1e4
_FIGURES = {
    "self": attention.self_attention,
    "entropy": attention.attention_entropy,
    "foreign": attention.foreign_attention,
}


@dataclass(frozen=True)
class Quantity:
    """What is measured at every spot.

    Parameters
    ----------
    kind
        ``"obs"`` (a column), ``"gene"`` (of the expression) or ``"attention"`` (``"self"``,
        ``"entropy"`` or ``"foreign"``).
    key
        The column, the gene, or which figure of the attention.
    """

    kind: QuantityKind
    key: str

    @property
    def text(self) -> str:
        """How it is written in files and in the shell; :func:`parse_quantity` reads it."""
        return self.key if self.kind == "obs" else f"{self.kind}:{self.key}"


@dataclass(frozen=True)
class Values:
    """Values of the spots.

    Parameters
    ----------
    names
        Names of the columns: the categories of a column of names, else only the quantity.
    numbers
        float32, shape (spots, names): shares are 0 or 1; NaN where there is no value.
    unit
        What the numbers are, for an axis of a plot.
    shares
        Whether they are categories.
    """

    names: tuple[str, ...]
    numbers: NDArray[np.float32]
    unit: str
    shares: bool = False


def parse_quantity(text: str) -> Quantity:
    """Read ``domain``, ``gene:PCP4`` or ``attention:self``; ``confidence`` is short for its column.

    Raises
    ------
    InputError
        There is no such figure of the attention.
    """
    kind, colon, key = text.partition(":")
    if not colon or kind not in get_args(QuantityKind):
        return Quantity("obs", K.CONFIDENCE if text == "confidence" else text)
    if kind == "attention" and key not in _FIGURES:
        raise InputError(f"There is no {text!r}: choose attention:{', attention:'.join(_FIGURES)}.")
    return Quantity(kind, key)  # type: ignore[arg-type]


def values_of_quantity(adata: AnnData, of: Quantity) -> Values:
    """Values of all spots.

    Parameters
    ----------
    adata
        Integrated slices; reads ``obs``, the counts or ``obsp["attention"]``.
    of
        The quantity. Counts of a gene are given as log(1 + counts per 10,000); other expression
        unchanged; NaN in slices that did not measure the gene.

    Raises
    ------
    InputError
        The slices do not have it, or a column holds neither numbers nor a few names.
    """
    if of.kind == "gene":
        return _gene(adata, of)
    if of.kind == "attention":
        numbers = _FIGURES[of.key](adata)
        return Values((of.text,), numbers[:, None].astype(np.float32), "attention")
    return _column(adata, of.key)


def _gene(adata: AnnData, of: Quantity) -> Values:
    at = np.flatnonzero(adata.var_names == of.key)
    layer = counts_slot(adata)
    matrix: Any = adata.layers[layer] if layer else adata.X
    if len(at) == 0 or matrix is None:
        raise InputError(f"The result has no gene {of.key!r}: choose one of its var_names.")
    column = matrix[:, int(at[0])]
    numbers = np.asarray(column.toarray() if hasattr(column, "toarray") else column, np.float64)
    numbers, unit = numbers.ravel(), "expression"
    if is_counts(stored(matrix)):
        totals = np.maximum(np.asarray(matrix.sum(axis=1), np.float64).ravel(), 1)
        numbers, unit = np.log1p(_PER_SPOT * numbers / totals), "log(1 + counts per 10,000)"
    if K.IN_SLICE in adata.varm:
        there = np.asarray(adata.varm[K.IN_SLICE])[int(at[0])].astype(bool)
        numbers = np.where(there[adata.obs[K.SLICE].cat.codes], numbers, np.nan)
    return Values((of.key,), numbers[:, None].astype(np.float32), unit)


def _column(adata: AnnData, key: str) -> Values:
    import pandas as pd

    if key not in adata.obs:
        raise InputError(f"The result has no obs[{key!r}]: name a column, or gene:NAME for a gene.")
    column = adata.obs[key]
    if pd.api.types.is_numeric_dtype(column) and not pd.api.types.is_bool_dtype(column):
        numbers = column.to_numpy(dtype=np.float32, na_value=np.nan)
        return Values((key,), numbers[:, None], key)
    named = column.astype("category").cat
    names = tuple(map(str, named.categories))
    if not 0 < len(names) <= MOST_CATEGORIES:
        raise InputError(
            f"obs[{key!r}] has {len(names)} different values: choose a column of numbers, or one "
            f"with at most {MOST_CATEGORIES} names."
        )
    codes = named.codes.to_numpy()
    shares = (codes[:, None] == np.arange(len(names))).astype(np.float32)
    shares[codes < 0] = np.nan
    return Values(names, shares, f"share of spots, by {key}", shares=True)
