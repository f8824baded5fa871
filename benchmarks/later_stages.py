"""Registration, residuals and confidence, as they are beside another state of the project.

Both sides take the same arrays by turns, each measurement in a process of its own; processor time
of one thread, so that other programs disturb less. The slices are simulated: square sections of one
tissue, the others turned and mirrored, with an embedding and its matches.

    git worktree add /tmp/before COMMIT
    python benchmarks/later_stages.py /tmp/before --spots 14000 --slices 4
    python benchmarks/later_stages.py /tmp/before --spots 200000 --slices 8 --rounds 1
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from itertools import combinations
from pathlib import Path
from statistics import median
from typing import Annotated

import numpy as np
import typer
from scipy import sparse
from scipy.spatial import KDTree

HERE = Path(__file__).resolve().parents[1]
STAGES = "registration", "residuals", "confidence"
LATENT, NEIGHBORS = 30, 20


def simulated(spots: int, slices: int) -> tuple[dict[str, np.ndarray], np.ndarray]:
    """Places of the spots of each slice, and the embedding of all."""
    rng = np.random.default_rng(0)
    side = round((spots / slices) ** 0.5)
    grid = np.stack(np.meshgrid(*2 * [np.arange(side)]), axis=-1).reshape(-1, 2).astype(float)
    waves, mix = rng.normal(size=(6, 2)) / side * 6, rng.normal(size=(12, LATENT))
    places, parts = {}, []
    for number in range(slices):
        angles = (grid + rng.normal(scale=0.1, size=grid.shape)) @ waves.T
        values = np.hstack([np.sin(angles), np.cos(angles)]) @ mix
        parts.append(values + rng.normal(scale=0.5, size=values.shape))
        turn = rng.uniform(0, 2 * np.pi)
        matrix = np.array([[np.cos(turn), -np.sin(turn)], [np.sin(turn), np.cos(turn)]])
        mirror = np.diag([-1.0 if number % 2 else 1.0, 1.0])
        places[f"slice {number}"] = 100 * grid @ mirror @ matrix.T
    return places, np.concatenate(parts).astype(np.float32)


def matched(embedding: np.ndarray, slices: int) -> sparse.csr_matrix:
    """Mutual nearest neighbours of all pairs of slices of the same size."""
    parts = np.split(embedding[:, :8], slices)
    trees, n = [KDTree(part) for part in parts], len(parts[0])
    rows, columns = [], []
    for i, j in combinations(range(slices), 2):
        there = trees[j].query(parts[i])[1]
        back = trees[i].query(parts[j], k=NEIGHBORS)[1]
        own = np.flatnonzero((back[there] == np.arange(n)[:, None]).any(axis=1))
        rows += [own + i * n, there[own] + j * n]
        columns += [there[own] + j * n, own + i * n]
    ends = np.concatenate(rows), np.concatenate(columns)
    return sparse.csr_matrix((np.ones(len(ends[0]), np.float32), ends), shape=2 * (n * slices,))


def measure(spots: int, slices: int) -> dict[str, float]:
    """Seconds of a processor of each stage, of the project on this process's path."""
    from napari_staligner.core.progress import finish
    from napari_staligner.core.registration import RegistrationJob, register_steps
    from napari_staligner.core.result.confidence import confidence_steps

    places, embedding = simulated(spots, slices)
    job = RegistrationJob(places, embedding, matched(embedding, slices))
    seconds, now = dict.fromkeys(STAGES, 0.0), "registration"
    since = time.process_time()

    def enter(stage: str) -> None:
        nonlocal now, since
        seconds[now] += time.process_time() - since
        now, since = stage, time.process_time()

    finish(register_steps(job), lambda s: enter("residuals") if s.stage == "residuals" else None)
    enter("confidence")
    finish(confidence_steps(embedding, [len(points) for points in places.values()]))
    enter("")
    return seconds


def main(
    before: Annotated[Path, typer.Argument(help="Folder with the other state.")],
    spots: int = 14_000,
    slices: int = 4,
    rounds: Annotated[int, typer.Option(help="Of which the median is taken.")] = 3,
    alone: Annotated[bool, typer.Option(hidden=True)] = False,
) -> None:
    if alone:
        print(json.dumps(measure(spots, slices)))
        return
    taken: dict[str, list[dict[str, float]]] = {"before": [], "now": []}
    for _ in range(rounds):
        for side, folder in (("before", before), ("now", HERE)):
            threads = {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
            path = {"PYTHONPATH": str(folder.resolve() / "src")}
            size = ["--spots", str(spots), "--slices", str(slices), "--alone"]
            done = subprocess.run(
                [sys.executable, "-W", "ignore", __file__, str(before), *size],
                env=os.environ | threads | path,
                stdout=subprocess.PIPE,
                check=True,
            )
            taken[side].append(json.loads(done.stdout))
    print(f"{spots:,} spots in {slices} slices, seconds of a processor: before, now, ratio")
    for stage in STAGES:
        old, new = (median(each[stage] for each in taken[side]) for side in taken)
        print(f"{stage:14}{old:8.2f}{new:8.2f}{old / new:7.1f}", flush=True)


if __name__ == "__main__":
    typer.run(main)
