"""Figures of slice pairs: the pair that is worse is told, and where it is."""

from __future__ import annotations

import numpy as np
import pytest
from fakes import fake_result, fake_session
from scipy import sparse

from napari_staligner import _keys as K
from napari_staligner._errors import InputError
from napari_staligner.core.result.pairs import pair_figures, pairs_frame


@pytest.fixture
def three():
    """Return three slices of 100 spots in one place; the third has no match for 12 spots."""
    _, result = fake_result((100, 100, 100))
    grid = result.obsm[K.SPATIAL]
    result.obsm[K.SPATIAL_ALIGNED] = grid.copy()
    rows = np.arange(100)
    lost = np.isin(rows % 10, (4, 5, 6, 7)) & np.isin(rows // 10, (2, 3, 4))
    links = sparse.lil_matrix((300, 300), dtype=np.float32)
    for a, b in ((0, 1), (0, 2), (1, 2)):
        for row in rows:
            if b < 2 or not lost[row]:
                links[a * 100 + row, b * 100 + row] = links[b * 100 + row, a * 100 + row] = 0.5
    result.obsp[K.MUTUAL] = links.tocsr()
    return result, np.flatnonzero(lost)


def test_the_worst_patch_is_the_connected_one_without_matches(three):
    result, lost = three
    found = {each.pair: each for each in pair_figures(result)}
    assert list(found) == [("slice1", "slice2"), ("slice1", "slice3"), ("slice2", "slice3")]
    good, bad = found["slice1", "slice2"], found["slice1", "slice3"]
    assert good.matched == 1
    assert bad.matched == pytest.approx(0.88)
    assert good.residual == 0
    assert len(good.patch) == 0
    assert set(bad.patch) in ({*lost}, {*(lost + 200)})
    assert bad.badness("matched") > good.badness("matched")
    frame = pairs_frame(found.values())
    assert frame["patch"].tolist() == [0, 12, 12]


def test_matches_in_another_domain_and_far_ones_count_as_bad(three):
    result, _ = three
    moved = result.obsm[K.SPATIAL_ALIGNED][100:200]
    moved[:30] += (50.0, 0.0)
    figures = pair_figures(result)[0]
    assert figures.residual == 0
    assert 0 < len(figures.patch) <= 30
    assert figures.parted == 0


def test_one_slice_has_no_pairs(three):
    result, _ = three
    alone = result[:100].copy()
    alone.obs[K.SLICE] = alone.obs[K.SLICE].cat.remove_unused_categories()
    with pytest.raises(InputError, match="only one slice"):
        pair_figures(alone)


def test_what_was_seen_is_kept_in_the_result_and_a_verdict_counts():
    session = fake_session((60, 50, 40))
    session.pairs.found = pair_figures(session.result.adata)
    first = session.pairs.next("matched")
    assert session.saved
    session.pairs.see(first.pair)
    assert not session.saved
    assert session.pairs.next("matched", first.pair).pair != first.pair
    session.verdicts.give("not", ("slice2", "slice3"))
    assert {first.pair, ("slice2", "slice3")} <= session.pairs.seen
    again = fake_session((60, 50, 40))
    again.set_result(session.result.adata)
    assert again.pairs.seen == session.pairs.seen


def test_paging_shows_one_slice_after_the_other_beside_the_pinned_one():
    session = fake_session((60, 50, 40))
    paging, view = session.paging, session.view
    assert paging.shown == ("slice1", "slice2", "slice3")
    assert [paging.page(1) for _ in range(4)] == ["slice1", "slice2", "slice3", "slice1"]
    view.pinned = "slice1"
    assert paging.page(-1) == "slice3"
    assert paging.shown == ("slice1", "slice3")
    paging.zoom("slice3")
    assert view.only == frozenset(), "a second zoom shows all again"
    paging.show_only(["slice1", "slice2", "slice3"])
    assert view.only == frozenset()
    paging.show_only(["slice2"])
    session.slices.remove("slice2")
    assert view.only == frozenset()
