"""Annotations by barcode as CSV, as Loupe Browser imports and exports categories."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from napari_staligner import _keys as K
from napari_staligner._errors import InputError
from napari_staligner.core.annotations.annotations import Annotations
from napari_staligner.core.annotations.record import take_column
from napari_staligner.core.evaluation.missing import is_missing
from napari_staligner.io.annotations.barcode_match import match_barcodes
from napari_staligner.io.annotations.barcode_table import (
    BARCODE,
    barcode_column,
    candidates,
    label_column,
    read_barcode_table,
)
from napari_staligner.io.annotations.geojson import chosen_slices, rows_of_slice
from napari_staligner.io.annotations.imported import Imported
from napari_staligner.io.atomic import written_beside

if TYPE_CHECKING:
    import pandas as pd
    from anndata import AnnData
    from numpy.typing import NDArray


def write_barcodes(
    adata: AnnData, annotations: Annotations, path: Path, *, slice_name: str | None = None
) -> int:
    """Write the class of each annotated spot.

    Parameters
    ----------
    adata
        Integrated slices.
    annotations
        Of these spots; those of the present annotator are written.
    path
        Target. For one slice, the columns are ``Barcode,annotation``, which Loupe imports; for
        several, ``Barcode,annotation,slice``.
    slice_name
        The slice; ``None`` takes all.

    Returns
    -------
    The number of spots.

    Raises
    ------
    InputError
        Nothing is annotated, the slice is unknown, or the file cannot be written.
    """
    names = chosen_slices(adata, None if slice_name is None else [slice_name])
    table = _barcodes(adata)
    table[K.ANNOTATION] = annotations.column()
    table = table[table[K.SLICE].isin(names)].dropna(subset=K.ANNOTATION)
    if table.empty:
        raise InputError(
            f"No spot of {', '.join(map(repr, names))} is annotated by "
            f"{annotations.annotator!r}: annotate some first."
        )
    columns = [BARCODE, K.ANNOTATION, *([K.SLICE] if len(names) > 1 else [])]
    with written_beside(path) as draft:
        table[columns].to_csv(draft, index=False)
    return len(table)


def read_barcodes(
    adata: AnnData,
    annotations: Annotations,
    path: Path,
    *,
    slice_name: str | None = None,
    column: str | None = None,
) -> Imported:
    """Give spots the classes that a file lists, as one edit.

    Parameters
    ----------
    adata
        Integrated slices.
    annotations
        Gets the classes, for the present annotator; new ones are added.
    path
        A table with a header, separated by commas, semicolons or tabs. One column holds barcodes,
        as in the slice or as in the result; endings and beginnings that name a sample may be
        missing or added.
    slice_name
        Slice of the barcodes; ``None`` reads the column ``slice``, if there is one.
    column
        The one that holds the classes; ``None`` takes ``annotation``, or the only one with names.

    Returns
    -------
    How many spots changed, and what was left out or guessed.

    Raises
    ------
    InputError
        The file cannot be read, several columns could be meant, no barcode belongs to a spot, or
        one belongs to several slices.
    """
    import pandas as pd

    ours = _barcodes(adata)
    if slice_name is not None:
        chosen_slices(adata, [slice_name])
    told, notes = _told(path, ours, slice_name, column)
    place, said = _places(adata, ours, told, path)
    labels = pd.Series(index=range(adata.n_obs), dtype=object)
    labels.iloc[place[place >= 0]] = told["label"].to_numpy()[place >= 0]
    n = take_column(annotations, labels.astype("category"), None, "import")
    return Imported(n, (*notes, *said))


def columns_of_classes(adata: AnnData, path: Path) -> list[str]:
    """Columns of a table by barcode if one has to be chosen; none if it is clear.

    Raises
    ------
    InputError
        The file cannot be read, or has no column of barcodes.
    """
    table = read_barcode_table(path)
    at = barcode_column(table, [*dict.fromkeys(_barcodes(adata)[BARCODE])], path)
    found = candidates(table, at)
    return [str(table.columns[place]) for place in found] if len(found) > 1 else []


def _told(
    path: Path, ours: pd.DataFrame, slice_name: str | None, column: str | None
) -> tuple[pd.DataFrame, list[str]]:
    """Barcode, class and slice (empty: any) from a file, and sentences on its columns."""
    import pandas as pd

    table = read_barcode_table(path)
    at = barcode_column(table, [*dict.fromkeys(ours[BARCODE])], path)
    label, said = label_column(table, at, column, path)
    notes = [said] if said else []
    told = pd.DataFrame({BARCODE: table.iloc[:, at], "label": table.iloc[:, label], K.SLICE: ""})
    if slice_name is not None:
        told[K.SLICE] = slice_name
    elif K.SLICE in table and table[K.SLICE].isin(ours[K.SLICE]).any():
        told[K.SLICE] = table[K.SLICE]
    missing = told["label"].map(is_missing)
    words = sorted(set(told["label"][missing]) - {""})
    if words:
        notes.append(
            f"{path.name!r}: {int(missing.sum()):,} barcodes have no class "
            f"({', '.join(map(repr, words))})."
        )
    told = told[~missing & (told[BARCODE] != "")]
    twice = told.drop_duplicates().duplicated([BARCODE, K.SLICE])
    if twice.any():
        notes.append(
            f"{path.name!r}: {int(twice.sum()):,} barcodes have more than one class; "
            "the last one of each counts."
        )
    return told.drop_duplicates([BARCODE, K.SLICE], keep="last", ignore_index=True), notes


def _places(
    adata: AnnData, ours: pd.DataFrame, told: pd.DataFrame, path: Path
) -> tuple[NDArray[np.intp], list[str]]:
    """Row of each barcode, -1 if there is none, and sentences on those and on guesses."""
    place = np.full(len(told), -1, dtype=np.intp)
    notes = []
    # The result's own names come first: they include the slice.
    named = adata.obs_names.get_indexer(told[BARCODE])
    for name, part in told.groupby(K.SLICE).groups.items():
        rows = np.arange(adata.n_obs) if not name else rows_of_slice(adata, str(name))
        at = np.asarray(part, dtype=np.intp)
        place[at] = np.where(np.isin(named[at], rows), named[at], -1)
        rest = at[named[at] < 0]
        wanted, spots = told[BARCODE].iloc[rest], ours[BARCODE].iloc[rows]
        twice = wanted[wanted.isin(spots[spots.duplicated()])]
        if len(twice):
            raise InputError(
                f"{path.name!r}: barcode {twice.iloc[0]!r} is in several slices: "
                "name the slice that the file belongs to."
            )
        found, theirs, own = match_barcodes([*wanted], [*spots])
        place[rest[found >= 0]] = rows[found[found >= 0]]
        if theirs.parts or own.parts:
            first = int(np.argmax(found >= 0))
            notes.append(
                f"{path.name!r}: barcodes are compared without the name of the sample: "
                f"{wanted.iloc[first]!r} is taken for {spots.iloc[found[first]]!r}."
            )
    lost = int((place < 0).sum())
    if not lost:
        return place, notes
    first = told[BARCODE].iloc[int(np.argmax(place < 0))]
    said = f"{path.name!r}: {lost:,} of {len(place):,} barcodes are in no slice, {first!r} for one"
    if lost == len(place):
        raise InputError(f"{said}: name the slice, or take the file that belongs to it.")
    return place, [*notes, f"{said}; they are left out, like spots that were filtered out."]


def _barcodes(adata: AnnData) -> pd.DataFrame:
    """Original barcode and slice of each spot."""
    import pandas as pd

    barcodes = adata.obs_names.to_numpy(dtype=object, copy=True)
    for name in adata.obs[K.SLICE].cat.categories:
        rows = rows_of_slice(adata, str(name))
        barcodes[rows] = [b.removesuffix(f"_{name}") for b in barcodes[rows]]
    return pd.DataFrame({BARCODE: barcodes, K.SLICE: adata.obs[K.SLICE].astype(str).to_numpy()})
