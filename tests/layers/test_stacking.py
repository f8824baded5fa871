"""The stack: what is shown of each slice in each mode, and that all is as before afterwards."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from fakes import fake_slice

from napari_staligner import _keys as K
from napari_staligner.layers.stacking import first_of_pair
from napari_staligner.session import Spot, StackView

BOX = np.array([[0.0, 0.0], [40.0, 80.0]])


def overlap(result):
    """Lay the second slice over the first, turned a little."""
    turned = np.array([[0.98, -0.2, 12.0], [0.2, 0.98, -5.0], [0.0, 0.0, 1.0]])
    result.uns[K.STALIGNER]["transforms"]["slice2"] = turned


@pytest.fixture
def stack(shown):
    """Three slices in the stack, the third without an image."""
    overlap(shown.result)
    shown.session.set_result(shown.result)
    shown.session.add([("bare", fake_slice(40, image=False))])
    shown.session.view.layout = "stack"
    return shown


def show(stack, mode, **options):
    stack.session.view.stack = replace(stack.session.view.stack, mode=mode, **options)


def seen(stack):
    """Names of the visible layers."""
    return {
        layer.name for layer in stack.viewer.layers if layer.visible and "blank" not in layer.name
    }


def world(layer):
    return np.array([layer.data_to_world(p) for p in layer.data])


def state(viewer):
    """All that a picture depends on."""
    return [
        (
            layer,
            layer.data,
            layer.visible,
            layer.opacity,
            layer.affine.affine_matrix.tobytes(),
            getattr(layer, "shown", np.ones(1)).all(),
        )
        for layer in viewer.layers
        if layer.metadata[K.LAYER_ROLE] in ("image", "spots")
    ]


def test_a_checkerboard_has_cells_along_its_longer_side():
    view = StackView(mode="checkerboard", cells=4)
    y, x = np.mgrid[10:40:20, 10:80:20]
    np.testing.assert_array_equal(
        first_of_pair(view, BOX, y, x), [[True, False, True, False], [False, True, False, True]]
    )


@pytest.mark.parametrize(("share", "expected"), [(0.0, 0), (0.5, 4), (1.0, 8)])
def test_a_swipe_shows_the_first_on_the_left(share, expected):
    y, x = np.zeros((2, 1)), np.arange(5, 80, 10)[None]
    first = first_of_pair(StackView(mode="swipe", swipe=share), BOX, y, x)
    assert first.shape == (2, 8)
    np.testing.assert_array_equal(first[1], np.arange(8) < expected)


def test_slices_are_blended_by_their_opacity(stack):
    show(stack, "blend", opacities={"slice2": 0.25})
    assert stack.layer("slice1").opacity == 0.6
    assert stack.layer("slice2").opacity == 0.25
    assert seen(stack) == {"slice1 image", "slice1", "slice2", "bare"}


def test_images_can_be_blended_alone(stack):
    show(stack, "blend", part="image", opacities={"slice2": 0.25})
    assert seen(stack) == {"slice1 image", "slice2 image", "bare"}
    assert stack.layer("slice2", "image").opacity == 0.25


def test_flicker_shows_one_of_the_pair_in_turn(stack):
    show(stack, "flicker", pair=("slice2", "bare"))
    assert seen(stack) == {"slice2 image", "slice2"}
    show(stack, "flicker", front=1)
    assert seen(stack) == {"bare"}
    show(stack, "flicker", front=0, part="image")
    assert seen(stack) == {"slice2 image"}


@pytest.mark.parametrize("mode", ["checkerboard", "swipe"])
def test_parts_of_two_slices_make_one_whole(stack, mode):
    show(stack, mode, part="both", cells=5, swipe=0.3)
    assert seen(stack) == {"slice1 image", "slice1", "slice2 image", "slice2"}
    layers = [stack.layer(name) for name in ("slice1", "slice2")]
    places = [world(layer) for layer in layers]
    box = np.array([np.vstack(places).min(axis=0), np.vstack(places).max(axis=0)])
    for layer, place, second in zip(layers, places, (False, True), strict=True):
        expected = first_of_pair(stack.session.view.stack, box, *place.T) != second
        np.testing.assert_array_equal(layer.shown, expected)
        assert 0 < expected.sum() < len(expected)
    image = stack.layer("slice2", "image")
    rows, columns = map(
        np.ravel, np.mgrid[0 : image.data.shape[0] : 3, 0 : image.data.shape[1] : 3]
    )
    place = np.array([image.data_to_world(p) for p in zip(rows, columns, strict=True)])
    expected = ~first_of_pair(stack.session.view.stack, box, *place.T)
    np.testing.assert_array_equal(image.data[rows, columns, 3] == 255, expected)
    assert set(np.unique(image.data[..., 3])) == {0, 255}


def test_spots_stand_for_an_image_that_is_missing(stack):
    show(stack, "checkerboard", pair=("slice1", "bare"), part="image")
    assert seen(stack) == {"slice1 image", "bare"}
    assert not stack.layer("bare").shown.all()


def test_the_alpha_of_an_image_is_kept(stack):
    image = stack.layer("slice1", "image")
    with_alpha = np.dstack([image.data, np.full(image.data.shape[:2], 99, np.uint8)])
    image.data = with_alpha
    show(stack, "swipe", swipe=0.5)
    assert set(np.unique(image.data[..., 3])) == {0, 99}
    show(stack, "blend")
    assert image.data is with_alpha


@pytest.mark.parametrize("mode", ["blend", "flicker", "checkerboard", "swipe", "3d"])
@pytest.mark.parametrize("part", ["both", "image", "spots"])
def test_all_is_as_before_once_the_stack_is_left(shown, mode, part):
    shown.session.set_result(shown.result)
    shown.layer("slice1", "image").visible = False
    shown.layer("slice2").opacity = 0.8
    before = state(shown.viewer)
    colors = shown.layer("slice2").face_color.copy()
    shown.session.view.stack = StackView(mode=mode, part=part)
    shown.session.view.layout = "stack"
    shown.session.view.stack = replace(shown.session.view.stack, swipe=0.7, cells=3, front=1)
    shown.session.view.layout = "grid"
    after = state(shown.viewer)
    for was, now in zip(before, after, strict=True):
        assert was[0] is now[0]
        if was[0].metadata[K.LAYER_ROLE] == "image":
            assert was[1] is now[1]
        np.testing.assert_array_equal(was[1], now[1])
        assert was[2:] == now[2:]
    np.testing.assert_array_equal(shown.layer("slice2").face_color, colors)


def test_another_mode_takes_masks_away(stack):
    pixels = stack.layer("slice1", "image").data
    show(stack, "checkerboard")
    show(stack, "flicker")
    assert stack.layer("slice1", "image").data is pixels
    assert stack.layer("slice1").shown.all()


def test_a_compared_slice_that_is_removed_gives_way(stack, qtbot):
    show(stack, "swipe", pair=("slice2", "bare"))
    stack.session.slices.remove("bare")
    assert stack.session.slices.pair == ("slice1", "slice2")
    assert seen(stack) == {"slice1 image", "slice1", "slice2 image", "slice2"}


def test_edges_of_hidden_slices_are_hidden(stack):
    stack.session.view.graph_shown = True
    show(stack, "flicker")
    assert stack.layer("slice1", "graph").visible
    assert not stack.layer("slice2", "graph").visible
    show(stack, "flicker", front=1)
    assert not stack.layer("slice1", "graph").visible
    assert stack.layer("slice2", "graph").visible
    stack.session.view.layout = "mosaic"
    assert stack.layer("slice1", "graph").visible


# -- 3-D -----------------------------------------------------------------------------------------


def test_3d_lifts_each_slice_above_the_one_before(stack):
    show(stack, "3d", spacing=0.5)
    assert stack.viewer.dims.ndisplay == 3
    assert seen(stack) == {"slice1 image", "slice1 in 3-D", "slice2 in 3-D", "bare in 3-D"}
    extent = np.ptp(stack.session.slices["slice1"].obsm[K.SPATIAL], axis=0).max()
    for i, name in enumerate(("slice1", "slice2", "bare")):
        place = world(stack.layer(name, "solid"))
        assert place[:, 0] == pytest.approx(i * 0.5 * extent)
        np.testing.assert_allclose(place[:, 1:], world(stack.layer(name)))
        np.testing.assert_array_equal(
            stack.layer(name, "solid").face_color, stack.layer(name).face_color
        )
    show(stack, "3d", spacing=0.25)
    assert world(stack.layer("slice2", "solid"))[:, 0] == pytest.approx(0.25 * extent)


def test_in_3d_slices_are_opaque_unless_their_opacity_was_set(stack):
    show(stack, "3d", opacities={"slice2": 0.3})
    assert [stack.layer(name, "solid").opacity for name in ("slice1", "slice2")] == [1.0, 0.3]


def test_3d_follows_colours_and_new_slices(stack):
    show(stack, "3d")
    stack.session.view.isolated = ["2"]
    np.testing.assert_array_equal(
        stack.layer("slice2", "solid").face_color, stack.layer("slice2").face_color
    )
    stack.session.add([("later", fake_slice(30))])
    assert stack.layer("later", "solid").visible
    assert not stack.layer("later").visible


def test_back_from_3d_the_world_is_flat_and_seen_as_before(stack):
    camera = stack.viewer.scene.camera
    camera.center, camera.zoom = (0, 40.0, 50.0), 3.0
    show(stack, "3d")
    camera.angles = (1.0, 2.0, 3.0)
    show(stack, "blend")
    assert stack.viewer.dims.ndisplay == 2
    assert camera.center[-2:] == (40.0, 50.0)
    assert camera.zoom == 3.0
    assert stack.viewer.dims.ndim == 2
    assert not stack.layers("solid")
    show(stack, "3d")
    assert camera.angles == (1.0, 2.0, 3.0)


# -- the view ------------------------------------------------------------------------------------


@pytest.mark.parametrize("layout", ["mosaic", "stack"])
def test_the_view_stays_with_the_tissue(shown, layout):
    shown.session.set_result(shown.result)
    session, camera = shown.session, shown.viewer.scene.camera
    first, second = shown.layer("slice1"), shown.layer("slice2")
    camera.center, camera.zoom = (0, *first.data_to_world(first.data[12])), 7.5
    session.view.layout = layout
    assert camera.center[-2:] == pytest.approx(first.data_to_world(first.data[12]))
    assert camera.zoom == pytest.approx(7.5)
    camera.center = (0, *second.data_to_world(second.data[33]))
    session.view.layout = "grid"
    at = camera.center[-2:]
    if layout == "mosaic":
        assert at == pytest.approx(second.data_to_world(second.data[33]))
    session.view.layout = layout
    session.view.layout = "grid"
    assert camera.center[-2:] == pytest.approx(at)


def test_a_view_that_was_not_touched_is_fitted(shown):
    camera = shown.viewer.scene.camera
    fitted = {}
    for layout in ("mosaic", "stack", "grid", "mosaic", "stack", "grid"):
        shown.session.view.layout = layout
        found = (*camera.center, camera.zoom)
        assert found == pytest.approx(fitted.setdefault(layout, found))
    assert fitted["mosaic"] != fitted["grid"]
    # Docks came beside the canvas, and the user let napari show all: that is no place to stay at.
    camera.zoom *= 0.8
    shown.session.view.layout = "mosaic"
    assert (*camera.center, camera.zoom) == pytest.approx(fitted["mosaic"])


def test_clicks_meet_the_slice_that_is_seen(canvas):
    shown, mouse = canvas
    overlap(shown.result)
    shown.session.set_result(shown.result)
    shown.session.view.stack = StackView(mode="swipe", part="spots", swipe=0.5)
    shown.session.view.layout = "stack"
    for name in ("slice1", "slice2"):
        layer = shown.layer(name)
        for row in np.flatnonzero(layer.shown)[[0, -1]]:
            mouse.click(mouse.pixel(layer.data_to_world(layer.data[row])))
            found = shown.session.view.spot
            assert found == Spot(name, int(row))
