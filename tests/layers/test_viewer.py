"""A whole round in a viewer with a window: what Qt and the canvas make of the layers."""

from __future__ import annotations

import gc
import weakref

import numpy as np
import pytest
from fakes import fake_result, fake_slice
from qtpy.QtWidgets import QApplication

from napari_staligner.layers import open_session
from napari_staligner.session import ColorBy, LinkView, Overlay, Spot, StackView

TURNS = 4
"""In the second half of them the slices are larger."""


def colors_in(viewer) -> int:
    picture = viewer.screenshot(canvas_only=True, flash=False)[..., :3]
    return len(np.unique(picture @ np.array([1 << 16, 1 << 8, 1])))


@pytest.mark.parametrize("layout", ["grid", "mosaic", "stack"])
def test_everything_is_drawn_in_every_layout(make_napari_viewer_proxy, qtbot, layout):
    viewer = make_napari_viewer_proxy(show=True)
    session = open_session(viewer)
    slices, result = fake_result()
    session.view.layout = layout
    session.add(slices)
    before = colors_in(viewer)
    session.set_result(result)
    session.view.graph_shown = True
    session.view.attention = Overlay(shown=True)
    session.view.spot = Spot("slice2", 4)
    qtbot.waitUntil(lambda: colors_in(viewer) > before)
    session.view.color_by = ColorBy("gene", "gene1")
    session.view.isolated = ["1"]
    session.add([("bare", fake_slice(80, image=False))])
    qtbot.waitUntil(lambda: colors_in(viewer) > before)


def test_all_can_be_deleted_and_others_loaded(make_napari_viewer_proxy, qtbot):
    viewer = make_napari_viewer_proxy(show=True)
    session = open_session(viewer)
    slices, result = fake_result()
    session.add(slices)
    session.set_result(result)
    session.view.attention = Overlay(shown=True)
    session.view.spot = Spot("slice1", 4)
    viewer.layers.select_all()
    viewer.layers.remove_selected()
    qtbot.waitUntil(lambda: len(viewer.layers) == 0)
    session.add([("larger", fake_slice(200)), ("other", fake_slice(150))])
    qtbot.waitUntil(lambda: colors_in(viewer) > 2)
    assert session.view.spot is None


@pytest.mark.parametrize("layout", ["grid", "stack"])
def test_overlays_come_and_go_again_and_again_with_a_selection(canvas, layout):
    """napari once crashed when layers of a selection went and larger ones came, amid drawing."""
    shown, _ = canvas
    session, viewer = shown.session, shown.viewer
    session.view.layout = layout
    larger, result = fake_result((200, 150), seed=1)
    before = set(viewer.layers)
    for turn in range(TURNS):
        session.result.selection = np.arange(turn % 40 + 1)
        session.view.spot = Spot("slice1", turn % 40)
        session.view.attention = Overlay(shown=True)
        session.view.graph_shown = True
        if layout == "stack":
            session.view.links = LinkView(shown=True)
            session.view.stack = StackView(mode="3d")
        made = [layer for layer in viewer.layers if layer not in before]
        assert made
        # Ours and those that go are selected, and points in them.
        viewer.layers.selection = {viewer.layers[turn % len(viewer.layers)], made[turn % len(made)]}
        for layer in (shown.layer("slice1"), *shown.layers("solid")):
            layer.selected_data = set(range(turn % 30))
        if turn % (TURNS // 2) == 0:
            viewer.screenshot(canvas_only=True, flash=False)
        else:
            QApplication.processEvents()
        session.view.stack = StackView()
        session.view.attention, session.view.links = Overlay(), LinkView()
        session.view.graph_shown = False
        assert set(viewer.layers) == before
        if turn == TURNS // 2 - 1:
            session.slices.clear()
            session.add(larger)
            session.set_result(result)
            session.view.layout = layout
            before = set(viewer.layers)
    assert colors_in(viewer) > 2


def test_a_closed_viewer_is_let_go(make_napari_viewer, qtbot):
    viewer = make_napari_viewer(show=True)
    session = open_session(viewer)
    slices, result = fake_result()
    session.add(slices)
    session.set_result(result)
    session.view.layout = "stack"
    session.view.spot = Spot("slice1", 4)
    gone = weakref.ref(session)
    viewer.close()
    qtbot.wait(50)
    del viewer, session, slices, result
    for _ in range(3):  # the viewer first, then what only its entry held
        gc.collect()
    assert gone() is None
