"""Agreement of domains with the truth, and mixing of slices, over several seeds.

iLISI and cLISI are medians over spots of the inverse Simpson index of slices and of labels among
the 90 spots nearest in z, scaled to 0..1 (cLISI as 1 minus that). F1 is that of the domain that
covers a structure best.

    python benchmarks/quality.py dlpfc                      our settings, five seeds
    python benchmarks/quality.py dlpfc --precision float32
    python benchmarks/quality.py dlpfc --settings published --precision float32
    python benchmarks/quality.py dlpfc --without WM         the white matter in the first slice only
"""

from __future__ import annotations

import time
from typing import Annotated

import numpy as np
import typer
from anndata import AnnData
from sklearn.metrics import adjusted_rand_score
from sklearn.neighbors import NearestNeighbors
from slices import TRUTH, load, without_structure

from napari_staligner import Settings, integrate

PRESETS = {"sample": "slide-seq", "dlpfc": "visium", "mob": "visium"}
DOMAINS = {"sample": 9, "dlpfc": 7, "mob": 5}
RARE = {"sample": ["AOB", "AOBgr"]}
NEIGHBORS = 90


def lisi(near: np.ndarray, labels: np.ndarray) -> tuple[np.ndarray, int]:
    found, codes = np.unique(labels, return_inverse=True)
    shares = np.stack([(codes[near] == code).mean(axis=1) for code in range(len(found))], axis=1)
    return 1 / np.square(shares).sum(axis=1), len(found)


def best_f1(domain: np.ndarray, wanted: np.ndarray) -> float:
    scores = []
    for name in np.unique(domain):
        held = domain == name
        scores.append(2 * (held & wanted).sum() / (held.sum() + wanted.sum()))
    return max(scores)


def figures(adata: AnnData, truth: str, rare: list[str]) -> dict[str, float]:
    labels = adata.obs[truth].astype(str).to_numpy()
    known = adata.obs[truth].notna().to_numpy()
    domain = adata.obs["domain"].astype(str).to_numpy()
    z = adata.obsm["STAligner"]
    finder = NearestNeighbors(n_neighbors=min(NEIGHBORS, len(z) - 1) + 1).fit(z)
    near = finder.kneighbors(z, return_distance=False)[:, 1:]
    mixed, n_slices = lisi(near, adata.obs["slice"].astype(str).to_numpy())
    pure, n_labels = lisi(near, labels)
    said = {
        "ARI": adjusted_rand_score(labels[known], domain[known]),
        "iLISI": (np.median(mixed) - 1) / (n_slices - 1),
        "cLISI": 1 - (np.median(pure[known]) - 1) / (n_labels - 1),
        "stability": adata.uns["staligner"]["domain_stability"],
        "epochs": len(adata.uns["staligner"]["loss"]["reconstruction"]),
    }
    return said | {f"F1 {name}": best_f1(domain, labels == name) for name in rare}


def main(
    name: Annotated[str, typer.Argument(help="sample, dlpfc or mob")],
    settings: Annotated[str, typer.Option(help="default or published")] = "default",
    without: Annotated[str, typer.Option(help="Leave a label in the first slice only.")] = "",
    seeds: int = 5,
    positives: str = "random",
    precision: Annotated[str, typer.Option(help="auto, float32 or bfloat16")] = "auto",
) -> None:
    slices, rows = load(name), []
    if without:
        slices = without_structure(slices, TRUTH[name], without)
    for seed in range(seeds):
        start = time.perf_counter()
        adata = integrate(
            slices,
            settings=Settings().as_named(settings),
            preset=PRESETS[name],
            domains=DOMAINS[name],
            seed=seed,
            positives=positives,
            precision=precision,
        )
        taken = time.perf_counter() - start
        rare = [without] if without else RARE.get(name, [])
        rows.append(figures(adata, TRUTH[name], rare) | {"seconds": taken})
        print(seed, {key: round(float(value), 3) for key, value in rows[-1].items()}, flush=True)
    for key in rows[0]:
        values = [row[key] for row in rows]
        print(f"{key:10} {np.mean(values):.3f} ± {np.std(values):.3f}")


if __name__ == "__main__":
    typer.run(main)
