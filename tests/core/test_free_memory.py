"""What is left of memory: of the machine, and by the limits of a process."""

from __future__ import annotations

import math
import os
from types import SimpleNamespace

import pytest
from scarce import short_memory

from napari_staligner import InputError
from napari_staligner.core import free_memory as module
from napari_staligner.core.free_memory import free_memory
from napari_staligner.core.training.estimate import Estimate, check_memory

MB = 1 << 20


@pytest.fixture
def cgroups(made_cgroups, monkeypatch):
    """As ``made_cgroups``, on a machine with 900 MB free."""
    machine = SimpleNamespace(available=900 * MB)
    monkeypatch.setattr(module.psutil, "virtual_memory", lambda: machine)
    return made_cgroups


def second(folder, most, used, cached=0):
    return {
        f"{folder}/memory.max": str(most),
        f"{folder}/memory.current": str(used),
        f"{folder}/memory.stat": f"anon 5\ninactive_file {cached}",
    }


def first(folder, most, used, cached=0):
    return {
        f"{folder}/memory.limit_in_bytes": str(most),
        f"{folder}/memory.usage_in_bytes": str(used),
        f"{folder}/memory.stat": f"cache 5\ntotal_inactive_file {cached}",
    }


V1, V2 = "4:memory:/jobs/7\n3:cpu:/x\n", "0::/jobs/7\n"


@pytest.mark.parametrize(
    ("membership", "files", "left"),
    [
        ("", {}, 900 * MB),
        (V2, second("jobs/7", "max", 5), 900 * MB),
        (V2, second("jobs/7", 700 * MB, 200 * MB), 500 * MB),
        (V2, second("jobs/7", 700 * MB, 200 * MB, 50 * MB), 550 * MB),
        (V2, second("jobs/7", 700 * MB, 800 * MB), 0),
        (V2, second("jobs", 600 * MB, 200 * MB) | second("jobs/7", 700 * MB, 200 * MB), 400 * MB),
        (V1, first("memory/jobs/7", 700 * MB, 200 * MB, 50 * MB), 550 * MB),
        (V1, first("memory/jobs/7", 2**63 - 4096, 200 * MB), 900 * MB),
        (V1, first("memory", 600 * MB, 200 * MB), 400 * MB),
        (V1, {"memory/jobs/7/memory.limit_in_bytes": "x"}, 900 * MB),
    ],
)
def test_the_least_limit_of_the_cgroups_counts(cgroups, membership, files, left):
    cgroups(membership, files)
    assert free_memory().bytes == left
    assert ("container or queue" in free_memory().said) == (left < 900 * MB)


@pytest.mark.skipif(os.name == "nt", reason="Windows has no such limit")
def test_limits_of_the_shell_count():
    with short_memory(64 * MB):
        assert math.isclose(free_memory().bytes, 64 * MB, abs_tol=16 * MB)
        with pytest.raises(InputError, match=r"GB are left below the limit of ulimit -v: .* raise"):
            check_memory(Estimate(1.0, 1 << 30))
