"""Integrated slices, side by side, as an .h5ad that TissUUmaps opens."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import pandas as pd
from scipy import sparse

from napari_staligner import _keys as K
from napari_staligner.core.prepare.libraries import libraries_of_result
from napari_staligner.core.prepare.on_disk import in_memory
from napari_staligner.core.progress import Progress
from napari_staligner.core.result.access import drop_record, spot_size, spots_xy
from napari_staligner.core.result.ownership import claim
from napari_staligner.io.export.parts import columns_made, counted, rows_by_slice
from napari_staligner.io.images import tissue_image
from napari_staligner.io.writing import write_anndata

if TYPE_CHECKING:
    from anndata import AnnData
    from numpy.typing import NDArray

    from napari_staligner.core.progress import Steps

BLANK_PIXELS = 1000
"""Longer side of the white picture below a slice without an image."""
HIRES = "spatial_hires"
"""Key of ``obsm``: positions in pixels of each slice's image, where TissUUmaps draws spots."""


class _Ground(NamedTuple):
    """The image below a slice: pixels, shape (height, width, 3); pixels per unit; first corner."""

    pixels: NDArray[np.uint8]
    factor: float
    corner: NDArray[np.float64]


def tissuumaps_steps(adata: AnnData, draft: Path) -> Steps[str]:
    """Write integrated slices as an ``.h5ad`` for TissUUmaps.

    TissUUmaps shows each library's image and puts the spots with that ``obs["library_id"]`` on
    it, by the number of the library in alphabetical order. A slice without an image gets a white
    one. The expression is stored by columns, so that TissUUmaps can read one gene at a time; what
    was made here is a separate group.

    Parameters
    ----------
    adata
        Integrated slices.
    draft
        File to write.
    """
    slices = rows_by_slice(adata)
    libraries, places = {}, np.full((adata.n_obs, 2), np.nan)
    for done, (name, rows) in enumerate(slices.items()):
        yield Progress(f"image of {name}", done, len(slices) + 2)
        xy = spots_xy(adata)[rows]
        ground = _image_of(adata, name)
        if ground is None and len(slices) > 1:
            ground = _blank(xy)
        if ground is not None:
            libraries[name] = {
                "images": {"hires": ground.pixels},
                "scalefactors": {
                    "tissue_hires_scalef": ground.factor,
                    "spot_diameter_fullres": spot_size(xy),
                },
            }
            places[rows] = (xy - ground.corner) * ground.factor
    yield Progress("table of the spots", len(slices), len(slices) + 2)
    made = _table(adata, sorted(slices))
    made.uns[K.SPATIAL] = libraries
    if len(slices) > 1:
        made.obsm[HIRES] = places
    yield Progress("writing", len(slices) + 1, len(slices) + 2)
    write_anndata(made, draft)
    return counted(slices)


def _image_of(adata: AnnData, name: str) -> _Ground | None:
    from anndata import AnnData

    of_slice = {K.SPATIAL: libraries_of_result(adata, name)}
    found = tissue_image(AnnData(shape=(0, 0), uns=of_slice))
    return None if found is None else _Ground(found[0][..., :3], found[1], np.zeros(2))


def _blank(xy: NDArray[np.float64]) -> _Ground:
    """A white picture as large as the tissue, with a margin of a spot on each side."""
    margin = spot_size(xy)
    corner = xy.min(axis=0) - margin
    extent = xy.max(axis=0) + margin - corner
    factor = BLANK_PIXELS / float(extent.max())
    width, height = np.ceil(extent * factor).astype(int)
    return _Ground(np.full((height, width, 3), 255, dtype=np.uint8), factor, corner)


def _table(adata: AnnData, names: list[str]) -> AnnData:
    """All but the images."""
    from anndata import AnnData

    obs = adata.obs.copy()
    kept = {k: v for k, v in adata.uns.items() if k.endswith("_colors") or k == K.STALIGNER}
    told = kept.pop(K.STALIGNER, {})
    X: Any = None if adata.X is None else sparse.csc_matrix(in_memory(adata.X))
    made = AnnData(
        X,
        obs=obs,
        var=adata.var.copy(),
        obsm={
            key: np.asarray(adata.obsm[key])
            for key in (K.SPATIAL, K.SPATIAL_ALIGNED, K.UMAP, K.EMBEDDING)
            if key in adata.obsm
        },
        uns=kept | {K.STALIGNER: dict(told)},
    )
    made.obsm[K.SPATIAL] = spots_xy(adata)
    if K.CONNECTIVITIES in adata.obsp:
        made.obsp[K.CONNECTIVITIES] = sparse.csr_matrix(adata.obsp[K.CONNECTIVITIES])
    claim(made, "obs", K.LIBRARY)
    made.obs[K.LIBRARY] = pd.Categorical(made.obs[K.SLICE].astype(str), names)
    ours = [K.SLICE, *columns_made(made)]
    others = [str(key) for key in made.obs if key not in (*ours, K.LIBRARY)]
    drop_record(made)
    made.uns["tmap_obsgroups"] = json.dumps({"STAligner": ours, "Of the slices": others})
    return made
