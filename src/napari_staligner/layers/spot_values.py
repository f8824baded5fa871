"""The value of each spot that the session colours by: a number or a name."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_staligner import _keys as K

if TYPE_CHECKING:
    import pandas as pd
    from anndata import AnnData
    from numpy.typing import NDArray

    from napari_staligner.session import ColorBy, Session

_COUNTS_PER_SPOT = 1e4

_ATTENTION_TITLES = {
    "self": "attention to itself",
    "entropy": "entropy of the attention",
    "foreign": "attention to other domains",
}


@dataclass(frozen=True)
class Numbers:
    """Numbers of the spots of a slice.

    Parameters
    ----------
    values
        float64, shape (spots,); NaN where there is none.
    counts
        Whether they are counts of a gene, per 10,000 counts of the spot.
    """

    values: NDArray[np.float64]
    counts: bool = False


def values_of(session: Session, name: str) -> pd.Categorical | Numbers | None:
    """Numbers or categories of the spots of a slice; ``None`` if the slice lacks them."""
    by, adata, rows = session.view.color_by, session.slices[name], session.result.rows(name)
    if by.kind == "gene":
        return _gene(adata, by.key)
    if by.kind == "attention":
        return None if rows is None else _attention(session, by.key, rows)
    if by.kind == "obsm":
        return _component(session, adata, rows, by)
    if by.key == K.SLICE:
        return _constant(name, adata.n_obs)
    # Values computed or renamed in the result are newer than those from the file.
    if rows is not None and session.result.adata is not None and by.key in session.result.adata.obs:
        return as_values(session.result.adata.obs[by.key].iloc[rows])
    return as_values(adata.obs[by.key]) if by.key in adata.obs else None


def title_of(by: ColorBy) -> str:
    """Name what the spots are coloured by, as legends and menus show it."""
    if by.kind == "attention":
        return _ATTENTION_TITLES[by.key]
    return f"{by.key} {by.component + 1}" if by.kind == "obsm" else by.key


def as_values(column: pd.Series) -> pd.Categorical | Numbers:
    """Numbers or names of a column of ``obs``; booleans count as names."""
    import pandas as pd

    if isinstance(column.dtype, pd.CategoricalDtype):
        return column.cat.rename_categories([str(c) for c in column.cat.categories]).array
    if pd.api.types.is_numeric_dtype(column) and not pd.api.types.is_bool_dtype(column):
        return Numbers(column.to_numpy(dtype=np.float64, na_value=np.nan))
    known = column.notna().to_numpy()
    names = column.astype(str).to_numpy(dtype=object)
    names[~known] = None
    return pd.Categorical(names)


def as_names(numbers: Numbers) -> pd.Categorical:
    """Write numbers as names."""
    import pandas as pd

    names = [f"{v:g}" if np.isfinite(v) else None for v in numbers.values]
    return pd.Categorical(np.array(names, dtype=object))


def _constant(value: str, n: int) -> pd.Categorical:
    import pandas as pd

    return pd.Categorical.from_codes(np.zeros(n, dtype=np.int8), categories=[value])


def _gene(adata: AnnData, gene: str) -> Numbers | None:
    """Expression of a gene: counts per 10,000, or unchanged if ``X`` holds no counts."""
    from napari_staligner.core.prepare.counts import is_counts

    at = np.flatnonzero(adata.var_names == gene)
    if len(at) == 0 or adata.X is None:
        return None
    values = _column(adata.X, int(at[0]))
    if not is_counts(np.asarray(getattr(adata.X, "data", adata.X))):
        return Numbers(values)
    totals = np.asarray(adata.X.sum(axis=1), dtype=np.float64).ravel()
    return Numbers(_COUNTS_PER_SPOT * values / np.maximum(totals, 1), counts=True)


def _column(matrix: Any, number: int) -> NDArray[np.float64]:
    """One column of ``X``; from a CSR matrix in half the time that scipy takes."""
    from scipy.sparse import issparse

    if not issparse(matrix) or matrix.format != "csr":
        return _dense(matrix[:, number])
    at = np.flatnonzero(matrix.indices == number)
    rows = np.searchsorted(matrix.indptr, at, side="right") - 1
    found = np.bincount(rows, weights=matrix.data[at], minlength=matrix.shape[0])
    return np.asarray(found, dtype=np.float64)


def _component(
    session: Session, adata: AnnData, rows: NDArray[np.intp] | None, by: ColorBy
) -> Numbers | None:
    """One column of an array of ``obsm``, from the result if it has the array."""
    source, chosen = adata, np.arange(adata.n_obs)
    if (
        rows is not None
        and session.result.adata is not None
        and by.key in session.result.adata.obsm
    ):
        source, chosen = session.result.adata, rows
    if by.key not in source.obsm or by.component >= source.obsm[by.key].shape[1]:
        return None
    array: Any = source.obsm[by.key]
    array = array.iloc if hasattr(array, "iloc") else array
    return Numbers(_dense(array[:, by.component])[chosen])


def _attention(session: Session, figure: str, rows: NDArray[np.intp]) -> Numbers | None:
    from napari_staligner.core.result import attention

    if session.result.adata is None or K.ATTENTION not in session.result.adata.obsp:
        return None
    if figure == "foreign" and not session.domains.names:
        return None
    figures = {
        "self": attention.self_attention,
        "entropy": attention.attention_entropy,
        "foreign": attention.foreign_attention,
    }
    return Numbers(figures[figure](session.result.adata)[rows].astype(np.float64))


def _dense(column: Any) -> NDArray[np.float64]:
    dense = column.toarray() if hasattr(column, "toarray") else np.asarray(column)
    return dense.ravel().astype(np.float64)
