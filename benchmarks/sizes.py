"""Slices of very different size, that show the same: each finds its layers, and all are shared.

python benchmarks/sizes.py                      the sets below, seed 0
python benchmarks/sizes.py --seeds 3
"""

from __future__ import annotations

import time

import numpy as np
import typer
from anndata import AnnData
from scipy import sparse
from sklearn.metrics import adjusted_rand_score

from napari_staligner import integrate

SETS = ((300, 10_000), (500, 20_000), (1000, 30_000), (300, 2000, 12_000))
LAYERS, GENES = 4, 200


def layered(n: int, seed: int) -> tuple[AnnData, np.ndarray]:
    """Four layers on a square grid, each with a quarter of the genes."""
    width = int(np.ceil(n**0.5))
    column, row = np.divmod(np.arange(n), width)[::-1]
    layer = row * LAYERS // (row.max() + 1)
    means = np.where(layer[:, None] == np.arange(GENES) * LAYERS // GENES, 5, 0.7)
    counts = np.random.default_rng(seed).poisson(means).astype(np.float32)
    places = np.stack([column, row], axis=1) * 100.0
    return AnnData(sparse.csr_matrix(counts), obsm={"spatial": places}), layer


def main(seeds: int = 1) -> None:
    for sizes in SETS:
        for seed in range(seeds):
            made = [layered(n, number) for number, n in enumerate(sizes, 1)]
            start = time.perf_counter()
            found = integrate(
                [adata for adata, _ in made],
                domains=LAYERS,
                seed=seed,
                pretrain_epochs=40,
                epochs=40,
                hidden=64,
            )
            domains = np.split(found.obs["domain"].to_numpy(), np.cumsum(sizes)[:-1])
            agreed = [
                adjusted_rand_score(layer, domain)
                for (_, layer), domain in zip(made, domains, strict=True)
            ]
            verdicts = found.uns["staligner"]["presence"]["verdict"].value_counts().to_dict()
            taken = time.perf_counter() - start
            said = " ".join(f"{value:.3f}" for value in agreed)
            print(f"{sizes} seed {seed}: ARI {said}, {verdicts}, {taken:.0f} s", flush=True)


if __name__ == "__main__":
    typer.run(main)
