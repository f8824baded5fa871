"""A short part of the fuzz in each run of the tests; ``make fuzz`` is the long one."""

from __future__ import annotations

import os
import time
import warnings

import pytest
from fuzz.cases import KINDS
from fuzz.pool import Pool
from fuzz.run import Findings, one_turn
from fuzz.samples import make_samples

SECONDS = float(os.environ.get("FUZZ_SECONDS_IN_TESTS", "20"))
SEED = int(os.environ.get("FUZZ_SEED", "20"))

pytestmark = [
    pytest.mark.skipif(not hasattr(os, "fork"), reason="the processes that may die are forked"),
    pytest.mark.timeout(900),
]


@pytest.fixture(scope="module")
def pool(tmp_path_factory):
    """Sound samples of every format, and a process that tries cases."""
    folder = tmp_path_factory.mktemp("fuzz")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        make_samples(folder / "samples")
    made = Pool(folder)
    yield made
    made.close()


@pytest.mark.parametrize("kind", sorted(KINDS))
def test_no_case_crashes_or_ends_in_a_traceback(pool, kind):
    found = Findings(pool)
    # The clock starts after the process has, which imports for seconds.
    one_turn(kind, found.look, SEED, time.monotonic() + 0.01)
    one_turn(kind, found.look, SEED + 1, time.monotonic() + SECONDS / len(KINDS))
    assert sum(found.tried.values()) > 0
    told = "\n".join(f"{sort}\n    {case!r}" for sort, case in found.faults.items())
    assert not found.faults, f"try each again with tests/fuzz/run.py --again:\n{told}"


def test_the_end_of_a_process_is_a_fault(pool):
    from fuzz.cases import Regions

    pool.try_case(Regions("r.csv", ""))
    pool._process.kill()
    verdict = pool.try_case(Regions("r.csv", ""))
    assert verdict.faults == ("ended by the signal SIGKILL",)
    assert not pool.try_case(Regions("r.csv", "")).faults
