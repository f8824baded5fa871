"""The tissue image of a slice, from squidpy's layout of ``uns["spatial"]``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from napari_staligner import _keys as K

if TYPE_CHECKING:
    from anndata import AnnData
    from numpy.typing import NDArray

RESOLUTIONS = ("hires", "lowres")


def tissue_image(adata: AnnData) -> tuple[NDArray[Any], float] | None:
    """Return the best tissue image of a slice and its scale.

    Parameters
    ----------
    adata
        Slice; reads ``uns["spatial"][library]["images"]`` and ``["scalefactors"]``.

    Returns
    -------
    Image of shape (height, width, 3 or 4) and the factor that takes coordinates of
    ``obsm["spatial"]`` to its pixels; ``None`` where there is no image with a scale factor.
    """
    libraries = adata.uns.get(K.SPATIAL, {})
    for library in libraries.values() if hasattr(libraries, "values") else ():
        if not hasattr(library, "get"):
            continue
        images, factors = library.get("images") or {}, library.get("scalefactors") or {}
        for resolution in RESOLUTIONS:
            image = images.get(resolution)
            factor = factors.get(f"tissue_{resolution}_scalef")
            if image is None or factor is None:
                continue
            pixels = np.asarray(image)
            if pixels.ndim == 3 and pixels.shape[2] in (3, 4) and float(factor) > 0:
                return pixels, float(factor)
    return None
