"""The stain under the spots of slices, which tells how they lie where their embeddings do not."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_staligner import _keys as K
from napari_staligner.core.prepare.image_move import image_move
from napari_staligner.core.prepare.libraries import factor_of, libraries_of_result, own_library
from napari_staligner.core.registration.transforms import apply, inverse
from napari_staligner.core.result.access import spot_size, spots_xy

if TYPE_CHECKING:
    from anndata import AnnData
    from numpy.typing import NDArray

SMALLEST_FIRST = ("lowres", "hires", "fullres")
"""Images of a library: a spot is some pixels wide in any of them."""
LEAST_RADIUS = 1.5
"""Of a spot, in pixels, for which a smaller image is enough."""
ACROSS = 9
"""Most pixels across a spot that are looked at."""
LEAST_INSIDE = 0.9
"""Least share of the spots that lie on the image."""


@dataclass(frozen=True)
class Histology:
    """The tissue image of a slice, and where its spots lie on it.

    Parameters
    ----------
    pixels
        As it came, shape (height, width) or (height, width, colours); it is not changed.
    places
        Shape (spots, 2): column and row of each spot, in the order of the slice.
    radius
        Of a spot, in pixels.
    """

    pixels: NDArray[Any]
    places: NDArray[np.float64]
    radius: float

    def stains(self) -> NDArray[np.float64] | None:
        """Haematoxylin and eosin under each spot, by their ranks within the slice.

        Of an image without colours, its brightness. Ranks, because slices are stained and lit
        differently.

        Returns
        -------
        Shape (spots, stains), each with the mean 0 and a variance of about 1; ``None`` if more
        than a tenth of the spots lie beside the image, or all of it looks the same.
        """
        from scipy import stats

        reach = np.linspace(-1, 1, min(ACROSS, 2 * int(np.ceil(self.radius)) + 1))
        across, down = np.meshgrid(reach, reach)
        disc = np.stack([across, down], axis=-1)[np.hypot(across, down) <= 1] * self.radius
        at = np.round(self.places[:, None] + disc).astype(np.intp)
        last = np.array(self.pixels.shape[1::-1]) - 1
        inside = np.all((at >= 0) & (at <= last), axis=2).any(axis=1)
        if inside.mean() < LEAST_INSIDE:
            return None
        at = np.clip(at, 0, last)
        amounts = _amounts(self.pixels[at[..., 1], at[..., 0]]).mean(axis=1)
        if not (np.isfinite(amounts).all() and np.ptp(amounts, axis=0).all()):
            return None
        amounts[~inside] = np.median(amounts[inside], axis=0)
        shares = (stats.rankdata(amounts, axis=0) - 0.5) / len(amounts)
        return np.asarray(stats.norm.ppf(shares))


def _amounts(colours: NDArray[Any]) -> NDArray[np.float64]:
    """Stains of pixels of shape (…, 3 or 4), brightness of others; the last axis is the stain."""
    if colours.dtype.kind in "ui":
        whole = float(np.iinfo(colours.dtype).max)
    else:
        whole = 255.0 if np.nanmax(colours) > 1 else 1.0
    light = np.asarray(colours, dtype=np.float64) / whole
    if light.ndim == 2:
        return light[..., None]
    if light.shape[-1] < 3:
        return light[..., :1]
    from skimage.color import rgb2hed

    return np.asarray(rgb2hed(np.clip(light[..., :3], 0.0, 1.0))[..., :2])


def histology_in(library: Mapping[str, Any], xy: NDArray[np.float64]) -> Histology | None:
    """Find the smallest image of a library in which spots can be told apart.

    Parameters
    ----------
    library
        A slice's own part of ``uns["spatial"]``.
    xy
        Shape (spots, 2): its spots.

    Returns
    -------
    ``None`` without an image that has a scale factor. Nothing is copied.
    """
    images = library.get("images")
    images = images if isinstance(images, Mapping) else {}
    width = factor_of(library, "spot_diameter_fullres") or spot_size(xy)
    at, found = apply(inverse(image_move(library)), xy), None
    for resolution in SMALLEST_FIRST:
        pixels = images.get(resolution)
        factor = factor_of(library, f"tissue_{resolution}_scalef")
        if factor is None or pixels is None or getattr(pixels, "ndim", 0) not in (2, 3):
            continue
        if pixels.dtype.kind not in "uif":
            continue
        found = Histology(np.asarray(pixels), factor * at, factor * width / 2)
        if found.radius >= LEAST_RADIUS:
            break
    return found


def histology_of_slices(slices: Mapping[str, AnnData]) -> dict[str, Histology]:
    """Find the images of slices that are to be integrated; see :func:`histology_in`."""
    own = ((name, adata, own_library(adata, name)) for name, adata in slices.items())
    found = {n: histology_in(each[1], spots_xy(a)) for n, a, each in own if each is not None}
    return {name: one for name, one in found.items() if one is not None}


def histology_of_result(adata: AnnData) -> dict[str, Histology]:
    """Find the images of integrated slices; see :func:`histology_in`."""
    made, labels, points = {}, adata.obs[K.SLICE], spots_xy(adata)
    for name in map(str, labels.cat.categories):
        for library in libraries_of_result(adata, name).values():
            found = histology_in(library, points[(labels == name).to_numpy()])
            if found is not None:
                made[name] = found
                break
    return made
