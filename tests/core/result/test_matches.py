"""Links between slices, against matrices read element by element."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from anndata import AnnData
from fakes import fake_result
from scipy.sparse import csr_matrix

from napari_staligner import _keys as K
from napari_staligner._errors import InputError
from napari_staligner.core.result.matches import all_links, links_in, matches, thin


def linked(sizes=(400, 300, 200), share=0.03, seed=0):
    """A result with random symmetric links between slices on squares of side 1."""
    rng = np.random.default_rng(seed)
    n = sum(sizes)
    codes = np.repeat(np.arange(len(sizes)), sizes)
    upper = (rng.random((n, n)) < share) & (codes[:, None] < codes[None])
    distance = np.where(upper, rng.uniform(0.1, 2.0, (n, n)), 0)
    return AnnData(
        obs=pd.DataFrame(
            {K.SLICE: pd.Categorical.from_codes(codes, [f"s{i}" for i in range(len(sizes))])},
            index=[f"spot{i}" for i in range(n)],
        ),
        obsm={K.SPATIAL: rng.random((n, 2))},
        obsp={K.MUTUAL: csr_matrix(distance + distance.T).astype(np.float32)},
    )


def test_every_pair_is_listed_once_with_its_distance():
    adata = linked(sizes=(30, 20, 10), share=0.2)
    dense = adata.obsp[K.MUTUAL].toarray()
    links = all_links(adata)
    expected = np.argwhere(np.triu(dense))
    np.testing.assert_array_equal(np.column_stack([links.first, links.second]), expected)
    np.testing.assert_array_equal(links.distance, dense[tuple(expected.T)])


@pytest.mark.parametrize("among", [(0, 1), (1, 2), (0, 5), (5,), ()])
def test_links_among_slices_also_where_one_has_no_spots_and_some_have_no_slice(among):
    adata = linked(sizes=(30, 20, 10), share=0.2)
    codes = adata.obs[K.SLICE].cat.codes.to_numpy().copy()
    codes[[2, 35, 59]] = -1
    links = links_in(adata.obsp[K.MUTUAL], codes, among)
    first, second = np.nonzero(adata.obsp[K.MUTUAL].toarray())
    wanted = np.isin(codes[first], among) & np.isin(codes[second], among)
    wanted &= codes[first] < codes[second]
    np.testing.assert_array_equal(links.first, first[wanted])
    np.testing.assert_array_equal(links.second, second[wanted])


def test_first_is_the_slice_that_stands_first_even_if_its_rows_come_later():
    adata = linked(sizes=(30, 20), share=0.2)[::-1].copy()
    links = all_links(adata)
    codes = adata.obs[K.SLICE].cat.codes.to_numpy()
    assert (codes[links.first] == 0).all()
    assert (codes[links.second] == 1).all()
    assert len(links) == adata.obsp[K.MUTUAL].nnz / 2


def test_links_of_some_spots_have_an_end_among_them():
    adata = linked(sizes=(30, 20), share=0.2)
    links, some = all_links(adata), np.zeros(50, dtype=bool)
    some[[3, 35]] = True
    found = links.touching(some)
    dense = adata.obsp[K.MUTUAL].toarray() > 0
    assert len(found) == dense[3].sum() + dense[35].sum() - dense[3, 35]
    assert set(found.first[found.second != 35]) == {3}


@pytest.mark.parametrize("most", [0, 1, 7, 60, 300])
def test_thinned_links_are_few_and_real(most):
    adata = linked()
    links = all_links(adata)
    few = thin(links, adata, most)
    assert len(few) <= most
    assert len(few) > 0.6 * most or most < 10
    existing = set(zip(links.first, links.second, links.distance, strict=True))
    assert set(zip(few.first, few.second, few.distance, strict=True)) <= existing


def test_few_links_stay_all():
    adata = linked(sizes=(30, 20), share=0.1)
    links = all_links(adata)
    assert thin(links, adata, len(links)) is links


def test_pairs_of_slices_share_alike_and_none_is_wasted():
    adata = linked()
    # Between the second and third slice only five links remain.
    matrix = adata.obsp[K.MUTUAL].tolil()
    links = all_links(adata)
    between = np.flatnonzero((links.first >= 400) & (links.second >= 700))
    between = np.delete(between, np.linspace(0, len(between) - 1, 5).astype(int))
    matrix[links.first[between], links.second[between]] = 0
    matrix[links.second[between], links.first[between]] = 0
    adata.obsp[K.MUTUAL] = csr_matrix(matrix)
    few = thin(all_links(adata), adata, 100)
    codes = adata.obs[K.SLICE].cat.codes.to_numpy()
    counts = pd.Series(list(zip(codes[few.first], codes[few.second], strict=True))).value_counts()
    assert counts[(1, 2)] == 5
    assert 40 <= counts[(0, 1)] <= 47
    assert 40 <= counts[(0, 2)] <= 48


def test_thinned_links_cover_the_tissue_evenly():
    adata = linked(sizes=(2000, 1000), share=0.01)
    # Nine tenths of the spots of the first slice crowd in a corner.
    xy = adata.obsm[K.SPATIAL]
    xy[:1800] *= 0.2
    few = thin(all_links(adata), adata, 150)
    corner = (xy[few.first] < 0.2).all(axis=1).mean()
    assert corner < 0.35
    rows, columns = np.floor(xy[few.first] * 5).astype(int).T
    assert len(set(zip(rows, columns, strict=True))) >= 24


def test_the_shortest_link_of_a_place_is_kept():
    adata = linked(sizes=(100, 100), share=0.5)
    links = all_links(adata)
    (one,) = thin(links, adata, 1).distance
    assert one == links.distance.min()


def test_thinning_repeats_itself_whatever_the_order():
    adata = linked()
    links = all_links(adata)
    few = thin(links, adata, 80)
    shuffled = thin(links.take(np.random.default_rng(1).permutation(len(links))), adata, 80)
    assert set(zip(few.first, few.second, strict=True)) == set(
        zip(shuffled.first, shuffled.second, strict=True)
    )


def test_matches_of_a_spot_are_listed_by_distance():
    _, result = fake_result((20, 20))
    matrix = result.obsp[K.MUTUAL].tolil()
    matrix[4, 30], matrix[4, 25] = 0.25, 1.5
    result.obsp[K.MUTUAL] = csr_matrix(matrix)
    table = matches(result, 4)
    assert table.index.tolist() == [30, 24, 25]
    assert table["distance"].tolist() == [0.25, 1.0, 1.5]
    assert table["name"].tolist() == list(result.obs_names[[30, 24, 25]])
    assert table["slice"].tolist() == ["slice2"] * 3
    assert table["domain"].tolist() == result.obs[K.DOMAIN].iloc[[30, 24, 25]].tolist()


def test_a_spot_without_matches():
    _, result = fake_result((20, 10))
    assert len(matches(result, 15)) == 0


def test_without_mutual_neighbours():
    _, result = fake_result((20, 20))
    del result.obsp[K.MUTUAL]
    for find in (all_links, lambda adata: matches(adata, 0)):
        with pytest.raises(InputError, match="obsp\\['mutual_neighbors'\\]"):
            find(result)
