"""Domains: clusters of the embedding, the same in all slices."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from scipy import sparse

from napari_staligner import _keys as K
from napari_staligner._errors import InputError
from napari_staligner.core.attempt import DOMAINS, PRESENCE, attempt, drop_notes
from napari_staligner.core.domains.leiden import leiden_steps
from napari_staligner.core.domains.mixture import Fit, Lone, mixture
from napari_staligner.core.domains.presence import (
    PresenceTable,
    presence,
    presence_of,
    record_presence,
)
from napari_staligner.core.domains.slice_specific import (
    SpotContext,
    lone_structures,
    seeds_of,
    slices_of,
    tissue_of,
    without_grown,
)
from napari_staligner.core.palette import categorical_colors
from napari_staligner.core.prepare.surroundings import averaged
from napari_staligner.core.progress import Progress, Steps, finish
from napari_staligner.core.result.access import writable_record
from napari_staligner.core.result.ownership import claim
from napari_staligner.core.settings import Settings

if TYPE_CHECKING:
    from anndata import AnnData
    from numpy.typing import NDArray


@dataclass(frozen=True)
class FoundDomains:
    """Domains of an embedding.

    Parameters
    ----------
    labels
        Shape (spots,): 0, 1, … with the largest domain first.
    stability
        Mean adjusted Rand index of the mixture with equally likely ones, up to 1; NaN for Leiden,
        or if the tissue is not known.
    """

    labels: NDArray[np.int64]
    stability: float = float("nan")
    presence: PresenceTable | None = None
    """Which slices have them: labels ``"0"``, ``"1"``, … and slices numbered in the same way;
    ``None`` if the tissue is not known, or the test failed."""


def find_domains(
    adata: AnnData,
    domains: int | None = None,
    *,
    resolution: float = 1.0,
    smooth: bool = False,
    averaged: bool = True,
    seed: int = 666,
    copy: bool = False,
) -> AnnData | None:
    """Find domains in the embedding of integrated slices.

    Parameters
    ----------
    adata
        Integrated slices; reads ``obsm["STAligner"]``, ``obsp["spatial_connectivities"]`` and, for
        the mixture, what :func:`~napari_staligner.core.domains.slice_specific.tissue_of` reads.
    domains
        Number of domains, found by a Gaussian mixture with one covariance shared by all
        components (mclust's EEE), where a structure that only one slice has gets its own
        component; ``None`` uses Leiden.
    resolution
        Resolution of Leiden.
    smooth
        Replace each domain by the majority among the spot and its spatial neighbours.
    averaged
        With a number of domains: find them in the mean of the embedding over a spot and its
        neighbours, in slices where these are at most 2 % of the spots.
    seed
        Seed of the starts.
    copy
        Return a changed copy.

    Returns
    -------
    ``None``, or the copy. Sets what :func:`record_domains` sets.

    Raises
    ------
    InputError
        There is no embedding.
    """
    if K.EMBEDDING not in adata.obsm:
        raise InputError(f"There is no obsm[{K.EMBEDDING!r}]: integrate the slices first.")
    adata = adata.copy() if copy else adata
    settings = Settings(
        domains=domains, resolution=resolution, smooth=smooth, averaged=averaged, seed=seed
    )
    connected = adata.obsp.get(K.CONNECTIVITIES)
    z = np.asarray(adata.obsm[K.EMBEDDING])
    found = finish(domain_steps(z, connected, settings, tissue_of(adata)))
    record_domains(adata, found.labels, settings, found.stability, found.presence)
    return adata if copy else None


def domain_steps(
    embedding: NDArray[np.float32],
    connectivities: Any,
    settings: Settings,
    tissue: SpotContext | None = None,
) -> Steps[FoundDomains]:
    """Cluster an embedding.

    Parameters
    ----------
    embedding
        Shape (spots, d).
    connectivities
        Shape (spots, spots), CSR; needed for ``smooth`` and ``averaged`` only.
    settings
        ``domains`` or ``resolution``, ``smooth``, ``averaged``, ``seed``.
    tissue
        Where spots are and how they align: the mixture then chooses between equally likely
        optima, and keeps a component for each structure that only one slice has.
    """
    z = np.asarray(embedding, dtype=np.float64)
    stability = float("nan")
    if len(z) == 1:  # no distances to part it by
        labels = np.zeros(1, dtype=np.int64)
    elif settings.domains is not None:
        if settings.averaged and connectivities is not None:
            whole = np.zeros(len(z), dtype=np.int64)
            z = averaged(z, connectivities, whole if tissue is None else tissue.slice_of)
        fit = yield from _fit(z, min(settings.domains, len(z)), settings.seed, tissue)
        labels, stability = fit.labels, fit.stability
    else:
        labels = yield from leiden_steps(embedding, settings.resolution, settings.seed)
    if settings.smooth and connectivities is not None:
        labels = smooth_labels(labels, connectivities)
    labels = _largest_first(labels)
    tested = None
    if tissue is not None:
        tested = yield from attempt(lambda: _tested(labels, tissue), PRESENCE)
    yield Progress("domains", 1, 1)
    return FoundDomains(labels, stability, tested)


def _tested(labels: NDArray[np.int64], tissue: SpotContext) -> Steps[PresenceTable]:
    yield Progress("presence by slice", 1, 1)
    slices = _numbered(tissue.slice_of)
    return presence(_numbered(labels), slices, tissue.places, tissue.confidence)


def _numbered(codes: NDArray[np.int64]) -> pd.Categorical:
    return pd.Categorical.from_codes(codes, list(map(str, range(int(codes.max()) + 1))))


def _fit(z: NDArray[np.float64], k: int, seed: int, tissue: SpotContext | None) -> Steps[Fit]:
    """Fit the mixture, and again with what holds the structures that one slice alone has.

    A domain that grew far beyond its structure includes tissue that other slices also have; then
    there is no structure to hold.
    """
    if tissue is None:
        return (yield from mixture(z, k, seed))
    blocks = tissue.blocks
    fit = yield from mixture(z, k, seed, blocks)
    lone = lone_structures(z, tissue, k)
    if not lone:
        return fit
    seeds = seeds_of(lone, fit.labels, tissue.slice_of)
    while (seeds >= 0).any():
        found = yield from mixture(z, k, seed, blocks, Lone(seeds, tissue.slice_of))
        kept = without_grown(seeds, found.labels, tissue)
        if (kept == seeds).all():
            return found
        seeds = kept
    return fit


def smooth_labels(labels: NDArray[np.integer[Any]], connectivities: Any) -> NDArray[np.int64]:
    """Give each spot the majority label among itself and its spatial neighbours.

    Parameters
    ----------
    labels
        Shape (spots,): 0, 1, …
    connectivities
        Shape (spots, spots), CSR.

    Returns
    -------
    Shape (spots,); on a tie the spot keeps its own label.
    """
    n = len(labels)
    ones = sparse.csr_matrix((np.ones(n), (np.arange(n), labels)))
    votes = (sparse.csr_matrix(connectivities) @ ones + ones).toarray()
    # Half a vote only breaks ties in favour of the spot's own label.
    votes[np.arange(n), labels] += 0.5
    return np.asarray(votes.argmax(axis=1), dtype=np.int64)


def _largest_first(labels: NDArray[np.integer[Any]]) -> NDArray[np.int64]:
    found, codes, counts = np.unique(labels, return_inverse=True, return_counts=True)
    rank = np.empty(len(found), dtype=np.int64)
    rank[np.argsort(-counts, kind="stable")] = np.arange(len(found))
    return np.asarray(rank[codes], dtype=np.int64)


def record_domains(
    adata: AnnData,
    labels: NDArray[np.integer[Any]],
    settings: Settings,
    stability: float = float("nan"),
    tested: PresenceTable | None = None,
) -> None:
    """Write labels as domains; one that matches a previous domain keeps its name and colour.

    Parameters
    ----------
    adata
        Integrated slices; sets ``obs["domain"]``, ``uns["domain_colors"]``, the settings of the
        domains in ``uns["staligner"]["params"]``, and their stability, if known, in
        ``uns["staligner"]["domain_stability"]``. With slices and coordinates, it also sets
        ``uns["staligner"]["presence"]``.
    labels
        Shape (spots,): 0, 1, …
    settings
        The settings that they were found with.
    stability, tested
        See :class:`FoundDomains`; the domains are tested here if they were not yet.
    """
    k = int(labels.max()) + 1
    claim(adata, "obs", K.DOMAIN)
    names, colors = _inherit(adata, labels, k)
    order = sorted(range(k), key=lambda i: (len(names[i]), names[i]))
    adata.obs[K.DOMAIN] = pd.Categorical(
        np.array(names, dtype=object)[labels], categories=[names[i] for i in order]
    )
    adata.uns[K.DOMAIN_COLORS] = [colors[i] for i in order]
    record = writable_record(adata)
    params = record.setdefault("params", {})
    chosen = ("resolution", "smooth", "averaged")
    params.update({name: getattr(settings, name) for name in chosen})
    params.pop("domains", None)
    if settings.domains is not None:
        params["domains"] = settings.domains
    record.pop(K.STABILITY, None)
    if np.isfinite(stability):
        record[K.STABILITY] = float(stability)
    if K.SLICE in adata.obs and K.SPATIAL in adata.obsm:
        if tested is not None:
            slices = {str(i): str(s) for i, s in enumerate(slices_of(adata).categories)}
            tested = tested.named({str(i): names[i] for i in order}, slices)
        record.pop(K.PRESENCE, None)
        tested = presence_of(adata) if tested is None else tested
        if tested is not None:
            record_presence(adata, tested)
    drop_notes(adata, DOMAINS)


def _inherit(
    adata: AnnData, labels: NDArray[np.integer[Any]], k: int
) -> tuple[list[str], list[str]]:
    """Names and colours of k new domains, taken from the previous domains that they overlap."""
    old = adata.obs[K.DOMAIN].cat if K.DOMAIN in adata.obs else None
    old_names = [] if old is None else [str(name) for name in old.categories]
    old_colors = [str(color) for color in adata.uns.get(K.DOMAIN_COLORS, [])]
    if old is None or len(old_colors) != len(old_names):
        return [str(i + 1) for i in range(k)], categorical_colors(k)
    codes = old.codes.to_numpy()
    names = [old_names[i] if i >= 0 else "" for i in twins(labels, codes)]
    free = (str(n) for n in range(1, 10**6) if str(n) not in names)
    return [name or next(free) for name in names], colors_like(labels, codes, old_colors)


def twins(
    labels: NDArray[np.integer[Any]], reference: NDArray[np.integer[Any]]
) -> NDArray[np.int64]:
    """Match labels with those of a reference, so that as many spots as possible agree.

    Parameters
    ----------
    labels, reference
        Shape (spots,): 0, 1, …; a spot with -1 is ignored.

    Returns
    -------
    For each label, the one of the reference, -1 if none is left that shares a spot with it.
    """
    from scipy.optimize import linear_sum_assignment

    known = (labels >= 0) & (reference >= 0)
    shape = (int(labels.max(initial=-1)) + 1, int(reference.max(initial=-1)) + 1)
    both = np.zeros(shape, dtype=np.int64)
    np.add.at(both, (labels[known], reference[known]), 1)
    found = np.full(shape[0], -1, dtype=np.int64)
    for own, other in zip(*linear_sum_assignment(-both), strict=True):
        if both[own, other]:
            found[own] = other
    return found


def colors_like(
    labels: NDArray[np.integer[Any]], reference: NDArray[np.integer[Any]], colors: list[str]
) -> list[str]:
    """Give each label the colour of its twin in a reference; those without get free ones.

    Parameters
    ----------
    labels, reference
        See :func:`twins`.
    colors
        Hex colour of each label of the reference.
    """
    found = twins(labels, reference)
    spare = categorical_colors(len(found) + len(colors))
    free = (color for color in spare if color not in colors)
    return [colors[i] if i >= 0 else next(free, spare[n]) for n, i in enumerate(found)]
