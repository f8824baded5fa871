"""Ours and the yardsticks on all slices: agreement with the truth and mixing, over several seeds.

Prints a table for each set of slices, mean ± sd over seeds, and says where ours is not first. Every
method has domains of the same mixture, as many as there are labels. iLISI and cLISI are harmonypy's
(the number of slices is best, and 1); unweighted they are scaled to 0..1, 1 is best. F1 is the mean
of the labels, matched one to one; "F1 of" a structure is that of the domain that covers it best.
The sets mob2k and breast have no labels.

    python benchmarks/quality.py                            all sets, five seeds, with yardsticks
    python benchmarks/quality.py barista --seeds 2
    python benchmarks/quality.py dlpfc --no-yardsticks --precision float32
    python benchmarks/quality.py dlpfc --settings published --no-yardsticks --precision float32
    python benchmarks/quality.py dlpfc --without WM         the white matter in the first slice only
    python benchmarks/quality.py --keep rows.jsonl          a run that ends goes on from there
"""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import pandas as pd
import typer
from anndata import AnnData
from slices import FILES, TRUTH, load, without_structure

from napari_staligner import Settings, integrate
from napari_staligner import _keys as K
from napari_staligner.core.evaluation.baselines import TITLES, beside_yardsticks
from napari_staligner.core.evaluation.evaluation import evaluate
from napari_staligner.core.evaluation.metrics import METRICS

PRESETS = {"sample": "slide-seq", "barista": "imaging"}
DOMAINS = {"sample": 9, "dlpfc": 7, "barista": 6, "mob": 5, "her2": 6, "mob2k": 5, "breast": 6}
RARE = {"sample": ["AOB", "AOBgr"]}
FIGURES = ("ari", "nmi", "f1", "ilisi_raw", "clisi_raw", "ilisi_unweighted", "clisi_unweighted")
DECISIVE = FIGURES[:5]
"""Those that ours is compared in."""
OURS = TITLES[K.EMBEDDING]


def best_f1(domain: np.ndarray, wanted: np.ndarray) -> float:
    scores = []
    for name in np.unique(domain):
        held = domain == name
        scores.append(2 * (held & wanted).sum() / (held.sum() + wanted.sum()))
    return max(scores)


def rows_of(
    adata: AnnData, truth: str | None, rare: list[str], *, yardsticks: bool
) -> list[dict[str, Any]]:
    """A row of figures for each method."""
    keys = beside_yardsticks(adata)[0] if yardsticks else (K.EMBEDDING,)
    start = time.perf_counter()
    found = evaluate(adata, truth, keys)
    print(f"  figures and yardsticks: {time.perf_counter() - start:.0f} s", flush=True)
    rows = []
    for key, figures in found.figures.items():
        row = {"method": TITLES[key]} | {f: figures.overall.get(f, np.nan) for f in FIGURES}
        for name in rare:
            row[f"F1 of {name}"] = best_f1(figures.domains, (adata.obs[truth] == name).to_numpy())
        rows.append(row)
    return rows


def heading(column: str) -> str:
    if column not in METRICS:
        return column
    return METRICS[column].title + (" ↑" if METRICS[column].higher_is_better else " ↓")


def show(name: str, frame: pd.DataFrame) -> None:
    """Print mean ± sd of each method, and where ours is not first."""
    groups = frame.drop(columns=["set", "seed"]).groupby("method", sort=False)
    means, deviations = groups.mean(), groups.std(ddof=0)
    cells = means.copy().astype(object)
    for method in means.index:
        for column in means:
            mean, deviation = means.loc[method, column], deviations.loc[method, column]
            cells.loc[method, column] = "–" if np.isnan(mean) else f"{mean:.3f} ± {deviation:.3f}"
    seeds = frame["seed"].nunique()
    print(f"\n## {name}, {seeds} seed{'s' * (seeds > 1)}\n")
    print("| method | " + " | ".join(map(heading, cells.columns)) + " |")
    print("|---" * (1 + len(cells.columns)) + "|")
    for method, row in cells.iterrows():
        print(f"| {method} | " + " | ".join(row) + " |")
    print()
    for line in not_first(means):
        print(line)


def not_first(means: pd.DataFrame) -> list[str]:
    """A sentence for each figure in which another method is better than ours."""
    if OURS not in means.index or len(means) < 2:
        return []
    said = []
    for key in DECISIVE:
        # Slices without labels have no agreement with any.
        ours = means.loc[OURS, key] if key in means else np.nan
        if np.isnan(ours):
            continue
        better = [m for m in means.index if METRICS[key].compare(means.loc[m, key], ours) > 0]
        better.sort(key=lambda m: means.loc[m, key], reverse=METRICS[key].higher_is_better)
        if better:
            others = ", ".join(f"{m} {means.loc[m, key]:.3f}" for m in better)
            said.append(f"Not first in {METRICS[key].title}: ours {ours:.3f}, {others}.")
    return said or ["Ours is first in all of them."]


def kept_rows(keep: Path | None) -> list[dict[str, Any]]:
    if keep is None or not keep.exists():
        return []
    return [json.loads(line) for line in keep.read_text().splitlines()]


def main(
    names: Annotated[
        list[str] | None, typer.Argument(help=f"sample, {', '.join(FILES)} [default: all]")
    ] = None,
    settings: Annotated[str, typer.Option(help="default or published")] = "default",
    without: Annotated[str, typer.Option(help="Leave a label in the first slice only.")] = "",
    seeds: int = 5,
    positives: str = "random",
    precision: Annotated[str, typer.Option(help="auto, float32 or bfloat16")] = "auto",
    yardsticks: Annotated[bool, typer.Option(help="Other methods beside ours.")] = True,
    keep: Annotated[
        Path | None, typer.Option(help="Rows are kept there, and those that are there are taken.")
    ] = None,
) -> None:
    rows = kept_rows(keep)
    for name in names or ["sample", *FILES]:
        slices = load(name)
        if not slices:
            print(f"{name}: its files are not there, so it is left out.")
            continue
        title = " ".join([name, *(["without", without, "but in one"] if without else []), settings])
        if without:
            slices = without_structure(slices, TRUTH[name], without)
        for seed in range(seeds):
            if any(row["set"] == title and row["seed"] == seed for row in rows):
                continue
            start = time.perf_counter()
            adata = integrate(
                slices,
                settings=Settings().as_named(settings),
                preset=PRESETS.get(name, "visium"),
                domains=DOMAINS[name],
                seed=seed,
                positives=positives,
                precision=precision,
            )
            print(f"{title}, seed {seed}: {time.perf_counter() - start:.0f} s", flush=True)
            rare = [without] if without else RARE.get(name, [])
            made = rows_of(adata, TRUTH.get(name), rare, yardsticks=yardsticks)
            made = [{"set": title, "seed": seed} | row for row in made]
            rows += made
            if keep is not None:
                with keep.open("a") as file:
                    file.writelines(json.dumps(row) + "\n" for row in made)
        of_set = pd.DataFrame([row for row in rows if row["set"] == title])
        show(title, of_set.dropna(axis="columns", how="all"))


if __name__ == "__main__":
    typer.run(main)
