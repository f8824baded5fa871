"""Profiles along an axis: signed distances, curves, peaks, and what is refused."""

from __future__ import annotations

import numpy as np
import pytest
from fakes import fake_result

from napari_staligner import _keys as K
from napari_staligner._errors import InputError
from napari_staligner.core.result.axis import Axis, distances, rims
from napari_staligner.core.result.profiles import (
    profiles,
    read_profiles,
    write_profiles,
)
from napari_staligner.core.result.quantities import Quantity


@pytest.fixture
def layered():
    """Return two slices of 400 spots, 10 apart, in one place; a bump lies at y = 80, or 110."""
    _, result = fake_result((400, 400))
    grid = result.obsm[K.SPATIAL] - 20.0
    result.obsm[K.SPATIAL_ALIGNED] = grid
    middle = np.where(result.obs[K.SLICE] == "slice1", 80.0, 110.0)
    result.obs["bump"] = np.exp(-(((grid[:, 1] - middle) / 25) ** 2))
    result.obs["half"] = np.where(grid[:, 0] < 95, "left", "right")
    return result


DOWN = Axis("along", ((100.0, 0.0), (100.0, 190.0)))


def test_peaks_are_found_where_they_are_and_told_apart(layered):
    found = profiles(layered, DOWN, "bump", smoothing=0.5)
    peaks = found.peaks_frame().set_index("slice")
    np.testing.assert_allclose(peaks["peak_spots"], [8.0, 11.0], atol=0.15)
    assert found.spread("bump") == pytest.approx(3.0, abs=0.2)
    assert not peaks["at_end"].any()
    for row in peaks.itertuples():
        assert row.peak_low_spots - 0.25 <= row.peak_spots <= row.peak_high_spots + 0.25
    frame = found.to_frame()
    assert ((frame["low"] <= frame["mean"] + 1e-9) & (frame["mean"] <= frame["high"] + 1e-9)).all()


def test_bands_of_equal_values_have_no_width_and_noise_widens_them(layered):
    layered.obs["same"] = 2.0
    layered.obs["noise"] = np.random.default_rng(0).normal(size=layered.n_obs)
    widths = {}
    for key in ("same", "noise"):
        frame = profiles(layered, DOWN, key).to_frame()
        widths[key] = (frame["high"] - frame["low"]).median()
    assert widths["same"] < 1e-6
    assert 0.1 < widths["noise"] < 1.5


def test_a_column_of_names_gives_shares_that_sum_to_one(layered):
    across = Axis("across", ((95.0, 190.0), (95.0, 0.0)))
    found = profiles(layered, across, "half", smoothing=0.3)
    total = sum(curves["slice1"].mean for curves in found.curves.values())
    np.testing.assert_allclose(total[np.isfinite(total)], 1.0, atol=1e-6)
    # Going up the picture (y points down), the left half is on the left: negative.
    left, right = (found.curves[half]["slice1"].mean for half in ("left", "right"))
    assert left[0] > 0.99 > 0.01 > right[0]
    assert right[-1] > 0.99


def test_distances_on_a_bent_line_are_signed_by_its_sides():
    axis = Axis("across", ((0.0, 0.0), (10.0, 0.0), (10.0, 10.0)))
    xy = np.array([[5.0, 1.0], [5.0, -2.0], [9.0, 5.0], [12.0, 5.0], [11.0, -1.0]])
    (rim,) = rims(axis, [xy], [np.ones(5, bool)], 1.0)
    far = distances(axis, rim, xy, 1.0)
    np.testing.assert_allclose(far, [1.0, -2.0, 1.0, -2.0, -np.sqrt(2)])


def test_along_a_line_only_spots_beside_it_count():
    axis = Axis("along", ((0.0, 0.0), (10.0, 0.0)), width=2.0)
    xy = np.array([[4.0, 1.0], [4.0, 3.0], [-1.0, 0.0], [11.0, 0.0], [10.0, 1.0]])
    (rim,) = rims(axis, [xy], [np.ones(5, bool)], 1.0)
    np.testing.assert_allclose(distances(axis, rim, xy, 1.0), [4, np.nan, np.nan, np.nan, 10])


@pytest.mark.parametrize("of", ["", "slice1"])
def test_the_rim_of_a_region_is_negative_inside(layered, of):
    axis = Axis("rim", column="half", region="left", of=of)
    found = profiles(layered, axis, "half", smoothing=0.3)
    assert found.places[0] < -4
    assert found.places[-1] > 4
    inside = found.places < -1
    assert (found.curves["left"]["slice2"].mean[inside] > 0.95).all()


def test_depth_is_zero_at_the_border_and_largest_in_the_middle(layered):
    xy = layered.obsm[K.SPATIAL_ALIGNED][:400]
    # A single missing spot is no border.
    kept = ~((xy[:, 0] == 100) & (xy[:, 1] == 100))
    (rim,) = rims(Axis("tissue"), [xy[kept]], [np.ones(kept.sum(), bool)], 10.0)
    far = distances(Axis("tissue"), rim, xy, 10.0)
    edge = (xy == 0).any(axis=1) | (xy == 190).any(axis=1)
    assert far[edge].max() < 1.0
    assert far.argmax() in np.flatnonzero((np.abs(xy - 95) <= 10).all(axis=1))
    assert far.max() == pytest.approx(10, abs=0.6)


@pytest.mark.parametrize(
    ("axis", "of", "said"),
    [
        (Axis("along"), "bump", "two different corners"),
        (Axis("rim", column="nowhere", region="x"), "bump", "obs\\['nowhere'\\]"),
        (Axis("rim", column="half", region="middle"), "bump", "No spot has"),
        (Axis("tissue", of="slice9"), "bump", "no slice 'slice9'"),
        (DOWN, "gene:nope", "no gene 'nope'"),
        (DOWN, "nothing", "no obs\\['nothing'\\]"),
        (DOWN, "attention:up", "choose attention:self"),
        (Axis("along", ((1e6, 1e6), (2e6, 1e6))), "bump", "No spot lies on this axis"),
    ],
)
def test_what_does_not_exist_is_named(layered, axis, of, said):
    with pytest.raises(InputError, match=said):
        profiles(layered, axis, of)


def test_slices_that_are_not_registered_are_refused(layered):
    del layered.obsm[K.SPATIAL_ALIGNED]
    with pytest.raises(InputError, match="register them first"):
        profiles(layered, DOWN, "bump")


def test_a_gene_that_a_slice_lacks_has_no_curve_there(layered):
    layered.varm[K.IN_SLICE] = np.ones((layered.n_vars, 2), bool)
    layered.varm[K.IN_SLICE][3, 1] = False
    curves = profiles(layered, DOWN, "gene:gene3").curves["gene3"]
    assert np.isfinite(curves["slice1"].peak)
    assert np.isnan(curves["slice2"].mean).all()


def test_kept_profiles_survive_a_file(layered, tmp_path):
    import anndata

    kept = ((DOWN, Quantity("gene", "gene3")), (Axis("tissue", of="slice1"), Quantity("obs", "x")))
    write_profiles(layered, kept)
    layered.write_h5ad(tmp_path / "r.h5ad")
    assert read_profiles(anndata.read_h5ad(tmp_path / "r.h5ad")) == kept
    write_profiles(layered, ())
    assert K.PROFILES not in layered.uns[K.STALIGNER]
