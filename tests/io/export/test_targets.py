"""Results handed on: what is written, that it is read again, and what is refused."""

from __future__ import annotations

import json
import re
from pathlib import Path
from urllib.parse import unquote

import anndata as ad
import h5py
import numpy as np
import pandas as pd
import pytest
from fakes import COLORS, FACTOR, fake_result
from scipy import sparse

from napari_staligner import InputError, read_slices
from napari_staligner import _keys as K
from napari_staligner.core.annotations.record import annotations_of, write_annotations
from napari_staligner.core.progress import finish
from napari_staligner.core.result.provenance import mark_source
from napari_staligner.core.result.renaming import rename_slices
from napari_staligner.io.export import vitessce_page
from napari_staligner.io.export.targets import TARGETS, export_steps
from napari_staligner.io.h5ad import read_any, slices_of_result
from napari_staligner.io.session_file import open_file
from napari_staligner.io.sources import file_source

pytestmark = pytest.mark.filterwarnings("ignore:Writing zarr v2 data will no longer")


@pytest.fixture
def result():
    """Two slices; the second lacks the first domain, which one of an annotator's classes has."""
    made = fake_result()[1]
    made.obs_names = made.obs_names.str.replace("-slice", "_slice")
    second = (made.obs[K.SLICE] == "slice2") & (made.obs[K.DOMAIN] == "1")
    made.obs.loc[second, K.DOMAIN] = "2"
    made.obs["Dr. A's score"] = np.arange(made.n_obs) / 2
    made.obs["library_id"] = pd.Categorical(["mine"] * made.n_obs)
    annotations = annotations_of(made, "Dr. A")
    annotations.use_template("Olfactory bulb")
    annotations.assign(np.arange(12), "GL", "lasso")
    write_annotations(made, annotations)
    return made


@pytest.fixture(autouse=True)
def _no_npm(monkeypatch):
    """Fetch nothing."""
    monkeypatch.setattr(vitessce_page.shutil, "which", lambda _: None)


def export(result: ad.AnnData, to: str, path: Path, *, overwrite: bool = False) -> list[str]:
    """Export and return what was said."""
    notes: list[str] = []
    steps = export_steps(result, to, path, overwrite=overwrite)
    finish(steps, lambda step: notes.append(step.note) if step.note else None)
    return notes


def path_for(to: str, folder: Path) -> Path:
    return folder / f"out{TARGETS[to].suffix}"


# --- all targets


@pytest.mark.parametrize("to", TARGETS)
def test_the_result_is_not_changed_and_nothing_is_left_beside(result, tmp_path, to):
    before = result.copy()
    export(result, to, path_for(to, tmp_path))
    assert [path.name for path in tmp_path.iterdir()] == [path_for(to, tmp_path).name]
    pd.testing.assert_frame_equal(result.obs, before.obs)
    assert list(result.uns) == list(before.uns)
    assert list(result.uns[K.STALIGNER]) == list(before.uns[K.STALIGNER])


@pytest.mark.parametrize("to", TARGETS)
def test_what_is_there_is_refused_unless_it_may_be_replaced(result, tmp_path, to):
    path = path_for(to, tmp_path)
    export(result, to, path)
    with pytest.raises(InputError, match=r"is there already: choose another name.*--overwrite"):
        export(result, to, path)
    export(result, to, path, overwrite=True)
    assert [each.name for each in tmp_path.iterdir()] == [path.name]


@pytest.mark.parametrize("to", [to for to, target in TARGETS.items() if target.is_folder])
def test_a_folder_of_other_things_is_never_replaced(result, tmp_path, to):
    path = path_for(to, tmp_path)
    path.mkdir()
    (path / "thesis.doc").write_text("years of work")
    with pytest.raises(InputError, match="holds files that were not exported from here"):
        export(result, to, path, overwrite=True)
    assert (path / "thesis.doc").read_text() == "years of work"


@pytest.mark.parametrize(
    ("to", "name", "says"),
    [
        ("spatialdata", "out", r"does not end in \.zarr.*call it 'out\.zarr'"),
        ("tissuumaps", "out.csv", r"does not end in \.h5ad.*call it 'out\.h5ad'"),
        ("csv", "none/out", "The folder .*none' does not exist: make it first"),
        ("paper", "out", "no target 'paper': choose one of spatialdata, "),
    ],
)
def test_targets_that_cannot_be_are_refused_before_any_work(result, tmp_path, to, name, says):
    with pytest.raises(InputError, match=says):
        next(export_steps(result, to, tmp_path / name))
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("to", TARGETS)
def test_a_file_for_a_folder_and_a_folder_for_a_file_are_refused(result, tmp_path, to):
    path = path_for(to, tmp_path)
    path.write_text("") if TARGETS[to].is_folder else path.mkdir()
    with pytest.raises(InputError, match=r"is a (file|folder) already: choose another name"):
        export(result, to, path, overwrite=True)


@pytest.mark.parametrize("to", TARGETS)
def test_what_is_cancelled_leaves_nothing(result, tmp_path, to):
    steps = export_steps(result, to, path_for(to, tmp_path))
    for _ in range(3):
        next(steps)
    steps.close()
    assert list(tmp_path.iterdir()) == []


# --- SpatialData


def test_a_store_opens_again_as_the_result_that_it_is(result, tmp_path):
    export(result, "spatialdata", tmp_path / "out.zarr")
    kind, back = read_any(tmp_path / "out.zarr")
    assert kind == "result"
    pd.testing.assert_frame_equal(back.obs, result.obs)
    assert (back.X != result.X).nnz == 0
    for key in (K.EMBEDDING, K.SPATIAL, K.SPATIAL_ALIGNED):
        np.testing.assert_array_equal(back.obsm[key], result.obsm[key])
    for key in result.obsp:
        assert (back.obsp[key] != result.obsp[key]).nnz == 0
    told = back.uns[K.STALIGNER]
    np.testing.assert_array_equal(
        told["transforms"]["slice2"], result.uns[K.STALIGNER]["transforms"]["slice2"]
    )
    again = annotations_of(back)
    assert again.annotator == "Dr. A"
    assert again.column().tolist() == annotations_of(result).column().tolist()
    assert list(back.uns["domain_colors"]) == list(COLORS[:4])
    for name in ("slice1", "slice2"):
        (pixels, library) = (each.uns[K.SPATIAL][name] for each in (result, back))
        np.testing.assert_array_equal(pixels["images"]["lowres"], library["images"]["hires"])
        assert library["scalefactors"]["tissue_hires_scalef"] == pytest.approx(FACTOR)
    # The window takes it, and does not save into the store.
    content = open_file(tmp_path / "out.zarr")
    assert content.result is not None
    assert content.path is None
    assert [name for name, _ in read_slices([tmp_path / "out.zarr"])] == ["slice1", "slice2"]


def test_each_slice_has_a_table_that_viewers_colour_by(result, tmp_path):
    from spatialdata import read_zarr

    export(result, "spatialdata", tmp_path / "out.zarr")
    store = read_zarr(tmp_path / "out.zarr")
    for name, present in (("slice1", "1234"), ("slice2", "234")):
        table = store.tables[f"{name}_table"]
        assert set(table.obs["spots_element"]) == {f"{name}_spots"}
        assert table.obs["spots_instance"].tolist() == store[f"{name}_spots"].index.tolist()
        # napari-spatialdata pairs categories and colours one by one.
        assert "".join(table.obs[K.DOMAIN].cat.categories) == present
        wanted = [COLORS[int(each) - 1] for each in present]
        assert list(table.uns["domain_colors"]) == wanted
        assert {K.DOMAIN, K.CONFIDENCE, K.ANNOTATION} <= set(table.obs)
        assert table.obsm[K.EMBEDDING].shape == (table.n_obs, 30)
    # One slice of it can be taken alone, as of any store.
    ((_, alone),) = read_slices([f"{tmp_path / 'out.zarr'}[table=slice2_table]"])
    assert alone.n_obs == 50
    library = next(iter(alone.uns[K.SPATIAL].values()))
    assert library["scalefactors"]["spot_diameter_fullres"] == pytest.approx(9.5)


def test_names_that_spatialdata_does_not_take(result, tmp_path):
    rename_slices(result, {"slice1": "a b ü", "slice2": "A_B Ü"})
    result.obs = result.obs.rename(columns={"depth": "depth (µm)"})
    result.obsm["my umap!"] = result.obsm[K.SPATIAL] * 2
    export(result, "spatialdata", tmp_path / "out.zarr")
    back = read_any(tmp_path / "out.zarr")[1]
    pd.testing.assert_frame_equal(back.obs, result.obs)
    np.testing.assert_array_equal(back.obsm["my umap!"], result.obsm["my umap!"])
    assert (back.X != result.X).nnz == 0


def test_what_others_added_to_a_store_is_taken(result, tmp_path):
    from spatialdata import read_zarr

    export(result, "spatialdata", tmp_path / "out.zarr")
    store = read_zarr(tmp_path / "out.zarr")
    for name, value in (("slice1", "tumour"), ("slice2", "stroma")):
        store.tables[f"{name}_table"].obs["seen"] = pd.Categorical(
            [value] * len(store[f"{name}_spots"])
        )
    store.write(tmp_path / "again.zarr")
    back = read_any(tmp_path / "again.zarr")[1]
    assert (back.obs["seen"] == np.where(back.obs[K.SLICE] == "slice1", "tumour", "stroma")).all()


def test_a_table_that_is_lost_is_not_taken_for_zeros(result, tmp_path):
    import shutil

    from spatialdata import read_zarr

    export(result, "spatialdata", tmp_path / "out.zarr")
    store = read_zarr(tmp_path / "out.zarr")
    del store.tables["slice1_table"]
    store.write(tmp_path / "less.zarr")
    shutil.rmtree(tmp_path / "out.zarr")
    with pytest.raises(InputError, match="has lost the table of slice 'slice1'"):
        read_any(tmp_path / "less.zarr")
    assert read_slices([f"{tmp_path / 'less.zarr'}[table=slice2_table]"])[0][1].n_obs == 50


# --- slices


@pytest.fixture
def filed(result, tmp_path):
    """The result, whose first slice has a file with more in it than the result holds."""
    own = slices_of_result(result)[0][1]
    (tmp_path / "in").mkdir()
    path = tmp_path / "in" / "first.h5ad"
    extra = own[:2].copy()
    extra.obs_names = ["off1", "off2"]
    whole = ad.concat([extra, own], merge="first", uns_merge="first")
    whole.obs[K.DOMAIN] = pd.Categorical(["my own"] * whole.n_obs)
    whole.layers["velocity"] = whole.X * 3
    whole.uns["mine"] = {"kept": 1}
    whole.obsp["mine"] = sparse.eye(whole.n_obs, format="csr")
    whole.raw = whole.copy()
    whole.write_h5ad(path)
    marked = ad.AnnData()
    mark_source(marked, file_source(path))
    told = result.uns[K.STALIGNER]
    told[K.PROVENANCE] = {"sources": {"slice1": marked.uns[K.SOURCE]}}
    return result, path


def test_a_slice_comes_back_with_all_its_file_holds_and_what_was_made(filed, tmp_path):
    result, path = filed
    notes = export(result, "slices", tmp_path / "out")
    before, after = ad.read_h5ad(path), ad.read_h5ad(tmp_path / "out" / "slice1.h5ad")
    assert after.obs_names.tolist() == before.obs_names.tolist()
    assert (after.X != before.X).nnz == 0
    assert (after.layers["velocity"] != before.layers["velocity"]).nnz == 0
    assert (after.obsp["mine"] != before.obsp["mine"]).nnz == 0
    assert after.raw.shape == before.raw.shape
    assert after.uns["mine"] == {"kept": 1}
    np.testing.assert_array_equal(after.obsm[K.SPATIAL], before.obsm[K.SPATIAL])
    assert set(after.obs["domain_of_input"]) == {"my own"}
    rows = (result.obs[K.SLICE] == "slice1").to_numpy()
    assert after.obs[K.DOMAIN].iloc[2:].tolist() == result.obs[K.DOMAIN][rows].tolist()
    assert after.obs[K.DOMAIN].iloc[:2].isna().all()
    np.testing.assert_array_equal(after.obsm[K.EMBEDDING][2:], result.obsm[K.EMBEDDING][rows])
    assert np.isnan(after.obsm[K.SPATIAL_ALIGNED][:2]).all()
    assert list(after.uns["domain_colors"]) == list(COLORS[:4])
    assert any("Slice 'slice1': 2 of 62 spots were left out" in note for note in notes)
    assert any("'slice2' is written as the result holds it" in note for note in notes)
    # It is a slice again, of the user's own columns.
    ((name, read),) = read_slices([tmp_path / "out" / "slice1.h5ad"])
    assert (name, read.shape) == ("slice1", before.shape)


def test_a_file_that_has_changed_is_not_taken(filed, tmp_path):
    result, path = filed
    path.write_bytes(path.read_bytes() + b" ")
    notes = export(result, "slices", tmp_path / "out")
    assert any("'slice1' is written as the result holds it" in n and "changed" in n for n in notes)
    after = ad.read_h5ad(tmp_path / "out" / "slice1.h5ad")
    assert after.shape == (60, 20)
    assert after.obs["depth"].tolist() == result.obs["depth"][:60].tolist()


def test_a_slice_with_a_column_slice_of_its_own_is_still_a_slice(result, tmp_path):
    result.uns[K.STALIGNER]["written"] = {
        "obs": np.array([K.SLICE, K.DOMAIN], object),
        "obsm": np.array([K.EMBEDDING], object),
    }
    result.uns[K.STALIGNER]["of_input"] = {"obs": np.array([["slice_of_input", "slice"]], object)}
    result.obs["slice_of_input"] = "section 7"
    export(result, "slices", tmp_path / "out")
    kind, content = read_any(tmp_path / "out" / "slice2.h5ad")
    assert kind == "slices"
    assert set(content[0][1].obs["slice"]) == {"section 7"}


# --- CSV


def test_tables_are_read_by_pandas_and_as_slices(result, tmp_path):
    export(result, "csv", tmp_path / "out")
    table = pd.read_csv(tmp_path / "out" / "slice2_coordinates.csv")
    rows = np.flatnonzero(result.obs[K.SLICE] == "slice2")
    assert list(table) == [
        *("barcode", "x", "y", "x_aligned", "y_aligned"),
        *("domain", "alignment_confidence", "annotation"),
    ]
    assert table["barcode"].tolist() == [f"spot{i}" for i in range(50)]
    np.testing.assert_allclose(table[["x", "y"]], result.obsm[K.SPATIAL][rows])
    aligned = table[["x_aligned", "y_aligned"]]
    np.testing.assert_allclose(aligned, result.obsm[K.SPATIAL_ALIGNED][rows])
    assert table["domain"].astype(str).tolist() == result.obs[K.DOMAIN].iloc[rows].tolist()
    slices = dict(read_slices([tmp_path / "out"]))
    assert list(slices) == ["slice1", "slice2"]
    second = slices["slice2"]
    assert (result.X[rows] != second.X).nnz == 0
    assert second.var_names.tolist() == result.var_names.tolist()
    np.testing.assert_allclose(second.obsm[K.SPATIAL], result.obsm[K.SPATIAL][rows])


# --- TissUUmaps


def test_tissuumaps_gets_the_image_of_each_slice_below_its_spots(result, tmp_path):
    """Its reader counts libraries by the alphabet, and spots by the categories of library_id."""
    rename_slices(result, {"slice1": "Z"})
    result.uns[K.SPATIAL].pop("slice2")
    export(result, "tissuumaps", tmp_path / "out.h5ad")
    with h5py.File(tmp_path / "out.h5ad") as file:
        libraries = list(file["uns/spatial"])
        assert libraries == ["Z", "slice2"]
        assert [*file["obs/library_id/categories"].asstr()] == libraries
        # By columns, and with its own places in pixels: else it writes a copy first.
        assert file["X"].attrs["encoding-type"] == "csc_matrix"
        places, codes = file["obsm/spatial_hires"][:], file["obs/library_id/codes"][:]
        for number, name in enumerate(libraries):
            image = file[f"uns/spatial/{name}/images/hires"]
            assert image.dtype == np.uint8
            assert image.shape[2] == 3
            own = places[codes == number]
            assert (own >= 0).all()
            assert (own <= np.array(image.shape[1::-1])).all()
        first = result.obsm[K.SPATIAL][(result.obs[K.SLICE] == "Z").to_numpy()]
        np.testing.assert_allclose(places[codes == 0], first * FACTOR)
        assert (file["uns/spatial/slice2/images/hires"][:] == 255).all()
        assert [*file["uns/domain_colors"].asstr()] == list(COLORS[:4])
        groups = json.loads(file["uns/tmap_obsgroups"].asstr()[()])
        assert groups["STAligner"] == ["slice", "domain", "alignment_confidence", "annotation"]
        assert "library_id_of_input" in groups["Of the slices"]
        assert "spatial_connectivities" in file["obsp"]


def test_one_slice_lies_on_its_own_image(result, tmp_path):
    one = result[result.obs[K.SLICE] == "slice1"].copy()
    export(one, "tissuumaps", tmp_path / "out.h5ad")
    back = ad.read_h5ad(tmp_path / "out.h5ad")
    factor = back.uns[K.SPATIAL]["slice1"]["scalefactors"]["tissue_hires_scalef"]
    assert factor == FACTOR
    assert "spatial_hires" not in back.obsm


# --- Vitessce


def config_of(folder: Path) -> tuple[dict, dict[str, dict]]:
    """The configuration, and of each data set the files by the kind of their data."""
    config = json.loads((folder / "vitessce.json").read_text())
    files = {
        each["name"]: {file["fileType"].split(".")[0]: file for file in each["files"]}
        for each in config["datasets"]
    }
    return config, files


def test_vitessce_gets_spots_image_and_domains_of_each_slice(result, tmp_path):
    from tifffile import TiffFile

    rename_slices(result, {"slice2": "sets #2"})
    result.uns[K.SPATIAL].pop("sets #2")
    (note,) = export(result, "vitessce", tmp_path / "out")
    assert "there is no npm on this machine" in note
    config, files = config_of(tmp_path / "out")
    assert list(files) == ["all slices", "slice1", "sets #2"]
    assert "image" not in files["sets #2"]
    first = tmp_path / "out" / files["slice1"]["image"]["url"]
    with TiffFile(first) as tif:
        assert tif.is_ome
        assert tif.series[0].axes == "CYX"
        pixels = result.uns[K.SPATIAL]["slice1"]["images"]["lowres"]
        np.testing.assert_array_equal(tif.asarray(), np.moveaxis(pixels, 2, 0))
    for name, factor in (("slice1", FACTOR), ("sets #2", 1.0)):
        rows = (result.obs[K.SLICE] == name).to_numpy()
        places = pd.read_csv(tmp_path / "out" / files[name]["obsLocations"]["url"])
        np.testing.assert_allclose(places[["x", "y"]], result.obsm[K.SPATIAL][rows] * factor)
        sets = json.loads((tmp_path / "out" / files[name]["obsSets"]["url"]).read_text())
        assert [group["name"] for group in sets["tree"]] == ["Domain", "Annotation", "Slice"]
        of_spot = {s: each["name"] for each in sets["tree"][0]["children"] for s, _ in each["set"]}
        given = dict(zip(places["spot"], result.obs[K.DOMAIN][rows], strict=True))
        assert of_spot == given
        assert sets["tree"][0]["children"][-1]["color"] == [0xD5, 0x5E, 0x00]
    whole = pd.read_csv(tmp_path / "out" / files["all slices"]["obsEmbedding"]["url"])
    assert len(whole) == result.n_obs
    # Nothing overlaps, and all is on the page.
    taken = np.zeros((12, 12), int)
    for view in config["layout"]:
        taken[view["y"] : view["y"] + view["h"], view["x"] : view["x"] + view["w"]] += 1
    assert (taken == 1).all()
    space = config["coordinationSpace"]
    for view in config["layout"]:
        for kind, scope in view["coordinationScopes"].items():
            assert scope in space[kind]


@pytest.mark.parametrize("n", [1, 2, 5, 12, 40])
def test_views_of_many_slices_do_not_overlap(n):
    from napari_staligner.io.export.vitessce import _layout

    taken = np.zeros((60, 12), int)
    for view in _layout({f"s{i}": f"slice{i}" for i in range(n)}):
        assert view["x"] + view["w"] <= 12
        taken[view["y"] : view["y"] + view["h"], view["x"] : view["x"] + view["w"]] += 1
    assert taken.max() == 1


def packed(folder: Path) -> None:
    """Packages as npm leaves them, with a line of JavaScript in each file."""
    import io
    import tarfile

    contents = {
        f"react-{vitessce_page.REACT}.tgz": {"umd/react.production.min.js": "React = {};"},
        f"react-dom-{vitessce_page.REACT}.tgz": {
            "umd/react-dom.production.min.js": "ReactDOM = {};"
        },
        f"vitessce-{vitessce_page.VITESSCE}.tgz": {
            "dist/index.min.js": 'import { a } from "./index-1.js";\nimport "react";',
            "dist/index-1.js": 'const b = () => import("./lazy-2.js"); f(".js", "./none.js");',
            "dist/lazy-2.js": 'import("./index-1.js")',
            "dist/higlass-3.js": "other",
            "src/index.js": "other",
        },
    }
    folder.mkdir(parents=True)
    for name, files in contents.items():
        with tarfile.open(folder / name, "w:gz") as archive:
            for path, text in {**files, "LICENSE": "MIT"}.items():
                member = tarfile.TarInfo(f"package/{path}")
                member.size = len(text)
                archive.addfile(member, io.BytesIO(text.encode()))


def test_the_page_holds_all_that_it_needs(result, tmp_path, monkeypatch):
    import base64

    from napari_staligner.io import user_folder

    monkeypatch.setattr(user_folder, "cache_folder", lambda: tmp_path / "cache" / "slices")
    packed(tmp_path / "cache" / f"vitessce-{vitessce_page.VITESSCE}")
    assert export(result, "vitessce", tmp_path / "out") == []
    page = (tmp_path / "out" / "index.html").read_text()
    named = re.findall(r'<script src="([^"]+)">', page)
    assert all((tmp_path / "out" / unquote(name)).is_file() for name in named)
    assert "http:" not in page
    assert "https:" not in page
    kept = {}
    for name in named:
        text = (tmp_path / "out" / unquote(name)).read_text()
        if text.startswith("keep("):
            key, content = json.loads(f"[{text[5:].rstrip().removesuffix(');')}]")
            kept[key] = base64.b64decode(content)
    assert "vitessce/higlass-3.js" not in kept
    main = kept["vitessce/index.min.js"].decode()
    assert main == 'import { a } from "vitessce/index-1.js";\nimport "react";'
    second = kept["vitessce/index-1.js"].decode()
    assert second == 'const b = () => import("vitessce/lazy-2.js"); f(".js", "./none.js");'
    _, files = config_of(tmp_path / "out")
    for of_slice in files.values():
        for file in of_slice.values():
            assert kept[file["url"]] == (tmp_path / "out" / file["url"]).read_bytes()
    assert (tmp_path / "out" / "javascript" / "vitessce.LICENSE.txt").is_file()
