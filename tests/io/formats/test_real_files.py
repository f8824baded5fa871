"""Real files of public repositories, where they are there."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest

from napari_staligner import _keys as K
from napari_staligner._errors import InputError
from napari_staligner.io.formats.read import read_found
from napari_staligner.io.formats.sniff import sniff
from napari_staligner.io.images import tissue_image

PROJECT = Path(__file__).resolve().parents[3]
FOLDER = Path(os.environ.get("STALIGNER_FORMATS", PROJECT.parent / "shared" / "formats"))

OPEN = {
    "visium_v1/seurat": (2695, 100, True),
    "visium_v1/squidpy": (100, 100, True),
    "visium_v1/spatialexperiment/section1/outs": (50, 50, True),
    "visium_v1/spatialexperiment/section2": (49, 50, True),
    "visium_v2/sfe_sample01": (12, 5, True),
    "visium_v2/sfe_sample02/outs": (13, 5, True),
    "visium_hd/seurat": (2695, 100, True),
    "visium_hd/seurat/binned_outputs/square_016um": (642, 100, True),
    "xenium/spatialexperimentio": (6, 4, False),
    "merscope/spatialexperimentio": (8, 9, False),
    "cosmx/spatialexperimentio": (9, 8, False),
    "slideseq/spacexr": (100, 378, False),
    "geo_mtx/scanpy_cr3": (1107, 507, None),
    "geo_mtx/seurat_cr3": (5, 3, None),
    "st_tsv/stutility": (1923, 1000, False),
    "stereoseq/spateo": (36, 10631, False),
    "spatialdata/helenalc_blobs.zarr": (10, 3, True),
    "h5ad/squidpy/test_data.h5ad": (49, 1999, True),
    "h5ad/stlearn/test_data.h5": (316, 100, False),
}
"""Spots, genes, and whether there is an image; ``None`` where there are no coordinates either."""

REFUSED = {
    "xenium/multiqc_sample1": "No spot of .* has a position in .*cells.parquet",
    "xenium/multiqc_sample2": "No spot of .* has a position in .*cells.parquet",
    "xenium/ml_course": "has no cell_feature_matrix.h5",
    "visium_v1/spatialexperiment": "several samples: give one of",
    "rds_h5ad/sfe/seu_vis_toy.rds": "anndataR",
    "rds_h5ad/sfe/sfe_visium.rds": "zellkonverter",
}


def place(name: str) -> Path:
    if not (FOLDER / name).exists():
        pytest.skip(f"no {name} in {FOLDER}; name the folder with STALIGNER_FORMATS")
    return FOLDER / name


@pytest.mark.parametrize("name", OPEN)
def test_real_files_open(name):
    ((_, adata),) = read_found(sniff(place(name)))
    n_spots, n_genes, image = OPEN[name]
    assert adata.shape == (n_spots, n_genes)
    assert (K.SPATIAL in adata.obsm) == (image is not None)
    assert (tissue_image(adata) is not None) == bool(image)
    if image is not None:
        assert np.isfinite(adata.obsm[K.SPATIAL]).all()
        assert np.ptp(adata.obsm[K.SPATIAL], axis=0).min() > 0
    # The images of two toys were cut to a corner.
    off = any("outside the image" in each for each in adata.uns.get(K.NOTES, ()))
    assert off == name.startswith("visium_v2")


@pytest.mark.parametrize("name", REFUSED)
def test_real_files_that_cannot_be_read_say_why(name):
    with pytest.raises(InputError, match=REFUSED[name]):
        read_found(sniff(place(name)))
