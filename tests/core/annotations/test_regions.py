"""Outlines, areas, connected pieces; a region carried to another slice."""

from __future__ import annotations

import numpy as np
import pytest
from anndata import read_h5ad
from fakes import fake_result

from napari_staligner import _keys as K
from napari_staligner._errors import InputError
from napari_staligner.core.annotations.card import card_job, card_steps
from napari_staligner.core.annotations.regions import (
    cells,
    extents,
    inside,
    largest_piece,
    microns_per_unit,
    outlines,
    piece_of,
)
from napari_staligner.core.annotations.transfer import Carried, transfer_job, transfer_steps
from napari_staligner.core.progress import finish
from napari_staligner.core.result import markers


@pytest.fixture
def result():
    return fake_result((64, 49))[1]


def scattered(n, seed=0):
    return np.random.default_rng(seed).uniform(0, 100, (n, 2))


@pytest.mark.parametrize(
    "xy", [scattered(500), np.floor(scattered(300)), scattered(3), scattered(1)]
)
def test_outlines_hold_their_own_spots_and_no_others(xy):
    places, inverse = np.unique(xy, axis=0, return_inverse=True)
    codes = np.random.default_rng(1).integers(-1, 3, len(places))[inverse.ravel()]
    for code, polygon in outlines(xy, codes).items():
        assert inside(polygon, xy).tolist() == np.flatnonzero(codes == code).tolist()


@pytest.mark.parametrize("seed", range(12))
def test_outlines_of_grids_with_gaps_have_the_area_of_their_cells(seed):
    rng = np.random.default_rng(seed)
    x, y = np.meshgrid(np.arange(40.0), np.arange(40.0))
    grid = np.column_stack([(x + (y % 2) / 2 * (seed % 3 == 1)).ravel(), y.ravel()])
    grid *= rng.uniform(0.1, 300)
    if seed % 3 == 2:
        cosine, sine = np.cos(seed), np.sin(seed)
        grid = grid @ np.array([[cosine, -sine], [sine, cosine]])
    xy = grid[rng.random(len(grid)) < rng.uniform(0.1, 1)]
    codes = rng.integers(0, 3, len(xy))
    area = np.array([cell.area for cell in cells(xy)])
    for code, polygon in outlines(xy, codes).items():
        assert polygon.is_valid
        assert polygon.area == pytest.approx(area[codes == code].sum(), rel=1e-5)
        assert inside(polygon, xy).tolist() == np.flatnonzero(codes == code).tolist()


def test_cells_of_a_square_grid_are_its_squares():
    x, y = np.meshgrid(np.arange(9.0), np.arange(9.0))
    xy = np.column_stack([x.ravel(), y.ravel()]) * 10
    middle = cells(xy)[(xy > 5).all(axis=1) & (xy < 75).all(axis=1)]
    assert [cell.area for cell in middle] == pytest.approx([100.0] * len(middle), rel=0.01)


def test_a_spot_far_off_takes_nothing_from_the_cells_of_the_others():
    xy = scattered(400)
    alone = [cell.area for cell in cells(xy)]
    among = [cell.area for cell in cells(np.vstack([xy, [[1e9, -1e9]]]))]
    assert among[:-1] == pytest.approx(alone, rel=0.01)
    assert among[-1] == pytest.approx(max(alone), rel=0.01)


def test_a_lasso_that_crosses_itself_is_used():
    bow = np.array([[0.0, 0.0], [10, 10], [10, 0], [0, 10]])
    assert inside(bow, np.array([[2.0, 5.0], [5.0, 2.0], [8.0, 5.0]])).tolist() == [0, 2]


def test_a_piece_is_what_hangs_together_on_one_slice(result):
    codes = result.obs[K.DOMAIN].cat.codes.to_numpy().copy()
    # a second island of the first domain on the first slice, far from the band at its top
    codes[62:64] = 0
    result.obs[K.DOMAIN] = result.obs[K.DOMAIN].cat.codes.__class__(
        result.obs[K.DOMAIN].cat.categories[codes], index=result.obs_names, dtype="category"
    )
    assert piece_of(result, 63).tolist() == [62, 63]
    band = piece_of(result, 0)
    assert (result.obs[K.SLICE].to_numpy()[band] == "slice1").all()
    assert 62 not in band
    assert set(band) == set(np.flatnonzero((codes == 0) & (np.arange(113) < 62)))


def test_the_size_of_a_region_is_known_where_the_unit_is(result):
    region = np.zeros(113, dtype=bool)
    region[9:14] = True
    here = extents(result, region)
    assert here["slice1"].n_spots == 5
    assert here["slice1"].area == pytest.approx(500, rel=0.05)
    assert here["slice1"].unit == "square units of the coordinates"
    assert here["slice1"].confidence == pytest.approx(
        result.obs[K.CONFIDENCE].to_numpy()[9:14].mean()
    )
    assert (here["slice2"].n_spots, here["slice2"].area, here["slice2"].n_pieces) == (0, 0, 0)
    result.uns[K.SPATIAL]["slice1"]["scalefactors"]["microns_per_pixel"] = 2.0
    assert extents(result, region)["slice1"].unit == "µm²"
    assert extents(result, region)["slice1"].area == pytest.approx(2000, rel=0.05)


def test_visium_knows_its_microns(shared_data):
    adata = read_h5ad(shared_data / "DLPFC_151673.h5ad")
    scale, _ = microns_per_unit(adata, adata.uns[K.SPATIAL])
    # 6.5 mm of capture area: 127 steps of half a pitch across
    across = np.ptp(adata.obsm[K.SPATIAL][:, 0]) * scale / np.ptp(adata.obs["array_col"])
    assert across == pytest.approx(50, rel=0.05)
    st = read_h5ad(shared_data / "ST2k_MOB1.h5ad")
    assert microns_per_unit(st, st.uns[K.SPATIAL]) is None


def test_a_card_names_markers_and_the_slice_that_alone_has_the_region():
    adata = fake_result((900, 900))[1]
    slices = adata.obs[K.SLICE].to_numpy()
    region = (slices == "slice1") & (adata.obs[K.DOMAIN] == "2").to_numpy()
    x = adata.X.tolil()
    x[np.flatnonzero(region), 7] = 50
    adata.X = x.tocsr()
    card = finish(card_steps(card_job(adata, region, "AOBgr", np.ones(1800, dtype=bool))))
    assert card.markers[0] == "gene7"
    assert card.elsewhere == {}, "there is no such region elsewhere"
    assert {name: row.verdict for name, row in card.presence.items()} == {
        "slice1": "slice-specific",
        "slice2": "depleted",
    }
    # Of a slice where nothing is annotated nobody knows whether it has the region.
    card = finish(card_steps(card_job(adata, region, "AOBgr", region)))
    assert (card.presence, card.annotated) == ({}, {"slice1"})


def test_markers_that_fail_leave_the_rest_of_the_card(monkeypatch):
    def fails(*_):
        raise np.linalg.LinAlgError("Singular matrix")

    monkeypatch.setattr(markers, "_rank", fails)
    adata = fake_result((60, 60))[1]
    region = (adata.obs[K.DOMAIN] == "2").to_numpy()
    card = finish(card_steps(card_job(adata, region, "AOB", np.ones(120, dtype=bool))))
    assert card.markers == (
        "The markers of this region are missing "
        "(an unexpected LinAlgError: Singular matrix; please report it)."
    )
    assert set(card.elsewhere.values()) == {card.markers}
    assert sum(extent.n_spots for extent in card.extents.values()) == region.sum()
    assert card.presence


# --- transfer


def job(result, domain="1", source="slice1"):
    codes = np.where((result.obs[K.SLICE] == source) & (result.obs[K.DOMAIN] == domain), 0, -1)
    return transfer_job(result, codes, "GL", code=0, source=source)


def test_a_region_is_carried_to_its_like_elsewhere(result):
    proposal = finish(transfer_steps(job(result, "2")))
    expected = np.flatnonzero(
        (result.obs[K.SLICE] == "slice2").to_numpy() & (result.obs[K.DOMAIN] == "2").to_numpy()
    )
    # z of the fake keeps domains 5 standard deviations apart, its matches go across them.
    hit = len(np.intersect1d(proposal.kept, expected))
    assert hit >= 0.8 * len(expected)
    assert hit >= 0.8 * len(proposal.kept)
    assert ((proposal.confidence > 0) & (proposal.confidence <= 1)).all()
    # By place it goes nowhere: the second slice lies beside the first.
    assert not proposal.other.any()


def test_a_region_is_carried_by_place_too_and_where_the_ways_differ_is_told(result):
    """The second slice lies on the first, but what its left half is made of lies elsewhere."""
    second = (result.obs[K.SLICE] == "slice2").to_numpy()
    result.obsm[K.SPATIAL_ALIGNED] = result.obsm[K.SPATIAL] + np.where(second, 2.0, 0.0)[:, None]
    left = second & (result.obsm[K.SPATIAL][:, 0] < 50)
    like = (result.obs[K.DOMAIN] == "2").to_numpy()
    result.obsm[K.EMBEDDING][left & like] += 9
    result.obsp[K.MUTUAL] = result.obsp[K.MUTUAL] * 0
    codes = np.where((result.obs[K.SLICE] == "slice1") & like, 0, -1)
    proposal = finish(transfer_steps(transfer_job(result, codes, "GL", code=0, source="slice1")))
    xy = result.obsm[K.SPATIAL]
    place = proposal.by(Carried.PLACE)
    assert place.by(Carried.Z) == proposal or place.by(Carried.Z).way is Carried.Z
    rows_of_source = {tuple(each) for each in xy[codes == 0]}
    above = [row for row in np.flatnonzero(second) if tuple(xy[row]) in rows_of_source]
    assert len(np.setdiff1d(above, place.kept)) <= 0.2 * len(above)
    # By the embedding, none of the left half; by place, all of it.
    assert not np.isin(np.flatnonzero(left), proposal.kept).any()
    contested = np.intersect1d(above, np.flatnonzero(left))
    assert len(contested) > 3
    assert np.isin(contested, proposal.contested).mean() > 0.8
    assert set(proposal.contested) == set(place.contested)


def test_without_a_frame_a_region_goes_by_the_embedding_alone(result):
    del result.obsm[K.SPATIAL_ALIGNED]
    proposal = finish(transfer_steps(job(result, "2")))
    assert proposal.other is None
    assert proposal.by(Carried.PLACE) is proposal
    assert not len(proposal.contested)


def test_trimming_keeps_the_surer_spots(result):
    proposal = finish(transfer_steps(job(result, "2")))
    few = proposal.trimmed(0.9)
    assert set(few.kept) < set(proposal.kept)
    assert (few.confidence[np.isin(few.rows, few.kept)] >= 0.9).all()


def test_spots_that_have_a_class_are_not_proposed(result):
    asked = job(result, "2")
    first = finish(transfer_steps(asked)).kept[0]
    codes = np.where(asked.region, 0, -1)
    codes[first] = 1
    again = finish(transfer_steps(transfer_job(result, codes, "GL", code=0, source="slice1")))
    assert first not in again.rows


def test_a_region_of_one_slice_only_is_hardly_proposed(result):
    # The last domain of the second slice looks like nothing on the first.
    z = result.obsm[K.EMBEDDING]
    lone = (result.obs[K.SLICE] == "slice2").to_numpy() & (result.obs[K.DOMAIN] == "4").to_numpy()
    z[lone] += 30
    result.obsp[K.MUTUAL] = result.obsp[K.MUTUAL] * 0
    codes = np.where(lone, 0, -1)
    proposal = finish(transfer_steps(transfer_job(result, codes, "AOBgr", code=0, source="slice2")))
    # Nearest are never far from something: the other domains of the slice are nearer.
    assert len(proposal.kept) == 0


@pytest.mark.parametrize("source", ["slice2", "slice1"])
def test_what_cannot_be_carried_is_said(result, source):
    codes = np.full(113, -1)
    with pytest.raises(InputError, match="annotate it there first"):
        transfer_job(result, codes, "GL", code=0, source=source)
    with pytest.raises(InputError, match="no slice other than"):
        transfer_job(result, codes, "GL", code=0, source=source, targets=[source])


def test_the_largest_piece_of_a_domain(result):
    piece = largest_piece(result, "1")
    sizes = {tuple(piece_of(result, row)) for row in np.flatnonzero(result.obs[K.DOMAIN] == "1")}
    assert len(sizes) > 1, "one piece in each slice at least"
    assert tuple(piece) == max(sizes, key=len)
