"""Tiles: pieces of slices for training one at a time, with a halo that makes it exact."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING

import numpy as np
import torch
from scipy import sparse
from torch import Tensor

from napari_staligner.core.blocks import halves
from napari_staligner.core.training.model import MessageGraph

if TYPE_CHECKING:
    from numpy.typing import NDArray


@dataclass(frozen=True)
class Tile:
    """Spots that are trained on together.

    Parameters
    ----------
    nodes
        Shape (nodes,), int64: rows in all spots; first the tile's own, then those within two steps
        on the graph. z of a spot needs its neighbours' input, and the reconstruction its
        neighbours' z: with two steps, both are the same as on the whole graph.
    n_own
        How many of the nodes are the tile's own: losses and embeddings count for these.
    graph
        Messages among the nodes.
    of
        Number of its slice.
    """

    nodes: Tensor
    n_own: int
    graph: MessageGraph
    of: int = 0

    @property
    def own(self) -> Tensor:
        """Rows of the tile's own spots."""
        return self.nodes[: self.n_own]


def split(
    sizes: Sequence[int],
    connectivities: sparse.csr_matrix,
    coordinates: NDArray[np.floating] | None,
    most: int,
    device: torch.device | str = "cpu",
) -> list[Tile]:
    """Split all spots into tiles of at most ``most`` own spots, each within one slice.

    Parameters
    ----------
    sizes
        Spots of each slice; rows of a slice are contiguous.
    connectivities
        Shape (N, N), CSR: the spatial graph of all slices, without self loops.
    coordinates
        Shape (N, 2), in the units of each slice; without them a slice is cut in the order of its
        rows, which is just as exact but has larger halos.
    most
        Most own spots of a tile.
    device
        Where the tiles are stored.
    """
    return [tile_of(own, of, connectivities, device) for of, own in cut(sizes, coordinates, most)]


def cut(
    sizes: Sequence[int], coordinates: NDArray[np.floating] | None, most: int
) -> list[tuple[int, NDArray[np.intp]]]:
    """Cut the spots as :func:`split` does: the number of the slice and the rows of each piece."""
    pieces, start = [], 0
    for number, size in enumerate(sizes):
        rows = np.arange(start, start + size)
        points = None if coordinates is None else np.asarray(coordinates[rows], dtype=np.float64)
        pieces += [(number, rows[own]) for own in _pieces(np.arange(size), points, most)]
        start += size
    return pieces


def _pieces(
    rows: NDArray[np.intp], points: NDArray[np.float64] | None, most: int
) -> list[NDArray[np.intp]]:
    """Halve along the longer side until the pieces are small enough."""
    if len(rows) <= most:
        return [rows]
    middle = len(rows) // 2
    parts = (rows[:middle], rows[middle:]) if points is None else halves(rows, points)
    return [piece for half in parts for piece in _pieces(np.sort(half), points, most)]


def bare_tile(own: NDArray[np.intp], of: int, device: torch.device | str) -> Tile:
    """A tile that another process computes: no messages, and no spots but its own."""
    none = MessageGraph(*(torch.empty(0, dtype=torch.int64) for _ in fields(MessageGraph)))
    return Tile(torch.from_numpy(own).long().to(device), len(own), none, of)


def tile_of(
    own: NDArray[np.intp], of: int, connectivities: sparse.csr_matrix, device: torch.device | str
) -> Tile:
    """The tile of some spots of a slice, with its halo."""
    near = _beyond(connectivities, own, own)
    inner = np.concatenate([own, near])
    far = _beyond(connectivities, near, inner)
    nodes = np.concatenate([inner, far])
    # The far ones send but need not receive: only their input is used.
    heard = connectivities[inner][:, nodes]
    silent = sparse.csr_matrix((len(far), len(nodes)), dtype=heard.dtype)
    among = sparse.csr_matrix(sparse.vstack([heard, silent], format="csr"))
    graph = MessageGraph.from_connectivities(among, device)
    return Tile(torch.from_numpy(nodes).long().to(device), len(own), graph, of)


def parts_of(
    tile: Tile,
    connectivities: sparse.csr_matrix,
    coordinates: NDArray[np.floating] | None,
    most: int,
    device: torch.device | str,
) -> list[Tile]:
    """Split a tile into tiles of at most ``most`` own spots; see :func:`split`."""
    own = tile.own.cpu().numpy()
    points = None if coordinates is None else np.asarray(coordinates[own], dtype=np.float64)
    parts = _pieces(np.arange(len(own)), points, most)
    return [tile_of(own[rows], tile.of, connectivities, device) for rows in parts]


def _beyond(
    connectivities: sparse.csr_matrix, rows: NDArray[np.intp], known: NDArray[np.intp]
) -> NDArray[np.intp]:
    """Neighbours of rows that are not in the tile yet."""
    found = np.unique(connectivities[rows].indices)
    return np.setdiff1d(found, known).astype(np.intp)
