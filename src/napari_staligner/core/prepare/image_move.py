"""Where the tissue image of a slice was moved to, alone, because its spots do not lie on it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_staligner import _keys as K
from napari_staligner._errors import InputError
from napari_staligner.core.prepare.libraries import UNNAMED, libraries_of_result, own_library

if TYPE_CHECKING:
    from anndata import AnnData

    from napari_staligner.core.registration.transforms import Matrix

IMAGE_MOVED = "image_moved"
"""In ``metadata`` of a library: float64, shape (3, 3), from (x, y, 1) where the image lies by its
scale factor to (x, y, 1) where it was moved to, both in coordinates of the spots. The images
themselves stay as they came."""


def image_move(library: Mapping[str, Any]) -> Matrix:
    """Where the image of a library was moved to; the identity if it was not.

    Parameters
    ----------
    library
        A slice's own part of ``uns["spatial"]``.

    Returns
    -------
    Float64, shape (3, 3), in coordinates of the spots; a value of another kind counts as none.
    """
    metadata = library.get("metadata")
    kept = metadata.get(IMAGE_MOVED) if isinstance(metadata, Mapping) else None
    if kept is None:
        return np.eye(3)
    try:
        return checked_move(np.asarray(kept, dtype=np.float64))
    except (InputError, TypeError, ValueError):
        return np.eye(3)


def move_image(adata: AnnData, matrix: Matrix, name: str = "") -> None:
    """Move the tissue image of a slice, and leave its spots where they are.

    Pictures, exports and the aligned images follow it. Nothing is resampled: the matrix is kept
    beside the image.

    Parameters
    ----------
    adata
        A slice, or integrated slices; ``uns["spatial"][library]["metadata"]["image_moved"]`` is
        written, and nothing else.
    matrix
        Float64, shape (3, 3): from (x, y, 1) where the image lies by its scale factor to (x, y, 1)
        where it belongs, in coordinates of the spots. The identity puts it back.
    name
        Of one of integrated slices; empty for a slice on its own.

    Raises
    ------
    InputError
        The slice has no library of its own in ``uns["spatial"]``, or the matrix is of another shape
        or cannot be inverted.
    """
    matrix = checked_move(np.asarray(matrix, dtype=np.float64))
    spatial, libraries = adata.uns.get(K.SPATIAL), _libraries(adata, name)
    if not libraries:
        raise InputError(
            f"{f'Slice {name!r}' if name else 'The slice'} has no tissue image of its own in "
            "uns['spatial'], so there is nothing to move."
        )
    made = {}
    for key, library in libraries.items():
        metadata = library.get("metadata")
        told = {**metadata} if isinstance(metadata, Mapping) else {}
        told.pop(IMAGE_MOVED, None)
        if not np.array_equal(matrix, np.eye(3)):
            told[IMAGE_MOVED] = matrix
        # New dictionaries: the slice may share these with other tables.
        made[key] = {**library, "metadata": told}
    nameless = any(library is spatial for library in libraries.values())
    adata.uns[K.SPATIAL] = made[UNNAMED] if nameless else {**spatial, **made}


def moved_images(adata: AnnData, name: str = "") -> Matrix | None:
    """Where the tissue image of a slice was moved to; ``None`` if it has no library.

    Parameters
    ----------
    adata, name
        As in :func:`move_image`.

    Returns
    -------
    Float64, shape (3, 3); the identity if it was not moved.
    """
    libraries = _libraries(adata, name)
    return next((image_move(library) for library in libraries.values()), None)


def _libraries(adata: AnnData, name: str) -> dict[str, Mapping[str, Any]]:
    """The libraries of a slice, or of one of integrated slices."""
    if name:
        return libraries_of_result(adata, name)
    own = own_library(adata)
    return {} if own is None else {own[0]: own[1]}


def checked_move(matrix: Matrix) -> Matrix:
    """Return a matrix that moves an image, if it is one.

    Raises
    ------
    InputError
        It has another shape, is not finite, is no affine transform, or cannot be inverted.
    """
    affine = matrix.shape == (3, 3) and np.isfinite(matrix).all()
    if not affine or not np.allclose(matrix[2], (0, 0, 1)) or not np.linalg.det(matrix[:2, :2]):
        raise InputError(
            "An image is moved by a matrix of shape (3, 3) with finite values, whose last row is "
            "0, 0, 1 and which can be inverted."
        )
    return matrix
