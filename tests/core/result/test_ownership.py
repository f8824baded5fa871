"""What is the input's is kept, what is ours is known by the record and not by its name."""

from __future__ import annotations

from dataclasses import replace

import anndata as ad
import numpy as np
import pandas as pd
import pytest
from fakes import fake_result
from tiny import QUICK, tiny_pair

from napari_staligner import _keys as K
from napari_staligner import evaluate, integrate, read_slices, write_result
from napari_staligner.core.annotations.agreement import write_disagreement
from napari_staligner.core.annotations.record import annotations_of, write_annotations
from napari_staligner.core.domains.domains import find_domains
from napari_staligner.core.evaluation.evaluation import evaluation_job
from napari_staligner.core.result.ownership import (
    Inputs,
    claim,
    moved,
    names_of_input,
    release,
    written,
)
from napari_staligner.io.export.spatialdata import to_spatialdata
from napari_staligner.io.h5ad import slices_of_result

COLUMNS = ("slice", "domain", "alignment_confidence", "registration_residual")


def marked(adata, seed):
    """A slice with columns of the user's that are called as ours."""
    draw = np.random.default_rng(seed)
    for column in COLUMNS:
        adata.obs[column] = pd.Categorical(draw.choice(["tumour", "stroma"], adata.n_obs))
    # Several values among each other would tell of several sections.
    adata.obs["slice"] = pd.Categorical([f"section {seed}"] * adata.n_obs)
    adata.uns["domain_colors"] = ["#111111", "#222222"]
    adata.obs["annotation"] = adata.obs["half"].astype(str).to_numpy()
    adata.obs["annotation_by_pathologist"] = "t"
    adata.var["used_by_staligner"] = "mine"
    return adata


@pytest.fixture(scope="module")
def slices():
    return [(name, marked(adata, i)) for i, (name, adata) in enumerate(tiny_pair())]


@pytest.fixture(scope="module")
def result(slices):
    return integrate(slices, settings=QUICK)


def test_columns_called_as_ours_are_kept_under_another_name_and_a_note_says_so(slices, result):
    notes = list(result.uns["staligner"]["notes"])
    for column in COLUMNS:
        here = f"{column}_of_input"
        given = np.concatenate([a.obs[column].astype(str) for _, a in slices])
        assert (result.obs[here].astype(str).to_numpy() == given).all()
        assert any(f"obs['{column}'] of the input is kept as obs['{here}']" in n for n in notes)
    assert list(result.obs["slice"].cat.categories) == ["A", "B"]
    assert set(result.obs["domain"]) == {"1", "2"}
    assert list(result.uns["domain_of_input_colors"]) == ["#111111", "#222222"]
    assert len(result.uns["domain_colors"]) == 2
    assert result.obs["alignment_confidence"].dtype == np.float32
    assert set(result.var["used_by_staligner_of_input"]) == {"mine"}
    assert result.var["used_by_staligner"].dtype == bool
    # Nothing of ours has this name as yet.
    assert {"annotation", "annotation_by_pathologist"} <= set(result.obs)
    for _, adata in slices:
        assert set(adata.obs["domain"]) == {"tumour", "stroma"}


def test_slices_that_are_read_back_have_their_columns_under_their_own_names(
    slices, result, tmp_path
):
    write_result(result, tmp_path / "r.h5ad")
    back = dict(read_slices([tmp_path / "r.h5ad"]))
    for name, adata in slices:
        assert set(back[name].obs) == set(adata.obs)
        for column in adata.obs:
            assert (back[name].obs[column].astype(str) == adata.obs[column].astype(str)).all()
        assert list(back[name].uns["domain_colors"]) == ["#111111", "#222222"]
        assert list(back[name].var) == ["used_by_staligner"]
        assert set(back[name].var["used_by_staligner"]) == {"mine"}


def test_slices_cut_out_of_a_result_and_integrated_again_keep_what_is_the_users(
    slices, result, tmp_path
):
    cut = result[result.obs["slice"] == "B"].copy()
    cut.write_h5ad(tmp_path / "cut.h5ad")
    ((name, read),) = read_slices([tmp_path / "cut.h5ad"])
    assert name == "B"
    assert (read.obs["domain"].astype(str) == slices[1][1].obs["domain"].astype(str)).all()
    again = integrate([("A", slices[0][1]), ("B", cut)], settings=QUICK)
    assert sorted(again.obs) == sorted(result.obs)
    assert (again.obs["domain_of_input"].to_numpy() == result.obs["domain_of_input"]).all()
    assert not cut.obs["domain"].astype(str).isin(["tumour", "stroma"]).any()


def test_a_cut_slice_keeps_its_own_genes(tmp_path):
    (a, b) = (adata for _, adata in tiny_pair())
    b.var_names = [*b.var_names[:-3], "x", "y", "z"]
    result = integrate([("A", a), ("B", b)], settings=QUICK)
    cut = result[result.obs["slice"] == "B"].copy()
    ((_, back),) = slices_of_result(cut)
    assert set(back.var_names) == set(b.var_names)


def test_without_the_record_a_column_is_the_users():
    """As after ad.concat, which drops uns."""
    (_, a), (_, b) = tiny_pair()
    first = integrate([("A", a), ("B", b)], settings=QUICK)
    del first.uns["staligner"]
    parts = [(name, first[first.obs["slice"] == name].copy()) for name in "AB"]
    second = integrate(parts, settings=QUICK)
    assert (second.obs["domain_of_input"].to_numpy() == first.obs["domain"].to_numpy()).all()
    third = integrate(
        [(name, second[second.obs["slice"] == name].copy()) for name in "AB"], settings=QUICK
    )
    assert (third.obs["domain_of_input"].to_numpy() == first.obs["domain"].to_numpy()).all()
    del second.uns["staligner"]
    parts = [(name, second[second.obs["slice"] == name].copy()) for name in "AB"]
    assert moved(integrate(parts, settings=QUICK))["obs"]["domain_of_input_2"] == "domain"


def test_results_of_a_version_without_record_are_ours(tmp_path):
    slices, result = fake_result()
    made = annotations_of(result, "Ada")
    made.add_class("tumour")
    made.assign(np.arange(5), "tumour", "test")
    made.annotate_as("Bob")
    made.assign(np.arange(3), "tumour", "test")
    write_annotations(result, made)
    write_disagreement(result, made, "Ada", "Bob")
    result.obs["annotation_by_pathologist"] = "t"
    for key in (K.WRITTEN, K.OF_INPUT):
        del result.uns["staligner"][key]
    result.write_h5ad(tmp_path / "old.h5ad")
    back = dict(read_slices([tmp_path / "old.h5ad"]))
    for name, adata in slices:
        assert set(back[name].obs) == {*adata.obs, "annotation_by_pathologist"}
    old = ad.read_h5ad(tmp_path / "old.h5ad")
    assert claim(old, "obs", "domain") == []
    assert "domain_of_input" not in old.obs


def test_labels_are_those_of_the_input(result):
    found = evaluate(result, labels="domain")
    assert found.labels == "domain_of_input"
    assert any("the labels are those of the input" in note for note in found.notes)
    assert found.figures["STAligner"].overall["ari"] < 0.2
    plain = integrate(tiny_pair(), settings=QUICK)
    job = evaluation_job(plain, "domain")
    assert job.label_key == "domain"
    assert any("compare them with themselves" in note for note in job.notes)
    plain.obs["other"] = plain.obs["half"]
    assert evaluation_job(plain, "other").notes == ()


def test_annotations_of_the_input_stay_and_come_back(result):
    result = result.copy()
    result.obs["annotation"] = result.obs["annotation"].to_numpy(dtype=object)
    made = annotations_of(result)
    assert not made.edits
    assert write_annotations(result, made) == []
    made.add_class("tumour")
    made.assign(np.arange(4), "tumour", "test")
    (said,) = write_annotations(result, made)
    assert "obs['annotation'] of the input is kept as obs['annotation_of_input']" in said
    assert set(result.obs["annotation_of_input"]) == {"left", "right"}
    assert said in result.uns["staligner"]["notes"]
    assert write_annotations(result, made) == []
    made.annotate_as("pathologist")
    made.assign(np.arange(2), "tumour", "test")
    assert len(write_annotations(result, made)) == 1
    assert set(result.obs["annotation_by_pathologist_of_input"]) == {"t"}
    assert evaluation_job(result, "annotation_of_input").label_key == "annotation_of_input"
    assert evaluation_job(replace_annotation(result), "annotation").notes[0].startswith("obs['ann")
    while made.undo_text:
        made.undo()
    made.edits.clear()
    write_annotations(result, made)
    assert set(result.obs["annotation"]) == {"left", "right"}
    assert set(result.obs["annotation_by_pathologist"]) == {"t"}
    assert not any("annotation" in note for note in result.uns["staligner"]["notes"])


def replace_annotation(result):
    """The same with an annotation of two classes, which can be compared with."""
    result = result.copy()
    result.obs["annotation"] = pd.Categorical(np.where(np.arange(result.n_obs) % 2, "a", "b"))
    return result


@pytest.mark.parametrize(
    ("slot", "key"),
    [("obs", "x"), ("var", "x"), ("obsm", "x"), ("varm", "x"), ("obsp", "x")],
)
def test_what_is_claimed_moves_aside_and_is_given_back(slot, key):
    n = 3
    values = {
        "obs": np.arange(n),
        "var": np.arange(n),
        "obsm": np.ones((n, 2)),
        "varm": np.ones((n, 2)),
        "obsp": np.eye(n),
    }[slot]
    adata = ad.AnnData(np.ones((n, n), np.float32))
    part = getattr(adata, slot)
    part[key] = values
    part[f"{key}_of_input"] = values + 1
    (said,) = claim(adata, slot, key)
    assert f"{slot}['x_of_input_2']" in said
    assert key not in getattr(adata, slot)
    getattr(adata, slot)[key] = values * 0
    assert claim(adata, slot, key) == []
    assert written(adata)[slot] == {key}
    assert names_of_input(adata, slot) == {"x_of_input": "x_of_input", "x_of_input_2": "x"}
    release(adata, slot, key)
    np.testing.assert_array_equal(getattr(adata, slot)[key], values)
    assert moved(adata)[slot] == {}
    assert written(adata)[slot] == frozenset()


def test_arrays_and_colors_of_slices_make_room_too():
    (_, a), (_, b) = tiny_pair()
    a.obsm["STAligner"] = np.ones((a.n_obs, 3))
    b.obsm["STAligner_of_input"] = np.ones((b.n_obs, 3))
    a.uns["domain_colors"] = ["#111111"]
    a.raw = a.copy()
    inputs = Inputs.of([("A", a), ("B", b)])
    (_, a2), (_, b2) = inputs.slices
    assert set(a2.obsm) == {"spatial", "STAligner_of_input_2"}
    assert set(b2.obsm) == {"spatial", "STAligner_of_input"}
    assert "domain_colors" not in a2.uns
    assert a2.X is a.X
    assert a2.raw.X is a.raw.X
    assert set(a.obsm) == {"spatial", "STAligner"}
    assert Inputs.of([("B", b)]).slices[0][1] is b


def test_a_store_keeps_columns_that_are_called_as_its_own():
    _, result = fake_result()
    result.obs["spots_element"] = "mine"
    table = to_spatialdata(result, annotations_of(result)).tables["slice1_table"]
    assert set(table.obs["spots_element_of_input"]) == {"mine"}
    assert set(result.obs["spots_element"]) == {"mine"}


def test_domains_of_the_users_are_not_taken_for_ours():
    result = integrate(tiny_pair(), settings=replace(QUICK, domains=2))
    del result.uns["staligner"]
    result.obs["domain"] = pd.Categorical(np.where(np.arange(result.n_obs) % 2, "odd", "even"))
    find_domains(result, 2)
    assert set(result.obs["domain_of_input"]) == {"odd", "even"}
    assert set(result.obs["domain"]) == {"1", "2"}
