"""Tissue images in the common frame, as pyramids of OME-TIFF."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Generator, Iterator
from contextlib import closing
from itertools import islice
from pathlib import Path
from queue import Empty, Full, Queue
from threading import Thread
from typing import TYPE_CHECKING, Any

from napari_staligner import _keys as K
from napari_staligner.core.progress import Progress, finish
from napari_staligner.io.aligned import aligned_image, canvas_of
from napari_staligner.io.export.parts import counted, file_names, rows_by_slice

if TYPE_CHECKING:
    from anndata import AnnData
    from numpy.typing import NDArray

    from napari_staligner.core.progress import Steps
    from napari_staligner.io.aligned import AlignedImage, FramePixels

TILE = 512
SMALLEST = 512
"""A level of the pyramid is not longer than this, the last."""
FRAME = "frame.json"
_QUEUED = 4
_WAIT = 0.2


def image_steps(adata: AnnData, draft: Path, pixel: float | None = None) -> Steps[str]:
    """Write the tissue image of each slice in the common frame as ``<slice>.ome.tif``.

    All images have the same pixels, so that they lie on each other in any viewer. They are written
    tile by tile, and so are the smaller levels: no image is ever in memory as a whole. Where a
    slice is bent, its image is bent as its spots are. ``frame.json`` says where the pixels are in
    ``obsm["spatial_aligned"]``.

    Parameters
    ----------
    adata
        Integrated and registered slices.
    draft
        The folder.
    pixel
        Size of a pixel in units of the frame; by default the smallest that an image has.

    Raises
    ------
    InputError
        The slices are not registered, or none has an image.
    """
    names = list(rows_by_slice(adata))
    found = {name: aligned_image(adata, name) for name in names}
    images = {name: image for name, image in found.items() if image is not None}
    canvas = canvas_of(adata, images, pixel)
    levels = pyramid(canvas)
    tiles = {
        name: sum(len(_corners(level)) for level in levels) * (len(image.channels) or 1)
        for name, image in images.items()
    }
    done, total, files = 0, sum(tiles.values()), file_names(images)
    for name in names:
        if name not in images:
            note = f"Slice {name!r} has no tissue image, so none is written."
            yield Progress("images", done, total, note=note)
    for name, image in images.items():
        path = draft / f"{files[name]}.ome.tif"
        # Closed at once if the export is cancelled: its thread still writes into the folder.
        with closing(written_image(image, levels, path, name)) as written:
            for tile in written:
                yield Progress(f"image of {name}", done + tile, total)
        done += tiles[name]
    (draft / FRAME).write_text(_frame(canvas, files, images), encoding="utf-8")
    return f"Aligned images of {counted(images)}"


def write_aligned_images(
    adata: AnnData,
    path: str | os.PathLike[str],
    *,
    pixel: float | None = None,
    overwrite: bool = False,
    on_progress: Callable[[Progress], object] | None = None,
) -> Path:
    """Write the tissue images of registered slices in their common frame, as OME-TIFF.

    Parameters
    ----------
    adata
        Integrated and registered slices with tissue images in ``uns["spatial"]``.
    path
        Folder to make: ``<slice>.ome.tif``, a pyramid with µm per pixel where that is known, and
        ``frame.json``, which says where the pixels are in ``obsm["spatial_aligned"]``.
    pixel
        Size of a pixel in units of the frame; by default the smallest that an image has.
    overwrite
        Whether a folder that was exported before may be replaced.
    on_progress
        Called with each :class:`~napari_staligner.core.progress.Progress`.

    Returns
    -------
    The path.

    Raises
    ------
    InputError
        The slices are not registered, none has an image, or the folder cannot be written.
    """
    from napari_staligner.io.export.targets import export_steps

    path = Path(path)
    options = {} if pixel is None else {"pixel": pixel}
    finish(export_steps(adata, "images", path, overwrite=overwrite, **options), on_progress)
    return path


def pyramid(canvas: FramePixels) -> list[FramePixels]:
    """Return a canvas and smaller ones, each half of the one before."""
    levels = [canvas]
    while max(levels[-1].height, levels[-1].width) > SMALLEST:
        levels.append(canvas.halved(len(levels)))
    return levels


def written_image(
    image: AlignedImage, levels: list[FramePixels], path: Path, name: str
) -> Generator[int]:
    """Write an image as a pyramid of OME-TIFF; yields after each tile how many are done.

    Parameters
    ----------
    image
        The image.
    levels
        Its pixels, the finest first.
    path
        The file.
    name
        Of the image, in the file.
    """
    import tifffile

    def write(tiles: Iterator[NDArray[Any]]) -> None:
        planes = image.channels or ("",)
        look = "minisblack" if image.channels else "rgb"
        with tifffile.TiffWriter(path, bigtiff=True, ome=True) as file:
            for number, level in enumerate(levels):
                size = level.height, level.width
                count = len(_corners(level)) * len(planes)
                file.write(
                    islice(tiles, count),
                    shape=(len(planes), *size) if image.channels else (*size, 3),
                    dtype=image.dtype,
                    tile=(TILE, TILE),
                    photometric=look,
                    compression="zlib",
                    maxworkers=1,
                    **_told(image, level, name, len(levels) - 1, first=number == 0),
                )

    yield from _fed(write, _tiles(image, levels))


def _told(
    image: AlignedImage, level: FramePixels, name: str, below: int, *, first: bool
) -> dict[str, Any]:
    """What a level says of itself."""
    microns = level.microns
    # Pixels per centimetre; a viewer that knows no OME reads it.
    size = {} if microns is None else {"resolution": (1e4 / microns,) * 2, "resolutionunit": 3}
    if not first:
        return {"subfiletype": 1, "metadata": None, **size}
    told: dict[str, Any] = {"axes": "CYX" if image.channels else "YXS", "Name": name}
    if image.channels:
        told["Channel"] = {"Name": list(image.channels)}
    if microns is not None:
        told |= {"PhysicalSizeX": microns, "PhysicalSizeXUnit": "µm"}
        told |= {"PhysicalSizeY": microns, "PhysicalSizeYUnit": "µm"}
    return {"subifds": below, "metadata": told, **size}


def _corners(canvas: FramePixels) -> list[tuple[int, int]]:
    """First row and column of each tile, in the order of a TIFF."""
    return [
        (row, column)
        for row in range(0, canvas.height, TILE)
        for column in range(0, canvas.width, TILE)
    ]


def _tiles(image: AlignedImage, levels: list[FramePixels]) -> Iterator[NDArray[Any]]:
    for level in levels:
        # A TIFF has its planes one after the other.
        for plane in range(len(image.channels) or 1):
            for row, column in _corners(level):
                rows, columns = slice(row, row + TILE), slice(column, column + TILE)
                yield image.piece(level, rows, columns, plane)


def _frame(canvas: FramePixels, files: dict[str, str], images: dict[str, AlignedImage]) -> str:
    """Where the pixels are."""
    told = {
        "coordinates": f"obsm[{K.SPATIAL_ALIGNED!r}]",
        "origin": canvas.origin,
        "units_per_pixel": canvas.pixel,
        "microns_per_pixel": canvas.microns,
        "images": {
            name: {"file": f"{files[name]}.ome.tif", "bent": images[name].deformation.bends}
            for name in images
        },
    }
    return json.dumps(told, indent=2, ensure_ascii=False) + "\n"


class _Stopped(Exception):
    """The work was cancelled."""


def _fed(
    write: Callable[[Iterator[NDArray[Any]]], None], pieces: Iterator[NDArray[Any]]
) -> Iterator[int]:
    """Let something that asks for its pieces work in a thread, and pause after each piece.

    tifffile takes the tiles of a level in one call. Here, they are made between two pauses, at each
    of which the whole may be cancelled.
    """
    queue: Queue[Any] = Queue(_QUEUED)
    failed: list[BaseException] = []

    def asked() -> Iterator[NDArray[Any]]:
        while True:
            piece = queue.get()
            if piece is _Stopped:
                raise _Stopped
            yield piece

    def work() -> None:
        try:
            write(asked())
        except BaseException as error:
            failed.append(error)

    thread = Thread(target=work, name="writing an image", daemon=True)
    thread.start()
    finished = False
    try:
        for number, piece in enumerate(pieces, 1):
            if not _put(queue, piece, thread):
                break
            yield number
        finished = True
    finally:
        if not finished:
            _empty(queue)
            _put(queue, _Stopped, thread)
        thread.join()
    if failed:
        raise failed[0]


def _put(queue: Queue[Any], piece: Any, thread: Thread) -> bool:
    """Hand a piece on; says whether anybody takes it."""
    while thread.is_alive():
        try:
            queue.put(piece, timeout=_WAIT)
        except Full:
            continue
        return True
    return False


def _empty(queue: Queue[Any]) -> None:
    while True:
        try:
            queue.get_nowait()
        except Empty:
            return
