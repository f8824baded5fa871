"""The published trainer written plainly: dense X, dense block matrix, sets and graphs of spots."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from itertools import combinations
from pathlib import Path

import networkx as nx
import numpy as np
import torch
from scipy import sparse
from sklearn.neighbors import NearestNeighbors

sys.path.append(str(Path(__file__).parents[1] / "tests"))
from plain import PlainSTAligner

from napari_staligner.core.training.model import STAligner


def graph(coordinates: Sequence[np.ndarray], radius: Sequence[float]) -> torch.Tensor:
    """Edges by way of one dense matrix over all spots, self loops included."""
    sizes = [len(points) for points in coordinates]
    whole = np.zeros((sum(sizes), sum(sizes)))
    start = 0
    for points, r in zip(coordinates, radius, strict=True):
        near = NearestNeighbors(radius=r).fit(points).radius_neighbors_graph(points).toarray()
        whole[start : start + len(points), start : start + len(points)] = near
        start += len(points)
    receiver, sender = np.nonzero(whole)
    return torch.from_numpy(np.stack([sender, receiver]))


def model(n_genes: int) -> PlainSTAligner:
    """The plain model with the weights that ours starts from."""
    ours = STAligner(n_genes, seed=0)
    return PlainSTAligner(ours.w1, ours.w2, ours.a_src, ours.a_dst)


def optimizer(plain: PlainSTAligner) -> torch.optim.Optimizer:
    """Adam as published."""
    return torch.optim.Adam(plain.parameters(), lr=1e-3, weight_decay=1e-4)


def epoch(
    plain: PlainSTAligner,
    adam: torch.optim.Optimizer,
    x: torch.Tensor,
    edges: torch.Tensor,
    triplets: torch.Tensor,
) -> None:
    """One full-batch step with reconstruction and triplets."""
    adam.zero_grad()
    z, _, rebuilt = plain(x, edges)
    anchor, positive, negative = (z[rows] for rows in triplets)
    triplet = torch.nn.functional.triplet_margin_loss(anchor, positive, negative, margin=1.0)
    loss = 0.5 * (x - rebuilt).square().mean() + 0.5 * triplet
    loss.backward()
    torch.nn.utils.clip_grad_norm_(plain.parameters(), 5.0)
    adam.step()


def matches(z: np.ndarray, sizes: Sequence[int], k: int) -> dict[int, list[int]]:
    """Mutual nearest neighbours of every pair of slices, as tuples in sets, then as a graph.

    Returns
    -------
    The matches of each spot that has any, in all other slices.
    """
    starts = np.concatenate([[0], np.cumsum(sizes)])
    found: dict[int, list[int]] = {}
    for i, j in combinations(range(len(sizes)), 2):
        first, second = z[starts[i] : starts[i + 1]], z[starts[j] : starts[j + 1]]
        there = NearestNeighbors(n_neighbors=k).fit(second).kneighbors(first)[1]
        back = NearestNeighbors(n_neighbors=k).fit(first).kneighbors(second)[1]
        forth = {
            (int(starts[i] + a), int(starts[j] + b)) for a, row in enumerate(there) for b in row
        }
        again = {
            (int(starts[i] + a), int(starts[j] + b)) for b, row in enumerate(back) for a in row
        }
        graph = nx.Graph()
        graph.add_edges_from(forth & again)
        for spot in graph.nodes:
            found.setdefault(spot, []).extend(graph.neighbors(spot))
    return found


def connectivities(edges: torch.Tensor, n: int) -> sparse.csr_matrix:
    """The same edges without self loops, as ours takes them."""
    sender, receiver = edges.numpy()
    other = sender != receiver
    ones = np.ones(other.sum(), dtype=np.float32)
    return sparse.csr_matrix((ones, (receiver[other], sender[other])), shape=(n, n))
