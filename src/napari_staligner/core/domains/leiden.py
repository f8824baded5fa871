"""Leiden communities of the nearest neighbours in an embedding.

An edge weighs as in the diffusion maps of Haghverdi et al. (Nature Methods 2016), which is
``method="gauss"`` of ``scanpy.pp.neighbors``. igraph, and pynndescent for very many spots, hold
Python's lock, so they run in a process of their own: ``python -m`` this module.
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_staligner.core.aside import run_aside
from napari_staligner.core.progress import Progress
from napari_staligner.threads import share_cores

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from napari_staligner.core.progress import Steps

NEIGHBORS = 14
"""As many as ``n_neighbors=15`` of scanpy, which counts the spot itself."""
ITERATIONS = 2
MOST_EXACT = 100_000
"""Neighbours of more spots than this are found by pynndescent, nearly all of them: the exact search
takes a time that grows with the square of their number."""
_GIVEN, _LABELS = "spots.npz", "labels.npy"


def leiden_steps(
    embedding: NDArray[np.floating[Any]], resolution: float, seed: int
) -> Steps[NDArray[np.int64]]:
    """Find the communities.

    Parameters
    ----------
    embedding
        Shape (spots, d), at least two spots.
    resolution
        There are more communities if it is larger.
    seed
        Of Leiden.

    Returns
    -------
    Shape (spots,): 0, 1, …

    Raises
    ------
    ComputeError
        igraph failed.
    """
    yield Progress("Leiden", 0, 1)
    z = np.asarray(embedding, dtype=np.float32)
    given: dict[str, Any] = {"z": z, "resolution": np.array(resolution), "seed": np.array(seed)}
    if len(z) <= MOST_EXACT:
        given["near"] = _nearest(z)
    with tempfile.TemporaryDirectory(prefix="staligner-leiden-") as name:
        folder = Path(name)
        np.savez(folder / _GIVEN, **given)
        for _ in run_aside(__name__, folder, "Leiden"):
            yield Progress("Leiden", 0, 1)
        return np.asarray(np.load(folder / _LABELS), dtype=np.int64)


def _nearest(z: NDArray[np.float32]) -> NDArray[np.int64]:
    """Rows of each spot's nearest and of itself, in any order."""
    import torch

    from napari_staligner.core.training.triplets import nearest

    spots = torch.from_numpy(z)
    return np.asarray(nearest(spots, spots, NEIGHBORS + 1).numpy())


def _nearly_nearest(z: NDArray[np.float32], seed: int) -> NDArray[np.int64]:
    from pynndescent import NNDescent

    found, _ = NNDescent(z, n_neighbors=NEIGHBORS + 1, random_state=seed).neighbor_graph
    return np.asarray(found, dtype=np.int64)


def _edges(
    z: NDArray[np.float32], near: NDArray[np.int64]
) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """Pairs of spots of which one is near the other, each once, and their weights, 0..1."""
    n, k = near.shape
    one, other = np.repeat(np.arange(n), k), near.ravel()
    apart = _squares(z, one, other).reshape(n, k)
    # Itself, or one at the same place, is the first.
    apart.sort(axis=1)
    spread = np.median(apart[:, 1:], axis=1)
    keys = np.unique(np.minimum(one, other) * n + np.maximum(one, other))
    pairs = np.column_stack([keys // n, keys % n])
    pairs = pairs[pairs[:, 0] != pairs[:, 1]]
    first, second = pairs.T
    both = np.maximum(spread[first] + spread[second], np.finfo(np.float64).tiny)
    weights = np.sqrt(2 * np.sqrt(spread[first] * spread[second]) / both)
    return pairs, weights * np.exp(-_squares(z, first, second) / both)


def _squares(
    z: NDArray[np.float32], first: NDArray[np.int64], second: NDArray[np.int64]
) -> NDArray[np.float64]:
    """Squared distances of pairs of spots."""
    return np.concatenate(
        [
            np.square(z[a].astype(np.float64) - z[b]).sum(axis=1)
            for a, b in zip(*(_parts(rows) for rows in (first, second)), strict=True)
        ]
    )


def _parts(rows: NDArray[np.int64]) -> list[NDArray[np.int64]]:
    """A hundred thousand at a time, so that little is copied."""
    return [rows[start : start + 100_000] for start in range(0, len(rows), 100_000)]


def _work(folder: Path) -> None:
    """Find them, in the other process."""
    import random

    import igraph

    given = dict(np.load(folder / _GIVEN))
    seed = int(given["seed"])
    near = given["near"] if "near" in given else _nearly_nearest(given["z"], seed)
    pairs, weights = _edges(given["z"], near)
    igraph.set_random_number_generator(random.Random(seed))
    found = igraph.Graph(len(near), pairs).community_leiden(
        objective_function="modularity",
        weights=weights,
        resolution=float(given["resolution"]),
        n_iterations=ITERATIONS,
    )
    np.save(folder / _LABELS, np.array(found.membership, dtype=np.int64))


if __name__ == "__main__":
    share_cores()
    _work(Path(sys.argv[1]))
