from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy import sparse
from sklearn.decomposition import PCA

from napari_staligner.core.training.components import (
    depth_slope,
    principal_components,
    scores,
    slice_offsets,
)
from napari_staligner.core.training.ranks import Ranks
from napari_staligner.core.training.triplets import Matches


def some_expression(n: int = 300, g: int = 60) -> sparse.csr_matrix:
    rng = np.random.default_rng(0)
    programmes = rng.gamma(2.0, 1.0, (6, g))
    counts = rng.poisson(rng.dirichlet(np.ones(6), n) @ programmes)
    return sparse.csr_matrix(np.log1p(counts), dtype=np.float32)


# 8 of 60 axes take the iterative path, 40 of 60 the direct one.
@pytest.mark.parametrize("n_components", [8, 40])
def test_components_are_those_of_pca(n_components):
    expression = some_expression()
    blocks = (expression[:100], expression[100:])
    found = scores(blocks, 300, *principal_components(blocks, n_components))
    theirs = PCA(n_components, svd_solver="full").fit_transform(expression.toarray())
    signs = np.sign((found * theirs).sum(axis=0))
    np.testing.assert_allclose(found * signs, theirs, atol=2e-3)


def test_components_are_cut_to_what_there_is():
    _, axes = principal_components([some_expression(n=10)], 100)
    assert axes.shape == (60, 9)


def matches_of(pairs: list[tuple[int, int]]) -> Matches:
    first, second = torch.tensor(pairs).T
    return Matches(first, second, torch.zeros(len(first)))


def offsets_of(x: torch.Tensor, matches: list[Matches], sizes: list[int]) -> torch.Tensor:
    ends = np.cumsum([0, *sizes])
    at = {k: slice(*ends[k : k + 2]) for k in range(len(sizes))}
    return slice_offsets(x, at, matches, sizes, Ranks(), [0] * len(sizes))


def test_offsets_bring_matched_spots_together_and_leave_the_rest_no_say():
    generator = torch.Generator().manual_seed(0)
    tissue = torch.randn(20, 5, generator=generator)
    shift = torch.tensor([3.0, -1.0, 0.0, 2.0, 0.5])
    only_here = torch.full((10, 5), 9.0)  # a structure that the second slice lacks
    x = torch.cat([tissue, only_here, tissue + shift])
    matches = [matches_of([(i, 30 + i) for i in range(20)])]
    offsets = offsets_of(x, matches, [30, 20])
    torch.testing.assert_close(offsets[1] - offsets[0], shift)
    torch.testing.assert_close(30 * offsets[0] + 20 * offsets[1], torch.zeros(5), atol=1e-5, rtol=0)


def test_a_spot_counts_once_however_many_matches_it_has():
    x = torch.tensor([[0.0], [0.0], [1.0], [5.0], [5.0], [5.0]])
    # Spot 0 goes with 2; spot 1 with all of 3, 4, 5, which by number would outweigh it.
    matches = [matches_of([(0, 2), (1, 3), (1, 4), (1, 5)])]
    offsets = offsets_of(x, matches, [2, 4])
    apart = float(offsets[1] - offsets[0])
    # Weights: 1 for the first match, (1/3 + 1) / 2 for each of the other three.
    assert apart == pytest.approx((1.0 * 1 + 2.0 * 5) / 3.0)


def test_a_slice_without_matches_stays():
    x = torch.tensor([[0.0], [0.0], [2.0], [2.0], [7.0]])
    offsets = offsets_of(x, [matches_of([(0, 2), (1, 3)])], [2, 2, 1])
    torch.testing.assert_close(offsets, torch.tensor([[-1.0], [1.0], [0.0]]))


def test_depth_slope_is_judged_by_neighbours_and_not_by_layers():
    rng = np.random.default_rng(0)
    n, slope = 200, np.array([1.5, -0.5, 0.0])
    layer = np.repeat([0.0, 1.0], n // 2)
    log_depth = rng.normal(0, 0.5, n) + 3 * layer  # one layer holds far more RNA
    tissue = np.stack([layer * 4, -layer * 7, layer * 2], axis=1)
    x = (tissue + np.outer(log_depth, slope)).astype(np.float32)
    chain = sparse.diags([np.ones(n - 1), np.ones(n - 1)], [-1, 1], format="csr")
    # The one edge across the border is the layers' own difference; within layers all is depth.
    chain[n // 2 - 1, n // 2] = chain[n // 2, n // 2 - 1] = 0
    np.testing.assert_allclose(depth_slope(x, log_depth, chain), slope, atol=1e-4)
    assert not depth_slope(x, np.ones(n), chain).any()
