"""Annotations by barcode as CSV, as Loupe Browser imports and exports categories."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from napari_staligner import _keys as K
from napari_staligner._errors import InputError
from napari_staligner.core.annotations.annotations import Annotations
from napari_staligner.core.annotations.record import take_column
from napari_staligner.io.annotations.geojson import check_slices, rows_of_slice
from napari_staligner.io.atomic import written_beside

if TYPE_CHECKING:
    import pandas as pd
    from anndata import AnnData

BARCODE = "Barcode"


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
        Target. Of one slice, the columns are ``Barcode,annotation``, which Loupe imports; of
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
    names = check_slices(adata, None if slice_name is None else [slice_name])
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
    adata: AnnData, annotations: Annotations, path: Path, *, slice_name: str | None = None
) -> int:
    """Give the spots that a file names their classes, as one edit.

    Parameters
    ----------
    adata
        Integrated slices.
    annotations
        Gets the classes, for the present annotator; new ones are added.
    path
        Has a column ``Barcode``, as the slice had them or as the result names its spots, and one
        with the class: ``annotation``, or the first other one.
    slice_name
        Slice of the barcodes, where the file has no column ``slice``.

    Returns
    -------
    How many spots changed.

    Raises
    ------
    InputError
        The file cannot be read, or a barcode is of no slice or of several.
    """
    import pandas as pd

    told = _read_table(path)
    labels = [c for c in told.columns if c not in (BARCODE, K.SLICE)]
    label = K.ANNOTATION if K.ANNOTATION in labels else labels[0]
    told = told[told[label].fillna("").str.strip() != ""]
    ours = _barcodes(adata)
    if slice_name is not None:
        check_slices(adata, [slice_name])
        told[K.SLICE] = slice_name
    by = [BARCODE, K.SLICE] if K.SLICE in told else [BARCODE]
    index = pd.MultiIndex.from_frame(ours[by]) if len(by) > 1 else pd.Index(ours[BARCODE])
    wanted = pd.MultiIndex.from_frame(told[by]) if len(by) > 1 else pd.Index(told[BARCODE])
    twice = wanted[wanted.isin(index[index.duplicated()])]
    if len(twice):
        raise InputError(
            f"{path.name!r}: barcode {_shown(twice[0])} is in several slices: "
            "name the slice that the file is of."
        )
    once = np.flatnonzero(~index.duplicated())
    place = index[once].get_indexer(wanted)
    place = np.where(place < 0, -1, once[place])
    named = adata.obs_names.get_indexer(told[BARCODE])
    if K.SLICE in told:
        there = told[K.SLICE].to_numpy() == ours[K.SLICE].to_numpy()[named]
        named = np.where(there, named, -1)
    place = np.where(place < 0, named, place)
    if (place < 0).any():
        first = _shown(wanted[int(np.argmax(place < 0))])
        raise InputError(
            f"{path.name!r}: {int((place < 0).sum()):,} of {len(place):,} barcodes are in no "
            f"slice, {first} for one: name the slice, or take the file that belongs to it."
        )
    column = pd.Series(index=range(adata.n_obs), dtype=object)
    column.iloc[place] = told[label].str.strip().to_numpy()
    return take_column(annotations, column.astype("category"), None, "import")


def _read_table(path: Path) -> pd.DataFrame:
    import pandas as pd

    try:
        table = pd.read_csv(path, dtype=str)
    except OSError as error:
        raise InputError(f"{str(path)!r} cannot be read ({error.strerror}).") from error
    except ValueError as error:
        raise InputError(f"{str(path)!r} is no CSV table ({error}): export it again.") from error
    if BARCODE not in table or set(table.columns) <= {BARCODE, K.SLICE}:
        raise InputError(
            f"{str(path)!r} needs a column {BARCODE!r} and one with the classes; "
            f"it has {', '.join(map(repr, table.columns))}."
        )
    return table


def _barcodes(adata: AnnData) -> pd.DataFrame:
    """Barcode, as the slice had it, and slice of each spot."""
    import pandas as pd

    barcodes = adata.obs_names.to_numpy(dtype=object, copy=True)
    for name in adata.obs[K.SLICE].cat.categories:
        rows = rows_of_slice(adata, str(name))
        barcodes[rows] = [b.removesuffix(f"_{name}") for b in barcodes[rows]]
    return pd.DataFrame({BARCODE: barcodes, K.SLICE: adata.obs[K.SLICE].astype(str).to_numpy()})


def _shown(barcode: object) -> str:
    return repr(barcode[0] if isinstance(barcode, tuple) else barcode)
