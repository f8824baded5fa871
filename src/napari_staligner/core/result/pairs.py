"""Pairs of slices: how well each is aligned, and where it is worst."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import TYPE_CHECKING, Literal

import numpy as np
from scipy import sparse

from napari_staligner import _keys as K
from napari_staligner._errors import InputError
from napari_staligner.core.json_text import json_of
from napari_staligner.core.prepare.graph import spacing
from napari_staligner.core.progress import Progress, Steps, finish
from napari_staligner.core.result.access import record_of, writable_record
from napari_staligner.core.result.matches import Links, links_in, mutual_of

if TYPE_CHECKING:
    import pandas as pd
    from anndata import AnnData
    from numpy.typing import NDArray

    Rows = NDArray[np.intp]
    Pair = tuple[str, str]

Measure = Literal["confidence", "residual", "matched"]
DRAWN = 600
"""Most spots of a slice that a pair's confidence is measured on."""
FAR = 3.0
"""A match that lies farther away than this in the common frame, in spacings, and than twice the
median of the pair, is a bad one."""
TOGETHER = 1.5
"""Where the other slice has a spot this near, it has tissue, in spacings."""


@dataclass(frozen=True)
class PairFigures:
    """How well two slices are aligned.

    Parameters
    ----------
    first, second
        Names of the slices.
    confidence
        Mean confidence of the spots of both if only these two slices are compared, 0..1; see
        :func:`~napari_staligner.core.result.confidence.confidence_steps`.
    residual
        Median distance of a spot from its nearest match, in the common frame, in spacings of the
        first slice; NaN without matches or registration.
    matched
        Share of the spots of both that have a match in the other, 0..1.
    parted
        Share of the nearest matches that lie in another domain; NaN without.
    patch
        Rows of the largest connected patch, on tissue that both slices have, whose spots have no
        match in the other, or one in another domain or unusually far away.
    """

    first: str
    second: str
    confidence: float
    residual: float
    matched: float
    parted: float
    patch: Rows

    @property
    def pair(self) -> Pair:
        """Names of the slices."""
        return self.first, self.second

    def badness(self, measure: Measure) -> float:
        """How bad it is: higher is worse; what is not known is worst."""
        value = getattr(self, measure)
        if np.isnan(value):
            return np.inf
        return float(value if measure == "residual" else -value)


@dataclass(frozen=True)
class PairsJob:
    """All that the figures need, copied but for the matches.

    Parameters
    ----------
    slices
        Names of the slices.
    slice_of
        Number of the slice of each spot, shape (spots,).
    embedding
        float32, shape (spots, d).
    mutual
        Distances in z between mutual nearest neighbours, CSR; its arrays are shared, not changed.
    frame
        Places in the common frame, shape (spots, 2); ``None`` if not registered.
    domain
        Number of the domain of each spot, -1 for none; ``None`` without domains.
    graph
        Neighbours within the slices, CSR.
    """

    slices: tuple[str, ...]
    slice_of: Rows
    embedding: NDArray[np.float32]
    mutual: sparse.csr_matrix
    frame: NDArray[np.float64] | None
    domain: Rows | None
    graph: sparse.csr_matrix

    def steps(self) -> Steps[tuple[PairFigures, ...]]:
        """Measure all pairs; see :func:`pair_steps`."""
        return pair_steps(self)


def pair_figures(adata: AnnData) -> tuple[PairFigures, ...]:
    """Measure how well each pair of slices is aligned.

    Parameters
    ----------
    adata
        Integrated slices; see :func:`pairs_job`.
    """
    return finish(pairs_job(adata).steps())


def pairs_job(adata: AnnData) -> PairsJob:
    """Copy what the figures of pairs need.

    Parameters
    ----------
    adata
        Integrated slices; reads ``obsm["STAligner"]``, ``obsm["spatial_aligned"]``,
        ``obsp["mutual_neighbors"]``, ``obsp["spatial_connectivities"]`` and ``obs["domain"]``.

    Raises
    ------
    InputError
        There are fewer than two slices, or the result lacks its embedding, matches or graph.
    """
    names = tuple(map(str, adata.obs[K.SLICE].cat.categories))
    if len(names) < 2:
        raise InputError("There is only one slice: nothing to compare it with.")
    for slot, key in (("obsm", K.EMBEDDING), ("obsp", K.CONNECTIVITIES)):
        if key not in getattr(adata, slot):
            raise InputError(f"The result has no {slot}[{key!r}]: integrate the slices again.")
    aligned = adata.obsm.get(K.SPATIAL_ALIGNED)
    return PairsJob(
        names,
        adata.obs[K.SLICE].cat.codes.to_numpy().astype(np.intp),
        np.array(adata.obsm[K.EMBEDDING], dtype=np.float32),
        mutual_of(adata),
        None if aligned is None else np.array(aligned, dtype=np.float64),
        adata.obs[K.DOMAIN].cat.codes.to_numpy().astype(np.intp) if K.DOMAIN in adata.obs else None,
        sparse.csr_matrix(adata.obsp[K.CONNECTIVITIES], copy=True),
    )


def pair_steps(job: PairsJob) -> Steps[tuple[PairFigures, ...]]:
    """Measure all pairs, one a step."""
    rows = [np.flatnonzero(job.slice_of == code) for code in range(len(job.slices))]
    found = []
    pairs = list(combinations(range(len(job.slices)), 2))
    for done, (a, b) in enumerate(pairs):
        yield Progress("pairs", done, len(pairs))
        found.append(_measure(job, a, b, rows))
    return tuple(found)


def _measure(job: PairsJob, a: int, b: int, rows: Sequence[Rows]) -> PairFigures:
    own = np.concatenate([rows[a], rows[b]])
    nearest = _nearest_match(links_in(job.mutual, job.slice_of, (a, b)), len(job.slice_of))
    linked = nearest[own] >= 0
    with_match = own[linked]
    match = nearest[with_match]
    bad = np.zeros(len(job.slice_of), dtype=bool)
    bad[own] = ~linked
    parted = far = np.full(len(with_match), np.nan)
    if job.domain is not None:
        parted = (job.domain[with_match] != job.domain[match]).astype(np.float64)
        bad[with_match] |= parted > 0
    if job.frame is not None:
        unit = spacing(job.frame[rows[a]])
        far = np.linalg.norm(job.frame[with_match] - job.frame[match], axis=1) / unit
        bad[with_match] |= far > max(FAR, 2 * float(np.median(far)) if len(far) else FAR)
        bad &= _on_both(job.frame, rows[a], rows[b], unit)
    return PairFigures(
        job.slices[a],
        job.slices[b],
        _confidence(job, rows[a], rows[b]),
        float(np.median(far)) if len(far) else np.nan,
        float(linked.mean()) if len(own) else np.nan,
        float(parted.mean()) if len(parted) else np.nan,
        _largest(job.graph, np.flatnonzero(bad)),
    )


def _nearest_match(links: Links, n_spots: int) -> Rows:
    """For each spot its match that is nearest in z among some links, or -1."""
    start = np.concatenate([links.first, links.second])
    end = np.concatenate([links.second, links.first])
    order = np.argsort(-np.concatenate([links.distance, links.distance]), kind="stable")
    nearest = np.full(n_spots, -1, dtype=np.intp)
    nearest[start[order]] = end[order]  # of several, the last one stays: the nearest
    return nearest


def _on_both(frame: NDArray[np.float64], a: Rows, b: Rows, unit: float) -> NDArray[np.bool_]:
    """Which spots of two slices lie where the other has tissue."""
    from scipy.spatial import KDTree

    both = np.zeros(len(frame), dtype=bool)
    for own, other in ((a, b), (b, a)):
        both[own] = KDTree(frame[other]).query(frame[own])[0] <= TOGETHER * unit
    return both


def _confidence(job: PairsJob, a: Rows, b: Rows) -> float:
    from napari_staligner.core.result.confidence import confidence_steps

    rng = np.random.default_rng(0)
    some = [r if len(r) <= DRAWN else np.sort(rng.choice(r, DRAWN, replace=False)) for r in (a, b)]
    z = job.embedding[np.concatenate(some)]
    return float(finish(confidence_steps(z, [len(r) for r in some])).mean())


def _largest(graph: sparse.csr_matrix, rows: Rows) -> Rows:
    """The largest connected patch of some spots."""
    from scipy.sparse.csgraph import connected_components

    if len(rows) == 0:
        return rows
    piece = connected_components(graph[rows][:, rows], directed=False)[1]
    return np.asarray(rows[piece == np.bincount(piece).argmax()])


def pairs_frame(found: Iterable[PairFigures]) -> pd.DataFrame:
    """One row per pair, with its figures; ``patch`` is the number of its spots."""
    import pandas as pd

    return pd.DataFrame([vars(each) | {"patch": len(each.patch)} for each in found])


# -- what was seen -----------------------------------------------------------------------------


def seen_pairs(adata: AnnData) -> frozenset[Pair]:
    """Pairs that were looked at, as ``uns["staligner"]["seen_pairs"]`` has them."""
    try:
        kept = json_of(str(record_of(adata).get(K.SEEN_PAIRS, "[]")))
        return frozenset((str(a), str(b)) for a, b in kept)
    except (ValueError, TypeError):
        return frozenset()


def write_seen_pairs(adata: AnnData, seen: Iterable[Pair]) -> None:
    """Set ``uns["staligner"]["seen_pairs"]``."""
    writable_record(adata)[K.SEEN_PAIRS] = json.dumps(sorted(map(list, seen)))
