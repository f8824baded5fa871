"""Matches genes that slices name in different ways; they get the names of the first slice.

Names may differ in case, in the version of an Ensembl identifier, or in the prefix of a genome. Or
one slice has symbols and another identifiers, and a column of ``var`` links them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from napari_staligner.core.prepare.libraries import hashable
from napari_staligner.core.prepare.on_disk import with_slots

if TYPE_CHECKING:
    from anndata import AnnData
    from numpy.typing import NDArray

ENOUGH_SHARED = 0.9
"""If the slices share this part of the genes of the smallest, names are left as they are."""
FEWEST_GAINED, SHARE_GAINED = 10, 0.1
"""Matching must gain this many genes, and this part of those of the smallest slice."""
MOST_COLUMNS = 12
MOSTLY = 0.9
"""If this part of the names end like a version, it is one, whatever the names are."""

_VERSION = r"^(ENS[A-Z]*[GTP]\d{6,}|[XN][MR]_\d+)\.\d+(?:_PAR_Y)?$"
_ANY_VERSION = r"\.\d+$"
_GENOMES = (
    r"mm\d+|hg\d+|GRC[a-z]\d+(?:-\d{4}-[A-Z])?(?:\.p\d+)?|[Rr]n\d+|mRatBN\d+|dm\d+"
    r"|danRer\d+|ce\d+|[Hh]uman|[Mm]ouse|HUMAN|MOUSE"
)
_PREFIX = rf"^(?:{_GENOMES})(?:_+|-+)(?=\w)"


@dataclass(frozen=True)
class _Way:
    """A way to compare names: what it ignores, in words and in code."""

    words: str
    key: Callable[[pd.Series], pd.Series]


def _bare(names: pd.Series) -> pd.Series:
    """Names without the prefix of a genome and the version of an identifier."""
    names = names.str.replace(_PREFIX, "", regex=True)
    if names.str.contains(_ANY_VERSION, regex=True).mean() > MOSTLY:
        return names.str.replace(_ANY_VERSION, "", regex=True)
    return names.str.replace(_VERSION, r"\1", regex=True)


_WAYS = (
    _Way("", lambda names: names),
    _Way("without version or genome", _bare),
    _Way("whatever their case", lambda names: _bare(names).str.upper()),
)


@dataclass(frozen=True)
class _Naming:
    """Keys of the genes of a slice: by ``var_names``, or by a column of ``var``."""

    column: str | None
    keys: pd.Index


def with_matched_genes(
    slices: Sequence[tuple[str, AnnData]],
) -> tuple[list[tuple[str, AnnData]], list[str]]:
    """Give the same gene the same name in all slices, if the match is certain.

    Parameters
    ----------
    slices
        Name and AnnData of each; they are not changed.

    Returns
    -------
    The slices, where matched genes have the ``var_names`` of the first slice, and a sentence for
    each slice with changed names.
    """
    slices = list(slices)
    if len(slices) < 2 or _enough(slices):
        return slices, []
    least = min(adata.n_vars for _, adata in slices)
    shared = _n_shared([adata.var_names for _, adata in slices])
    best: tuple[int, _Way, list[_Naming]] | None = None
    for way in _WAYS:
        namings = _agreeing(slices, way)
        n = _n_shared([naming.keys for naming in namings])
        gained = n - (shared if best is None else best[0])
        if gained >= max(FEWEST_GAINED, SHARE_GAINED * least):
            best = n, way, namings
    if best is None:
        return slices, []
    return _renamed(slices, best[2], best[1])


def _enough(slices: Sequence[tuple[str, AnnData]]) -> bool:
    names = [adata.var_names for _, adata in slices]
    if all(other is names[0] or other.equals(names[0]) for other in names[1:]):
        return True
    return _n_shared(names) >= ENOUGH_SHARED * min(map(len, names))


def _n_shared(keys: Sequence[pd.Index]) -> int:
    shared = set(keys[0])
    for other in keys[1:]:
        shared &= set(other)
    return len(shared - {""})


def _agreeing(slices: Sequence[tuple[str, AnnData]], way: _Way) -> list[_Naming]:
    """For each slice, the naming that agrees best with one naming of the first slice."""
    every = [_namings(adata, way) for _, adata in slices]
    best: tuple[int, list[_Naming]] = (-1, [])
    for first in every[0]:
        wanted = set(first.keys)
        # The first of equally good ones: var_names before columns.
        chosen = [max(own, key=lambda n: len(wanted & set(n.keys))) for own in every[1:]]
        n = _n_shared([first.keys, *(naming.keys for naming in chosen)])
        if n > best[0]:
            best = n, [first, *chosen]
    return best[1]


def _namings(adata: AnnData, way: _Way) -> list[_Naming]:
    """Ways in which a slice names its genes: ``var_names``, and columns of nearly unique text."""
    found = [_Naming(None, _keys(adata.var_names.to_series(), way))]
    for column in adata.var.columns:
        values = hashable(adata.var[column])
        if len(found) > MOST_COLUMNS or values.dtype.kind in "fiub" or values.isna().all():
            continue
        if values.nunique() > 0.5 * len(values):
            found.append(_Naming(str(column), _keys(values, way)))
    return found


def _keys(names: pd.Series, way: _Way) -> pd.Index:
    """Keys of names; empty if a name has none, or if two genes would have the same."""
    text = names.astype(object).where(names.notna(), "").astype(str).str.strip()
    keys = way.key(text).to_numpy(dtype=object)
    keys[pd.Series(keys).duplicated(keep=False).to_numpy()] = ""
    return pd.Index(keys)


def _renamed(
    slices: Sequence[tuple[str, AnnData]], namings: Sequence[_Naming], way: _Way
) -> tuple[list[tuple[str, AnnData]], list[str]]:
    names_of: dict[str, str] = {}
    renamed, notes = [], []
    (first, _), *_ = slices
    for (name, adata), naming in zip(slices, namings, strict=True):
        old = np.array([*map(str, adata.var_names)], dtype=object)
        given = [names_of.get(k, o) if k else o for k, o in zip(naming.keys, old, strict=True)]
        new = np.array(given, dtype=object)
        # Never use a name that another gene of the slice already has.
        clash = pd.Series(new).duplicated(keep=False).to_numpy() & (new != old)
        new[clash] = old[clash]
        for key, final in zip(naming.keys, new, strict=True):
            if key:
                names_of.setdefault(key, final)
        changed = np.flatnonzero(new != old)
        if len(changed):
            adata = with_slots(adata, var=_with_index(adata.var, new))
            by = f" by var[{naming.column!r}]" if naming.column is not None else ""
            by += f" {way.words}" if way.words else ""
            notes.append(
                f"Slice {name!r}: {len(changed):,} of {len(old):,} gene names were matched to "
                f"those of slice {first!r}{by} ({old[changed[0]]!r} is {new[changed[0]]!r}); the "
                f"result names genes as slice {first!r} does."
            )
        renamed.append((name, adata))
    return renamed, notes


def _with_index(var: pd.DataFrame, names: NDArray[Any]) -> pd.DataFrame:
    var = var.copy()
    var.index = pd.Index(names, dtype=object, name=var.index.name)
    return var


def examples(names: Sequence[str], genes: Sequence[Iterable[str]], odd: int) -> str:
    """Show a gene name of a slice and one of another, for a sentence that says they do not match.

    Parameters
    ----------
    names, genes
        Names of the slices, and the genes of each.
    odd
        Number of the slice.
    """
    other = 0 if odd else 1
    one, two = (min(genes[number], default="none") for number in (odd, other))
    return f"{one!r} there, {two!r} in slice {names[other]!r}"
