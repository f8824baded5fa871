"""The Explore dock, with the events of a person: typing, clicks, a lasso."""

from __future__ import annotations

import gc
import weakref

import numpy as np
import pytest
from docks import LEFT, delete, press
from fakes import fake_result
from napari.components import ViewerModel
from qtpy.QtCore import QEvent, QPoint, QPointF, Qt
from qtpy.QtGui import QMouseEvent
from qtpy.QtWidgets import QApplication
from scipy.sparse import csr_matrix

from napari_staligner import _keys as K
from napari_staligner.core.evaluation.umap import Umap
from napari_staligner.layers import legend, open_session, painting
from napari_staligner.layers.colors import DIMMED
from napari_staligner.session import ColorBy, Region, Scale, Spot
from napari_staligner.widgets.explore.dock import ExploreWidget
from napari_staligner.widgets.explore.markers_panel import GENE

NO_KEY = Qt.KeyboardModifier.NoModifier


@pytest.fixture
def empty_dock(open_dock):
    """Return a dock without slices, on the screen."""
    return open_dock(ExploreWidget, 420, 900)


@pytest.fixture
def dock(empty_dock):
    """A dock with a result of two slices, four domains and two UMAPs."""
    slices, result = fake_result()
    counts = result.X.toarray()
    counts[(result.obs[K.DOMAIN] == "2").to_numpy(), 4] += 8
    result.X = csr_matrix(counts)
    empty_dock.session.add(slices)
    empty_dock.session.set_result(result, saved=True)
    rng = np.random.default_rng(0)
    domains = result.obs[K.DOMAIN].cat.codes.to_numpy()
    corners = np.array([[0, 0], [10, 0], [0, 10], [10, 10]])[domains]
    after = corners + rng.uniform(-2, 2, (result.n_obs, 2))
    before = rng.uniform(0, 10, (result.n_obs, 2))
    empty_dock.session.figures.set_umap(Umap({K.UMAP: after, K.UMAP_BEFORE: before}, {}))
    empty_dock.umap.views[K.UMAP].draw()
    return empty_dock


def move(view, at, held):
    target = view.viewport()
    everywhere = QPointF(target.mapToGlobal(at))
    event = QMouseEvent(
        QEvent.Type.MouseMove, QPointF(at), everywhere, Qt.MouseButton.NoButton, held, NO_KEY
    )
    QApplication.sendEvent(target, event)


def lasso(view, qtbot, corners, key=NO_KEY):
    """Drag around a polygon in the plane of the view."""
    pixels = [view.mapFromScene(view.view.mapViewToScene(QPointF(*c))) for c in corners]
    qtbot.mousePress(view.viewport(), LEFT, key, pos=pixels[0])
    for start, end in zip(pixels, pixels[1:] + pixels[:1], strict=True):
        for share in (0.25, 0.5, 0.75, 1.0):
            move(view, start + (end - start) * share, LEFT)
            qtbot.wait(15)  # pyqtgraph drops moves that follow too soon
    qtbot.mouseRelease(view.viewport(), LEFT, key, pos=pixels[0])


def color_near(view, spot):
    """Colour that the picture shows at a spot."""
    (x0, x1), (y0, y1) = view.view.viewRange()
    x, y = view._xy[spot]
    rows, columns = view.picture.image.shape[:2]
    return view.picture.image[int((y - y0) / (y1 - y0) * rows), int((x - x0) / (x1 - x0) * columns)]


# --- not ready


def test_without_slices_and_without_a_result_the_dock_says_so(empty_dock):
    assert empty_dock.status.text() == "There is nothing to explore yet: open slices first."
    assert not empty_dock.umap.run.button.isEnabled()
    assert not empty_dock.umap.lasso.isEnabled()
    assert not empty_dock.markers.run.button.isEnabled()
    empty_dock.session.add(fake_result()[0])
    assert empty_dock.status.text().startswith("UMAP and markers need an integrated result")
    assert empty_dock.colors.box.findText("gene: gene7") >= 0


# --- colours


def test_typing_a_gene_colours_all_by_it(dock, qtbot):
    line = dock.colors.box.lineEdit()
    line.selectAll()
    qtbot.keyClicks(line, "GENE13")
    qtbot.keyClick(line, Qt.Key.Key_Return)
    assert dock.session.view.color_by == ColorBy("gene", "gene13")
    assert dock.colors.legend.currentWidget() is dock.colors.histogram
    assert dock.colors.log.isChecked()
    view = dock.umap.views[K.UMAP]
    view.draw()
    rgba = np.concatenate(list(painting(dock.session).rgba.values()))
    alone = int(np.argmin(view._xy.sum(axis=1)))
    np.testing.assert_allclose(color_near(view, alone) / 255, rgba[alone], atol=0.35)


def test_the_box_completes_over_all_that_there_is(dock):
    for text in ("STAligner 30", "X_umap 1", "attention: entropy", "alignment_confidence"):
        assert dock.colors.box.findText(text) >= 0
    dock.colors.box.setCurrentIndex(dock.colors.box.findText("STAligner 30"))
    dock.colors.box.activated.emit(dock.colors.box.currentIndex())
    assert dock.session.view.color_by == ColorBy("obsm", K.EMBEDDING, 29)


def test_percentiles_log_and_colormap_are_the_sessions(dock, qtbot):
    dock.session.view.color_by = ColorBy("gene", "gene1")
    high = dock.colors.high
    high.selectAll()
    qtbot.keyClicks(high, "80")
    qtbot.keyClick(high, Qt.Key.Key_Return)
    assert dock.session.view.scale.percentiles == (1.0, 80.0)
    log = dock.colors.log
    press(qtbot, log)
    assert dock.session.view.scale.log is False
    qtbot.keyClick(dock.colors.colormap, Qt.Key.Key_Down)
    assert dock.session.view.scale == Scale((1.0, 80.0), False, "cividis")
    assert legend(dock.session).colormap == "cividis"
    dock.session.view.scale = Scale()
    assert (high.value(), log.isChecked(), dock.colors.colormap.currentText()) == (
        99,
        True,
        "viridis",
    )


def test_a_logarithm_that_there_is_not_is_not_checked(dock, qtbot):
    dock.session.view.color_by = ColorBy("obsm", K.UMAP, 0)
    log = dock.colors.log
    press(qtbot, log)
    assert not log.isChecked()


def test_the_slider_sets_the_size_of_all_spots(dock, qtbot):
    inner = dock.colors.size._slider
    qtbot.mouseClick(inner, LEFT, pos=QPoint(inner.width() // 2, inner.height() // 2))
    assert dock.session.view.spot_scale == pytest.approx(1.6, abs=0.2)
    dock.session.view.spot_scale = 2.0
    assert dock.colors.size.value() == 2.0


def test_names_have_a_key_and_no_scale(dock):
    assert not dock.colors.scale.isEnabled()
    assert dock.colors.legend.currentWidget() is not dock.colors.histogram
    picture = dock.colors.key.grab().toImage()
    shown = {
        picture.pixelColor(x, y).name()
        for x in range(picture.width())
        for y in range(picture.height())
    }
    assert set(dock.session.domains.colors.values()) <= shown


# --- the UMAP


def click_entry(dock, name, qtbot):
    (place,) = [place for entry, _, place in dock.colors.key._places() if entry == name]
    qtbot.mouseClick(dock.colors.key, LEFT, pos=place.center().toPoint())


def test_a_click_on_the_legend_shows_a_category_alone(dock, qtbot):
    session = dock.session
    click_entry(dock, "3", qtbot)
    assert session.view.isolated == {"3"}
    assert dock.markers.region.currentText() == "Domain 3"
    session.view.color_by = ColorBy("obs", "region")
    session.view.isolated = ()
    click_entry(dock, "lower", qtbot)
    assert session.view.region == Region("region", "lower")
    upper = (session.result.adata.obs["region"] == "upper").to_numpy()
    assert (painting(session).rgba["slice1"][upper[:60]] == np.float32(DIMMED)).all()
    assert dock.umap.count.text() == f"{(~upper).sum()} of 110 spots"
    click_entry(dock, "lower", qtbot)
    assert session.view.region is None
    click_entry(dock, "lower", qtbot)
    with qtbot.waitActive(dock):
        dock.activateWindow()
    dock.colors.box.setFocus()
    qtbot.keyClick(dock.colors.box, Qt.Key.Key_Escape)
    assert session.focus.mask() is None
    # Slices are hidden by napari's eyes.
    session.view.color_by = ColorBy("obs", K.SLICE)
    click_entry(dock, "slice1", qtbot)
    assert session.focus.mask() is None


def test_the_umap_has_the_colours_of_the_tissue(dock):
    view = dock.umap.views[K.UMAP]
    rgba = np.concatenate(list(painting(dock.session).rgba.values()))
    for spot in range(0, 110, 11):
        assert color_near(view, spot)[3] > 200
    colors = {tuple(color_near(view, spot)) for spot in range(0, 110, 5)}
    assert len(colors) >= 4
    alone = int(np.argmax(view._xy.sum(axis=1)))
    np.testing.assert_allclose(color_near(view, alone)[:3] / 255, rgba[alone, :3], atol=0.01)


def test_a_lasso_on_the_umap_highlights_on_both(dock, qtbot):
    view, session = dock.umap.views[K.UMAP], dock.session
    lasso(view, qtbot, [(5, 7), (5, 12.4), (-2.4, 12.4), (-2.4, 7)])
    wanted = np.flatnonzero((session.result.adata.obs[K.DOMAIN] == "3").to_numpy())
    np.testing.assert_array_equal(session.result.selection, wanted)
    assert dock.umap.count.text() == f"{len(wanted)} of 110 spots"
    alpha = np.concatenate([rgba[:, 3] for rgba in painting(session).rgba.values()])
    np.testing.assert_array_equal(np.flatnonzero(alpha > 0.5), wanted)
    other = dock.umap.views[K.UMAP_BEFORE]
    for plane in (view, other):
        plane.draw()
        assert color_near(plane, wanted[0])[3] > 200
    assert color_near(view, 0)[3] < 150
    lasso(
        view, qtbot, [(6, 7), (6, 12.4), (12.4, 12.4), (12.4, 7)], Qt.KeyboardModifier.ShiftModifier
    )
    assert set(session.result.adata.obs[K.DOMAIN].iloc[session.result.selection]) == {"3", "4"}
    with qtbot.waitActive(dock):
        dock.activateWindow()
    view.setFocus()
    qtbot.keyClick(view, Qt.Key.Key_Escape)
    assert len(session.result.selection) == 0


def test_a_click_on_the_umap_chooses_the_spot(dock, qtbot):
    view = dock.umap.views[K.UMAP]
    qtbot.mouseClick(view.viewport(), LEFT, pos=view.pixel(70))
    assert dock.session.view.spot == Spot("slice2", 10)
    assert np.allclose(np.ravel(view.ring.getData()), view._xy[70])


def test_the_spot_under_the_mouse_is_told(dock, qtbot):
    view = dock.umap.views[K.UMAP]
    dock.session.view.color_by = ColorBy("gene", "gene1")
    with qtbot.waitSignal(dock.umap.described) as told:
        move(view, view.pixel(70), Qt.MouseButton.NoButton)
    assert told.args[0].startswith("slice2 · spot10 · domain ")
    assert " · gene1 " in told.args[0]
    assert dock._viewer().status == told.args[0]


def test_a_double_click_shows_all(dock, qtbot):
    view = dock.umap.views[K.UMAP]
    before = view.view.viewRange()
    view.view.scaleBy((0.3, 0.3))
    view.draw()
    assert view.view.viewRange() != before
    # What a window sends; qtbot's double click presses three times.
    at, target = QPointF(20, 20), view.viewport()
    qtbot.mouseClick(target, LEFT, pos=at.toPoint())
    for kind, held in (
        (QEvent.Type.MouseButtonDblClick, LEFT),
        (QEvent.Type.MouseButtonRelease, 0),
    ):
        buttons = held or Qt.MouseButton.NoButton
        everywhere = QPointF(target.mapToGlobal(at.toPoint()))
        QApplication.sendEvent(target, QMouseEvent(kind, at, everywhere, LEFT, buttons, NO_KEY))
    np.testing.assert_allclose(view.view.viewRange(), before)


def test_the_umap_is_computed_and_may_be_cancelled(dock, qtbot):
    session, runner = dock.session, dock.umap.run._runner
    del session.result.adata.obsm[K.UMAP], session.result.adata.obsm[K.UMAP_BEFORE]
    dock.umap.refresh()
    assert dock.umap.run.button.text() == "Compute UMAP"
    qtbot.mouseClick(dock.umap.run.button, LEFT)
    with qtbot.waitSignal(runner.progressed):
        assert dock.umap.run.cancel.isVisible()
    with qtbot.waitSignal(runner.ended):
        qtbot.mouseClick(dock.umap.run.cancel, LEFT)
    assert K.UMAP not in session.result.adata.obsm
    assert dock.status.text() == "Cancelled: the UMAP has not changed."
    qtbot.mouseClick(dock.umap.run.button, LEFT)
    with qtbot.waitSignal(runner.ended):
        pass
    assert session.result.adata.obsm[K.UMAP].shape == (110, 2)
    assert dock.umap.run.button.text() == "Compute UMAP again"


def test_the_button_puts_the_lasso_on(dock, qtbot):
    qtbot.mouseClick(dock.umap.lasso, LEFT)
    assert dock.session.view.tool == "lasso"
    dock.session.view.tool = ""
    assert not dock.umap.lasso.isChecked()


# --- markers


def choose(box, data):
    box.setCurrentIndex(box.findData(data))


def test_markers_of_a_domain_and_a_click_on_one(dock, qtbot):
    choose(dock.markers.region, "2")
    with qtbot.waitSignal(dock.markers.run.ended):
        qtbot.mouseClick(dock.markers.run.button, LEFT)
    table = dock.markers.table
    assert table.gene(0) == "gene4"
    assert dock.markers.title.text() == "Domain 2 in all slices against all other spots"
    place = table.visualRect(table.model().index(0, GENE)).center()
    qtbot.mouseClick(table.viewport(), LEFT, pos=place)
    assert dock.session.view.color_by == ColorBy("gene", "gene4")
    qtbot.keyClick(table, Qt.Key.Key_Down)
    assert dock.session.view.color_by == ColorBy("gene", table.gene(1))


def test_what_is_compared_with_what(dock):
    markers, session = dock.markers, dock.session
    first = np.arange(60)
    domain = np.flatnonzero((session.result.adata.obs[K.DOMAIN] == "3").to_numpy())
    choose(markers.region, "3")
    choose(markers.where, "slice1")
    inside, rest = markers.rows()
    np.testing.assert_array_equal(inside, np.intersect1d(domain, first))
    np.testing.assert_array_equal(rest, np.setdiff1d(first, domain))
    choose(markers.against, "slice2")
    np.testing.assert_array_equal(markers.rows()[1], np.setdiff1d(domain, first))
    session.result.selection = np.arange(50, 70)
    choose(markers.region, "\0selection")
    np.testing.assert_array_equal(markers.rows()[0], np.arange(50, 60))
    np.testing.assert_array_equal(markers.rows()[1], np.arange(60, 70))
    choose(markers.where, "\0all")
    assert markers.against.count() == 1
    assert len(markers.rows()[1]) == 90


def test_markers_of_a_named_region_and_of_the_same_in_another_slice(dock):
    markers, session = dock.markers, dock.session
    upper = np.flatnonzero((session.result.adata.obs["region"] == "upper").to_numpy())
    session.view.region = Region("region", "upper")
    # What is shown alone is what markers are wanted of.
    assert markers.region.currentText() == "region: upper"
    np.testing.assert_array_equal(markers.rows()[0], upper)
    choose(markers.where, "slice1")
    choose(markers.against, "slice2")
    np.testing.assert_array_equal(markers.rows()[0], upper[upper < 60])
    np.testing.assert_array_equal(markers.rows()[1], upper[upper >= 60])
    session.annotations.add_class("AOB")
    session.annotations.assign(np.arange(4), "AOB", "test")
    choose(markers.region, "annotation\0AOB")
    assert markers.region.currentText() == "annotation: AOB"
    np.testing.assert_array_equal(markers.rows()[0], np.arange(4))


def test_what_cannot_be_compared_is_said(dock, qtbot):
    dock.session.result.selection = np.array([3])
    choose(dock.markers.region, "\0selection")
    qtbot.mouseClick(dock.markers.run.button, LEFT)
    assert dock.status.text().startswith("There are 1 spots to be marked, at least 3")
    assert not dock.markers.run.running


# --- the session and the window


def test_a_result_that_goes_empties_the_dock(dock):
    dock.session.result.selection = np.array([1, 2])
    dock.session.slices.clear()
    assert dock.status.text() == "There is nothing to explore yet: open slices first."
    assert dock.umap.count.text() == ""
    dock.umap.views[K.UMAP].draw()
    assert dock.umap.views[K.UMAP].picture.image is None
    assert dock.markers.region.count() == 0


def test_a_hidden_dock_catches_up_when_it_is_shown(dock):
    dock.hide()
    dock.session.view.color_by = ColorBy("gene", "gene2")
    dock.show()
    assert dock.colors.box.currentText() == "gene: gene2"
    assert dock.colors.legend.currentWidget() is dock.colors.histogram


def test_the_legend_lies_over_the_canvas_and_goes_with_the_dock(make_napari_viewer_proxy, qtbot):
    viewer = make_napari_viewer_proxy(show=True)
    session = open_session(viewer)
    slices, result = fake_result()
    session.add(slices)
    session.set_result(result)
    dock = ExploreWidget(viewer)
    viewer.window.add_dock_widget(dock, name="Explore")
    qtbot.waitUntil(dock.colors.on_canvas.isVisible)
    box = dock.colors.on_canvas
    press(qtbot, box)
    key, canvas = dock.canvas_key, dock.canvas_key.parentWidget()
    assert key.isVisible()
    assert key.geometry().right() == pytest.approx(canvas.width(), abs=10)
    press(qtbot, box)
    assert not key.isVisible()
    gone = weakref.ref(key)
    del key
    delete(dock)
    QApplication.sendPostedEvents(None, QEvent.Type.DeferredDelete)
    gc.collect()
    assert gone() is None


def test_a_closed_dock_hears_nothing_and_is_freed():
    viewer = ViewerModel()
    session = open_session(viewer)
    slices, result = fake_result()
    session.add(slices)
    session.set_result(result)
    dock = ExploreWidget(viewer)
    gone = weakref.ref(dock)
    delete(dock)
    del dock
    gc.collect()
    assert gone() is None
    session.result.selection = np.array([1])
    session.view.color_by = ColorBy("gene", "gene1")
