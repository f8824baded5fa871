"""Annotations that leave and come back: GeoJSON, CSV, SpatialData, autosave."""

from __future__ import annotations

import json
import os

import numpy as np
import pandas as pd
import pytest
from fakes import FACTOR, fake_result

from napari_staligner import _keys as K
from napari_staligner._errors import InputError
from napari_staligner.core.annotations.annotations import Annotations
from napari_staligner.core.annotations.classes import Shape
from napari_staligner.core.annotations.regions import inside
from napari_staligner.io.annotations.geojson import read_geojson, write_geojson
from napari_staligner.io.annotations.loupe_csv import read_barcodes, write_barcodes
from napari_staligner.io.export.spatialdata import write_spatialdata


@pytest.fixture
def result():
    made = fake_result()[1]
    # as integrate names the spots
    made.obs_names = made.obs_names.str.replace("-slice", "_slice")
    return made


def blank(result):
    made = Annotations()
    made.carry_to(result.obs_names)
    return made


@pytest.fixture
def annotations(result):
    made = blank(result)
    made.use_template("Olfactory bulb")
    rng = np.random.default_rng(0)
    codes = rng.integers(0, 4, result.n_obs)
    for code, name in enumerate(("GL", "EPL", "AOBgr")):
        square = np.array([[0, 0], [50, 0], [50, 50.0]])
        made.assign(np.flatnonzero(codes == code), name, "lasso", [Shape("slice1", square)])
    return made


def labels(annotations):
    return annotations.column().astype(object).tolist()


# --- GeoJSON


@pytest.mark.parametrize("coordinates", ["spots", "image"])
def test_geojson_comes_back_as_it_went(annotations, result, tmp_path, coordinates):
    path = tmp_path / "regions.geojson"
    assert write_geojson(result, annotations, path, coordinates=coordinates) == 6
    back = blank(result)
    n = read_geojson(result, back, path).n_changed
    assert n == (annotations.codes() >= 0).sum()
    assert labels(back) == labels(annotations)
    assert {c.name: c.color for c in back.classes} == {
        c.name: c.color for c in annotations.classes if c.name in ("GL", "EPL", "AOBgr")
    }
    assert back.undo_text.endswith("regions.geojson")
    assert all(edit.how == "import" for edit in back.edits)


def test_geojson_is_written_as_qupath_and_tissuumaps_read_it(annotations, result, tmp_path):
    path = tmp_path / "regions.geojson"
    write_geojson(result, annotations, path, slices=["slice2"], coordinates="image")
    written = json.loads(path.read_text())
    assert written["type"] == "FeatureCollection"
    pixels = result.uns[K.SPATIAL]["slice2"]["images"]["lowres"].shape[1::-1]
    for feature in written["features"]:
        assert feature["type"] == "Feature"
        assert feature["geometry"]["type"] in ("Polygon", "MultiPolygon")
        said = feature["properties"]
        assert said["objectType"] == "annotation"
        name = said["classification"]["name"]
        color = annotations.named(name).color
        assert "#{:02x}{:02x}{:02x}".format(*said["classification"]["color"]) == color
        assert said["color"] == said["classification"]["color"]
        rings = json.dumps(feature["geometry"]["coordinates"]).replace("[", "").replace("]", "")
        xy = np.array(rings.split(","), float).reshape(-1, 2)
        assert (xy > 0).all()
        assert (xy < pixels).all(), "outlines lie on the image"
    # the same region keeps its identifier, others differ
    ids = [feature["id"] for feature in written["features"]]
    assert len(set(ids)) == len(ids)


def test_what_qupath_draws_is_read(result, tmp_path):
    """A rectangle and an old packed colour, in a bare list, without our metadata."""
    ring = [[15, 15], [45, 15], [45, 35], [15, 35], [15, 15]]
    geometry = {"type": "Polygon", "coordinates": [ring]}
    packed = {"name": "Tumor", "colorRGB": -3670016}
    path = tmp_path / "qupath.geojson"
    path.write_text(
        json.dumps(
            [
                {
                    "type": "Feature",
                    "id": "PathAnnotationObject",
                    "geometry": geometry,
                    "properties": {"objectType": "annotation", "classification": packed},
                }
            ]
        )
    )
    back = blank(result)
    read_geojson(result, back, path, slice_name="slice1")
    assert back.classes[0].color == "#c80000"
    xy = result.obsm[K.SPATIAL]
    expected = (xy[:, 0] < 45) & (xy[:, 1] < 35) & (result.obs[K.SLICE] == "slice1").to_numpy()
    assert back.rows_of("Tumor").tolist() == np.flatnonzero(expected).tolist()
    ((_, shape),) = back.shapes
    assert inside(shape.xy, xy[: len(shape.xy)]) is not None
    np.testing.assert_allclose([shape.xy.min(axis=0), shape.xy.max(axis=0)], [[15, 15], [45, 35]])


def test_image_pixels_are_taken_to_the_spots(result, tmp_path):
    ring = (np.array([[15, 15], [45, 15], [45, 35], [15, 35], [15, 15]]) * FACTOR).tolist()
    feature = {
        "type": "Feature",
        "geometry": {"type": "Polygon", "coordinates": [ring]},
        "properties": {"name": "A"},
    }
    path = tmp_path / "one.geojson"
    path.write_text(json.dumps(feature))
    back = blank(result)
    read_geojson(result, back, path, slice_name="slice2", coordinates="image")
    xy, here = result.obsm[K.SPATIAL], (result.obs[K.SLICE] == "slice2").to_numpy()
    expected = (xy[:, 0] < 45) & (xy[:, 1] < 35) & here
    assert back.rows_of("A").tolist() == np.flatnonzero(expected).tolist()


SQUARE = {"type": "Polygon", "coordinates": [[[0, 0], [50, 0], [50, 50], [0, 0]]]}


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("no json", "is no GeoJSON"),
        ("{}", "holds no region"),
        (json.dumps({"geometry": SQUARE, "properties": {"name": "A"}}), "name one of 'slice1'"),
        (
            json.dumps(
                {"geometry": SQUARE, "properties": {"name": "A", "metadata": {"slice": "else"}}}
            ),
            "it says 'else'",
        ),
        (
            json.dumps({"geometry": {"type": "Polygon", "coordinates": 3}, "properties": {}}),
            "geometry cannot be read",
        ),
    ],
)
def test_geojson_that_cannot_be_used_is_named_and_changes_nothing(
    result, tmp_path, content, message
):
    path = tmp_path / "bad.geojson"
    path.write_text(content)
    back = blank(result)
    with pytest.raises(InputError, match=message):
        read_geojson(result, back, path)
    assert back.edits == []


def test_without_an_image_there_are_no_image_coordinates(annotations, result, tmp_path):
    result.uns[K.SPATIAL].pop("slice1")
    with pytest.raises(InputError, match="'slice1' has no tissue image"):
        write_geojson(result, annotations, tmp_path / "x.geojson", coordinates="image")
    assert list(tmp_path.iterdir()) == []


def test_nothing_annotated_is_not_written(result, tmp_path):
    for write in (write_geojson, write_barcodes):
        with pytest.raises(InputError, match="annotate some first"):
            write(result, blank(result), tmp_path / "x")


def test_a_failure_leaves_the_old_file(annotations, result, tmp_path, monkeypatch):
    path = tmp_path / "regions.geojson"
    path.write_text("old")

    def refuse(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "replace", refuse)
    with pytest.raises(InputError, match="No space left"):
        write_geojson(result, annotations, path)
    assert [p.name for p in tmp_path.iterdir()] == ["regions.geojson"]
    assert path.read_text() == "old"


# --- CSV


def test_csv_of_one_slice_is_what_loupe_imports(annotations, result, tmp_path):
    path = tmp_path / "slice2.csv"
    n = write_barcodes(result, annotations, path, slice_name="slice2")
    table = pd.read_csv(path)
    assert table.columns.tolist() == ["Barcode", "annotation"]
    assert len(table) == n
    assert table["Barcode"].str.fullmatch(r"spot\d+").all()
    back = blank(result)
    read_barcodes(result, back, path, slice_name="slice2")
    here = (result.obs[K.SLICE] == "slice2").to_numpy()
    ours, theirs = np.array(labels(annotations), object), np.array(labels(back), object)
    assert (ours[here] == theirs[here]).sum() == n
    assert pd.isna(theirs[~here]).all()


def test_csv_of_all_slices_comes_back_as_it_went(annotations, result, tmp_path):
    names = list(result.obs_names)
    write_barcodes(result, annotations, tmp_path / "all.csv")
    back = blank(result)
    read_barcodes(result, back, tmp_path / "all.csv")
    assert list(result.obs_names) == names
    assert labels(back) == labels(annotations)


@pytest.mark.parametrize("named", [None, "slice2"])
def test_spots_may_be_called_as_the_result_calls_them(result, tmp_path, named):
    path, back = tmp_path / "in.csv", blank(result)
    spot = int(np.flatnonzero((result.obs[K.SLICE] == "slice2").to_numpy())[3])
    path.write_text(f"Barcode,annotation\n{result.obs_names[spot]},GL\n")
    assert read_barcodes(result, back, path, slice_name=named).n_changed == 1
    assert np.flatnonzero(pd.notna(np.array(labels(back), object))).tolist() == [spot]
    with pytest.raises(InputError, match="in no slice"):
        read_barcodes(result, back, path, slice_name="slice1")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("Barcode,annotation\nspot3,GL\n", "'spot3' is in several slices"),
        ("Barcode,annotation\nnone,GL\n", "1 of 1 barcodes are in no slice"),
        ("cell,annotation\nnone,GL\n", "needs a column 'Barcode'"),
        ("cell,annotation\nspot3,GL\n", "'spot3' is in several slices"),
        ("Barcode\nspot3\n", "needs a column 'Barcode' and one with the classes"),
        ("", "is no CSV table"),
    ],
)
def test_csv_that_cannot_be_used_is_named(result, tmp_path, text, message):
    path = tmp_path / "bad.csv"
    path.write_text(text)
    with pytest.raises(InputError, match=message):
        read_barcodes(result, blank(result), path)


# --- SpatialData


def test_spatialdata_holds_shapes_and_table(annotations, result, tmp_path):
    from spatialdata import read_zarr

    path = write_spatialdata(result, annotations, tmp_path / "out.zarr")
    write_spatialdata(result, annotations, path)
    assert [p.name for p in tmp_path.iterdir()] == ["out.zarr"]
    store = read_zarr(path)
    regions = store.shapes["slice1_regions"].set_index("annotation")
    rows = np.flatnonzero((result.obs[K.SLICE] == "slice1").to_numpy())
    xy = result.obsm[K.SPATIAL][rows]
    for name in ("GL", "EPL", "AOBgr"):
        expected = np.intersect1d(annotations.rows_of(name), rows)
        assert rows[inside(regions.geometry[name], xy)].tolist() == expected.tolist()
        assert regions.color[name] == annotations.named(name).color
    assert len(store.shapes["slice1_drawn"]) == 3
    assert (store.shapes["slice2_spots"].index == np.arange(50)).all()
    assert set(store.coordinate_systems) == {"slice1", "slice2", "aligned"}
    table = store.tables["slice1_table"]
    assert table.obs[K.DOMAIN].notna().any()
    assert table.obs["spots_element"].astype(str).iloc[0] == "slice1_spots"
    assert table.obs["region"].tolist() == result.obs["region"].iloc[rows].tolist()
    assert "slice1_image" in store.images
