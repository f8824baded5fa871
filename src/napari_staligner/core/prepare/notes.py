"""Notes on what was guessed or left out when a slice was read; they stay with the slice."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from napari_staligner import _keys as K

if TYPE_CHECKING:
    from collections.abc import Iterable

    from anndata import AnnData


def add_notes(adata: AnnData, notes: Iterable[str]) -> None:
    """Store sentences with a slice, in ``uns["staligner_notes"]``.

    Parameters
    ----------
    adata
        The slice.
    notes
        The text after "Slice 'A': ", with a full stop; none is added twice.
    """
    kept = _kept(adata)
    new = [note for note in notes if note not in kept]
    if new:
        adata.uns[K.NOTES] = np.array([*kept, *new], dtype=object)


def notes_of(name: str, adata: AnnData) -> list[str]:
    """Return the notes of a slice, as sentences that name it."""
    return [f"Slice {name!r}: {note}" for note in _kept(adata)]


def new_notes(name: str, part: AnnData, before: AnnData) -> list[str]:
    """Return the notes of a slice that are not in ``before``, as sentences that name it."""
    known = _kept(before)
    return [f"Slice {name!r}: {note}" for note in _kept(part) if note not in known]


def _kept(adata: AnnData) -> list[str]:
    told = adata.uns.get(K.NOTES, ())
    # Another program may have put anything there.
    several = isinstance(told, list | tuple) or (isinstance(told, np.ndarray) and told.ndim > 0)
    return [str(note) for note in (told if several else (told,))]
