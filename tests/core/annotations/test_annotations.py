"""Classes, labels, history; what is written and read back; agreement; other results."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from anndata import read_h5ad
from fakes import fake_result
from sklearn.metrics import cohen_kappa_score

from napari_staligner import _keys as K
from napari_staligner._errors import InputError
from napari_staligner.core.annotations.agreement import agreement, write_disagreement
from napari_staligner.core.annotations.annotations import Annotations
from napari_staligner.core.annotations.classes import TEMPLATES, Shape
from napari_staligner.core.annotations.record import (
    from_record,
    read_annotations,
    take_column,
    to_record,
    write_annotations,
)

SQUARE = Shape("slice1", np.array([[0.0, 0.0], [9.0, 0.0], [9.0, 9.5]]))


@pytest.fixture
def result():
    return fake_result()[1]


@pytest.fixture
def annotations(result):
    made = Annotations()
    made.carry_to(result.obs_names)
    made.use_template("Olfactory bulb")
    return made


def named(annotations, who=None):
    return annotations.column(who).astype(object)


def state(annotations):
    return annotations.classes, {w: annotations.codes(w).tolist() for w in annotations.annotators}


# --- classes


def test_templates_have_the_layers_and_keys(annotations):
    assert [c.name for c in annotations.classes] == "ONL GL EPL MCL IPL GCL RMS AOB AOBgr".split()
    assert [c.key for c in annotations.classes] == list(range(1, 10))
    assert annotations.named("AOBgr").parent == "AOB"
    assert len({c.color for c in annotations.classes}) == 9
    assert [name for name, _ in TEMPLATES["Cortex"]] == [
        *(f"Layer {i}" for i in range(1, 7)),
        "WM",
    ]


def test_a_second_template_adds_what_is_missing_without_keys(annotations):
    annotations.use_template("Cortex")
    assert len(annotations.classes) == 16
    assert all(c.key == 0 for c in annotations.classes[9:])
    n = len(annotations.edits)
    annotations.use_template("Cortex")
    assert len(annotations.edits) == n, "nothing changed, so there is no edit"


def test_a_key_moves_to_the_class_that_gets_it(annotations):
    annotations.change_class("AOB", key=1)
    assert annotations.with_key(1).name == "AOB"
    assert annotations.named("ONL").key == 0


def test_a_renamed_parent_takes_its_children_along(annotations):
    annotations.assign(np.array([3]), "AOB", "spot")
    annotations.rename_class("AOB", "accessory")
    assert annotations.named("AOBgr").parent == "accessory"
    assert named(annotations)[3] == "accessory"


def test_removing_a_class_frees_its_spots_and_undo_gives_them_back(annotations):
    annotations.assign(np.array([3, 4]), "AOB", "spot")
    annotations.remove_class("AOB")
    assert (annotations.codes() == -1).all()
    assert annotations.named("AOBgr").parent == ""
    annotations.undo()
    assert annotations.rows_of("AOB").tolist() == [3, 4]


def test_a_new_class_never_gets_the_spots_of_a_removed_one(annotations):
    annotations.assign(np.array([3]), "AOBgr", "spot")
    annotations.remove_class("AOBgr")
    annotations.add_class("new")
    assert (annotations.codes() == -1).all()


@pytest.mark.parametrize(
    "wrong",
    [
        lambda a: a.add_class(" "),
        lambda a: a.add_class("GL"),
        lambda a: a.rename_class("GL", "EPL"),
        lambda a: a.change_class("AOB", parent="AOBgr"),
        lambda a: a.change_class("AOB", parent="AOB"),
        lambda a: a.assign(np.array([0]), "nowhere", "spot"),
        lambda a: a.annotate_as("a/b"),
        lambda a: a.annotate_as(" "),
        lambda a: Annotations().use_template("Cortex"),
    ],
)
def test_what_cannot_be_is_said_and_changes_nothing(annotations, wrong):
    before = state(annotations)
    with pytest.raises(InputError):
        wrong(annotations)
    assert state(annotations) == before


# --- history


def test_undo_and_redo_go_through_every_state(annotations):
    rng = np.random.default_rng(0)
    states = [state(annotations)]
    for i in range(200):
        if i % 10 == 9:
            annotations.add_class(f"class {i}")
        else:
            name = annotations.classes[rng.integers(len(annotations.classes))].name
            rows = rng.choice(annotations.n_spots, 20, replace=False)
            if not annotations.assign(rows, name if i % 7 else "", "lasso"):
                continue
        states.append(state(annotations))
    for expected in states[-2::-1]:
        annotations.undo()
        assert state(annotations) == expected
    for expected in states[1:]:
        annotations.redo()
        assert state(annotations) == expected
    assert annotations.redo_text == ""


def test_an_edit_after_undo_forgets_what_was_undone(annotations):
    annotations.assign(np.array([1]), "GL", "spot")
    annotations.undo()
    annotations.assign(np.array([2]), "EPL", "spot")
    annotations.redo()
    assert annotations.rows_of("GL").size == 0
    assert annotations.undo_text == "1 spots to EPL"


def test_assigning_what_is_so_already_is_no_edit(annotations):
    assert annotations.assign(np.array([1, 1, 2]), "GL", "spot") == 2
    n = len(annotations.edits)
    assert annotations.assign(np.array([2]), "GL", "spot") == 0
    assert len(annotations.edits) == n


def test_every_change_is_told_once(annotations):
    told = []
    annotations.changed.connect(lambda: told.append(annotations.position))
    annotations.assign(np.array([1]), "GL", "spot")
    annotations.undo()
    assert len(told) == 2


# --- in AnnData


def test_what_is_written_is_read_back_from_a_file(annotations, result, tmp_path):
    annotations.assign(np.array([1, 2, 3]), "GL", "lasso", [SQUARE])
    annotations.annotate_as("Ann")
    annotations.assign(np.array([3, 4]), "AOB", "domain")
    annotations.rename_class("AOB", "accessory")
    annotations.undo()
    write_annotations(result, annotations)
    result.write_h5ad(tmp_path / "out.h5ad")
    back, read = read_h5ad(tmp_path / "out.h5ad"), Annotations()
    read_annotations(back, read)
    assert state(read) == state(annotations)
    assert read.annotator == "Ann"
    assert (read.undo_text, read.redo_text) == ("2 spots to AOB", "renaming AOB to accessory")
    ((edit, shape),) = read.shapes
    assert (edit.who, edit.how, shape.slice) == ("me", "lasso", "slice1")
    assert edit.when == annotations.edits[1].when
    np.testing.assert_array_equal(shape.xy, SQUARE.xy)
    assert back.obs[K.ANNOTATION].dropna().to_dict() == dict.fromkeys(
        result.obs_names[[3, 4]], "AOB"
    )
    assert list(back.uns[K.ANNOTATION_COLORS]) == [c.color for c in annotations.classes]
    assert back.obs[f"{K.ANNOTATION_BY}me"].dropna().index.tolist() == list(result.obs_names[1:4])


def test_an_annotation_without_edits_leaves_no_slot(result):
    empty = Annotations()
    empty.carry_to(result.obs_names)
    write_annotations(result, empty)
    assert K.ANNOTATION not in result.obs
    assert "annotations" not in result.uns[K.STALIGNER]


def test_a_column_of_other_origin_becomes_the_first_edit(result):
    result.obs[K.ANNOTATION] = result.obs["region"]
    result.uns[K.ANNOTATION_COLORS] = ["#112233", "#445566"]
    read = Annotations()
    read_annotations(result, read)
    assert named(read).tolist() == result.obs["region"].tolist()
    assert [c.color for c in read.classes] == ["#112233", "#445566"]
    read.undo()
    assert read.classes == ()


def test_a_new_result_of_the_same_spots_keeps_the_annotations(annotations, result):
    annotations.assign(np.array([1, 60]), "GL", "lasso", [SQUARE])
    annotations.assign(np.array([2]), "EPL", "spot")
    names = result.obs_names[[1, 60]]
    other = result[::-1].copy()
    other = other[5:].copy()
    read_annotations(other, annotations)
    assert set(other.obs_names[annotations.rows_of("GL")]) == set(names) & set(other.obs_names)
    annotations.undo()
    assert annotations.rows_of("EPL").size == 0
    assert len(annotations.shapes) == 1


def test_taking_a_column_leaves_spots_without_a_value(annotations):
    annotations.assign(np.array([0]), "GL", "spot")
    values: list[str | None] = [None] * annotations.n_spots
    values[1], values[2] = "GL", "new"
    assert take_column(annotations, pd.Series(values, dtype="category"), None, "import") == 2
    assert named(annotations)[:3].tolist() == ["GL", "GL", "new"]


def test_a_record_of_nothing_is_read(annotations):
    empty = Annotations()
    edits, position = from_record(to_record(empty))
    assert (edits, position) == ([], 0)


# --- several annotators


def test_agreement_is_cohens_kappa_over_what_both_annotated(annotations, result):
    rng = np.random.default_rng(1)
    a, b = (rng.integers(-1, 3, annotations.n_spots) for _ in range(2))
    for who, codes in (("Ann", a), ("Bob", b)):
        annotations.annotate_as(who)
        for code in range(3):
            annotations.assign(
                np.flatnonzero(codes == code), annotations.classes[code].name, "spot"
            )
    both = (a >= 0) & (b >= 0)
    found = agreement(annotations, "Ann", "Bob")
    assert found.kappa == pytest.approx(cohen_kappa_score(a[both], b[both]))
    assert (found.n_both, found.n_same) == (both.sum(), (a[both] == b[both]).sum())
    assert found.n_only == (((a >= 0) & (b < 0)).sum(), ((a < 0) & (b >= 0)).sum())
    write_disagreement(result, annotations, "Ann", "Bob")
    column = result.obs[K.DISAGREEMENT]
    assert (column == "same class").sum() == found.n_same
    assert (column == "another class").sum() == found.n_both - found.n_same
    assert (column == "only Ann").sum() == found.n_only[0]
    assert column.isna().sum() == ((a < 0) & (b < 0)).sum()
    assert len(result.uns[f"{K.DISAGREEMENT}_colors"]) == 4


def test_kappa_is_not_defined_without_common_spots(annotations):
    annotations.annotate_as("Ann")
    assert np.isnan(agreement(annotations, "Ann", "me").kappa)
