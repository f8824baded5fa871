"""The spatial graph of a slice: which spots are neighbours on the tissue."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from types import ModuleType
from typing import TYPE_CHECKING

import numpy as np
from scipy import sparse
from scipy.spatial import KDTree

from napari_staligner import _keys as K
from napari_staligner._errors import InputError
from napari_staligner.core.progress import Progress, Steps
from napari_staligner.core.settings import Settings
from napari_staligner.core.training.ranks import Arrays, Ranks
from napari_staligner.core.training.sharing import each

if TYPE_CHECKING:
    from numpy.typing import NDArray

WANTED_NEIGHBORS = 6
SAME_UNIT = 1.5
"""If extents of sections of one tissue differ more than this, they hardly share a unit."""
FEW, MANY = 2, 30


@dataclass(frozen=True)
class SpatialGraph:
    """Neighbours of the spots of one slice, without self loops.

    Parameters
    ----------
    connectivities
        Shape (spots, spots), CSR float32, symmetric: 1 for neighbours.
    distances
        Same pattern, float64: their distance, in the units of the coordinates.
    radius
        The radius the graph was built with, ``None`` for nearest neighbours.
    """

    connectivities: sparse.csr_matrix
    distances: sparse.csr_matrix
    radius: float | None = None

    @property
    def mean_neighbors(self) -> float:
        """Mean number of neighbours of a spot."""
        return float(self.connectivities.nnz / max(self.connectivities.shape[0], 1))

    @property
    def alone(self) -> int:
        """Number of spots that have no neighbour."""
        return int((np.diff(self.connectivities.indptr) == 0).sum())

    def describe(self, name: str) -> str | None:
        """Return a sentence about slice ``name`` if its graph is unusual, else ``None``."""
        mean, alone = self.mean_neighbors, self.alone
        more, fewer = (
            ("more neighbours", "fewer neighbours")
            if self.radius is None
            else ("a larger radius", "a smaller radius")
        )
        remedy = (
            "give {}, or neither radius nor neighbours to have a radius found from the spacing."
        )
        if mean < FEW:
            return (
                f"Slice {name!r}: spots have {mean:.1f} neighbours on average "
                f"({alone} have none); {remedy.format(more)}"
            )
        if mean > MANY:
            return (
                f"Slice {name!r}: spots have {mean:.1f} neighbours on average, "
                f"which blurs the domains; {remedy.format(fewer)}"
            )
        if alone > 0.05 * self.connectivities.shape[0]:
            return f"Slice {name!r}: {alone} spots have no neighbour; {remedy.format(more)}"
        return None


def spacing(coordinates: NDArray[np.floating]) -> float:
    """Median distance from a spot to the nearest spot at another place.

    Parameters
    ----------
    coordinates
        Shape (spots, 2).

    Returns
    -------
    The spacing in the units of the coordinates; 1.0 for fewer than two places.
    """
    places = np.unique(np.asarray(coordinates, dtype=np.float64), axis=0)
    if len(places) < 2:
        return 1.0
    distances, _ = KDTree(places).query(places, k=2)
    return float(np.median(distances[:, 1]))


def find_radius(coordinates: NDArray[np.floating]) -> float:
    """Find the radius within which a spot has about 6 neighbours.

    A tenth more than the median distance to the sixth nearest spot. On a hexagonal grid this is
    well between the first ring and the second, on a square grid it includes the eight spots around
    a spot, and among scattered spots it gives six to seven.

    Parameters
    ----------
    coordinates
        Shape (spots, 2).

    Returns
    -------
    The radius in the units of the coordinates.
    """
    points = np.asarray(coordinates, dtype=np.float64)
    k = min(WANTED_NEIGHBORS, len(points) - 1)
    if k < 1:
        return 1.0
    distances, _ = KDTree(points).query(points, k=k + 1)
    radius = 1.1 * float(np.median(distances[:, k]))
    return radius if radius > 0 else 1.1 * spacing(points)


def spatial_graph(coordinates: NDArray[np.floating], settings: Settings) -> SpatialGraph:
    """Build the graph of one slice with :func:`squidpy.gr.spatial_neighbors_radius` or ``_knn``.

    Parameters
    ----------
    coordinates
        Shape (spots, 2).
    settings
        ``radius`` (two spots are neighbours when strictly closer) or ``n_neighbors`` (made
        symmetric: neighbours in either direction); a radius is found if neither is given.

    Returns
    -------
    The graph, without self loops.
    """
    return _with_distances(*_connected(coordinates, settings), coordinates)


def _connected(
    coordinates: NDArray[np.floating], settings: Settings
) -> tuple[sparse.csr_matrix, float | None]:
    """The neighbours, and the radius."""
    from anndata import AnnData

    n = len(coordinates)
    adata = AnnData(shape=(n, 0), obsm={K.SPATIAL: np.asarray(coordinates, dtype=np.float64)})
    radius = None
    if n < 2:
        return sparse.csr_matrix((n, n), dtype=np.float32), settings.radius
    with _quiet() as sq:
        if settings.n_neighbors is not None:
            sq.gr.spatial_neighbors_knn(adata, n_neighs=min(settings.n_neighbors, n - 1))
        else:
            radius = settings.radius or find_radius(coordinates)
            sq.gr.spatial_neighbors_radius(adata, radius=float(np.nextafter(radius, 0)))
    connected = sparse.csr_matrix(adata.obsp[K.CONNECTIVITIES], dtype=np.float32)
    connected.eliminate_zeros()
    connected = connected.maximum(connected.T).tocsr()
    connected.sort_indices()
    return connected, radius


@contextmanager
def _quiet() -> Iterator[ModuleType]:
    """Squidpy without its warnings at import and its log of each graph on stdout."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", SyntaxWarning)
        import squidpy
    logger = logging.getLogger("spatialdata._logging")
    level = logger.level
    logger.setLevel(logging.WARNING)
    try:
        yield squidpy
    finally:
        logger.setLevel(level)


def _with_distances(
    connected: sparse.csr_matrix, radius: float | None, coordinates: NDArray[np.floating]
) -> SpatialGraph:
    points = np.asarray(coordinates, dtype=np.float64)
    row = np.repeat(np.arange(len(points)), np.diff(connected.indptr))
    lengths = np.linalg.norm(points[row] - points[connected.indices], axis=1)
    pattern = (lengths, connected.indices, connected.indptr)
    return SpatialGraph(connected, sparse.csr_matrix(pattern, connected.shape), radius)


def graph_steps(
    coordinates: Sequence[tuple[str, NDArray[np.floating]]],
    settings: Settings,
    ranks: Ranks | None = None,
    held: Collection[int] | None = None,
) -> Steps[dict[str, SpatialGraph]]:
    """Build the graphs of several slices, one per step.

    Parameters
    ----------
    coordinates
        Name and coordinates, shape (spots, 2), of each slice.
    settings
        See :func:`spatial_graph`.
    ranks
        The processes that share the slices; ``None`` for this one alone.
    held
        Numbers of the slices whose graphs are wanted, ``None`` for all; those of others come
        without an edge.

    Returns
    -------
    The graph of each slice by name.

    Raises
    ------
    InputError
        No spot of any slice has a neighbour.
    """
    n = len(coordinates)

    def connected(number: int) -> Arrays:
        found, radius = _connected(coordinates[number][1], settings)
        of = np.array([] if radius is None else [radius])
        return {"pointers": found.indptr, "senders": found.indices, "radius": of}

    def said(number: int) -> Progress:
        return Progress(f"graph of {coordinates[number][0]}", number, n)

    sizes = [len(points) for _, points in coordinates]
    found = yield from each(range(n), connected, said, ranks or Ranks(), sizes)
    graphs: dict[str, SpatialGraph] = {}
    for number, ((name, points), arrays) in enumerate(zip(coordinates, found, strict=True)):
        senders = arrays["senders"]
        pattern = (np.ones(len(senders), dtype=np.float32), senders, arrays["pointers"])
        matrix = sparse.csr_matrix(pattern, (len(points), len(points)))
        radius = float(arrays["radius"][0]) if len(arrays["radius"]) else None
        _refuse_edgeless(name, matrix, settings)
        if held is not None and number not in held:
            matrix = sparse.csr_matrix(matrix.shape, dtype=np.float32)
        graphs[name] = _with_distances(matrix, radius, points)
        note = graphs[name].describe(name)
        yield Progress(f"graph of {name}", n, n, note=note)
    return graphs


def _refuse_edgeless(name: str, connected: sparse.csr_matrix, settings: Settings) -> None:
    if connected.shape[0] > 1 and connected.nnz == 0:
        raise InputError(
            f"Slice {name!r}: no spot has a neighbour within radius {settings.radius:g} of "
            f"obsm[{K.SPATIAL!r}], which may be in another unit; leave the radius out to have "
            "it found from the spacing."
        )


def stacked(graphs: Mapping[str, SpatialGraph], part: str) -> sparse.csr_matrix:
    """Join a matrix of each graph along the diagonal, CSR, shape (all spots, all spots)."""
    blocks = [getattr(graph, part) for graph in graphs.values()]
    return sparse.csr_matrix(sparse.block_diag(blocks, format="csr"))
