"""A peer: SLAT on series of sections, in the figure that ``registration.py`` prints.

python benchmarks/slat.py her2    in an environment of its own: pip install --no-deps scSLAT, and
torch, torch-geometric, scanpy, scikit-misc, faiss-cpu, opencv-python-headless, plotly, pynvml

Sections are turned at random, every second one mirrored. SLAT gives for each spot of one section
its match in the one before, by its defaults (dual PCA, ten neighbours, six epochs) and without
its smoothing, which asks for sections that already lie right. It gives no places: each section is
laid on the one before by the rigid least-squares fit to the matches, mirrored or not, and to the
half of them that it leaves nearest, again and again. Printed is the share of spots whose nearest
one in the next section bears the same label, and that of the matches.
"""

from __future__ import annotations

import sys
import time
from types import SimpleNamespace

import anndata as ad
import numpy as np
import pandas as pd
import torch
from series import MISSING, shares, turned_series
from sklearn.neighbors import kneighbors_graph
from torch_geometric.utils import scatter

# The only function of torch-scatter that SLAT calls; it would have to be compiled.
sys.modules["torch_scatter"] = SimpleNamespace(
    scatter_add=lambda values, index, dim, dim_size: scatter(values, index, dim, dim_size, "sum")
)
import scSLAT.model as slat  # noqa: E402

NEIGHBORS = 10
ROUNDS = 0, 20


def main(series: str, seed: int = 0) -> None:
    """Match, lay, and print the shares."""
    torch.manual_seed(seed)
    slices, labels = turned_series(series, seed)
    start, met = time.perf_counter(), []
    placed = {rounds: [np.asarray(slices[0].obsm["spatial"], dtype=float)] for rounds in ROUNDS}
    for adata in slices:
        adata.obs_names_make_unique()
        adata.uns["Spatial_Net"] = network(adata)
    for number in range(1, len(slices)):
        edges, features = slat.load_anndatas(
            slices[number - 1 : number + 1], feature="DPCA", check_order=False
        )
        first, second, _ = slat.run_SLAT(features, edges)
        match = slat.spatial_match([first, second], reorder=False, smooth=False)[0]
        own, other = labels[number], labels[number - 1][match]
        known = (own != MISSING) & (other != MISSING)
        met.append(float((own == other)[known].mean()))
        points = np.asarray(slices[number].obsm["spatial"], dtype=float)
        for rounds, places in placed.items():
            places.append(laid(points, places[-1][match], rounds))
    print(f"{series}, matches", np.round(met, 3), f"mean {np.mean(met):.3f}")
    for rounds, places in placed.items():
        title = f"laid by the half of the matches, {rounds} times" if rounds else "laid by matches"
        print(f"{series}, {title}", shares(places, labels))
    print(f"{time.perf_counter() - start:.0f} s")


def network(adata: ad.AnnData) -> pd.DataFrame:
    """The graph that ``Cal_Spatial_Net`` makes by torch-cluster: neighbours, both ways."""
    near = kneighbors_graph(adata.obsm["spatial"], NEIGHBORS, include_self=False)
    rows, columns = (near + near.T).nonzero()
    names = adata.obs_names.to_numpy()
    return pd.DataFrame({"Cell1": names[rows], "Cell2": names[columns]})


def laid(points: np.ndarray, there: np.ndarray, rounds: int) -> np.ndarray:
    """Points laid on others by the best turn, mirroring and move."""
    kept = np.arange(len(points))
    for left in range(rounds, -1, -1):
        middle, aim = points[kept].mean(axis=0), there[kept].mean(axis=0)
        u, _, vt = np.linalg.svd((points[kept] - middle).T @ (there[kept] - aim))
        placed = (points - middle) @ (u @ vt) + aim
        if left:
            kept = np.argsort(np.linalg.norm(placed - there, axis=1))[: len(points) // 2]
    return placed


if __name__ == "__main__":
    main(*sys.argv[1:2], *map(int, sys.argv[2:3]))
