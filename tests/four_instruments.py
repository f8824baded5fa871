"""Samples of four instruments, each as its software wrote it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import anndata as ad
import geopandas
import made_formats as made
import pandas as pd
from scipy import sparse
from tiny import tiny_slice

if TYPE_CHECKING:
    from pathlib import Path

NAMES = ("liver", "puck", "chip", "lung")


def four_instruments(folder: Path, monkeypatch) -> tuple[list[ad.AnnData], list[Path]]:
    """Write four slices, each in another format; return them and their paths."""
    slices = [tiny_slice(seed=seed) for seed in range(4)]
    monkeypatch.setattr(made, "GENES", tuple(slices[0].var_names))
    return slices, [
        visium(folder / "liver" / "outs", slices[0]),
        slideseq(folder / "puck", slices[1]),
        gem(folder / "chip.gem.gz", slices[2]),
        store(folder / "lung.zarr", slices[3]),
    ]


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
