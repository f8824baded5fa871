"""Samples of four instruments, each as its software wrote it, in one run of the shell."""

from __future__ import annotations

import anndata as ad
import geopandas
import made_formats as made
import numpy as np
import pandas as pd
import pytest
from scipy import sparse
from tiny import tiny_slice
from typer.testing import CliRunner

from napari_staligner import _keys as K
from napari_staligner.cli.app import app
from napari_staligner.core.result.provenance import sources_of

pytestmark = pytest.mark.filterwarnings("ignore:Writing zarr v2 data will no longer")

QUICK = "--pretrain-epochs 4 --epochs 4 --refresh 2 --hidden 16 --mnn-k 10 --seed 0".split()


def visium(folder, adata):
    n = adata.n_obs
    names, (x, y) = made.barcodes(n), adata.obsm["spatial"].T
    made.write_10x_h5(folder / "filtered_feature_bc_matrix.h5", names, adata.X.toarray())
    table = made.positions(n).assign(
        array_row=y / 10, array_col=x / 10, pxl_row_in_fullres=y * 8, pxl_col_in_fullres=x * 8
    )
    made.put_spatial(folder / "spatial", table, made.FACTORS, version=2)
    return folder


def slideseq(folder, adata):
    names = made.barcodes(adata.n_obs)
    counts = pd.DataFrame(adata.X.toarray().astype(int).T, adata.var_names, names)
    made.put(folder / "MappedDGEForR.csv", counts.to_csv())
    beads = pd.DataFrame(adata.obsm["spatial"], columns=["xcoord", "ycoord"])
    beads.insert(0, "barcodes", names)
    made.put(folder / "BeadLocationsForR.csv", beads.to_csv(index=False))
    return folder


def gem(path, adata):
    coo = sparse.coo_matrix(adata.X)
    # A spot in each bin of 50.
    x, y = (adata.obsm["spatial"][coo.row].T * 5 + 25).astype(int)
    genes = adata.var_names[coo.col]
    table = {"geneID": genes, "x": x, "y": y, "MIDCount": coo.data.astype(int)}
    return made.make_gem(path, pd.DataFrame(table))


def store(path, adata):
    from shapely import points
    from spatialdata import SpatialData
    from spatialdata.models import ShapesModel, TableModel

    frame = geopandas.GeoDataFrame({"radius": 4.0, "geometry": points(adata.obsm["spatial"])})
    table = ad.AnnData(adata.X, obs=adata.obs.copy(), var=adata.var)
    table.obs["region"], table.obs["spot"] = pd.Categorical(["spots"] * len(frame)), frame.index
    keys = {"region": "spots", "region_key": "region", "instance_key": "spot"}
    elements = {"spots": ShapesModel.parse(frame), "table": TableModel.parse(table, **keys)}
    SpatialData.init_from_elements(elements).write(path)
    return path


def test_four_formats_in_one_run(tmp_path, monkeypatch):
    slices = [tiny_slice(seed=seed) for seed in range(4)]
    monkeypatch.setattr(made, "GENES", tuple(slices[0].var_names))
    paths = [
        visium(tmp_path / "liver" / "outs", slices[0]),
        slideseq(tmp_path / "puck", slices[1]),
        gem(tmp_path / "chip.gem.gz", slices[2]),
        store(tmp_path / "lung.zarr", slices[3]),
    ]
    out = tmp_path / "out.h5ad"
    words = ["integrate", *map(str, paths), "-o", str(out), *QUICK, "--domains", "2"]
    outcome = CliRunner().invoke(app, words)
    assert outcome.exit_code == 0, outcome.output
    result = ad.read_h5ad(out)
    assert result.obs[K.SLICE].value_counts().to_dict() == dict.fromkeys(
        ("liver", "puck", "chip", "lung"), 64
    )
    for name, before in zip(("liver", "puck", "chip", "lung"), slices, strict=True):
        rows = (result.obs[K.SLICE] == name).to_numpy()
        total = np.asarray(result[rows, before.var_names].X.sum(axis=0)).ravel()
        np.testing.assert_array_equal(total, np.asarray(before.X.sum(axis=0)).ravel())
    assert sources_of(result)["chip"].choices == {"bin": "50"}
    for title in ("Visium", "Slide-seq", "Stereo-seq (.gem)", "SpatialData"):
        assert title in outcome.stderr
