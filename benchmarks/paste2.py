"""A peer: PASTE2 on series of sections, in the figure that ``registration.py`` prints.

python benchmarks/paste2.py her2 0.9 pca    in an environment of its own: pip install paste2

Sections are turned at random, every second one mirrored; adjacent ones are aligned by PASTE2 with
the share of overlap and the dissimilarity that are given, and laid on each other by its own
``partial_stack_slices_pairwise``. Printed is, for each pair of neighbours and in the mean, the
share of spots whose nearest one in the next section bears the same label. It imports nothing of
this project, as PASTE2 asks for other versions of its libraries.
"""

from __future__ import annotations

import os
import sys
import time
from itertools import pairwise
from pathlib import Path

import anndata as ad
import numpy as np
from paste2 import PASTE2, projection
from scipy.spatial import KDTree

DATA = Path(os.environ.get("STALIGNER_DATA", Path(__file__).parents[2] / "shared" / "data"))
SERIES = {
    "her2": ("HER2ST_A[1-6].h5ad", "paper_cluster"),
    "barista": ("BaristaSeq_VISp_slice[1-3].h5ad", "layer"),
    "dlpfc": ("DLPFC_15167[3-6].h5ad", "layer"),
}
MISSING = "nan"


def main(series: str, overlap: float, dissimilarity: str, seed: int = 0) -> None:
    """Align, stack, and print the shares."""
    pattern, truth = SERIES[series]
    slices = [ad.read_h5ad(file) for file in sorted(DATA.glob(pattern))]
    labels = [adata.obs[truth].astype(str).to_numpy() for adata in slices]
    print("as they lie", shares([adata.obsm["spatial"] for adata in slices], labels))
    rng = np.random.default_rng(seed)
    for number, adata in enumerate(slices):
        adata.X = adata.X.astype(np.float32)
        adata.obsm["spatial"] = turned(adata.obsm["spatial"], rng.uniform(0, 2 * np.pi), number % 2)
    start, plans = time.perf_counter(), []
    for first, second in pairwise(slices):
        plans.append(
            PASTE2.partial_pairwise_align(
                first.copy(), second.copy(), s=overlap, dissimilarity=dissimilarity, verbose=False
            )
        )
    stacked = projection.partial_stack_slices_pairwise(slices, plans)
    found = shares([np.asarray(adata.obsm["spatial"]) for adata in stacked], labels)
    print(f"{series}, s={overlap}, {dissimilarity}", found, f"{time.perf_counter() - start:.0f} s")


def turned(points: np.ndarray, angle: float, mirrored: int) -> np.ndarray:
    """Points turned about their middle, and mirrored before if so."""
    cos, sin = np.cos(angle), np.sin(angle)
    matrix = np.array([[cos, -sin], [sin, cos]]) @ np.diag([-1 if mirrored else 1, 1])
    middle = np.mean(points, axis=0)
    return (np.asarray(points, dtype=float) - middle) @ matrix.T + middle


def shares(places: list[np.ndarray], labels: list[np.ndarray]) -> str:
    """Share of spots whose nearest in the next section bears their label: each pair, and mean."""
    found = []
    for number in range(len(places) - 1):
        kept = [labels[at] != MISSING for at in (number, number + 1)]
        here, there = (places[at][k] for at, k in zip((number, number + 1), kept, strict=True))
        _, near = KDTree(there).query(here)
        own, next_ = (labels[at][k] for at, k in zip((number, number + 1), kept, strict=True))
        found.append(float((next_[near] == own).mean()))
    return f"{np.round(found, 3)} mean {np.mean(found):.3f}"


if __name__ == "__main__":
    main(sys.argv[1], float(sys.argv[2]), sys.argv[3])
