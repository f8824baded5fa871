"""What the exports share: slices of a result, its columns and arrays, and file names."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sized
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from napari_staligner import _keys as K
from napari_staligner.core.result.ownership import written

if TYPE_CHECKING:
    from anndata import AnnData
    from numpy.typing import NDArray

NOT_HANDED_ON = frozenset({K.SLICE, K.LIBRARY, K.ELEMENT, K.INSTANCE})
"""Columns that have a meaning only when slices are together."""


def rows_by_slice(adata: AnnData) -> dict[str, NDArray[np.intp]]:
    """Return the rows of each slice of a result, in the order of the slices."""
    column = adata.obs[K.SLICE].cat.remove_unused_categories().cat
    codes = column.codes.to_numpy()
    return {str(name): np.flatnonzero(codes == i) for i, name in enumerate(column.categories)}


def counted(slices: Sized) -> str:
    """Say how many slices there are."""
    return f"{len(slices)} slice{'' if len(slices) == 1 else 's'}"


def own_names(adata: AnnData, name: str, rows: NDArray[np.intp]) -> pd.Index:
    """Return the names of spots in their slice, without the slice's name at the end."""
    return adata.obs_names[rows].str.removesuffix(f"_{name}")


def columns_made(adata: AnnData) -> list[str]:
    """Columns of ``obs`` about spots that were made here: domain, confidence, classes."""
    ours = written(adata)["obs"] - NOT_HANDED_ON
    return [str(key) for key in adata.obs if key in ours]


def arrays_made(adata: AnnData) -> list[str]:
    """Keys of ``obsm`` that were made here: embedding, aligned coordinates, UMAPs."""
    ours = written(adata)["obsm"]
    return [str(key) for key in adata.obsm if key in ours]


_LONGEST = 180
"""Bytes of a name: file systems take 255 with the ending and a number."""
_RESERVED = re.compile(r"(con|prn|aux|nul|com\d|lpt\d)(\..*)?", re.IGNORECASE)
"""Names of devices on Windows."""


def file_names(names: Iterable[str]) -> dict[str, str]:
    """File names for slices, all different and valid on every system."""
    found: dict[str, str] = {}
    for name in names:
        plain = re.sub(r'[<>:"/\\|?*\x00-\x1f]', "_", name).strip()
        plain = plain.encode()[:_LONGEST].decode(errors="ignore").rstrip(". ") or "slice"
        plain = f"{plain}_" if _RESERVED.fullmatch(plain) else plain
        free, number = plain, 2
        # Some systems ignore case.
        while free.lower() in {each.lower() for each in found.values()}:
            free, number = f"{plain} ({number})", number + 1
        found[name] = free
    return found
