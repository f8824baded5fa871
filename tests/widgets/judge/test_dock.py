"""The Judge dock, with the events of a person: clicks, typing, keys."""

from __future__ import annotations

import gc
import weakref
from dataclasses import replace

import numpy as np
import pytest
from docks import LEFT, delete
from fakes import fake_result
from napari.components import ViewerModel
from qtpy.QtCore import QPoint, Qt
from qtpy.QtWidgets import QFileDialog

from napari_staligner import _keys as K
from napari_staligner.core.domains.presence import PresenceTable
from napari_staligner.core.evaluation import baselines
from napari_staligner.core.evaluation.baselines import COMPUTED
from napari_staligner.core.evaluation.evaluation import evaluate
from napari_staligner.core.evaluation.metrics import METRICS
from napari_staligner.core.evaluation.umap import Umap
from napari_staligner.core.evaluation.yardsticks.sedr import SedrJob
from napari_staligner.core.palette import to_rgba
from napari_staligner.core.settings import Settings
from napari_staligner.layers.colors import DIMMED
from napari_staligner.widgets.judge.dock import JudgeWidget
from napari_staligner.widgets.judge.presence_panel import CONFIDENCE, DOMAIN, SLICE, VERDICT

NO_KEY = Qt.KeyboardModifier.NoModifier
PAIR = ("slice1", "slice2")


@pytest.fixture(scope="module")
def figures():
    """Return figures of the fake result, computed once."""
    return evaluate(fake_result()[1], "region")


@pytest.fixture
def empty_dock(open_dock):
    """Return a dock without slices, on the screen."""
    return open_dock(JudgeWidget, 420, 900)


def click_row(table, row, qtbot):
    at = table.visualRect(table.model().index(row, 0)).center()
    qtbot.mouseClick(table.viewport(), LEFT, pos=at)


def rows_of(tree):
    return {
        tree.topLevelItem(i).text(0): tree.topLevelItem(i) for i in range(tree.topLevelItemCount())
    }


def listed(dock):
    found = dock.verdicts.list
    return [
        [found.topLevelItem(i).text(c) for c in range(3)] for i in range(found.topLevelItemCount())
    ]


def choose(box, text, qtbot):
    """Go down a box with the arrow key."""
    for _ in range(box.count()):
        if not box.currentText().startswith(text):
            qtbot.keyClick(box, Qt.Key.Key_Down)
    assert box.currentText().startswith(text)


# --- not ready


def test_without_a_result_the_dock_says_so_and_offers_nothing(empty_dock):
    dock = empty_dock
    assert dock.status.text() == "There is nothing to judge yet: integrate the slices first."
    for button in (dock.figures.run.button, dock.report.button, dock.verdicts.undo):
        assert not button.isEnabled()
    assert not any(button.isEnabled() for button in dock.verdicts.buttons.values())
    assert dock.presence.model().rowCount() == 0


# --- domain × slice


def test_the_table_says_what_the_test_says(dock):
    model, table = dock.presence.model(), dock.session.domains.presence()
    assert model.rowCount() == 8
    shown = [[model.index(r, c).data() for c in range(6)] for r in range(8)]
    for row, said in zip(table.rows, shown, strict=True):
        assert said[:3] == [row.label, row.slice, f"{row.spots:,}"]
        assert said[3:] == [f"{row.share:.0%}", f"{row.confidence:.2f}", row.verdict]
    assert dock.status.text() == "No domain lies in one slice only."


def test_what_is_unclear_is_said(dock, monkeypatch):
    session = dock.session
    rows = session.domains.presence().rows
    table = PresenceTable((*rows[:2], *(replace(row, verdict="unclear") for row in rows[2:4])))
    monkeypatch.setattr(session.domains, "presence", lambda: table)
    session.domains.relabelled.emit()
    assert dock.status.text() == "No domain lies in one slice only. Unclear: 2."


def test_long_names_of_slices_are_shortened_and_the_tip_has_them_whole(dock, monkeypatch):
    rows = dock.session.domains.presence().rows
    long = [replace(row, slice=f"sample of {row.slice} (left)") for row in rows]
    monkeypatch.setattr(dock.session.domains, "presence", lambda: PresenceTable(tuple(long)))
    dock.session.domains.relabelled.emit()
    cells = [dock.presence.model().index(row, SLICE) for row in range(2)]
    assert [cell.data() for cell in cells] == ["1", "2"]
    assert "sample of slice1 (left)" in cells[0].data(Qt.ItemDataRole.ToolTipRole)


def test_a_click_on_a_row_isolates_its_domain_and_a_second_shows_all(dock, qtbot):
    click_row(dock.presence, 3, qtbot)
    assert dock.session.view.isolated == {"2"}
    assert dock.verdicts.domain.currentText() == "2"
    click_row(dock.presence, 2, qtbot)
    assert dock.session.view.isolated == frozenset()
    assert dock.verdicts.domain.currentText() == "all domains"
    with qtbot.waitActive(dock):
        dock.activateWindow()
    click_row(dock.presence, 0, qtbot)
    qtbot.keyClick(dock.presence, Qt.Key.Key_Escape)
    assert dock.session.view.isolated == frozenset()


def test_sorted_by_confidence_a_click_still_takes_its_own_row(dock, qtbot):
    header = dock.presence.horizontalHeader()
    at = QPoint(header.sectionViewportPosition(CONFIDENCE) + 8, header.height() // 2)
    qtbot.mouseClick(header.viewport(), LEFT, pos=at)
    model = dock.presence.model()
    values = [float(model.index(r, CONFIDENCE).data()) for r in range(8)]
    assert values in (sorted(values), sorted(values, reverse=True))
    assert values != [round(row.confidence, 2) for row in dock.session.domains.presence().rows]
    name = model.index(0, DOMAIN).data()
    click_row(dock.presence, 0, qtbot)
    assert dock.session.view.isolated == {name}


def test_a_domain_of_one_slice_is_named(empty_dock):
    slices, result = fake_result((900, 900))
    gone = (result.obs[K.SLICE] == "slice2") & (result.obs[K.DOMAIN] == "4")
    result.obs.loc[gone, K.DOMAIN] = "3"
    empty_dock.session.add(slices)
    empty_dock.session.set_result(result, saved=True)
    assert empty_dock.status.text() == "In one slice only: 4 (slice1)."
    cell = empty_dock.presence.model().index(6, VERDICT)
    assert cell.data() == "slice-specific"
    assert cell.data(Qt.ItemDataRole.ForegroundRole) is not None
    assert "elsewhere" in cell.data(Qt.ItemDataRole.ToolTipRole)


# --- figures


def test_figures_are_computed_in_the_background_and_shown(dock, qtbot):
    dock.tabs.setCurrentWidget(dock.figures)
    choose(dock.figures.labels, "obs: region", qtbot)
    assert dock.figures.chosen() == (K.PCA, K.EMBEDDING)
    with qtbot.waitSignal(dock.figures.run.ended):
        qtbot.mouseClick(dock.figures.run.button, LEFT)
        assert not dock.figures.run.button.isEnabled()
    found = dock.session.figures.evaluation
    assert found.labels == "region"
    # What was computed is the result's now, and no longer computed here.
    assert dock.session.result.adata.obsm[K.PCA].shape[0] == 110
    assert not dock.session.saved
    assert dock.figures.embeddings.item(0).text() == "PCA, not integrated"
    rows = rows_of(dock.figures.table)
    assert next(iter(rows)) == "iLISI ↑"
    item = rows["cLISI, scaled ↑"]
    assert item.text(2).startswith(f"{found.figures[K.EMBEDDING].overall['clisi']:.3f}")
    assert item.toolTip(0).startswith(METRICS["clisi"].meaning)
    assert dock.figures.run.button.isEnabled()


def test_better_and_worse_are_marked_against_the_first(dock, figures):
    dock.session.figures.set(figures)
    before, after = figures.figures[K.PCA], figures.figures[K.EMBEDDING]
    signs = set()
    for key, metric in METRICS.items():
        if key not in after.overall or key not in before.overall:
            continue
        arrow = "↑" if metric.higher_is_better else "↓"
        text = rows_of(dock.figures.table)[f"{metric.title} {arrow}"].text(2)
        sign = metric.compare(after.overall[key], before.overall[key])
        signs.add(sign)
        assert text == f"{after.overall[key]:.3f}" + {1: " ✓", 0: "", -1: " ✗"}[sign]
    assert {1, -1} <= signs


def test_f1_has_a_row_for_each_label(dock, figures):
    dock.session.figures.set(figures)
    top = rows_of(dock.figures.table)["F1 ↑"]
    children = {top.child(i).text(0): top.child(i).text(2) for i in range(top.childCount())}
    assert list(children)[-2:] == ["upper", "lower"]
    upper = figures.figures[K.EMBEDDING].labels["upper"]
    assert children["upper"].startswith(f"{upper:.3f}")


def test_a_pair_that_is_clicked_becomes_the_one_to_judge(dock, figures, qtbot):
    dock.session.figures.set(figures)
    dock.tabs.setCurrentWidget(dock.figures)
    tree = dock.figures.table
    top = rows_of(tree)["iLISI ↑"]
    tree.setCurrentItem(top)
    qtbot.keyClick(tree, Qt.Key.Key_Right)
    assert top.isExpanded()
    child = top.child(0)
    assert child.text(0) == "slice1 – slice2"
    assert child.text(2).startswith(f"{figures.figures[K.EMBEDDING].pairs[PAIR]['ilisi_raw']:.3f}")
    qtbot.mouseClick(tree.viewport(), LEFT, pos=tree.visualItemRect(child).center())
    assert dock.verdicts.slices.currentData() == PAIR


def test_any_other_embedding_can_be_compared_and_none_disables_the_button(empty_dock, qtbot):
    slices, result = fake_result()
    result.obsm["GraphST"] = np.zeros((result.n_obs, 5))
    result.obsm["flat"] = np.zeros((result.n_obs, 1))
    empty_dock.session.add(slices)
    empty_dock.session.set_result(result, saved=True)
    empty_dock.tabs.setCurrentWidget(empty_dock.figures)
    found = empty_dock.figures.embeddings
    names = [found.item(row).data(Qt.ItemDataRole.UserRole) for row in range(found.count())]
    assert names == [K.PCA, K.EMBEDDING, *COMPUTED[1:], "GraphST"]
    for row in (0, 1, 7):
        found.setCurrentRow(row)
        qtbot.keyClick(found, Qt.Key.Key_Space)
    assert empty_dock.figures.chosen() == ("GraphST",)
    found.setCurrentRow(7)
    qtbot.keyClick(found, Qt.Key.Key_Space)
    assert not empty_dock.figures.run.button.isEnabled()


def test_cancel_leaves_everything_as_it_was(dock, qtbot):
    dock.tabs.setCurrentWidget(dock.figures)
    with qtbot.waitSignal(dock.figures.run.ended):
        qtbot.mouseClick(dock.figures.run.button, LEFT)
        qtbot.mouseClick(dock.figures.run.cancel, LEFT)
    assert dock.session.figures.evaluation is None
    assert dock.session.saved
    assert K.PCA not in dock.session.result.adata.obsm
    assert dock.status.text() == "Cancelled: nothing has changed."
    assert dock.figures.run.button.isVisible()


def test_figures_go_with_the_domains_they_are_about(dock, figures):
    dock.session.figures.set(figures)
    dock.session.domains.rename("1", "mitral")
    assert dock.session.figures.evaluation is figures
    dock.session.domains.relabel(np.arange(110) % 3, Settings(domains=3))
    assert dock.session.figures.evaluation is None
    assert dock.figures.table.topLevelItemCount() == 0
    # Late figures of the old domains are not taken either.
    dock.figures._on_run_returned(figures)
    assert dock.session.figures.evaluation is None
    assert dock.status.text().startswith("The domains have changed")


def test_a_column_that_cannot_be_compared_with_is_one_sentence(dock, qtbot):
    dock.session.result.adata.obs["one"] = "same"
    dock.figures.refresh()
    dock.tabs.setCurrentWidget(dock.figures)
    choose(dock.figures.labels, "obs: one", qtbot)
    qtbot.mouseClick(dock.figures.run.button, LEFT)
    assert "obs['one'] holds 1 label" in dock.status.text()
    assert not dock.figures.run.running


# --- other methods


def test_a_press_compares_all_methods_and_shows_them(dock, qtbot, monkeypatch):
    monkeypatch.setattr(baselines, "SedrJob", lambda *parts: SedrJob(*parts, epochs=2))
    dock.session.result.adata.uns[K.STALIGNER]["params"] |= {"device": "cpu", "domains": 4}
    dock.tabs.setCurrentWidget(dock.figures)
    choose(dock.figures.labels, "obs: region", qtbot)
    with qtbot.waitSignal(dock.figures.methods.ended):
        qtbot.mouseClick(dock.figures.methods.button, LEFT)
        assert not dock.figures.run.button.isEnabled()
    found, adata = dock.session.figures.evaluation, dock.session.result.adata
    wanted = (*baselines.yardsticks(), K.EMBEDDING)
    assert tuple(found.figures) == wanted
    assert set(wanted) <= set(adata.obsm)
    assert len(adata.uns["sedr"]["loss"]) == 2
    assert dock.figures.run.button.isEnabled()
    # A picture of the labels and of each, and a table.
    panel = dock.pictures
    assert dock.tabs.currentWidget() is panel
    assert len(panel.tissues) == len(wanted) + 1
    rows = rows_of(panel.table)
    assert list(rows) == [baselines.TITLES[key] for key in wanted]
    heads = [panel.table.headerItem().text(c) for c in range(panel.table.columnCount())]
    assert heads == ["Method", "iLISI ↑", "cLISI ↓", "ARI ↑", "NMI ↑", "F1 ↑"]
    values = {title: [float(item.text(c)) for c in range(1, 6)] for title, item in rows.items()}
    ari = found.figures[K.EMBEDDING].overall["ari"]
    assert values["STAligner"][2] == pytest.approx(ari, abs=5e-4)
    for column, better in enumerate((max, min, max, max, max)):
        top = better(each[column] for each in values.values())
        for title, item in rows.items():
            assert item.font(column + 1).bold() == (values[title][column] == top)


def test_slices_without_counts_are_compared_without_sedr_and_it_is_said(empty_dock, qtbot):
    slices, result = fake_result()
    result.X = result.X.log1p()
    result.uns[K.STALIGNER]["params"]["domains"] = 4
    empty_dock.session.add(slices)
    empty_dock.session.set_result(result, saved=True)
    empty_dock.tabs.setCurrentWidget(empty_dock.figures)
    with qtbot.waitSignal(empty_dock.figures.methods.ended):
        qtbot.mouseClick(empty_dock.figures.methods.button, LEFT)
    assert K.NEIGHBOR_MEANS in empty_dock.session.figures.evaluation.figures
    assert K.SEDR not in empty_dock.session.figures.evaluation.figures
    assert baselines.NO_SEDR in empty_dock.status.text()


def test_a_cancelled_comparison_leaves_everything_as_it_was(dock, qtbot):
    dock.tabs.setCurrentWidget(dock.figures)
    with qtbot.waitSignal(dock.figures.methods.ended):
        qtbot.mouseClick(dock.figures.methods.button, LEFT)
        qtbot.mouseClick(dock.figures.methods.cancel, LEFT)
    assert dock.session.figures.evaluation is None
    assert dock.session.saved
    assert "sedr" not in dock.session.result.adata.uns
    assert K.SEDR not in dock.session.result.adata.obsm
    assert dock.tabs.currentWidget() is dock.figures
    assert dock.figures.run.button.isEnabled()


@pytest.mark.parametrize("ending", [".png", ".svg", ""])
def test_the_picture_is_saved(dock, figures, qtbot, tmp_path, monkeypatch, ending):
    dock.tabs.setCurrentWidget(dock.pictures)
    assert not dock.pictures.save.button.isEnabled()
    dock.session.figures.set(figures)
    target = tmp_path / f"methods{ending}"
    monkeypatch.setattr(QFileDialog, "getSaveFileName", lambda *_: (str(target), ""))
    with qtbot.waitSignal(dock.pictures.save.ended):
        qtbot.mouseClick(dock.pictures.save.button, LEFT)
    target = target.with_suffix(ending or ".png")
    data = target.read_bytes()
    assert data.startswith(b"\x89PNG") or b"<svg" in data
    assert dock.status.text() == f"Picture written to {target}."
    assert [path.name for path in tmp_path.iterdir()] == [target.name]


def test_a_picture_of_another_kind_is_one_sentence(dock, figures, qtbot, tmp_path, monkeypatch):
    dock.tabs.setCurrentWidget(dock.pictures)
    dock.session.figures.set(figures)
    target = str(tmp_path / "methods.doc")
    monkeypatch.setattr(QFileDialog, "getSaveFileName", lambda *_: (target, ""))
    qtbot.mouseClick(dock.pictures.save.button, LEFT)
    assert "'methods.doc': end it with .png or .pdf or .svg." in dock.status.text()


# --- side by side


def test_embeddings_stand_side_by_side_and_share_the_selection(dock, figures, qtbot):
    panel, session = dock.pictures, dock.session
    dock.tabs.setCurrentWidget(panel)
    assert panel.empty.isVisible()
    session.figures.set(figures)
    assert not panel.empty.isVisible()
    # The labels, and both embeddings; none has a UMAP yet.
    assert [m.title for m in panel._methods] == ["obs: region", "PCA, not integrated", "STAligner"]
    assert len(panel.tissues) == 3
    assert panel.umaps == {}
    assert panel.run.button.isEnabled()
    # The domains of the result have their own colours.
    after = panel.tissues[2]
    colors = to_rgba(list(session.domains.colors.values()))
    codes = session.result.adata.obs[K.DOMAIN].cat.codes.to_numpy()
    np.testing.assert_array_equal(after._rgba, colors[codes])
    # A lasso around all of the first slice dims the second on all pictures.
    edge = panel._places[:60, 0].max() + 0.01
    assert edge < panel._places[60:, 0].min()
    around = np.array([[-9e3, -9e3], [edge, -9e3], [edge, 9e3], [-9e3, 9e3]])
    after.take_lasso(around, "replace")
    assert session.result.selection.tolist() == list(range(60))
    selected = np.arange(110) < 60
    for view in panel.tissues:
        assert (view._rgba[~selected] == np.float32(DIMMED)).all()
        assert (view._rgba[selected, 3] == 1).all()


def test_umaps_come_and_are_coloured_by_slice_or_domain(dock, figures, qtbot):
    panel, session = dock.pictures, dock.session
    session.figures.set(figures)
    dock.tabs.setCurrentWidget(panel)
    job = session.figures.umaps_job(panel._lacking())
    assert set(job.embeddings) == {"X_umap_pca", K.UMAP}
    plane = np.random.default_rng(0).normal(size=(110, 2)).astype(np.float32)
    session.figures.set_umap(Umap(dict.fromkeys(job.embeddings, plane), {}))
    assert set(panel.umaps) == {K.PCA, K.EMBEDDING}
    assert not panel.run.button.isEnabled()
    assert len(np.unique(panel.umaps[K.PCA]._rgba, axis=0)) == 2
    qtbot.mouseClick(panel.by.buttons["domain"], LEFT)
    assert len(np.unique(panel.umaps[K.EMBEDDING]._rgba, axis=0)) == 4
    view = panel.umaps[K.EMBEDDING]
    qtbot.waitUntil(lambda: view.view.viewRange()[0][1] > 1)
    qtbot.mouseClick(view.viewport(), LEFT, pos=view.pixel(17))
    qtbot.waitUntil(lambda: session.view.spot is not None)
    # UMAPs are pictures and no embeddings to be compared.
    offered = dock.figures.embeddings
    keys = [offered.item(i).data(Qt.ItemDataRole.UserRole) for i in range(offered.count())]
    assert set(keys) == {*COMPUTED, K.EMBEDDING}
    # Domains that change take the figures, and their pictures, with them.
    codes = session.result.adata.obs[K.DOMAIN].cat.codes.to_numpy()
    session.domains.relabel((codes > 1).astype(int), Settings())
    assert panel.empty.isVisible()
    assert panel.tissues == []


# --- verdicts


def test_a_verdict_with_note_and_name_is_kept_and_taken_back(dock, qtbot):
    panel = dock.verdicts
    choose(panel.slices, "slice1", qtbot)
    qtbot.keyClicks(panel.note, "thin at the rim")
    panel.who.selectAll()
    qtbot.keyClicks(panel.who, "Ada")
    qtbot.mouseClick(panel.buttons["partly"], LEFT)
    (given,) = dock.session.verdicts.given
    assert (given.pair, given.domain, given.level) == (PAIR, "", "partly")
    assert (given.note, given.who) == ("thin at the rim", "Ada")
    assert panel.note.text() == ""
    assert not dock.session.saved
    click_row(dock.presence, 0, qtbot)
    qtbot.mouseClick(panel.buttons["not"], LEFT)
    assert listed(dock) == [
        ["domain 1, slice1 – slice2", "✗ Not", "Ada"],
        ["slice1 – slice2", "~ Partly", "Ada"],
    ]
    dock.session.saved = True
    qtbot.mouseClick(panel.undo, LEFT)
    assert dock.session.verdicts.given == (given,)
    assert not dock.session.saved
    assert dock.status.text() == "Undone: domain 1, slice1 – slice2, not aligned."
    qtbot.mouseClick(panel.undo, LEFT)
    assert listed(dock) == []
    assert not panel.undo.isEnabled()


def test_verdicts_on_domains_that_are_others_now_say_so(dock):
    dock.session.verdicts.give("aligned", domain="2", who="Ada")
    dock.session.domains.rename("2", "mitral")
    assert listed(dock)[0][0] == "domain mitral, all slices"
    dock.session.domains.relabel(np.arange(110) % 3, Settings(domains=3))
    assert listed(dock)[0][0].endswith("(before)")


# --- the report


def test_the_report_is_written_from_the_figures_shown(dock, figures, qtbot, tmp_path, monkeypatch):
    target = tmp_path / "report.html"
    dock.session.figures.set(figures)
    dock.session.verdicts.give("not", PAIR, note="why & where", who="Ada")
    monkeypatch.setattr(QFileDialog, "getSaveFileName", lambda *_: (str(target), ""))
    with qtbot.waitSignal(dock.report.ended):
        qtbot.mouseClick(dock.report.button, LEFT)
    text = target.read_text(encoding="utf-8")
    assert "why &amp; where" in text
    assert f"{figures.figures[K.EMBEDDING].overall['ilisi']:.3f}" in text
    assert dock.status.text() == f"Report written to {target}."


def test_a_report_that_cannot_be_written_is_one_sentence(
    dock, figures, qtbot, tmp_path, monkeypatch
):
    dock.session.figures.set(figures)
    target = str(tmp_path / "gone" / "report.html")
    monkeypatch.setattr(QFileDialog, "getSaveFileName", lambda *_: (target, ""))
    qtbot.mouseClick(dock.report.button, LEFT)
    assert "does not exist: make it first" in dock.status.text()
    assert not dock.report.running


# --- the end


def test_a_closed_dock_hears_nothing_and_is_freed():
    dock = JudgeWidget(ViewerModel())
    session = dock.session
    slices, result = fake_result()
    session.add(slices)
    session.set_result(result)
    gone = weakref.ref(dock)
    delete(dock)
    del dock
    gc.collect()
    assert gone() is None
    session.verdicts.give("aligned")
    session.view.isolated = {"1"}
