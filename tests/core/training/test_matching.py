from __future__ import annotations

from dataclasses import replace
from itertools import combinations

import numpy as np
import pytest
import torch
from plain import naive_mutual
from scipy import sparse
from scipy.sparse.csgraph import connected_components

from napari_staligner.core.progress import finish
from napari_staligner.core.settings import SETTINGS, Settings
from napari_staligner.core.training.matching import FEWEST_NEAREST, Matcher

CPU = torch.device("cpu")
SIZES = (90, 40, 25)


def points(n: int) -> torch.Tensor:
    return torch.randn(n, 5, generator=torch.Generator().manual_seed(0))


def matcher(sizes=SIZES, **changes) -> Matcher:
    names = [f"slice {i}" for i in range(len(sizes))]
    return Matcher(names, sizes, replace(Settings(mnn_k=20, seed=3), **changes), CPU)


def pairs_of_spots(match) -> set[tuple[int, int]]:
    return set(zip(match.first.tolist(), match.second.tolist(), strict=True))


@pytest.mark.parametrize("how", ["find", "find_all"])
def test_slices_that_are_small_enough_are_compared_whole(how):
    z, whole = points(sum(SIZES)), matcher(search_spots=90)
    assert not whole.thins
    found = finish(getattr(whole, how)(z, 0, 1))
    for match, (i, j) in zip(found, combinations(range(3), 2), strict=True):
        assert pairs_of_spots(match) == naive_mutual(z, whole.rows[i], whole.rows[j], 20)


def test_published_settings_compare_all():
    sizes = (7000,) + (10,) * 19
    published = Matcher([str(i) for i in range(20)], sizes, SETTINGS["published"], CPU)
    assert not published.thins
    assert len(published.pairs) == 190
    assert Matcher([str(i) for i in range(20)], sizes, Settings(), CPU).thins


def test_drawn_spots_match_as_near_as_the_same_share_of_the_slice():
    z, thin = points(sum(SIZES)), matcher(search_spots=30)
    drawn = [parts.tolist() for parts in thin._drawn]
    # 90 spots in three parts, 40 in two, 25 whole: k = 20 shrinks to 20 / 3, 20 / 2 and 20.
    assert [len(rows) for rows in drawn] == [30, 20, 25]
    k = [7, 10, 20]
    for match, (i, j) in zip(finish(thin.find(z, 0, 1)), thin.pairs, strict=True):
        a, b = torch.tensor(drawn[i]), torch.tensor(drawn[j])
        assert pairs_of_spots(match) == naive_mutual(z, a, b, k[j], k[i])


def test_few_nearest_neighbours_are_left_where_a_slice_is_thinned_a_lot():
    thin = matcher(sizes=(10_000, 10_000), search_spots=100)
    assert thin._k(100, 10_000) == FEWEST_NEAREST
    assert matcher(mnn_k=2)._k(1, 90) == 2


def test_each_search_draws_other_spots_and_in_time_all():
    thin = matcher(search_spots=30)
    seen, before = set(), None
    for _ in range(40):
        thin.thin()
        rows = thin._drawn[0].tolist()
        assert rows != before
        assert rows == sorted(rows)
        before = rows
        seen |= set(rows)
    assert seen == set(range(90))
    assert torch.equal(matcher(search_spots=30)._drawn[0], matcher(search_spots=30)._drawn[0])


def test_the_last_search_compares_every_spot():
    thin = matcher(sizes=(300, 100), search_spots=50)
    parts = thin._parts()
    for rows, of_slice in zip(thin.rows, parts, strict=True):
        assert torch.equal(torch.cat(of_slice).sort().values, rows)
    # All spots are alike, so that near ones are everywhere.
    (match,) = finish(thin.find_all(points(400) * 1e-3, 0, 1))
    assert len(match.first) == len(match.second) == len(match.distance)
    assert len(pairs_of_spots(match)) == len(match.first)
    assert len(match.first.unique()) > 250
    assert len(match.second.unique()) > 95


def test_many_slices_stay_connected_through_the_drawn_pairs():
    thin = matcher(sizes=(5,) * 40)
    seen = set()
    for _ in range(30):
        thin.thin()
        assert len(thin.pairs) == len(set(thin.pairs)) == 240
        i, j = np.array(thin.pairs).T
        assert (i < j).all()
        graph = sparse.coo_matrix((np.ones(240), (i, j)), shape=(40, 40))
        assert connected_components(graph, directed=False)[0] == 1
        seen |= set(thin.pairs)
    assert len(seen) > 770
    assert len(matcher(sizes=(5,) * 13).pairs) == 78


def test_named_pairs_are_all_compared():
    named = tuple((f"slice {i}", f"slice {i + 1}") for i in range(39))
    assert len(matcher(sizes=(5,) * 40, pairs=named).pairs) == 39
