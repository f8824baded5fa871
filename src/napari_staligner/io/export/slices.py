"""Each slice as its own file again, with the columns and arrays of the result added."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_staligner import _keys as K
from napari_staligner._errors import ComputeError, InputError
from napari_staligner.core.attempt import reason
from napari_staligner.core.prepare.image_move import move_image, moved_images
from napari_staligner.core.prepare.libraries import own_library
from napari_staligner.core.progress import Progress
from napari_staligner.core.result.access import record_of, writable_record
from napari_staligner.core.result.ownership import claim
from napari_staligner.core.result.provenance import sources_of
from napari_staligner.io.export.parts import (
    arrays_made,
    columns_made,
    counted,
    file_names,
    own_names,
    rows_by_slice,
)
from napari_staligner.io.h5ad import read_source, slices_of_result
from napari_staligner.io.images import drawn_where_it_lies
from napari_staligner.io.sources import check_unchanged
from napari_staligner.io.writing import write_anndata

if TYPE_CHECKING:
    from anndata import AnnData
    from numpy.typing import NDArray

    from napari_staligner.core.progress import Steps
    from napari_staligner.core.result.source import Source


def slice_steps(adata: AnnData, draft: Path) -> Steps[str]:
    """Write each slice of a result as ``<slice>.h5ad`` into a folder.

    A slice is read from its own file again, with everything in it, including spots that were left
    out. If the file is gone or has changed, the slice is taken from the result, and a note says so.
    The columns of ``obs`` and arrays of ``obsm`` that were made here are added under their names;
    a column of the slice with the same name is kept as ``<column>_of_input``. A tissue image that
    was moved alone is drawn again where it lies: other programs place it by its scale factor.

    Parameters
    ----------
    adata
        Integrated slices.
    draft
        The folder.
    """
    slices, sources = rows_by_slice(adata), sources_of(adata)
    files, held = file_names(slices), dict[str, Any]()
    for done, (name, rows) in enumerate(slices.items()):
        yield Progress(f"reading {name}", 2 * done, 2 * len(slices))
        own, why = _from_its_file(adata, name, rows, sources.get(name))
        if own is None:
            held = held or dict(slices_of_result(adata))
            own = held[name]
            yield Progress("reading", 2 * done, 2 * len(slices), note=_of_result(name, why))
        lacking = own.n_obs - len(rows)
        if lacking:
            note = (
                f"Slice {name!r}: {lacking:,} of {own.n_obs:,} spots were left out of the "
                "integration and have no values in what was added."
            )
            yield Progress("reading", 2 * done, 2 * len(slices), note=note)
        yield Progress(f"writing {name}", 2 * done + 1, 2 * len(slices))
        _add(own, adata, name, rows)
        _place_image(own, adata, name)
        write_anndata(own, draft / f"{files[name]}.h5ad")
    return counted(slices)


def _of_result(name: str, why: str) -> str:
    return (
        f"Slice {name!r} is written as the result holds it, without what only its own file has "
        f"({why.rstrip('.')})."
    )


def _from_its_file(
    adata: AnnData, name: str, rows: NDArray[np.intp], source: Source | None
) -> tuple[AnnData | None, str]:
    """The slice from its own file; or ``None``, and why it is not available."""
    if source is None:
        return None, "it came from memory"
    try:
        check_unchanged(name, source)
        own = read_source(source)
    except (InputError, ComputeError) as error:
        return None, reason(error)
    names = own_names(adata, name, rows)
    if not (own.obs_names.is_unique and names.is_unique and names.isin(own.obs_names).all()):
        return None, "its spots have other names there"
    own.uns.pop(K.SOURCE, None)
    own.uns.pop(K.NOTES, None)
    return own, ""


def _place_image(own: AnnData, adata: AnnData, name: str) -> None:
    """Draw the tissue image of a slice where the result says that it lies."""
    move, library = moved_images(adata, name), own_library(own)
    if move is None or library is None:
        return
    move_image(own, move)
    key, moved = own_library(own) or library
    spatial = own.uns[K.SPATIAL]
    drawn = drawn_where_it_lies(moved)
    own.uns[K.SPATIAL] = {**spatial, key: drawn} if key in spatial else drawn


def _add(own: AnnData, adata: AnnData, name: str, rows: NDArray[np.intp]) -> None:
    """Add to a slice what the result says about its spots."""
    names = own_names(adata, name, rows)
    # Names that stand for several spots: the slice is the result's own, in its order.
    doubled = not names.is_unique
    columns, arrays = columns_made(adata), arrays_made(adata)
    claim(own, "obs", *columns)
    claim(own, "obsm", *arrays)
    for key in columns:
        values = adata.obs[key].iloc[rows]
        values.index = own.obs_names if doubled else names
        own.obs[key] = values if doubled else values.reindex(own.obs_names)
        if f"{key}_colors" in adata.uns:
            own.uns[f"{key}_colors"] = np.asarray(adata.uns[f"{key}_colors"], dtype=object)
    at = np.arange(len(rows)) if doubled else own.obs_names.get_indexer(names)
    for key in arrays:
        values = np.asarray(adata.obsm[key])[rows]
        whole = np.full((own.n_obs, values.shape[1]), np.nan, dtype=values.dtype)
        whole[at] = values
        own.obsm[key] = whole
    told = record_of(adata)
    writable_record(own).update({key: told[key] for key in ("version", "params") if key in told})
    matrix = told.get("transforms", {}).get(name)
    if matrix is not None:
        writable_record(own)["transforms"] = {name: np.asarray(matrix, dtype=np.float64)}
