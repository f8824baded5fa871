"""Agreement of domains with the truth, and mixing of slices, over several seeds.

iLISI and cLISI are medians over spots of the inverse Simpson index of slices and of labels among
the 90 spots nearest in z, scaled to 0..1 (cLISI as 1 minus that).
"""

from __future__ import annotations

import time
from typing import Annotated

import numpy as np
import typer
from anndata import AnnData
from sklearn.metrics import adjusted_rand_score
from sklearn.neighbors import NearestNeighbors
from slices import TRUTH, load

from napari_staligner import Settings, integrate

PRESETS = {"sample": Settings(domains=9), "dlpfc": Settings(domains=7).with_preset("visium")}
NEIGHBORS = 90


def lisi(near: np.ndarray, labels: np.ndarray) -> tuple[np.ndarray, int]:
    found, codes = np.unique(labels, return_inverse=True)
    shares = np.stack([(codes[near] == code).mean(axis=1) for code in range(len(found))], axis=1)
    return 1 / np.square(shares).sum(axis=1), len(found)


def figures(adata: AnnData, truth: str) -> dict[str, float]:
    labels = adata.obs[truth].astype(str).to_numpy()
    known = adata.obs[truth].notna().to_numpy()
    z = adata.obsm["STAligner"]
    finder = NearestNeighbors(n_neighbors=NEIGHBORS + 1).fit(z)
    near = finder.kneighbors(z, return_distance=False)[:, 1:]
    mixed, n_slices = lisi(near, adata.obs["slice"].astype(str).to_numpy())
    pure, n_labels = lisi(near, labels)
    return {
        "ARI": adjusted_rand_score(labels[known], adata.obs["domain"][known]),
        "iLISI": (np.median(mixed) - 1) / (n_slices - 1),
        "cLISI": 1 - (np.median(pure[known]) - 1) / (n_labels - 1),
    }


def main(
    name: Annotated[str, typer.Argument(help="sample or dlpfc")],
    seeds: int = 5,
    pretrain_epochs: int = 500,
    epochs: int = 500,
    positives: str = "random",
) -> None:
    slices, rows = load(name), []
    for seed in range(seeds):
        start = time.perf_counter()
        adata = integrate(
            slices,
            settings=PRESETS[name],
            seed=seed,
            pretrain_epochs=pretrain_epochs,
            epochs=epochs,
            positives=positives,
        )
        rows.append(figures(adata, TRUTH[name]) | {"seconds": time.perf_counter() - start})
        print(seed, {key: round(value, 3) for key, value in rows[-1].items()}, flush=True)
    for key in rows[0]:
        values = [row[key] for row in rows]
        print(f"{key:8} {np.mean(values):.3f} ± {np.std(values):.3f}")


if __name__ == "__main__":
    typer.run(main)
