"""Spots that say nothing about the tissue: off it, without counts, or excluded by people."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from napari_staligner import _keys as K
from napari_staligner._errors import InputError
from napari_staligner.core.prepare.libraries import hashable
from napari_staligner.core.prepare.slices import (
    FEWEST_SPOTS,
    check_expressed,
    expression_of,
    with_counts,
)

if TYPE_CHECKING:
    from anndata import AnnData
    from numpy.typing import NDArray

TISSUE_COLUMNS = ("in_tissue", "intissue", "tissue", "on_tissue", "under_tissue", "is_in_tissue")
"""Columns of ``obs`` that say whether a spot is on the tissue, in lower case."""
EXCLUDED_COLUMNS = (K.EXCLUDED, "exclude")
"""Columns of ``obs`` that say whether a spot is excluded, in lower case."""
_SAID: Mapping[str, bool] = MappingProxyType(
    dict.fromkeys(("0", "0.0", "false", "f", "no", "n", "off", "out"), False)
    | dict.fromkeys(("1", "1.0", "true", "t", "yes", "y", "on", "in"), True)
)


def off_tissue(obs: pd.DataFrame) -> tuple[NDArray[np.bool_], str]:
    """Which spots are off the tissue, shape (spots,), and the column that says so.

    Numbers, booleans and text are understood; a column with anything else is ignored, and a spot
    without a value is on the tissue.
    """
    on, column = _told(obs, TISSUE_COLUMNS, unsaid=True)
    return ~on, column


def excluded_spots(obs: pd.DataFrame) -> tuple[NDArray[np.bool_], str]:
    """Which spots are excluded, shape (spots,), and the column that says so.

    The column is read as that of :func:`off_tissue`; a spot without a value is not excluded.
    """
    return _told(obs, EXCLUDED_COLUMNS, unsaid=False)


def _told(
    obs: pd.DataFrame, names: Sequence[str], *, unsaid: bool
) -> tuple[NDArray[np.bool_], str]:
    """What the first of some columns says that says yes or no, and its name."""
    small = {str(column).strip().lower(): column for column in obs.columns}
    for name in names:
        if name not in small:
            continue
        codes, values = pd.factorize(hashable(obs[small[name]]))
        said = [_SAID.get(_text(value)) for value in values]
        if said and None not in said:
            return np.array([*said, unsaid], dtype=bool)[codes], str(small[name])
    return np.full(len(obs), unsaid), ""


def _text(value: Any) -> str:
    text = value.decode(errors="replace") if isinstance(value, bytes) else str(value)
    return text.strip().lower()


def without_counts(matrix: Any) -> NDArray[np.bool_]:
    """Which spots have a total of zero in a matrix in memory, shape (spots,)."""
    empty: NDArray[np.bool_] = np.asarray(matrix.sum(axis=1)).ravel() == 0
    return empty


def used_spots(
    name: str, adata: AnnData, layer: str | None, *, all_spots: bool
) -> tuple[AnnData, AnnData, list[str]]:
    """Return a slice with only the spots that are integrated, and also with its counts in memory.

    Parameters
    ----------
    name
        Of the slice.
    adata
        The slice.
    layer
        Where its counts are; ``None`` for ``X``.
    all_spots
        See :func:`left_out`.

    Returns
    -------
    The slice, the same with its counts in memory, and notes.
    """
    held = with_counts(adata, layer)
    matrix = expression_of(name, held, layer)
    out, notes = left_out(name, adata, matrix, all_spots=all_spots)
    if not out.any():
        return adata, held, notes
    if adata.n_obs - out.sum() < FEWEST_SPOTS:
        # Check all spots: without the others it would look like a slice with few spots.
        check_expressed(name, matrix, f"layers[{layer!r}]" if layer else "X")
    part = adata[~out].copy()
    return part, part if held is adata else held[~out].copy(), notes


def mark_of(adata: AnnData, layer: str | None) -> str:
    """Return a text that identifies a slice with its counts in memory."""
    matrix = adata.X if layer is None else adata.layers[layer]
    whole = hashlib.sha256(f"{adata.shape}".encode())
    for totals in (matrix.sum(axis=0), matrix.sum(axis=1), adata.obsm[K.SPATIAL]):
        whole.update(np.ascontiguousarray(np.asarray(totals, dtype=np.float64)).tobytes())
    return whole.hexdigest()


def same_slices(names: Sequence[str], marks: Sequence[str]) -> list[str]:
    """Say which slices are the same, by their names and marks."""
    notes, first = [], dict[str, str]()
    for name, mark in zip(names, marks, strict=True):
        if first.setdefault(mark, name) != name:
            notes.append(
                f"Slices {first[mark]!r} and {name!r} are the same: all spots and counts are "
                "equal, so check whether a file was given twice."
            )
    return notes


def left_out(
    name: str, adata: AnnData, matrix: Any, *, all_spots: bool
) -> tuple[NDArray[np.bool_], list[str]]:
    """Which spots of a slice are not integrated.

    Parameters
    ----------
    name
        Of the slice.
    adata
        Reads ``obs``.
    matrix
        Its counts in memory, shape (spots, genes).
    all_spots
        Keep them anyway, except for those that people excluded.

    Returns
    -------
    Shape (spots,), and notes. Spots off the tissue or without counts are not left out if no spot
    would remain.

    Raises
    ------
    InputError
        All spots are excluded.
    """
    out, by = excluded_spots(adata.obs)
    if out.any() and out.all():
        raise InputError(
            f"Slice {name!r}: all of its spots are excluded (obs[{by!r}]): take some back, or "
            "leave the slice out of the run."
        )
    notes = []
    if out.any():
        notes.append(
            f"Slice {name!r}: excluded spots (obs[{by!r}]): {int(out.sum()):,}, which were left "
            "out; they are kept aside, without a domain."
        )
    off, column = off_tissue(adata.obs)
    off &= ~out
    empty = without_counts(matrix) & ~off & ~out
    for which, what in (
        (off, f"off the tissue (obs[{column!r}])"),
        (empty, "without counts"),
    ):
        n = int(which.sum())
        if not n or (out | which).all():
            continue
        spots = f"Slice {name!r}: spots {what}: {n:,},"
        if all_spots:
            notes.append(f"{spots} which are kept, as the setting all_spots says.")
            continue
        out |= which
        notes.append(f"{spots} which were left out (keep them with --all-spots).")
    return out, notes
