from __future__ import annotations

import anndata as ad
import pytest
from fakes import fake_result, fake_slice
from made_formats import make_visium
from qtpy.QtCore import QMimeData, QPointF, Qt, QUrl
from qtpy.QtGui import QDropEvent
from qtpy.QtWidgets import QFileDialog, QMessageBox

from napari_staligner import samples
from napari_staligner.layers import open_session
from napari_staligner.session import ColorBy
from napari_staligner.widgets.slices import dock as module
from napari_staligner.widgets.slices.slice_table import GENES, IMAGE, NAME, NEIGHBORS, SPOTS

LEFT = Qt.MouseButton.LeftButton


@pytest.fixture
def dock(open_dock, qtbot):
    dock = open_dock(module.SlicesWidget)
    yield dock
    dock._reader.cancel()
    dock._grapher.cancel()
    qtbot.waitUntil(lambda: not (dock._reader.running or dock._grapher.running))


@pytest.fixture
def files(tmp_path):
    paths = []
    for i, n in enumerate((60, 50)):
        paths.append(tmp_path / f"part{i}.h5ad")
        fake_slice(n, seed=i, image=i == 0).write_h5ad(paths[-1])
    return paths


def has_graphs(dock):
    return lambda: len(dock.session.slices.graphs) == len(dock.session.slices) > 0


def settled(qtbot, dock):
    qtbot.waitUntil(lambda: not (dock._reader.running or dock._grapher.running))


def cell(dock, row, column):
    return dock.table.item(row, column).text()


def click_row(qtbot, dock, row):
    rect = dock.table.visualItemRect(dock.table.item(row, NAME))
    qtbot.mouseClick(dock.table.viewport(), LEFT, pos=rect.center())


def choose(qtbot, box, text):
    """Choose an item of a combo box with keys, as a person would."""
    index = box.findText(text, Qt.MatchFlag.MatchStartsWith)
    assert index >= 0, [box.itemText(i) for i in range(box.count())]
    box.showPopup()
    view = box.view()
    view.setCurrentIndex(box.model().index(index, 0))
    qtbot.keyClick(view, Qt.Key.Key_Return)


def test_empty_dock_says_what_to_do(dock):
    assert dock.status.text() == module.EMPTY
    assert not dock.remove.isEnabled()
    assert dock.minimumSizeHint().width() <= 380


def test_add_reads_files_off_the_gui_thread_and_shows_them(dock, qtbot, files, monkeypatch):
    monkeypatch.setattr(
        QFileDialog, "getOpenFileNames", lambda *_: ([str(path) for path in files], "")
    )
    qtbot.mouseClick(dock.add, LEFT)
    assert not dock.session.slices
    assert not dock.add.isEnabled()
    qtbot.waitUntil(has_graphs(dock))
    assert list(dock.session.slices) == ["part0", "part1"]
    assert [cell(dock, 0, column) for column in (NAME, SPOTS, GENES, IMAGE)] == [
        *("part0", "60", "20", "✓")
    ]
    assert cell(dock, 1, IMAGE) == ""
    mean = dock.session.slices.graphs["part0"].mean_neighbors
    assert cell(dock, 0, NEIGHBORS) == f"{mean:.1f}"
    assert "region" in dock.table.item(0, NAME).toolTip()
    assert dock.status.text() == "2 slices, 110 spots."
    assert dock.add.isEnabled()


@pytest.mark.filterwarnings("ignore:Writing zarr v2 data:UserWarning")
def test_dropped_files_are_opened_and_others_not(dock, qtbot, files, tmp_path):
    folder, text = tmp_path / "folder.zarr", tmp_path / "notes.txt"
    fake_slice(10).write_zarr(folder)
    mime = QMimeData()
    mime.setUrls([QUrl.fromLocalFile(str(path)) for path in (*files, folder, text)])
    event = QDropEvent(
        QPointF(5, 5),
        Qt.DropAction.CopyAction,
        mime,
        LEFT,
        Qt.KeyboardModifier.NoModifier,
    )
    dock.dropEvent(event)
    qtbot.waitUntil(lambda: len(dock.session.slices) == 3)
    assert list(dock.session.slices) == ["part0", "part1", "folder"]
    settled(qtbot, dock)


def test_a_dropped_folder_says_what_it_was_taken_for(dock, qtbot, tmp_path):
    mime = QMimeData()
    mime.setUrls([QUrl.fromLocalFile(str(make_visium(tmp_path / "liver" / "outs")))])
    button, key = LEFT, Qt.KeyboardModifier.NoModifier
    event = QDropEvent(QPointF(5, 5), Qt.DropAction.CopyAction, mime, button, key)
    dock.dropEvent(event)
    qtbot.waitUntil(lambda: len(dock.session.slices) == 1)
    settled(qtbot, dock)
    assert cell(dock, 0, NAME) == "liver"
    assert cell(dock, 0, IMAGE) == "✓"
    assert "Visium, 12 spots × 5 genes" in dock.table.item(0, NAME).toolTip()


def test_bad_file_is_named_and_the_good_one_kept(dock, qtbot, files, tmp_path):
    bad = tmp_path / "bad.h5ad"
    bad.write_bytes(b"nothing")
    flat = tmp_path / "flat.h5ad"
    adata = fake_slice(10)
    del adata.obsm["spatial"]
    adata.write_h5ad(flat)
    dock._open([files[0], bad, flat])
    settled(qtbot, dock)
    assert list(dock.session.slices) == ["part0"]
    assert "bad.h5ad" in dock.status.text()
    assert "'flat' has no obsm['spatial']" in dock.status.text()


def test_result_file_takes_the_place_of_the_slices(dock, qtbot, tmp_path):
    dock.session.add([("other", fake_slice(20))])
    _, result = fake_result((30, 25))
    result.write_h5ad(tmp_path / "result.h5ad")
    dock._open([tmp_path / "result.h5ad"])
    qtbot.waitUntil(lambda: dock.session.result.adata is not None)
    settled(qtbot, dock)
    assert list(dock.session.slices) == ["slice1", "slice2"]
    assert dock.session.saved
    assert dock.color_by.currentText() == "domain"


def test_sample(dock, qtbot, monkeypatch, bulb):
    monkeypatch.setattr(samples, "simulated_olfactory_bulb", lambda: bulb)
    qtbot.mouseClick(dock.sample, LEFT)
    qtbot.waitUntil(has_graphs(dock))
    settled(qtbot, dock)
    assert list(dock.session.slices) == list(samples.SLICE_NAMES)


def test_remove(dock, qtbot):
    dock.session.add([("a", fake_slice(20)), ("b", fake_slice(20))])
    settled(qtbot, dock)
    assert not dock.remove.isEnabled()
    click_row(qtbot, dock, 0)
    assert dock.table.chosen == ["a"]
    qtbot.mouseClick(dock.remove, LEFT)
    assert list(dock.session.slices) == ["b"]
    assert not dock.remove.isEnabled()


@pytest.mark.parametrize("button", ["Yes", "Cancel"])
def test_removing_a_slice_of_an_unsaved_result_asks(dock, qtbot, monkeypatch, button):
    slices, result = fake_result((30, 25))
    dock.session.add(slices)
    dock.session.set_result(result)
    settled(qtbot, dock)
    asked = []

    def question(_, title, text, *_buttons):
        asked.append(text)
        return QMessageBox.StandardButton[button]

    monkeypatch.setattr(QMessageBox, "question", question)
    click_row(qtbot, dock, 1)
    qtbot.mouseClick(dock.remove, LEFT)
    assert len(asked) == 1
    assert "slice2" in asked[0]
    assert (dock.session.result.adata is None) == (button == "Yes")
    assert len(dock.session.slices) == (1 if button == "Yes" else 2)


def test_removing_a_slice_of_a_saved_result_does_not_ask(dock, qtbot, monkeypatch):
    slices, result = fake_result((30, 25))
    dock.session.add(slices)
    dock.session.set_result(result, saved=True)
    settled(qtbot, dock)
    monkeypatch.setattr(QMessageBox, "question", lambda *_: pytest.fail("asked"))
    click_row(qtbot, dock, 1)
    qtbot.mouseClick(dock.remove, LEFT)
    assert list(dock.session.slices) == ["slice1"]


def test_split_by_a_column(dock, qtbot):
    parts = {"left": fake_slice(30), "right": fake_slice(20, seed=1)}
    both = ad.concat(parts, label="section", index_unique="-")
    both.obs["section"] = both.obs["section"].astype("category")
    dock.session.add([("both", both)])
    settled(qtbot, dock)
    assert not dock.split.isEnabled()
    click_row(qtbot, dock, 0)
    offered = [dock.split.itemText(i) for i in range(dock.split.count())]
    assert "section (2 slices)" in offered
    assert not any(text.startswith("depth") for text in offered)
    choose(qtbot, dock.split, "section")
    qtbot.waitUntil(lambda: len(dock.session.slices) == 2)
    settled(qtbot, dock)
    assert {n: a.n_obs for n, a in dock.session.slices.items()} == {"left": 30, "right": 20}


def test_sections_that_lie_apart_are_split_by_one_click(dock, qtbot, tmp_path):
    first, second = fake_slice(60, seed=0), fake_slice(50, seed=1)
    second.obsm["spatial"][:, 0] += 10_000
    parts = ad.concat([first, second], label="sample", keys=["S1", "S2"], index_unique="-")
    parts.write_h5ad(tmp_path / "slide.h5ad")
    assert dock.split_asked.isHidden()
    dock._open([tmp_path / "slide.h5ad"])
    qtbot.waitUntil(has_graphs(dock))
    assert list(dock.session.slices) == ["slide"]
    assert "names 2 sections (S1, S2" in dock.status.text()
    assert dock.split_asked.text() == "Split slide by sample (2 slices)"
    settled(qtbot, dock)
    qtbot.mouseClick(dock.split_asked, LEFT)
    qtbot.waitUntil(lambda: list(dock.session.slices) == ["S1", "S2"])
    assert dock.split_asked.isHidden()
    settled(qtbot, dock)


def test_what_reading_guessed_is_said(dock, qtbot, tmp_path):
    adata = fake_slice(60)
    adata.obs["x"], adata.obs["y"] = adata.obsm.pop("spatial").T
    adata.write_h5ad(tmp_path / "A.h5ad")
    dock._open([tmp_path / "A.h5ad"])
    qtbot.waitUntil(has_graphs(dock))
    assert "coordinates are taken from obs['x'] and obs['y']" in dock.status.text()
    settled(qtbot, dock)


def test_graph_choices_are_the_sessions(dock, qtbot):
    dock.session.add([("a", fake_slice(100))])
    qtbot.waitUntil(has_graphs(dock))
    assert not dock.graph.radius.isVisibleTo(dock)
    choose(qtbot, dock.graph.how, "Nearest")
    assert dock.session.view.settings.n_neighbors == 6
    assert dock.session.view.settings.radius is None
    choose(qtbot, dock.graph.how, "Radius")
    assert dock.session.view.settings.n_neighbors is None
    assert 10 < dock.session.view.settings.radius < 20
    assert dock.graph.radius.isVisibleTo(dock)
    choose(qtbot, dock.graph.how, "Find")
    assert dock.session.view.settings.radius is None
    settled(qtbot, dock)


def test_radius_in_the_wrong_unit_is_said(dock, qtbot):
    dock.session.add([("a", fake_slice(100))])
    qtbot.waitUntil(has_graphs(dock))
    choose(qtbot, dock.graph.how, "Radius")
    dock.graph.radius.selectAll()
    qtbot.keyClicks(dock.graph.radius, "1")
    assert dock.session.view.settings.radius != 1
    qtbot.keyClick(dock.graph.radius, Qt.Key.Key_Return)
    assert dock.session.view.settings.radius == 1
    settled(qtbot, dock)
    assert "no spot has a neighbour within radius 1" in dock.warning.text()
    assert dock.warning.isVisibleTo(dock)
    assert cell(dock, 0, NEIGHBORS) == "–"
    choose(qtbot, dock.graph.how, "Find")
    qtbot.waitUntil(has_graphs(dock))
    settled(qtbot, dock)
    assert not dock.warning.isVisibleTo(dock)


def test_too_many_neighbours_are_marked(dock, qtbot):
    from dataclasses import replace

    dock.session.view.settings = replace(dock.session.view.settings, radius=60.0)
    dock.session.add([("a", fake_slice(100))])
    qtbot.waitUntil(has_graphs(dock))
    settled(qtbot, dock)
    assert cell(dock, 0, NEIGHBORS).startswith("⚠ ")
    assert "blurs the domains" in dock.warning.text()


def test_settings_that_change_during_a_build_win(dock, qtbot):
    from dataclasses import replace

    dock.session.add([("a", fake_slice(100))])
    assert dock._grapher.running
    assert cell(dock, 0, NEIGHBORS) == "…"
    dock.session.view.settings = replace(dock.session.view.settings, radius=25.0)
    qtbot.waitUntil(has_graphs(dock))
    assert dock.session.slices.graphs["a"].radius == 25.0
    settled(qtbot, dock)


def test_layout_and_graph_shown_both_ways(dock, qtbot):
    qtbot.mouseClick(dock.layout_buttons["mosaic"], LEFT)
    assert dock.session.view.layout == "mosaic"
    dock.session.view.layout = "stack"
    assert dock.layout_buttons["stack"].isChecked()
    dock.graph_shown.click()
    assert dock.session.view.graph_shown
    dock.session.view.graph_shown = False
    assert not dock.graph_shown.isChecked()


def test_colour_by_is_found_by_a_part_of_the_name(make_napari_viewer_proxy, qtbot):
    viewer = make_napari_viewer_proxy(show=True)
    dock = module.SlicesWidget(viewer)
    viewer.window.add_dock_widget(dock, name="Slices")
    dock.session.add([("a", fake_slice(30))])
    settled(qtbot, dock)
    box = dock.color_by
    dock.window().activateWindow()
    qtbot.mouseClick(box.lineEdit(), LEFT)
    # The click selects the old text, so that typing replaces it.
    qtbot.waitUntil(lambda: box.lineEdit().selectedText() == "slice")
    qtbot.keyClicks(box.lineEdit(), "NE17")
    popup = box.completer().popup()
    qtbot.waitUntil(popup.isVisible)
    assert box.completer().completionCount() == 1
    qtbot.keyClick(popup, Qt.Key.Key_Down)
    qtbot.keyClick(popup, Qt.Key.Key_Return)
    assert dock.session.view.color_by == ColorBy("gene", "gene17")
    assert box.currentText() == "gene: gene17"


@pytest.mark.parametrize(
    ("typed", "color_by"),
    [
        ("GENE1", ColorBy("gene", "gene1")),  # one of many that begin so, and whole
        ("ene17", ColorBy("gene", "gene17")),
        ("depth", ColorBy("obs", "depth")),
        ("gene", ColorBy("obs", "region")),  # a part of many
        ("nonsense", ColorBy("obs", "region")),
    ],
)
def test_colour_by_takes_text_that_names_one_choice(dock, qtbot, typed, color_by):
    dock.session.add([("a", fake_slice(30))])
    settled(qtbot, dock)
    dock.session.view.color_by = ColorBy("obs", "region")
    assert dock.color_by.currentText() == "region"
    dock.color_by.lineEdit().selectAll()
    qtbot.keyClicks(dock.color_by.lineEdit(), typed)
    qtbot.keyClick(dock.color_by.lineEdit(), Qt.Key.Key_Return)
    assert dock.session.view.color_by == color_by
    title = color_by.key if color_by.kind == "obs" else f"gene: {color_by.key}"
    assert dock.color_by.currentText() == title


def test_connections_end_with_the_dock(make_napari_viewer_proxy, qtbot):
    viewer = make_napari_viewer_proxy()
    session = open_session(viewer)
    before = len(session.view.events.settings)
    dock = module.SlicesWidget(viewer)
    assert len(session.view.events.settings) > before
    dock.teardown()
    dock.teardown()
    assert len(session.view.events.settings) == before
    session.add([("a", fake_slice(20))])
    assert dock.table.rowCount() == 0
    assert not dock._grapher.running
    with qtbot.waitSignal(dock.destroyed):
        dock.deleteLater()
