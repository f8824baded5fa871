"""One rank beside two, one thread each: seconds and peak memory by part of a run.

Processor time of the busier rank is told beside time by the clock, which means little on a machine
that others use, but shows alone where ranks wait for each other. Memory is the most that any
rank held in a part; what of it is code of libraries, which ranks on one machine share, is told too.
Slices are simulated as in engine.py, and left in --files.

    python benchmarks/ranks.py compare --spots 200000 --slices 8
    python benchmarks/ranks.py compare --spots 200000 --slices 8 --epochs 0       until it settles
    python benchmarks/ranks.py compare --epochs 6 --keep kept.json
    python benchmarks/ranks_calculated.py kept.json --spots 1000000               by calculation
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import tempfile
import time
import zlib
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import pandas as pd
import typer
from anndata import AnnData
from engine import peak_memory, thinned, whole_settings
from scipy import sparse

from napari_staligner import read_slices, write_result
from napari_staligner.core.freed import keep_little
from napari_staligner.core.integrate import integrate_steps
from napari_staligner.core.training.ranks import MEETING, Ranks
from napari_staligner.samples import simulated_olfactory_bulb

PARTS = {
    "check|variable genes|graph": "read, check, genes, graphs",
    "estimate": "components, first epoch",
    "match": "searches for matches",
    "last match": "matches of all spots",
    "attention|reconstruction": "attention, residuals",
    "confidence": "confidence",
    "domains|presence|blocks": "domains",
    "register all|register$|residuals": "registration, all together",
    "register": "registration, pair by pair",
}
OTHER = "join, write"
TRAINING = (
    "components, first epoch",
    "epochs, pretrain",
    "searches for matches",
    "epochs, align",
    "attention, residuals",
    "matches of all spots",
)
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
    """Integrate as one rank; leave what each part took, and the result, in PLACE."""
    keep_little()
    ranks = Ranks.joined()
    settings = replace(whole_settings("default"), precision="float32")
    if epochs:
        each, refresh = {"pretrain_epochs": epochs, "epochs": epochs}, max(1, epochs // 2)
        settings = replace(settings, tolerance=0.0, refresh=refresh, **each)
    began, stage, last, meter = time.time(), "", False, Meter()
    steps = integrate_steps(read_slices(paths, backed=True), settings, None, ranks)
    while True:
        try:
            step = next(steps)
        except StopIteration as end:
            result = end.value
            break
        # An epoch is told when it is done, all else before.
        if step.loss and stage != "estimate":
            meter.enter(f"epochs, {step.stage}")
        else:
            meter.enter(next((p for words, p in PARTS.items() if re.match(words, stage)), OTHER))
        # Those of all spots come when nothing is trained any more.
        last |= step.stage == "attention"
        stage = f"last {step.stage}" if last and step.stage.startswith("match") else step.stage
    if not ranks.rank:
        write_result(result, place / f"{ranks.size}.h5ad")
    meter.enter(OTHER)
    said = {"parts": meter.parts, "whole": time.time() - began, "code": memory("RssFile")}
    if not ranks.rank:
        said["digests"] = digests(result)
    (place / f"{ranks.size}-{ranks.rank}.json").write_text(json.dumps(said))


class Meter:
    """Processor time, time by the clock, and peak memory of each part, in s and MB."""

    def __init__(self) -> None:
        self.parts: dict[str, list[float]] = defaultdict(lambda: [0.0, 0.0, 0.0])
        self._since = (time.process_time(), time.time())

    def enter(self, part: str) -> None:
        """What was done since the last call belongs to this part."""
        now, of = (time.process_time(), time.time()), self.parts[part]
        for clock in (0, 1):
            of[clock] += now[clock] - self._since[clock]
        of[2] = max(of[2], peak_memory())
        # The peak begins anew.
        Path("/proc/self/clear_refs").write_text("5")
        self._since = now


def memory(kind: str) -> float:
    """What this process holds of a kind, MB."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(kind)) / 1024


def digests(result: AnnData) -> dict[str, int]:
    """A number for each part of a result, to compare bits."""
    found = {}
    for slot in ("obs", "obsm", "obsp"):
        for name, value in dict(getattr(result, slot)).items():
            parts = [value]
            if sparse.issparse(value):
                parts = [value.data, value.indices, value.indptr]
            elif isinstance(value, pd.Series):
                parts = [pd.util.hash_pandas_object(value).to_numpy()]
            content = b"".join(np.ascontiguousarray(part).tobytes() for part in parts)
            found[f"{slot}[{name!r}]"] = zlib.crc32(content)
    return found


@app.command()
def compare(
    spots: Annotated[int, typer.Option(help="Of all slices together.")] = 200_000,
    slices: Annotated[int, typer.Option(help="An even number.")] = 8,
    epochs: Annotated[int, typer.Option(help="Of each kind; 0: until it settles.")] = 10,
    sizes: Annotated[str, typer.Option(help="Numbers of ranks.")] = "1,2",
    files: Annotated[Path, typer.Option(help="Where the slices are left.")] = Path("slices"),
    keep: Annotated[Path | None, typer.Option(help="A file for what is measured.")] = None,
) -> None:
    """Measure several numbers of ranks one after the other."""
    paths = [str(path) for path in slices_in(files, spots, slices)]
    with tempfile.TemporaryDirectory() as name:
        all_said = {n: measured(Path(name), n, epochs, paths) for n in map(int, sizes.split(","))}
    tables = [most(said) for said in all_said.values()]
    if keep is not None:
        by_size = dict(zip(all_said, tables, strict=True))
        how = {"spots": spots, "slices": slices, "epochs": epochs}
        keep.write_text(json.dumps(how | {"tables": by_size}))
    titles = (
        "processor time of the busier rank, s",
        "by the clock, s",
        "peak memory, MB",
    )
    for kind, title in enumerate(titles):
        print(f"{title}; ratio to the last")
        for part in tables[0]:
            row = [table.get(part, [0.0] * 3)[kind] for table in tables]
            shown = "".join(f"{value:10,.2f}" for value in row)
            print(f"  {part:30}{shown}   {row[0] / row[-1] if row[-1] else float('nan'):.2f}")
    first, *others = [said[0]["digests"] for said in all_said.values()]
    differ = sorted({key for other in others for key in first if first[key] != other.get(key)})
    print(f"the same bits: {', '.join(differ) + ' differ' if differ else 'yes'}")
    print(f"cores {os.cpu_count()}, load {os.getloadavg()[0]:.1f}")


def measured(place: Path, size: int, epochs: int, paths: list[str]) -> list[dict[str, Any]]:
    """Run so many ranks; return what each said."""
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
    peaks = ", ".join(f"{most([each])['whole'][2]:,.0f}" for each in said)
    code = max(each["code"] for each in said)
    print(f"{size}: peak memory {peaks} MB, of which {code:,.0f} are code", flush=True)
    return said


def most(said: Sequence[dict[str, Any]]) -> dict[str, list[float]]:
    """For each part, what the busier rank took; by the clock what the first did, which others help.

    The others begin with pairs of slices while the first still finds domains, and wait for it.
    """
    parts = dict.fromkeys(part for each in said for part in each["parts"])
    found = {
        part: [max(each["parts"].get(part, [0.0] * 3)[kind] for each in said) for kind in range(3)]
        for part in parts
    }
    for part, taken in found.items():
        taken[1] = said[0]["parts"].get(part, [0.0] * 3)[1]
    peak = max(each[2] for each in found.values())
    trained = [found[part] for part in parts if part in TRAINING]
    processor, clock, most_trained = zip(*trained, strict=True)
    whole = [sum(each[0] for each in found.values()), said[0]["whole"], peak]
    return found | {"training": [sum(processor), sum(clock), max(most_trained)], "whole": whole}


if __name__ == "__main__":
    app()
