"""The Compare dock, with the events of a person."""

from __future__ import annotations

import gc
import weakref
from dataclasses import replace

import numpy as np
import pytest
from docks import LEFT, delete
from fakes import fake_result, fake_slice
from napari.components import ViewerModel
from qtpy.QtCore import QPoint, Qt

from napari_staligner import _keys as K
from napari_staligner.layers import open_session
from napari_staligner.session import ColorBy, StackView, Trust
from napari_staligner.widgets.compare.dock import MODES, CompareWidget


@pytest.fixture
def empty_dock(open_dock):
    """Return a dock without slices, on the screen."""
    return open_dock(CompareWidget)


@pytest.fixture
def dock(dock):
    """Return a dock with a result of two slices, and one more slice."""
    dock.session.add([("bare", fake_slice(40, image=False))])
    return dock


def click(qtbot, button):
    qtbot.mouseClick(button, LEFT, pos=QPoint(10, button.height() // 2))


def slide(qtbot, dock, slider, share):
    """Click a slider at a share of its length."""
    inner = slider._slider
    with qtbot.waitSignal(dock._throttle.timeout):
        at = QPoint(round(share * (inner.width() - 1)), inner.height() // 2)
        qtbot.mouseClick(inner, LEFT, pos=at)


def choose(qtbot, box, steps):
    """Go down in a box by the keyboard, as a user who tabs through the dock."""
    box.setFocus()
    for _ in range(abs(steps)):
        qtbot.keyClick(box, Qt.Key.Key_Down if steps > 0 else Qt.Key.Key_Up)


def spots(dock, name):
    layers = [x for x in dock.viewer.layers if x.metadata[K.LAYER_SLICE] == name]
    return next(x for x in layers if x.metadata[K.LAYER_ROLE] == "spots")


# --- not ready


def test_without_slices_the_dock_says_so(empty_dock):
    assert empty_dock.status.text() == "Load two slices to compare them."
    for choice in (empty_dock.layouts, empty_dock.modes, empty_dock.parts):
        assert not any(button.isEnabled() for button in choice.buttons.values())
    assert not empty_dock.least.isEnabled()
    assert empty_dock.trusted.text() == "Known once the slices are integrated."


def test_slices_that_are_not_integrated_can_be_stacked(empty_dock, qtbot):
    empty_dock.session.add([("a", fake_slice(30)), ("b", fake_slice(30))])
    assert empty_dock.status.text() == ""
    click(qtbot, empty_dock.layouts.buttons["stack"])
    assert empty_dock.status.text().startswith("The slices are only centred on each other")


# --- layout and mode


def test_buttons_set_the_layout(dock, qtbot):
    for layout in ("mosaic", "stack", "grid"):
        click(qtbot, dock.layouts.buttons[layout])
        assert dock.session.view.layout == layout
        down = [name for name, button in dock.layouts.buttons.items() if button.isChecked()]
        assert down == [layout]


@pytest.mark.parametrize("mode", list(MODES))
def test_a_mode_shows_the_stack_and_its_controls(dock, qtbot, mode):
    click(qtbot, dock.modes.buttons[mode])
    assert dock.session.view.layout == "stack"
    assert dock.session.view.stack.mode == mode
    assert [name for name, page in dock.pages.items() if page.isVisible()] == [mode]
    assert dock.pair_row.isVisible() == (mode in ("flicker", "checkerboard", "swipe"))
    click(qtbot, dock.layouts.buttons["grid"])
    assert not any(button.isChecked() for button in dock.modes.buttons.values())


def test_what_is_set_elsewhere_is_shown(dock):
    dock.session.view.stack = StackView("swipe", ("slice2", "bare"), "spots", swipe=0.25)
    dock.session.view.layout = "stack"
    assert dock.modes.buttons["swipe"].isChecked()
    assert dock.parts.buttons["spots"].isChecked()
    assert [box.currentText() for box in dock.pair] == ["slice2", "bare"]
    assert dock.swipe.value() == 0.25
    assert dock.session.view.stack.pair == ("slice2", "bare")


def test_parts_are_chosen(dock, qtbot):
    click(qtbot, dock.modes.buttons["checkerboard"])
    click(qtbot, dock.parts.buttons["image"])
    assert dock.session.view.stack.part == "image"
    assert not spots(dock, "slice1").visible


@pytest.mark.parametrize(
    ("mode", "field", "share", "expected"),
    [
        ("swipe", "swipe", 0.25, 0.25),
        ("checkerboard", "cells", 0.5, 21),
        ("3d", "spacing", 0.5, 1.0),
        ("flicker", "rate", 0.5, 4.0),
    ],
)
def test_sliders_set_the_stack(dock, qtbot, mode, field, share, expected):
    click(qtbot, dock.modes.buttons[mode])
    slide(qtbot, dock, getattr(dock, field), share)
    assert getattr(dock.session.view.stack, field) == pytest.approx(expected, rel=0.2)


def test_each_slice_has_an_opacity(dock, qtbot):
    click(qtbot, dock.modes.buttons["blend"])
    assert list(dock.opacities) == ["slice1", "slice2", "bare"]
    slide(qtbot, dock, dock.opacities["slice2"], 0.25)
    assert spots(dock, "slice2").opacity == pytest.approx(0.25, abs=0.08)
    assert spots(dock, "slice1").opacity == 0.6
    dock.session.slices.remove("bare")
    assert list(dock.opacities) == ["slice1", "slice2"]


# --- the pair


def test_the_pair_is_chosen_with_the_keyboard(dock, qtbot):
    click(qtbot, dock.modes.buttons["swipe"])
    assert [box.currentText() for box in dock.pair] == ["slice1", "slice2"]
    choose(qtbot, dock.pair[1], 1)
    assert dock.session.slices.pair == ("slice1", "bare")


def test_a_slice_is_not_compared_with_itself(dock, qtbot):
    click(qtbot, dock.modes.buttons["swipe"])
    choose(qtbot, dock.pair[0], 1)
    assert dock.session.slices.pair == ("slice2", "slice1")
    choose(qtbot, dock.pair[1], 1)
    assert dock.session.slices.pair == ("slice1", "slice2")


def test_the_pair_changes_places(dock, qtbot):
    click(qtbot, dock.modes.buttons["swipe"])
    click(qtbot, dock.swap)
    assert dock.session.slices.pair == ("slice2", "slice1")


# --- flicker


def test_flicker_turns_by_itself_and_ends_with_its_mode(dock, qtbot):
    click(qtbot, dock.modes.buttons["flicker"])
    dock.session.view.stack = replace(dock.session.view.stack, rate=50.0)
    turns = []
    dock.session.view.events.stack.connect(lambda: turns.append(dock.session.view.stack.front))
    qtbot.waitUntil(lambda: len(turns) >= 4)
    assert turns[:4] == [1, 0, 1, 0]
    front = dock.session.slices.pair[dock.session.view.stack.front]
    assert spots(dock, front).visible
    assert dock.status.text() == f"Now: {front}"
    click(qtbot, dock.layouts.buttons["grid"])
    assert not dock._flicker.isActive()


def test_flicker_stands_still_at_rate_0_and_turns_by_hand(dock, qtbot):
    click(qtbot, dock.modes.buttons["flicker"])
    dock.session.view.stack = replace(dock.session.view.stack, rate=0.0)
    assert not dock._flicker.isActive()
    assert spots(dock, "slice1").visible
    click(qtbot, dock.swap)
    assert not spots(dock, "slice1").visible
    assert spots(dock, "slice2").visible
    assert dock.session.slices.pair == ("slice1", "slice2")


# --- confidence


def test_the_slider_greys_and_the_box_hides(dock, qtbot):
    slide(qtbot, dock, dock.least, 0.6)
    least = dock.session.view.trust.least
    assert least == pytest.approx(0.6, abs=0.08)
    result, rows = dock.session.result.adata, dock.session.result.rows("slice2")
    doubtful = result.obs[K.CONFIDENCE].to_numpy() < least
    below = doubtful[rows]
    assert 0 < below.sum() < len(below)
    colors = spots(dock, "slice2").face_color
    np.testing.assert_allclose(colors[below], np.tile([0.5, 0.5, 0.5, 0.25], (below.sum(), 1)))
    assert (colors[~below, 3] == 1).all()
    click(qtbot, dock.hide_doubtful)
    assert dock.session.view.trust == Trust(least, hide=True)
    np.testing.assert_array_equal(spots(dock, "slice2").face_color[:, 3] == 0, below)
    assert dock.trusted.text() == f"{doubtful.sum():,} of {result.n_obs:,} spots below"
    assert dock.confidence_plot.cut.value() == least
    # Another colouring leaves out the same spots.
    dock.session.view.color_by = ColorBy("gene", "gene1")
    np.testing.assert_array_equal(spots(dock, "slice2").face_color[:, 3] == 0, below)


def test_colour_by_confidence(dock, qtbot):
    click(qtbot, dock.color_trust)
    assert dock.session.view.color_by == ColorBy("obs", K.CONFIDENCE)


def test_a_result_without_confidence(dock):
    result = dock.session.result.adata
    del result.obs[K.CONFIDENCE]
    dock.session.view.trust = Trust(0.5)
    dock.session.set_result(result)
    assert not dock.least.isEnabled()
    assert not dock.confidence_plot.isVisible()
    assert (spots(dock, "slice1").face_color[:, 3] == 1).all()


# --- the end


def test_a_closed_dock_stops_the_flicker_and_is_freed(qtbot):
    viewer = ViewerModel()
    session = open_session(viewer)
    session.add(fake_result()[0])
    dock = CompareWidget(viewer)
    session.view.stack = StackView("flicker", rate=50.0)
    session.view.layout = "stack"
    gone = weakref.ref(dock)
    delete(dock)
    del dock
    gc.collect()
    assert gone() is None
    front = session.view.stack.front
    qtbot.wait(60)
    assert session.view.stack.front == front
    session.view.stack = StackView("swipe")
