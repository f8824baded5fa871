"""Time and peak memory of each stage, ours against the published trainer written plainly.

Every measurement runs in a process of its own, ours and the plain one by turns, on the same
prepared slices; what is printed are ratios. The plain one runs where its dense matrices fit.

    python benchmarks/engine.py                      3 k and 14 k spots
    python benchmarks/engine.py 50k 200k             ours alone
    python benchmarks/engine.py --plot docs/images/engine.png
"""

from __future__ import annotations

import json
import os
import pickle
import subprocess
import sys
import tempfile
import time
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import torch
import typer
from anndata import AnnData
from scipy.sparse import block_diag
from slices import DATA, load

from napari_staligner import Settings
from napari_staligner.core.graph import graph_steps
from napari_staligner.core.integrate import prepare_steps
from napari_staligner.core.progress import finish
from napari_staligner.core.settings import SETTINGS
from napari_staligner.core.slices import log_depth
from napari_staligner.core.trainer import Trainer
from napari_staligner.core.training import Prepared, train
from napari_staligner.core.triplets import Triplets, mutual_nearest
from napari_staligner.samples import simulated_olfactory_bulb

# Spots of a slice, and slices; 14k are the four real slices of human cortex.
SIZES = {"3k": (1500, 2), "14k": (0, 4), "50k": (6250, 8), "200k": (25_000, 8)}
PLAIN_FITS = ("3k", "14k")
DENSITY = 0.10
STAGES = ("graph", "epoch", "matches", "whole")


def make(size: str) -> list[tuple[str, AnnData]]:
    """Real slices, or simulated ones of 1,000 genes thinned to a density of 10 %."""
    spots, n_slices = SIZES[size]
    if size == "14k":
        return load("dlpfc")
    found: list[tuple[str, AnnData]] = []
    for seed in range(n_slices // 2):
        pair = simulated_olfactory_bulb(
            seed=seed, n_slide_seq=spots, n_stereo_seq=spots, n_genes=1000
        )
        found += [(f"{seed}{side}", thinned(a, seed)) for side, a in zip("ab", pair, strict=True)]
    return found


def thinned(adata: AnnData, seed: int) -> AnnData:
    rng, counts = np.random.default_rng(seed), adata.X.tocsr().astype(np.int64)
    while counts.nnz > DENSITY * np.prod(counts.shape):
        counts.data = rng.binomial(counts.data, 0.7)
        counts.eliminate_zeros()
    adata.X = counts.astype(np.float32)
    return adata


def prepare(size: str, path: Path) -> None:
    slices, _, expression = finish(prepare_steps(make(size), Settings()))
    places = [(name, adata.obsm["spatial"]) for name, adata in slices]
    graphs = finish(graph_steps(places, Settings()))
    data = Prepared(
        tuple(name for name, _ in places),
        tuple(len(points) for _, points in places),
        expression,
        block_diag([g.connectivities for g in graphs.values()], format="csr"),
        np.concatenate([points for _, points in places]),
        log_depth(slices, None),
    )
    radius = [g.radius for g in graphs.values()]
    path.write_bytes(pickle.dumps((data, radius, [points for _, points in places])))


def some_triplets(n: int) -> torch.Tensor:
    return torch.randint(n, (3, 4 * n), generator=torch.Generator().manual_seed(0))


def embedding(data: Prepared) -> torch.Tensor:
    """A stand-in for z with structure: 30 principal components."""
    return Trainer(data, replace(Settings(), components=30)).input.scores


def timed(run: Any, rounds: int) -> float:
    run()
    taken = []
    for _ in range(rounds):
        start = time.perf_counter()
        run()
        taken.append(time.perf_counter() - start)
    return float(np.median(taken))


def measure(side: str, stage: str, path: Path, rounds: int) -> dict[str, float]:
    data, radius, places = pickle.loads(path.read_bytes())
    n = sum(data.sizes)
    seconds = (plain if side == "plain" else ours)(side, stage, data, radius, places, rounds, n)
    return {"seconds": seconds, "peak": peak_memory()}


def peak_memory() -> float:
    """Most memory this process held so far, MB."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmHWM")) / 1024


def ours(
    side: str, stage: str, data: Prepared, radius: Any, places: Any, rounds: int, n: int
) -> float:
    settings = replace(SETTINGS[side], domains=7, seed=0, mnn_k=50)
    if stage == "graph":
        named = list(zip(data.names, places, strict=True))
        return timed(lambda: finish(graph_steps(named, settings)), 1)
    if stage == "epoch":
        trainer = Trainer(data, settings)
        triplets = Triplets(*some_triplets(n))
        return timed(lambda: trainer.step(0, triplets), rounds)
    if stage == "matches":
        z = embedding(data)
        rows = torch.arange(n).split(list(data.sizes))
        pairs = [(i, j) for i in range(len(rows)) for j in range(i)]
        return timed(
            lambda: [mutual_nearest(z, rows[i], rows[j], settings.mnn_k) for i, j in pairs], 1
        )
    start = time.perf_counter()
    finish(train(data, settings))
    return time.perf_counter() - start


def plain(
    side: str, stage: str, data: Prepared, radius: Any, places: Any, rounds: int, n: int
) -> float:
    import plain_trainer as p

    if stage == "graph":
        return timed(lambda: p.graph(places, radius), 1)
    if stage == "matches":
        z = embedding(data).numpy()
        return timed(lambda: p.matches(z, data.sizes, 50), 1)
    x = torch.from_numpy(data.expression.toarray())
    model = p.model(x.shape[1])
    adam = p.optimizer(model)
    edges, triplets = p.graph(places, radius), some_triplets(n)
    return timed(lambda: p.epoch(model, adam, x, edges, triplets), rounds)


def in_a_process(side: str, stage: str, path: Path, rounds: int) -> dict[str, float]:
    command = [
        sys.executable,
        "-W",
        "ignore",
        __file__,
        "--child",
        f"{side},{stage},{path},{rounds}",
    ]
    out = subprocess.run(command, capture_output=True, text=True, check=False, env=os.environ)
    if out.returncode:
        raise RuntimeError(out.stderr)
    return json.loads(out.stdout.splitlines()[-1])


def compare(size: str, path: Path, rounds: int, whole: bool) -> list[dict[str, Any]]:
    rows = []
    sides = ["default", "published", *(["plain"] if size in PLAIN_FITS else [])]
    for stage in STAGES:
        if stage == "whole" and not whole:
            continue
        for side in sides:
            if stage == "whole" and side != "default":
                continue  # a thousand epochs: added up below from what one takes
            row = {"size": size, "side": side, "stage": stage}
            rows.append(row | in_a_process(side, stage, path, rounds))
            print(rows[-1], flush=True)
    taken = {(row["side"], row["stage"]): row for row in rows}
    for side in sides[1:] if whole else []:
        parts = [taken[side, stage] for stage in ("graph", "epoch", "matches")]
        # Graph, 1,000 epochs, matches five times and once for the result.
        total = parts[0]["seconds"] + 1000 * parts[1]["seconds"] + 6 * parts[2]["seconds"]
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

    spots = {"3k": 3000, "14k": 14_364, "50k": 50_000, "200k": 200_000}
    figure, axes = plt.subplots(2, len(STAGES), figsize=(13, 6), sharex=True, layout="constrained")
    for column, stage in enumerate(STAGES):
        for side in ("plain", "published", "default"):
            mine = [row for row in rows if (row["stage"], row["side"]) == (stage, side)]
            at = [spots[row["size"]] for row in mine]
            for axis, key in zip(axes[:, column], ("seconds", "peak"), strict=True):
                axis.loglog(at, [row[key] for row in mine], "o-", label=side)
        for axis in axes[:, column]:
            seen = sorted({row["size"] for row in rows}, key=spots.__getitem__)
            axis.set_xticks([spots[size] for size in seen], [size[:-1] + " k" for size in seen])
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
    whole: Annotated[bool, typer.Option(help="Train to the end with our settings.")] = True,
    keep: Annotated[Path | None, typer.Option(help="Add the rows to this JSON file.")] = None,
    draw: Annotated[Path | None, typer.Option("--plot", help="Plot the rows of --keep.")] = None,
    child: Annotated[str, typer.Option(hidden=True)] = "",
) -> None:
    torch.set_num_threads(2)
    if child:
        side, stage, path, times = child.split(",")
        print(json.dumps(measure(side, stage, Path(path), int(times))))
        return
    rows = json.loads(keep.read_text()) if keep and keep.exists() else []
    known = {"14k"} if not any(DATA.glob("DLPFC*.h5ad")) else set()
    for size in [s for s in sizes or ("3k", "14k") if s not in known]:
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "prepared"
            prepare(size, path)
            rows = [row for row in rows if row["size"] != size]
            rows += compare(size, path, rounds, whole)
        if keep:
            keep.write_text(json.dumps(rows, indent=1))
    show(rows)
    if draw:
        plot(rows, draw)


if __name__ == "__main__":
    typer.run(main)
