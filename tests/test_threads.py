"""How threads wait and how many there are, in fresh processes: libraries read it when loaded."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from napari_staligner import threads

CHOICES = {*threads.WAITING, "SLURM_CPUS_PER_TASK", "QT_QPA_PLATFORM"}
COUNTS = {name for names in threads._COUNTS.values() for name in names}
CPUS = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else 1

needs_two = pytest.mark.skipif(CPUS < 2, reason="one core only: nothing to lower")

SHARE = "threads.share_cores()"
ENTRIES = {
    "shell": "from napari_staligner.cli.app import app\n"
    "app(['info', 'none.h5ad'], standalone_mode=False)",
    "reader": "import napari_staligner.layers.reader",
    "dock": "import napari_staligner.widgets.integrate.dock",
    "worker": "import threading, napari_staligner.worker as worker\n"
    "list(worker._drive(lambda: iter(()), 0, threading.Event()))",
}
NOW_TOLD = """
import json, os, sys, torch
from threadpoolctl import threadpool_info
names = {names!r}
print(json.dumps({{
    "set": {{name: os.environ[name] for name in names if name in os.environ}},
    "torch": torch.get_num_threads(),
    "numba": "numba" in sys.modules and sys.modules["numba"].config.NUMBA_NUM_THREADS,
    "pools": [library["num_threads"] for library in threadpool_info()],
}}))
"""


def in_fresh_process(statements: str, folder: Path, **chosen: str) -> tuple[dict, str]:
    """Run statements and import torch; what is set then, and what OpenMP says when loaded.

    No quota is in force but one that is in the folder.
    """
    unset = CHOICES | COUNTS
    inherited = {name: value for name, value in os.environ.items() if name not in unset}
    code = (
        "import pathlib, sys\nfrom napari_staligner import threads\n"
        f"threads.CGROUPS = pathlib.Path({str(folder)!r})\n"
        f"{statements}\n{NOW_TOLD.format(names=sorted(unset))}"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        env=inherited | {"OMP_DISPLAY_ENV": "verbose", "QT_QPA_PLATFORM": "offscreen"} | chosen,
        capture_output=True,
        text=True,
        timeout=240,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1]), done.stderr


# --- how they wait


@pytest.mark.parametrize("entry", ENTRIES)
def test_threads_that_wait_yield_wherever_the_user_comes_in(entry, tmp_path):
    early = "assert 'torch' not in sys.modules"
    told, said = in_fresh_process(f"{ENTRIES[entry]}\n{early}", tmp_path)
    assert told["set"]["OMP_WAIT_POLICY"] == "passive"
    # What OpenMP itself has read.
    assert re.search(r"OMP_WAIT_POLICY\s*=\s*'PASSIVE'", said)
    if "GOMP_SPINCOUNT" in said:
        assert re.search(rf"GOMP_SPINCOUNT\s*=\s*'{threads.SPINS}'", said)


@pytest.mark.parametrize(
    ("name", "value"),
    [("OMP_WAIT_POLICY", "active"), ("GOMP_SPINCOUNT", "300000"), ("KMP_BLOCKTIME", "200")],
)
def test_how_threads_wait_stays_as_the_user_chose(name, value, monkeypatch):
    for other in threads.WAITING:
        monkeypatch.delenv(other, raising=False)
    monkeypatch.setenv(name, value)
    threads.share_cores()
    assert {n: os.environ[n] for n in threads.WAITING if n in os.environ} == {name: value}


# --- how many there are


def test_without_a_limit_the_numbers_of_threads_are_those_of_the_libraries(tmp_path):
    told, _ = in_fresh_process(SHARE, tmp_path)
    alone, _ = in_fresh_process("", tmp_path)
    assert told["torch"] == alone["torch"]
    assert told["pools"] == alone["pools"]
    assert not told["set"].keys() & COUNTS


LOADED = "import numba, numpy, torch"
LIMITS = {
    "Slurm": ("", {"SLURM_CPUS_PER_TASK": "1"}),
    "quota": ("", {}),
    "affinity": ("import os; os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})", {}),
}


@pytest.fixture(params=LIMITS)
def limit(request, tmp_path):
    """Return statements and variables that leave a process one core."""
    if request.param == "quota":
        (tmp_path / "cpu.max").write_text("100000 100000\n")
    return LIMITS[request.param]


@needs_two
def test_libraries_take_no_more_threads_than_the_process_may_use(limit, tmp_path):
    narrow, chosen = limit
    told, _ = in_fresh_process(f"{narrow}\n{SHARE}\n{LOADED}", tmp_path, **chosen)
    assert told["torch"] == told["numba"] == 1
    assert set(told["pools"]) == {1}


IN_A_WORKER = """
import threading
from napari_staligner.worker import _drive
def steps():
    seen.append((torch.get_num_threads(), numba.get_num_threads()))
    return (yield)
seen = []
thread = threading.Thread(target=lambda: list(_drive(steps, 0, threading.Event())))
thread.start()
thread.join()
assert seen == [(1, 1)], seen
"""


@needs_two
def test_libraries_that_are_loaded_are_held_back_in_the_thread_that_computes(limit, tmp_path):
    narrow, chosen = limit
    statements = f"{LOADED}\n{narrow}\n{IN_A_WORKER}\n{SHARE}"
    told, _ = in_fresh_process(statements, tmp_path, **chosen)
    assert told["torch"] == 1
    assert set(told["pools"]) == {1}


@needs_two
@pytest.mark.parametrize("statements", [f"{SHARE}\n{LOADED}", f"{LOADED}\n{SHARE}"])
def test_the_number_of_threads_stays_as_the_user_chose(statements, tmp_path):
    chosen = {"OMP_NUM_THREADS": "2", "SLURM_CPUS_PER_TASK": "1"}
    told, _ = in_fresh_process(statements, tmp_path, **chosen)
    assert told["torch"] == 2
    assert told["set"]["OMP_NUM_THREADS"] == "2"


# --- what the process may use


@pytest.fixture
def cgroups(made_cgroups, monkeypatch):
    """As ``made_cgroups``, on a machine of 64 cores."""
    monkeypatch.setattr(threads, "_affinity", lambda: 64)
    monkeypatch.delenv("SLURM_CPUS_PER_TASK", raising=False)
    return made_cgroups


def first_version(folder: str, quota: int, period: int = 100_000) -> dict[str, str]:
    return {
        f"{folder}/cpu.cfs_quota_us": str(quota),
        f"{folder}/cpu.cfs_period_us": str(period),
    }


V1 = "12:memory:/other\n4:cpu,cpuacct:/jobs/7\n"
V2 = "0::/jobs/7\n"


@pytest.mark.parametrize(
    ("membership", "files", "usable"),
    [
        (V2, {}, 64),
        (V2, {"jobs/7/cpu.max": "max 100000"}, 64),
        (V2, {"jobs/7/cpu.max": "400000 100000"}, 4),
        (V2, {"jobs/7/cpu.max": "150000 100000"}, 2),
        (V2, {"jobs/7/cpu.max": "10000 100000"}, 1),
        (V2, {"jobs/7/cpu.max": "12800000 100000"}, 64),
        (V2, {"jobs/7/cpu.max": "max 100000", "jobs/cpu.max": "100000 50000"}, 2),
        (V2, {"jobs/8/cpu.max": "100000 100000"}, 64),
        # In a container, the root is the process's own cgroup.
        (V2, {"cpu.max": "300000 100000"}, 3),
        ("0::/../../jobs/7\n", {"cpu.max": "300000 100000"}, 3),
        (V1, first_version("cpu,cpuacct/jobs/7", -1), 64),
        (V1, first_version("cpu,cpuacct/jobs/7", 250_000), 3),
        (V1, first_version("cpu,cpuacct/jobs", 100_000, 50_000), 2),
        (V1, first_version("cpu,cpuacct", 500_000), 5),
        (V1, first_version("cpu/jobs/7", 500_000), 5),
        (V1, first_version("cpuset/jobs/7", 500_000), 64),
        (V1 + V2, {"unified/jobs/7/cpu.max": "max 100000"} | first_version("cpu", 200_000), 2),
        ("", {"cpu.max": "100000 100000"}, 64),
        ("no cgroup at all", {}, 64),
    ],
)
def test_quotas_of_cgroups(cgroups, membership, files, usable):
    cgroups(membership, files)
    assert threads.usable_cpus() == usable


@pytest.mark.parametrize(
    ("told", "usable"),
    [("8", 8), ("100", 64), ("0", 64), ("", 64), ("-3", 64), ("many", 64), ("4(x2)", 64)],
)
def test_cpus_of_a_job_of_slurm(cgroups, monkeypatch, told, usable):
    cgroups("", {})
    monkeypatch.setenv("SLURM_CPUS_PER_TASK", told)
    assert threads.usable_cpus() == usable


def test_the_least_limit_counts(cgroups, monkeypatch):
    cgroups(V2, {"jobs/7/cpu.max": "600000 100000"})
    monkeypatch.setenv("SLURM_CPUS_PER_TASK", "12")
    assert threads.usable_cpus() == 6
    monkeypatch.setenv("SLURM_CPUS_PER_TASK", "3")
    assert threads.usable_cpus() == 3
    monkeypatch.setattr(threads, "_affinity", lambda: 2)
    assert threads.usable_cpus() == 2


def test_systems_without_cgroups_have_no_quota(tmp_path, monkeypatch):
    monkeypatch.setattr(threads, "MEMBERSHIP", tmp_path / "none")
    assert threads._quota() == float("inf")
