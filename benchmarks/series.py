"""Series of sections with labels, for peers in environments of their own.

It imports nothing of this project.
"""

from __future__ import annotations

import os
from pathlib import Path

import anndata as ad
import numpy as np
from scipy.spatial import KDTree

DATA = Path(os.environ.get("STALIGNER_DATA", Path(__file__).parents[2] / "shared" / "data"))
SERIES = {
    "her2": ("HER2ST_A[1-6].h5ad", "paper_cluster"),
    "barista": ("BaristaSeq_VISp_slice[1-3].h5ad", "layer"),
    "dlpfc": ("DLPFC_15167[3-6].h5ad", "layer"),
}
MISSING = "nan"


def turned_series(series: str, seed: int) -> tuple[list[ad.AnnData], list[np.ndarray]]:
    """Sections turned at random, every second one mirrored before, and the labels of each."""
    pattern, truth = SERIES[series]
    slices = [ad.read_h5ad(file) for file in sorted(DATA.glob(pattern))]
    labels = [adata.obs[truth].astype(str).to_numpy() for adata in slices]
    print("as they lie", shares([adata.obsm["spatial"] for adata in slices], labels))
    rng = np.random.default_rng(seed)
    for number, adata in enumerate(slices):
        adata.X = adata.X.astype(np.float32)
        adata.obsm["spatial"] = turned(adata.obsm["spatial"], rng.uniform(0, 2 * np.pi), number % 2)
    return slices, labels


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
