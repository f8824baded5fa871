"""The Links dock, with the events of a person."""

from __future__ import annotations

import gc
import weakref
from dataclasses import replace

import numpy as np
import pytest
from docks import LEFT, delete, press
from fakes import fake_result, fake_slice
from napari.components import ViewerModel
from qtpy.QtCore import Qt

from napari_staligner import _keys as K
from napari_staligner.layers import open_session
from napari_staligner.layers.overlays.links import drawn_links
from napari_staligner.session import LinkView, Region, Spot
from napari_staligner.widgets.links.dock import LinksWidget
from napari_staligner.widgets.links.match_table import DISTANCE, DOMAIN, NAME, SLICE
from napari_staligner.widgets.parts.cells import CellRole


@pytest.fixture
def empty_dock(open_dock):
    """Return a dock without slices, on the screen."""
    return open_dock(LinksWidget)


@pytest.fixture
def dock(dock):
    """Return a dock with a result, in the layout that shows its 50 links."""
    dock.session.view.layout = "mosaic"
    return dock


def lines(dock):
    """Return the layer of the links."""
    (layer,) = layers(dock)
    return layer


def layers(dock):
    return [x for x in dock.viewer.layers if x.metadata[K.LAYER_ROLE] == "links"]


def parted(result):
    codes = result.obs[K.DOMAIN].cat.codes.to_numpy()
    return (codes[:50] != codes[60:110]).mean()


def test_without_a_result_the_dock_says_so(empty_dock):
    assert empty_dock.status.text() == "There are no links yet: integrate the slices first."
    for control in (empty_dock.shown, empty_dock.of_spot, empty_dock.most, empty_dock.coloring):
        assert not control.isEnabled()


def test_a_result_without_links_is_named(dock):
    result = dock.session.result.adata
    del result.obsp[K.MUTUAL]
    dock.session.set_result(result)
    assert dock.status.text() == "This result has no links: integrate the slices to get them."
    assert not dock.shown.isEnabled()


def test_the_box_draws_links_and_the_dock_counts_them(dock, qtbot):
    share = f"{parted(dock.session.result.adata):.1%}"
    exist = f"of 50 there are. {share} of these join different domains, drawn pink."
    assert dock.drawn.text() == f"0 drawn {exist}"
    press(qtbot, dock.shown)
    assert dock.session.view.links == LinkView(shown=True)
    assert len(lines(dock).data) == 50
    assert dock.drawn.text() == f"50 drawn {exist}"
    press(qtbot, dock.shown)
    assert not layers(dock)


def test_in_the_grid_the_dock_says_where_lines_are_seen(dock, qtbot):
    press(qtbot, dock.shown)
    dock.session.view.layout = "grid"
    assert dock.status.text().startswith("The grid cannot show lines")
    assert not layers(dock)
    dock.session.view.layout = "mosaic"
    assert dock.status.text() == ""


def test_the_number_is_typed(dock, qtbot):
    press(qtbot, dock.shown)
    dock.most.selectAll()
    qtbot.keyClicks(dock.most, "20")
    qtbot.keyClick(dock.most, Qt.Key.Key_Return)
    assert dock.session.view.links.most == 20
    drawn = len(lines(dock).data)
    assert 10 <= drawn <= 20
    assert dock.drawn.text().startswith(f"{drawn} drawn of 50 there are.")


def test_only_those_of_an_isolated_domain(dock, qtbot):
    press(qtbot, dock.shown)
    dock.session.view.isolated = ["2"]
    result = dock.session.result.adata
    inside = (result.obs[K.DOMAIN] == "2").to_numpy()
    expected = int((inside[:50] | inside[60:110]).sum())
    assert 0 < expected < 50
    assert dock.drawn.text().startswith(f"{expected} drawn of {expected} of the spots shown.")
    dock.session.view.isolated = ()
    dock.session.result.selection = np.array([3, 4, 64])
    assert dock.drawn.text().startswith("2 drawn of 2 of the spots shown.")


def test_only_those_of_a_named_region(dock, qtbot):
    press(qtbot, dock.shown)
    dock.session.view.region = Region("region", "upper")
    upper = (dock.session.result.adata.obs["region"] == "upper").to_numpy()
    links = drawn_links(dock.session).links
    assert len(links) > 0
    assert (upper[links.first] | upper[links.second]).all()
    assert "of the spots shown" in dock.drawn.text()


def test_colour_by_distance_shows_the_scale(dock, qtbot):
    matrix = dock.session.result.adata.obsp[K.MUTUAL]
    matrix.data = np.linspace(1, 3, len(matrix.data)).astype(np.float32)
    dock.session.set_result(dock.session.result.adata.copy())
    press(qtbot, dock.shown)
    assert not dock.plot.isVisible()
    qtbot.mouseClick(dock.coloring.buttons["distance"], LEFT)
    assert dock.session.view.links.color == "distance"
    assert dock.plot.isVisible()
    assert len(np.unique(lines(dock).edge_color, axis=0)) > 20


def test_the_matches_of_a_spot_are_listed_and_drawn(dock, qtbot):
    assert dock.spot_label.text().startswith("Click a spot")
    result = dock.session.result.adata.copy()
    matrix = result.obsp[K.MUTUAL].tolil()
    matrix[7, 80] = matrix[80, 7] = 0.25
    result.obsp[K.MUTUAL] = matrix.tocsr()
    dock.session.set_result(result)
    press(qtbot, dock.shown)
    press(qtbot, dock.of_spot)
    dock.session.view.spot = Spot("slice1", 7)
    assert dock.spot_label.text() == "Spot spot7 of slice1: 2 matches"
    texts = [[dock.table.item(i, c).text() for c in (NAME, SLICE, DISTANCE)] for i in range(2)]
    assert texts == [["spot20", "slice2", "0.250"], ["spot7", "slice2", "1.000"]]
    domain = result.obs[K.DOMAIN].iloc[80]
    assert dock.table.item(0, DOMAIN).text() == domain
    color = dock.table.item(0, DOMAIN).data(CellRole.COLOR).name()
    assert color == dock.session.domains.colors[domain]
    assert len(lines(dock).data) == 2
    place = dock.table.visualItemRect(dock.table.item(0, DISTANCE)).center()
    qtbot.mouseClick(dock.table.viewport(), LEFT, pos=place)
    assert dock.session.view.spot == Spot("slice2", 20)


def test_a_spot_of_a_slice_outside_the_result(dock):
    dock.session.add([("later", fake_slice(20))])
    dock.session.view.spot = Spot("later", 3)
    assert dock.spot_label.text().startswith("Slice 'later' is not part of the result")


def test_a_hidden_dock_catches_up_when_it_is_shown(dock):
    dock.hide()
    dock.session.view.spot = Spot("slice1", 5)
    dock.session.view.links = replace(dock.session.view.links, shown=True)
    assert dock.table.rowCount() == 0
    dock.show()
    assert dock.table.rowCount() == 1
    assert dock.shown.isChecked()


def test_a_closed_dock_hears_nothing_and_is_freed(qtbot):
    viewer = ViewerModel()
    session = open_session(viewer)
    slices, result = fake_result()
    session.add(slices)
    session.set_result(result)
    dock = LinksWidget(viewer)
    gone = weakref.ref(dock)
    delete(dock)
    del dock
    gc.collect()
    assert gone() is None
    session.view.links = LinkView(shown=True)
