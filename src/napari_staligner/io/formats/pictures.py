"""The tissue images of Space Ranger and the scale factors that go with them."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_staligner._errors import InputError
from napari_staligner.core.json_text import json_of
from napari_staligner.core.outside import pass_on_memory
from napari_staligner.io.formats.guard import opened

if TYPE_CHECKING:
    from numpy.typing import NDArray

MOST_PIXELS = 100_000_000
"""Space Ranger's larger image has 36 million at most; one with more is the whole scan."""


def read_json(path: Path) -> dict[str, Any]:
    """Read a JSON file that holds an object.

    Raises
    ------
    InputError
        It cannot be read, or holds something else.
    """
    with opened(path) as stream:
        try:
            told = json_of(stream.read())
        except ValueError as error:
            raise InputError(f"{str(path)!r} is no JSON ({error}): copy it again.") from error
    if not isinstance(told, dict):
        raise InputError(f"{str(path)!r} holds no JSON object: copy it again.")
    return told


def read_scalefactors(path: Path) -> dict[str, float]:
    """Read ``scalefactors_json.json``: positive numbers by name.

    Raises
    ------
    InputError
        It cannot be read, or a factor is not a positive number.
    """
    factors = {}
    for name, value in read_json(path).items():
        if isinstance(value, bool) or not isinstance(value, int | float):
            raise InputError(
                f"{str(path)!r}: {name!r} is {value!r}, which is no number: copy the file again."
            )
        if not np.isfinite(value) or value <= 0:
            raise InputError(
                f"{str(path)!r}: {name!r} is {value}, which is no size: copy the file again."
            )
        factors[name] = float(value)
    return factors


def read_image(path: Path) -> NDArray[np.uint8]:
    """Read a small image as colours.

    Returns
    -------
    Shape (height, width, 3 or 4), uint8.

    Raises
    ------
    InputError
        It cannot be read, or is too large to be loaded.
    """
    import imageio.v3 as iio

    with opened(path) as stream:
        data = stream.read()
    name = path.name.removesuffix(".gz")
    try:
        shape = iio.improps(data, extension=Path(name).suffix).shape
        if int(np.prod(shape[:2])) > MOST_PIXELS:
            raise InputError(
                f"{str(path)!r} has {shape[1]:,} × {shape[0]:,} pixels, too many to be loaded: put "
                "the small image of Space Ranger there."
            )
        pixels = np.asarray(iio.imread(data, extension=Path(name).suffix))
    except InputError:
        raise
    except Exception as error:  # each plugin of imageio raises the errors of its own library
        pass_on_memory(error)
        raise InputError(
            f"{str(path)!r} cannot be read as an image ({type(error).__name__}): copy it again, or "
            "take it away to go without."
        ) from error
    return _colours(pixels, path)


def _colours(pixels: NDArray[Any], path: Path) -> NDArray[np.uint8]:
    if pixels.dtype != np.uint8:
        top = float(pixels.max()) or 1.0
        pixels = np.round(pixels.astype(np.float32) * (255 / top)).astype(np.uint8)
    if pixels.ndim == 3 and pixels.shape[2] in (1, 2):
        pixels = pixels[..., 0]
    if pixels.ndim == 2:
        pixels = np.stack([pixels] * 3, axis=-1)
    if pixels.ndim != 3 or pixels.shape[2] not in (3, 4):
        raise InputError(
            f"{str(path)!r} has the shape {pixels.shape}, so it is no colour image: take it away, "
            "or put the image of Space Ranger there."
        )
    return pixels
