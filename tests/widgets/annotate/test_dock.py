"""The Annotate dock, with the events of a person: clicks, keys on dock and canvas, menus."""

from __future__ import annotations

import gc
import json
import weakref

import numpy as np
import pytest
from docks import LEFT
from fakes import fake_result
from qtpy.QtCore import Qt
from qtpy.QtWidgets import QApplication, QFileDialog, QInputDialog, QLineEdit

from napari_staligner import _keys as K
from napari_staligner.layers import open_session
from napari_staligner.session import ColorBy, Region
from napari_staligner.widgets.annotate.dock import AnnotateWidget
from napari_staligner.widgets.parts.legend import NAME, SWATCH


@pytest.fixture
def empty_dock(open_dock):
    """Return a dock without slices, on the screen."""
    return open_dock(AnnotateWidget, 400, 900)


@pytest.fixture
def dock(dock, qtbot):
    """Return a dock with a result, the classes of the bulb, and the focus in its table."""
    trigger(dock.template.menu(), "Olfactory bulb")
    dock.activateWindow()
    dock.table.setFocus()
    qtbot.waitUntil(lambda: QApplication.focusWidget() is dock.table)
    return dock


def trigger(menu, *titles):
    menu.aboutToShow.emit()
    (action,) = [a for a in menu.actions() if a.text() == titles[0]]
    if len(titles) > 1:
        trigger(action.menu(), *titles[1:])
    else:
        action.trigger()


def click_row(qtbot, dock, name, column=NAME):
    place = dock.table.visualRect(dock.table.cell(name, column)).center()
    qtbot.mouseClick(dock.table.viewport(), LEFT, pos=place)


def rows_of(dock, name):
    return dock.session.annotations.rows_of(name).tolist()


# --- not ready


def test_without_a_result_the_dock_says_so(empty_dock):
    assert empty_dock.status.text().startswith("There are no spots to annotate yet")
    for part in (empty_dock.tools, empty_dock.template, empty_dock.add, empty_dock.table):
        assert not part.isEnabled()


def test_without_classes_the_dock_names_the_way(empty_dock):
    slices, result = fake_result()
    empty_dock.session.add(slices)
    empty_dock.session.set_result(result)
    assert empty_dock.status.text() == "There are no classes yet: choose a template or add a class."
    assert empty_dock.template.isEnabled()


# --- classes


def test_a_template_fills_the_table(dock):
    model = dock.table.model()
    assert [model.index(i, NAME).data() for i in range(9)][-1] == "AOBgr"
    assert dock.session.annotations.undo_text == "classes of Olfactory bulb"


def test_a_class_is_made_by_hand_and_a_taken_name_refused(dock, monkeypatch, qtbot):
    for name in ("tumour", "GL"):
        monkeypatch.setattr(QInputDialog, "getText", lambda *_, name=name: (name, True))
        qtbot.mouseClick(dock.add, LEFT)
    assert [c.name for c in dock.session.annotations.classes].count("tumour") == 1
    assert "is taken ('GL')" in dock.status.text()


def test_a_class_is_renamed_in_its_cell(dock, qtbot):
    place = dock.table.visualRect(dock.table.cell("AOB", NAME)).center()
    for event in (qtbot.mouseClick, qtbot.mouseDClick):
        event(dock.table.viewport(), LEFT, pos=place)
    editor = dock.table.viewport().findChild(QLineEdit)
    editor.selectAll()
    qtbot.keyClicks(editor, "accessory 1")
    qtbot.keyClick(editor, Qt.Key.Key_Return)
    qtbot.waitUntil(lambda: dock.session.annotations.classes[7].name == "accessory 1")
    assert dock.session.annotations.named("AOBgr").parent == "accessory 1"


def test_key_parent_and_removal_are_in_the_menu_of_the_class(dock, qtbot):
    click_row(qtbot, dock, "RMS")
    trigger(dock.change.menu(), "Key", "2")
    trigger(dock.change.menu(), "Part of", "GCL")
    annotations = dock.session.annotations
    assert (annotations.named("RMS").key, annotations.named("RMS").parent) == (2, "GCL")
    assert annotations.named("GL").key == 0
    trigger(dock.change.menu(), "Remove RMS")
    assert len(annotations.classes) == 8
    assert not dock.change.isEnabled()


def test_the_colour_of_a_class_is_chosen_at_its_swatch(dock, qtbot):
    click_row(qtbot, dock, "GL", SWATCH)
    dock.color_dialog.setCurrentColor(Qt.GlobalColor.red)
    dock.color_dialog.accept()
    assert dock.session.annotations.named("GL").color == "#ff0000"
    assert dock.session.result.adata.uns[K.ANNOTATION_COLORS][1] == "#ff0000"


# --- spots


def test_digits_assign_the_selection_and_zero_takes_the_class_away(dock, qtbot):
    dock.session.result.selection = np.array([3, 4, 5])
    qtbot.keyClick(dock.table, Qt.Key.Key_2)
    assert rows_of(dock, "GL") == [3, 4, 5]
    assert len(dock.session.result.selection) == 0
    assert dock.session.view.color_by == ColorBy("obs", K.ANNOTATION)
    dock.session.result.selection = np.array([4])
    qtbot.keyClick(dock.table, Qt.Key.Key_0)
    assert rows_of(dock, "GL") == [3, 5]
    assert dock.session.annotations.edits[-1].how == "selection"


def test_a_digit_without_selection_or_class_says_so(dock, qtbot):
    qtbot.keyClick(dock.table, Qt.Key.Key_2)
    assert dock.status.text() == "No spot is selected: draw on the tissue first."
    dock.session.annotations.change_class("GL", key=0)
    qtbot.keyClick(dock.table, Qt.Key.Key_2)
    assert dock.status.text() == "No class has the key 2."


def test_a_gene_on_the_tissue_stays_while_annotating(dock, qtbot):
    dock.session.view.color_by = ColorBy("gene", "gene1")
    dock.session.result.selection = np.array([3])
    qtbot.keyClick(dock.table, Qt.Key.Key_1)
    assert dock.session.view.color_by == ColorBy("gene", "gene1")


def test_undo_and_redo_by_button_and_key(dock, qtbot):
    dock.session.result.selection = np.array([3])
    qtbot.keyClick(dock.table, Qt.Key.Key_1)
    qtbot.mouseClick(dock.undo, LEFT)
    assert rows_of(dock, "ONL") == []
    assert dock.session.result.adata.obs[K.ANNOTATION].isna().all()
    qtbot.mouseClick(dock.redo, LEFT)
    qtbot.keyClick(dock.table, Qt.Key.Key_Z, Qt.KeyboardModifier.ControlModifier)
    assert rows_of(dock, "ONL") == []
    modifiers = Qt.KeyboardModifier.ControlModifier | Qt.KeyboardModifier.ShiftModifier
    qtbot.keyClick(dock.table, Qt.Key.Key_Z, modifiers)
    assert rows_of(dock, "ONL") == [3]


def test_a_chosen_class_and_a_tool_are_the_sessions(dock, qtbot):
    click_row(qtbot, dock, "EPL")
    qtbot.mouseClick(dock.tools.buttons["brush"], LEFT)
    assert (dock.session.annotations.chosen, dock.session.view.tool) == ("EPL", "brush")
    assert "What you draw becomes EPL" in dock.status.text()
    assert dock.tools.radius.isVisible()
    qtbot.mouseClick(dock.tools.buttons["lasso"], LEFT)
    assert not dock.tools.buttons["brush"].isChecked()
    click_row(qtbot, dock, "EPL")
    assert dock.session.annotations.chosen == ""
    qtbot.keyClick(dock.table, Qt.Key.Key_Escape)
    assert dock.session.view.tool == ""


def test_a_hidden_dock_puts_its_tool_away_and_annotates_no_more(dock):
    dock.session.view.tool = "lasso"
    dock.session.annotations.choose("GL")
    dock.hide()
    assert dock.session.view.tool == ""
    dock.session.annotations.take(np.array([1]), "lasso")
    assert dock.session.result.selection.tolist() == [1]
    assert rows_of(dock, "GL") == []


# --- carried, described


def test_a_region_is_carried_trimmed_and_accepted(dock, qtbot):
    session = dock.session
    domain = (session.result.adata.obs[K.DOMAIN] == "2").to_numpy()
    session.annotations.assign(
        np.intersect1d(np.flatnonzero(domain), session.result.rows("slice1")), "GL", "spot"
    )
    click_row(qtbot, dock, "GL")
    assert dock.proposal.carry.text() == "Carry GL to other slices"
    qtbot.mouseClick(dock.proposal.carry, LEFT)
    qtbot.waitUntil(lambda: session.annotations.proposal is not None)
    assert dock.proposal.currentIndex() == 1
    n = len(session.annotations.proposal.kept)
    sure = session.annotations.proposal.confidence[session.annotations.proposal.confidence >= 0.5]
    dock.proposal.threshold.setValue(int(100 * np.median(sure)) + 1)
    few = session.annotations.proposal.kept
    assert 0 < len(few) < n
    before = rows_of(dock, "GL")
    qtbot.mouseClick(dock.proposal.accept, LEFT)
    assert rows_of(dock, "GL") == sorted([*before, *few])
    assert session.annotations.edits[-1].how == "transfer"
    assert dock.proposal.currentIndex() == 0
    session.annotations.undo()
    assert rows_of(dock, "GL") == before
    qtbot.waitUntil(dock.proposal.carry.isEnabled)


def test_a_region_is_carried_by_place_and_the_difference_is_said(dock, qtbot):
    session = dock.session
    adata = session.result.adata
    adata.obsm[K.SPATIAL_ALIGNED] = np.array(adata.obsm[K.SPATIAL])
    session.annotations.assign(session.result.rows("slice1")[:20], "GL", "spot")
    click_row(qtbot, dock, "GL")
    qtbot.mouseClick(dock.proposal.carry, LEFT)
    qtbot.waitUntil(lambda: session.annotations.proposal is not None)
    assert dock.proposal.way.currentText() == "By match"
    dock.proposal.way.setFocus()
    qtbot.keyClick(dock.proposal.way, Qt.Key.Key_Down)
    proposal = session.annotations.proposal
    assert proposal.way == "place"
    only = len(np.setdiff1d(proposal.contested, proposal.kept))
    assert f"only by match: {only:,} (hollow)" in dock.proposal.summary.text()
    kept = list(proposal.kept)
    qtbot.mouseClick(dock.proposal.accept, LEFT)
    assert set(kept) <= set(rows_of(dock, "GL"))
    assert session.annotations.edits[-1].how == "transfer by place"
    qtbot.waitUntil(dock.proposal.carry.isEnabled)


def test_a_rejected_proposal_changes_nothing(dock, qtbot):
    session = dock.session
    session.annotations.assign(session.result.rows("slice1")[:20], "GL", "spot")
    click_row(qtbot, dock, "GL")
    qtbot.mouseClick(dock.proposal.carry, LEFT)
    qtbot.waitUntil(lambda: session.annotations.proposal is not None)
    n = len(session.annotations.edits)
    qtbot.mouseClick(dock.proposal.reject, LEFT)
    assert session.annotations.proposal is None
    assert len(session.annotations.edits) == n
    qtbot.waitUntil(dock.proposal.carry.isEnabled)


def test_the_card_names_size_and_markers_and_goes_when_the_region_changes(dock, qtbot):
    session = dock.session
    session.annotations.assign(np.arange(20), "GL", "spot")
    x = session.result.adata.X.tolil()
    x[:20, 3] = 40
    session.result.adata.X = x.tocsr()
    click_row(qtbot, dock, "GL")
    qtbot.mouseClick(dock.card.ask, LEFT)
    qtbot.waitUntil(dock.card.text.isVisible)
    text = dock.card.text.text()
    assert "gene3" in text
    assert "33.3%" in text
    assert "not annotated" in text
    session.annotations.assign(np.array([30]), "GL", "spot")
    assert not dock.card.text.isVisible()
    session.annotations.assign(session.result.rows("slice2"), "EPL", "spot")
    qtbot.waitUntil(dock.card.ask.isEnabled)
    qtbot.mouseClick(dock.card.ask, LEFT)
    qtbot.waitUntil(dock.card.text.isVisible)
    assert "absent" in dock.card.text.text()
    # Sixty spots are too few to tell absence from chance.
    assert "slice1: unclear" in dock.card.text.text()


# --- several annotators


def test_two_annotators_are_compared_and_mapped(dock, qtbot):
    session = dock.session
    session.annotations.assign(np.arange(10), "GL", "spot")
    dock.annotators.who.setCurrentText("Ann")
    qtbot.keyClick(dock.annotators.who.lineEdit(), Qt.Key.Key_Return)
    assert session.annotations.annotator == "Ann"
    session.annotations.assign(np.arange(5), "GL", "spot")
    session.annotations.assign(np.arange(5, 8), "EPL", "spot")
    assert "5 of 8 common spots" in dock.annotators.kappa.text()
    qtbot.mouseClick(dock.annotators.map, LEFT)
    assert session.view.color_by == ColorBy("obs", K.DISAGREEMENT)
    assert (session.result.adata.obs[K.DISAGREEMENT] == "another class").sum() == 3


# --- files and crashes


def test_export_and_import_through_the_dock(dock, qtbot, tmp_path):
    session = dock.session
    session.annotations.assign(np.arange(10), "GL", "spot")
    path = tmp_path / "out.geojson"
    dock.files.export("image", path, None)
    dock.files.export("csv", tmp_path / "out.csv", None)
    assert "'Export annotations' is still running" in dock.status.text()
    qtbot.waitUntil(lambda: "1 outline written to out.geojson." in dock.status.text())
    (feature,) = json.loads(path.read_text())["features"]
    assert feature["properties"]["classification"]["name"] == "GL"
    session.annotations.undo()
    dock.files.bring(path, None)
    assert rows_of(dock, "GL") == list(range(10))
    dock.files.bring(tmp_path / "none.csv", None)
    assert "cannot be read" in dock.status.text()


def test_a_table_of_several_columns_asks_for_the_one_with_the_classes(
    dock, qtbot, tmp_path, monkeypatch
):
    path = tmp_path / "in.csv"
    path.write_text("Barcode,layer,region\n" + "".join(f"spot{i},L1,GL\n" for i in range(4)))
    asked = []

    def choose(_, title, label, items, *rest):
        asked.append((label, list(items)))
        return items[1], True

    monkeypatch.setattr(QFileDialog, "getOpenFileName", lambda *_: (str(path), ""))
    monkeypatch.setattr(QInputDialog, "getItem", choose)
    qtbot.mouseClick(dock.files.read, LEFT)
    assert asked == [
        ("Slice", ["all slices", "slice1", "slice2"]),
        ("Classes in", ["layer", "region"]),
    ]
    assert rows_of(dock, "GL") == list(range(4))
    monkeypatch.setattr(QInputDialog, "getItem", lambda *_: ("", False))
    dock.session.annotations.undo()
    qtbot.mouseClick(dock.files.read, LEFT)
    assert rows_of(dock, "GL") == []


def test_what_is_left_out_of_a_file_is_said_in_the_dock(dock, tmp_path):
    path = tmp_path / "in.csv"
    path.write_text("Barcode,region\nspot1,GL\ngone,GL\n")
    dock.files.bring(path, "slice1")
    assert "1 spots changed by in.csv." in dock.status.text()
    assert "1 of 2 barcodes are in no slice" in dock.status.text()


def test_a_column_of_the_users_is_kept_when_a_class_is_given(open_dock):
    dock = open_dock(AnnotateWidget, 400, 900)
    slices, result = fake_result()
    result.obs[K.ANNOTATION] = np.arange(result.n_obs) % 3
    dock.session.add(slices)
    dock.session.set_result(result)
    assert dock.session.result.adata.obs[K.ANNOTATION].tolist()[:3] == [0, 1, 2]
    dock.session.annotations.use_template("Olfactory bulb")
    assert dock.session.result.adata.obs["annotation_of_input"].tolist()[:3] == [0, 1, 2]
    assert "is kept as obs['annotation_of_input']" in dock.status.text()
    assert "annotation_of_input" in " ".join(result.uns[K.STALIGNER]["notes"])


# --- in a window


@pytest.fixture
def window(make_napari_viewer_proxy, qtbot):
    viewer = make_napari_viewer_proxy(show=True)
    slices, result = fake_result()
    session = open_session(viewer)
    session.add(slices)
    session.set_result(result)
    dock = AnnotateWidget(viewer)
    viewer.window.add_dock_widget(dock, name="Annotate")
    native = viewer.__wrapped__.window._qt_viewer.canvas.native
    qtbot.waitUntil(native.isVisible)
    return viewer, session, dock, native


def test_digits_work_on_the_canvas_while_the_dock_is_seen(window, qtbot):
    viewer, session, dock, native = window
    trigger(dock.template.menu(), "Cortex")
    spots = next(layer for layer in viewer.layers if layer.name == "slice1")
    for active in (spots, None):
        viewer.layers.selection.active = active
        session.result.selection = np.array([1, 2])
        qtbot.keyClick(native, Qt.Key.Key_2)
        assert session.annotations.rows_of("Layer 2").tolist() == [1, 2]
        qtbot.keyClick(native, Qt.Key.Key_Z, Qt.KeyboardModifier.ControlModifier)
        assert session.annotations.rows_of("Layer 2").tolist() == []
    assert str(spots.mode) == "pan_zoom", "the digit must not reach the layer"
    dock.hide()
    session.result.selection = np.array([1, 2])
    viewer.layers.selection.active = None
    qtbot.keyClick(native, Qt.Key.Key_2)
    assert session.annotations.rows_of("Layer 2").tolist() == []


def test_nothing_is_left_of_a_closed_dock(make_napari_viewer_proxy, qtbot):
    viewer = make_napari_viewer_proxy()
    dock = AnnotateWidget(viewer)
    session, keymap = dock.session, dict(viewer.keymap)
    wrapper = viewer.window.add_dock_widget(dock, name="Dock")
    gone = weakref.ref(dock)
    with qtbot.waitSignal(dock.destroyed):
        wrapper.destroyOnClose()
    del dock, wrapper
    for _ in range(2):
        qtbot.wait(1)
        gc.collect()
    assert gone() is None
    assert dict(viewer.keymap) == keymap
    slices, result = fake_result()
    session.add(slices)
    session.set_result(result)
    session.annotations.use_template("Cortex")


def test_a_class_is_shown_alone_and_escape_shows_all(dock, qtbot):
    session = dock.session
    session.annotations.assign(np.arange(5), "AOB", "test")
    assert not dock.alone.isEnabled()
    click_row(qtbot, dock, "AOB")
    qtbot.mouseClick(dock.alone, LEFT)
    assert session.view.region == Region(K.ANNOTATION, "AOB")
    assert np.flatnonzero(session.focus.mask()).tolist() == [0, 1, 2, 3, 4]
    # Its spots are others now, and so is what is shown.
    session.annotations.assign(np.array([7]), "AOB", "test")
    assert np.flatnonzero(session.focus.mask()).tolist() == [0, 1, 2, 3, 4, 7]
    qtbot.keyClick(dock.table, Qt.Key.Key_Escape)
    assert session.view.region is None
    assert session.focus.mask() is None
    assert not dock.alone.isChecked()
    # A region that is gone is shown alone no more.
    qtbot.mouseClick(dock.alone, LEFT)
    assert session.view.region is not None
    session.annotations.remove_class("AOB")
    assert session.view.region is None
