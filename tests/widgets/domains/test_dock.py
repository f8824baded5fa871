"""The Domains dock, with the events of a person: clicks on cells, keys, the colour dialog."""

from __future__ import annotations

import gc
import threading
import weakref

import numpy as np
import pytest
from docks import LEFT, delete, press
from fakes import fake_result
from qtpy.QtCore import QPoint, Qt
from qtpy.QtGui import QColor
from qtpy.QtWidgets import QAbstractItemView, QApplication, QDialogButtonBox, QLineEdit

from napari_staligner import _keys as K
from napari_staligner._errors import InputError
from napari_staligner.core.domains.domains import FoundDomains
from napari_staligner.core.progress import Progress
from napari_staligner.layers import open_session
from napari_staligner.session import ColorBy
from napari_staligner.widgets.domains import dock as module
from napari_staligner.widgets.domains.dock import DomainsWidget
from napari_staligner.widgets.parts.cells import CellRole
from napari_staligner.widgets.parts.legend import NAME, SPOTS, SWATCH

CTRL = Qt.KeyboardModifier.ControlModifier
SHIFT = Qt.KeyboardModifier.ShiftModifier

TOOL_TIP = Qt.ItemDataRole.ToolTipRole


@pytest.fixture
def empty_dock(open_dock):
    """Return a dock without slices, on the screen."""
    return open_dock(DomainsWidget, 380, 700)


@pytest.fixture
def dock(empty_dock, qtbot):
    """A dock with a result of two slices and four domains, and the focus in its table."""
    slices, result = fake_result()
    result.uns[K.STALIGNER]["params"] |= {"domains": 4, "resolution": 1.0, "smooth": False}
    empty_dock.session.add(slices)
    empty_dock.session.set_result(result, saved=True)
    empty_dock.activateWindow()
    empty_dock.table.setFocus()
    qtbot.waitUntil(lambda: QApplication.focusWidget() is empty_dock.table)
    return empty_dock


@pytest.fixture
def clustering(monkeypatch):
    """Clustering in the place of the real one: says its calls, waits when told to."""
    return FakeClustering(monkeypatch)


class FakeClustering:
    def __init__(self, monkeypatch):
        self.calls = []
        self.go = threading.Event()
        self.go.set()
        self.failure = None
        self.stability = float("nan")
        monkeypatch.setattr("napari_staligner.core.domains.domains.domain_steps", self.steps)
        monkeypatch.setattr(module, "DEBOUNCE_MS", 150)

    def steps(self, embedding, connectivities, settings, tissue):
        self.calls.append(settings)
        yield Progress("domains", 1, 2)
        while not self.go.wait(0.01):
            yield Progress("domains", 1, 2)
        if self.failure is not None:
            raise self.failure
        k = settings.domains or 3
        return FoundDomains(np.arange(len(embedding)) % k, self.stability)


def click(qtbot, dock, domain, column=NAME, modifier=Qt.KeyboardModifier.NoModifier):
    place = dock.table.visualRect(dock.table.cell(domain, column)).center()
    qtbot.mouseClick(dock.table.viewport(), LEFT, modifier, place)


def rename(qtbot, dock, domain, text):
    """Double-click a name, type, press Enter."""
    place = dock.table.visualRect(dock.table.cell(domain, NAME)).center()
    qtbot.mouseClick(dock.table.viewport(), LEFT, pos=place)
    qtbot.mouseDClick(dock.table.viewport(), LEFT, pos=place)
    qtbot.mouseRelease(dock.table.viewport(), LEFT, pos=place)
    editor = dock.table.viewport().findChild(QLineEdit)
    assert editor is not None, "a double-click must open an editor"
    editor.selectAll()
    if text:
        qtbot.keyClicks(editor, text)
    else:
        qtbot.keyClick(editor, Qt.Key.Key_Delete)
    qtbot.keyClick(editor, Qt.Key.Key_Return)
    # Qt commits what was typed when the key's event is over.
    qtbot.waitUntil(lambda: dock.table.state() == QAbstractItemView.State.NoState)


def step_k(qtbot, dock, steps=1):
    """Press the up key in the box of k."""
    dock.k.setFocus()
    for _ in range(steps):
        qtbot.keyClick(dock.k, Qt.Key.Key_Up)
        QApplication.processEvents()


def shown_order(dock):
    model = dock.table.model()
    return [model.index(i, NAME).data() for i in range(model.rowCount())]


# --- not ready


def test_without_a_result_the_dock_says_so(empty_dock):
    assert empty_dock.status.text() == "There are no domains yet: integrate the slices first."
    controls = (empty_dock.mixture, empty_dock.leiden, empty_dock.k, empty_dock.resolution)
    for control in (*controls, empty_dock.smooth, empty_dock.table):
        assert not control.isEnabled()
    assert empty_dock.table.model().rowCount() == 0


def test_a_result_without_embedding_shows_its_legend_only(dock):
    result = dock.session.result.adata
    del result.obsm[K.EMBEDDING]
    dock.session.set_result(result)
    assert "integrate the slices again" in dock.status.text()
    assert not dock.k.isEnabled()
    assert dock.table.isEnabled()
    assert len(shown_order(dock)) == 4


def test_a_result_that_goes_takes_the_legend_with_it(dock, qtbot):
    rename(qtbot, dock, "1", "GCL")
    dock.session.slices.clear()
    assert dock.table.model().rowCount() == 0
    assert not dock.undo.isEnabled()
    assert "integrate the slices first" in dock.status.text()


# --- the legend


def test_the_legend_counts_spots(dock):
    result, model = dock.session.result.adata, dock.table.model()
    assert dock.summary.text() == f"4 domains, {result.n_obs:,} spots"
    heads = [model.headerData(i, Qt.Orientation.Horizontal) for i in range(model.columnCount())]
    assert heads == ["", "Domain", "Spots", "slice1", "slice2"]
    for row, domain in enumerate(dock.session.domains.names):
        of_domain = result.obs[K.DOMAIN] == domain
        by_slice = [int((of_domain & (result.obs[K.SLICE] == s)).sum()) for s in heads[3:]]
        texts = [model.index(row, column).data() for column in range(1, model.columnCount())]
        assert texts == [domain, str(sum(by_slice)), *map(str, by_slice)]
        color = model.index(row, SWATCH).data(CellRole.COLOR)
        assert color.name() == dock.session.domains.colors[domain]


def test_controls_show_how_the_domains_were_found(dock):
    assert dock.mixture.isChecked()
    assert dock.k.value() == 4
    assert dock.k.isEnabled()
    assert not dock.resolution.isEnabled()
    assert not dock.smooth.isChecked()


def test_a_domain_in_one_slice_only_is_marked(empty_dock):
    dock = empty_dock
    slices, result = fake_result((160, 150))
    dock.session.add(slices)
    dock.session.set_result(result)
    labels = np.arange(result.n_obs) % 3
    labels[(result.obs[K.SLICE] == "slice1").to_numpy() & (labels == 1)] = 3
    dock.session.domains.relabel(labels, dock.session.domains.settings)
    lone = dock.session.result.adata.obs[K.DOMAIN].astype(str).to_numpy()[labels == 3][0]
    other = dock.session.result.adata.obs[K.DOMAIN].astype(str).to_numpy()[labels == 0][0]
    assert dock.table.cell(lone, NAME).data(CellRole.NOTE) == "only in slice1"
    assert dock.table.cell(other, NAME).data(CellRole.NOTE) is None
    assert "every other slice lacks it (q = 0.0" in dock.table.cell(lone, NAME).data(TOOL_TIP)
    dock.session.domains.rename(lone, "accessory")
    assert dock.table.cell("accessory", NAME).data(CellRole.NOTE) == "only in slice1"


def test_headers_sort(dock, qtbot):
    dock.session.domains.relabel(
        np.repeat([0, 1, 2, 3], [10, 60, 15, 25]), dock.session.domains.settings
    )
    counts = {d: sum(n.values()) for d, n in dock.session.domains.counts().items()}
    header = dock.table.horizontalHeader()

    def click_head(column):
        x = header.sectionViewportPosition(column) + header.sectionSize(column) // 2
        qtbot.mouseClick(header.viewport(), LEFT, pos=QPoint(x, header.height() // 2))

    click_head(SPOTS)
    assert shown_order(dock) == sorted(counts, key=counts.__getitem__)
    click_head(SPOTS)
    assert shown_order(dock) == sorted(counts, key=counts.__getitem__, reverse=True)
    click_head(SWATCH)
    assert shown_order(dock) == list(dock.session.domains.names)


def test_names_that_are_numbers_sort_as_numbers(dock):
    labels = np.arange(dock.session.result.adata.n_obs) % 12
    dock.session.domains.relabel(labels, dock.session.domains.settings)
    dock.table.sortByColumn(NAME, Qt.SortOrder.AscendingOrder)
    assert shown_order(dock) == [str(i + 1) for i in range(12)]


# --- isolating


def test_a_click_shows_a_domain_alone_and_another_all(dock, qtbot):
    dock.session.view.color_by = ColorBy("obs", "region")
    click(qtbot, dock, "2")
    assert dock.session.view.isolated == {"2"}
    assert dock.session.view.color_by == ColorBy("obs", K.DOMAIN)
    n = (dock.session.result.adata.obs[K.DOMAIN] == "2").sum()
    assert dock.status.text() == f"Shown alone: 2 ({n} spots). Esc shows all."
    click(qtbot, dock, "3", SPOTS)
    assert dock.session.view.isolated == {"3"}
    click(qtbot, dock, "3")
    assert dock.session.view.isolated == frozenset()
    assert dock.status.text() == ""


def test_ctrl_click_adds_and_takes_away(dock, qtbot):
    click(qtbot, dock, "2")
    click(qtbot, dock, "4", modifier=CTRL)
    assert dock.session.view.isolated == {"2", "4"}
    click(qtbot, dock, "2", modifier=CTRL)
    assert dock.session.view.isolated == {"4"}


def test_escape_and_the_button_show_all(dock, qtbot):
    assert not dock.show_all.isVisible()
    click(qtbot, dock, "2")
    qtbot.keyClick(dock.table, Qt.Key.Key_Escape)
    assert dock.session.view.isolated == frozenset()
    click(qtbot, dock, "2")
    qtbot.mouseClick(dock.show_all, LEFT)
    assert dock.session.view.isolated == frozenset()
    assert not dock.show_all.isVisible()


def test_keys_isolate_the_current_row(dock, qtbot):
    dock.table.setCurrentIndex(dock.table.cell("1", NAME))
    qtbot.keyClick(dock.table, Qt.Key.Key_Down)
    qtbot.keyClick(dock.table, Qt.Key.Key_Space)
    assert dock.session.view.isolated == {"2"}


def test_what_is_isolated_elsewhere_is_shown(dock):
    dock.session.view.isolated = {"3"}
    dimmed = {d: dock.table.cell(d, NAME).data(CellRole.DIMMED) for d in dock.session.domains.names}
    assert dimmed == {"1": True, "2": True, "3": False, "4": True}
    assert dock.show_all.isVisible()


# --- names and colours


def test_double_click_renames(dock, qtbot):
    dock.session.view.isolated = {"1"}
    before = (dock.session.result.adata.obs[K.DOMAIN] == "2").to_numpy()
    rename(qtbot, dock, "2", "AOB")
    assert dock.session.domains.names == ("1", "AOB", "3", "4")
    np.testing.assert_array_equal(dock.session.result.adata.obs[K.DOMAIN] == "AOB", before)
    assert shown_order(dock) == ["1", "AOB", "3", "4"]
    # The first of the two clicks isolates; the second must not leave it so.
    assert dock.session.view.isolated == {"1"}


@pytest.mark.parametrize(("text", "why"), [("", "empty"), ("3", "already taken ('3')")])
def test_a_name_that_cannot_be_is_refused_with_a_sentence(dock, qtbot, text, why):
    rename(qtbot, dock, "2", text)
    assert dock.session.domains.names == ("1", "2", "3", "4")
    assert dock.status.text() == f"The name for domain '2' is {why}: choose another."
    assert shown_order(dock) == ["1", "2", "3", "4"]
    assert not dock.undo.isEnabled()


def test_escape_in_the_editor_keeps_name_and_isolation(dock, qtbot):
    dock.session.view.isolated = {"3"}
    place = dock.table.visualRect(dock.table.cell("2", NAME)).center()
    qtbot.mouseDClick(dock.table.viewport(), LEFT, pos=place)
    editor = dock.table.viewport().findChild(QLineEdit)
    qtbot.keyClicks(editor, "AOB")
    qtbot.keyClick(editor, Qt.Key.Key_Escape)
    assert dock.session.domains.names == ("1", "2", "3", "4")


def test_the_swatch_opens_a_dialog_that_sets_the_colour(dock, qtbot):
    click(qtbot, dock, "2", SWATCH)
    assert dock.session.view.isolated == frozenset()
    dialog = dock.color_dialog
    assert dialog.currentColor().name() == dock.session.domains.colors["2"]
    dialog.setCurrentColor(QColor("#123456"))
    ok = dialog.findChild(QDialogButtonBox).button(QDialogButtonBox.StandardButton.Ok)
    qtbot.mouseClick(ok, LEFT)
    assert dock.session.domains.colors["2"] == "#123456"
    assert dock.table.cell("2", SWATCH).data(CellRole.COLOR).name() == "#123456"
    assert dock.color_dialog is None


def test_a_cancelled_dialog_leaves_the_colour(dock, qtbot):
    before = dock.session.domains.colors
    click(qtbot, dock, "2", SWATCH)
    dock.color_dialog.setCurrentColor(QColor("#123456"))
    qtbot.keyClick(dock.color_dialog, Qt.Key.Key_Escape)
    assert dock.session.domains.colors == before
    assert not dock.undo.isEnabled()


# --- undo


def test_undo_and_redo_of_names_and_colours(dock, qtbot):
    before = dock.session.domains.colors
    rename(qtbot, dock, "2", "AOB")
    dock.session.domains.recolor("3", "#123456")
    after = dock.session.domains.colors
    dock.table.setFocus()
    qtbot.keyClick(dock.table, Qt.Key.Key_Z, CTRL)
    assert dock.session.domains.colors == {**after, "3": before["3"]}
    qtbot.keyClick(dock.table, Qt.Key.Key_Z, CTRL)
    assert dock.session.domains.colors == before
    assert not dock.undo.isEnabled()
    qtbot.keyClick(dock.table, Qt.Key.Key_Z, CTRL | SHIFT)
    qtbot.mouseClick(dock.redo, LEFT)
    assert dock.session.domains.colors == after
    assert not dock.redo.isEnabled()
    assert dock.undo.toolTip() == "Undo colouring 3 (Ctrl+Z)"


def test_a_new_result_forgets_the_old_edits(dock, qtbot):
    rename(qtbot, dock, "2", "AOB")
    dock.session.set_result(dock.session.result.adata)
    assert not dock.undo.isEnabled()
    assert dock.session.domains.names[1] == "AOB"


# --- finding domains


def test_keys_held_down_find_once(clustering, dock, qtbot):
    with qtbot.waitSignal(dock._runner.ended):
        step_k(qtbot, dock, steps=5)
    assert [call.domains for call in clustering.calls] == [9]
    assert len(dock.session.domains.names) == 9
    assert dock.session.domains.settings.domains == 9
    assert dock.session.view.color_by == ColorBy("obs", K.DOMAIN)
    assert dock.summary.text() == "9 domains, 110 spots"


def test_the_summary_says_how_stable_the_domains_are(clustering, dock, qtbot):
    clustering.stability = 0.617
    with qtbot.waitSignal(dock._runner.ended):
        step_k(qtbot, dock)
    assert dock.summary.text() == "5 domains, 110 spots, stability 0.62"
    assert "adjusted Rand index" in dock.summary.toolTip()
    press(qtbot, dock.undo)
    assert dock.summary.text() == "4 domains, 110 spots"
    press(qtbot, dock.redo)
    assert dock.summary.text() == "5 domains, 110 spots, stability 0.62"


def test_leiden_and_smoothing_are_asked_for(clustering, dock, qtbot):
    dock._debounce.setInterval(200)
    with qtbot.waitSignal(dock._runner.ended):
        press(qtbot, dock.leiden)
        dock.resolution.setFocus()
        qtbot.keyClick(dock.resolution, Qt.Key.Key_Up)
        press(qtbot, dock.smooth)
    (call,) = clustering.calls
    assert (call.domains, call.resolution, call.smooth) == (None, 1.05, True)
    assert not dock.k.isEnabled()


def test_undo_of_finding_restores_labels_names_colours_and_controls(clustering, dock, qtbot):
    rename(qtbot, dock, "2", "AOB")
    labels, colors = dock.session.result.adata.obs[K.DOMAIN].copy(), dock.session.domains.colors
    with qtbot.waitSignal(dock._runner.ended):
        step_k(qtbot, dock)
    found = dock.session.result.adata.obs[K.DOMAIN].copy()
    assert len(dock.session.domains.names) == 5
    # The focus is in the box, which has an undo of its own for its text.
    assert QApplication.focusWidget() is dock.k
    qtbot.keyClick(dock.k, Qt.Key.Key_Z, CTRL)
    assert dock.session.result.adata.obs[K.DOMAIN].equals(labels)
    assert dock.session.domains.colors == colors
    assert dock.k.value() == 4
    assert dock.session.view.settings.domains == 4
    qtbot.keyClick(dock.k, Qt.Key.Key_Z, CTRL | SHIFT)
    assert dock.session.result.adata.obs[K.DOMAIN].equals(found)
    assert dock.k.value() == 5
    assert len(clustering.calls) == 1


def test_back_to_the_present_choice_finds_nothing(clustering, dock, qtbot):
    step_k(qtbot, dock)
    qtbot.keyClick(dock.k, Qt.Key.Key_Down)
    with qtbot.waitSignal(dock._debounce.timeout):
        pass
    assert not clustering.calls
    assert not dock._runner.running


def test_cancel_leaves_the_domains(clustering, dock, qtbot):
    clustering.go.clear()
    before = dock.session.result.adata.obs[K.DOMAIN].copy()
    with qtbot.waitSignal(dock._runner.progressed):
        step_k(qtbot, dock)
    assert dock.cancel.isVisible()
    with qtbot.waitSignal(dock._runner.ended):
        qtbot.mouseClick(dock.cancel, LEFT)
    assert dock.session.result.adata.obs[K.DOMAIN].equals(before)
    assert dock.k.value() == 4
    assert dock.status.text() == "Cancelled: the domains have not changed."
    assert not dock.cancel.isVisible()


def test_another_choice_during_a_run_takes_its_place(clustering, dock, qtbot):
    clustering.go.clear()
    with qtbot.waitSignal(dock._runner.progressed):
        step_k(qtbot, dock)
    with qtbot.waitSignal(dock._runner.ended):
        step_k(qtbot, dock)
    clustering.go.set()
    with qtbot.waitSignal(dock._runner.ended):
        pass
    assert [call.domains for call in clustering.calls] == [5, 6]
    assert len(dock.session.domains.names) == 6
    assert len(dock.session.domains.track.texts) == 1


def test_an_answer_for_an_older_result_is_dropped(clustering, dock, qtbot):
    clustering.go.clear()
    with qtbot.waitSignal(dock._runner.progressed):
        step_k(qtbot, dock)
    with qtbot.waitSignal(dock._runner.ended):
        dock.session.set_result(dock.session.result.adata)
        clustering.go.set()
    assert len(dock.session.domains.names) == 4
    assert dock.k.value() == 4


def test_a_failure_is_said_and_the_controls_go_back(clustering, dock, qtbot):
    clustering.failure = InputError("Slice 'x' is odd: mend it.")
    with qtbot.waitSignal(dock._runner.ended):
        step_k(qtbot, dock)
    assert dock.status.text() == "Slice 'x' is odd: mend it."
    assert dock.k.value() == 4
    assert len(dock.session.domains.names) == 4


def test_the_real_mixture_finds_the_planted_domains(dock, qtbot):
    planted = dock.session.result.adata.obs[K.DOMAIN].astype(str).to_numpy()
    labels = np.arange(len(planted)) % 2
    dock.session.domains.relabel(labels, dock.session.domains.settings)
    with qtbot.waitSignal(dock._runner.ended):
        step_k(qtbot, dock)
        qtbot.keyClick(dock.k, Qt.Key.Key_Down)
        press(qtbot, dock.smooth)
    found = dock.session.result.adata.obs[K.DOMAIN].astype(str).to_numpy()
    assert len(set(zip(planted, found, strict=True))) == 4


# --- in napari's window


def test_clicks_in_the_dock_change_the_tissue(make_napari_viewer_proxy, qtbot):
    viewer = make_napari_viewer_proxy(show=True)
    session = open_session(viewer)
    slices, result = fake_result()
    session.add(slices)
    session.set_result(result)
    dock = DomainsWidget(viewer)
    viewer.window.add_dock_widget(dock, name="Domains")
    qtbot.waitUntil(dock.table.isVisible)
    alpha = viewer.layers["slice1"].face_color[:, 3]
    assert (alpha == 1).all()
    click(qtbot, dock, "2")
    of_domain = (result.obs[K.DOMAIN] == "2").to_numpy()[session.result.rows("slice1")]
    alpha = viewer.layers["slice1"].face_color[:, 3]
    np.testing.assert_array_equal(alpha == 1, of_domain)
    session.domains.recolor("2", "#123456")
    color = viewer.layers["slice1"].face_color[of_domain][0]
    np.testing.assert_allclose(color, QColor("#123456").getRgbF(), atol=1e-3)
    assert dock.undo.isEnabled()
    delete(dock)


# --- the end


def test_a_closed_dock_hears_nothing_and_is_freed(make_napari_viewer_proxy, qtbot):
    viewer = make_napari_viewer_proxy()
    session = open_session(viewer)
    slices, result = fake_result()
    session.add(slices)
    session.set_result(result)
    dock = DomainsWidget(viewer)
    session.domains.rename("1", "AOB")
    gone = weakref.ref(dock)
    delete(dock)
    del dock
    gc.collect()
    assert gone() is None
    session.domains.rename("AOB", "GCL")
