"""Figures of the neighbourhoods in an embedding: LISI, kBET and graph connectivity."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_staligner.core.evaluation import metrics as M
from napari_staligner.core.evaluation.nearest import nearest_by_slice
from napari_staligner.core.progress import Progress, Steps

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Codes = NDArray[np.integer[Any]]

_WANTED = M.LISI_NEIGHBORS + 1
"""The spot itself, and as many others as harmonypy uses."""


def neighborhood_steps(
    z: NDArray[np.floating[Any]],
    slice_of: Codes,
    labels: Codes | None,
    among: Sequence[tuple[int, ...]],
) -> Steps[dict[tuple[int, ...], dict[str, float]]]:
    """Compute figures of the neighbourhoods over the spots of sets of slices, in one pass.

    Parameters
    ----------
    z
        Shape (spots, d): the embedding.
    slice_of
        Shape (spots,): number of the slice, 0, 1, …
    labels
        Shape (spots,): code of the label, -1 without one; ``None`` without labels.
    among
        Numbers of the slices of each set.

    Returns
    -------
    For each set, by key of :data:`~napari_staligner.core.evaluation.metrics.METRICS`: iLISI, kBET
    and, with labels, cLISI and graph connectivity. cLISI uses only spots with a label, as if there
    were no others.
    """
    scopes = [_Scope(slice_of, labels, slices) for slices in among]
    groups, parts = _groups(slice_of, labels, among)
    done = 0
    yield Progress("neighbourhoods", 0, len(z))
    for block in nearest_by_slice(z, groups, _WANTED):
        own, known = parts[block.slice]
        for scope in scopes:
            if own not in scope.among:
                continue
            there = [g for g, (s, _) in enumerate(parts) if s in scope.among]
            labelled = [g for g in there if parts[g][1]]
            nearest = block.among(there, _WANTED)
            scope.add(block.rows, *nearest)
            if known:
                alike = nearest if labelled == there else block.among(labelled, _WANTED)
                scope.add_labelled(block.rows, *alike)
        done += len(block.rows)
        yield Progress("neighbourhoods", done, len(z))
    return {scope.among: scope.figures() for scope in scopes}


def _groups(
    slice_of: Codes, labels: Codes | None, among: Sequence[tuple[int, ...]]
) -> tuple[list[NDArray[np.int64]], list[tuple[int, bool]]]:
    """Spots by slice and by whether they have a label; and a slice and the label of each group.

    This way the 90 nearest spots with a label are found in the same pass as the 90 nearest of all.
    Slices that are in the same sets are one group: a hundred of a spot each are searched at once.
    """
    known = np.ones(len(slice_of), dtype=bool) if labels is None else labels >= 0
    within = np.zeros((int(slice_of.max()) + 1, len(among)), dtype=bool)
    for number, slices in enumerate(among):
        within[list(slices), number] = True
    _, first, alike = np.unique(within, axis=0, return_index=True, return_inverse=True)
    groups, parts = [], []
    for number in sorted(first):
        there = alike.ravel()[slice_of] == alike.ravel()[number]
        for labelled in (True, False):
            rows = np.flatnonzero(there & (known == labelled))
            if len(rows):
                groups.append(rows)
                parts.append((number, labelled))
    return groups, parts


class _Scope:
    """Collects figures of the neighbourhoods over the spots of some slices."""

    def __init__(self, slice_of: Codes, labels: Codes | None, among: tuple[int, ...]) -> None:
        self.slice_of, self.labels, self.among = slice_of, labels, among
        self.rows = np.flatnonzero(np.isin(slice_of, among))
        self.number = np.full(len(slice_of), -1)
        self.number[self.rows] = np.arange(len(self.rows))
        # Slices of this scope as 0, 1, …
        sizes = np.bincount(slice_of)
        self.slice_at = np.full(len(sizes), -1)
        self.slice_at[list(among)] = np.arange(len(among))
        self.shares = sizes[list(among)] / len(self.rows)
        # harmonypy's, scib-metrics', and the latter unweighted.
        self.ilisi, self.clisi = np.full((2, 3, len(self.rows)), np.nan)
        self.accepted = np.zeros(len(self.rows), dtype=bool)
        self.graph = np.zeros((len(self.rows), min(M.GRAPH_NEIGHBORS, len(self.rows))), np.int32)

    def add(
        self, rows: NDArray[np.int64], near: NDArray[np.int64], distance: NDArray[np.float64]
    ) -> None:
        """Add the nearest spots of a block of spots."""
        at = self.number[rows]
        slices = self.slice_at[self.slice_of[near]]
        for found, w in zip(self.ilisi, _weights(rows, near, distance), strict=True):
            found[at] = M.inverse_simpson(w, slices, len(self.among))
        self.accepted[at] = M.kbet_accepts(slices[:, : M.KBET_NEIGHBORS], self.shares)
        self.graph[at] = self.number[near[:, : M.GRAPH_NEIGHBORS]]

    def add_labelled(
        self, rows: NDArray[np.int64], near: NDArray[np.int64], distance: NDArray[np.float64]
    ) -> None:
        """Add the nearest spots of a block, both with a label."""
        if self.labels is None:
            return
        at, labels = self.number[rows], self.labels[near]
        n_labels = int(self.labels.max()) + 1
        for found, w in zip(self.clisi, _weights(rows, near, distance), strict=True):
            found[at] = M.inverse_simpson(w, labels, n_labels)

    def figures(self) -> dict[str, float]:
        """The figures: numbers of kinds, and the same scaled to 0..1."""
        n, nan = len(self.among), float("nan")
        found = {"kbet": float(self.accepted.mean()) if n > 1 else nan}
        found["ilisi_raw"] = _median(self.ilisi[0]) if n > 1 else nan
        for key, lisi in zip(("ilisi", "ilisi_unweighted"), self.ilisi[1:], strict=True):
            found[key] = (_median(lisi) - 1) / (n - 1) if n > 1 else nan
        if self.labels is not None:
            labels = self.labels[self.rows]
            k = len(np.unique(labels[labels >= 0]))
            found["clisi_raw"] = _median(self.clisi[0]) if k > 1 else nan
            for key, lisi in zip(("clisi", "clisi_unweighted"), self.clisi[1:], strict=True):
                found[key] = (k - _median(lisi)) / (k - 1) if k > 1 else nan
            found["graph_connectivity"] = M.graph_connectivity(self.graph, labels)
        return found


def _median(lisi: NDArray[np.float64]) -> float:
    known = lisi[np.isfinite(lisi)]
    return float(np.median(known)) if len(known) else float("nan")


def _weights(
    rows: NDArray[np.int64], near: NDArray[np.int64], distance: NDArray[np.float64]
) -> Iterator[NDArray[np.float64]]:
    """Weights of the nearest for harmonypy's, scib-metrics' and the unweighted LISI."""
    others = near != rows[:, None]  # the spot itself has no weight
    yield M.neighbor_weights(distance, others, max((near.shape[1] - 1) // 3, 1))
    k = min(M.LISI_NEIGHBORS, near.shape[1])
    others[:, k:] = False
    yield M.neighbor_weights(distance, others, max(k // 3, 1))
    yield others / np.maximum(others.sum(axis=1, keepdims=True), 1)
