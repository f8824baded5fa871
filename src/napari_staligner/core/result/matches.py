"""Mutual nearest neighbours between slices: all pairs, a thinned choice, or those of one spot."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_staligner import _keys as K
from napari_staligner._errors import InputError
from napari_staligner.core.result.access import spots_xy

if TYPE_CHECKING:
    from collections.abc import Collection

    from anndata import AnnData
    from numpy.typing import NDArray
    from pandas import DataFrame
    from scipy.sparse import csr_matrix

_FINEST = 1e5
_HALVINGS = 12


@dataclass(frozen=True)
class Links:
    """Pairs of spots of two slices that are mutual nearest neighbours in z.

    Parameters
    ----------
    first, second
        Rows of the result, integers of 32 or 64 bits, shape (links,); each pair once, ``first`` in
        the slice that comes first.
    distance
        Euclidean distance in z, float32, shape (links,).
    """

    first: NDArray[np.integer]
    second: NDArray[np.integer]
    distance: NDArray[np.float32]

    def __len__(self) -> int:
        return len(self.first)

    def take(self, which: NDArray[Any]) -> Links:
        """Return some of them, by number or by mask."""
        return Links(self.first[which], self.second[which], self.distance[which])

    def touching(self, spots: NDArray[np.bool_]) -> Links:
        """Return those with an end among the spots, a mask over the rows of the result."""
        return self.take(spots[self.first] | spots[self.second])


def all_links(adata: AnnData, among: Collection[str] | None = None) -> Links:
    """All mutual nearest neighbours of a result, each pair once.

    Parameters
    ----------
    adata
        Result of an integration, with ``obsp["mutual_neighbors"]``.
    among
        Names of slices: only links between these; ``None`` takes all.

    Returns
    -------
    Sorted by first and second row.

    Raises
    ------
    InputError
        There are no mutual neighbours.
    """
    names = adata.obs[K.SLICE].cat.categories
    codes = None if among is None else [n for n, name in enumerate(names) if name in among]
    return links_in(mutual_of(adata), _slices(adata), codes)


def links_in(
    mutual: csr_matrix, slices: NDArray[np.integer], among: Collection[int] | None = None
) -> Links:
    """All mutual nearest neighbours of a matrix, each pair once.

    Twelve slices of 4,000 spots have some 35 million entries: numbers of spots stay as small as
    they are, and rows of other slices are not looked at.

    Parameters
    ----------
    mutual
        Distances in z, CSR, shape (spots, spots), symmetric.
    slices
        Number of the slice of each spot, shape (spots,).
    among
        Numbers of slices: only links between these; ``None`` takes all.

    Returns
    -------
    Sorted by first and second row, if the rows of the matrix are.
    """
    slices = slices.astype(np.int16)
    rows = np.arange(mutual.shape[0], dtype=mutual.indices.dtype)
    if among is not None:
        # The last one is for spots without a slice, -1.
        wanted = np.append(np.isin(np.arange(slices.max(initial=-1) + 1), list(among)), False)
        # Each pair is found from the slice of the lower number.
        rows = rows[wanted[slices] & (slices < max(among, default=0))]
        mutual = mutual[rows]
    lengths = np.diff(mutual.indptr)
    of_second = slices[mutual.indices]
    once = np.repeat(slices[rows], lengths) < of_second
    if among is not None:
        once &= wanted[of_second]
    first = np.repeat(rows, lengths)[once]
    return Links(first, mutual.indices[once], mutual.data[once].astype(np.float32, copy=False))


def thin(links: Links, adata: AnnData, most: int) -> Links:
    """Choose a few links, evenly spread over the tissue.

    Every pair of slices gets the same number, if it has that many. For each pair, each spot of the
    first slice offers its nearest match; a square grid is laid over the slice, as fine as the
    number allows, and the shortest link that starts in each cell is kept. The same links always
    give the same choice.

    Parameters
    ----------
    links
        The links.
    adata
        The result that they come from, with ``obsm["spatial"]``.
    most
        Largest number of links.

    Returns
    -------
    Some of the links, all if they are few enough.
    """
    if len(links) <= most:
        return links
    links = _nearest(links, _slices(adata))
    if len(links) <= most:
        return links
    slices = _slices(adata)
    pairs = slices[links.first] * (slices.max() + 1) + slices[links.second]
    xy = spots_xy(adata)
    kept = []
    for pair, share in _shares(pairs, most).items():
        own = np.flatnonzero(pairs == pair)
        kept.append(own[_spread(xy[links.first[own]], links.distance[own], share)])
    return links.take(np.sort(np.concatenate(kept)))


def matches(adata: AnnData, row: int) -> DataFrame:
    """Matches of one spot in the other slices.

    Parameters
    ----------
    adata
        Result of an integration, with ``obsp["mutual_neighbors"]``.
    row
        Row of the spot in the result.

    Returns
    -------
    One row per match, by increasing distance. The index is the row in the result; columns are
    ``name``, ``slice``, ``domain`` (empty if there are none) and ``distance`` (in z).

    Raises
    ------
    InputError
        There are no mutual neighbours.
    """
    import pandas as pd

    matrix = mutual_of(adata)
    at = slice(matrix.indptr[row], matrix.indptr[row + 1])
    order = np.lexsort((matrix.indices[at], matrix.data[at]))
    rows = matrix.indices[at][order]
    domain = adata.obs[K.DOMAIN].iloc[rows].astype(str).to_numpy() if K.DOMAIN in adata.obs else ""
    return pd.DataFrame(
        {
            "name": adata.obs_names[rows],
            "slice": adata.obs[K.SLICE].iloc[rows].astype(str).to_numpy(),
            "domain": domain,
            "distance": matrix.data[at][order].astype(np.float64),
        },
        index=pd.Index(rows, name="row"),
    )


def mutual_of(adata: AnnData) -> csr_matrix:
    """``obsp["mutual_neighbors"]`` of a result, CSR.

    Raises
    ------
    InputError
        There are none.
    """
    if K.MUTUAL not in adata.obsp:
        raise InputError(
            f"The result has no obsp[{K.MUTUAL!r}]: run the integration to get links between "
            "its slices."
        )
    return adata.obsp[K.MUTUAL].tocsr()


def _slices(adata: AnnData) -> NDArray[np.intp]:
    return np.asarray(adata.obs[K.SLICE].cat.codes, dtype=np.intp)


def _nearest(links: Links, slices: NDArray[np.intp]) -> Links:
    """For each spot of the first slice, the shortest link to each other slice."""
    key = links.first.astype(np.intp) * (slices.max() + 1) + slices[links.second]
    if (np.diff(key) < 0).any():
        order = np.argsort(key, kind="stable")
        links, key = links.take(order), key[order]
    starts = np.flatnonzero(np.diff(key, prepend=-1))
    shortest = np.repeat(
        np.minimum.reduceat(links.distance, starts), np.diff(starts, append=len(key))
    )
    candidates = np.flatnonzero(links.distance == shortest)
    return links.take(candidates[np.unique(key[candidates], return_index=True)[1]])


def _shares(pairs: NDArray[np.intp], most: int) -> dict[int, int]:
    """How many links for each pair of slices: the same; what one cannot use goes to the others."""
    found, counts = np.unique(pairs, return_counts=True)
    shares, left = {}, most
    for done, i in enumerate(np.argsort(counts, kind="stable")):
        share = min(int(counts[i]), left // (len(found) - done))
        shares[int(found[i])] = share
        left -= share
    return shares


def _spread(xy: NDArray[np.float64], distance: NDArray[np.float32], most: int) -> NDArray[np.intp]:
    """Numbers of at most this many points, the one with the least distance in each grid cell."""
    if most < 1 or len(xy) <= most:
        return np.arange(len(xy) if most else 0)
    # Search for the finest grid between a single cell and one that is too fine.
    fits, too_fine = 0.5, 2.0 * np.sqrt(most)
    while len(np.unique(_cells(xy, too_fine))) <= most and too_fine < _FINEST:
        fits, too_fine = too_fine, 2 * too_fine
    for _ in range(_HALVINGS):
        n_cells = (fits + too_fine) / 2
        if len(np.unique(_cells(xy, n_cells))) <= most:
            fits = n_cells
        else:
            too_fine = n_cells
    by_distance = np.argsort(distance, kind="stable")
    return by_distance[np.unique(_cells(xy, fits)[by_distance], return_index=True)[1]]


def _cells(xy: NDArray[np.float64], n_cells: float) -> NDArray[np.intp]:
    """Number of each point's cell in a square grid; ``n_cells`` a side need not be whole."""
    low = xy.min(axis=0)
    side = float((xy.max(axis=0) - low).max()) or 1.0
    column, row = ((xy - low) / side * n_cells).astype(np.intp).T
    return np.asarray(row * (int(n_cells) + 1) + column)
