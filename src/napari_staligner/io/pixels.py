"""Pixels of an image in a file, a piece at a time; pieces that cannot be read are empty, and said.

Nothing is mapped into memory: the end of a file that becomes shorter would end the process.
"""

from __future__ import annotations

import logging
import warnings
import weakref
from collections.abc import Callable, Sequence
from itertools import product
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_staligner._errors import InputWarning

if TYPE_CHECKING:
    from numpy.typing import DTypeLike, NDArray

_log = logging.getLogger(__name__)


class StoredPixels:
    """Pixels in an array of zarr; its file is closed once nobody needs them.

    Parameters
    ----------
    array
        The array.
    path
        Its file or folder, for the message.
    store
        What is closed in the end, if anything.
    """

    def __init__(self, array: Any, path: Path, store: Any = None) -> None:
        self._array, self._path, self._said = array, path, False
        self.shape, self.dtype, self.ndim = array.shape, array.dtype, array.ndim
        self.chunks = array.chunks
        if store is not None:
            weakref.finalize(self, store.close)

    def __getitem__(self, index: Any) -> NDArray[Any]:
        return _read(self, index, lambda: np.asarray(self._array[index]))


class PlainPixels:
    """Pixels that lie in a file one after the other, not packed.

    Parameters
    ----------
    path
        The file.
    start
        Where they begin in it, in bytes.
    shape, dtype
        Of all of them.
    """

    def __init__(self, path: Path, start: int, shape: Sequence[int], dtype: DTypeLike) -> None:
        self._path, self._start, self._said = path, start, False
        self.shape, self.dtype, self.ndim = tuple(shape), np.dtype(dtype), len(shape)

    def __getitem__(self, index: Any) -> NDArray[Any]:
        return _read(self, index, lambda: self._piece(index))

    def _piece(self, index: Any) -> NDArray[Any]:
        """Read the box around what is asked for, and take that out of it."""
        asked = [np.arange(n)[part] for n, part in zip(self.shape, index, strict=True)]
        ranges = [range(int(a.min()), int(a.max()) + 1) if a.size else range(0) for a in asked]
        within = [a - r.start for a, r in zip(asked, ranges, strict=True)]
        box = self._rows(ranges)[np.ix_(*map(np.atleast_1d, within))]
        return box.reshape([n for a in asked for n in a.shape])

    def _rows(self, ranges: Sequence[range]) -> NDArray[Any]:
        """Read a box row by row: what lies between the rows is not needed."""
        # From the last axis that is not taken whole, a piece lies in one part of each row.
        inner = max([k for k, r in enumerate(ranges) if len(r) < self.shape[k]], default=0)
        strides = np.cumprod([1, *self.shape[:0:-1]])[::-1]
        count = len(ranges[inner]) * int(strides[inner])
        found = np.empty((*(len(r) for r in ranges[:inner]), count), self.dtype)
        with self._path.open("rb", buffering=0) as file:
            for place in product(*map(enumerate, ranges[:inner])):
                first = sum(at * int(strides[k]) for k, (_, at) in enumerate(place))
                first += ranges[inner].start * int(strides[inner])
                file.seek(self._start + first * self.dtype.itemsize)
                row = np.frombuffer(file.read(count * self.dtype.itemsize), self.dtype)
                found[tuple(number for number, _ in place)] = row
        return found.reshape([len(r) for r in ranges])


def _read(
    pixels: StoredPixels | PlainPixels, index: Any, read: Callable[[], NDArray[Any]]
) -> NDArray[Any]:
    """Read a piece; one that is damaged is empty, and is told of once for each image."""
    try:
        return read()
    except Exception as error:  # any error of tifffile, a codec or zarr
        line = (str(error).strip().splitlines() or [type(error).__name__])[0].rstrip(".")
        _log.info("A piece of %s cannot be read: %s", pixels._path, line)
        if not pixels._said:
            pixels._said = True
            warnings.warn(
                f"A part of the image {pixels._path.name!r} cannot be read ({line}) and is shown "
                "empty: copy or export it again.",
                InputWarning,
                stacklevel=2,
            )
        nothing = np.broadcast_to(np.zeros((), pixels.dtype), pixels.shape)
        return np.array(nothing[index])
