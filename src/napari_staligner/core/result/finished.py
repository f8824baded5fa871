"""Finished results of other programs: how they are recognised, and which slots are used."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from napari_staligner import _keys as K
from napari_staligner._errors import InputError
from napari_staligner.core.prepare.libraries import named_values, section_columns
from napari_staligner.core.prepare.sections import MOST_SECTIONS, sections_of
from napari_staligner.core.result.source import Source

if TYPE_CHECKING:
    from anndata import AnnData

EMBEDDING, SLICE = "embedding", "slice"
"""Choices after the path: ``FILE[embedding=X_scVI,slice=batch]``."""

_INTEGRATED = (
    r"staligner.*",
    r"stagate.*|graphst.*|emb|emb_pca|stitch3d|deepst_embed|sedr.*|spiral.*|precast.*",
    r"x_emb|.*(nichecompass|cellcharter|banksy_harmony).*",
    r".*(scanvi|scvi|totalvi|scpoli).*",
    r".*harmony.*",
    r".*(scanorama|liger|integrated|fastmnn).*",
    r"x_?latent|latent",
)
"""Keys of ``obsm`` where programs store an embedding of several slices, the surest first."""
_FEWEST_COLUMNS = 3
"""Fewest dimensions: a picture in two is not an embedding to work with."""
_SHOWN = 6


@dataclass(frozen=True)
class Finished:
    """A finished result of another program.

    Parameters
    ----------
    embedding
        Key of ``obsm``.
    column
        Column of ``obs`` that names the slices.
    said
        A sentence: which slots are used, and which others could be.
    """

    embedding: str
    column: str
    said: str


def finished_in(
    adata: AnnData, path: str, embedding: str = "", column: str = ""
) -> Finished | None:
    """Tell whether a file holds a finished result of another program.

    Parameters
    ----------
    adata
        What it holds.
    path
        The file, for the sentences.
    embedding, column
        The choices; empty if nothing was chosen.

    Returns
    -------
    The slots that are used; ``None`` if nothing was chosen, and no key of ``obsm`` is known for
    embeddings or no column tells slices apart.

    Raises
    ------
    InputError
        What was chosen is not there, or no column tells slices apart.
    """
    embeddings = embeddings_in(adata)
    known = _integrated(embeddings)
    if not embedding and not column and not known:
        return None
    if embedding and embedding not in embeddings:
        raise InputError(
            f"{path!r} has no embedding obsm[{embedding!r}]: choose one of {_listed(embeddings)}."
        )
    if column and column not in adata.obs:
        raise InputError(
            f"{path!r} has no obs[{column!r}] to tell slices apart: choose one of "
            f"{_listed(map(str, adata.obs.columns))}."
        )
    columns = [column] if column else _columns(adata)
    if not columns or (not embedding and not known):
        if not embedding and not column:
            return None
        what, there = (
            ("column of obs that is known to name slices", [str(c) for c in adata.obs.columns])
            if not columns
            else ("key of obsm that is known as an embedding of several slices", embeddings)
        )
        raise InputError(
            f"{path!r} has no {what} (it has {_listed(there)}): choose both, as in "
            f"{_spec(path, embedding or 'KEY', column or 'COLUMN')}."
        )
    taken = embedding or known[0]
    others = [] if embedding else [key for key in [*known, *embeddings] if key != taken]
    return Finished(
        taken, columns[0], _said(path, taken, columns[0], [*dict.fromkeys(others)], columns[1:])
    )


def embeddings_in(adata: AnnData) -> list[str]:
    """Keys of ``obsm`` with at least three numbers for each spot, without coordinates."""
    found = []
    for key, value in adata.obsm.items():
        kind = getattr(value, "dtype", np.dtype(object)).kind
        wide = len(getattr(value, "shape", ())) == 2 and value.shape[1] >= _FEWEST_COLUMNS
        if wide and kind in "fiu" and K.SPATIAL not in key.lower() and "umap" not in key.lower():
            found.append(str(key))
    return found


def _integrated(keys: Sequence[str]) -> list[str]:
    found = [
        key
        for pattern in _INTEGRATED
        for key in keys
        if re.fullmatch(pattern, key, flags=re.IGNORECASE)
    ]
    return [*dict.fromkeys(found)]


def _columns(adata: AnnData) -> list[str]:
    """Columns that tell slices apart, the surest first; one of those that divide spots alike."""
    noticed = sections_of(adata)
    sure = [noticed.key] if noticed is not None and noticed.key else []
    called = [str(key) for key in section_columns(adata.obs.columns)]
    found: list[str] = []
    for key in dict.fromkeys([*sure, *called]):
        values = named_values(adata.obs[key])
        if 2 <= values.nunique() <= MOST_SECTIONS and not any(
            _alike(values, named_values(adata.obs[other])) for other in found
        ):
            found.append(key)
    return found


def _alike(first: pd.Series, second: pd.Series) -> bool:
    """Whether two columns divide the spots in the same way."""
    pairs = pd.DataFrame({"a": first.to_numpy(), "b": second.to_numpy()}).drop_duplicates()
    return bool(pairs["a"].is_unique and pairs["b"].is_unique)


def _said(path: str, key: str, column: str, keys: Sequence[str], columns: Sequence[str]) -> str:
    said = (
        f"{path!r} is taken for a finished result of another program: its embedding is "
        f"obsm[{key!r}], and obs[{column!r}] names the slices"
    )
    also = [f"obsm[{other!r}]" for other in keys[:_SHOWN]]
    also += [f"obs[{other!r}]" for other in columns[:_SHOWN]]
    if not also:
        return f"{said}."
    chosen = _spec(path, next(iter(keys), key), next(iter(columns), column))
    return f"{said}; {', '.join(also)} could be meant, too: choose as in {chosen}."


def _spec(path: str, embedding: str, column: str) -> str:
    return Source(path, choices={EMBEDDING: embedding, SLICE: column}).spec()


def _listed(names: Any) -> str:
    names = list(names)
    shown = ", ".join(map(repr, names[: 2 * _SHOWN])) or "none"
    return shown + (", …" if len(names) > 2 * _SHOWN else "")
