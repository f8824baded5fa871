"""Spots and images of bent slices for SpatialData, whose own transformations are affine."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from napari_staligner.core.registration.deformation import deformation_of
from napari_staligner.core.result.access import spot_size, spots_xy
from napari_staligner.io.aligned import aligned_image, canvas_of
from napari_staligner.io.annotations.spatialdata import ALIGNED
from napari_staligner.io.export.images import SMALLEST, TILE

if TYPE_CHECKING:
    from collections.abc import Mapping

    from anndata import AnnData
    from numpy.typing import NDArray

    from napari_staligner.io.aligned import AlignedImage, FramePixels

BENT = "aligned_bent"
"""Name of the coordinate system in which slices lie as they are bent."""
_LARGEST = 4 * SMALLEST
"""An image with a longer side gets smaller levels."""


def bent_slices(adata: AnnData, rows: Mapping[str, NDArray[np.intp]]) -> list[str]:
    """Names of the slices that are bent in the common frame, of a registered result."""
    from napari_staligner import _keys as K
    from napari_staligner.core.result.access import record_of

    placed = record_of(adata).get("transforms", {})
    if K.SPATIAL_ALIGNED not in adata.obsm:
        return []
    return [name for name in rows if name in placed and deformation_of(adata, name).bends]


def bent_elements(adata: AnnData, name: str, key: str, rows: NDArray[np.intp]) -> dict[str, Any]:
    """Return spots and image of a bent slice, in the system ``"aligned_bent"``.

    Parameters
    ----------
    adata
        Integrated and registered slices.
    name, key
        Of the slice, and of its elements.
    rows
        Its rows.

    Returns
    -------
    By name: circles (``…_spots_bent``), and the image (``…_image_bent``) if there is one, whose
    pixels are made when they are read, piece by piece.
    """
    from spatialdata.models import ShapesModel
    from spatialdata.transformations import Identity

    xy = deformation_of(adata, name).forward(spots_xy(adata)[rows])
    spots = ShapesModel.parse(
        xy,
        geometry=0,
        radius=spot_size(xy) / 2,
        index=np.arange(len(rows)),
        transformations={BENT: Identity()},
    )
    image = aligned_image(adata, name)
    elements: dict[str, Any] = {f"{key}_spots_bent": spots}
    if image is not None:
        elements[f"{key}_image_bent"] = _image(image, canvas_of(adata, {name: image}))
    return elements


def _image(image: AlignedImage, canvas: FramePixels) -> Any:
    from spatialdata.models import Image2DModel
    from spatialdata.transformations import Scale, Sequence, Translation

    axes = ("x", "y")
    pixel, origin = canvas.pixel, np.array(canvas.origin)
    place = Sequence(
        [
            # SpatialData counts from the corner of the first pixel.
            Scale([pixel, pixel], axes=axes),
            Translation(origin - pixel / 2, axes=axes),
        ]
    )
    halvings = max(0, int(np.ceil(np.log2(max(canvas.height, canvas.width) / _LARGEST))))
    return Image2DModel.parse(
        lazy_pixels(image, canvas),
        dims=("c", "y", "x"),
        c_coords=list(image.channels) or ["r", "g", "b"],
        transformations={BENT: place},
        scale_factors=[2] * halvings or None,
    )


def lazy_pixels(image: AlignedImage, canvas: FramePixels) -> Any:
    """Return the pixels of a canvas as an array of dask, shape (channels, height, width)."""
    import dask.array as da

    side = 4 * TILE
    rows, columns = (
        tuple(min(side, n - start) for start in range(0, n, side))
        for n in (canvas.height, canvas.width)
    )
    planes = (1,) * len(image.channels) if image.channels else (3,)

    def piece(block_info: Any = None) -> NDArray[Any]:
        channel, down, across = (slice(*ends) for ends in block_info[None]["array-location"])
        made = image.piece(canvas, down, across, channel.start)
        return made[None] if image.channels else np.moveaxis(made, 2, 0)

    return da.map_blocks(
        piece,
        chunks=(planes, rows, columns),
        dtype=image.dtype,
        meta=np.empty((0, 0, 0), image.dtype),
    )


def place_unbent(elements: Mapping[str, Any]) -> None:
    """Give elements of a slice that is not bent their place in ``"aligned_bent"``, too."""
    from spatialdata.transformations import get_transformation, set_transformation

    for element in elements.values():
        known = get_transformation(element, get_all=True)
        if ALIGNED in known:
            set_transformation(element, known[ALIGNED], BENT)
