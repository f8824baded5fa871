"""Structures that one slice alone has, found from how the slices align."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from scipy import sparse

from napari_staligner import _keys as K
from napari_staligner.core.blocks import BLOCK_SPOTS, blocks_of
from napari_staligner.core.domains.presence import FOLD, presence
from napari_staligner.core.result.access import spots_xy

if TYPE_CHECKING:
    from anndata import AnnData
    from numpy.typing import NDArray

LOW = 0.5
"""A spot below this has no counterpart: most walks to other slices and back do not come home. It is
the mean over a spot and its neighbours on the tissue that counts, as single spots are noisy."""
NEAREST = 10
"""As many as the walks look at."""


@dataclass(frozen=True)
class SpotContext:
    """Where spots lie, and how they align.

    Parameters
    ----------
    slice_of
        Shape (spots,): number of the slice.
    places
        Shape (spots, 2): coordinates, each slice in its own units.
    confidence
        Shape (spots,), 0..1; ``None`` where it is not known.
    links
        Shape (spots, spots), CSR: neighbours on the tissue and across slices.
    """

    slice_of: NDArray[np.int64]
    places: NDArray[np.float64]
    confidence: NDArray[np.floating[Any]] | None = None
    links: Any = None

    @property
    def blocks(self) -> NDArray[np.int64]:
        """Shape (spots,): number of the compact block of about 16 spots that a spot lies in."""
        block, first = np.empty(len(self.slice_of), dtype=np.int64), 0
        for number in np.unique(self.slice_of):
            rows = self.slice_of == number
            block[rows] = first + blocks_of(self.places[rows])
            first = int(block[rows].max()) + 1
        return block

    @property
    def lacking(self) -> NDArray[np.bool_]:
        """Shape (spots,): which spots lack a counterpart; none where it is not known."""
        if self.confidence is None:
            return np.zeros(len(self.slice_of), dtype=bool)
        links = sparse.coo_matrix(self.links)
        on_tissue = self.slice_of[links.row] == self.slice_of[links.col]
        near = sparse.csr_matrix(
            (np.ones(int(on_tissue.sum())), (links.row[on_tissue], links.col[on_tissue])),
            shape=links.shape,
        )
        sums = near @ self.confidence + self.confidence
        return np.asarray(sums < LOW * (np.diff(near.indptr) + 1))


def slices_of(adata: AnnData) -> pd.Categorical:
    """The slice of each spot; categories are those that have spots, in their order."""
    return pd.Categorical(adata.obs[K.SLICE]).remove_unused_categories()


def tissue_of(adata: AnnData) -> SpotContext | None:
    """Copy what is known of the tissue of integrated slices.

    Parameters
    ----------
    adata
        Reads ``obs["slice"]``, ``obsm["spatial"]``, and, if they are there,
        ``obs["alignment_confidence"]``, ``obsp["spatial_connectivities"]`` and
        ``obsp["mutual_neighbors"]``.

    Returns
    -------
    ``None`` without slices or coordinates.
    """
    if K.SLICE not in adata.obs or K.SPATIAL not in adata.obsm or not adata.n_obs:
        return None
    slice_of = slices_of(adata).codes.astype(np.int64)
    if (slice_of < 0).any():
        return None
    places = spots_xy(adata).copy()
    known = {K.CONNECTIVITIES, K.MUTUAL} <= set(adata.obsp) and K.CONFIDENCE in adata.obs
    if not known:
        return SpotContext(slice_of, places)
    confidence = adata.obs[K.CONFIDENCE].to_numpy(np.float64, copy=True)
    links = adata.obsp[K.CONNECTIVITIES] + adata.obsp[K.MUTUAL]
    return SpotContext(slice_of, places, confidence, links)


def lone_structures(
    z: NDArray[np.floating[Any]], tissue: SpotContext, k: int
) -> list[NDArray[np.int64]]:
    """Find structures that one slice alone has.

    They are connected pieces of spots without a counterpart. Two are linked if they are neighbours
    on the tissue, matched across slices, or if one is among the ten nearest to the other in z in
    their slice. A piece counts if :func:`~napari_staligner.core.domains.presence.presence` calls it
    specific to a slice. Larger ones than the average of k domains are left to the mixture,
    and in a slice of whose spots more than half have no counterpart nothing is looked for: it is
    not aligned.

    Parameters
    ----------
    z
        Shape (spots, d): the embedding.
    tissue
        Where spots lie, and how they align.
    k
        Number of domains.

    Returns
    -------
    Rows of each, the largest first; at most k - 1.
    """
    if tissue.confidence is None or len(np.unique(tissue.slice_of)) < 2:
        return []
    low = tissue.lacking
    without = np.bincount(tissue.slice_of, low) / np.bincount(tissue.slice_of)
    rows = np.flatnonzero(low & (without[tissue.slice_of] <= 0.5))
    if len(rows) < BLOCK_SPOTS:
        return []
    links = sparse.csr_matrix(tissue.links)[rows][:, rows]
    links = links + _near(z, tissue.slice_of, rows)
    _, piece = sparse.csgraph.connected_components(links, directed=False)
    sizes = np.bincount(piece)
    large = np.flatnonzero((sizes >= BLOCK_SPOTS) & (sizes <= len(low) / k))
    if not len(large):
        return []
    codes = np.full(len(low), -1)
    for number, which in enumerate(large):
        codes[rows[piece == which]] = number
    labels = pd.Categorical.from_codes(codes, list(map(str, range(len(large)))))
    slices = pd.Categorical(tissue.slice_of)
    tested = presence(labels, slices, tissue.places).specific()
    found = [
        np.flatnonzero((codes == int(label)) & (tissue.slice_of == int(row.slice)))
        for label, row in tested.items()
    ]
    return sorted(found, key=lambda group: -len(group))[: k - 1]


def _near(
    z: NDArray[np.floating[Any]], slice_of: NDArray[np.int64], rows: NDArray[np.int64]
) -> sparse.csr_matrix:
    """Which of some rows are among the nearest in z, in their slice, of which others."""
    from sklearn.neighbors import NearestNeighbors

    place = np.full(len(z), -1)
    place[rows] = np.arange(len(rows))
    start, end = [], []
    for number in np.unique(slice_of[rows]):
        whole, some = np.flatnonzero(slice_of == number), rows[slice_of[rows] == number]
        finder = NearestNeighbors(n_neighbors=min(NEAREST + 1, len(whole)), algorithm="brute")
        near = whole[finder.fit(z[whole]).kneighbors(z[some], return_distance=False)]
        start.append(np.repeat(place[some], near.shape[1]))
        end.append(place[near.ravel()])
    i, j = np.concatenate(start), np.concatenate(end)
    known = j >= 0
    ones = np.ones(int(known.sum()))
    return sparse.csr_matrix((ones, (i[known], j[known])), shape=(len(rows), len(rows)))


def seeds_of(
    lone: list[NDArray[np.int64]], labels: NDArray[np.int64], slice_of: NDArray[np.int64]
) -> NDArray[np.int64]:
    """Spots that hold domains for structures that one slice alone has.

    A structure holds one domain, unless most of it lies in domains that every other slice has at
    most a quarter as often: then it holds these, each by its spots in it.

    Parameters
    ----------
    lone
        Rows of each structure.
    labels
        Shape (spots,): domains that were found without regard to the structures.
    slice_of
        Shape (spots,): number of the slice.

    Returns
    -------
    Shape (spots,): number of the domain to hold, 0, 1, …, else -1; fewer than there are ``labels``.
    """
    counts = np.zeros((labels.max() + 1, slice_of.max() + 1))
    np.add.at(counts, (labels, slice_of), 1)
    shares = np.sort(counts / counts.sum(axis=0), axis=1)
    own = shares[:, -1] >= FOLD * shares[:, -2]
    held: list[NDArray[np.int64]] = []
    for rows in lone:
        inside = labels[rows]
        pieces = [rows[inside == label] for label in np.unique(inside[own[inside]])]
        pieces = [piece for piece in pieces if len(piece) >= BLOCK_SPOTS]
        if 2 * sum(map(len, pieces)) <= len(rows):
            held.append(rows)
            continue
        rest = np.setdiff1d(rows, np.concatenate(pieces))
        held += [*pieces, rest] if len(rest) >= 2 * BLOCK_SPOTS else pieces
    seeds = np.full(len(labels), -1, dtype=np.int64)
    for number, rows in enumerate(held[: int(labels.max())]):
        seeds[rows] = number
    return seeds


def without_grown(
    seeds: NDArray[np.int64], labels: NDArray[np.int64], tissue: SpotContext
) -> NDArray[np.int64]:
    """Let go of domains in which hardly a spot lacks a counterpart, as all are free to join them.

    Parameters
    ----------
    seeds
        Of :func:`seeds_of`.
    labels
        Shape (spots,): the domains that they hold, 0, 1, …, and others.
    tissue
        How spots align.

    Returns
    -------
    Shape (spots,): the seeds of those in which at least a quarter of the spots lack one, numbered
    anew.
    """
    found, lacking = np.full_like(seeds, -1), tissue.lacking
    for number in range(int(seeds.max()) + 1):
        here = lacking[labels == number]
        if FOLD * here.sum() >= len(here):
            found[seeds == number] = found.max() + 1
    return found
