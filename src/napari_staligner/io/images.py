"""The tissue image of a slice, from squidpy's layout of ``uns["spatial"]``."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from napari_staligner.core.prepare.libraries import factor_of, own_library

if TYPE_CHECKING:
    from anndata import AnnData
    from numpy.typing import NDArray

RESOLUTIONS = ("hires", "lowres", "fullres")
"""The best first; the last is as large as the coordinates, so it is slow to draw."""
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
    ``obsm["spatial"]`` to its pixels; ``None`` if there is no image with a scale factor.
    """
    library = own_library(adata)
    if library is None:
        return None
    found = _best(library[1])
    return None if isinstance(found, str) else (as_rgb(found.pixels), found.factor)


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
