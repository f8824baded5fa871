from __future__ import annotations

from dataclasses import replace
from functools import partial

import numpy as np
import pytest
import torch
from ranked import tiny_prepared
from scipy import sparse
from tiny import QUICK

from napari_staligner.core.prepare.expression import Expression
from napari_staligner.core.progress import finish
from napari_staligner.core.training.data import Prepared
from napari_staligner.core.training.devices import find_precision
from napari_staligner.core.training.stopping import MatchSettling, Settling
from napari_staligner.core.training.tiles import split
from napari_staligner.core.training.train import train
from napari_staligner.core.training.trainer import Trainer
from napari_staligner.core.training.triplets import Matches, Triplets

# Expression in its Gram form (40 genes, 16 hidden) and as a plain residual, and its scores.
WIDE = replace(QUICK, components=0)
PLAIN = replace(QUICK, components=0, hidden=64)
KINDS = {"gram": WIDE, "plain": PLAIN, "components": replace(QUICK, components=12)}


@pytest.fixture(scope="module")
def data() -> Prepared:
    return replace(tiny_prepared(), log_depth=None)


def some_triplets() -> Triplets:
    generator = torch.Generator().manual_seed(5)
    return Triplets(*(torch.randint(244, (80,), generator=generator) for _ in range(3)))


def gradients(trainer: Trainer, triplets: Triplets | None) -> list[torch.Tensor]:
    trainer.optimizer.zero_grad()
    said = trainer.gradients(triplets)
    parts = [p.grad for p in trainer.model.parameters()]
    return [*parts, *(loss for loss in said if loss is not None)]


@pytest.mark.parametrize("settings", KINDS.values(), ids=KINDS)
@pytest.mark.parametrize("triplets", [None, some_triplets()], ids=["alone", "triplets"])
def test_streamed_and_unstreamed_gradients_agree(data, settings, triplets):
    whole = Trainer(data, settings)
    streamed = Trainer(data, settings, tile_spots=30, keep_bytes=0)
    assert len(whole.tiles) == 2
    assert whole.keeps
    assert len(streamed.tiles) > 8
    assert not streamed.keeps
    torch.testing.assert_close(whole.embed().embedding, streamed.embed().embedding)
    for ours, theirs in zip(gradients(streamed, triplets), gradients(whole, triplets), strict=True):
        scale = theirs.abs().max()
        torch.testing.assert_close(ours / scale, theirs / scale, rtol=1e-4, atol=2e-5)


def steps_on(device: str, data: Prepared) -> list[torch.Tensor]:
    trainer = Trainer(data, replace(KINDS["components"], device=device))
    triplets = some_triplets()
    on_device = Triplets(
        *(rows.to(device) for rows in (triplets.anchor, triplets.positive, triplets.negative))
    )
    for epoch in range(3):
        trainer.step(epoch, on_device)
    return [parameter.detach().cpu() for parameter in trainer.model.parameters()]


@pytest.mark.parametrize("device", ["cpu", "cuda"])
def test_steps_with_triplets_repeat_to_the_bit(data, device):
    if device == "cuda" and not torch.cuda.is_available():
        pytest.skip("there is no GPU")
    torch.use_deterministic_algorithms(True)  # what is not deterministic raises
    try:
        first, again = steps_on(device, data), steps_on(device, data)
    finally:
        torch.use_deterministic_algorithms(False)
    assert all(map(torch.equal, first, again))


def test_tiles_hold_each_spot_once_and_a_halo_of_two_steps(data):
    tiles = split(data.sizes, data.connectivities, data.coordinates, 30)
    own = torch.cat([tile.own for tile in tiles])
    assert sorted(own.tolist()) == list(range(244))
    assert max(tile.n_own for tile in tiles) <= 30
    near = (data.connectivities + sparse.eye(244)).astype(bool)
    two_steps = (near @ near).tocsr()
    for tile in tiles:
        reached = np.unique(two_steps[tile.own.numpy()].indices)
        assert sorted(tile.nodes.tolist()) == reached.tolist()


def test_tiles_follow_the_tissue(data):
    with_places = split(data.sizes, data.connectivities, data.coordinates, 30)
    in_order = split(data.sizes, data.connectivities, None, 30)
    assert sum(len(t.nodes) for t in with_places) < sum(len(t.nodes) for t in in_order)


def test_streaming_gives_the_same_result(data, monkeypatch):
    settings = replace(QUICK, components=12)
    whole = finish(train(data, settings))
    streaming = partial(Trainer, tile_spots=30, keep_bytes=0)
    monkeypatch.setattr("napari_staligner.core.training.train.Trainer", streaming)
    streamed = finish(train(data, settings))
    np.testing.assert_allclose(streamed.embedding, whole.embedding, rtol=1e-2, atol=1e-3)
    assert (whole.attention != 0).nnz == (streamed.attention != 0).nnz


@pytest.mark.parametrize("settings", KINDS.values(), ids=KINDS)
def test_bfloat16_embeds_the_same_to_two_percent(data, settings):
    exact = finish(train(data, settings)).embedding
    rough, again = (finish(train(data, replace(settings, precision="bfloat16"))) for _ in range(2))
    assert np.linalg.norm(rough.embedding - exact) < 0.02 * np.linalg.norm(exact)
    assert not np.array_equal(rough.embedding, exact)
    np.testing.assert_array_equal(rough.embedding, again.embedding)
    # Only the training is rounded: z is not a multiple of what bfloat16 can tell apart.
    z = torch.from_numpy(rough.embedding)
    assert not torch.equal(z, z.bfloat16().float())


@pytest.mark.parametrize(("amx", "expected"), [(True, torch.bfloat16), (False, torch.float32)])
def test_precision_follows_the_processor(monkeypatch, amx, expected):
    monkeypatch.setattr(torch.cpu, "_is_amx_tile_supported", lambda: amx, raising=False)
    assert find_precision("auto", torch.device("cpu")) == expected
    assert find_precision("float32", torch.device("cpu")) == torch.float32


def test_offsets_are_taken_out_of_the_input(data):
    here, there = (block.toarray() for block in data.expression)
    there[:, :10] += 2.0
    moved = replace(data, expression=Expression.held(list(map(sparse.csr_matrix, (here, there)))))
    with_offsets = Trainer(moved, replace(QUICK, components=12, offsets=True))
    without = Trainer(moved, replace(QUICK, components=12, offsets=False))
    gaps = []
    for trainer in (with_offsets, without):
        finish(trainer.match(0, 1))
        x = trainer.input.scores
        gaps.append(float((x[:144].mean(0) - x[144:].mean(0)).norm()))
    assert gaps[0] < 0.5 * gaps[1]


def test_tolerance_ends_training_early(data):
    long = replace(QUICK, components=12, pretrain_epochs=300, epochs=40, refresh=4)
    fixed = finish(train(data, replace(long, pretrain_epochs=60, tolerance=0.0)))
    assert len(fixed.reconstruction) == 100
    early = finish(train(data, replace(long, tolerance=0.05)))
    assert 25 < np.isnan(early.triplet).sum() < 300
    assert 4 <= np.isfinite(early.triplet).sum() <= 40


def test_a_share_settles_when_it_gains_little():
    rule = Settling(0.01)
    rising = [rule.settled(0.5 * i / 30) for i in range(31)]
    assert not any(rising)
    flat = [rule.settled(0.5) for _ in range(25)]
    assert flat.index(True) > 15
    never = Settling(0.0)
    assert not any(never.settled(0.5) for _ in range(100))


def test_matches_settle_when_their_overlap_no_longer_rises():
    def matches(*pairs: int) -> list[Matches]:
        rows = torch.tensor(pairs)
        return [Matches(rows, rows + 100, torch.zeros(len(rows)))]

    found = [matches(1, 2, 3, 4), matches(3, 4, 5, 6), matches(4, 5, 6, 7), matches(5, 6, 7, 8)]
    rule = MatchSettling(0.01)
    assert not rule.settled(found[0], None)
    assert not rule.settled(found[1], found[0])  # 2 of 6
    assert not rule.settled(found[2], found[1])  # 3 of 5
    assert rule.settled(found[3], found[2])  # 3 of 5 again


def test_drawn_spots_are_compared_with_what_the_same_spots_matched_before(data):
    trainer = Trainer(data, replace(QUICK, components=12, offsets=False, search_spots=40))
    first, none = finish(trainer.match(0, 1))
    second, before = finish(trainer.match(0, 1))
    assert none is None
    # Nothing was trained in between, so the other spots, drawn anew, have the very same matches.
    for now, then, others in zip(second, before, first, strict=True):
        assert torch.equal(now.first, then.first)
        assert torch.equal(now.second, then.second)
        assert not torch.equal(now.first.unique(), others.first.unique())


@pytest.mark.parametrize("settings", KINDS.values(), ids=KINDS)
def test_residuals_of_the_slices_add_up_to_the_loss(data, settings):
    trainer = Trainer(data, settings, tile_spots=30)
    loss, _ = trainer.gradients(None)
    residuals = trainer.residuals()
    assert residuals[0] != residuals[1]
    whole = sum(n * r for n, r in zip(data.sizes, residuals, strict=True)) / sum(data.sizes)
    assert whole == pytest.approx(loss.item(), rel=1e-4)
