"""Tissue images in the common frame, a piece at a time: transformed, and bent as the spots are."""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass
from threading import Lock
from typing import TYPE_CHECKING, Any

import numpy as np
from scipy.ndimage import map_coordinates

from napari_staligner import _keys as K
from napari_staligner._errors import InputError
from napari_staligner.core.annotations.regions import microns_per_unit
from napari_staligner.core.prepare.libraries import libraries_of_result
from napari_staligner.core.registration.deformation import deformation_of
from napari_staligner.core.registration.transforms import apply, inverse, scale_of
from napari_staligner.core.result.access import record_of
from napari_staligner.io.images import shown_picture

if TYPE_CHECKING:
    from collections.abc import Mapping

    from anndata import AnnData
    from numpy.typing import NDArray

    from napari_staligner.core.registration.deformation import Deformation, DisplacementField
    from napari_staligner.core.registration.transforms import Matrix
    from napari_staligner.io.scans import Scan

REMEMBERED = 1 << 28
"""Bytes of pieces of a file that are kept, as neighbouring tiles need the same ones."""
WHITE = 255
"""Where an image in colours has no pixel; channels of fluorescence have 0 there."""


@dataclass(frozen=True)
class FramePixels:
    """The pixels that all aligned images share.

    Parameters
    ----------
    origin
        Place (x, y) of the middle of the first pixel in the frame, that is in
        ``obsm["spatial_aligned"]``.
    pixel
        Size of a pixel in units of the frame.
    height, width
        In pixels.
    microns
        µm per pixel; ``None`` where it is not known.
    """

    origin: tuple[float, float]
    pixel: float
    height: int
    width: int
    microns: float | None = None

    def halved(self, times: int) -> FramePixels:
        """The same place with pixels that are 2, 4, … times as large."""
        factor = 2**times
        x, y = (each + (factor - 1) / 2 * self.pixel for each in self.origin)
        height, width = (max(1, -(-side // factor)) for side in (self.height, self.width))
        microns = None if self.microns is None else self.microns * factor
        return FramePixels((x, y), self.pixel * factor, height, width, microns)


class AlignedImage:
    """The tissue image of one slice in the common frame; nothing is read before a piece is asked.

    Parameters
    ----------
    scan
        The image as a pyramid.
    matrix
        Its place: from (column, row, 1) of the finest level to (x, y, 1) of the spots.
    deformation
        From there to the frame.
    """

    def __init__(self, scan: Scan, matrix: Matrix, deformation: Deformation) -> None:
        self.scan, self.matrix, self.deformation = scan, matrix, deformation
        self._back: DisplacementField | None = None
        self._pieces = _Pieces()

    @property
    def channels(self) -> tuple[str, ...]:
        """Names of the channels; empty for an image in colours."""
        return self.scan.channels

    @property
    def dtype(self) -> np.dtype[Any]:
        """Type of the pixels."""
        return np.dtype(self.scan.levels[0].dtype)

    @property
    def pixel(self) -> float:
        """Size of its finest pixels in the frame."""
        return scale_of(self.deformation.matrix @ self.matrix)

    def corners(self) -> NDArray[np.float64]:
        """Places (x, y) of its corners in the frame, shape (4, 2)."""
        height, width = self.scan.size
        ends = np.array([(x, y) for x in (-0.5, width - 0.5) for y in (-0.5, height - 0.5)])
        return self.deformation.forward(apply(self.matrix, ends))

    def piece(
        self, canvas: FramePixels, rows: slice, columns: slice, channel: int = 0
    ) -> NDArray[Any]:
        """Pixels of a part of a canvas.

        Parameters
        ----------
        canvas
            The pixels of the frame.
        rows, columns
            Which of them; those beyond its end are filled, too.
        channel
            Which channel, of an image that is not in colours.

        Returns
        -------
        Shape (rows, columns, 3) for colours, else (rows, columns).
        """
        shape = rows.stop - rows.start, columns.stop - columns.start
        x = canvas.origin[0] + canvas.pixel * np.arange(columns.start, columns.stop)
        y = canvas.origin[1] + canvas.pixel * np.arange(rows.start, rows.stop)
        places = np.stack(np.meshgrid(x, y), axis=-1).reshape(-1, 2)
        at, level = self._found(places, canvas.pixel)
        planes = 1 if self.channels else 3
        made = np.full((planes, len(at)), 0 if self.channels else WHITE, self.dtype)
        size = np.array(_size(self.scan, level)[::-1])
        # NaN is not inside.
        known = np.asarray(((at >= -0.5) & (at <= size - 0.5)).all(axis=1))
        if known.any():
            self._fill(made, np.clip(at[known], 0, size - 1), known, (level, channel))
        return made.reshape(shape) if self.channels else made.T.reshape(*shape, 3)

    def _found(self, places: NDArray[np.float64], pixel: float) -> tuple[NDArray[np.float64], int]:
        """Where places of the frame are in the level to read: (column, row), shape (n, 2)."""
        laid = places
        if self.deformation.bends:
            if self._back is None:
                self._back = self.deformation.field(backward=True)
            laid = places + self._back.at(places)
        at = apply(inverse(self.deformation.matrix @ self.matrix), laid)
        factors = [self.scan.size[1] / _size(self.scan, k)[1] for k in range(len(self.scan.levels))]
        fitting = [k for k, f in enumerate(factors) if f * self.pixel <= 1.01 * pixel]
        level = max(fitting, default=0)
        return (at + 0.5) / factors[level] - 0.5, level

    def _fill(
        self,
        made: NDArray[Any],
        at: NDArray[np.float64],
        known: NDArray[np.bool_],
        key: tuple[int, int],
    ) -> None:
        """Interpolate the pixels at some places; shape (planes, places) is filled in place."""
        low = np.floor(at.min(axis=0)).astype(int)
        high = np.ceil(at.max(axis=0)).astype(int) + 1
        level, channel = key
        array = self.scan.levels[level]
        array = array[channel] if self.channels else array
        region = self._pieces.region(array, key, slice(low[1], high[1]), slice(low[0], high[0]))
        index = (at - low)[:, ::-1].T
        planes = region[None] if self.channels else np.moveaxis(region, 2, 0)
        for plane, values in zip(planes[: len(made)], made, strict=True):
            if len(planes) == 4:
                plane = np.where(planes[3] > 0, plane, WHITE).astype(plane.dtype)
            values[known] = map_coordinates(plane, index, order=1, mode="nearest")


class _Pieces:
    """Parts of lazy arrays, of which those read last stay in memory."""

    def __init__(self) -> None:
        self._kept: OrderedDict[tuple[int, ...], NDArray[Any]] = OrderedDict()
        self._lock = Lock()

    def region(self, array: Any, key: tuple[int, ...], rows: slice, columns: slice) -> NDArray[Any]:
        """Read part of an array, shape (height, width, …), which is known by a key."""
        if isinstance(array, np.ndarray):
            return array[rows, columns]
        found = []
        for i, part in _overlapping(array.chunks[0], rows):
            strip = []
            for j, other in _overlapping(array.chunks[1], columns):
                with self._lock:
                    strip.append(self._block(array, (*key, i, j))[part, other])
            found.append(np.concatenate(strip, axis=1))
        return np.concatenate(found, axis=0)

    def _block(self, array: Any, key: tuple[int, ...]) -> NDArray[Any]:
        if key not in self._kept:
            # In this thread: whoever asks runs in the background already.
            block = array.blocks[key[-2], key[-1]].compute(scheduler="synchronous")
            self._kept[key] = np.asarray(block)
            while len(self._kept) > 1 and self._size() > REMEMBERED:
                self._kept.popitem(last=False)
        self._kept.move_to_end(key)
        return self._kept[key]

    def _size(self) -> int:
        return sum(block.nbytes for block in self._kept.values())


def _overlapping(chunks: tuple[int, ...], wanted: slice) -> list[tuple[int, slice]]:
    """Numbers of the chunks that a range meets, and which part of each it meets."""
    found, start = [], 0
    for number, length in enumerate(chunks):
        low, high = max(wanted.start - start, 0), min(wanted.stop - start, length)
        if low < high:
            found.append((number, slice(low, high)))
        start += length
    return found


def _size(scan: Scan, level: int) -> tuple[int, int]:
    shape = scan.levels[level].shape
    height, width = shape[-2:] if scan.channels else shape[:2]
    return int(height), int(width)


def aligned_image(adata: AnnData, name: str) -> AlignedImage | None:
    """Return the tissue image of a slice in the common frame; ``None`` if it has no image.

    Parameters
    ----------
    adata
        Integrated and registered slices.
    name
        Of the slice.

    Raises
    ------
    InputError
        The slices are not registered.
    """
    from anndata import AnnData

    picture = shown_picture(
        AnnData(shape=(0, 0), uns={K.SPATIAL: libraries_of_result(adata, name)})
    )
    found = deformation_of(adata, name)
    return None if picture is None else AlignedImage(picture.scan, picture.matrix, found)


def canvas_of(
    adata: AnnData, images: Mapping[str, AlignedImage], pixel: float | None = None
) -> FramePixels:
    """Return pixels that hold all images of slices in the common frame.

    Parameters
    ----------
    adata
        Integrated and registered slices.
    images
        By slice.
    pixel
        Size of a pixel in units of the frame; by default the smallest that an image has.

    Raises
    ------
    InputError
        There is no image.
    """
    if not images:
        raise InputError(
            "No slice of this result has a tissue image: load the slices with their images first."
        )
    pixel = min(image.pixel for image in images.values()) if pixel is None else pixel
    corners = np.concatenate([image.corners() for image in images.values()])
    low, high = corners.min(axis=0), corners.max(axis=0)
    width, height = np.maximum(np.ceil((high - low) / pixel - 1e-6).astype(int), 1)
    unit = _microns(adata)
    x, y = low + pixel / 2
    microns = None if unit is None else unit * pixel
    return FramePixels((float(x), float(y)), float(pixel), int(height), int(width), microns)


def _microns(adata: AnnData) -> float | None:
    """µm per unit of the frame, which is that of the reference; ``None`` if it is not known."""
    record = record_of(adata)
    reference = str(record.get("registration", {}).get("reference", ""))
    names = [str(name) for name in adata.obs[K.SLICE].cat.categories]
    name = reference if reference in names else names[0]
    part = adata[(adata.obs[K.SLICE] == name).to_numpy()]
    told = microns_per_unit(part, libraries_of_result(adata, name))
    return None if told is None else told[0]
