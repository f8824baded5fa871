"""The Alignment dock, with the events of a person: clicks on domains, buttons, steps, spots."""

from __future__ import annotations

import gc
import threading
import weakref
from dataclasses import replace

import numpy as np
import pytest
from docks import LEFT, delete, press
from fakes import fake_result
from napari.components import ViewerModel
from qtpy.QtCore import QPoint, Qt

from napari_staligner import _keys as K
from napari_staligner._errors import InputError
from napari_staligner.core.progress import Progress
from napari_staligner.core.registration import register
from napari_staligner.core.registration.choice import Model
from napari_staligner.core.registration.transforms import shifted
from napari_staligner.core.registration.trust import PairTrust
from napari_staligner.layers import open_session
from napari_staligner.session import ColorBy, Spot
from napari_staligner.widgets.alignment.dock import AlignmentWidget


@pytest.fixture
def empty_dock(open_dock):
    """Return a dock without slices, on the screen."""
    return open_dock(AlignmentWidget, 380, 900)


@pytest.fixture
def dock(empty_dock, qtbot):
    """A dock with two slices of a smooth embedding, the second turned by 90°."""
    slices, result = fake_result((400, 400))
    points = np.asarray(result.obsm[K.SPATIAL])
    x, y = (points / points.max(axis=0)).T
    z = np.stack([3 * x, 3 * y, np.sin(5 * x + 3 * y)], axis=1)
    result.obsm[K.EMBEDDING] = z.astype(np.float32)
    empty_dock.session.add(slices)
    empty_dock.session.set_result(result, saved=True)
    qtbot.waitUntil(lambda: not empty_dock._measurer.running)
    return empty_dock


def run(qtbot, dock):
    with qtbot.waitSignal(dock._runner.ended):
        press(qtbot, dock.register)
    settle(qtbot, dock)


def settle(qtbot, dock):
    """Wait until no residual is waited for."""
    qtbot.waitUntil(lambda: not dock._measurer.running and not dock._moved)


def choose_hand(qtbot, dock, name):
    dock.hand.setFocus()
    while dock.hand.currentText() != name:
        qtbot.keyClick(dock.hand, Qt.Key.Key_Down)


def transform(dock, name="slice2"):
    return dock.session.alignment.state.registered.transforms[name]


def check(qtbot, dock, domain):
    (item,) = dock.landmarks.findItems(domain, Qt.MatchFlag.MatchExactly)
    rect = dock.landmarks.visualItemRect(item)
    qtbot.mouseClick(
        dock.landmarks.viewport(), LEFT, pos=QPoint(rect.left() + 8, rect.center().y())
    )


def test_without_a_result_it_says_what_is_missing(empty_dock):
    assert "integrate the slices first" in empty_dock.status.text()
    assert not empty_dock.register.isEnabled()
    assert not empty_dock.hand_box.isEnabled()


def test_a_run_is_proposed_and_accepted(dock, qtbot):
    run(qtbot, dock)
    # The two slices are the same: they fall on each other.
    assert dock.session.view.layout == "stack"
    np.testing.assert_allclose(transform(dock), np.eye(3), atol=0.5)
    aligned = dock.session.result.adata.obsm[K.SPATIAL_ALIGNED]
    np.testing.assert_allclose(aligned[:400], aligned[400:], atol=3)
    assert dock.session.result.adata.obs[K.RESIDUAL].median() < 0.5
    assert not dock.session.saved
    assert dock.accept.isVisible()
    press(qtbot, dock.accept)
    assert not dock.accept.isVisible()
    assert dock.register.isVisible()
    assert "0." in dock.residuals.text()


def test_a_run_that_finds_the_same_has_nothing_to_accept(dock, qtbot):
    run(qtbot, dock)
    press(qtbot, dock.accept)
    run(qtbot, dock)
    assert dock.status.text() == "The slices are already in place."
    assert not dock.accept.isVisible()
    assert len(dock.session.alignment.track.texts) == 1


def test_a_rejected_run_leaves_all_as_it_was_and_can_be_redone(dock, qtbot):
    before = dock.session.result.adata.obsm[K.SPATIAL_ALIGNED].copy()
    run(qtbot, dock)
    found = dock.session.result.adata.obsm[K.SPATIAL_ALIGNED].copy()
    press(qtbot, dock.reject)
    np.testing.assert_array_equal(dock.session.result.adata.obsm[K.SPATIAL_ALIGNED], before)
    assert not dock.reject.isVisible()
    press(qtbot, dock.redo)
    np.testing.assert_array_equal(dock.session.result.adata.obsm[K.SPATIAL_ALIGNED], found)


def test_domains_that_are_clicked_are_landmarks(dock, qtbot):
    check(qtbot, dock, "2")
    check(qtbot, dock, "3")
    run(qtbot, dock)
    kept = dock.session.result.adata.uns[K.STALIGNER]["registration"]
    assert list(kept["landmarks"]) == ["2", "3"]
    assert dock.session.alignment.track.undo_text == "Register by 2, 3 (rigid)"


def test_a_run_is_cancelled(dock, qtbot, monkeypatch):
    go = threading.Event()

    def slow(job):
        yield Progress("waiting", 0, 2)
        while not go.wait(0.01):
            yield Progress("waiting", 1, 2)

    monkeypatch.setattr(register, "register_steps", slow)
    before = transform(dock).copy()
    press(qtbot, dock.register)
    qtbot.waitUntil(lambda: dock.bar.format() == "waiting")
    assert not dock.register.isEnabled()
    with qtbot.waitSignal(dock._runner.ended):
        press(qtbot, dock.cancel)
    np.testing.assert_array_equal(transform(dock), before)
    assert "Cancelled" in dock.status.text()
    assert dock.register.isEnabled()


def test_a_failure_is_said(dock, qtbot, monkeypatch):
    def failing(job):
        yield Progress("start", 0, 1)
        raise InputError("Slice 'slice2' cannot be used: take another.")

    monkeypatch.setattr(register, "register_steps", failing)
    with qtbot.waitSignal(dock._runner.ended):
        press(qtbot, dock.register)
    assert dock.status.text() == "Slice 'slice2' cannot be used: take another."


def test_by_hand_undone_redone_and_back_to_any_step(dock, qtbot):
    first = transform(dock).copy()
    choose_hand(qtbot, dock, "slice2")
    assert dock.session.view.hand == "slice2"
    assert dock.session.view.layout == "stack"
    press(qtbot, dock.mirror)
    mirrored = transform(dock).copy()
    assert np.linalg.det(mirrored[:2, :2]) == pytest.approx(-np.linalg.det(first[:2, :2]))
    settle(qtbot, dock)
    dock.session.alignment.turn("slice2", 10)
    dock.session.alignment.turn("slice2", 10)
    assert list(dock.session.alignment.track.texts) == [
        "Mirror slice2",
        "Turn slice2",
    ]
    press(qtbot, dock.undo)
    np.testing.assert_array_equal(transform(dock), mirrored)
    press(qtbot, dock.undo)
    np.testing.assert_array_equal(transform(dock), first)
    assert not dock.undo.isEnabled()
    # The last line of the list: two steps on at once.
    index = dock.steps.model().index(2, 0)
    qtbot.mouseClick(dock.steps.viewport(), LEFT, pos=dock.steps.visualRect(index).center())
    turned = np.degrees(np.arccos((transform(dock) @ np.linalg.inv(mirrored))[0, 0]))
    assert turned == pytest.approx(20)


def test_residuals_follow_a_move_and_are_kept_with_their_step(dock, qtbot):
    run(qtbot, dock)
    press(qtbot, dock.accept)
    good = dock.session.result.adata.obs[K.RESIDUAL].to_numpy().copy()
    dock.session.alignment.move("slice2", shifted(np.array([25.0, 0])) @ transform(dock), "Move")
    assert dock.session.result.adata.obs[K.RESIDUAL].isna().all()
    settle(qtbot, dock)
    shift = dock.session.result.adata.obsm[K.SHIFT][400:]
    middle = np.abs(shift - np.nanmedian(shift, axis=0)).sum(axis=1) < 5
    assert np.nanmedian(shift[middle], axis=0) == pytest.approx([-25, 0], abs=6)
    assert np.nanmedian(dock.session.result.adata.obs[K.RESIDUAL]) > 1.5
    press(qtbot, dock.undo)
    np.testing.assert_array_equal(dock.session.result.adata.obs[K.RESIDUAL].to_numpy(), good)
    press(qtbot, dock.redo)
    assert np.isfinite(dock.session.result.adata.obs[K.RESIDUAL]).any()


def test_three_pairs_of_spots_place_a_slice(dock, qtbot):
    choose_hand(qtbot, dock, "slice2")
    press(qtbot, dock.pairs.collect)
    for row in (5, 110, 390):
        assert not dock.pairs.fit.isEnabled()
        assert "click a spot of slice2" in dock.pairs.hint.text()
        dock.session.view.spot = Spot("slice2", row)
        assert "belongs" in dock.pairs.hint.text()
        dock.session.view.spot = Spot("slice1", row)
    assert dock.pairs.list.count() == 3
    press(qtbot, dock.pairs.fit)
    np.testing.assert_allclose(transform(dock), np.eye(3), atol=1e-6)
    assert dock.session.alignment.track.undo_text == "Fit slice2 by 3 pairs"
    dock.pairs.list.setCurrentRow(0)
    dock.pairs.list.setFocus()
    qtbot.keyClick(dock.pairs.list, Qt.Key.Key_Delete)
    assert len(dock.pairs.pairs) == 2
    assert not dock.pairs.fit.isEnabled()


def test_pairs_at_one_place_tell_no_scale(dock, qtbot):
    choose_hand(qtbot, dock, "slice2")
    dock.model.setCurrentIndex(dock.model.findData(Model.AFFINE))
    press(qtbot, dock.pairs.collect)
    before = transform(dock).copy()
    for row in (5, 5, 5):  # The same spot three times over.
        dock.session.view.spot = Spot("slice2", row)
        dock.session.view.spot = Spot("slice1", row)
    press(qtbot, dock.pairs.fit)
    assert "All pairs are at one place" in dock.status.text()
    np.testing.assert_array_equal(transform(dock), before)
    dock.model.setCurrentIndex(dock.model.findData(Model.RIGID))
    press(qtbot, dock.pairs.fit)
    assert dock.status.text() == ""
    np.testing.assert_allclose(transform(dock), np.eye(3), atol=1e-6)


def test_residuals_as_arrows_and_as_a_map(dock, qtbot):
    run(qtbot, dock)
    press(qtbot, dock.arrows)
    assert dock.session.view.arrows
    press(qtbot, dock.map)
    assert dock.session.view.color_by == ColorBy("obs", K.RESIDUAL)


def test_another_result_starts_the_steps_over(dock, qtbot):
    dock.session.alignment.turn("slice2", 10)
    settle(qtbot, dock)
    dock.session.set_result(dock.session.result.adata.copy())
    assert len(dock.session.alignment.track.texts) == 0
    assert dock.session.view.hand == ""
    qtbot.waitUntil(lambda: not dock._measurer.running)


def test_a_closed_dock_is_gone(qtbot):
    viewer = ViewerModel()
    dock = AlignmentWidget(viewer)
    session, gone = open_session(viewer), weakref.ref(dock)
    delete(dock)
    del dock
    gc.collect()
    assert gone() is None
    session.view.arrows = True


def test_pairs_that_are_not_to_be_trusted_are_named_until_a_slice_is_moved_by_hand(dock, qtbot):
    assert not dock.trust.isVisible()
    alignment = dock.session.alignment
    known = replace(
        alignment.state.registered,
        pairs=(("slice1", "slice2"), ("slice2", "slice1")),
        trust=(PairTrust(0.2, 0.0), PairTrust(0.0, 1.0)),
    )
    alignment.set(replace(alignment.state, registered=known))
    assert dock.trust.isVisible()
    assert dock.trust.text() == (
        "Not to be trusted, 1 of 2: slice1 – slice2 (fits another way about as well, p = 0.20)."
    )
    dock.session.set_result(dock.session.result.adata.copy())
    assert "p = 0.20" in dock.trust.text(), "kept in the result"
    sure = replace(known, trust=(PairTrust(0.0, 0.0), PairTrust(0.0, 1.0)))
    alignment.set(replace(alignment.state, registered=sure))
    assert dock.trust.text() == "Nothing speaks against any of the 2 pairs."
    alignment.turn("slice2", 5.0)
    assert not dock.trust.isVisible()
    settle(qtbot, dock)


# --- the bending


def test_the_bent_grid_is_drawn_and_area_changes_coloured_and_both_follow(dock, qtbot):
    session, bending = dock.session, dock.bending
    assert not bending.grid.isEnabled()
    assert "No slice is bent" in bending.text.text()
    rows = session.result.rows("slice2")
    known = session.alignment.state.registered
    aligned = known.aligned.copy()
    aligned[rows, 0] += 12 * np.sin(aligned[rows, 0] / 40)
    bent = replace(known, aligned=aligned, bending={"slice2": 1.0})
    session.alignment.set(replace(session.alignment.state, registered=bent, title="Bend"))
    with qtbot.waitSignal(session.bending.changed):
        press(qtbot, bending.grid)
    viewer = dock.viewer
    (layer,) = [x for x in viewer.layers if x.name == "slice2 bending"]
    grid = session.bending.found.grids["slice2"]
    assert len(layer.data) == 2 * len(grid.bent)
    np.testing.assert_allclose(layer.data[-1, 0], grid.bent[-1, 0, ::-1])
    assert "slice2 ×0." in bending.text.text()
    press(qtbot, bending.area)
    assert session.color_by == ColorBy("obs", K.AREA_CHANGE)
    values = session.result.adata.obs[K.AREA_CHANGE].to_numpy()[rows]
    assert values.min() < -0.2 < 0.2 < values.max()
    # Slices are bent otherwise: all is found again by itself.
    aligned = known.aligned.copy()
    aligned[rows, 1] += 8 * np.sin(aligned[rows, 0] / 30)
    other = replace(bent, aligned=aligned)
    session.alignment.set(replace(session.alignment.state, registered=other, title="Bend again"))
    qtbot.waitUntil(lambda: session.bending.found is not None)
    assert K.AREA_CHANGE in session.result.adata.obs
    # The slice is moved by hand, which takes its bending away.
    session.alignment.turn("slice2", 5)
    assert K.AREA_CHANGE not in session.result.adata.obs
    assert "No slice is bent" in bending.text.text()
    qtbot.waitUntil(lambda: not bending.runner.running)
    press(qtbot, bending.grid)
    assert not [x for x in viewer.layers if x.name == "slice2 bending"]
    settle(qtbot, dock)
