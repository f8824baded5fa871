"""SEDR against its equations, written plainly with dense arrays."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy import sparse

from napari_staligner._errors import InputError
from napari_staligner.core.evaluation.yardsticks.sedr import SedrJob
from napari_staligner.core.evaluation.yardsticks.sedr_input import neighbors, sedr_components
from napari_staligner.core.evaluation.yardsticks.sedr_model import Draws, SedrGraph, SedrModel
from napari_staligner.core.progress import finish

SLICE_OF = np.repeat([0, 1], [50, 40])


class Kept(Draws):
    """Draws that are remembered, so that the equations can use them again."""

    def __init__(self, seed):
        super().__init__(seed)
        self.kept = []

    def masked(self, n):
        self.kept.append(super().masked(n))
        return self.kept[-1]

    def noise(self, like):
        self.kept.append(super().noise(like))
        return self.kept[-1]

    def drop(self, values):
        self.kept.append(super().drop(torch.ones_like(values)))
        return values * self.kept[-1]


@pytest.fixture(scope="module")
def places():
    return np.random.default_rng(0).random((90, 2)) * 100


@pytest.fixture(scope="module")
def near(places):
    return neighbors(places, [np.arange(50), np.arange(50, 90)])[0]


def plain_loss(model, x, near, graph, draws):
    """The loss from the equations of the paper, dense."""
    masked, drop1, drop2, drop3, drop4, drop5, noise, drop6 = draws
    loops = torch.from_numpy(near.toarray()).float() + torch.eye(len(x))
    degree = loops.sum(dim=1)
    s = loops / torch.sqrt(degree[:, None] * degree)
    seen = x + masked * model.token

    def block(values, layer):
        y = values @ model.dense[layer].weight.T + model.dense[layer].bias
        y = (y - y.mean(dim=0)) / torch.sqrt(y.var(dim=0, unbiased=False) + 1e-3)
        y = y * model.norms[layer].weight + model.norms[layer].bias
        return torch.where(y > 0, y, torch.expm1(y))

    f = block(block(seen, 0) * drop1, 1) * drop2
    h = torch.relu(s @ (f * drop3) @ model.hidden)
    mean, log_deviation = s @ (h * drop4) @ model.mean, s @ (h * drop5) @ model.log_deviation
    z = torch.cat([f, mean + noise * torch.exp(log_deviation)], dim=1)
    output = s @ (z * drop6) @ model.decoder
    logits = (z @ z.T)[graph.pairs.rows, graph.pairs.columns]
    wanted = loops[graph.pairs.rows, graph.pairs.columns]
    entropy = torch.where(
        wanted > 0, torch.log1p(torch.exp(-logits)), torch.log1p(torch.exp(logits))
    )
    n_edges = [float(part.sum()) for part in loops.split((50, 40))]
    norm = np.mean([n**2 / (2 * (n**2 - e)) for n, e in zip((50, 40), n_edges, strict=True)])
    kl = 1 + 2 * log_deviation - mean**2 - torch.exp(2 * log_deviation)
    linked = norm * entropy.mean() - kl.sum(dim=1).mean() / (2 * len(x))
    cosine = (output * seen).sum(dim=1) / output.norm(dim=1) / seen.norm(dim=1)
    of_masked = ((1 - cosine) ** 3)[masked[:, 0] > 0].mean()
    return 10 * ((output - x) ** 2).mean() + 0.1 * linked + of_masked


def test_losses_and_gradients_are_those_of_the_equations(near):
    x = torch.from_numpy(np.random.default_rng(1).normal(size=(90, 12)).astype(np.float32))
    graph = SedrGraph.of(near, SLICE_OF, 0)
    model = SedrModel(12, torch.Generator().manual_seed(0))
    with torch.no_grad():
        model.token += 0.3
    draws = Kept(3)
    ours = model.losses(x, graph, draws)
    ours.backward()
    grads = {name: p.grad.clone() for name, p in model.named_parameters()}
    model.zero_grad()
    plain = plain_loss(model, x, near, graph, draws.kept)
    plain.backward()
    assert ours.item() == pytest.approx(plain.item(), rel=1e-5)
    assert len(grads) == 13
    for name, p in model.named_parameters():
        torch.testing.assert_close(grads[name], p.grad, rtol=1e-3, atol=1e-4, msg=name)


def test_what_is_drawn(near):
    draws = Draws(0)
    assert draws.masked(91).sum() == 72
    dropped = draws.drop(torch.ones(100, 100))
    assert dropped.unique().tolist() == [0, 1.25]
    assert (dropped == 0).float().mean() == pytest.approx(0.2, abs=0.02)
    graph = SedrGraph.of(near, SLICE_OF, 0)
    n_entries = near.nnz + 90
    # All neighbours with themselves, and nearly as many others, of any slice.
    assert graph.labels.sum() == n_entries
    others = graph.labels == 0
    assert 0.8 * n_entries < others.sum() <= n_entries
    first, second = (SLICE_OF[p[others]] for p in (graph.pairs.rows, graph.pairs.columns))
    assert (first != second).any()


def test_neighbours_are_twelve_on_hexagonal_grids_and_six_elsewhere(places):
    x, y = np.meshgrid(np.arange(12), np.arange(12))
    square = np.column_stack([x.ravel(), y.ravel()]).astype(float)
    hexagonal = np.column_stack([x.ravel() + y.ravel() % 2 / 2, y.ravel() * np.sqrt(3) / 2])
    both = np.vstack([hexagonal, hexagonal * 9])
    halves = [np.arange(144), np.arange(144, 288)]
    graph, k = neighbors(both, halves)
    assert k == 12
    assert graph[halves[0]][:, halves[1]].nnz == 0
    assert (graph != graph.T).nnz == 0
    assert np.diff(graph.indptr).min() >= 12
    for points in (square, places):
        assert neighbors(points, [np.arange(len(points))])[1] == 6
    assert neighbors(np.vstack([hexagonal, square]), halves)[1] == 6


def test_components_are_those_of_the_scaled_genes():
    from sklearn.decomposition import PCA

    rng = np.random.default_rng(0)
    kinds = np.eye(3)[rng.integers(0, 3, 120)] @ rng.gamma(1, 4, (3, 30))
    counts = rng.poisson(kinds + 0.5).astype(float)
    counts[:, 7] = 0
    counts[:40, 8] = 1
    counts[40:, 8] = 0  # in 40 spots only
    kept = np.delete(counts, [7, 8], axis=1)
    scaled = 1e6 * kept / kept.sum(axis=1, keepdims=True)
    scaled = (scaled - scaled.mean(axis=0)) / scaled.std(axis=0, ddof=1)
    plain = PCA(27, svd_solver="full").fit_transform(scaled)
    found = sedr_components(sparse.csr_matrix(counts))
    assert found.shape == (120, 27)
    np.testing.assert_allclose(np.abs(found[:, :5]), np.abs(plain[:, :5]), rtol=2e-3, atol=2e-3)


def made_job(**kwargs):
    """Two kinds of tissue, left and right, in two slices."""
    x, y = np.meshgrid(np.arange(16), np.arange(16))
    points = np.column_stack([x.ravel(), y.ravel()]).astype(float)
    left = np.tile(points[:, 0] < 8, 2)
    rng = np.random.default_rng(0)
    rate = np.where(left[:, None] == (np.arange(40) < 20), 3.0, 2.0)
    counts = sparse.csr_matrix(rng.poisson(rate).astype(np.float32))
    job = SedrJob(
        counts, np.arange(40) > 1, np.vstack([points, points]), np.repeat([0, 1], 256), **kwargs
    )
    return job, left


def test_it_finds_the_two_halves_and_says_what_it_was_made_with():
    job, left = made_job(seed=4, device="cpu", epochs=40)
    steps = []
    found = finish(job.steps(), steps.append)
    assert found.embedding.shape == (512, 32)
    assert found.embedding.dtype == np.float32
    loss = found.params.pop("loss")
    assert len(loss) == 40
    assert loss[-1] < 0.9 * loss[0]
    assert found.params["n_components"] == 37
    assert found.params["n_neighbors"] == 6
    assert found.params["seed"] == 4
    from sklearn.cluster import KMeans
    from sklearn.metrics import adjusted_rand_score

    halves = KMeans(2, n_init=3, random_state=0).fit_predict(found.embedding)
    assert adjusted_rand_score(left, halves) > 0.8
    # A step an epoch, so that a cancel is heard within one.
    assert [step.done for step in steps] == sorted(step.done for step in steps)
    assert len(steps) >= 40
    assert steps[-1].done == steps[-1].total


def test_a_seed_gives_the_same_again_and_leaves_torch_as_it_was():
    job, _ = made_job(device="cpu", epochs=3)
    torch.manual_seed(7)
    wanted = torch.rand(3)
    torch.manual_seed(7)
    first, again = (finish(job.steps()).embedding for _ in range(2))
    np.testing.assert_array_equal(first, again)
    torch.testing.assert_close(torch.rand(3), wanted)


def test_what_it_cannot_use_is_one_sentence():
    job, _ = made_job()
    logged = SedrJob(job.counts.log1p(), job.genes, job.coordinates, job.slice_of)
    with pytest.raises(InputError, match="SEDR needs counts"):
        finish(logged.steps())
    rare = SedrJob(job.counts * 0, job.genes, job.coordinates, job.slice_of)
    with pytest.raises(InputError, match="in 50 spots and with 10 counts at least, and 0 are left"):
        finish(rare.steps())
