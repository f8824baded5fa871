"""Time of an epoch and of a search for matches, ours and the plain ones by turns in one process.

python benchmarks/epoch.py dlpfc           four slices of human cortex
python benchmarks/epoch.py dlpfc --cpu     processor time of one thread, on a busy machine
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import replace
from typing import Annotated

import numpy as np
import plain_trainer as plain
import torch
import typer
from scipy.sparse import block_diag
from slices import load

from napari_staligner import Settings
from napari_staligner.core.integrate import prepare_steps
from napari_staligner.core.prepare.graph import graph_steps
from napari_staligner.core.progress import finish
from napari_staligner.core.settings import SETTINGS
from napari_staligner.core.training.data import Prepared
from napari_staligner.core.training.trainer import Trainer
from napari_staligner.core.training.triplets import Triplets, mutual_nearest

NEAREST = 50


def main(
    name: Annotated[str, typer.Argument(help="sample or dlpfc")] = "sample",
    rounds: int = 3,
    cpu: Annotated[bool, typer.Option("--cpu", help="Processor time of one thread.")] = False,
) -> None:
    torch.set_num_threads(1 if cpu else 2)
    clock = time.process_time if cpu else time.perf_counter
    ready = finish(prepare_steps(load(name), Settings()))
    places = [(key, adata.obsm["spatial"]) for key, adata in ready.slices]
    graphs = finish(graph_steps(places, Settings()))
    data = Prepared(
        tuple(key for key, _ in places),
        ready.expression.sizes,
        ready.expression,
        block_diag([graph.connectivities for graph in graphs.values()], format="csr"),
        np.concatenate([points for _, points in places]),
        ready.log_depth,
    )
    x = torch.from_numpy(data.expression.stacked().toarray())
    edges = plain.graph([points for _, points in places], [g.radius for g in graphs.values()])
    print(f"{len(x)} spots, {x.shape[1]} genes, {edges.shape[1]} edges with self loops")
    for runs in (epochs(data, x, edges), searches(data)):
        taken: dict[str, list[float]] = {side: [] for side in runs}
        for turn in range(rounds + 1):
            for side, run in runs.items():
                start = clock()
                run()
                if turn:
                    taken[side].append(clock() - start)
        theirs = np.array(taken["plain"])
        for side, seconds in taken.items():
            ratio = np.median(theirs / seconds)
            print(f"{side:30} {np.median(seconds):.3f} s, plain / it: {ratio:.1f}", flush=True)


def epochs(data: Prepared, x: torch.Tensor, edges: torch.Tensor) -> dict[str, Callable[[], object]]:
    """Whole steps with triplets."""
    model = plain.model(x.shape[1])
    adam = plain.optimizer(model)
    rows = torch.randint(len(x), (3, 4 * len(x)), generator=torch.Generator().manual_seed(0))
    runs: dict[str, Callable[[], object]] = {
        "plain": lambda: plain.epoch(model, adam, x, edges, rows)
    }
    for named in SETTINGS:
        for precision in ("float32", "bfloat16"):
            trainer = Trainer(data, replace(SETTINGS[named], precision=precision, seed=0))
            runs[f"epoch, {named}, {precision}"] = lambda t=trainer: t.step(0, Triplets(*rows))
    return runs


def searches(data: Prepared) -> dict[str, Callable[[], object]]:
    """All pairs of slices, on 30 principal components as a stand-in for z."""
    z = Trainer(data, replace(Settings(), components=30)).input.scores
    rows = torch.arange(len(z)).split(list(data.sizes))
    pairs = [(i, j) for i in range(len(rows)) for j in range(i)]
    return {
        "plain": lambda: plain.matches(z.numpy(), data.sizes, NEAREST),
        "matches": lambda: [mutual_nearest(z, rows[i], rows[j], NEAREST) for i, j in pairs],
    }


if __name__ == "__main__":
    typer.run(main)
