"""Small samples in the layouts of the field's formats, as instruments write them."""

from __future__ import annotations

import gzip
import json
from pathlib import Path

import h5py
import numpy as np
import pandas as pd
from scipy import sparse

GENES = ("Xkr4", "Gm1992", "Sox17", "Rp1", "Mrpl15")
N_SPOTS = 12


def counts(n_spots: int = N_SPOTS, n_genes: int = len(GENES), seed: int = 0) -> np.ndarray:
    """Return counts, spots × genes, none of whose rows is empty."""
    made = np.random.default_rng(seed).poisson(1.5, (n_spots, n_genes))
    made[:, 0] += 1
    return made


def barcodes(n: int = N_SPOTS) -> list[str]:
    """Return names of spots as 10x Genomics makes them."""
    return ["".join("ACGT"[(k >> (2 * i)) & 3] for i in range(16)) + "-1" for k in range(n)]


def put(path: Path, text: str) -> Path:
    """Write a text, packed where its name ends in ``.gz``."""
    path.parent.mkdir(parents=True, exist_ok=True)
    data = text.encode()
    path.write_bytes(gzip.compress(data) if path.suffix == ".gz" else data)
    return path


def write_10x_h5(path: Path, names: list[str], matrix: np.ndarray, *, as_r: bool = False) -> Path:
    """Write ``filtered_feature_bc_matrix.h5``; R's packages write indices as floats."""
    path.parent.mkdir(parents=True, exist_ok=True)
    csr = sparse.csr_matrix(matrix)
    number = np.float64 if as_r else np.int64
    with h5py.File(path, "w") as file:
        group = file.create_group("matrix")
        group["data"] = csr.data.astype(np.float64 if as_r else np.int32)
        group["indices"], group["indptr"] = csr.indices.astype(number), csr.indptr.astype(number)
        group["shape"] = np.array(matrix.shape[::-1], number)
        group["barcodes"] = np.array(names, "S")
        genes = GENES[: matrix.shape[1]]
        features = group.create_group("features")
        features["id"] = np.array([f"ENSMUSG{k:05d}" for k in range(len(genes))], "S")
        features["name"] = np.array(genes, "S")
        features["feature_type"] = np.array(["Gene Expression"] * len(genes), "S")
        features["genome"] = np.array(["mm10"] * len(genes), "S")
    return path


def write_mtx(
    folder: Path, names: list[str], matrix: np.ndarray, *, packed: bool = True, prefix: str = ""
) -> Path:
    """Write ``matrix.mtx``, ``barcodes.tsv`` and ``features.tsv``."""
    end = ".gz" if packed else ""
    coo = sparse.coo_matrix(matrix.T)
    lines = [f"{r + 1} {c + 1} {v}" for r, c, v in zip(coo.row, coo.col, coo.data, strict=True)]
    head = "%%MatrixMarket matrix coordinate integer general\n%\n"
    size = f"{coo.shape[0]} {coo.shape[1]} {coo.nnz}\n"
    put(folder / f"{prefix}matrix.mtx{end}", head + size + "\n".join(lines) + "\n")
    put(folder / f"{prefix}barcodes.tsv{end}", "\n".join(names) + "\n")
    rows = [
        f"ENSMUSG{k:05d}\t{gene}\tGene Expression"
        for k, gene in enumerate(GENES[: matrix.shape[1]])
    ]
    put(folder / f"{prefix}features.tsv{end}", "\n".join(rows) + "\n")
    return folder


FACTORS = {
    "spot_diameter_fullres": 89.4,
    "tissue_hires_scalef": 0.15,
    "fiducial_diameter_fullres": 144.5,
    "tissue_lowres_scalef": 0.045,
}
PIXELS_PER_UM = 1.4


def positions(n: int = N_SPOTS) -> pd.DataFrame:
    """Return Visium's table of positions, on its hexagonal array."""
    row, col = np.divmod(np.arange(n), 4)
    col = 2 * col + row % 2
    return pd.DataFrame(
        {
            "barcode": barcodes(n),
            "in_tissue": 1,
            "array_row": row,
            "array_col": col,
            "pxl_row_in_fullres": 300 + row * 50 * np.sqrt(3) * PIXELS_PER_UM,
            "pxl_col_in_fullres": 200 + col * 50 * PIXELS_PER_UM,
        }
    )


def put_image(path: Path, shape: tuple[int, int] = (90, 110)) -> Path:
    """Write a picture of colours."""
    import imageio.v3 as iio

    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.random.default_rng(0).integers(0, 255, (*shape, 3), dtype=np.uint8)
    iio.imwrite(path, pixels)
    return path


def put_spatial(folder: Path, table: pd.DataFrame, factors: dict, *, version: int = 1) -> Path:
    """Write Space Ranger's folder ``spatial``."""
    folder.mkdir(parents=True, exist_ok=True)
    if version == 1:
        table.to_csv(folder / "tissue_positions_list.csv", header=False, index=False)
    elif version == 2:
        table.to_csv(folder / "tissue_positions.csv", index=False)
    else:
        table.to_parquet(folder / "tissue_positions.parquet")
    (folder / "scalefactors_json.json").write_text(json.dumps(factors))
    put_image(folder / "tissue_hires_image.png")
    put_image(folder / "tissue_lowres_image.png", (27, 33))
    return folder


def make_visium(folder: Path, *, version: int = 1, mtx: bool = False) -> Path:
    """Write what Space Ranger 1 or 2 does."""
    if mtx:
        write_mtx(folder / "filtered_feature_bc_matrix", barcodes(), counts())
    else:
        write_10x_h5(folder / "filtered_feature_bc_matrix.h5", barcodes(), counts())
    put_spatial(folder / "spatial", positions(), FACTORS, version=version)
    return folder


def make_visium_hd(folder: Path, bins: tuple[int, ...] = (2, 8, 16)) -> Path:
    """Write what Space Ranger 3 does."""
    for size in bins:
        place = folder / "binned_outputs" / f"square_{size:03d}um"
        n = {2: 24, 8: 12, 16: 6}[size]
        names = [f"s_{size:03d}um_{k:05d}_00000-1" for k in range(n)]
        write_10x_h5(place / "filtered_feature_bc_matrix.h5", names, counts(n))
        factors = FACTORS | {"bin_size_um": float(size), "microns_per_pixel": 0.25}
        put_spatial(place / "spatial", positions(n).assign(barcode=names), factors, version=3)
    return folder


def make_xenium(folder: Path, *, parquet: bool = True) -> Path:
    """Write what the Xenium Onboard Analysis does, and an image that is named but not read."""
    names = [f"aaaa{k:04d}-1" for k in range(N_SPOTS)]
    write_10x_h5(folder / "cell_feature_matrix.h5", names, counts(), as_r=not parquet)
    with h5py.File(folder / "cell_feature_matrix.h5", "a") as file:
        kinds = file["matrix/features/feature_type"]
        kinds[-1] = b"Negative Control"  # cut to the length that is there
    xy = np.random.default_rng(1).uniform(0, 500, (N_SPOTS, 2))
    table = pd.DataFrame({"cell_id": names, "x_centroid": xy[:, 0], "y_centroid": xy[:, 1]})
    table["cell_area"] = 40.0
    if parquet:
        table.to_parquet(folder / "cells.parquet")
    else:
        put(folder / "cells.csv.gz", table.to_csv(index=False))
    told = {"pixel_size": 0.2125, "images": {"morphology_filepath": "morphology.ome.tif"}}
    (folder / "experiment.xenium").write_text(json.dumps(told))
    (folder / "morphology.ome.tif").write_bytes(b"II*\0")
    return folder


def make_merscope(folder: Path) -> Path:
    """Write what Vizgen's software does, with a probe that is a control."""
    names = [str(10**17 + k) for k in range(N_SPOTS)]
    table = pd.DataFrame(counts(), columns=[*GENES[:4], "Blank-1"], index=names)
    put(folder / "cell_by_gene.csv", table.to_csv(index_label="cell"))
    xy = np.random.default_rng(1).uniform(0, 500, (N_SPOTS, 2))
    cells = pd.DataFrame(
        {"fov": 1, "volume": 80.0, "center_x": xy[:, 0], "center_y": xy[:, 1]}, index=names
    )
    put(folder / "cell_metadata.csv", cells[::-1].to_csv(index_label="EntityID"))
    return folder


def make_cosmx(folder: Path, *, own_places: bool = True) -> Path:
    """Write CosMx's flat files: two fields of view, and counts outside cells."""
    table = pd.DataFrame(counts(), columns=[*GENES[:4], "NegPrb1"])
    table.insert(0, "fov", np.repeat([1, 2], N_SPOTS // 2))
    table.insert(1, "cell_ID", np.tile(np.arange(N_SPOTS // 2), 2))
    put(folder / "S1_exprMat_file.csv.gz", table.to_csv(index=False))
    cells = table[["fov", "cell_ID"]].copy()
    cells["CenterX_local_px"], cells["CenterY_local_px"] = cells["cell_ID"] * 10, 5
    if own_places:
        cells["CenterX_global_px"] = cells["CenterX_local_px"] + 1000 * cells["fov"]
        cells["CenterY_global_px"] = 5 + 2000
    put(folder / "S1_metadata_file.csv", cells[cells["cell_ID"] > 0].to_csv(index=False))
    views = pd.DataFrame({"FOV": [1, 2], "x_global_px": [1000, 2000], "y_global_px": 2000})
    views["x_global_mm"], views["y_global_mm"] = views["x_global_px"] * 0.00012, 0.24
    put(folder / "S1_fov_positions_file.csv", views.to_csv(index=False))
    return folder


def make_slideseq(folder: Path, *, beads_are_rows: bool = False) -> Path:
    """Write the two tables of Slide-seq."""
    names = [name[:14] for name in barcodes()]
    table = pd.DataFrame(counts(), index=names, columns=list(GENES))
    put(folder / "MappedDGEForR.csv", (table if beads_are_rows else table.T).to_csv())
    xy = np.random.default_rng(1).uniform(0, 5000, (N_SPOTS, 2))
    beads = pd.DataFrame({"barcodes": names, "xcoord": xy[:, 0], "ycoord": xy[:, 1]})
    put(folder / "BeadLocationsForR.csv", beads.to_csv(index=False))
    return folder


def make_st(folder: Path, *, aligned: bool = True) -> Path:
    """Write a table of Spatial Transcriptomics, and that of its pixels."""
    names = [f"{10 + k % 4}x{10 + k // 4}" for k in range(N_SPOTS)]
    table = pd.DataFrame(counts(), index=names, columns=list(GENES))
    put(folder / "MOB1.tsv", table.to_csv(sep="\t"))
    if aligned:
        xy = np.array([[int(n) for n in name.split("x")] for name in names])
        pixels = pd.DataFrame({"x": xy[:, 0], "y": xy[:, 1], "new_x": xy[:, 0], "new_y": xy[:, 1]})
        pixels["pixel_x"], pixels["pixel_y"] = xy[:, 0] * 290.5, xy[:, 1] * 291.5
        pixels["selected"] = [0, *[1] * (N_SPOTS - 1)]
        put(folder / "alignment_table_MOB1.tsv", pixels.to_csv(sep="\t", index=False))
    return folder


def make_geo(folder: Path, *, samples: tuple[str, ...] = ("GSM1_",), places: bool = True) -> Path:
    """Write matrices as GEO lists them, with positions beside."""
    for k, sample in enumerate(samples):
        write_mtx(folder, barcodes(), counts(seed=k), prefix=sample)
        if places:
            table = positions()[["barcode"]].assign(x=np.arange(N_SPOTS) * 3.0, y=7.0 + k)
            put(folder / f"{sample}coordinates.csv.gz", table.to_csv(index=False))
    return folder


def molecules(n: int = 400) -> pd.DataFrame:
    """Return molecules of Stereo-seq on 200 × 100 spots of a chip, some in two cells."""
    rng = np.random.default_rng(2)
    made = pd.DataFrame(
        {
            "geneID": rng.choice(GENES, n),
            "x": rng.integers(1000, 1200, n),
            "y": rng.integers(500, 600, n),
            "MIDCount": rng.integers(1, 4, n),
        }
    )
    made["CellID"] = np.select([made["x"] < 1050, made["x"] > 1150], [7, 9], 0)
    return made


def make_gem(path: Path, table: pd.DataFrame | None = None) -> Path:
    """Write a ``.gem`` with the lines that SAW puts before the heading."""
    table = molecules() if table is None else table
    head = "#FileFormat=GEMv0.1\n#StereoChip=SS2\n#OffsetX=0\n"
    return put(path, head + table.to_csv(sep="\t", index=False))


def make_gef(path: Path, *, bins: tuple[int, ...] = (1, 50)) -> Path:
    """Write a ``.gef`` of square bins; entries are ordered by gene."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with h5py.File(path, "w") as file:
        for size in bins:
            table = molecules()
            table["x"], table["y"] = table["x"] // size * size, table["y"] // size * size
            table = table.groupby(["geneID", "x", "y"], as_index=False)["MIDCount"].sum()
            kind = [("x", "u4"), ("y", "u4"), ("count", "u2")]
            group = file.create_group(f"geneExp/bin{size}")
            rows = list(table[["x", "y", "MIDCount"]].itertuples(index=False, name=None))
            group["expression"] = np.array(rows, kind)
            group["expression"].attrs["resolution"] = np.uint32(500)
            n = table.groupby("geneID").size()
            kind = [("geneID", "S64"), ("geneName", "S64"), ("offset", "u4"), ("count", "u4")]
            ends = np.cumsum(n.to_numpy())
            genes = [
                (f"E{name}", name, end - k, k)
                for name, end, k in zip(n.index, ends, n.to_numpy(), strict=True)
            ]
            group["gene"] = np.array(genes, kind)
    return path


def make_cell_gef(path: Path) -> Path:
    """Write a ``.cellbin.gef``."""
    matrix = counts(3)
    path.parent.mkdir(parents=True, exist_ok=True)
    rows, at = np.nonzero(matrix)
    n = np.bincount(rows)
    with h5py.File(path, "w") as file:
        kind = [("id", "u4"), ("x", "i4"), ("y", "i4"), ("offset", "u4"), ("geneCount", "u2")]
        cells = [(5 + k, 10 * k, 7, int(n[:k].sum()), n[k]) for k in range(3)]
        file["cellBin/cell"] = np.array(cells, kind)
        entries = list(zip(at, matrix[rows, at], strict=True))
        file["cellBin/cellExp"] = np.array(entries, [("geneID", "u4"), ("count", "u2")])
        file["cellBin/gene"] = np.array([(gene,) for gene in GENES], [("geneName", "S64")])
        file.attrs["resolution"] = np.uint32(500)
    return path


TURNED = np.array([[0.0, -0.5, 36.0], [0.5, 0.0, 0.0], [0.0, 0.0, 1.0]])
"""Where the image lies in a store whose image is turned: by a quarter, and moved."""


def make_store(
    path: Path, *, turned: bool | np.ndarray = False, regions: tuple[str, ...] = ("spots",)
) -> Path:
    """Write a SpatialData store: circles, an image twice as fine as their unit, and a table."""
    from anndata import AnnData
    from spatialdata import SpatialData
    from spatialdata.models import Image2DModel, ShapesModel, TableModel
    from spatialdata.transformations import Affine, Identity, Scale

    places = {"global": Identity(), "aligned": Scale([10, 10], axes=("x", "y"))}
    xy = np.column_stack([np.arange(N_SPOTS) * 3.0 + 1, np.arange(N_SPOTS) % 4 * 5.0 + 1])
    elements = {
        name: ShapesModel.parse(
            xy + k, geometry=0, radius=1.0, index=np.arange(100, 112), transformations=places
        )
        for k, name in enumerate(regions)
    }
    pixels = np.random.default_rng(0).integers(0, 255, (60, 80, 3), dtype=np.uint8)
    lying = Scale([0.5, 0.5], axes=("x", "y"))
    if turned is not False:
        matrix = TURNED if turned is True else turned
        lying = Affine(np.array(matrix), input_axes=("x", "y"), output_axes=("x", "y"))
    elements["he"] = Image2DModel.parse(
        pixels, dims=("y", "x", "c"), c_coords=["r", "g", "b"], transformations={"global": lying}
    )
    n = len(regions)
    obs = pd.DataFrame(
        {
            "region": pd.Categorical(np.repeat(regions, N_SPOTS)),
            "spot": np.tile(np.arange(111, 99, -1), n),
        },
        index=[f"s{k}" for k in range(n * N_SPOTS)],
    )
    matrix = sparse.csr_matrix(np.vstack([counts()] * n), dtype=np.float32)
    adata = AnnData(matrix, obs=obs, var=pd.DataFrame(index=list(GENES)))
    elements["table"] = TableModel.parse(
        adata, region=list(regions), region_key="region", instance_key="spot"
    )
    SpatialData.init_from_elements(elements).write(path)
    return path


def rim(x: float, y: float, half: float = 2.0) -> np.ndarray:
    """Return the corners of a square cell around a place, the first one twice."""
    steps = np.array([(-1, -1), (1, -1), (1, 1), (-1, 1), (-1, -1)])
    return np.array([x, y]) + half * steps


def put_xenium_rims(folder: Path, *, parquet: bool = True) -> Path:
    """Write outlines beside Xenium's cells, and one of a cell that is not in the matrix."""
    cells = pd.read_parquet(folder / "cells.parquet")
    places = [*cells[["cell_id", "x_centroid", "y_centroid"]].itertuples(index=False, name=None)]
    rows = [(name, *corner) for name, x, y in [*places, ("zzzz-1", 1, 1)] for corner in rim(x, y)]
    table = pd.DataFrame(rows, columns=["cell_id", "vertex_x", "vertex_y"])
    table["label_id"] = np.repeat(np.arange(len(places) + 1), 5)
    if parquet:
        table.to_parquet(folder / "cell_boundaries.parquet")
        return folder / "cell_boundaries.parquet"
    return put(folder / "cell_boundaries.csv.gz", table.to_csv(index=False))


def put_merscope_rims(folder: Path, *, parquet: bool = True) -> Path:
    """Write outlines beside MERSCOPE's cells in three planes, of which the middle one is larger."""
    import shapely

    cells = pd.read_csv(folder / "cell_metadata.csv", dtype={"EntityID": str})
    places = [*cells[["EntityID", "center_x", "center_y"]].itertuples(index=False, name=None)]
    planes = [(name, z, rim(x, y, 2.0 + (z == 1))) for z in range(3) for name, x, y in places]
    if parquet:
        shapes = [shapely.MultiPolygon([shapely.Polygon(corners)]) for *_, corners in planes]
        table = pd.DataFrame({"EntityID": [int(name) for name, *_ in planes]})
        table["ZIndex"] = [z for _, z, _ in planes]
        table["Geometry"] = [*shapely.to_wkb(np.array(shapes))]
        table.to_parquet(folder / "cell_boundaries.parquet")
        return folder / "cell_boundaries.parquet"
    (folder / "cell_boundaries").mkdir()
    with h5py.File(folder / "cell_boundaries" / "feature_data_1.hdf5", "w") as file:
        for name, z, corners in planes:
            file[f"featuredata/{name}/zIndex_{z}/p_0/coordinates"] = corners[None]
    return folder / "cell_boundaries"


def put_cosmx_rims(folder: Path) -> Path:
    """Write CosMx's polygons, in pixels of each view and in those of all."""
    cells = pd.read_csv(folder / "S1_metadata_file.csv")
    rows = [
        (fov, cell, *corner - (1000 * fov, 2000), *corner)
        for fov, cell, x, y in cells[
            ["fov", "cell_ID", "CenterX_global_px", "CenterY_global_px"]
        ].itertuples(index=False, name=None)
        for corner in rim(x, y)
    ]
    names = ["fov", "cellID", "x_local_px", "y_local_px", "x_global_px", "y_global_px"]
    return put(folder / "S1-polygons.csv.gz", pd.DataFrame(rows, columns=names).to_csv(index=False))


MASKED = np.repeat(np.repeat(np.arange(1, 13).reshape(3, 4), 10, axis=0), 10, axis=1)
"""Masks of twelve cells, squares of 10 × 10 pixels without a gap."""


def make_cell_store(path: Path, *, polygons: bool) -> Path:
    """Write a SpatialData store of twelve cells: masks, and polygons in units half as large."""
    import geopandas
    import shapely
    from anndata import AnnData
    from spatialdata import SpatialData
    from spatialdata.models import Labels2DModel, ShapesModel, TableModel
    from spatialdata.transformations import Identity, Scale

    numbers = np.arange(1, N_SPOTS + 1)
    elements = {
        "cells": Labels2DModel.parse(
            MASKED.astype(np.uint32), dims=("y", "x"), transformations={"global": Identity()}
        )
    }
    if polygons:
        corners = [(10 * ((n - 1) % 4), 10 * ((n - 1) // 4)) for n in numbers]
        squares = [shapely.box(2 * x, 2 * y, 2 * x + 20, 2 * y + 20) for x, y in corners]
        frame = geopandas.GeoDataFrame(geometry=squares, index=numbers)
        half = {"global": Scale([0.5, 0.5], axes=("x", "y"))}
        elements["nuclei"] = ShapesModel.parse(
            frame.buffer(-4).to_frame("geometry"), transformations=half
        )
        elements["rims"] = ShapesModel.parse(frame, transformations=half)
    obs = pd.DataFrame({"region": pd.Categorical(["cells"] * N_SPOTS), "number": numbers[::-1]})
    obs.index = [f"c{n}" for n in numbers]
    adata = AnnData(sparse.csr_matrix(counts(), dtype=np.float32), obs=obs)
    adata.var_names = list(GENES)
    elements["table"] = TableModel.parse(
        adata, region="cells", region_key="region", instance_key="number"
    )
    SpatialData.init_from_elements(elements).write(path)
    return path
