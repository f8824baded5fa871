from __future__ import annotations

import os
import subprocess
import sys

import numpy as np
import pytest
import ranked

from napari_staligner.core.training.ranks import Ranks
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
