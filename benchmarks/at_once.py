"""Runs beside each other on one machine, with threads that spin while they wait and that yield.

Each run is the shell's ``integrate`` in a process of its own, from the files to the written result.
So many are started at once, and the time until the last has ended is compared with that of one
alone, by turns in one session: "spinning" is what OpenMP does by itself, "yielding" what the shell
asks for. Their ratio for one run alone is what yielding costs on an idle machine.

    python benchmarks/at_once.py
    python benchmarks/at_once.py A.h5ad B.h5ad --epochs 50 --rounds 3
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from statistics import median
from typing import Annotated

import typer
from slices import DATA

from napari_staligner.threads import WAITING

SIDES = {"spinning": {"GOMP_SPINCOUNT": "300000", "KMP_BLOCKTIME": "200"}, "yielding": {}}
"""Variables of each side; those of the first are the libraries' own defaults."""
ALLOWED = {2: 1.7, 3: 2.6}
"""Most that so many runs at once may take, in runs alone."""
COSTS = 1.1
"""Most that a run alone may take, in runs with threads that spin."""


def main(
    files: Annotated[list[Path] | None, typer.Argument(help="Slices, .h5ad.")] = None,
    epochs: Annotated[int, typer.Option(help="Of each kind.")] = 60,
    rounds: Annotated[int, typer.Option(help="Of which the median is taken.")] = 2,
    most: Annotated[int, typer.Option(help="Runs at once.")] = 3,
) -> None:
    files = files or sorted(DATA.glob("BaristaSeq_VISp_slice[12].h5ad"))
    taken: dict[tuple[str, int], list[float]] = {}
    for _ in range(rounds):
        for n in range(1, most + 1):
            for side in SIDES:
                taken.setdefault((side, n), []).append(at_once(n, side, files, epochs))
    seconds = {key: median(values) for key, values in taken.items()}
    print(f"{'':10}" + "".join(f"{n:>16}" for n in range(1, most + 1)) + "   at once")
    for side in SIDES:
        alone = seconds[side, 1]
        row = (seconds[side, n] for n in range(1, most + 1))
        print(f"{side:10}" + "".join(f"{s:>7.1f} s {s / alone:>5.2f} ×" for s in row))
    for n in range(2, most + 1):
        ratio = seconds["yielding", n] / seconds["yielding", 1]
        print(f"{n} at once: {ratio:.2f} times one alone, allowed {ALLOWED.get(n, n):.1f}")
    cost = seconds["yielding", 1] / seconds["spinning", 1]
    print(f"one alone, yielding: {cost:.2f} times spinning, allowed {COSTS:.1f}")


def at_once(n: int, side: str, files: list[Path], epochs: int) -> float:
    """Seconds until so many runs, started at once, have all ended."""
    inherited = {name: value for name, value in os.environ.items() if name not in WAITING}
    with tempfile.TemporaryDirectory() as folder:
        start = time.perf_counter()
        runs = [
            subprocess.Popen(
                command(files, Path(folder) / f"{number}.h5ad", epochs),
                env=inherited | SIDES[side],
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
            )
            for number in range(n)
        ]
        codes = [run.wait() for run in runs]
        seconds = time.perf_counter() - start
    if any(codes):
        raise RuntimeError(f"A run ended with {codes}: start it by hand to see why.")
    return seconds


def command(files: list[Path], output: Path, epochs: int) -> list[str]:
    """A short run of the shell, as long as that of any other side."""
    shell = ["-W", "ignore", "-c", "from napari_staligner.cli.app import app; app()"]
    length = ["--pretrain-epochs", str(epochs), "--epochs", str(epochs), "--set", "tolerance=0"]
    same = ["--domains", "6", "--seed", "0", "--device", "cpu", "--set", "precision=float32"]
    words = ["integrate", *map(str, files), "--output", str(output)]
    return [sys.executable, *shell, *words, *length, *same]


if __name__ == "__main__":
    typer.run(main)
