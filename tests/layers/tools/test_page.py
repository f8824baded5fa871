"""One slice after the other, with real double-clicks and keys."""

from __future__ import annotations

from qtpy.QtCore import Qt

from napari_staligner import _keys as K
from napari_staligner.session import LinkView


def visible(shown):
    return [n for n in ("slice1", "slice2") if shown.layer(n).visible]


def test_a_double_click_shows_a_slice_alone_and_all_again(canvas, qtbot):
    shown, mouse = canvas
    mouse.settle(shown.layer("slice1"))
    spot = shown.layer("slice2").data_to_world((40.0, 40.0))
    mouse.double_click(mouse.pixel(spot, 1))
    assert visible(shown) == ["slice2"]
    assert not shown.layer("slice1", "image").visible
    assert shown.viewer.canvas.grid.actual_shape(shown.viewer.layers) == (1, 1)
    qtbot.wait(50)
    mouse.settle(shown.layer("slice2"))
    mouse.double_click(mouse.pixel(shown.layer("slice2").data_to_world((40.0, 40.0))))
    assert visible(shown) == ["slice1", "slice2"]


def test_arrow_keys_page_through_the_slices(canvas):
    shown, mouse = canvas
    shown.session.view.layout = "stack"
    mouse.settle(shown.layer("slice1"))
    seen = []
    for key in (Qt.Key.Key_Right, Qt.Key.Key_Right, Qt.Key.Key_Left):
        mouse.press_key(key)
        seen.append(visible(shown))
    assert seen == [["slice1"], ["slice2"], ["slice1"]]


def test_what_a_user_hid_stays_hidden_and_links_to_hidden_slices_go(shown):
    session = shown.session
    session.set_result(shown.result)
    session.view.layout = "mosaic"
    session.view.links = LinkView(shown=True)
    assert shown.layers("links")
    shown.layer("slice1", "image").visible = False
    session.view.only = {"slice1"}
    assert not shown.layers("links")
    titles = next(x for x in shown.viewer.layers if x.metadata[K.LAYER_ROLE] == "title")
    assert titles.features["slice"].tolist() == ["slice1"]
    session.view.only = set()
    assert visible(shown) == ["slice1", "slice2"]
    assert not shown.layer("slice1", "image").visible
    assert shown.layer("slice2", "image").visible
    assert shown.layers("links")
