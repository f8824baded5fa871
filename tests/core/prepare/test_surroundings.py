from __future__ import annotations

import numpy as np
import pytest
from scipy import sparse

from napari_staligner.core.prepare.surroundings import averaged, surroundings


def chain(n: int) -> sparse.csr_matrix:
    return sparse.diags([np.ones(n - 1), np.ones(n - 1)], [-1, 1], format="csr")


def test_surroundings_are_the_mean_of_two_steps_within_each_slice():
    sizes = [400, 300]
    graph = sparse.block_diag([chain(n) for n in sizes], format="csr")
    x = np.random.default_rng(0).normal(size=(700, 3)).astype(np.float32)
    near = graph.toarray() + np.eye(700)
    twice = np.linalg.matrix_power(near / near.sum(axis=1, keepdims=True), 2) @ x
    found = surroundings(x, graph, sizes)
    np.testing.assert_allclose(found, twice * found[0, 0] / twice[0, 0], rtol=1e-4, atol=1e-6)
    assert np.square(found).mean() == pytest.approx(np.square(x).mean(), rel=1e-5)


@pytest.mark.parametrize(("n", "steps"), [(100, 0), (200, 1), (300, 2)])
def test_surroundings_are_a_small_part_of_the_slice(n, steps):
    # On a chain, 3 spots are within one step and 5 within two.
    x = np.zeros((n, 1), dtype=np.float32)
    x[n // 2] = 1
    assert np.count_nonzero(surroundings(x, chain(n), [n])) == 1 + 2 * steps


def test_surroundings_without_variance_or_neighbours():
    nobody = sparse.csr_matrix((500, 500), dtype=np.float32)
    x = np.random.default_rng(0).normal(size=(500, 3)).astype(np.float32)
    np.testing.assert_allclose(surroundings(x, nobody, [500]), x, rtol=1e-6)
    assert not surroundings(np.zeros_like(x), nobody, [500]).any()


def test_the_mean_is_of_a_spot_and_its_neighbours_where_they_are_a_small_part_of_the_slice():
    # On a chain, 3 spots are 2 % of 150: the second slice does not bear a mean.
    sizes = [160, 140]
    graph = sparse.block_diag([chain(n) for n in sizes], format="csr")
    z = np.random.default_rng(0).normal(size=(300, 2)).astype(np.float32)
    found = averaged(z, graph, np.repeat([0, 1], sizes))
    np.testing.assert_allclose(found[5], z[4:7].mean(axis=0), rtol=1e-6)
    np.testing.assert_allclose(found[0], z[:2].mean(axis=0), rtol=1e-6)
    np.testing.assert_array_equal(found[160:], z[160:])


def test_weights_of_the_graph_do_not_count_and_slices_may_lie_in_any_order():
    graph = sparse.block_diag([3 * chain(200), chain(200)], format="csr")
    z = np.random.default_rng(1).normal(size=(400, 2))
    slice_of = np.repeat([0, 1], 200)
    order = np.random.default_rng(2).permutation(400)
    mixed = averaged(z[order], graph[order][:, order], slice_of[order])
    np.testing.assert_allclose(mixed, averaged(z, graph, slice_of)[order], rtol=1e-12)
    np.testing.assert_allclose(mixed[order == 7], z[6:9].mean(axis=0, keepdims=True), rtol=1e-6)
