"""What people change in a result, copied out of it and put back."""

from __future__ import annotations

import copy
import hashlib
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_staligner import _keys as K
from napari_staligner._errors import InputError
from napari_staligner.core.annotations.record import is_annotation
from napari_staligner.core.outside import pass_on_memory
from napari_staligner.core.result.ownership import moved

if TYPE_CHECKING:
    import h5py
    import pandas as pd
    from anndata import AnnData

_OBS = (K.DOMAIN, K.CONFIDENCE, K.RESIDUAL, K.DISAGREEMENT)
_OBSM = (K.SPATIAL_ALIGNED, K.SHIFT, K.UMAP, K.UMAP_BEFORE)
_UNS = (K.DOMAIN_COLORS, f"{K.DISAGREEMENT}_colors", K.UMAP, K.UMAP_BEFORE, K.STALIGNER)


def digest(spots: pd.Index[str]) -> str:
    """Return a checksum of the names of the spots."""
    return hashlib.sha256("\n".join(map(str, spots)).encode()).hexdigest()


def edits_of(result: AnnData) -> dict[str, dict[str, Any]]:
    """What people and later computations change in a result, by slot."""
    aside = moved(result)
    columns = [key for key in result.obs if key in _OBS or key in aside["obs"]]
    columns += [key for key in result.obs if is_annotation(key)]
    recorded = {
        key: value
        for key, value in result.uns.items()
        if key in _UNS or is_annotation(_base(key)) or _base(key) in aside["obs"]
    }
    return {
        "obs": {key: _column(result.obs[key]) for key in columns},
        "obsm": {key: result.obsm[key] for key in (*_OBSM, *aside["obsm"]) if key in result.obsm},
        "uns": recorded,
    }


def _column(column: pd.Series) -> Any:
    if column.dtype == object:
        # Text with missing values; HDF5 can hold that as categories.
        column = column.astype("category")
    return column.to_numpy() if isinstance(column.dtype, np.dtype) else column.array


def _base(key: str) -> str:
    return key.removesuffix("_colors")


def apply_edits(path: Path, result: AnnData) -> None:
    """Replace what the result has by the edits that were kept.

    Raises
    ------
    InputError
        They are damaged or of other spots; the result may have lost its own.
    """
    import h5py
    from anndata.io import read_elem

    try:
        with h5py.File(path, "r") as file:
            same = text_of(file, "spots") == digest(result.obs_names)
            edits = {slot: read_elem(file[slot]) for slot in ("obs", "obsm", "uns")} if same else {}
    except Exception as error:  # anndata passes on any error of h5py, zlib or its own readers
        raise _unreadable(path, error) from error
    if not same:
        raise InputError(
            f"The edits in {str(path)!r} belong to other spots than the result has: discard them."
        )
    for slot, now in edits_of(result).items():
        for key in now:
            del getattr(result, slot)[key]
    try:
        for slot, kept in edits.items():
            for key, value in kept.items():
                if slot == "obs" and np.shape(value) != (result.n_obs,):
                    # pandas would take a single value for all spots.
                    raise ValueError(f"{key!r} is no column")
                getattr(result, slot)[key] = value
    except Exception as error:  # a group where an array belongs, another number of spots, …
        raise _unreadable(path, error) from error


def _unreadable(path: Path, error: Exception) -> InputError:
    pass_on_memory(error)
    return InputError(f"The edits in {str(path)!r} cannot be read ({error}): discard them.")


def copied_edits(result: AnnData) -> dict[str, dict[str, Any]]:
    """Copy the edits of a result, so that another thread can write them while people go on.

    Counts of spots that were left out are shared: nobody changes them in place.
    """
    return {
        slot: {key: _copied(value) for key, value in values.items()}
        for slot, values in edits_of(result).items()
    }


def _copied(value: Any) -> Any:
    from anndata import AnnData

    if isinstance(value, dict):
        return {key: _copied(each) for key, each in value.items()}
    return value if isinstance(value, AnnData) else copy.deepcopy(value)


def text_of(file: h5py.File, key: str) -> str:
    """Return an attribute of a file as text; empty if it has none."""
    return str(file.attrs.get(key, ""))
