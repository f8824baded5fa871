"""Which slices have a domain or region, and which lack it, with the test behind it."""

from __future__ import annotations

import logging
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import pandas as pd

from napari_staligner import _keys as K
from napari_staligner._errors import InputError
from napari_staligner.core.attempt import PRESENCE, drop_notes
from napari_staligner.core.blocks import blocks_of
from napari_staligner.core.result.access import record_of, spots_xy, writable_record

if TYPE_CHECKING:
    from collections.abc import Mapping

    from anndata import AnnData
    from numpy.typing import NDArray

_log = logging.getLogger(__name__)

Verdict = Literal["shared", "slice-specific", "depleted", "unclear"]

PERMUTATIONS = 4999
LEVEL = 0.05
FOLD = 4.0
"""A share counts as lacking if it is at least this many times smaller."""
COLUMNS = ("label", "slice", "spots", "share", "elsewhere", "confidence", "p", "q", "verdict")


@dataclass(frozen=True)
class Presence:
    """One label in one slice.

    Parameters
    ----------
    label, slice
        Names.
    spots
        Of the label in the slice.
    share
        Of the slice's spots, 0..1.
    elsewhere
        Mean share in the other slices; NaN if there are none.
    confidence
        Mean ``alignment_confidence`` of these spots; NaN if it is not known.
    p, q
        Two-sided, of the permutation test; adjusted by Benjamini and Hochberg over the table.
    verdict
        ``"slice-specific"``: the slice has it, every other one lacks it. ``"depleted"``: the slice
        lacks what others have. ``"unclear"``: shares differ as much, but too few blocks have the
        label to rule out chance. Else ``"shared"``.
    """

    label: str
    slice: str
    spots: int
    share: float
    elsewhere: float
    confidence: float
    p: float
    q: float
    verdict: Verdict


@dataclass(frozen=True)
class PresenceTable:
    """Every label in every slice, in the order of the labels and of the slices."""

    rows: tuple[Presence, ...]

    def to_frame(self) -> pd.DataFrame:
        """One row per label and slice."""
        return pd.DataFrame([vars(row) for row in self.rows], columns=list(COLUMNS))

    @classmethod
    def from_frame(cls, frame: pd.DataFrame) -> PresenceTable:
        """The table that :meth:`to_frame` was made from."""
        texts = frame.astype({"label": str, "slice": str, "verdict": str})
        columns = [texts[key].tolist() for key in COLUMNS]
        rows = zip(*columns, strict=True)
        return cls(tuple(Presence(**dict(zip(COLUMNS, row, strict=True))) for row in rows))

    def named(self, labels: Mapping[str, str], slices: Mapping[str, str]) -> PresenceTable:
        """The same with new names, given by present name, and in the order of these mappings."""
        rows = {(row.label, row.slice): row for row in self.rows}
        return PresenceTable(
            tuple(
                replace(rows[label, slice_], label=labels[label], slice=slices[slice_])
                for label in labels
                for slice_ in slices
            )
        )

    def specific(self) -> dict[str, Presence]:
        """For each label that is in only one slice, its row in that slice."""
        return {row.label: row for row in self.rows if row.verdict == "slice-specific"}

    def unclear(self) -> list[str]:
        """Labels that may be in only one slice, or be lacking in one."""
        return list(dict.fromkeys(row.label for row in self.rows if row.verdict == "unclear"))


def presence(
    labels: pd.Categorical,
    slices: pd.Categorical,
    coordinates: NDArray[np.floating[Any]],
    confidence: NDArray[np.floating[Any]] | None = None,
    *,
    seed: int = 0,
) -> PresenceTable:
    """Test in which slices labels are present.

    Each slice is cut into compact blocks of about 16 spots, and blocks, not spots, are drawn:
    neighbours in a tissue are alike, so their number says little. If the slices had the same
    composition, it would not matter which slice a block belongs to. So the share of a label in a
    slice is compared with 4,999 redistributions of all blocks over the slices.

    Parameters
    ----------
    labels
        Shape (spots,): domains or regions; spots without one only count for the size of the slice.
    slices
        Shape (spots,).
    coordinates
        Shape (spots, 2): each slice in its own units.
    confidence
        Shape (spots,), 0..1.
    seed
        Of the redistributions.

    Raises
    ------
    InputError
        A spot has no slice.
    """
    slice_of = np.asarray(slices.codes)
    if (slice_of < 0).any():
        raise InputError(f"obs[{K.SLICE!r}] is empty for some spots: name a slice for each.")
    names, slices_ = list(map(str, labels.categories)), list(map(str, slices.categories))
    counts = np.zeros((len(names), len(slices_)), dtype=np.int64)
    codes = np.asarray(labels.codes)
    known = codes >= 0
    np.add.at(counts, (codes[known], slice_of[known]), 1)
    sizes = np.bincount(slice_of, minlength=len(slices_))
    shares = counts / np.maximum(sizes, 1)
    p = _p_values(codes, slice_of, coordinates, len(names), len(slices_), seed)
    q = _adjusted(p)
    verdicts = _verdicts(shares, q)
    elsewhere = _elsewhere(shares)
    means = _means(confidence, codes, slice_of, counts)
    return PresenceTable(
        tuple(
            Presence(
                name,
                slice_,
                int(counts[i, s]),
                float(shares[i, s]),
                float(elsewhere[i, s]),
                float(means[i, s]),
                float(p[i, s]),
                float(q[i, s]),
                verdicts[i][s],
            )
            for i, name in enumerate(names)
            for s, slice_ in enumerate(slices_)
        )
    )


def domain_presence(adata: AnnData, within: NDArray[np.bool_] | None = None) -> PresenceTable:
    """Test in which slices the domains are present.

    Parameters
    ----------
    adata
        Integrated slices; reads ``obs["domain"]``, ``obs["slice"]``, ``obsm["spatial"]`` and
        ``obs["alignment_confidence"]`` if it is there.
    within
        Test only these spots, such as those where all slices have tissue, bool, shape (spots,);
        ``None`` tests all.
    """
    rows = slice(None) if within is None else within
    values = adata.obs[K.CONFIDENCE].to_numpy(float)[rows] if K.CONFIDENCE in adata.obs else None
    return presence(
        pd.Categorical(adata.obs[K.DOMAIN])[rows],
        pd.Categorical(adata.obs[K.SLICE])[rows],
        spots_xy(adata)[rows],
        values,
    )


def presence_of(adata: AnnData) -> PresenceTable | None:
    """The recorded test of the domains, else a new one; ``None`` if that fails.

    Parameters
    ----------
    adata
        See :func:`domain_presence`. Nothing is written.
    """
    try:
        return recorded_presence(adata) or domain_presence(adata)
    except Exception:
        _log.exception("The test in which slices the domains are failed")
        return None


def record_presence(adata: AnnData, tested: PresenceTable | None = None) -> PresenceTable:
    """Write the test of the domains to ``uns["staligner"]["presence"]``, and return it.

    A note that the test was missing is dropped.

    Parameters
    ----------
    adata
        See :func:`domain_presence`.
    tested
        The table, if it is already known.
    """
    table = domain_presence(adata) if tested is None else tested
    writable_record(adata)[K.PRESENCE] = table.to_frame()
    drop_notes(adata, PRESENCE)
    return table


def recorded_presence(adata: AnnData) -> PresenceTable | None:
    """The table in ``uns["staligner"]["presence"]``; ``None`` if it is of other domains."""
    frame = record_of(adata).get(K.PRESENCE)
    if not isinstance(frame, pd.DataFrame) or list(frame.columns) != list(COLUMNS):
        return None
    if not {K.DOMAIN, K.SLICE} <= set(adata.obs):
        return None
    table = PresenceTable.from_frame(frame)
    there = {(row.label, row.slice): row.spots for row in table.rows}
    return table if there == _counts(adata) else None


def _counts(adata: AnnData) -> dict[tuple[str, str], int]:
    """Spots by domain and slice; pandas' crosstab would take fifty times as long at every click."""
    labels, slices = (pd.Categorical(adata.obs[key]) for key in (K.DOMAIN, K.SLICE))
    names = [(str(a), str(b)) for a in labels.categories for b in slices.categories]
    label, slice_ = labels.codes, slices.codes
    known = (label >= 0) & (slice_ >= 0)
    cells = label[known].astype(np.intp) * len(slices.categories) + slice_[known]
    found = np.bincount(cells, minlength=len(names))
    return dict(zip(names, found.tolist(), strict=True))


def _p_values(
    codes: NDArray[np.integer[Any]],
    slice_of: NDArray[np.integer[Any]],
    coordinates: NDArray[np.floating[Any]],
    n_labels: int,
    n_slices: int,
    seed: int,
) -> NDArray[np.float64]:
    """Two-sided p of the share of each label in each slice, shape (labels, slices)."""
    shares, counts = [], []
    for s in range(n_slices):
        rows = np.flatnonzero(slice_of == s)
        block = blocks_of(coordinates[rows])
        n_blocks = int(block.max(initial=-1)) + 1
        known = codes[rows] >= 0
        found = np.zeros((n_blocks, n_labels))
        np.add.at(found, (block[known], codes[rows][known]), 1)
        shares.append(found / np.bincount(block, minlength=n_blocks)[:, None])
        counts.append(n_blocks)
    whole = np.concatenate(shares).astype(np.float32)
    drawn = _redistributions(tuple(counts), seed)
    p = np.empty((n_labels, n_slices))
    for s in range(n_slices):
        sums = (drawn == s).astype(np.float32) @ whole
        observed = shares[s].sum(axis=0).astype(np.float32)
        slack = 1e-4 * (1 + observed)
        less = (1 + (sums <= observed + slack).sum(axis=0)) / (1 + PERMUTATIONS)
        more = (1 + (sums >= observed - slack).sum(axis=0)) / (1 + PERMUTATIONS)
        p[:, s] = np.minimum(1.0, 2 * np.minimum(less, more))
    return p


@lru_cache(maxsize=1)
def _redistributions(blocks: tuple[int, ...], seed: int) -> NDArray[np.int16]:
    """Slice of every block in every redistribution; cached for the next domains of a result."""
    owner = np.repeat(np.arange(len(blocks), dtype=np.int16), blocks)
    drawn = np.tile(owner, (PERMUTATIONS, 1))
    return np.random.default_rng(seed).permuted(drawn, axis=1, out=drawn)


def _adjusted(p: NDArray[np.float64]) -> NDArray[np.float64]:
    from scipy.stats import false_discovery_control

    if not p.size:
        return p
    return np.asarray(false_discovery_control(p, axis=None)).reshape(p.shape)


def _elsewhere(shares: NDArray[np.float64]) -> NDArray[np.float64]:
    n = shares.shape[1]
    if n < 2:
        return np.full(shares.shape, np.nan)
    return np.asarray((shares.sum(axis=1, keepdims=True) - shares) / (n - 1))


def _verdicts(shares: NDArray[np.float64], q: NDArray[np.float64]) -> list[list[Verdict]]:
    """Verdict for each label in each slice, from the test and the size of the difference."""
    elsewhere = _elsewhere(shares)
    verdicts: list[list[Verdict]] = []
    for own, others, adjusted in zip(shares, elsewhere, q, strict=True):
        sure = adjusted <= LEVEL
        lacks = (FOLD * own <= others) & (others > 0)
        verdict: list[Verdict] = ["shared"] * len(own)
        for s in np.flatnonzero(lacks):
            verdict[s] = "depleted" if sure[s] else "unclear"
        top = int(own.argmax())
        rest = np.delete(own, top)
        if len(rest) and own[top] >= FOLD * rest.max() and own[top] > 0:
            verdict[top] = "slice-specific" if sure[top] else "unclear"
        verdicts.append(verdict)
    return verdicts


def _means(
    confidence: NDArray[np.floating[Any]] | None,
    codes: NDArray[np.integer[Any]],
    slice_of: NDArray[np.integer[Any]],
    counts: NDArray[np.int64],
) -> NDArray[np.float64]:
    means = np.full(counts.shape, np.nan)
    if confidence is not None:
        known = codes >= 0
        sums = np.zeros(counts.shape)
        np.add.at(sums, (codes[known], slice_of[known]), confidence[known])
        np.divide(sums, counts, out=means, where=counts > 0)
    return means
