"""One rank beside two, one thread each: seconds by stage, and the peak memory of a rank.

Processor time of the busier rank is told beside time by the clock, which means little on a machine
that others use: ranks wait for each other without taking a processor. Slices are simulated as in
engine.py, and left in --files.

    python benchmarks/ranks.py compare --spots 200000 --slices 8
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from dataclasses import replace
from pathlib import Path
from typing import Annotated

import numpy as np
import typer
from engine import peak_memory, thinned, whole_settings

from napari_staligner import read_slices, write_result
from napari_staligner.core.integrate import integrate_steps
from napari_staligner.core.training.ranks import MEETING, Ranks
from napari_staligner.samples import simulated_olfactory_bulb

PARTS = {
    "check|variable genes|graph": "read, check, genes, graphs",
    "estimate": "components, first epoch",
    "match": "searches for matches",
    "attention|reconstruction": "attention, residuals",
    "confidence": "confidence",
    "domains|presence|blocks": "domains",
    "register all|register$|residuals": "registration, all together",
    "register": "registration, pair by pair",
}
OTHER = "join, write"
app = typer.Typer()


def slices_in(folder: Path, spots: int, slices: int) -> list[Path]:
    """Files of simulated slices of 1,000 genes, thinned to a density of 10 %."""
    folder.mkdir(parents=True, exist_ok=True)
    own = spots // slices
    paths = [folder / f"{own}-{number:02d}.h5ad" for number in range(slices)]
    for seed in range(0, slices, 2):
        if not all(path.exists() for path in paths[seed : seed + 2]):
            made = simulated_olfactory_bulb(
                seed=seed, n_slide_seq=own, n_stereo_seq=own, n_genes=1000
            )
            for path, adata in zip(paths[seed : seed + 2], made, strict=False):
                thinned(adata, seed).write_h5ad(path)
    return paths


@app.command()
def rank(place: Path, epochs: int, paths: list[Path]) -> None:
    """Integrate as one rank; leave seconds by stage in PLACE."""
    ranks = Ranks.joined()
    settings = replace(
        whole_settings("default"),
        precision="float32",
        tolerance=0.0,
        pretrain_epochs=epochs,
        epochs=epochs,
        refresh=max(1, epochs // 2),
    )
    clocks = (time.process_time, time.time)
    seconds: dict[str, list[float]] = defaultdict(lambda: [0.0, 0.0])
    since, stage = [clock() for clock in clocks], ""

    def enter(part: str) -> None:
        nonlocal since
        now = [clock() for clock in clocks]
        seconds[part] = [a + b - c for a, b, c in zip(seconds[part], now, since, strict=True)]
        since = now

    steps = integrate_steps(read_slices(paths, backed=True), settings, None, ranks)
    while True:
        try:
            step = next(steps)
        except StopIteration as end:
            result = end.value
            break
        # An epoch is told when it is done, all else before.
        if step.loss and stage != "estimate":
            enter(f"epochs, {step.stage}")
        else:
            enter(next((p for words, p in PARTS.items() if re.match(words, stage)), OTHER))
        stage = step.stage
    if not ranks.rank:
        write_result(result, place / f"{ranks.size}.h5ad")
        np.save(place / f"{ranks.size}.npy", result.obsm["STAligner"])
    enter(OTHER)
    said = {"peak": peak_memory(), "seconds": seconds}
    (place / f"{ranks.size}-{ranks.rank}.json").write_text(json.dumps(said))


@app.command()
def compare(
    spots: Annotated[int, typer.Option(help="Of all slices together.")] = 200_000,
    slices: Annotated[int, typer.Option(help="An even number.")] = 8,
    epochs: Annotated[int, typer.Option(help="Of each kind.")] = 10,
    sizes: Annotated[str, typer.Option(help="Numbers of ranks.")] = "1,2",
    files: Annotated[Path, typer.Option(help="Where the slices are left.")] = Path("slices"),
) -> None:
    """Measure several numbers of ranks one after the other."""
    paths = [str(path) for path in slices_in(files, spots, slices)]
    with tempfile.TemporaryDirectory() as name:
        place = Path(name)
        tables = {size: measured(place, size, epochs, paths) for size in map(int, sizes.split(","))}
        first = next(iter(tables))
        embeddings = {size: np.load(place / f"{size}.npy") for size in tables}
    for clock, title in enumerate(("processor time of the busier rank", "by the clock")):
        print(f"{title}, s; ratio to the last")
        for part in tables[first]:
            row = [table[part][clock] for table in tables.values()]
            shown = "".join(f"{value:10.2f}" for value in row)
            print(f"  {part:30}{shown}   {row[0] / row[-1] if row[-1] else float('nan'):.2f}")
    same = all(np.array_equal(embeddings[first], other) for other in embeddings.values())
    print(f"the same bits: {same}; cores {os.cpu_count()}, load {os.getloadavg()[0]:.1f}")


def measured(place: Path, size: int, epochs: int, paths: list[str]) -> dict[str, list[float]]:
    """Run so many ranks; return for each part the most that one took, by both clocks."""
    own = {"WORLD_SIZE": str(size), MEETING: str(place / f"{size}.meeting")}
    own |= {"OMP_NUM_THREADS": "1", "OMP_WAIT_POLICY": "passive"}
    command = [sys.executable, "-W", "ignore", __file__, "rank", str(place), str(epochs), *paths]
    started = [
        subprocess.Popen(command, env=os.environ | own | {"RANK": str(rank)})
        for rank in range(size)
    ]
    if sum(each.wait() != 0 for each in started):
        sys.exit("A rank failed.")
    said = [json.loads((place / f"{size}-{rank}.json").read_text()) for rank in range(size)]
    peaks = ", ".join(f"{each['peak']:,.0f}" for each in said)
    print(f"{size}: peak memory {peaks} MB", flush=True)
    seconds = [each["seconds"] for each in said]
    parts = dict.fromkeys(part for table in seconds for part in table)
    most = {
        part: [max(table.get(part, [0, 0])[clock] for table in seconds) for clock in (0, 1)]
        for part in parts
    }
    # In each part they wait for the busier one.
    return most | {"whole": [sum(each[clock] for each in most.values()) for clock in (0, 1)]}


if __name__ == "__main__":
    app()
