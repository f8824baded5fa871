"""Proposes a region on other slices: through the embedding, and by place in the common frame."""

from __future__ import annotations

from dataclasses import dataclass, replace
from enum import StrEnum
from typing import TYPE_CHECKING, Any

import numpy as np
from scipy import sparse
from scipy.spatial import KDTree

from napari_staligner import _keys as K
from napari_staligner._errors import InputError
from napari_staligner.core.prepare.graph import spacing
from napari_staligner.core.progress import Progress, Steps

if TYPE_CHECKING:
    from collections.abc import Sequence

    from anndata import AnnData
    from numpy.typing import NDArray

NEIGHBORS = 15
"""Spots of the source slice that vote on each spot, in addition to its mutual neighbours."""
THRESHOLD = 0.5
"""A spot is proposed above this confidence: the majority of the votes."""
NEAR = 1.5
"""Spacings within which spots of the source vote by place."""


class Carried(StrEnum):
    """How a region is carried to other slices."""

    Z = "z"
    """By matches in the embedding."""
    PLACE = "place"
    """By place in the common frame."""


@dataclass(frozen=True)
class TransferJob:
    """Everything that carrying a region needs, copied.

    Parameters
    ----------
    name
        The class.
    embedding
        z, shape (spots, d).
    mutual
        Mutual nearest neighbours between slices, CSR (spots, spots).
    connectivities
        Spatial neighbours, CSR (spots, spots).
    trust
        Confidence of the alignment of each spot, 0..1.
    region
        Whether the source's spots have the class, shape (spots,).
    source
        Rows of the source slice.
    targets
        Name and rows of each slice to carry it to.
    free
        Whether a spot has no class yet, shape (spots,): only those are proposed.
    places
        Places (x, y) in the common frame, shape (spots, 2); ``None`` if there is none.
    """

    name: str
    embedding: NDArray[np.floating[Any]]
    mutual: sparse.csr_matrix
    connectivities: sparse.csr_matrix
    trust: NDArray[np.float32]
    region: NDArray[np.bool_]
    source: NDArray[np.intp]
    targets: tuple[tuple[str, NDArray[np.intp]], ...]
    free: NDArray[np.bool_]
    places: NDArray[np.float64] | None = None

    def steps(self) -> Steps[Proposal]:
        """Find the spots; see :func:`transfer_steps`."""
        return transfer_steps(self)


@dataclass(frozen=True, eq=False)
class Proposal:
    """Spots that may belong to a class.

    Parameters
    ----------
    name
        The class.
    rows
        Rows of the result.
    confidence
        Share of the votes for the class, 0..1, shape (rows,).
    threshold
        Spots below this are trimmed off.
    way
        How it was carried.
    other
        Confidence by the other way, shape (rows,); ``None`` if slices are not registered.
    """

    name: str
    rows: NDArray[np.intp]
    confidence: NDArray[np.float32]
    threshold: float = THRESHOLD
    way: Carried = Carried.Z
    other: NDArray[np.float32] | None = None

    @property
    def kept(self) -> NDArray[np.intp]:
        """Rows that the threshold leaves."""
        return self.rows[self.confidence >= self.threshold]

    @property
    def contested(self) -> NDArray[np.intp]:
        """Rows that the threshold leaves by one of the two ways alone."""
        if self.other is None:
            return self.rows[:0]
        differs = (self.confidence >= self.threshold) != (self.other >= self.threshold)
        return np.asarray(self.rows[differs])

    def trimmed(self, threshold: float) -> Proposal:
        """Return the same proposal with another threshold."""
        return replace(self, threshold=float(np.clip(threshold, 0, 1)))

    def by(self, way: Carried) -> Proposal:
        """Return the proposal as it is carried in one of the two ways."""
        if way is self.way or self.other is None:
            return self
        return replace(self, way=way, confidence=self.other, other=self.confidence)


def transfer_job(
    adata: AnnData,
    codes: NDArray[np.integer[Any]],
    name: str,
    *,
    code: int,
    source: str,
    targets: Sequence[str] | None = None,
) -> TransferJob:
    """Copy what carrying a region needs.

    Parameters
    ----------
    adata
        Integrated slices.
    codes
        Class of each spot, -1 for none, shape (spots,).
    name, code
        The class.
    source
        Slice to take it from.
    targets
        Slices to carry it to; ``None`` takes all others.

    Raises
    ------
    InputError
        The source has no spot of the class, or there is no other slice or embedding.
    """
    slices = adata.obs[K.SLICE]
    rows = {str(s): np.flatnonzero((slices == s).to_numpy()) for s in slices.cat.categories}
    chosen = [s for s in rows if s != source and (targets is None or s in targets)]
    if K.EMBEDDING not in adata.obsm:
        raise InputError(f"There is no obsm[{K.EMBEDDING!r}]: integrate the slices again.")
    if not chosen:
        raise InputError(f"There is no slice other than {source!r} to carry {name!r} to.")
    if not (codes[rows[source]] == code).any():
        raise InputError(
            f"Slice {source!r} has no spot of class {name!r}: annotate it there first."
        )
    n = adata.n_obs
    none = sparse.csr_matrix((n, n), dtype=np.float32)
    trust = adata.obs[K.CONFIDENCE] if K.CONFIDENCE in adata.obs else np.ones(n)
    return TransferJob(
        name,
        np.array(adata.obsm[K.EMBEDDING]),
        sparse.csr_matrix(adata.obsp.get(K.MUTUAL, none), copy=True),
        sparse.csr_matrix(adata.obsp.get(K.CONNECTIVITIES, none), copy=True),
        np.array(trust, dtype=np.float32),
        codes == code,
        rows[source],
        tuple((s, rows[s]) for s in chosen),
        codes < 0,
        np.array(adata.obsm[K.SPATIAL_ALIGNED], dtype=np.float64)[:, :2]
        if K.SPATIAL_ALIGNED in adata.obsm
        else None,
    )


def transfer_steps(job: TransferJob, k: int = NEIGHBORS) -> Steps[Proposal]:
    """Propose spots of other slices for a class, one slice per step, in both ways.

    The k spots of the source nearest in z, and the mutual neighbours there, vote on each spot. A
    vote is weighted by the voter's confidence. The confidence of a proposal is the share of the
    votes for the class, averaged over the spot and its spatial neighbours.

    Parameters
    ----------
    job
        What to carry and where to.
    k
        Number of voters; fewer if there are fewer spots.
    """
    from sklearn.neighbors import NearestNeighbors

    finder = NearestNeighbors(n_neighbors=min(k, len(job.source))).fit(job.embedding[job.source])
    rows, confidence, other = [], [], []
    for done, (name, target) in enumerate(job.targets):
        yield Progress(f"to {name}", done, len(job.targets))
        near = finder.kneighbors(job.embedding[target], return_distance=False)
        share = _smooth(_share(job, target, near), job.connectivities[target][:, target])
        there = share_by_place(job, target)
        proposed = ((share > 0) | (there > 0)) & job.free[target]
        rows.append(target[proposed])
        confidence.append(share[proposed])
        other.append(there[proposed])
    by_z, by_place = (np.concatenate(each).astype(np.float32) for each in (confidence, other))
    return Proposal(
        job.name,
        np.concatenate(rows),
        by_z,
        other=None if job.places is None else by_place,
    )


def share_by_place(job: TransferJob, target: NDArray[np.intp]) -> NDArray[np.float64]:
    """Share of the class among the spots of the source at the place of each spot of a slice.

    Parameters
    ----------
    job
        What to carry and where to.
    target
        Rows of the slice.

    Returns
    -------
    0..1, shape (target,). A spot of the source counts less the farther it is, and not beyond
    1.5 spacings; 0 where the source has no tissue, or without a common frame.
    """
    if job.places is None:
        return np.zeros(len(target))
    source, there = job.places[job.source], job.places[target]
    reach = NEAR * spacing(source)
    near = KDTree(there).sparse_distance_matrix(KDTree(source), reach, output_type="coo_matrix")
    # A spot on its own place has distance 0, which a sparse matrix would lose.
    weight = sparse.csr_matrix(
        (1 - near.data / reach + 1e-6, (near.row, near.col)), shape=near.shape
    )
    total = np.asarray(weight.sum(axis=1)).ravel()
    share = (weight @ job.region[job.source]) / np.maximum(total, 1e-12)
    return np.asarray(share, dtype=np.float64)


def _share(
    job: TransferJob, target: NDArray[np.intp], near: NDArray[np.intp]
) -> NDArray[np.float64]:
    """Share of the votes for the class, shape (target,)."""
    n, k = near.shape
    ones = np.ones(n * k, dtype=np.float32)
    voters = sparse.csr_matrix(
        (ones, (np.repeat(np.arange(n), k), near.ravel())), shape=(n, len(job.source))
    )
    matched = job.mutual[target][:, job.source].astype(bool).astype(np.float32)
    # If no voter has any confidence, the spot is still judged by the nearest.
    weight = np.maximum(job.trust[job.source], 1e-3)
    votes = sparse.csr_matrix(voters + matched)
    return np.asarray(votes @ (weight * job.region[job.source]) / (votes @ weight))


def _smooth(values: NDArray[np.float64], connectivities: sparse.csr_matrix) -> NDArray[np.float64]:
    ones = (connectivities != 0).astype(np.float64)
    return np.asarray((ones @ values + values) / (ones @ np.ones(len(values)) + 1))
