"""Time and peak memory of each stage, ours against the published trainer written plainly.

Every measurement runs in a process of its own, ours and the plain one by turns, on the same files;
what is printed are ratios. The plain one runs where its dense matrices fit. "whole" is, for ours,
from the files to the written result; for the plain one and the published settings it is added up
from graph, 1,000 epochs and six searches for matches.

    python benchmarks/engine.py                      3 k and 14 k spots
    python benchmarks/engine.py 50k 200k 1M          ours alone
    python benchmarks/engine.py --cpu                processor time of one thread, on a busy machine
    python benchmarks/engine.py --plot docs/images/engine.png
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import torch
import typer
from anndata import AnnData
from scipy.sparse import block_diag
from slices import DATA, FILES

from napari_staligner import Settings, read_slices, write_result
from napari_staligner.core.integrate import integrate_steps, prepare_steps
from napari_staligner.core.prepare.graph import SpatialGraph, graph_steps
from napari_staligner.core.progress import finish
from napari_staligner.core.settings import SETTINGS
from napari_staligner.core.training.data import Prepared
from napari_staligner.core.training.trainer import Trainer
from napari_staligner.core.training.triplets import Triplets, mutual_nearest
from napari_staligner.samples import simulated_olfactory_bulb

# Spots of a slice, and slices; 14k are the four real slices of human cortex.
SIZES = {"3k": (1500, 2), "14k": (0, 4), "50k": (6250, 8), "200k": (25_000, 8), "1M": (25_000, 40)}
SPOTS = {"3k": 3000, "14k": 14_364, "50k": 50_000, "200k": 200_000, "1M": 1_000_000}
PLAIN_FITS = ("3k", "14k")
DENSITY = 0.10
STAGES = ("graph", "epoch", "matches", "whole")
# What ours can do by itself, by settings: float32, and bfloat16 where the processor has it.
SIDES: dict[str, Settings] = {
    "default": SETTINGS["default"],
    "published": SETTINGS["published"],
    "published, bfloat16": replace(SETTINGS["published"], precision="bfloat16"),
}


def make(size: str, folder: Path) -> list[Path]:
    """Files of real slices, or of simulated ones of 1,000 genes thinned to a density of 10 %."""
    spots, n_slices = SIZES[size]
    if size == "14k":
        return sorted(DATA.glob(FILES["dlpfc"]))
    folder.mkdir(parents=True, exist_ok=True)
    paths = [folder / f"{seed:02d}{side}.h5ad" for seed in range(n_slices // 2) for side in "ab"]
    for seed in range(n_slices // 2):
        pair = paths[2 * seed : 2 * seed + 2]
        if all(path.exists() for path in pair):
            continue
        made = simulated_olfactory_bulb(
            seed=seed, n_slide_seq=spots, n_stereo_seq=spots, n_genes=1000
        )
        for path, adata in zip(pair, made, strict=True):
            thinned(adata, seed).write_h5ad(path)
    return paths


def thinned(adata: AnnData, seed: int) -> AnnData:
    rng, counts = np.random.default_rng(seed), adata.X.tocsr().astype(np.int64)
    while counts.nnz > DENSITY * np.prod(counts.shape):
        counts.data = rng.binomial(counts.data, 0.7)
        counts.eliminate_zeros()
    adata.X = counts.astype(np.float32)
    return adata


@dataclass(frozen=True)
class Job:
    """One measurement, as it is handed to a process of its own."""

    side: str
    stage: str
    size: str
    paths: list[str]
    rounds: int
    cpu: bool

    @property
    def clock(self) -> Callable[[], float]:
        return time.process_time if self.cpu else time.perf_counter

    def timed(self, run: Callable[[], object]) -> float:
        run()
        taken = []
        for _ in range(self.rounds):
            start = self.clock()
            run()
            taken.append(self.clock() - start)
        return float(np.median(taken))


def measure(job: Job) -> dict[str, float]:
    seconds = whole(job) if job.stage == "whole" else stage(job)
    return {"seconds": seconds, "peak": peak_memory()}


def peak_memory() -> float:
    """Most memory this process held so far, MB."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmHWM")) / 1024


def whole_settings(side: str) -> Settings:
    """Settings of a whole run."""
    return replace(SIDES[side], domains=7, seed=0, mnn_k=50)


def whole(job: Job) -> float:
    """From the files to the written result, with our settings."""
    settings = whole_settings(job.side)
    start = job.clock()
    slices = read_slices(job.paths, backed=True)
    with tempfile.TemporaryDirectory() as folder:
        write_result(finish(integrate_steps(slices, settings)), Path(folder) / "out.h5ad")
    return job.clock() - start


def stage(job: Job) -> float:
    """A stage, on slices that are prepared in the same process."""
    ready = finish(prepare_steps(read_slices(job.paths, backed=True), Settings()))
    places = [(name, adata.obsm["spatial"]) for name, adata in ready.slices]
    if job.stage == "graph" and job.side != "plain":
        return job.timed(lambda: finish(graph_steps(places, Settings())))
    graphs = finish(graph_steps(places, Settings()))
    data = Prepared(
        tuple(name for name, _ in places),
        ready.expression.sizes,
        ready.expression,
        block_diag([g.connectivities for g in graphs.values()], format="csr"),
        np.concatenate([points for _, points in places]),
        ready.log_depth,
    )
    return (plain if job.side == "plain" else ours)(job, data, graphs)


def ours(job: Job, data: Prepared, graphs: dict[str, SpatialGraph]) -> float:
    settings = replace(SIDES[job.side], seed=0, mnn_k=50)
    if job.stage == "epoch":
        trainer = Trainer(data, settings)
        triplets = Triplets(*some_triplets(sum(data.sizes)))
        return job.timed(lambda: trainer.step(0, triplets))
    if settings.search_spots:
        trainer = Trainer(data, replace(settings, components=30))
        return job.timed(lambda: finish(trainer.matcher.find(trainer.input.scores, 0, 1)))
    z, rows = embedding(data), torch.arange(sum(data.sizes)).split(list(data.sizes))
    pairs = [(i, j) for i in range(len(rows)) for j in range(i)]
    return job.timed(
        lambda: [mutual_nearest(z, rows[i], rows[j], settings.mnn_k) for i, j in pairs]
    )


def plain(job: Job, data: Prepared, graphs: dict[str, SpatialGraph]) -> float:
    import plain_trainer as p

    places = np.split(data.coordinates, np.cumsum(data.sizes)[:-1])
    radius = [graph.radius for graph in graphs.values()]
    if job.stage == "graph":
        return job.timed(lambda: p.graph(places, radius))
    if job.stage == "matches":
        z = embedding(data).numpy()
        return job.timed(lambda: p.matches(z, data.sizes, 50))
    x = torch.from_numpy(data.expression.stacked().toarray())
    model = p.model(x.shape[1])
    adam = p.optimizer(model)
    edges, triplets = p.graph(places, radius), some_triplets(len(x))
    return job.timed(lambda: p.epoch(model, adam, x, edges, triplets))


def some_triplets(n: int) -> torch.Tensor:
    return torch.randint(n, (3, 4 * n), generator=torch.Generator().manual_seed(0))


def embedding(data: Prepared) -> torch.Tensor:
    """A stand-in for z with structure: 30 principal components."""
    return Trainer(data, replace(Settings(), components=30)).input.scores


def in_a_process(job: Job) -> dict[str, float]:
    command = [sys.executable, "-W", "ignore", __file__, "--child", json.dumps(vars(job))]
    threads = {"OMP_NUM_THREADS": "1"} if job.cpu else {}
    out = subprocess.run(
        command, capture_output=True, text=True, check=False, env=os.environ | threads
    )
    if out.returncode:
        raise RuntimeError(out.stderr)
    return json.loads(out.stdout.splitlines()[-1])


def wanted(size: str, stages: list[str]) -> list[tuple[str, str]]:
    """Sides and stages that are measured at a size, in this order."""
    sides = [*SIDES, *(["plain"] if size in PLAIN_FITS else [])]
    found = [(side, stage) for stage in STAGES[:3] for side in sides if stage in stages]
    # What the precision or the settings do not change, and what would take an hour.
    once = [("published, bfloat16", "graph"), ("published, bfloat16", "matches")]
    once += [("published", "graph")] + ([("published", "matches")] if size == "1M" else [])
    found = [pair for pair in found if pair not in once]
    return [*found, *([("default", "whole")] if "whole" in stages else [])]


def compare(
    size: str, paths: list[Path], rounds: int, cpu: bool, stages: list[str]
) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = []
    for side, stage in wanted(size, stages):
        job = Job(side, stage, size, list(map(str, paths)), rounds, cpu)
        rows.append({"size": size, "side": side, "stage": stage} | in_a_process(job))
        print(rows[-1], flush=True)
    taken = {(row["side"], row["stage"]): row for row in rows}
    for side in ("published", "plain"):
        graph = taken.get((side, "graph"), taken.get(("default", "graph")))
        parts = [graph, taken.get((side, "epoch")), taken.get((side, "matches"))]
        if None in parts:
            continue
        # Graph, 1,000 epochs, matches five times and once for the result.
        total = sum(n * part["seconds"] for n, part in zip((1, 1000, 6), parts, strict=True))
        peak = max(part["peak"] for part in parts)
        rows.append({"size": size, "side": side, "stage": "whole", "seconds": total, "peak": peak})
    return rows


def show(rows: list[dict[str, Any]]) -> None:
    from rich.console import Console
    from rich.table import Table

    table = Table("spots", "stage", "side", "seconds", "peak, MB", "plain / it: time", "memory")
    for row in rows:
        like = [
            other
            for other in rows
            if (other["size"], other["stage"], other["side"])
            == (row["size"], row["stage"], "plain")
        ]
        ratios = [f"{like[0][key] / row[key]:.1f}" for key in ("seconds", "peak")] if like else []
        cells = (
            row["size"],
            row["stage"],
            row["side"],
            f"{row['seconds']:.3g}",
            f"{row['peak']:.0f}",
        )
        table.add_row(*cells, *ratios)
    Console(width=110).print(table)


def plot(rows: list[dict[str, Any]], path: Path) -> None:
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(2, len(STAGES), figsize=(13, 6), sharex=True, layout="constrained")
    for column, stage in enumerate(STAGES):
        for side in ("plain", "published", "published, bfloat16", "default"):
            mine = [row for row in rows if (row["stage"], row["side"]) == (stage, side)]
            at = [SPOTS[row["size"]] for row in mine]
            for axis, key in zip(axes[:, column], ("seconds", "peak"), strict=True):
                axis.loglog(at, [row[key] for row in mine], "o-", label=side)
        for axis in axes[:, column]:
            seen = sorted({row["size"] for row in rows}, key=SPOTS.__getitem__)
            axis.set_xticks(
                [SPOTS[size] for size in seen], [f"{size[:-1]} {size[-1]}" for size in seen]
            )
            axis.xaxis.set_minor_locator(plt.NullLocator())
            axis.yaxis.set_major_formatter(plt.FuncFormatter(lambda value, _: f"{value:g}"))
            axis.yaxis.set_minor_formatter(plt.NullFormatter())
        axes[0, column].set_title(stage)
        axes[1, column].set_xlabel("spots")
    for axis in axes[1]:
        axis.set_yscale("linear")
        axis.set_ylim(bottom=0)
    axes[0, 0].set_ylabel("seconds")
    axes[1, 0].set_ylabel("peak memory, MB")
    axes[0, 0].legend()
    figure.savefig(path, dpi=110)


def main(
    sizes: Annotated[list[str] | None, typer.Argument(help=", ".join(SIZES))] = None,
    rounds: int = 3,
    stages: Annotated[
        list[str] | None, typer.Option("--stage", help=f"Only this; {', '.join(STAGES)}.")
    ] = None,
    cpu: Annotated[bool, typer.Option("--cpu", help="Processor time of one thread.")] = False,
    files: Annotated[Path | None, typer.Option(help="Keep the simulated files there.")] = None,
    keep: Annotated[Path | None, typer.Option(help="Add the rows to this JSON file.")] = None,
    draw: Annotated[Path | None, typer.Option("--plot", help="Plot the rows of --keep.")] = None,
    child: Annotated[str, typer.Option(hidden=True)] = "",
) -> None:
    if child:
        job = Job(**json.loads(child))
        torch.set_num_threads(1 if job.cpu else 2)
        print(json.dumps(measure(job)))
        return
    rows = json.loads(keep.read_text()) if keep and keep.exists() else []
    known = {"14k"} if not any(DATA.glob(FILES["dlpfc"])) else set()
    asked = sizes if sizes is not None or draw else ["3k", "14k"]
    for size in [s for s in asked or () if s not in known]:
        with tempfile.TemporaryDirectory() as folder:
            paths = make(size, (files or Path(folder)) / size)
            rows = [row for row in rows if row["size"] != size]
            rows += compare(size, paths, rounds, cpu, stages or list(STAGES))
        if keep:
            keep.write_text(json.dumps(rows, indent=1))
    show(rows)
    if draw:
        plot(rows, draw)


if __name__ == "__main__":
    typer.run(main)
