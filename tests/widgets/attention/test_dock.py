"""The Attention dock, with the events of a person: clicks, keys, the slider."""

from __future__ import annotations

import gc
import weakref

import numpy as np
import pytest
from docks import LEFT, delete, press
from fakes import fake_result
from napari.components import ViewerModel
from napari.utils.colormaps import ensure_colormap
from qtpy.QtCore import QPoint, Qt
from qtpy.QtGui import QColor
from qtpy.QtWidgets import QLineEdit

from napari_staligner import _keys as K
from napari_staligner.core.result.attention import (
    attention_edges,
    attention_entropy,
    self_attention,
    top_weight,
)
from napari_staligner.layers import legend, open_session
from napari_staligner.session import ColorBy, Overlay, Spot
from napari_staligner.widgets.attention.dock import AttentionWidget
from napari_staligner.widgets.attention.neighbors import DISTANCE, DOMAIN, GIVES, NAME, TAKES
from napari_staligner.widgets.parts.cells import CellRole


@pytest.fixture
def empty_dock(open_dock):
    """Return a dock without slices, on the screen."""
    return open_dock(AttentionWidget)


def cell(dock, row, column):
    return dock.table.item(row, column).text()


def heights(plot):
    return np.asarray(plot.bars.opts["height"])


# --- not ready


def test_without_a_result_the_dock_says_so(empty_dock):
    assert empty_dock.status.text() == "There is no attention yet: integrate the slices first."
    controls = (empty_dock.shown, empty_dock.threshold, empty_dock.strongest)
    for control in (*controls, *empty_dock.coloring.values()):
        assert not control.isEnabled()
    for part in (empty_dock.weights_plot, empty_dock.figure_plot, empty_dock.table):
        assert not part.isVisible()


def test_a_result_without_attention_is_named(dock):
    result = dock.session.result.adata
    del result.obsp[K.ATTENTION]
    dock.session.set_result(result)
    assert dock.status.text() == "This result has no attention: integrate the slices to get it."
    assert not dock.shown.isEnabled()


def test_a_result_that_comes_enables_and_one_that_goes_disables(dock):
    assert dock.status.text() == ""
    assert dock.shown.isEnabled()
    assert dock.weights_plot.isVisible()
    dock.session.slices.clear()
    assert not dock.shown.isEnabled()
    assert not dock.weights_plot.isVisible()


# --- edges


def test_the_box_draws_attention(dock, qtbot):
    press(qtbot, dock.shown)
    assert dock.session.view.attention == Overlay(shown=True)
    press(qtbot, dock.shown)
    assert not dock.session.view.attention.shown


def test_the_slider_goes_as_far_as_the_colours(dock):
    assert dock.threshold.minimum() == 0
    top = top_weight(dock.session.result.adata)
    assert dock.threshold.maximum() == pytest.approx(top)
    low, high = dock.weights_plot.view.viewRange()[0]
    assert low <= 0 < top <= high < 1.1 * top


def test_the_slider_sets_the_threshold(dock, qtbot):
    slider = dock.threshold._slider
    with qtbot.waitSignal(dock._throttle.timeout):
        qtbot.mouseClick(slider, LEFT, pos=QPoint(slider.width() // 2, slider.height() // 2))
    threshold = dock.session.view.attention.threshold
    assert threshold == pytest.approx(dock.threshold.maximum() / 2, rel=0.15)
    assert dock.threshold.value() == pytest.approx(threshold, abs=1e-3)
    assert dock.weights_plot.cut.isVisible()
    assert dock.weights_plot.cut.value() == threshold


def test_a_typed_threshold_is_taken(dock, qtbot):
    box = dock.threshold.findChild(QLineEdit)
    box.selectAll()
    with qtbot.waitSignal(dock._throttle.timeout):
        qtbot.keyClicks(box, "0.123")
        qtbot.keyClick(box, Qt.Key.Key_Return)
    assert dock.session.view.attention.threshold == 0.123


def test_the_box_sets_the_strongest(dock, qtbot):
    dock.strongest.setFocus()
    assert dock.strongest.text() == "all"
    qtbot.keyClick(dock.strongest, Qt.Key.Key_Up)
    qtbot.keyClick(dock.strongest, Qt.Key.Key_Up)
    assert dock.session.view.attention.strongest == 2


@pytest.mark.parametrize("overlay", [Overlay(), Overlay(True, 0.1), Overlay(True, 0.12, 2)])
def test_edges_are_counted_as_they_are_drawn(dock, overlay):
    dock.session.view.attention = overlay
    rows = np.arange(dock.session.result.adata.n_obs)
    weights = attention_edges(
        dock.session.result.adata, rows, threshold=overlay.threshold, strongest=overlay.strongest
    )[2]
    assert len(weights) > 0
    assert dock.drawn.text() == f"{len(weights):,} edges"


def test_an_overlay_set_elsewhere_is_shown(dock):
    dock.session.view.attention = Overlay(True, 0.1, 3)
    assert dock.shown.isChecked()
    assert dock.threshold.value() == pytest.approx(0.1, abs=1e-3)
    assert dock.strongest.value() == 3
    assert dock.session.view.attention == Overlay(True, 0.1, 3)


def test_the_histogram_shows_weights_without_self_loops(dock):
    result = dock.session.result.adata
    weights = attention_edges(result, np.arange(result.n_obs))[2]
    counts, edges = np.histogram(
        weights, bins=len(heights(dock.weights_plot)), range=(0, dock._weights.top)
    )
    np.testing.assert_allclose(heights(dock.weights_plot), counts / counts.max())
    brush = dock.weights_plot.bars.opts["brushes"][0]
    middle = (edges[0] + edges[1]) / 2 / dock._weights.top
    expected = QColor.fromRgbF(*map(float, ensure_colormap("plasma").map([middle])[0]))
    assert brush.name() == expected.name()


# --- colours of the spots


@pytest.mark.parametrize(
    ("key", "expected"),
    [
        ("self", ColorBy("attention", "self")),
        ("entropy", ColorBy("attention", "entropy")),
    ],
)
def test_radio_buttons_colour_the_spots(dock, qtbot, key, expected):
    assert dock.coloring["domain"].isChecked()
    assert not dock.figure_plot.isVisible()
    press(qtbot, dock.coloring[key])
    assert dock.session.view.color_by == expected
    assert dock.figure_plot.isVisible()
    figure = {"self": self_attention, "entropy": attention_entropy}[key]
    low, high = legend(dock.session).limits
    counts, _ = np.histogram(
        figure(dock.session.result.adata), len(heights(dock.figure_plot)), range=(low, high)
    )
    np.testing.assert_allclose(heights(dock.figure_plot), counts / counts.max())
    press(qtbot, dock.coloring["domain"])
    assert dock.session.view.color_by == ColorBy("obs", K.DOMAIN)
    assert not dock.figure_plot.isVisible()


def test_a_colouring_set_elsewhere_is_shown(dock):
    dock.session.view.color_by = ColorBy("attention", "entropy")
    assert dock.coloring["entropy"].isChecked()
    dock.session.view.color_by = ColorBy("gene", "gene1")
    assert not any(button.isChecked() for button in dock.coloring.values())
    dock.session.view.color_by = ColorBy("attention", "self")
    assert [key for key, button in dock.coloring.items() if button.isChecked()] == ["self"]


# --- the spot


def test_without_a_spot_the_dock_says_how_to_choose_one(dock):
    assert dock.spot_label.text() == "Click a spot on the tissue to see its neighbours."
    assert dock.table.rowCount() == 0
    assert not dock.sums.isVisible()


def test_the_neighbours_of_the_spot_are_listed(dock):
    session = dock.session
    session.view.spot = Spot("slice2", 20)
    result, row = session.result.adata, int(session.result.rows("slice2")[20])
    weights = result.obsp[K.ATTENTION].toarray()
    neighbors = np.flatnonzero(weights[row])
    assert (
        dock.spot_label.text() == f"Spot spot20 of slice2, domain {result.obs[K.DOMAIN].iloc[row]}"
    )
    assert dock.table.rowCount() == len(neighbors)
    assert cell(dock, 0, NAME) == "itself"
    assert cell(dock, 0, TAKES) == f"{weights[row, row]:.3f}"
    listed = {cell(dock, i, NAME): i for i in range(1, len(neighbors))}
    assert set(listed) == {f"spot{n - 60}" for n in neighbors if n != row}
    for n in set(neighbors) - {row}:
        at = listed[f"spot{n - 60}"]
        assert cell(dock, at, TAKES) == f"{weights[row, n]:.3f}"
        assert cell(dock, at, GIVES) == f"{weights[n, row]:.3f}"
        assert cell(dock, at, DISTANCE) == "10"
        domain = result.obs[K.DOMAIN].iloc[n]
        assert cell(dock, at, DOMAIN) == domain
        color = dock.table.item(at, DOMAIN).data(CellRole.COLOR).name()
        assert color == session.domains.colors[domain]
    taken = [float(cell(dock, i, TAKES)) for i in range(1, len(neighbors))]
    assert taken == sorted(taken, reverse=True)
    assert dock.sums.text().startswith("Sums: 1.000 taken, ")
    assert f"{weights[:, row].sum():.3f} given" in dock.sums.text()


def test_a_click_on_a_neighbour_goes_there(dock, qtbot):
    dock.session.view.spot = Spot("slice2", 20)
    name = cell(dock, 2, NAME)
    place = dock.table.visualItemRect(dock.table.item(2, TAKES)).center()
    qtbot.mouseClick(dock.table.viewport(), LEFT, pos=place)
    assert dock.session.view.spot == Spot("slice2", int(name.removeprefix("spot")))
    assert dock.spot_label.text().startswith(f"Spot {name} of slice2")


def test_the_table_follows_names_and_colours_of_domains(dock):
    dock.session.view.spot = Spot("slice1", 0)
    domain = cell(dock, 0, DOMAIN)
    dock.session.domains.rename(domain, "GCL")
    dock.session.domains.recolor("GCL", "#123456")
    assert cell(dock, 0, DOMAIN) == "GCL"
    assert dock.table.item(0, DOMAIN).data(CellRole.COLOR).name() == "#123456"


def test_a_spot_of_a_slice_outside_the_result(dock):
    (name,) = dock.session.add([("later", next(iter(dock.session.slices.values())).copy())])
    dock.session.view.spot = Spot(name, 3)
    assert dock.spot_label.text().startswith("Slice 'later' is not part of the result")
    assert dock.table.rowCount() == 0


def test_a_hidden_dock_catches_up_when_it_is_shown(dock):
    dock.hide()
    dock.session.view.spot = Spot("slice1", 5)
    assert dock.table.rowCount() == 0
    dock.show()
    assert dock.spot_label.text().startswith("Spot spot5 of slice1")
    assert dock.table.rowCount() > 0


# --- in napari's window


def test_the_dock_changes_the_tissue_and_follows_the_theme(make_napari_viewer_proxy, qtbot):
    viewer = make_napari_viewer_proxy(show=True)
    session = open_session(viewer)
    slices, result = fake_result()
    session.add(slices)
    session.set_result(result)
    dock = AttentionWidget(viewer)
    viewer.window.add_dock_widget(dock, name="Attention")
    qtbot.waitUntil(dock.shown.isVisible)
    press(qtbot, dock.shown)
    edges = [layer for layer in viewer.layers if layer.metadata.get(K.LAYER_ROLE) == "attention"]
    assert f"{sum(len(layer.data) for layer in edges):,} edges" == dock.drawn.text()
    pens = {}
    for theme in ("dark", "light"):
        viewer.theme = theme
        axis = dock.weights_plot.axis
        qtbot.waitUntil(lambda a=axis: a.textPen().color() == dock.palette().text().color())
        pens[theme] = axis.textPen().color().lightness()
    assert pens["dark"] > 128 > pens["light"]
    delete(dock)


def test_a_closed_dock_hears_nothing_and_is_freed(qtbot):
    viewer = ViewerModel()
    session = open_session(viewer)
    slices, result = fake_result()
    session.add(slices)
    session.set_result(result)
    dock = AttentionWidget(viewer)
    gone = weakref.ref(dock)
    delete(dock)
    del dock
    gc.collect()
    assert gone() is None
    session.view.spot = Spot("slice1", 1)
    session.view.attention = Overlay(True)
