"""Tables as text: MERSCOPE, CosMx, Slide-seq, Spatial Transcriptomics, and matrices of GEO."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
from scipy import sparse

from napari_staligner._errors import InputError
from napari_staligner.io.formats.guard import opened
from napari_staligner.io.formats.matrices import Counts, read_h5, read_mtx
from napari_staligner.io.formats.parts import (
    Library,
    Places,
    cells_of_files,
    make_slice,
    need,
    without_places,
)
from napari_staligner.io.formats.tables import (
    names_as_text,
    need_columns,
    numbers,
    read_table,
    read_wide,
)
from napari_staligner.io.formats.tenx import wanted

if TYPE_CHECKING:
    from anndata import AnnData
    from numpy.typing import NDArray

    from napari_staligner.io.formats.found import Found, Named

CONTROLS = re.compile(r"(Blank|NegPrb|NegControl|Negative|SystemControl|FalseCode)[-_ \d]?.*")
"""Names of probes of MERSCOPE and CosMx that target no gene."""
XY = (
    ("pxl_col_in_fullres", "pxl_row_in_fullres"),
    ("x_centroid", "y_centroid"),
    ("pixel_x", "pixel_y"),
    ("imagecol", "imagerow"),
    ("xcoord", "ycoord"),
    ("x", "y"),
    ("X", "Y"),
    ("x_coord", "y_coord"),
    ("row", "col"),
)
"""Names of the columns of x and y; the first one present is used."""
NAMES = ("barcode", "barcodes", "cell", "cell_id", "spot", "spot_id", "bead", "id")
"""Names of the column with the names of the spots; otherwise the first column."""


def read_merscope(found: Found, chosen: Mapping[str, str]) -> Named:
    """Read the cells of MERSCOPE, at their centres in µm."""
    path = need(found.files, "matrix", found.path, "cell_by_gene.csv")
    counts = _cells_by_genes(path)
    cells = need(found.files, "cells", found.path, "cell_metadata.csv")
    table = read_table(cells, ids=("cell", "EntityID"))
    need_columns(table, ("center_x", "center_y"), cells, "MERSCOPE's cell_metadata.csv")
    # The column of names has no heading, or is called cell, EntityID, or X if R wrote it.
    name = next((c for c in ("EntityID", "cell") if c in table), str(table.columns[0]))
    table = table.set_index(names_as_text(table[name])).drop(columns=name)
    library = Library(scalefactors={"microns_per_pixel": 1.0}, scan=_scan(found))
    library.metadata.update(cells_of_files(found))
    places = Places(table, ("center_x", "center_y"), cells)
    return [make_slice(found.name, f"{found.title}, cells in µm", counts, places, library)]


def _scan(found: Found) -> tuple[Path, NDArray[np.float64]] | None:
    """MERSCOPE's image, and its place in µm."""
    if not {"scan", "place"} <= set(found.files):
        return None
    path = found.files["place"]
    with opened(path) as stream:
        words = stream.read().split()
    try:
        to_pixels = np.array([float(word) for word in words]).reshape(3, 3)
        return found.files["scan"], np.linalg.inv(to_pixels)
    except (ValueError, np.linalg.LinAlgError) as error:
        raise InputError(
            f"{str(path)!r} holds no transform of three rows and columns: copy it again, or take "
            "it away to go without the image."
        ) from error


def _cells_by_genes(path: Path) -> Counts:
    matrix, keys, genes = read_wide(path)
    return _without_controls(Counts(matrix, pd.Index(keys.iloc[:, 0]), pd.Index(genes), path))


def _without_controls(counts: Counts) -> Counts:
    control = np.array([bool(CONTROLS.fullmatch(gene)) for gene in counts.genes])
    if control.any() and not control.all():
        counts.matrix = counts.matrix[:, np.flatnonzero(~control)]
        counts.notes.append(
            f"{int(control.sum()):,} probes that are controls are left out "
            f"({counts.genes[control][0]!r} is the first)"
        )
        counts.genes = counts.genes[~control]
    return counts


def read_cosmx(found: Found, chosen: Mapping[str, str]) -> Named:
    """Read the cells of CosMx, at their centres in the coordinates that all views share."""
    path = need(found.files, "matrix", found.path, "…exprMat_file.csv")
    matrix, keys, genes = read_wide(path, ids=("fov", "cell_ID", "cell", "cell_id"))
    need_columns(keys, ("fov", "cell_ID"), path, "CosMx's exprMat_file.csv")
    counts = Counts(matrix, pd.Index(_cosmx_names(keys)), pd.Index(genes), path)
    background = (keys["cell_ID"] == "0").to_numpy()
    if background.any():
        keep = np.flatnonzero(~background)
        counts.matrix, counts.spots = counts.matrix[keep], counts.spots[keep]
        counts.notes.append(f"{int(background.sum()):,} rows of counts outside cells are left out")
    cells = need(found.files, "cells", found.path, "…metadata_file.csv")
    table = read_table(cells, ids=("fov", "cell_ID"))
    need_columns(table, ("fov", "cell_ID"), cells, "CosMx's metadata_file.csv")
    table.index = pd.Index(_cosmx_names(table))
    views = _views(found)
    places, how = _cosmx_places(table, cells, views)
    scale = {} if views is None else _microns_per_pixel(views, found.files["views"])
    what = f"{found.title}, cells in {how}"
    what += "" if scale else ", whose size in µm is not known"
    library = Library(scalefactors=scale, metadata=cells_of_files(found))
    return [make_slice(found.name, what, _without_controls(counts), places, library)]


def _cosmx_names(table: pd.DataFrame) -> pd.Series:
    """Numbers of cells are unique only within a field of view."""
    return table["fov"] + "_" + table["cell_ID"]


GLOBAL = ("CenterX_global_px", "CenterY_global_px")
LOCAL = ("CenterX_local_px", "CenterY_local_px")


def _cosmx_places(
    table: pd.DataFrame, path: Path, views: pd.DataFrame | None
) -> tuple[Places, str]:
    if set(GLOBAL) <= set(table):
        return Places(table, GLOBAL, path), "global pixels"
    if views is None or not set(LOCAL) <= set(table):
        raise InputError(
            f"{str(path)!r} has no column {GLOBAL[0]!r}, and no …fov_positions_file.csv next to it "
            "says where the fields of view are: put that there."
        )
    local = numbers(table, LOCAL, path)
    rows = views.index.get_indexer(table["fov"])
    if (rows < 0).any():
        missing = table["fov"].to_numpy()[rows < 0][0]
        raise InputError(
            f"{str(path)!r} has cells in field of view {missing!r}, which has no position in "
            "…fov_positions_file.csv: give both files of one sample."
        )
    xy = local + views[["x_global_px", "y_global_px"]].to_numpy(float)[rows]
    table = table.assign(**{GLOBAL[0]: xy[:, 0], GLOBAL[1]: xy[:, 1]})
    return Places(table, GLOBAL, path), "global pixels, from the positions of the fields of view"


def _views(found: Found) -> pd.DataFrame | None:
    """Positions of the fields of view; ``None`` if no file has them."""
    if "views" not in found.files:
        return None
    path = found.files["views"]
    table = read_table(path, ids=("fov", "FOV"))
    table = table.rename(columns={"FOV": "fov"})
    need_columns(table, ("fov", "x_global_px", "y_global_px"), path, "CosMx's positions of views")
    numbers(table, ("x_global_px", "y_global_px"), path)
    return table.drop_duplicates("fov").set_index("fov")


def _microns_per_pixel(views: pd.DataFrame, path: Path) -> dict[str, float]:
    """Size of a pixel, if the positions of the views are given in mm as well."""
    column = next((c for c in ("x_global_mm", "x_mm") if c in views), None)
    if column is None or len(views) < 2:
        return {}
    mm, px = numbers(views, (column, "x_global_px"), path).T
    span = float(np.ptp(px))
    return {"microns_per_pixel": float(np.ptp(mm)) * 1000 / span} if span and np.ptp(mm) else {}


def read_slideseq(found: Found, chosen: Mapping[str, str]) -> Named:
    """Read the beads of Slide-seq; their names show whether they are rows or columns."""
    path = need(found.files, "matrix", found.path, "MappedDGEForR.csv or …digital_expression.txt")
    beads = need(found.files, "cells", found.path, "BeadLocationsForR.csv")
    places = _any_places(beads)
    counts = _oriented(path, lambda names: int(names.isin(places.table.index).sum()))
    return [make_slice(found.name, found.title, counts, places, Library())]


def _oriented(path: Path, likely_spots: Callable[[pd.Index], int]) -> Counts:
    matrix, keys, columns = read_wide(path)
    rows, names = pd.Index(keys.iloc[:, 0]), pd.Index(columns)
    if likely_spots(names) > likely_spots(rows):
        return Counts(sparse.csr_matrix(matrix.T), names, rows, path)
    return Counts(matrix, rows, names, path)


def _any_places(path: Path) -> Places:
    """Read a table of positions whose columns have one of the usual names."""
    table = read_table(path, comment=True)
    xy = next((pair for pair in XY if set(pair) <= set(table)), None)
    if xy is None and len(table.columns) == 6:
        from napari_staligner.io.formats.tenx import COLUMNS

        headless = read_table(path, ids=("barcode",), names=COLUMNS)
        return Places(headless.set_index("barcode"), XY[0], path)
    if xy is None:
        there = ", ".join(map(repr, list(table.columns)[:12]))
        raise InputError(
            f"{str(path)!r} has no columns with a usual name for coordinates (it has {there}): "
            "call them 'x' and 'y'."
        )
    name = next((c for c in NAMES if c in table), str(table.columns[0]))
    if name in xy:
        raise InputError(
            f"{str(path)!r} has no column that names the spots: put it first, and call it "
            "'barcode'."
        )
    return Places(table.set_index(names_as_text(table[name])).drop(columns=name), xy, path)


_SPOT = re.compile(r"(\d+(?:\.\d+)?)x(\d+(?:\.\d+)?)")
"""A spot of Spatial Transcriptomics is named after its place in the array."""


def read_st(found: Found, chosen: Mapping[str, str]) -> Named:
    """Read a table of Spatial Transcriptomics, with spots named by their place."""
    path = found.files["matrix"]
    counts = _oriented(path, lambda names: int(names.str.fullmatch(_SPOT.pattern).sum()))
    wrong = [name for name in counts.spots if not _SPOT.fullmatch(name)]
    if wrong:
        raise InputError(
            f"{str(path)!r} has a spot called {wrong[0]!r}, which is not a place in an array such "
            "as '10x12': name spots by column and row."
        )
    if "positions" in found.files:
        places = _aligned(found.files["positions"])
        how = f"pixels, from {found.files['positions'].name!r}"
    else:
        xy = np.array([[float(n) for n in name.split("x")] for name in counts.spots])
        table = pd.DataFrame({"x": xy[:, 0], "y": xy[:, 1]}, index=counts.spots)
        places, how = Places(table, ("x", "y"), path), "steps of the array"
    return [make_slice(found.name, f"{found.title}, spots in {how}", counts, places, Library())]


def _aligned(path: Path) -> Places:
    """The table that says where the spots of an array are on the image."""
    table = read_table(path)
    need_columns(table, ("x", "y", "pixel_x", "pixel_y"), path, "the table of spots and pixels")
    table.index = pd.Index([f"{x:g}x{y:g}" for x, y in numbers(table, ("x", "y"), path)])
    table = table.rename(columns={"x": "array_col", "y": "array_row"})
    return Places(table, ("pixel_x", "pixel_y"), path)


def read_mtx_sample(found: Found, chosen: Mapping[str, str]) -> Named:
    """Read a matrix from GEO, with positions if there is a table of them next to it."""
    samples = found.choices.get("sample", ())
    if not samples:
        return [_mtx(found.name, found.title, found.files)]
    return [
        _mtx(sample, found.title, found.read_files({"sample": sample}))
        for sample in wanted(found, "sample", chosen)
    ]


def _mtx(name: str, title: str, files: Mapping[str, Path]) -> tuple[str, AnnData]:
    matrix = files["matrix"]
    if ".mtx" in matrix.name:
        counts = read_mtx(matrix, files.get("barcodes"), files.get("features"))
    else:
        counts = read_h5(matrix)
    if "positions" not in files:
        return without_places(name, title, counts)
    places = _any_places(files["positions"])
    what = f"{title}, positions by {places.xy[0]!r} and {places.xy[1]!r} of {places.path.name!r}"
    return make_slice(name, what, counts, places, Library())
