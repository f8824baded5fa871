from __future__ import annotations

import numpy as np
import pytest
import torch
from plain import PlainSTAligner, plain_triplet_loss
from scipy import sparse

from napari_staligner.core.training import model as model_module
from napari_staligner.core.training.model import MessageGraph, STAligner
from napari_staligner.core.training.triplets import Triplets

SPOTS, HIDDEN, LATENT = 120, 32, 6


def ring_graph(n: int, seed: int = 0) -> sparse.csr_matrix:
    rng = np.random.default_rng(seed)
    row, col = rng.integers(0, n, (2, 3 * n))
    keep = row != col
    matrix = sparse.csr_matrix((np.ones(keep.sum()), (row[keep], col[keep])), shape=(n, n))
    return ((matrix + matrix.T) > 0).astype(np.float32).tocsr()


def make(n_genes: int) -> tuple[torch.Tensor, sparse.csr_matrix, STAligner]:
    x = torch.rand(SPOTS, n_genes, generator=torch.Generator().manual_seed(1))
    x = x * (x > 0.6) * 3
    return x, ring_graph(SPOTS), STAligner(n_genes, HIDDEN, LATENT, seed=3)


def edges_of(connectivities: sparse.csr_matrix) -> torch.Tensor:
    looped = (connectivities + sparse.eye(SPOTS)).tocoo()
    return torch.from_numpy(np.stack([looped.col, looped.row])).long()


# Below the hidden width the residual is plain, above it takes the Gram form.
@pytest.mark.parametrize("n_genes", [20, 200])
@pytest.mark.parametrize("mkl", [True, False])
def test_equals_the_plain_model(n_genes, mkl, monkeypatch):
    if not mkl:
        monkeypatch.setattr(model_module.torch.backends.mkl, "is_available", lambda: False)
    x, connected, model = make(n_genes)
    graph = MessageGraph.from_connectivities(connected)
    plain = PlainSTAligner(model.w1, model.w2, model.a_src, model.a_dst)
    z, alpha, rebuilt = plain(x, edges_of(connected))
    output = model(x, graph)

    torch.testing.assert_close(output.embedding, z, rtol=1e-4, atol=1e-5)
    ours = graph.matrix(output.attention.detach()).to_dense()
    theirs = torch.zeros(SPOTS, SPOTS)
    source, target = edges_of(connected)
    theirs[target, source] = alpha.detach()
    torch.testing.assert_close(ours, theirs, rtol=1e-5, atol=1e-7)

    generator = torch.Generator().manual_seed(2)
    rows = [torch.randint(SPOTS, (40,), generator=generator) for _ in range(3)]
    loss = 0.3 * model.reconstruction(x, x.square().sum(), output)
    loss = loss + 0.7 * Triplets(*rows).loss(output.embedding, 1.0)
    expected = 0.3 * (x - rebuilt).square().mean()
    expected = expected + 0.7 * plain_triplet_loss(z, *rows, 1.0)
    torch.testing.assert_close(loss, expected, rtol=1e-5, atol=1e-6)
    loss.backward()
    expected.backward()
    for ours, theirs in zip(model.parameters(), plain.parameters(), strict=True):
        scale = theirs.grad.abs().max()
        torch.testing.assert_close(ours.grad / scale, theirs.grad / scale, rtol=1e-3, atol=2e-5)


def test_decoder_has_no_weights_of_its_own():
    _, _, model = make(20)
    assert {name for name, _ in model.named_parameters()} == {"w1", "w2", "a_src", "a_dst"}


def test_attention_rows_sum_to_one_over_the_senders_of_a_spot():
    x, connected, model = make(50)
    graph = MessageGraph.from_connectivities(connected)
    attention = graph.matrix(model(x, graph).attention.detach()).to_dense()
    torch.testing.assert_close(attention.sum(1), torch.ones(SPOTS))
    expected = (connected + sparse.eye(SPOTS)).toarray() > 0
    assert ((attention > 0).numpy() == expected).all()


def test_messages_flow_from_sender_to_receiver():
    # Spot 0 hears spot 1; nobody hears spot 0 but itself.
    connected = sparse.csr_matrix(([1.0], ([0], [1])), shape=(3, 3))
    graph = MessageGraph.from_connectivities(connected)
    model = STAligner(5, 4, 2, seed=0)
    x = torch.rand(3, 5, generator=torch.Generator().manual_seed(0))
    changed = x.clone()
    changed[1] += 1.0
    before, after = model(x, graph).embedding, model(changed, graph).embedding
    moved = (before - after).abs().sum(1) > 0
    assert moved.tolist() == [True, True, False]


def test_initial_weights_are_xavier_normal():
    model = STAligner(800, 256, 30, seed=0)
    assert model.w1.std().item() == pytest.approx(1.414 * (2 / 1056) ** 0.5, rel=0.02)
    assert model.w2.std().item() == pytest.approx(1.414 * (2 / 286) ** 0.5, rel=0.05)
    assert model.a_src.std().item() == pytest.approx(1.414 / 16, rel=0.15)


def test_initial_weights_follow_the_seed_and_leave_the_global_generator_alone():
    state = torch.get_rng_state()
    one, same, other = (STAligner(10, 8, 2, seed=s).w1 for s in (1, 1, 2))
    assert torch.equal(one, same)
    assert not torch.equal(one, other)
    assert torch.equal(state, torch.get_rng_state())
