"""Figures of merit of an embedding and of domains, as the field defines them.

iLISI and cLISI are harmonypy's ``compute_lisi``; scaled, they follow scib-metrics, as do batch ASW,
label ASW, graph connectivity and kBET. CHAOS and PAS follow SpatialPCA. Labels and slices are codes
0, 1, …; -1 is a spot without a label.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Codes = NDArray[np.integer[Any]]
    Floats = NDArray[np.floating[Any]]

LISI_NEIGHBORS, KBET_NEIGHBORS, GRAPH_NEIGHBORS = 90, 50, 15
"""Number of nearest spots, including the spot itself, as in scib-metrics. harmonypy does not count
the spot itself."""
KBET_ALPHA = 0.05
PAS_NEIGHBORS = 10
BISECTIONS, ENTROPY_TOLERANCE = 50, 1e-5


@dataclass(frozen=True)
class Metric:
    """The name of a figure and how to read it.

    Parameters
    ----------
    title
        Name in tables.
    meaning
        One sentence for a tool tip.
    higher_is_better
        Whether more is better; CHAOS, PAS and the reconstruction error are errors.
    needs_labels
        Whether it exists only with labels to compare with.
    counts
        Whether it is a number of kinds, 1 or more, and not on a scale up to 1.
    """

    title: str
    meaning: str
    higher_is_better: bool = True
    needs_labels: bool = False
    counts: bool = False

    def compare(self, value: float, other: float) -> int:
        """1 if a value is better than the other, -1 if it is worse, else 0.

        Values that agree to three decimals, as tables show them, are equal, and so is NaN.
        """
        if np.isnan(value) or np.isnan(other):
            return 0
        gain = round(value, 3) - round(other, 3)
        return int(np.sign(gain if self.higher_is_better else -gain))


METRICS: Mapping[str, Metric] = MappingProxyType(
    {
        "ilisi_raw": Metric(
            "iLISI",
            "Effective number of slices among the 90 nearest spots, as harmonypy's compute_lisi "
            "counts it, median over spots; with even mixing it is the number of slices.",
            counts=True,
        ),
        "ilisi": Metric("iLISI, scaled", "The same, scaled to 0..1; 1 is even."),
        "ilisi_unweighted": Metric(
            "iLISI, unweighted", "The same with equal weights for all 90 nearest spots."
        ),
        "kbet": Metric(
            "kBET", "Share of spots whose 50 nearest have the slices in their overall proportions."
        ),
        "batch_asw": Metric(
            "batch ASW", "1 minus the absolute silhouette width of the slices, within each label."
        ),
        "graph_connectivity": Metric(
            "graph connectivity",
            "Share of a label's spots in its largest connected piece of the 15-neighbour graph.",
            needs_labels=True,
        ),
        "clisi_raw": Metric(
            "cLISI",
            "Effective number of labels among the 90 nearest spots, as harmonypy's compute_lisi "
            "counts it, median over spots; 1 is pure.",
            higher_is_better=False,
            needs_labels=True,
            counts=True,
        ),
        "clisi": Metric(
            "cLISI, scaled",
            "The same, scaled to 0..1; 1 is pure.",
            needs_labels=True,
        ),
        "clisi_unweighted": Metric(
            "cLISI, unweighted",
            "The same with equal weights for all 90 nearest spots.",
            needs_labels=True,
        ),
        "label_asw": Metric(
            "label ASW", "Silhouette width of the labels, scaled to 0..1.", needs_labels=True
        ),
        "ari": Metric(
            "ARI", "Agreement of domains and labels, corrected for chance.", needs_labels=True
        ),
        "nmi": Metric("NMI", "Information that domains and labels share.", needs_labels=True),
        "f1": Metric(
            "F1",
            "F1 of each label with the domain that is matched to it, one to one, mean over "
            "labels; a label without a domain left for it has 0.",
            needs_labels=True,
        ),
        "chaos": Metric(
            "CHAOS",
            "Mean distance on the tissue to the nearest spot of the same domain.",
            higher_is_better=False,
        ),
        "pas": Metric(
            "PAS",
            "Share of spots in another domain than 6 or more of the 10 nearest on the tissue.",
            higher_is_better=False,
        ),
        "reconstruction": Metric(
            "reconstruction",
            "Mean squared error of the log-normalised genes, as recorded when trained.",
            higher_is_better=False,
        ),
    }
)
"""Every figure, in the order of the tables."""
SCOPES: Mapping[str, str] = MappingProxyType(
    {
        "overall": "Overall",
        "pair": "By slice pair",
        "slice": "By slice",
        "label": "By label",
    }
)
"""The scopes of figures, and the titles of their tables."""


def neighbor_weights(
    distance: Floats, usable: NDArray[np.bool_], perplexity: float
) -> NDArray[np.float64]:
    """Gaussian-like weights of neighbours, exp(-β d), with β set for a perplexity (LISI).

    Parameters
    ----------
    distance
        Shape (spots, k).
    usable
        The same shape; the others get weight 0, for example the spot itself.
    perplexity
        Effective number of neighbours.

    Returns
    -------
    Shape (spots, k); rows sum to 1, or to 0 if nothing is usable.
    """
    aim = np.log(perplexity)
    # Relative to the nearest: the weights are the same, and none of them underflows.
    nearest = np.where(usable, distance, np.inf).min(axis=1, keepdims=True)
    gap = np.where(usable, distance - np.where(np.isfinite(nearest), nearest, 0.0), np.inf)
    beta = np.ones(len(gap))
    low, high = np.zeros(len(gap)), np.full(len(gap), np.inf)
    weights = np.zeros(gap.shape)
    open_rows = np.flatnonzero(usable.any(axis=1))
    for _ in range(BISECTIONS):
        w, entropy = _weigh(gap[open_rows], beta[open_rows])
        weights[open_rows] = w
        miss = entropy - aim
        wide = miss > 0
        low[open_rows[wide]] = beta[open_rows[wide]]
        high[open_rows[~wide]] = beta[open_rows[~wide]]
        still = np.abs(miss) >= ENTROPY_TOLERANCE
        open_rows = open_rows[still]
        if not len(open_rows):
            break
        bounded = np.isfinite(high[open_rows])
        middle = (low[open_rows] + np.where(bounded, high[open_rows], 0.0)) / 2
        beta[open_rows] = np.where(bounded, middle, 2 * beta[open_rows])
    return weights


def _weigh(gap: Floats, beta: Floats) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    raw = np.exp(-gap * beta[:, None])
    total = raw.sum(axis=1)
    mean_gap = (np.where(np.isfinite(gap), gap, 0.0) * raw).sum(axis=1) / total
    return raw / total[:, None], np.log(total) + beta * mean_gap


def inverse_simpson(weights: Floats, codes: Codes, n_codes: int) -> NDArray[np.float64]:
    """Inverse Simpson index of the neighbours' codes: their effective number of kinds.

    Parameters
    ----------
    weights, codes
        Shape (spots, k): of the neighbours.
    n_codes
        How many codes there are.

    Returns
    -------
    Shape (spots,): 1 to ``n_codes``; NaN if all weights are 0.
    """
    shares = np.stack([np.where(codes == c, weights, 0.0).sum(axis=1) for c in range(n_codes)])
    squares = np.square(shares).sum(axis=0)
    found = np.full(len(squares), np.nan)
    np.divide(1.0, squares, out=found, where=squares > 0)
    return found


def matched_f1(labels: Codes, domains: Codes) -> NDArray[np.float64]:
    """F1 of each label with its own domain, matched so that their sum is largest.

    Parameters
    ----------
    labels, domains
        Shape (spots,): 0, 1, …; leave out spots with -1 in either before.

    Returns
    -------
    Shape (labels,): 0..1; 0 for a label that gets no domain because there are too few, NaN for a
    label without spots.
    """
    from scipy.optimize import linear_sum_assignment
    from sklearn.metrics.cluster import contingency_matrix

    there, codes = np.unique(labels, return_inverse=True)
    both = contingency_matrix(codes, domains).astype(np.float64)
    scores = 2 * both / (both.sum(axis=1, keepdims=True) + both.sum(axis=0))
    found = np.full(int(labels.max(initial=-1)) + 1, np.nan)
    found[there] = 0.0
    own, matched = linear_sum_assignment(scores, maximize=True)
    found[there[own]] = scores[own, matched]
    return found


def kbet_accepts(near: Codes, shares: Floats) -> NDArray[np.bool_]:
    """Whether each spot's neighbours hold the slices in the overall proportions (χ² test, 5 %).

    Parameters
    ----------
    near
        Shape (spots, k): slice of each neighbour.
    shares
        Shape (slices,): share of each slice in all spots.
    """
    from scipy.stats import chi2

    expected = shares * near.shape[1]
    observed = np.stack([(near == s).sum(axis=1) for s in range(len(shares))], axis=1)
    statistic = (np.square(observed - expected) / expected).sum(axis=1)
    return np.asarray(chi2.sf(statistic, len(shares) - 1) >= KBET_ALPHA)


def graph_connectivity(near: Codes, labels: Codes) -> float:
    """Mean over labels of the share of their spots in their largest strongly connected piece.

    Parameters
    ----------
    near
        Shape (spots, k): numbers of each spot's nearest spots.
    labels
        Shape (spots,).
    """
    from scipy.sparse import csr_matrix
    from scipy.sparse.csgraph import connected_components

    n, k = near.shape
    graph = csr_matrix((np.ones(n * k, np.int8), near.ravel(), np.arange(n + 1) * k), shape=(n, n))
    parts = []
    for label in np.unique(labels[labels >= 0]):
        rows = np.flatnonzero(labels == label)
        _, piece = connected_components(graph[rows][:, rows], connection="strong")
        parts.append(np.bincount(piece).max() / len(rows))
    return float(np.mean(parts)) if parts else float("nan")


@dataclass(frozen=True)
class SilhouetteSums:
    """Sums of distances from each spot to the spots of each label in each slice.

    They hold the silhouettes of labels and of slices, for all slices and for any pair.

    Parameters
    ----------
    sums
        Shape (spots, labels, slices), float64.
    labels, slices
        Shape (spots,).
    """

    sums: NDArray[np.float64]
    labels: Codes
    slices: Codes

    def label_asw(self, among: Sequence[int]) -> float:
        """Silhouette width of the labels over the spots of some slices, scaled to 0..1."""
        rows = np.flatnonzero(np.isin(self.slices, among))
        if len(np.unique(self.labels[rows])) < 2:
            return float("nan")
        sums = self.sums[rows][:, :, list(among)].sum(axis=2)
        width = _silhouettes(sums, self.labels[rows])
        return float((width.mean() + 1) / 2)

    def batch_asw(self, among: Sequence[int]) -> float:
        """1 minus the absolute silhouette width of the slices: mean of the labels' means."""
        among = list(among)
        at = np.full(self.sums.shape[2], -1)
        at[among] = np.arange(len(among))
        means = []
        for label in np.unique(self.labels):
            rows = np.flatnonzero((self.labels == label) & (at[self.slices] >= 0))
            n_slices = len(np.unique(self.slices[rows]))
            if n_slices < 2 or n_slices == len(rows):
                continue
            width = _silhouettes(self.sums[rows][:, label, among], at[self.slices[rows]])
            means.append(1 - np.abs(width).mean())
        return float(np.mean(means)) if means else float("nan")


def _silhouettes(sums: Floats, groups: Codes) -> NDArray[np.float64]:
    """Silhouette widths from each spot's sums of distances to each group, shape (spots, groups)."""
    counts = np.bincount(groups, minlength=sums.shape[1]).astype(float)
    rows = np.arange(len(sums))
    own = counts[groups] - 1
    inside = np.divide(sums[rows, groups], own, out=np.zeros(len(sums)), where=own > 0)
    means = np.divide(sums, counts, out=np.full(sums.shape, np.inf), where=counts > 0)
    means[rows, groups] = np.inf
    outside = means.min(axis=1)
    larger = np.maximum(inside, outside)
    width = np.divide(outside - inside, larger, out=np.zeros(len(sums)), where=larger > 0)
    return np.where(own > 0, width, 0.0)


def silhouette_sums(
    embedding: Floats, labels: Codes, slices: Codes, n_slices: int, block: int = 1024
) -> SilhouetteSums:
    """Sum distances from each spot to the spots of each label in each slice, by blocks.

    Parameters
    ----------
    embedding
        Shape (spots, d).
    labels, slices
        Shape (spots,), all 0 or more.
    n_slices
        Number of slices.
    """
    from scipy.sparse import csr_matrix
    from sklearn.metrics import pairwise_distances

    z = np.asarray(embedding, dtype=np.float64)
    n, n_labels = len(z), int(labels.max(initial=0)) + 1
    group = labels * n_slices + slices
    member = csr_matrix((np.ones(n), (np.arange(n), group)), shape=(n, n_labels * n_slices))
    sums = np.empty((n, n_labels * n_slices))
    for start in range(0, n, block):
        part = slice(start, start + block)
        sums[part] = (member.T @ pairwise_distances(z, z[part])).T
    return SilhouetteSums(sums.reshape(n, n_labels, n_slices), labels, slices)


def chaos(coordinates: Floats, domains: Codes) -> float:
    """Mean distance to the nearest spot of the same domain, in standardised coordinates.

    Domains of one or two spots add nothing to the sum (SpatialPCA).

    Parameters
    ----------
    coordinates
        Shape (spots, 2): one slice.
    domains
        Shape (spots,).
    """
    from scipy.spatial import KDTree

    points = np.asarray(coordinates, dtype=np.float64)
    spread = points.std(axis=0)
    points = (points - points.mean(axis=0)) / np.where(spread > 0, spread, 1.0)
    total = 0.0
    for domain in np.unique(domains):
        own = points[domains == domain]
        if len(own) > 2:
            total += KDTree(own).query(own, k=2)[0][:, 1].sum()
    return float(total / len(points))


def pas(coordinates: Floats, domains: Codes) -> float:
    """Share of spots whose domain differs from that of more than half of the 10 nearest spots.

    Parameters
    ----------
    coordinates
        Shape (spots, 2): one slice.
    domains
        Shape (spots,).
    """
    from scipy.spatial import KDTree

    points = np.asarray(coordinates, dtype=np.float64)
    k = min(PAS_NEIGHBORS, len(points) - 1)
    if k < 1:
        return 0.0
    near = KDTree(points).query(points, k=k + 1)[1]
    other = (domains[near] != domains[:, None]).sum(axis=1)
    return float((other > k / 2).mean())
