from __future__ import annotations

import os
import subprocess
import sys

import numpy as np
import pytest
import ranked

from napari_staligner._errors import ComputeError
from napari_staligner.core.progress import Progress, finish
from napari_staligner.core.training.ranks import LOST, Ranks, each, standing
from napari_staligner.core.training.tiles import split


def test_several_ranks_give_the_same_bits(tmp_path, project):
    torchrun = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node=3"]
    done = subprocess.run(
        [sys.executable, *torchrun, project / "tests" / "ranked.py", tmp_path / "found.npz"],
        env=os.environ | {"PYTHONPATH": str(project / "src"), "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    alone = ranked.trained()
    with np.load(tmp_path / "found.npz") as found:
        assert found["size"] == 3
        assert set(found) - {"size"} == set(alone)
        for name, value in alone.items():
            np.testing.assert_array_equal(found[name], value, err_msg=name)


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
