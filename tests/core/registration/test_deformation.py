"""How a slice lies in the frame: transform and bending, forward, back and by area."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from fakes import fake_result

from napari_staligner import InputError
from napari_staligner import _keys as K
from napari_staligner.core.registration.anndata import record_registration
from napari_staligner.core.registration.bending import area_change
from napari_staligner.core.registration.deformation import deformation, deformation_of
from napari_staligner.core.registration.transforms import apply, turned
from napari_staligner.core.registration.warp import warp
from napari_staligner.session.alignment import _recorded

TURN = turned(30)
TURN[:2, 2] = (50, -20)


def grid(side: int = 24) -> np.ndarray:
    y, x = np.mgrid[:side, :side] * 10.0
    return np.stack([x.ravel(), y.ravel()], axis=1)


def bulge(laid: np.ndarray) -> np.ndarray:
    """A known displacement: x grows by up to a spacing and a half, as a wave."""
    return np.column_stack([15 * np.sin(laid[:, 0] / 60), 9 * np.cos(laid[:, 1] / 70)])


def bent():
    points = grid()
    laid = apply(TURN, points)
    return points, deformation(TURN, points, laid + bulge(laid))


def test_spots_go_where_they_were_aligned_and_come_back():
    points, found = bent()
    laid = apply(TURN, points)
    there = found.forward(points)
    # A hundredth of a spacing.
    np.testing.assert_allclose(there, laid + bulge(laid), atol=0.1)
    inside = np.all(np.abs(points - 115) < 90, axis=1)
    np.testing.assert_allclose(found.backward(there)[inside], points[inside], atol=0.01)


def test_the_change_of_area_is_the_determinant_of_the_known_displacement():
    points, found = bent()
    x, y = apply(TURN, points).T
    expected = (1 + 15 / 60 * np.cos(x / 60)) * (1 - 9 / 70 * np.sin(y / 70))
    inside = np.all(np.abs(points - 115) < 90, axis=1)
    np.testing.assert_allclose(found.area(points)[inside], expected[inside], atol=0.02)
    assert np.ptp(expected[inside]) > 0.4


def test_a_slice_that_is_only_moved_is_not_bent():
    points = grid()
    found = deformation(TURN, points, apply(TURN, points))
    assert not found.bends
    np.testing.assert_array_equal(found.area(points), 1.0)
    np.testing.assert_allclose(found.backward(found.forward(points)), points, atol=1e-9)
    assert not found.field().values.any()


def test_the_field_on_the_grid_leads_there_and_back():
    points, found = bent()
    laid = apply(TURN, points)
    ahead, back = found.field(), found.field(backward=True)
    there = laid + ahead.at(laid)
    np.testing.assert_allclose(there, found.forward(points), atol=0.2)
    inside = np.all(np.abs(points - 115) < 90, axis=1)
    np.testing.assert_allclose((there + back.at(there))[inside], laid[inside], atol=0.15)
    assert ahead.nodes[0, 0] == pytest.approx(ahead.origin)


def test_the_spline_of_the_registration_is_found_again_from_its_spots():
    points = grid()
    wanted = bulge(points)
    made = warp(points, wanted, unit=10.0)
    found = deformation(np.eye(3), points, points + made.shift)
    np.testing.assert_allclose(found.forward(points), points + made.shift, atol=0.05)
    assert found.area(points).min() == pytest.approx(made.least_area, abs=0.1)


def test_where_the_tissue_folds_only_what_is_found_is_told():
    points = grid()
    folded = points + np.column_stack([60 * np.sin(points[:, 0] / 40), np.zeros(len(points))])
    found = deformation(np.eye(3), points, folded)
    assert found.area(points).min() < -0.3
    back = found.backward(folded)
    known = np.isfinite(back).all(axis=1)
    assert 0 < known.sum() < len(points)
    np.testing.assert_allclose(found.forward(back[known]), folded[known], atol=0.01)


def test_without_a_frame_it_is_said():
    result = fake_result()[1]
    with pytest.raises(InputError, match="no slice 'x' in this result"):
        deformation_of(result, "x")
    del result.obsm[K.SPATIAL_ALIGNED]
    with pytest.raises(InputError, match="'slice2' has no place in a common frame: register"):
        deformation_of(result, "slice2")


def test_spots_on_one_line_are_bent_too():
    points = np.column_stack([np.arange(40) * 10.0, np.zeros(40)])
    shift = np.column_stack([np.zeros(40), np.sin(np.arange(40) / 8)])
    found = deformation(np.eye(3), points, points + shift)
    np.testing.assert_allclose(found.forward(points), points + shift, atol=0.05)


# --- what is written and drawn of it


def bent_result():
    """Two slices; the second is turned by 90° and bent."""
    result = fake_result()[1]
    rows = np.flatnonzero((result.obs[K.SLICE] == "slice2").to_numpy())
    aligned = result.obsm[K.SPATIAL_ALIGNED]
    y = aligned[rows, 1]
    aligned[rows] += np.column_stack([6 * np.sin(y / 25), 8 * np.sin(y / 30)])
    return result, rows, 8 / 30 * np.cos(y / 30)


def test_area_change_is_a_column_of_log2_and_goes_once_slices_are_moved():
    result, rows, slope = bent_result()
    result.obs[K.AREA_CHANGE] = "mine"
    found = area_change(result)
    values = result.obs[K.AREA_CHANGE].to_numpy()
    assert values.dtype == np.float32
    np.testing.assert_allclose(values[rows], np.log2(1 + slope), atol=0.12)
    assert np.ptp(values[rows]) > 0.3
    assert not values[: rows[0]].any()
    assert list(found.grids) == ["slice2"]
    assert (result.obs[f"{K.AREA_CHANGE}_of_input"] == "mine").all()
    bent = _recorded(result)
    record_registration(result, bent.registered, bent.choice)
    assert result.obs[K.AREA_CHANGE].dtype == np.float32
    moved = replace(bent.registered, aligned=bent.registered.aligned + 1)
    record_registration(result, moved, bent.choice)
    # The user's own column has its name again.
    assert (result.obs[K.AREA_CHANGE] == "mine").all()


def test_the_grid_is_straight_in_the_frame_and_bent_as_the_spots_are():
    result = bent_result()[0]
    found = deformation_of(result, "slice2")
    grid = area_change(result).grids["slice2"]
    straight = apply(found.matrix, grid.straight.reshape(-1, 2)).reshape(-1, 2, 2)
    along = np.abs(straight[:, 1] - straight[:, 0])
    np.testing.assert_allclose(along.min(axis=1), 0, atol=1e-9)
    np.testing.assert_allclose(
        apply(found.matrix, grid.bent.reshape(-1, 2)), found.forward(grid.straight.reshape(-1, 2))
    )
    assert np.abs(grid.bent - grid.straight).max() > 4
