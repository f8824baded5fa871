"""What is wrong with a file is said in one sentence that names it."""

from __future__ import annotations

import gzip
import json
import os
import re
import shutil
from collections.abc import Callable
from functools import partial
from pathlib import Path

import h5py
import made_formats as made
import numpy as np
import pandas as pd
import pytest

from napari_staligner._errors import InputError
from napari_staligner.io.formats import guard
from napari_staligner.io.h5ad import read_slices

pytestmark = pytest.mark.filterwarnings("ignore:Writing zarr v2 data will no longer")

FALLBACK = "of another version"
"""Of what is said where a reader did not see what is wrong."""

Change = Callable[[Path], object]


# --- what may be wrong with any file: each takes the file


def missing(path: Path) -> None:
    path.unlink()


def empty(path: Path) -> None:
    path.write_bytes(b"")


def cut(path: Path) -> None:
    data = path.read_bytes()
    path.write_bytes(data[: len(data) // 2])


def noise(path: Path) -> None:
    path.write_bytes(np.random.default_rng(0).bytes(5000))


def folder(path: Path) -> None:
    path.unlink()
    path.mkdir()


# --- what may be wrong with a table


def _table(path: Path, change: Callable[[pd.DataFrame], pd.DataFrame], **options: object) -> None:
    sep = "\t" if path.name.startswith(("MOB1.tsv", "alignment", "A.gem")) else ","
    if path.suffix == ".parquet":
        change(pd.read_parquet(path)).to_parquet(path)
        return
    table = pd.read_csv(path, sep=sep, comment="#", dtype=str, **options)
    made.put(path, change(table).to_csv(sep=sep, index=False))


def without(column: str) -> Change:
    return partial(_table, change=lambda t: t.drop(columns=column))


def with_value(column: str, value: object, rows: slice | int = 3) -> Change:
    def change(table: pd.DataFrame) -> pd.DataFrame:
        table = table.astype({column: object})
        table.iloc[rows, table.columns.get_loc(column)] = value
        return table.astype(str) if isinstance(value, str) else table

    return partial(_table, change=change)


def others(column: str) -> Change:
    """Other names of all spots."""
    return partial(_table, change=lambda t: t.assign(**{column: "other" + t[column].astype(str)}))


def twice(path: Path) -> None:
    _table(path, lambda t: pd.concat([t, t[:2]]))


def no_rows(path: Path) -> None:
    _table(path, lambda t: t[:0])


def semicolons(path: Path) -> None:
    text = gzip.decompress(path.read_bytes()) if path.suffix == ".gz" else path.read_bytes()
    made.put(path, text.decode().replace(",", "|").replace("\t", "|"))


def headless(change: Change) -> Change:
    """Change a table of positions that has no heading."""

    def changed(path: Path) -> None:
        names = list(made.positions())
        table = pd.read_csv(path, names=names)
        path.write_text(table.to_csv(index=False))
        change(path)
        table = pd.read_csv(path)
        path.write_text(table.to_csv(index=False, header=False))

    return changed


# --- what may be wrong with HDF5


def h5(change: Callable[[h5py.File], object]) -> Change:
    def changed(path: Path) -> None:
        with h5py.File(path, "a") as file:
            change(file)

    return changed


def put_in(name: str, value: object) -> Change:
    def change(file: h5py.File) -> None:
        del file[name]
        file[name] = value

    return h5(change)


def drop(name: str) -> Change:
    return h5(lambda file: file.__delitem__(name))


def linked(name: str) -> Change:
    def changed(path: Path) -> None:
        shutil.copy(path, path.with_name("elsewhere.bin"))
        with h5py.File(path, "a") as file:
            del file[name]
            file[name] = h5py.ExternalLink("elsewhere.bin", f"/{name}")

    return changed


def huge(name: str) -> Change:
    def change(file: h5py.File) -> None:
        del file[name]
        file.create_dataset(name, shape=(10**12,), chunks=(1000,), dtype="i4", compression="gzip")

    return h5(change)


def none_of_them(file: h5py.File) -> None:
    group = file["matrix"]
    for name, value in (("data", []), ("indices", []), ("indptr", [0]), ("barcodes", [])):
        del group[name]
        group[name] = np.array(value, "S" if name == "barcodes" else "i8")
    group["shape"][1] = 0


def again(file: h5py.File) -> None:
    file["matrix/barcodes"][1] = file["matrix/barcodes"][0]


H5 = {
    "missing": (missing, "has no|no format|no file"),
    "empty": (empty, "is empty"),
    "cut": (cut, "cut off"),
    "noise": (noise, "no HDF5"),
    "folder": (folder, "folder where a file belongs|has no"),
    "no group": (drop("matrix"), "no group 'matrix'"),
    "no barcodes": (drop("matrix/barcodes"), "has no /matrix/barcodes"),
    "no ids": (drop("matrix/features/id"), "has no /matrix/features/id"),
    "not fitting": (put_in("matrix/indptr", np.arange(4)), "do not fit together"),
    "beyond": (
        h5(lambda f: f["matrix/indices"].__setitem__(0, 99)),
        "do not fit together",
    ),
    "no spots": (h5(none_of_them), "holds no spots"),
    "twice": (h5(again), "more than once"),
    "link": (linked("matrix/data"), "refers to another file"),
    "huge": (huge("matrix/data"), "claims .* bytes but holds"),
}
TEXT = {
    "empty": (empty, "is empty"),
    "folder": (folder, "folder where a file belongs|has no"),
    "no rows": (no_rows, "no rows"),
    "delimiter": (semicolons, "has no column|no table of counts|has the columns|no columns"),
}


def places(xy: tuple[str, str], name: str) -> dict[str, tuple[Change, str]]:
    """What may be wrong with a table of positions."""
    x, y = xy
    return {
        "missing": (missing, "has no"),
        "no x": (without(x), "has no column|no columns with a usual name"),
        "word": (with_value(x, "left"), "holds no number in 1 rows .*'left'"),
        "nothing": (with_value(y, None), "holds no number"),
        "infinite": (with_value(y, "inf"), "holds no number"),
        "other names": (others(name), "No spot of"),
        "twice": (twice, "more than once"),
    }


def wide(gene: str) -> dict[str, tuple[Change, str]]:
    """What may be wrong with a table of counts."""
    return {
        **TEXT,
        "word": (with_value(gene, "many"), "'many', which is no count"),
        "gap": (with_value(gene, None), "no count|without all their counts"),
        "twice": (twice, "more than once"),
    }


def bytes_of(old: bytes, new: bytes) -> Change:
    def changed(path: Path) -> None:
        data = path.read_bytes()
        packed = data.startswith(b"\x1f\x8b")
        data = gzip.decompress(data) if packed else data
        assert old in data
        data = data.replace(old, new)
        path.write_bytes(gzip.compress(data) if packed else data)

    return changed


def bomb(path: Path) -> None:
    path.write_bytes(gzip.compress(b"0" * (guard.ALWAYS_FINE + 1), 9))


PACKED = {
    "cut": (cut, "cut off or damaged"),
    "noise": (lambda p: p.write_bytes(b"\x1f\x8b" + b"x" * 100), "cut off or damaged"),
    "bomb": (bomb, "unpacks to more than 200 times its size"),
}
MTX = {
    **PACKED,
    "missing": (missing, "no format|has no"),
    "empty": (empty, "is empty"),
    "no market": (bytes_of(b"%%MatrixMarket", b"%%Matrix"), "no sparse matrix"),
    "dense": (bytes_of(b"coordinate", b"array"), "no sparse matrix"),
    "short": (bytes_of(b"\n1 1 ", b"\n"), "cannot be read as Matrix Market"),
    "bomb": (
        bytes_of(b"\n1 1 ", b"\n" + b" " * (1 << 21) + b"1 1 "),
        "unpacks to more than 200 times its size",
    ),
    "beyond": (bytes_of(b"\n1 1 ", b"\n9 1 "), "cannot be read as Matrix Market"),
    "word": (bytes_of(b"\n1 1 ", b"\n1 x "), "cannot be read as Matrix Market"),
    "greedy": (bytes_of(b"\n5 12 ", b"\n5 12 99999999"), "claims .* more than it can hold"),
    "other size": (bytes_of(b"\n5 12 ", b"\n5 13 "), "5 features and 12 barcodes next to it"),
}
JSON = {
    "cut": (cut, "no JSON"),
    "list": (lambda p: p.write_text("[1]"), "no JSON object"),
    "empty": (empty, "is empty"),
}
FACTORS = {
    **JSON,
    "word": (lambda p: p.write_text('{"tissue_hires_scalef": "big"}'), "'big', which is no number"),
    "zero": (lambda p: p.write_text('{"tissue_hires_scalef": 0}'), "0, which is no size"),
}
IMAGE = {
    "cut": (cut, "cannot be read as an image"),
    "noise": (noise, "cannot be read as an image"),
    "empty": (empty, "is empty"),
    "vast": (lambda p: p.write_bytes(vast_png()), "too many to be loaded|cannot be read as an"),
}
GEM = {
    **TEXT,
    **PACKED,
    "missing": (missing, "no file"),
    "no x": (without("x"), "has no column 'x'"),
    "no gene": (without("geneID"), "has no column 'geneName'"),
    "no count": (without("MIDCount"), "has no column 'MIDCount'"),
    "word": (with_value("x", "left"), "holds no number .*'left'"),
    "half": (with_value("y", "1.5"), "no whole numbers"),
    "negative": (with_value("MIDCount", "-1"), "no whole numbers"),
    "no rows": (no_rows, "holds no molecules"),
    "folder": (folder, "no format"),
}


def fields(name: str) -> Change:
    def change(file: h5py.File) -> None:
        del file[name]
        file[name] = np.zeros(3, [("a", "u4")])

    return h5(change)


GEF = {
    "missing": (missing, "no file"),
    "empty": (empty, "is empty"),
    "cut": (cut, "cut off"),
    "noise": (noise, "no HDF5"),
    "no group": (drop("geneExp"), "neither /geneExp nor /cellBin"),
    "no bins": (h5(lambda f: [f["geneExp"].__delitem__(b) for b in list(f["geneExp"])]), "no size"),
    "no genes": (drop("geneExp/bin1/gene"), "has no /geneExp/bin1/gene"),
    "other fields": (fields("geneExp/bin1/expression"), "has no field 'x'"),
    "not fitting": (
        h5(lambda f: _fewer_genes(f)),
        "do not fit together",
    ),
    "link": (linked("geneExp/bin1/expression"), "refers to another file"),
    "plain": (put_in("geneExp/bin1/gene", np.arange(3)), "has no field"),
    "huge": (h5(lambda f: _huge_expression(f)), "claims .* bytes but holds"),
}


def _fewer_genes(file: h5py.File) -> None:
    genes = file["geneExp/bin1/gene"][:2]
    del file["geneExp/bin1/gene"]
    file["geneExp/bin1/gene"] = genes


def _huge_expression(file: h5py.File) -> None:
    n, kind = 10**12, file["geneExp/bin1/expression"].dtype
    genes = np.array([(b"Xkr4", 0, n)], [("geneID", "S64"), ("offset", "u8"), ("count", "u8")])
    for name in ("expression", "gene"):
        del file[f"geneExp/bin1/{name}"]
    group = file["geneExp/bin1"]
    group["gene"] = genes
    group.create_dataset("expression", (n,), kind, chunks=(1000,), compression="gzip")


CELL_GEF = {
    "empty": (empty, "is empty"),
    "cut": (cut, "cut off"),
    "no cells": (drop("cellBin/cell"), "has no /cellBin/cell"),
    "no genes": (drop("cellBin/gene"), "has no /cellBin/gene"),
    "no counts": (drop("cellBin/cellExp"), "has no /cellBin/cellExp"),
    "other fields": (fields("cellBin/cell"), "has no field"),
    "not fitting": (
        put_in("cellBin/cellExp", np.zeros(2, [("geneID", "u4"), ("count", "u2")])),
        "do not fit together",
    ),
    "link": (linked("cellBin/cellExp"), "refers to another file"),
    "same": (h5(lambda f: _same_cells(f)), "more than once"),
    "not a kind": (h5(lambda f: f.move("cellBin", "other")), "neither /geneExp nor /cellBin|read"),
}


def _same_cells(file: h5py.File) -> None:
    cells = file["cellBin/cell"][:]
    cells["id"] = 1
    file["cellBin/cell"][...] = cells


def vast_png() -> bytes:
    """A picture whose heading claims far more pixels than are there."""
    import struct
    import zlib

    head = struct.pack(">IIBBBBB", 60_000, 60_000, 8, 2, 0, 0, 0)
    chunks = b""
    for kind, data in ((b"IHDR", head), (b"IDAT", zlib.compress(b"\0")), (b"IEND", b"")):
        check = struct.pack(">I", zlib.crc32(kind + data))
        chunks += struct.pack(">I", len(data)) + kind + data + check
    return b"\x89PNG\r\n\x1a\n" + chunks


# --- stores: each takes the store


def meta(name: str, change: Callable[[dict], object]) -> Change:
    def changed(path: Path) -> None:
        file = path / name
        told = json.loads(file.read_text())
        change(told)
        file.write_text(json.dumps(told))
        for whole in ("zarr.json",):
            # What was put together of all metadata would hide the change.
            top = path / whole
            told = json.loads(top.read_text())
            told.pop("consolidated_metadata", None)
            top.write_text(json.dumps(told))

    return changed


def no_links(path: Path) -> None:
    attrs = path / "tables" / "table" / "uns" / "spatialdata_attrs"
    shutil.rmtree(attrs)
    meta("zarr.json", lambda told: None)(path)


def out_of_it(path: Path) -> None:
    (path.parent / "secret").mkdir()
    os.symlink(path.parent / "secret", path / "images" / "more")


def renamed(old: str, new: str) -> Change:
    def changed(path: Path) -> None:
        (path / old).rename(path / new)
        meta("zarr.json", lambda told: None)(path)

    return changed


def no_table(path: Path) -> None:
    shutil.rmtree(path / "tables" / "table")
    meta("zarr.json", lambda told: None)(path)


def two_tables(path: Path) -> None:
    shutil.copytree(path / "tables" / "table", path / "tables" / "more")
    meta("zarr.json", lambda told: None)(path)


def datasets(told: dict) -> None:
    told["attributes"]["ome"]["multiscales"][0]["datasets"][0]["path"] = "../../../secret"


STORE = {
    "missing": (shutil.rmtree, "no file"),
    "no table": (no_table, "without tables"),
    "no region": (renamed("shapes/spots", "shapes/others"), "which is not in the store"),
    "not linked": (no_links, "annotates no element"),
    "two tables": (two_tables, r"several tables: choose one .*\[table="),
    "damaged": (lambda p: (p / "zarr.json").write_text("{"), "is damaged"),
    "link": (out_of_it, "refers to another file"),
    "path": (meta("images/he/zarr.json", datasets), "refers to another file"),
    "empty": (lambda p: [shutil.rmtree(c) for c in p.iterdir() if c.is_dir()], "read|without|has"),
    "file": (lambda p: (shutil.rmtree(p), p.write_text("x")), "no format that is known"),
    "shapes cut": (lambda p: cut(next(p.glob("shapes/spots/*.parquet"))), "cannot be read"),
    "other instances": (lambda p: _other_instances(p), "no row of the table names an instance"),
}


def _other_instances(path: Path) -> None:
    import zarr

    group = zarr.open_group(path / "tables/table/obs", mode="a")
    group["spot"][:] = 7000 + np.arange(made.N_SPOTS)


def make_h5ad(path: Path) -> Path:
    from fakes import fake_slice

    path.parent.mkdir(parents=True, exist_ok=True)
    fake_slice(20).write_h5ad(path)
    return path


H5AD = {
    "missing": (missing, "no file"),
    "empty": (empty, "cannot be read"),
    "cut": (cut, "cannot be read"),
    "noise": (noise, "cannot be read"),
    "folder": (folder, "no format"),
    "text": (lambda p: p.write_text("a,b\n"), "cannot be read"),
    "no obs": (drop("obs"), "cannot be read"),
    "link": (linked("obs"), "refers to another file"),
    "link in it": (linked("obsm/spatial"), "refers to another file"),
    "other rows": (put_in("obs/_index", np.array([b"a", b"b"])), "cannot be read"),
}

XY = ("pxl_col_in_fullres", "pxl_row_in_fullres")
KINDS: dict[str, tuple[Callable[[Path], Path], dict[str, dict[str, tuple[Change, str]]]]] = {
    "visium": (
        partial(made.make_visium, version=2),
        {
            "filtered_feature_bc_matrix.h5": H5,
            "spatial/tissue_positions.csv": TEXT | places(XY, "barcode"),
            "spatial/scalefactors_json.json": FACTORS,
            "spatial/tissue_hires_image.png": IMAGE,
        },
    ),
    "visium1": (
        made.make_visium,
        {
            "spatial/tissue_positions_list.csv": {
                name: (headless(change), says)
                for name, (change, says) in places(XY, "barcode").items()
                if name not in ("missing", "no x")
            }
        },
    ),
    "visium_mtx": (
        partial(made.make_visium, mtx=True),
        {
            "filtered_feature_bc_matrix/matrix.mtx.gz": MTX,
            "filtered_feature_bc_matrix/barcodes.tsv.gz": PACKED
            | {"missing": (missing, "has no barcodes.tsv"), "empty": (empty, "is empty")},
            "filtered_feature_bc_matrix/features.tsv.gz": PACKED
            | {"missing": (missing, "has no features.tsv"), "empty": (empty, "is empty")},
        },
    ),
    "visium_hd": (
        partial(made.make_visium_hd, bins=(8,)),
        {
            "binned_outputs/square_008um/filtered_feature_bc_matrix.h5": H5,
            "binned_outputs/square_008um/spatial/tissue_positions.parquet": {
                **places(XY, "barcode"),
                "empty": (empty, "is empty"),
                "cut": (cut, "cannot be read as a table"),
                "noise": (noise, "cannot be read as a table"),
                "no rows": (no_rows, "no rows"),
                "folder": (folder, "folder where a file belongs|cannot be read|has no"),
                "word": (lambda p: _words(p, XY[0]), "holds no number"),
                "infinite": (with_value(XY[1], np.inf), "holds no number"),
                "nothing": (with_value(XY[1], np.nan), "holds no number"),
            },
        },
    ),
    "xenium": (
        partial(made.make_xenium, parquet=False),
        {
            "cell_feature_matrix.h5": H5,
            "cells.csv.gz": TEXT | PACKED | places(("x_centroid", "y_centroid"), "cell_id"),
            "experiment.xenium": JSON,
        },
    ),
    "merscope": (
        made.make_merscope,
        {
            "cell_by_gene.csv": wide("Sox17") | {"missing": (missing, "no format")},
            "cell_metadata.csv": TEXT | places(("center_x", "center_y"), "EntityID"),
        },
    ),
    "cosmx": (
        made.make_cosmx,
        {
            "S1_exprMat_file.csv.gz": wide("Sox17")
            | PACKED
            | {
                "missing": (missing, "no format"),
                "no cell": (without("cell_ID"), "has no column 'cell_ID'"),
            },
            "S1_metadata_file.csv": TEXT
            | places(("CenterX_global_px", "CenterY_global_px"), "cell_ID")
            | {"no x": (without("fov"), "has no column 'fov'")},
            "S1_fov_positions_file.csv": TEXT | {"no x": (without("x_global_px"), "has no column")},
        },
    ),
    "slideseq": (
        partial(made.make_slideseq, beads_are_rows=True),
        {
            "MappedDGEForR.csv": wide("Sox17") | {"missing": (missing, "has no MappedDGE")},
            "BeadLocationsForR.csv": TEXT | places(("xcoord", "ycoord"), "barcodes"),
        },
    ),
    "st": (
        made.make_st,
        {
            "MOB1.tsv": wide("Sox17")
            | {
                "missing": (missing, "no format"),
                "delimiter": (semicolons, "no format"),
                "empty": (empty, "no format"),
                "folder": (folder, "no format"),
                "no rows": (no_rows, "no format"),
                "no place": (bytes_of(b"\n12x11", b"\nhere"), "'here', which is not a place"),
            },
            "alignment_table_MOB1.tsv": TEXT
            | {
                "no x": (without("pixel_x"), "has no column 'pixel_x'"),
                "word": (with_value("pixel_x", "left"), "holds no number"),
                "twice": (twice, "more than once"),
                "folder": (folder, "folder where a file belongs"),
                "others": (with_value("x", "99", slice(None)), "more than once|No spot of"),
            },
        },
    ),
    "geo": (
        made.make_geo,
        {
            "GSM1_matrix.mtx.gz": MTX,
            "GSM1_coordinates.csv.gz": TEXT
            | PACKED
            | {k: v for k, v in places(("x", "y"), "barcode").items() if k != "missing"},
        },
    ),
    "A.gem.gz": (made.make_gem, {"": GEM}),
    "A.gef": (made.make_gef, {"": GEF}),
    "A.cellbin.gef": (made.make_cell_gef, {"": CELL_GEF}),
    "A.zarr": (made.make_store, {"": STORE}),
    "A.h5ad": (make_h5ad, {"": H5AD}),
}


def _words(path: Path, column: str) -> None:
    table = pd.read_parquet(path)
    table.assign(**{column: "left"}).to_parquet(path)


CASES = [
    pytest.param(kind, name, what, id=f"{kind}-{Path(name).name}-{what}".replace(" ", "_"))
    for kind, (_, files) in KINDS.items()
    for name, changes in files.items()
    for what in changes
]


@pytest.fixture
def small_bombs(monkeypatch):
    monkeypatch.setattr(guard, "ALWAYS_FINE", 1 << 20)


@pytest.mark.usefixtures("small_bombs")
@pytest.mark.parametrize(("kind", "name", "what"), CASES)
def test_one_sentence_says_what_is_wrong(tmp_path, kind, name, what):
    make, files = KINDS[kind]
    path = make(tmp_path / kind)
    assert read_slices([path])  # right before it is made wrong
    change, says = files[name][what]
    change(path / name if name else path)
    with pytest.raises(InputError) as caught:
        read_slices([path])
    said = str(caught.value)
    assert re.search(says, said), said
    assert str(path) in said or Path(name).name in said
    assert said.endswith(".")
    assert "\n" not in said
    if kind not in ("A.h5ad", "A.zarr"):
        assert FALLBACK not in said


@pytest.mark.parametrize("how", ["storage", "virtual"])
def test_data_that_lie_in_another_file_are_not_read(tmp_path, how):
    path = made.make_visium(tmp_path) / "filtered_feature_bc_matrix.h5"
    with h5py.File(path, "a") as file:
        n = len(file["matrix/data"])
        del file["matrix/data"]
        if how == "storage":
            (tmp_path / "secret.bin").write_bytes(b"\1" * 4 * n)
            places_ = [(str(tmp_path / "secret.bin"), 0, 4 * n)]
            file["matrix"].create_dataset("data", (n,), "i4", external=places_)
        else:
            layout = h5py.VirtualLayout((n,), "i4")
            layout[:] = h5py.VirtualSource(str(tmp_path / "secret.h5"), "data", (n,))
            file["matrix"].create_virtual_dataset("data", layout)
    with pytest.raises(InputError, match=r"refers to another file at '/matrix/data' .*secret"):
        read_slices([tmp_path])


def test_a_group_that_lies_in_itself_is_read(tmp_path):
    path = made.make_visium(tmp_path) / "filtered_feature_bc_matrix.h5"
    with h5py.File(path, "a") as file:
        file["matrix/again"] = file["matrix"]
    assert read_slices([tmp_path])[0][1].n_obs == made.N_SPOTS


def test_every_kind_has_ten_variants_that_are_wrong():
    for kind, (_, files) in KINDS.items():
        if kind != "visium1":  # a version of the kind before it
            assert sum(map(len, files.values())) >= 10, kind
