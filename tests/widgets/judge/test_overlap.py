"""The switch by which only spots count where slices overlap, with the mouse, in both docks."""

from __future__ import annotations

import numpy as np
from docks import press
from fakes import fake_result

from napari_staligner import _keys as K
from napari_staligner.layers.colors import DIMMED, paint
from napari_staligner.session import Session
from napari_staligner.widgets.alignment.dock import AlignmentWidget
from napari_staligner.widgets.judge.dock import JudgeWidget

COLUMN = np.tile(np.arange(8), 16)
COMMON = np.where(np.arange(128) < 64, COLUMN >= 3, COLUMN < 5)


def show(dock):
    """Show two slices of 8 × 8 spots, the second shifted by three columns."""
    slices, result = fake_result((64, 64))
    result.obsm[K.SPATIAL_ALIGNED] = np.array(result.obsm[K.SPATIAL], dtype=float)
    result.obsm[K.SPATIAL_ALIGNED][64:, 0] += 30
    moved = np.array([[1.0, 0, 30], [0, 1, 0], [0, 0, 1]])
    result.uns[K.STALIGNER]["transforms"] = {"slice1": np.eye(3), "slice2": moved}
    # Residuals are large where slice 1 is alone.
    result.obs[K.RESIDUAL] = np.where(COMMON, 1.0, 9.0).astype(np.float32)
    dock.session.add(slices)
    dock.session.set_result(result, saved=True)
    return dock.session


def dimmed(session):
    rgba = np.concatenate([*paint(session).rgba.values()])
    return np.isclose(rgba, DIMMED).all(axis=1)


def test_the_table_and_the_tissue_are_about_the_overlap(open_dock, qtbot):
    dock = open_dock(JudgeWidget, 420, 900)
    session = show(dock)
    before = [row.spots for row in dock.presence.table._rows]
    assert not dimmed(session).any()
    press(qtbot, dock.only_overlap)
    qtbot.waitUntil(lambda: session.view.only_overlap)
    qtbot.waitUntil(lambda: "80 of 128 spots (62%)" in dock.status.text())
    np.testing.assert_array_equal(dimmed(session), ~COMMON)
    assert sum(row.spots for row in dock.presence.table._rows) == 80 < sum(before)
    # It is saved, and the file's own table is about all spots.
    assert session.domains.presence().rows[0].spots == before[0]
    opened = Session()
    opened.add([(name, adata) for name, adata in session.slices.items()])
    opened.set_result(session.result.adata.copy())
    opened.restore_view(session.view.to_json())
    assert opened.view.only_overlap
    qtbot.waitUntil(dock.only_overlap.isEnabled)
    press(qtbot, dock.only_overlap)
    assert not session.view.only_overlap
    assert not dimmed(session).any()


def test_residuals_are_told_of_the_overlap_until_a_slice_moves(open_dock, qtbot):
    dock = open_dock(AlignmentWidget, 420, 900)
    session = show(dock)
    assert "9.00" in dock.residuals.text()
    press(qtbot, dock.only_overlap)
    qtbot.waitUntil(lambda: session.view.only_overlap)
    assert "9.00" not in dock.residuals.text()
    assert "1.00" in dock.residuals.text()
    session.alignment.nudge("slice2", (1.0, 0.0))
    assert not session.view.only_overlap
    assert K.OVERLAPPING not in session.result.adata.obs
