"""A line drawn with a real mouse: the same line on all slices, in every layout."""

from __future__ import annotations

import numpy as np
import pytest
from qtpy.QtCore import QPoint

from napari_staligner.core.result.axis import Axis
from napari_staligner.layers.overlays.sketch import ribbon


def pick_up(shown, mouse):
    shown.session.view.tool = "line"
    mouse.settle(shown.layer("slice1"))


def at(shown, mouse, name, xy, cell=None):
    return mouse.pixel(shown.layer(name).data_to_world(xy[::-1]), cell)


@pytest.mark.parametrize(("layout", "cell"), [("grid", 1), ("stack", None)])
def test_a_drag_is_a_line_in_the_common_frame(canvas, layout, cell):
    shown, mouse = canvas
    shown.session.view.layout = layout
    pick_up(shown, mouse)
    before = shown.viewer.scene.camera.center
    name = "slice2" if layout == "grid" else "slice1"
    mouse.drag(
        at(shown, mouse, name, (30.0, 40.0), cell), at(shown, mouse, name, (60.0, 40.0), cell)
    )
    axis = shown.session.view.axis
    # slice2 is turned by 90°: (x, y) to (-y, x).
    wanted = [(-40, 30), (-40, 60)] if name == "slice2" else [(30, 40), (60, 40)]
    np.testing.assert_allclose(axis.line, wanted, atol=1.5)
    assert axis.kind == "along"
    assert shown.session.view.tool == "", "the tool is put away"
    assert shown.viewer.scene.camera.center == before, "drawing must not move the view"
    assert len(shown.session.result.selection) == 0


def test_clicks_make_corners_and_a_double_click_ends(canvas):
    shown, mouse = canvas
    shown.session.view.axis = Axis("across")
    pick_up(shown, mouse)
    corners = [(30.0, 30.0), (60.0, 30.0), (60.0, 60.0)]
    pixels = [at(shown, mouse, "slice1", xy, 0) for xy in corners]
    for pixel in pixels[:-1]:
        mouse.click(pixel)
    mouse.hover(pixels[1] + QPoint(3, 20))
    assert len(shown.marks("slice1")) == 1
    assert shown.session.view.axis.line == ()
    mouse.double_click(pixels[-1])
    np.testing.assert_allclose(shown.session.view.axis.line, corners, atol=1.5)
    assert shown.session.view.axis.kind == "across"
    assert not shown.marks("slice1")


def test_the_axis_is_drawn_on_every_slice_where_it_lies(canvas):
    shown, _ = canvas
    session = shown.session
    session.view.axis = Axis("along", ((10.0, 20.0), (80.0, 20.0)))
    assert not shown.marks("slice1")
    session.view.axis_shown = True
    for name, turn in (("slice1", np.eye(2)), ("slice2", [[0, -1], [1, 0]])):
        (mark,) = shown.marks(name)
        corners = mark.mesh_data.get_vertices()[:, :2]
        back = np.array(session.view.axis.line) @ np.array(turn)
        width = 0.3 * shown.layer(name).size[0]
        np.testing.assert_allclose(corners[:4], ribbon(back, width)[0][:, :2], atol=1e-3)
    session.view.axis_shown = False
    assert not shown.marks("slice1")
