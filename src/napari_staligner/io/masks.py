"""Masks of cells, as SpatialData stores hold them in ``labels``: opened, and read in part."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from napari_staligner._errors import InputError
from napari_staligner.core.outside import pass_on_memory
from napari_staligner.io.formats.guard import check_inside
from napari_staligner.io.scans import OVERVIEW


def open_masks(path: Path) -> tuple[Any, ...]:
    """Open the labels of a SpatialData store.

    Parameters
    ----------
    path
        The element, an image of OME-NGFF with a number for each cell.

    Returns
    -------
    Arrays of dask of whole numbers, the finest first, shape (height, width); where the store has no
    small levels, every second pixel makes one.

    Raises
    ------
    InputError
        It cannot be read, or holds no whole numbers.
    """
    try:
        levels = _levels(path)
    except InputError:
        raise
    except Exception as error:  # any error of zarr
        pass_on_memory(error)
        line = (str(error).strip().splitlines() or [""])[0].rstrip(".")
        raise InputError(
            f"The masks in {str(path)!r} cannot be read ({type(error).__name__}: {line}): copy the "
            "store again, or go on without them."
        ) from error
    if not levels or any(level.dtype.kind not in "iu" or level.ndim != 2 for level in levels):
        raise InputError(
            f"{str(path)!r} holds no whole numbers of rows and columns: write the labels again."
        )
    while max(levels[-1].shape) > OVERVIEW:
        levels.append(levels[-1][::2, ::2])
    return tuple(levels)


def _levels(path: Path) -> list[Any]:
    import dask.array as da
    import zarr

    check_inside(path)
    group = zarr.open_group(path, mode="r")
    told: Any = group.attrs.get("ome", group.attrs.asdict())
    parts: Mapping[str, Any] = told["multiscales"][0]
    arrays: list[Any] = [group[part["path"]] for part in parts["datasets"]]
    # Axes before rows and columns have one entry. Random names: dask would read all of the file
    # for a name of its content.
    return [
        da.from_array(each, chunks=each.chunks, name=False)[(0,) * (each.ndim - 2)]
        for each in arrays
    ]
