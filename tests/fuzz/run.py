"""Fuzz for a while, and tell what was found.

    python tests/fuzz/run.py SECONDS [--seed N] [--kinds slices,results] [--log FILE]
    python tests/fuzz/run.py --again "Slices(...)"      one case again

A fault is written with its case, which can be tried again alone. Exit code 1 if there is any.
"""

from __future__ import annotations

import argparse
import atexit
import sys
import tempfile
import time
import warnings
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from fuzz import cases
from fuzz.pool import Pool
from fuzz.samples import make_samples
from hypothesis import HealthCheck, Phase, given, seed, settings

TURN = 30
"""Seconds for one kind of cases, before it is the turn of the next."""


class _Enough(Exception):
    """The time is over."""


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("seconds", type=float, nargs="?", default=3600)
    parser.add_argument("--seed", type=int, default=int(time.time()))
    parser.add_argument("--kinds", default=",".join(cases.KINDS))
    parser.add_argument("--log", type=Path)
    parser.add_argument("--again")
    parser.add_argument("--folder", type=Path, help="keeps the samples for the next time")
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as name:
        folder = asked.folder or Path(name)
        warnings.simplefilter("ignore")
        make_samples(folder / "samples")
        pool = Pool(folder)
        atexit.register(pool.close)
        if asked.again:
            names = vars(cases) | {"nan": float("nan"), "inf": float("inf")}
            verdict = pool.try_case(eval(asked.again, names))
            print(verdict.refused, *verdict.faults, sep="\n")
            return bool(verdict.faults)
        return _fuzz(pool, asked)


def _fuzz(pool: Pool, asked: argparse.Namespace) -> int:
    """Share the time between the kinds in short turns, so that each run tries all of them."""
    print(f"seed {asked.seed}")
    found = Findings(pool, asked.log)
    kinds, end, turn = asked.kinds.split(","), time.monotonic() + asked.seconds, 0
    while time.monotonic() < end:
        stop = min(end, time.monotonic() + TURN)
        one_turn(kinds[turn % len(kinds)], found.look, asked.seed + turn, stop)
        turn += 1
    for kind in kinds:
        print(f"{kind}: {found.tried[kind]} cases, {found.refused[kind]} refused by an error")
    print(f"{sum(found.tried.values())} cases, {len(found.faults)} kinds of faults")
    return bool(found.faults)


class Findings:
    """Tries cases and keeps one for each kind of fault.

    Parameters
    ----------
    pool
        Tries them.
    log
        Gets the faults with all they tell.
    """

    def __init__(self, pool: Pool, log: Path | None = None) -> None:
        self._pool, self._log = pool, log
        self.tried: Counter[str] = Counter()
        self.refused: Counter[str] = Counter()
        self.faults: dict[str, cases.Case] = {}

    def look(self, kind: str, case: cases.Case) -> None:
        """Try a case."""
        verdict = self._pool.try_case(case)
        self.tried[kind] += 1
        self.refused[kind] += bool(verdict.refused)
        for fault in verdict.faults:
            sort = fault.split("\n")[0]
            if sort in self.faults:
                continue
            self.faults[sort] = case
            print(f"\n{kind}: {sort}\n    {case!r}", flush=True)
            if self._log is not None:
                with self._log.open("a", encoding="utf-8") as file:
                    file.write(f"\n{kind}: {sort}\n    {case!r}\n{fault}\n")


def one_turn(kind: str, look: Callable[[str, cases.Case], None], start: int, stop: float) -> None:
    """Draw and try cases of one kind until a time."""

    @seed(start)
    @settings(
        max_examples=10**6,
        database=None,
        deadline=None,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @given(cases.KINDS[kind])
    def turn(case: cases.Case) -> None:
        if time.monotonic() > stop:
            raise _Enough
        look(kind, case)

    with suppress(_Enough):
        turn()


if __name__ == "__main__":
    sys.exit(main())
