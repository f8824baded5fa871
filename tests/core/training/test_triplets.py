from __future__ import annotations

import pytest
import torch
from plain import naive_mutual

from napari_staligner.core.training.triplets import Matches, draw_triplets, mutual_nearest, nearest


def points(n: int, seed: int, d: int = 5) -> torch.Tensor:
    return torch.randn(n, d, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize(("n", "m", "k"), [(40, 60, 5), (30, 10, 1), (8, 9, 50)])
def test_mutual_nearest_equals_a_naive_search(n, m, k):
    z = points(n + m, seed=n)
    first, second = torch.arange(n), torch.arange(n, n + m)
    found = mutual_nearest(z, first, second, k)
    pairs = list(zip(found.first.tolist(), found.second.tolist(), strict=True))
    assert len(pairs) == len(set(pairs))
    assert set(pairs) == naive_mutual(z, first, second, k)
    torch.testing.assert_close(found.distance, (z[found.first] - z[found.second]).norm(dim=1))


def test_nearest_does_not_depend_on_the_blocks(monkeypatch):
    query, reference = points(50, 0), points(33, 1)
    whole = nearest(query, reference, 7)
    monkeypatch.setattr("napari_staligner.core.training.triplets.BLOCK_ELEMENTS", 100)
    assert torch.equal(whole.sort().values, nearest(query, reference, 7).sort().values)


@pytest.mark.parametrize("every", [1, 8, 7])
def test_nearest_among_many_is_exact_however_they_are_ordered(every):
    """Also where the columns that bound the search are nearer, or farther, than all others."""
    query, reference = points(40, 0), points(3000, 1)
    reference[::every] *= 0.1
    exact = torch.cdist(query.double(), reference.double()).argsort(dim=1)[:, :20]
    assert torch.equal(nearest(query, reference, 20).sort().values, exact.sort().values)
    reference[::every] *= 1000
    exact = torch.cdist(query.double(), reference.double()).argsort(dim=1)[:, :20]
    assert torch.equal(nearest(query, reference, 20).sort().values, exact.sort().values)


def test_nearest_is_exact_far_from_the_origin():
    query, reference = points(30, 0) * 0.01 + 100, points(40, 1) * 0.01 + 100
    exact = torch.cdist(query.double(), reference.double()).argsort(dim=1)[:, :3]
    assert torch.equal(nearest(query, reference, 3).sort().values, exact.sort().values)


def test_nearest_are_as_many_where_distances_are_tied():
    query, reference = points(40, 0), points(3000, 1).round()
    distance = torch.cdist(query.double(), reference.double())
    found = nearest(query, reference, 20)
    assert all(len(row.unique()) == 20 for row in found)
    torch.testing.assert_close(
        distance.gather(1, found).sort().values, distance.sort().values[:, :20]
    )


MATCHES = [
    Matches(
        torch.tensor([0, 0, 1, 3]), torch.tensor([5, 6, 6, 9]), torch.tensor([2.0, 1.0, 3.0, 0.5])
    )
]
ROWS = [torch.arange(5), torch.arange(5, 10)]
SLICE_OF = torch.repeat_interleave(torch.arange(2), 5)


def draw(positives: str, seed: int, matches=MATCHES):
    generator = torch.Generator().manual_seed(seed)
    return draw_triplets(matches, ROWS, SLICE_OF, positives, generator)


def test_anchors_come_from_both_slices_and_once_per_pair_of_slices():
    assert sorted(draw("random", 0).anchor.tolist()) == [0, 1, 3, 5, 6, 9]


def test_positives_are_matches_and_negatives_of_the_own_slice():
    allowed = {(0, 5), (0, 6), (1, 6), (3, 9)}
    allowed |= {(b, a) for a, b in allowed}
    seen = set()
    for seed in range(30):
        drawn = draw("random", seed)
        seen |= set(zip(drawn.anchor.tolist(), drawn.positive.tolist(), strict=True))
        assert torch.equal(SLICE_OF[drawn.anchor], SLICE_OF[drawn.negative])
    assert seen == allowed


def test_nearest_positives():
    drawn = draw("nearest", 0)
    pairs = dict(zip(drawn.anchor.tolist(), drawn.positive.tolist(), strict=True))
    assert pairs == {0: 6, 1: 6, 3: 9, 5: 0, 6: 0, 9: 3}


def test_drawing_follows_the_seed():
    one, same = draw("random", 4), draw("random", 4)
    assert torch.equal(one.positive, same.positive)
    assert torch.equal(one.negative, same.negative)
    assert any(not torch.equal(one.negative, draw("random", s).negative) for s in range(5, 9))


def test_no_match_gives_no_triplets():
    none = torch.empty(0, dtype=torch.long)
    assert draw("random", 0, [Matches(none, none, torch.empty(0))]) is None
