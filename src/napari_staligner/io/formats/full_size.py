"""The image at full size that lies beside a sample: it is checked, named, and read when shown."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from napari_staligner._errors import InputError
from napari_staligner.io.images import SCAN, SCAN_MATRIX
from napari_staligner.io.scans import open_scan, picture_of

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from napari_staligner.io.scans import Scan

SMALL = 2048
"""Most pixels on the longer side of the small image that is made of one at full size."""
SAME_SIZE = 0.01
"""By what share an image at full size may differ from what the small one tells of its size."""


class _Library(Protocol):
    images: dict[str, Any]
    scalefactors: dict[str, float]
    metadata: dict[str, Any]


def add_full_size(
    library: _Library, path: Path, matrix: NDArray[np.float64], xy: NDArray[np.float64]
) -> list[str]:
    """Add the image at full size to a library, if it is of this sample.

    Parameters
    ----------
    library
        Gets the path and the place of the image in ``metadata``; and a small image of it, if it
        has none.
    path
        The image.
    matrix
        Its place, shape (3, 3): from (column, row, 1) of its pixels to (x, y, 1) of the spots.
    xy
        Coordinates of the spots, shape (spots, 2).

    Returns
    -------
    Notes: how it is shown, or why it is not; without a full stop.
    """
    library.metadata[SCAN] = str(path.resolve())
    try:
        scan = open_scan(path)
        why = _not_of_it(library, scan, matrix, xy)
        if why is None and not library.images:
            _add_small(library, scan, matrix)
    except (InputError, OSError, ValueError) as error:
        why = str(error).rstrip(".")
    if why is not None:
        return [f"the image at full size {path.name!r} is not shown: {why}"]
    library.metadata[SCAN_MATRIX] = np.asarray(matrix, dtype=np.float64)
    height, width = scan.size
    what = f"channels {', '.join(scan.channels)}" if scan.channels else "in colours"
    return [f"{path.name!r} is shown from the disk: {width:,} × {height:,} pixels, {what}"]


def _not_of_it(
    library: _Library, scan: Scan, matrix: NDArray[np.float64], xy: NDArray[np.float64]
) -> str | None:
    """Why an image cannot be that of a sample; ``None`` if it can."""
    height, width = scan.size
    for role, image in library.images.items():
        expected = np.array(image.shape[:2]) / library.scalefactors[f"tissue_{role}_scalef"]
        if (np.abs(expected / scan.size - 1) > SAME_SIZE).any():
            return (
                f"it has {width:,} × {height:,} pixels, where the image {role} tells of "
                f"{expected[1]:,.0f} × {expected[0]:,.0f}, so it is another one"
            )
        return None
    back = np.linalg.inv(matrix)
    at = xy @ back[:2, :2].T + back[:2, 2]
    off = int((~((at >= 0) & (at <= (width, height))).all(axis=1)).sum())
    if 2 * off > len(xy):
        return f"{off:,} of {len(xy):,} spots lie outside of it"
    return None


def _add_small(library: _Library, scan: Scan, matrix: NDArray[np.float64]) -> None:
    """Make the small image that exports and reports show."""
    pixels = picture_of(scan)
    shrink = pixels.shape[1] / scan.size[1]
    scale = float(np.sqrt(abs(np.linalg.det(matrix[:2, :2]))))
    if np.allclose(matrix, np.diag([scale, scale, 1.0]), atol=1e-9 * scale):
        step = -(-max(pixels.shape[:2]) // SMALL)
        small, factor = pixels[::step, ::step].copy(), shrink / step / scale
    else:
        drawn = _straightened(pixels, matrix @ np.diag([1 / shrink, 1 / shrink, 1.0]))
        if drawn is None:
            return
        small, factor = drawn
    library.images["hires"], library.scalefactors["tissue_hires_scalef"] = small, factor


def _straightened(
    pixels: NDArray[np.uint8], matrix: NDArray[np.float64]
) -> tuple[NDArray[np.uint8], float] | None:
    """Draw a picture anew so that its first pixel lies at the origin of the coordinates.

    ``None`` where it lies at negative coordinates, which squidpy's layout cannot tell.
    """
    from scipy.ndimage import affine_transform

    height, width = pixels.shape[:2]
    corners = np.array([[0, 0, 1], [width, 0, 1], [0, height, 1], [width, height, 1]]) @ matrix.T
    extent = corners[:, :2].max(axis=0)
    if (extent <= 0).any():
        return None
    factor = float(SMALL / extent.max())
    columns, rows = np.maximum(1, np.ceil(extent * factor)).astype(int)
    back = np.linalg.inv(matrix) @ np.diag([1 / factor, 1 / factor, 1.0])
    order = [1, 0, 2]
    back = back[np.ix_(order, order)]
    planes = [
        affine_transform(plane, back, output_shape=(rows, columns), order=1)
        for plane in np.moveaxis(pixels, 2, 0)
    ]
    return np.stack(planes, axis=2), factor
