"""A click chooses a spot, hovering names it: real mouse, real canvas."""

from __future__ import annotations

import numpy as np
import pytest

from napari_staligner.session import ColorBy, Spot


def world(layer, row):
    return layer.data_to_world(layer.data[row])


def test_a_click_in_the_grid_chooses_the_spot_of_that_cell(canvas):
    shown, mouse = canvas
    for cell, name in enumerate(("slice1", "slice2")):
        mouse.click(mouse.pixel(world(shown.layer(name), 20), cell))
        assert shown.session.view.spot == Spot(name, 20)


@pytest.mark.parametrize("layout", ["mosaic", "stack"])
def test_a_click_chooses_the_nearest_spot(canvas, layout):
    shown, mouse = canvas
    shown.session.view.layout = layout
    for name in ("slice1", "slice2"):
        y, x = world(shown.layer(name), 20)
        mouse.click(mouse.pixel((y + 2, x - 2)))
        assert shown.session.view.spot == Spot(name, 20)


def test_a_click_beside_the_tissue_chooses_none(canvas):
    shown, mouse = canvas
    shown.session.view.layout = "mosaic"
    shown.session.view.spot = Spot("slice1", 1)
    y, x = world(shown.layer("slice1"), 0)
    mouse.click(mouse.pixel((y - 18, x - 18)))
    assert shown.session.view.spot is None


def test_a_drag_moves_the_view_and_chooses_none(canvas, qtbot):
    shown, mouse = canvas
    shown.session.view.layout = "mosaic"
    before = shown.viewer.scene.camera.center
    start = mouse.pixel(world(shown.layer("slice1"), 20))
    mouse.drag(start, start + type(start)(40, 30))
    assert shown.session.view.spot is None
    qtbot.waitUntil(lambda: shown.viewer.scene.camera.center != before)


def test_drawing_chooses_none(canvas):
    shown, mouse = canvas
    shown.session.view.layout = "mosaic"
    shapes = shown.viewer.add_shapes(name="mine")
    shapes.mode = "add_rectangle"
    at = mouse.pixel(world(shown.layer("slice1"), 20))
    mouse.click(at)
    assert shown.session.view.spot is None


def test_hidden_spots_are_not_chosen(canvas):
    shown, mouse = canvas
    shown.session.view.layout = "mosaic"
    shown.layer("slice1").visible = False
    mouse.click(mouse.pixel(world(shown.layer("slice1"), 20)))
    assert shown.session.view.spot is None


def test_the_active_slice_of_a_stack_goes_first(canvas):
    shown, mouse = canvas
    # Without transforms the slices lie over each other.
    shown.result.uns["staligner"]["transforms"].clear()
    shown.session.set_result(shown.result)
    shown.session.view.layout = "stack"
    at = mouse.pixel(world(shown.layer("slice1"), 27))
    for name in ("slice1", "slice2"):
        shown.viewer.layers.selection = {shown.layer(name)}
        mouse.click(at)
        assert shown.session.view.spot.slice == name


def test_hovering_names_the_spot_in_the_status_bar(canvas, qtbot):
    shown, mouse = canvas
    shown.session.view.color_by = ColorBy("gene", "gene2")
    # The other slice is active: napari alone would tell of that one.
    shown.viewer.layers.selection = {shown.layer("slice1")}
    mouse.hover(mouse.pixel(world(shown.layer("slice2"), 19), 1))
    mouse.hover(mouse.pixel(world(shown.layer("slice2"), 20), 1))
    qtbot.waitUntil(lambda: "spot20" in str(shown.viewer.status))
    status = str(shown.viewer.status)
    assert status.startswith("slice2 · spot20 · domain ")
    assert "gene2 " in status
    qtbot.wait(200)  # napari's own text comes from a thread, a moment later
    assert str(shown.viewer.status) == status


def test_the_marker_is_seen_in_its_cell(canvas):
    shown, _ = canvas

    def ring(cell):
        picture = shown.viewer.screenshot(canvas_only=True, flash=False)
        half = picture.shape[1] // 2
        part = picture[:, half * cell : half * (cell + 1), :3]
        return int((part == 255).all(axis=2).sum())

    before = ring(0), ring(1)
    shown.session.view.spot = Spot("slice2", 20)
    after = ring(0), ring(1)
    assert after[1] > before[1] + 20
    assert np.isclose(after[0], before[0], atol=5)
