"""Spots drawn at less cost look as they do when napari draws them."""

from __future__ import annotations

import numpy as np
import pytest

from napari_staligner.compat import camera_of, markers_of
from napari_staligner.layers.fast_points import FastSpots

BLUE, RED = np.array([0, 0, 1, 1], np.float32), np.array([1, 0, 0, 1], np.float32)


@pytest.fixture
def drawn(make_napari_viewer):
    """Return what draws fast, a layer of spots, what draws them, and what takes a picture."""
    viewer = make_napari_viewer(show=True)
    yx = np.stack(np.meshgrid(np.arange(6.0), np.arange(5.0)), axis=-1).reshape(-1, 2)
    layer = viewer.add_points(yx, size=0.8, border_width=0, face_color="blue", antialiasing=0)
    viewer.reset_view()
    viewer.layers.selection.clear()
    return (
        FastSpots(viewer),
        layer,
        lambda: markers_of(viewer, layer),
        lambda: viewer.screenshot(canvas_only=True, flash=False),
    )


def are_alike(a, b):
    """Tell whether all but a few pixels at edges are the same, of pictures that show something."""
    assert (a[..., :3].max(axis=-1) > 100).mean() > 0.05
    return (np.abs(a.astype(int) - b) > 3).any(axis=-1).mean() < 0.002


def is_lean(markers):
    """Tell whether points are drawn without vispy's shaders."""
    return "u_spherical" not in markers.shared_program._vcode


def test_lean_spots_look_the_same(drawn):
    fast, layer, markers, picture = drawn
    before = picture()
    fast.set_fast(layer, fast=True)
    assert is_lean(markers())
    assert are_alike(picture(), before)


@pytest.mark.parametrize("ndisplay", [2, 3])
@pytest.mark.parametrize(
    "place", [np.diag([1.0, 2.0, 1.0]), np.array([[0.6, -1.6, 0], [0.8, 1.2, 0], [0, 0, 1]])]
)
def test_lean_spots_look_the_same_wherever_they_lie(drawn, ndisplay, place):
    fast, layer, markers, picture = drawn
    layer.affine, layer.scale, layer.opacity = place, (1.5, 1.5), 0.9
    layer.face_color = np.linspace([0.2, 0, 1, 1], [1, 0.5, 1, 0.8], len(layer.data))
    fast._viewer().dims.ndisplay = ndisplay
    fast._viewer().reset_view()
    before = picture()
    fast.set_fast(layer, fast=True)
    assert is_lean(markers())
    assert are_alike(picture(), before)
    fast.set_fast(layer, fast=False)
    layer.antialiasing = 0
    assert not is_lean(markers())
    assert np.array_equal(picture(), before)


def test_lean_spots_are_never_smaller_than_the_layer_says(drawn):
    fast, layer, _, picture = drawn
    fast.set_fast(layer, fast=True)
    layer.data = layer.data[:1]
    for smallest in (30, 60):
        layer.canvas_size_limits = (smallest, 1000)
        camera_of(fast._viewer()).zoom = 1
        lit = picture()[..., 2] > 200
        # vispy would give such a spot a border of half this width.
        assert lit.any(axis=0).sum() == pytest.approx(smallest, abs=1)
        assert lit.any(axis=1).sum() == pytest.approx(smallest, abs=1)


def test_borders_and_light_are_drawn_as_they_are(drawn):
    fast, layer, markers, picture = drawn
    layer.border_width = 0.2
    bordered = picture()
    layer.border_width, layer.shading = 0, "spherical"
    lit = picture()
    layer.shading = "none"
    fast.set_fast(layer, fast=True)
    assert is_lean(markers())
    layer.border_width = 0.2
    assert are_alike(picture(), bordered)
    layer.border_width = 0
    assert is_lean(markers())
    layer.shading = "spherical"
    assert are_alike(picture(), lit)


def test_new_colours_are_sent_alone_and_seen(drawn):
    fast, layer, markers, picture = drawn
    visual_data = markers()._data
    rgba = np.tile(BLUE, (len(layer.data), 1))
    rgba[::3] = RED
    fast.recolor(layer, rgba)
    ours = picture()
    assert markers()._data is visual_data  # positions and sizes were not sent
    np.testing.assert_array_equal(layer.face_color, rgba)
    layer.face_color = np.tile(BLUE, (len(rgba), 1))
    assert not are_alike(picture(), ours)
    layer.face_color = rgba
    assert are_alike(picture(), ours)


def test_spots_that_are_not_shown_do_not_shift_the_colours(drawn):
    fast, layer, _, picture = drawn
    layer.shown = np.arange(len(layer.data)) % 2 == 0
    rgba = np.tile(BLUE, (len(layer.data), 1))
    rgba[: len(rgba) // 2] = RED
    fast.recolor(layer, rgba)
    ours = picture()
    layer.face_color = rgba
    assert are_alike(picture(), ours)


def test_another_symbol_is_drawn_as_it_is(drawn):
    fast, layer, _, picture = drawn
    layer.symbol = "square"
    squares = picture()
    layer.symbol = "disc"
    fast.set_fast(layer, fast=True)
    assert not are_alike(picture(), squares)
    layer.symbol = "square"
    assert are_alike(picture(), squares)


def test_without_a_window_napari_colours_them(qapp):
    from napari.components import ViewerModel

    viewer = ViewerModel()
    layer = viewer.add_points(np.zeros((2, 2)))
    told = []
    layer._face.events.colors.connect(told.append)
    fast = FastSpots(viewer)
    fast.set_fast(layer, fast=True)
    fast.recolor(layer, np.array([RED, BLUE]))
    assert layer.antialiasing == 0
    assert told
    np.testing.assert_array_equal(layer.face_color, [RED, BLUE])
