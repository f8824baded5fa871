"""The tissue image of a slice, from squidpy's layout of ``uns["spatial"]``."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from napari_staligner._errors import InputError
from napari_staligner.core.prepare.image_move import IMAGE_MOVED, image_move
from napari_staligner.core.prepare.libraries import factor_of, own_library
from napari_staligner.core.registration.transforms import apply
from napari_staligner.io.scans import Scan, open_scan, strided

if TYPE_CHECKING:
    from anndata import AnnData
    from numpy.typing import NDArray

SCAN, SCAN_MATRIX = "source_image_path", "source_image_matrix"
"""In ``metadata`` of a library: the image at full size, and its place, float64, shape (3, 3): from
(column, row, 1) of its pixels to (x, y, 1) of the spots. Without a place it is not shown."""
RESOLUTIONS = ("hires", "lowres", "fullres")
"""The best first; the last is as large as the coordinates, so it is slow to draw."""
LARGEST = 4
"""A picture that is drawn again where it was moved to is at most so many times as large."""
DEPTHS = (255, 1023, 4095, 16383, 65535)
"""Largest pixel values of 8 to 16 bits."""


class _Found(NamedTuple):
    """Pixels as they are in the file, and the factor from coordinates to pixels."""

    pixels: NDArray[Any]
    factor: float


def tissue_image(adata: AnnData) -> tuple[NDArray[Any], float] | None:
    """Return the best tissue image of a slice and its scale.

    Parameters
    ----------
    adata
        Slice; reads ``uns["spatial"][library]["images"]`` and ``["scalefactors"]`` of its own
        library (see :func:`~napari_staligner.core.prepare.libraries.own_library`).

    Returns
    -------
    Image of shape (height, width, 3 or 4), uint8, and the factor from coordinates of
    ``obsm["spatial"]`` to its pixels; ``None`` if there is no image with a scale factor. One that
    was moved (see :func:`~napari_staligner.core.prepare.image_move.move_image`) is resampled, so
    that the factor alone says where it lies.
    """
    library = own_library(adata)
    if library is None:
        return None
    own = own_image(library[1])
    return None if own is None else resampled(*own, image_move(library[1]))


def own_image(library: Mapping[str, Any]) -> tuple[NDArray[np.uint8], float] | None:
    """The best image of a library as it came, uint8, and its scale; ``None`` without one.

    Parameters
    ----------
    library
        A slice's own part of ``uns["spatial"]``.
    """
    found = _best(library)
    return None if isinstance(found, str) else (as_rgb(found.pixels), found.factor)


def drawn_where_it_lies(library: Mapping[str, Any]) -> dict[str, Any]:
    """Return a library whose images are drawn again where they were moved to.

    Other programs place images by their scale factors alone.

    Parameters
    ----------
    library
        A slice's own part of ``uns["spatial"]``.
    """
    move, made = image_move(library), dict(library)
    if np.array_equal(move, np.eye(3)):
        return made
    images = made.get("images")
    drawn = dict(images) if isinstance(images, Mapping) else {}
    for key in (key for key in RESOLUTIONS if key in drawn):
        found = _best({**made, "images": {key: drawn[key]}})
        if not isinstance(found, str):
            drawn[key] = resampled(as_rgb(found.pixels), found.factor, move)[0]
    metadata = {k: v for k, v in made["metadata"].items() if k != IMAGE_MOVED}
    if metadata.get(SCAN_MATRIX) is not None:
        metadata[SCAN_MATRIX] = move @ np.asarray(metadata[SCAN_MATRIX], np.float64).reshape(3, 3)
    return made | {"images": drawn, "metadata": metadata}


def image_matrix(library: Mapping[str, Any]) -> NDArray[np.float64] | None:
    """Place of the best image of a library; ``None`` if none can be shown.

    Parameters
    ----------
    library
        A slice's own part of ``uns["spatial"]``.

    Returns
    -------
    Float64, shape (3, 3): from (column, row, 1) of its pixels, as they came, to (x, y, 1) of the
    spots.
    """
    found = _best(library)
    if isinstance(found, str):
        return None
    return np.asarray(image_move(library) @ np.diag([1 / found.factor, 1 / found.factor, 1.0]))


def resampled(
    pixels: NDArray[np.uint8], factor: float, move: NDArray[np.float64]
) -> tuple[NDArray[np.uint8], float]:
    """Draw an image again where it was moved to.

    Parameters
    ----------
    pixels
        Shape (height, width, 3 or 4).
    factor
        From coordinates to its pixels before it was moved.
    move
        Float64, shape (3, 3), in coordinates.

    Returns
    -------
    The image from the origin of the coordinates on, as pictures with a scale factor lie, and its
    factor. What is left of or above the origin is lost; the ground has the colour of the border.
    """
    if np.array_equal(move, np.eye(3)):
        return pixels, factor
    from scipy.ndimage import affine_transform

    to_pixels = np.diag([factor, factor, 1.0])
    step = to_pixels @ move @ np.linalg.inv(to_pixels)
    height, width = pixels.shape[:2]
    corners = np.array([(0, 0), (width, 0), (0, height), (width, height)]) - 0.5
    high = np.ceil(apply(step, corners).max(axis=0) + 0.5).astype(int)
    # A picture that was moved far away, or was made larger, does not become a huge one.
    columns, rows = np.clip(high, 1, LARGEST * max(height, width))
    back = np.linalg.inv(step)[[1, 0, 2]][:, [1, 0, 2]]
    border = np.concatenate([pixels[0], pixels[-1], pixels[:, 0], pixels[:, -1]])
    made = np.empty((rows, columns, pixels.shape[2]), dtype=np.uint8)
    for channel, ground in enumerate(np.median(border, axis=0)):
        plane = pixels[..., channel]
        affine_transform(
            plane,
            back,
            output=made[..., channel],
            output_shape=(rows, columns),
            order=1,
            cval=float(ground),
        )
    return made, factor


@dataclass(frozen=True)
class Picture:
    """What is shown under the spots of a slice.

    Parameters
    ----------
    scan
        The image as a pyramid: that of full size where it can be opened, else a small one.
    own
        Its place as it came, float64, shape (3, 3): from (column, row, 1) of the finest level to
        (x, y, 1) of the spots.
    move
        Where it was moved to from there, float64, shape (3, 3).
    """

    scan: Scan
    own: NDArray[np.float64]
    move: NDArray[np.float64] = field(default_factory=lambda: np.eye(3))

    @property
    def matrix(self) -> NDArray[np.float64]:
        """Its place: both together."""
        return self.move @ self.own


def shown_picture(adata: AnnData) -> Picture | None:
    """Return what is shown under the spots of a slice; ``None`` if there is nothing.

    Parameters
    ----------
    adata
        Slice; reads its own library, as :func:`tissue_image` does. If ``metadata`` names an image
        of full size and its place, and the file is still there, it is that, and the small image is
        its coarsest level. Nothing of it is read.
    """
    library = own_library(adata)
    if library is None:
        return None
    found, small, move = scan_of(library[1]), own_image(library[1]), image_move(library[1])
    if found is not None:
        scan, matrix = found
        fits = small is not None and not scan.channels and _fits(small, scan, matrix)
        return Picture(with_overview(scan, small[0]) if small and fits else scan, matrix, move)
    if small is None:
        return None
    place = np.diag([1 / small[1], 1 / small[1], 1.0])
    return Picture(Scan(tuple(strided(small[0]))), place, move)


def read_first_look(adata: AnnData) -> None:
    """Read what :func:`shown_picture` shows from afar, and keep it as long as the file is open.

    Where a file has no small levels, all of it is read once: a window does this in the background.

    Parameters
    ----------
    adata
        The slice.
    """
    picture = shown_picture(adata)
    if picture is not None:
        np.asarray(picture.scan.overview)


def scan_of(library: Mapping[str, Any]) -> tuple[Scan, NDArray[np.float64]] | None:
    """The image of full size of a library, and its place; ``None`` if it cannot be opened.

    Parameters
    ----------
    library
        A slice's own part of ``uns["spatial"]``.
    """
    metadata = library.get("metadata")
    metadata = metadata if isinstance(metadata, Mapping) else {}
    path, matrix = metadata.get(SCAN), metadata.get(SCAN_MATRIX)
    if not path or matrix is None:
        return None
    try:
        matrix = np.asarray(matrix, dtype=np.float64).reshape(3, 3)
        return open_scan(Path(str(path))), matrix
    except (InputError, ValueError, TypeError):
        return None


def gone_scan(library: Mapping[str, Any]) -> str:
    """Path of the image of full size of a library that is not there any more; else empty."""
    metadata = library.get("metadata")
    if not isinstance(metadata, Mapping) or metadata.get(SCAN_MATRIX) is None:
        return ""
    path = str(metadata.get(SCAN, ""))
    return path if path and not Path(path).exists() else ""


def with_overview(scan: Scan, pixels: NDArray[np.uint8]) -> Scan:
    """Take a small picture for the coarsest level of a scan in colours."""
    n = scan.levels[0].shape[2]
    if pixels.shape[2] != n:
        pixels = (
            pixels[..., :3] if n == 3 else np.dstack([pixels, np.full_like(pixels[..., 0], 255)])
        )
    larger = [level for level in scan.levels if max(level.shape[:2]) > max(pixels.shape[:2])]
    return Scan((*larger, *strided(pixels)))


def _fits(small: tuple[NDArray[Any], float], scan: Scan, matrix: NDArray[np.float64]) -> bool:
    """Whether a small picture shows the whole of a scan, which lies straight."""
    scale = float(matrix[0, 0])
    if not np.allclose(matrix, np.diag([scale, scale, 1.0]), atol=1e-9) or scale <= 0:
        return False
    expected = np.array(small[0].shape[:2]) / small[1] / scale
    return bool((np.abs(expected - scan.size) <= np.maximum(2 / small[1] / scale, 1)).all())


def image_problem(adata: AnnData) -> str | None:
    """Say why a slice shows no tissue image, without a full stop; ``None`` if it has one.

    Without a library it returns "none".
    """
    library = own_library(adata)
    if library is None:
        return "none"
    found = _best(library[1])
    return found if isinstance(found, str) else None


def image_place(library: Mapping[str, Any]) -> tuple[int, int, float] | str:
    """Height, width and scale of the best image of a library; or why none can be shown.

    Parameters
    ----------
    library
        A slice's own part of ``uns["spatial"]``.
    """
    found = _best(library)
    if isinstance(found, str):
        return found
    shape = found.pixels.shape
    height, width = shape[1:] if len(shape) == 3 and _axis(found.pixels) == 0 else shape[:2]
    return int(height), int(width), found.factor


def _best(library: Mapping[str, Any]) -> _Found | str:
    """The best image that can be shown, or why there is none."""
    images = library.get("images")
    images = images if isinstance(images, Mapping) else {}
    factors = library.get("scalefactors")
    factors = factors if isinstance(factors, Mapping) else {}
    reasons = []
    for resolution in RESOLUTIONS:
        if images.get(resolution) is None:
            continue
        pixels = np.asarray(images[resolution])
        key = f"tissue_{resolution}_scalef"
        factor = factor_of(library, key)
        if factor is None and resolution == "fullres" and factors.get(key) is None:
            factor = 1.0
        if _axis(pixels) is None:
            reasons.append(
                f"the image {resolution!r} has shape {pixels.shape} and type {pixels.dtype}, "
                "so it is not a picture"
            )
        elif factor is None:
            reasons.append(f"the image {resolution!r} has no scale factor {key!r}")
        else:
            return _Found(pixels, factor)
    others = [str(key) for key in images if key not in RESOLUTIONS]
    if others and not reasons:
        reasons.append(f"the image {others[0]!r} is none of {', '.join(map(repr, RESOLUTIONS))}")
    return "; ".join(reasons) or "none"


def _axis(pixels: NDArray[Any]) -> int | None:
    """Axis of the colours; 2 if there is none yet, ``None`` if this is not a picture."""
    if pixels.dtype.kind not in "buif" or pixels.ndim not in (2, 3) or not pixels.size:
        return None
    if pixels.ndim == 2 or pixels.shape[2] in (1, 3, 4):
        return 2
    return 0 if pixels.shape[0] in (1, 3, 4) else None


def as_rgb(pixels: NDArray[Any]) -> NDArray[np.uint8]:
    """Return a picture as napari shows it.

    Parameters
    ----------
    pixels
        Shape (height, width), or with 1, 3 or 4 colours as the last or the first axis. Floats are
        taken as 0 to 1 if none is larger, else as whole numbers with the bits that the largest
        needs.

    Returns
    -------
    Shape (height, width, 3 or 4), uint8; the same array if it already was.
    """
    if pixels.ndim == 3 and _axis(pixels) == 0:
        pixels = np.moveaxis(pixels, 0, 2)
    pixels = pixels[:, :, None] if pixels.ndim == 2 else pixels
    if pixels.dtype != np.uint8:
        pixels = _in_8_bits(pixels)
    return np.repeat(pixels, 3, axis=2) if pixels.shape[2] == 1 else pixels


def _in_8_bits(pixels: NDArray[Any]) -> NDArray[np.uint8]:
    if pixels.dtype.kind == "b":
        return pixels.astype(np.uint8) * np.uint8(255)
    values = np.nan_to_num(pixels.astype(np.float32), nan=0.0, posinf=0.0, neginf=0.0)
    if values.min() < 0:
        # Centred: from the darkest to the brightest.
        values = values - values.min()
        largest = float(values.max()) or 1.0
    elif pixels.dtype.kind == "f" and values.max() <= 1:
        largest = 1.0
    else:
        high = float(values.max())
        largest = next((float(depth) for depth in DEPTHS if high <= depth), high)
    return np.asarray(np.round(values * (255 / largest)), dtype=np.uint8)
