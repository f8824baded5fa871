from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest
import ranked
import torch
from scipy import sparse
from tiny import QUICK

from napari_staligner._errors import ComputeError
from napari_staligner.core.progress import Progress, finish
from napari_staligner.core.training.data import Prepared
from napari_staligner.core.training.dealing import Dealt, deal_tiles
from napari_staligner.core.training.input import Input
from napari_staligner.core.training.ranks import (
    LOST,
    MEETING,
    Ranks,
    standing,
)
from napari_staligner.core.training.sharing import each
from napari_staligner.core.training.tiles import split
from napari_staligner.core.training.train import train
from napari_staligner.core.training.trainer import Trainer


@pytest.fixture(scope="module")
def by_ranks(tmp_path_factory, project):
    """What two, three and four processes give, by their number."""
    place = tmp_path_factory.mktemp("ranks")
    torchrun = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node=4"]
    done = subprocess.run(
        [sys.executable, *torchrun, project / "tests" / "ranked.py", place],
        env=os.environ | {"PYTHONPATH": str(project / "src"), "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return {size: dict(np.load(place / f"{size}.npz")) for size in (2, 3, 4)}


def test_several_ranks_give_the_same_bits(by_ranks):
    alone = ranked.trained()
    for size, found in by_ranks.items():
        own = {name: value for name, value in found.items() if not name.startswith("apart.")}
        assert set(own) == set(alone)
        for name, value in alone.items():
            np.testing.assert_array_equal(own[name], value, err_msg=f"{size} ranks: {name}")


def test_ranks_compute_at_the_same_time(by_ranks):
    # An exchange between two items makes a rank wait until another has computed its own.
    assert all(found["apart.met"] for found in by_ranks.values())


@pytest.mark.parametrize("rank", [0, 1])
def test_the_sums_of_slices_are_made_at_the_same_time(rank):
    data, done = ranked.tiny_prepared(), []
    blocks = [*data.expression] * 2
    graph = sparse.block_diag([data.connectivities] * 2, format="csr")
    places = np.concatenate([data.coordinates] * 2)

    class Noted(Ranks):
        def share(self, values, owner):
            done.append("share")
            return values if owner == self.rank else values.zero_()

    made = replace(
        data.expression, sizes=data.sizes * 2, block=lambda k: done.append("sum") or blocks[k]
    )
    data = Prepared(tuple("ABCD"), data.sizes * 2, made, graph, places)
    dealt = Dealt([0, 1, 1, 0], [0, 1, 1, 0], (0, 3) if rank == 0 else (1, 2))
    Input(data, replace(QUICK, components=12), torch.device("cpu"), Noted(rank, 2), dealt)
    assert done[:6] == ["sum", "share", "share", "sum", "share", "share"]


def test_memory_that_runs_out_on_one_rank_is_told_by_the_first(by_ranks):
    found = by_ranks[2]
    (note,) = found["apart.notes"]
    assert "smaller pieces, down to 1/2 of what they were" in note
    alone = finish(train(ranked.tiny_prepared(), QUICK))
    np.testing.assert_allclose(found["apart.z"], alone.embedding, rtol=1e-2, atol=1e-3)


@pytest.mark.parametrize("size", [1, 2, 3, 40])
def test_tiles_are_dealt_evenly(size):
    data = ranked.tiny_prepared()
    tiles = split(data.sizes, data.connectivities, data.coordinates, 30)
    loads = [len(tile.nodes) for tile in tiles]
    owners = Ranks(0, size).deal(loads)
    load = [
        sum(len(t.nodes) for t, o in zip(tiles, owners, strict=True) if o == r) for r in range(size)
    ]
    assert sum(load) == sum(len(tile.nodes) for tile in tiles)
    if size <= 3:
        assert max(load) - min(load) <= max(len(tile.nodes) for tile in tiles)
    assert owners == Ranks(1, size).deal(loads)


def test_whole_slices_are_dealt_where_that_is_even_and_each_rank_holds_only_its_own():
    dealt = [deal_tiles(Ranks(r, 2), [5, 5, 9, 8, 7], [0, 0, 1, 2, 3], 4) for r in range(2)]
    assert [d.held for d in dealt] == [(0, 3), (1, 2)]
    assert dealt[0].tiles == dealt[1].tiles == [0, 0, 1, 1, 0]
    # One large slice is cut.
    dealt = [deal_tiles(Ranks(r, 2), [5, 5, 5, 5, 2], [0, 0, 0, 0, 1], 2) for r in range(2)]
    assert dealt[0].tiles == [0, 1, 0, 1, 0]
    assert [d.held for d in dealt] == [(0, 1), (0, 1)]
    assert deal_tiles(Ranks(3, 4), [5, 5], [0, 1], 2).held == ()


def test_only_the_slices_of_a_rank_are_read():
    data = ranked.tiny_prepared()
    read = []

    class Alone(Ranks):
        """The second of two, of which the first sends zeros."""

        def share(self, values, owner):
            return values if owner == self.rank else values.zero_()

    blocks = list(data.expression)
    expression = replace(data.expression, block=lambda k: read.append(k) or blocks[k])
    settings = replace(QUICK, components=12)
    trainer = Trainer(replace(data, expression=expression), settings, ranks=Alone(1, 2))
    assert set(read) == {1}
    assert trainer.input.scores.shape[0] == 100
    assert [len(tile.graph.senders) > 0 for tile in trainer.tiles] == [False, True]


def test_arrays_of_any_shape_and_type_are_shared():
    sent = []

    class Owner(Ranks):
        def share(self, values, owner):
            sent.append(values.clone())
            return values

    class Other(Ranks):
        def share(self, values, owner):
            return values.copy_(sent.pop(0))

    arrays = {
        "one": np.arange(6.0).reshape(2, 3)[:, ::2],
        "text": np.array("ä≤"),
        "no": np.zeros(0),
        "fixed": np.broadcast_to(np.int32(7), (2, 2)),
    }
    assert Owner(1, 2).share_arrays(arrays, 1) is arrays
    found = Other(0, 2).share_arrays(None, 1)
    assert not sent
    assert list(found) == list(arrays)
    for name, array in arrays.items():
        assert found[name].dtype == array.dtype
        np.testing.assert_array_equal(found[name], array)


@pytest.mark.skipif(os.name == "nt", reason="processes are stopped by signals")
def test_a_slow_rank_is_waited_for_and_a_silent_one_is_given_up(tmp_path, project):
    own = {"WORLD_SIZE": "2", MEETING: str(tmp_path / "ranks"), "OMP_NUM_THREADS": "1"}
    own["PYTHONPATH"] = str(project / "src")
    both = [
        subprocess.Popen(
            [sys.executable, project / "tests" / "silent.py"],
            env=os.environ | own | {"RANK": str(rank)},
            stdout=subprocess.DEVNULL if rank else subprocess.PIPE,
            text=True,
        )
        for rank in range(2)
    ]
    try:
        said, _ = both[0].communicate(timeout=120)
    finally:
        both[1].kill()
        both[1].wait()
    assert said.splitlines() == ["7", LOST]


class Left(Ranks):
    """A rank whose others are gone."""

    def share_arrays(self, values, owner):
        raise ComputeError(LOST)


def test_the_first_rank_computes_what_a_lost_one_leaves():
    def squared(number):
        return {"square": np.array(number**2)}

    def said(number):
        return Progress("squares", number, 5)

    alone = finish(each(range(5), squared, said, Ranks()))
    assert [int(found["square"]) for found in alone] == [0, 1, 4, 9, 16]
    assert finish(each(range(5), squared, said, Left(0, 3))) == alone
    with pytest.raises(ComputeError, match="ended, or does not answer"):
        finish(each(range(5), squared, said, Left(1, 3)))


def test_a_process_knows_its_rank_by_what_started_it():
    assert standing({}) == (0, 1)
    assert standing({"RANK": "2", "WORLD_SIZE": "4", "SLURM_PROCID": "0"}) == (2, 4)
    assert standing({"SLURM_PROCID": "1", "SLURM_STEP_NUM_TASKS": "2"}) == (1, 2)
    # In a script for sbatch there are tasks, but this is none of them.
    assert standing({"SLURM_PROCID": "0", "SLURM_NTASKS": "4"}) == (0, 1)
