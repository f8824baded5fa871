"""Proposes a region on other slices, through the embedding."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
from scipy import sparse

from napari_staligner import _keys as K
from napari_staligner._errors import InputError
from napari_staligner.core.progress import Progress, Steps

if TYPE_CHECKING:
    from collections.abc import Sequence

    from anndata import AnnData
    from numpy.typing import NDArray

NEIGHBORS = 15
"""Spots of the source slice that vote on each spot, in addition to its mutual neighbours."""
THRESHOLD = 0.5
"""A spot is proposed above this confidence: the majority of the votes."""


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
    """

    name: str
    rows: NDArray[np.intp]
    confidence: NDArray[np.float32]
    threshold: float = THRESHOLD

    @property
    def kept(self) -> NDArray[np.intp]:
        """Rows that the threshold leaves."""
        return self.rows[self.confidence >= self.threshold]

    def trimmed(self, threshold: float) -> Proposal:
        """Return the same proposal with another threshold."""
        return replace(self, threshold=float(np.clip(threshold, 0, 1)))


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
    )


def transfer_steps(job: TransferJob, k: int = NEIGHBORS) -> Steps[Proposal]:
    """Propose spots of other slices for a class, one slice per step.

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
    rows, confidence = [], []
    for done, (name, target) in enumerate(job.targets):
        yield Progress(f"to {name}", done, len(job.targets))
        near = finder.kneighbors(job.embedding[target], return_distance=False)
        share = _smooth(_share(job, target, near), job.connectivities[target][:, target])
        proposed = (share > 0) & job.free[target]
        rows.append(target[proposed])
        confidence.append(share[proposed])
    return Proposal(job.name, np.concatenate(rows), np.concatenate(confidence).astype(np.float32))


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
