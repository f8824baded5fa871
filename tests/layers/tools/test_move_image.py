"""Tissue images moved alone, by mouse and keys, in the grid and in the stack."""

from __future__ import annotations

import numpy as np
import pytest
from qtpy.QtCore import Qt

from napari_staligner import _keys as K
from napari_staligner.compat import camera_of
from napari_staligner.core.prepare.image_move import moved_images
from napari_staligner.core.registration.transforms import apply
from napari_staligner.core.result.access import spots_xy
from napari_staligner.io.images import shown_picture

NAME = "slice1"


def in_hand(shown, mouse, layout="grid"):
    shown.session.view.layout = layout
    shown.session.view.image_hand = NAME
    mouse.settle(shown.layer(NAME))


def move_of(shown):
    return shown.session.images.moves[NAME]


def corner(shown):
    """Where the layer shows the first pixel of the image, as (x, y) of the slice."""
    image = shown.layer(NAME, K.Role.IMAGE)
    world = np.array(image.data_to_world((0.0, 0.0)))[-2:]
    spots = shown.layer(NAME)
    return np.array(spots.world_to_data(world))[-2:][::-1]


def drag(shown, mouse, by, held=Qt.KeyboardModifier.NoModifier, start=(50.0, 50.0)):
    """Drag in the cell of the slice; ``by`` and ``start`` are (y, x) of the slice."""
    cell = 0 if shown.session.view.layout == "grid" else None
    spots = shown.layer(NAME)
    ends = [np.array(spots.data_to_world(at))[-2:] for at in (start, np.add(start, by))]
    mouse.drag(*(mouse.pixel(end, cell) for end in ends), held)


@pytest.mark.parametrize("layout", ["grid", "stack"])
def test_a_drag_moves_the_image_and_neither_spots_nor_view(canvas, layout):
    shown, mouse = canvas
    in_hand(shown, mouse, layout)
    spots, camera = spots_xy(shown.session.slices[NAME]).copy(), camera_of(shown.viewer).center
    drag(shown, mouse, (12.0, -20.0))
    np.testing.assert_allclose(move_of(shown)[:2, 2], [-20, 12], atol=1)
    np.testing.assert_array_equal(move_of(shown)[:2, :2], np.eye(2))
    np.testing.assert_array_equal(spots_xy(shown.session.slices[NAME]), spots)
    np.testing.assert_array_equal(camera_of(shown.viewer).center, camera)
    # Slice, result and layer say the same.
    for table, name in ((shown.session.slices[NAME], ""), (shown.session.result.adata, NAME)):
        np.testing.assert_array_equal(moved_images(table, name), move_of(shown))
    picture = shown_picture(shown.session.slices[NAME])
    np.testing.assert_allclose(corner(shown), apply(picture.matrix, np.zeros((1, 2)))[0], atol=1e-6)


def test_ctrl_and_a_drag_turn_it_about_its_middle(canvas):
    shown, mouse = canvas
    in_hand(shown, mouse)
    middle = shown.session.images.middle(NAME)
    y, x = middle[::-1]
    drag(shown, mouse, (30.0, -30.0), Qt.KeyboardModifier.ControlModifier, (y, x + 30))
    np.testing.assert_allclose(move_of(shown)[:2, :2], [[0, -1], [1, 0]], atol=0.06)
    np.testing.assert_allclose(shown.session.images.middle(NAME), middle, atol=1e-6)


def test_keys_nudge_turn_and_mirror_it_and_undo_takes_them_back(canvas):
    shown, mouse = canvas
    in_hand(shown, mouse)
    images = shown.session.images
    for key in (Qt.Key.Key_Right, Qt.Key.Key_Right, Qt.Key.Key_Down):
        mouse.type(key)
    np.testing.assert_allclose(move_of(shown)[:2, 2], [10, 5], atol=1e-9)
    mouse.type(Qt.Key.Key_M)
    assert np.linalg.det(move_of(shown)[:2, :2]) == pytest.approx(-1)
    assert images.track.texts == (f"Nudge the image of {NAME}", f"Mirror the image of {NAME}")
    images.track.undo()
    np.testing.assert_allclose(move_of(shown)[:2, 2], [10, 5], atol=1e-9)
    shown.session.history.undo()
    np.testing.assert_array_equal(move_of(shown), np.eye(3))
    np.testing.assert_array_equal(moved_images(shown.session.result.adata, NAME), np.eye(3))
    images.track.redo()
    np.testing.assert_allclose(move_of(shown)[:2, 2], [10, 5], atol=1e-9)


def test_pairs_that_are_clicked_bring_it_where_it_belongs(canvas):
    shown, mouse = canvas
    in_hand(shown, mouse)
    images = shown.session.images
    images.collecting = True
    wrong = shown.layer(NAME)
    pairs = [
        ((30.0, 30.0), (35.0, 42.0)),
        ((30.0, 70.0), (35.0, 82.0)),
        ((60.0, 30.0), (65.0, 42.0)),
    ]
    for pair in pairs:
        for at in pair:
            mouse.click(mouse.pixel(np.array(wrong.data_to_world(at))[-2:], 0))
    assert len(images.pairs) == 3
    assert shown.marks(NAME)
    images.fit()
    np.testing.assert_allclose(move_of(shown)[:2, 2], [12, 5], atol=2)
    np.testing.assert_allclose(move_of(shown)[:2, :2], np.eye(2), atol=0.05)


def test_spots_are_dimmed_while_the_image_under_them_is_in_hand(canvas):
    shown, mouse = canvas
    before = shown.layer(NAME).opacity
    in_hand(shown, mouse)
    assert shown.layer(NAME).opacity < before
    assert shown.layer("slice2").opacity == before
    shown.session.view.image_hand = ""
    assert shown.layer(NAME).opacity == before


def test_only_one_thing_is_in_hand_and_letting_go_gives_the_keys_back(canvas):
    shown, mouse = canvas
    in_hand(shown, mouse, "stack")
    shown.session.view.hand = "slice2"
    assert shown.session.view.image_hand == ""
    shown.session.view.image_hand = NAME
    assert shown.session.view.hand == ""
    shown.session.view.image_hand = ""
    mouse.type(Qt.Key.Key_Right)
    np.testing.assert_array_equal(move_of(shown), np.eye(3))
    assert shown.session.view.only  # the arrow key pages through the slices again


def test_a_session_file_and_a_crash_keep_it(canvas, tmp_path):
    from napari_staligner.io.session_file import open_file, read_record, session_content

    shown, mouse = canvas
    in_hand(shown, mouse)
    drag(shown, mouse, (12.0, -20.0))
    session = shown.session
    session.save(tmp_path / "a.h5ad")
    opened = open_file(tmp_path / "a.h5ad")
    np.testing.assert_array_equal(moved_images(dict(opened.slices)[NAME]), move_of(shown))
    # What is kept from a crash is the record; the result is as it was before.
    session.images.move(NAME, np.eye(3), "back")
    record = read_record(session.record().to_json())
    restored = session_content(opened.result, record)
    np.testing.assert_array_equal(moved_images(restored.result, NAME), np.eye(3))
    np.testing.assert_array_equal(moved_images(dict(restored.slices)[NAME]), np.eye(3))
