"""Files that hold finished results of other programs."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from napari_staligner._errors import InputError
from napari_staligner.core.result.finished import EMBEDDING, SLICE, Finished, finished_in
from napari_staligner.io.anndata import is_result
from napari_staligner.io.formats.read import read_path

if TYPE_CHECKING:
    from anndata import AnnData

    from napari_staligner.core.result.source import Source
    from napari_staligner.io.formats.found import Named


def read_finished(source: Source) -> tuple[Named, Source, tuple[AnnData, Finished] | None]:
    """Read a path, and tell whether it holds a finished result of another program.

    Parameters
    ----------
    source
        The path, and the choices in brackets after it: ``embedding`` and ``slice`` say which slots
        are used.

    Returns
    -------
    slices
        Name and AnnData of each, as :func:`~napari_staligner.io.formats.read.read_path` gives them.
    source
        The choices that still have to be made.
    finished
        The AnnData, and the slots that are used; ``None`` if it is no such result.

    Raises
    ------
    InputError
        It cannot be read, or what was chosen is not in it.
    """
    choices = dict(source.choices)
    # Without an embedding, slice=… is a value of the column "slice".
    asked = EMBEDDING in choices
    embedding = choices.pop(EMBEDDING, "")
    column = choices.pop(SLICE, "") if asked else ""
    read, left = read_path(replace(source, choices=choices) if asked else source)
    if len(read) != 1 or left.slice or left.choices:
        if asked:
            raise InputError(
                f"{source.spec()!r} chooses both an embedding of several slices and a part of the "
                "file: leave one of them out."
            )
        return read, left, None
    adata = read[0][1]
    if is_result(adata):
        if asked:
            raise InputError(
                f"{source.path!r} is a result of this package already: leave [embedding=…] out; "
                "'evaluate --embedding' compares others."
            )
        return read, left, None
    found = finished_in(adata, source.path, embedding, column)
    return read, left, None if found is None else (adata, found)
