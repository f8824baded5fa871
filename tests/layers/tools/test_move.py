"""Slices moved by mouse and keys in the stack, and arrows of residuals."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from qtpy.QtCore import Qt

from napari_staligner.compat import camera_of
from napari_staligner.core.registration.transforms import apply
from napari_staligner.core.result.access import spots_xy


def place(shown, name="slice2"):
    return shown.session.alignment.state.registered.transforms[name]


def in_hand(shown):
    shown.session.view.layout = "stack"
    shown.session.view.hand = "slice2"


def test_a_drag_moves_the_slice_in_hand_and_not_the_view(canvas, qtbot):
    shown, mouse = canvas
    in_hand(shown)
    before = place(shown).copy()
    camera = np.array(camera_of(shown.viewer).center)
    y, x = shown.layer("slice2").data_to_world((50.0, 50.0))[-2:]
    mouse.drag(mouse.pixel((y, x)), mouse.pixel((y + 12, x - 20)))
    moved = place(shown)
    np.testing.assert_allclose(moved[:2, 2] - before[:2, 2], [-20, 12], atol=1)
    np.testing.assert_array_equal(moved[:2, :2], before[:2, :2])
    np.testing.assert_array_equal(camera_of(shown.viewer).center, camera)
    corner = shown.layer("slice2").data_to_world((50.0, 50.0))[-2:]
    np.testing.assert_allclose(corner, apply(moved, np.array([[50.0, 50.0]]))[0, ::-1])
    assert shown.session.alignment.state.title == "Move slice2"


def test_ctrl_and_a_drag_turn_about_the_middle(canvas):
    shown, mouse = canvas
    in_hand(shown)
    before, middle = place(shown).copy(), shown.session.alignment.middle("slice2")
    right, down = middle + np.array([30, 0]), middle + np.array([0, 30])
    mouse.drag(
        mouse.pixel(right[::-1]), mouse.pixel(down[::-1]), Qt.KeyboardModifier.ControlModifier
    )
    turn = place(shown) @ np.linalg.inv(before)
    np.testing.assert_allclose(turn[:2, :2], [[0, -1], [1, 0]], atol=0.06)
    np.testing.assert_allclose(shown.session.alignment.middle("slice2"), middle, atol=1e-6)


def test_a_click_moves_nothing_and_chooses_the_spot(canvas):
    shown, mouse = canvas
    in_hand(shown)
    before = place(shown).copy()
    mouse.click(mouse.pixel(shown.layer("slice2").data_to_world((50.0, 50.0))[-2:]))
    np.testing.assert_array_equal(place(shown), before)
    assert shown.session.view.spot is not None


def test_without_a_slice_in_hand_a_drag_moves_the_view(canvas, qtbot):
    shown, mouse = canvas
    shown.session.view.layout = "stack"
    qtbot.wait(100)  # until it is drawn
    before, camera = place(shown).copy(), np.array(camera_of(shown.viewer).center)
    mouse.drag(mouse.pixel((50, 50)), mouse.pixel((70, 70)))
    np.testing.assert_array_equal(place(shown), before)
    assert not np.array_equal(camera_of(shown.viewer).center, camera)


def test_arrow_keys_nudge_by_half_a_spacing(canvas):
    shown, mouse = canvas
    in_hand(shown)
    steps = {"Left": [-5, 0], "Up": [0, -5], "Right": [5, 0], "Down": [0, 5]}
    for key, step in steps.items():
        before = place(shown).copy()
        mouse.type(getattr(Qt.Key, f"Key_{key}"))
        np.testing.assert_allclose(place(shown)[:2, 2] - before[:2, 2], step, atol=1e-9)


def test_keys_turn_and_mirror_and_are_given_back(canvas):
    shown, mouse = canvas
    in_hand(shown)
    before = place(shown).copy()
    mouse.type(Qt.Key.Key_BracketRight)
    step = place(shown) @ np.linalg.inv(before)
    assert np.degrees(np.arctan2(step[1, 0], step[0, 0])) == pytest.approx(1)
    mouse.type(Qt.Key.Key_M)
    assert np.linalg.det(place(shown)[:2, :2]) == pytest.approx(-1)
    shown.session.view.hand = ""
    now = place(shown).copy()
    for key in (Qt.Key.Key_M, Qt.Key.Key_Left, Qt.Key.Key_BracketLeft):
        mouse.type(key)
    np.testing.assert_array_equal(place(shown), now)


def test_keys_do_nothing_outside_the_stack(canvas):
    shown, mouse = canvas
    in_hand(shown)
    shown.session.view.layout = "mosaic"
    before = place(shown).copy()
    mouse.type(Qt.Key.Key_M)
    np.testing.assert_array_equal(place(shown), before)


def test_arrows_lead_to_the_counterparts_in_every_layout(shown):
    shown.session.set_result(shown.result)
    alignment = shown.session.alignment
    state = alignment.state
    shift = np.tile([[7.0, -3.0]], (shown.result.n_obs, 1))
    shift[::5] = np.nan
    alignment.set(replace(state, registered=replace(state.registered, shift=shift)))
    shown.session.view.layout = "stack"
    shown.session.view.arrows = True
    rows, layer = shown.session.result.rows("slice2"), shown.layer("slice2", "shift")
    known = np.isfinite(shift[rows, 0])
    assert len(layer.data) == known.sum()
    start, end = layer.data[:, 0], layer.data.sum(axis=1)
    np.testing.assert_allclose(start[:, ::-1], spots_xy(dict(shown.slices)["slice2"])[known])
    world = np.array([layer.data_to_world(p)[-2:] for p in end])
    aligned = state.registered.aligned[rows][known]
    np.testing.assert_allclose(world[:, ::-1], aligned + np.array([7, -3]), atol=1e-6)
    shown.session.view.arrows = False
    assert not shown.layers("shift")
