"""Annotations as other programs write them."""

from __future__ import annotations

import json

import numpy as np
import pytest
from fakes import fake_result

from napari_staligner import _keys as K
from napari_staligner._errors import InputError
from napari_staligner.core.annotations.annotations import Annotations
from napari_staligner.core.palette import hex_color
from napari_staligner.io.annotations.barcode_match import Cut, match_barcodes
from napari_staligner.io.annotations.feature_classes import class_of
from napari_staligner.io.annotations.formats import columns_to_choose, import_annotations

RING = [[15, 15], [45, 15], [45, 35], [15, 35], [15, 15]]
RECTANGLE = {"type": "Polygon", "coordinates": [RING]}


@pytest.fixture
def result():
    made = fake_result()[1]
    made.obs_names = made.obs_names.str.replace("-slice", "_slice")
    return made


def brought(result, path, **how):
    """Annotations after an import, and what was said."""
    made = Annotations()
    made.carry_to(result.obs_names)
    done = import_annotations(result, made, path, **{"slice_name": "slice1", **how})
    return made, " ".join(done.notes)


def here(result, low=(15, 15), high=(45, 35)):
    xy = result.obsm[K.SPATIAL]
    inside = ((xy > low) & (xy < high)).all(axis=1)
    return np.flatnonzero(inside & (result.obs[K.SLICE] == "slice1").to_numpy()).tolist()


# --- classes of features


@pytest.mark.parametrize(
    ("said", "name", "color"),
    [
        ({"classification": {"name": "Tumor", "color": [200, 0, 0]}}, "Tumor", "#c80000"),
        ({"classification": {"names": ["Tumor"], "color": [200, 0, 0]}}, "Tumor", "#c80000"),
        ({"classification": {"names": ["Tumor", "Positive"]}}, "Tumor: Positive", ""),
        ({"classification": {"name": "Tumor", "colorRGB": -3670016}}, "Tumor", "#c80000"),
        ({"classification": {"name": "Tumor", "colorRGB": "-3670016"}}, "Tumor", "#c80000"),
        ({"classification": {"name": "Tumor", "color": "#c80000"}}, "Tumor", "#c80000"),
        ({"classification": {"name": "Tumor", "color": None}, "color": "red"}, "Tumor", "#ff0000"),
        ({"classification": {"name": "Tumor", "color": "no colour"}}, "Tumor", ""),
        ({"classification": "Tumor"}, "Tumor", ""),
        ({"classification": "Tumor", "color": [0, 0, 255]}, "Tumor", "#0000ff"),
        ({"classification": '{"name": "Tumor", "color": [200, 0, 0]}'}, "Tumor", "#c80000"),
        ({"classification": "{'name': 'Tumor', 'color': [200, 0, 0]}"}, "Tumor", "#c80000"),
        ({"classification": '{"names": ["Tumor", "Positive"]}'}, "Tumor: Positive", ""),
        ({"classification": ["Tumor", "Positive"]}, "Tumor: Positive", ""),
        ({"classification": {"name": 3}}, "3", ""),
        ({"classification": None, "name": "ROI 1"}, "ROI 1", ""),
        ({"classification": {"name": None}, "name": "ROI 1"}, "ROI 1", ""),
        ({"classification": "nan", "name": "ROI 1"}, "ROI 1", ""),
        ({"Class": "Tumor"}, "Tumor", ""),
        ({"label": "Tumor", "name": "polygon 7"}, "Tumor", ""),
        ({}, "", ""),
    ],
)
def test_classes_as_others_write_them(said, name, color):
    assert class_of(said) == (name, color)


@pytest.mark.parametrize(
    ("value", "color"),
    [
        ([200, 0, 0], "#c80000"),
        ([200, 0, 0, 255], "#c80000"),
        ([0.5, 0, 1], "#8000ff"),
        ([1, 0, 0], "#ff0000"),
        (-3670016, "#c80000"),
        ("#C80000", "#c80000"),
        ("#c80000ff", "#c80000"),
        ("c80000", "#c80000"),
        ("123456", "#123456"),
        ("#f00", "#ff0000"),
        ("rgb(200, 0, 0)", "#c80000"),
        ("rgba(200 0 0 0.5)", "#c8000080"),
        ("[200, 0, 0]", "#c80000"),
        ("Red", "#ff0000"),
        ("", ""),
        (None, ""),
        (True, ""),
        ([300, 0, 0], ""),
        ([1, 2], ""),
        (["a", "b", "c"], ""),
        ({}, ""),
        (1.5, ""),
    ],
)
def test_colours_as_others_write_them(value, color):
    assert hex_color(value) == color


# --- geometries


FEATURE = {"type": "Feature", "geometry": RECTANGLE, "properties": {"classification": "Tumor"}}
WITH_HOLE = {
    "type": "Polygon",
    "coordinates": [[[5, 5], [75, 5], [75, 75], [5, 75], [5, 5]], RING[::-1]],
}


@pytest.mark.parametrize(
    "content",
    [
        FEATURE,
        [FEATURE],
        {"type": "FeatureCollection", "features": [FEATURE]},
        [{"type": "FeatureCollection", "features": [FEATURE]}],
        {**FEATURE, "properties": json.dumps(FEATURE["properties"])},
        {**FEATURE, "geometry": {"type": "MultiPolygon", "coordinates": [[RING]]}},
        {
            **FEATURE,
            "geometry": {
                "type": "GeometryCollection",
                "geometries": [
                    {"type": "Point", "coordinates": [70, 70]},
                    {"type": "MultiPolygon", "coordinates": [[RING]]},
                ],
            },
        },
        {
            **FEATURE,
            "geometry": {"type": "Polygon", "coordinates": [[[*xy, 0.0] for xy in RING]]},
        },
    ],
)
@pytest.mark.parametrize("mark", ["", "\ufeff"])
def test_every_form_of_geojson_is_read(result, tmp_path, content, mark):
    path = tmp_path / "in.GeoJSON"
    path.write_text(mark + json.dumps(content), encoding="utf-8")
    made, said = brought(result, path)
    assert made.rows_of("Tumor").tolist() == here(result)
    assert said == ""
    assert [shape.slice for _, shape in made.shapes] == ["slice1"]


def test_holes_stay_empty(result, tmp_path):
    path = tmp_path / "in.geojson"
    path.write_text(json.dumps({**FEATURE, "geometry": WITH_HOLE}))
    made, _ = brought(result, path)
    expected = sorted(set(here(result, (5, 5), (75, 75))) - set(here(result)))
    assert made.rows_of("Tumor").tolist() == expected


def test_a_region_without_a_class_is_said(result, tmp_path):
    path = tmp_path / "in.geojson"
    path.write_text(json.dumps(RECTANGLE))
    made, said = brought(result, path)
    assert made.rows_of("Unclassified").tolist() == here(result)
    assert "neither a classification nor a name: they are of the class 'Unclassified'" in said
    outline = {"geometry": WITH_HOLE, "properties": {"objectType": "annotation"}}
    line = {"geometry": {"type": "LineString", "coordinates": RING}, "properties": {"name": "x"}}
    path.write_text(json.dumps([FEATURE, outline, line]))
    made, said = brought(result, path)
    assert [c.name for c in made.classes] == ["Tumor"]
    assert "1 of 2 regions have neither a classification nor a name; they are left out" in said
    assert "1 of its features are points or lines" in said


def test_regions_beside_the_tissue_are_one_sentence(result, tmp_path):
    path = tmp_path / "in.geojson"
    far = (np.array(RING) * 1000).tolist()
    path.write_text(json.dumps({**FEATURE, "geometry": {"type": "Polygon", "coordinates": [far]}}))
    with pytest.raises(InputError, match=r"no spot lies in any of its 1 regions.*x 15000 to 45000"):
        brought(result, path)
    path.write_text(json.dumps({"type": "Point", "coordinates": [1, 2]}))
    with pytest.raises(InputError, match="holds no region with an area"):
        brought(result, path)


# --- tables by barcode

SPOTS = [f"spot{i}" for i in range(5)]


def table(head, row, spots=SPOTS, sep=","):
    lines = [sep.join(row).format(i=i, spot=spot) for i, spot in enumerate(spots)]
    return "\n".join([sep.join(head), *lines, ""])


@pytest.mark.parametrize(
    "text",
    [
        table(["Barcode", "region"], ["{spot}", "Tumor"]),
        table(["Barcode", "region"], ["{spot}", "Tumor"], sep=";"),
        table(["Barcode", "region"], ["{spot}", "Tumor"], sep="\t"),
        table(["Barcode", "my, region"], ["{spot}", "Tumor"], sep="\t"),
        table(['"Barcode"', '"region"'], ['"{spot}"', '"Tumor"']),
        table(["Barcode", "region"], [" {spot} ", " Tumor "]),
        "\ufeff" + table(["Barcode", "region"], ["{spot}", "Tumor"]),
        table(["Barcode", "region"], ["{spot}", "Tumor"]).replace("\n", "\r\n"),
        table(["", "Barcode", "region"], ["{i}", "{spot}", "Tumor"]),
        table(["barcode", "region"], ["{spot}", "Tumor"]),
        table(["", "region"], ["{spot}", "Tumor"]),
        table(["region"], ["{spot}", "Tumor"]),
        table(["region", "cell_id"], ["Tumor", "{spot}"]),
        table(["Barcode", "region"], ["{spot}", "Tumor"]) + "spot9,\nspot10,NA\n",
    ],
)
def test_every_form_of_a_table_is_read(result, tmp_path, text):
    path = tmp_path / "in.csv"
    path.write_bytes(text.encode())
    made, said = brought(result, path)
    assert made.rows_of("Tumor").tolist() == list(range(5))
    assert len(made.classes) == 1
    assert ("'NA'" in said) == ("NA" in text)


@pytest.mark.parametrize("encoding", ["utf-16", "cp1252", "utf-8-sig"])
def test_tables_of_spreadsheets_are_read(result, tmp_path, encoding):
    path = tmp_path / "in.txt"
    path.write_bytes(
        table(["Barcode", "région"], ["{spot}", "Mucosa à"], sep="\t").encode(encoding)
    )
    made, _ = brought(result, path)
    assert made.rows_of("Mucosa à").tolist() == list(range(5))


def test_the_column_of_names_is_taken_and_said(result, tmp_path):
    path = tmp_path / "in.csv"
    path.write_text(table(["Barcode", "in_tissue", "x", "region"], ["{spot}", "1", "{i}.5", "GL"]))
    made, said = brought(result, path)
    assert made.rows_of("GL").tolist() == list(range(5))
    assert "taken from its column 'region', not from 'in_tissue', 'x'" in said
    assert columns_to_choose(result, path) == []
    made, said = brought(result, path, column="in_tissue")
    assert made.rows_of("1").tolist() == list(range(5))
    with pytest.raises(InputError, match=r"no column 'layer': choose one of 'Barcode', 'in_tiss"):
        brought(result, path, column="layer")


def test_one_column_of_numbers_is_a_clustering(result, tmp_path):
    path = tmp_path / "in.csv"
    path.write_text(table(["Barcode", "Graph-based"], ["{spot}", "{i}"]))
    made, _ = brought(result, path)
    assert [c.name for c in made.classes] == list("01234")


def test_of_several_columns_one_is_to_be_named(result, tmp_path):
    path = tmp_path / "in.csv"
    path.write_text(table(["Barcode", "layer", "region"], ["{spot}", "L1", "GL"]))
    with pytest.raises(InputError, match=r"name one of 'layer', 'region' \(--column\)"):
        brought(result, path)
    assert columns_to_choose(result, path) == ["layer", "region"]
    made, _ = brought(result, path, column="layer")
    assert made.rows_of("L1").tolist() == list(range(5))
    path.write_text(table(["Barcode", "layer", "annotation"], ["{spot}", "L1", "GL"]))
    made, _ = brought(result, path)
    assert [c.name for c in made.classes] == ["GL"]


def test_barcodes_that_were_filtered_out_are_counted(result, tmp_path):
    path = tmp_path / "in.csv"
    path.write_text(table(["Barcode", "region"], ["{spot}", "GL"], [*SPOTS, "gone1", "gone2"]))
    made, said = brought(result, path)
    assert made.rows_of("GL").tolist() == list(range(5))
    assert "2 of 7 barcodes are in no slice, 'gone1' for one; they are left out" in said


def test_a_barcode_of_two_classes_is_said(result, tmp_path):
    path = tmp_path / "in.csv"
    path.write_text("Barcode,region\nspot1,GL\nspot1,EPL\nspot2,GL\nspot2,GL\n")
    made, said = brought(result, path)
    assert made.rows_of("EPL").tolist() == [1]
    assert made.rows_of("GL").tolist() == [2]
    assert "1 barcodes have more than one class; the last one of each counts" in said


@pytest.mark.parametrize(
    ("spot", "theirs"),
    [
        ("{}-1-S1", "{}-1"),
        ("{}-1_1", "{}-1"),
        ("{}", "{}-1"),
        ("{}-1", "{}"),
        ("S1_{}-1", "{}-1"),
        ("{}-1", "{}-1_A"),
        ("{}-1", "A#{}-1"),
        ("{}-1-S1", "{}-1_A"),
        ("{}-1", "{}-1-1_S1"),
        ("s_008um_{}-1", "s_008um_{}-1-S1"),
    ],
)
def test_barcodes_with_and_without_what_names_the_sample(result, tmp_path, spot, theirs):
    cores = ["".join("ACGT"[i >> shift & 3] for shift in range(0, 32, 2)) for i in range(110)]
    result.obs_names = [
        f"{spot.format(core)}_{name}" for core, name in zip(cores, result.obs[K.SLICE], strict=True)
    ]
    path = tmp_path / "in.csv"
    wanted = [theirs.format(core) for core in [*cores[:5], "T" * 16]]
    path.write_text(table(["Barcode", "region"], ["{spot}", "GL"], wanted))
    made, said = brought(result, path)
    assert made.rows_of("GL").tolist() == list(range(5))
    assert f"'{wanted[0]}' is taken for '{spot.format(cores[0])}'" in said
    assert "1 of 6 barcodes are in no slice" in said
    path.write_text(table(["", "region"], ["{spot}", "GL"], wanted))
    made, _ = brought(result, path)
    assert made.rows_of("GL").tolist() == list(range(5))


def test_a_slice_column_tells_the_slice_of_each_barcode(result, tmp_path):
    path = tmp_path / "in.csv"
    path.write_text("Barcode,slice,region\nspot1,slice2,GL\nspot1,slice1,EPL\nspot2,other,GL\n")
    made, said = brought(result, path, slice_name=None)
    assert made.rows_of("GL").tolist() == [61]
    assert made.rows_of("EPL").tolist() == [1]
    assert "1 of 3 barcodes are in no slice, 'spot2' for one" in said


def test_parts_are_taken_away_only_where_barcodes_stay_apart():
    found, theirs, ours = match_barcodes(["a-1", "a-2"], ["a"])
    assert found.tolist() == [-1, -1]
    found, theirs, ours = match_barcodes(["a-1", "b-1"], ["b", "a", "c"])
    assert found.tolist() == [1, 0]
    assert (theirs, ours) == (Cut(0, 1), Cut())
    # Numbers alone tell nothing.
    assert (match_barcodes(["cell_1", "cell_2"], ["spot_1", "spot_2"])[0] < 0).all()
    assert match_barcodes([], ["a"])[0].tolist() == []
