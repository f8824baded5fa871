"""Patches of tissue that may be folds or tears, proposed for people to judge."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, get_args

import numpy as np
import pandas as pd
from scipy import sparse

from napari_staligner import _keys as K
from napari_staligner._errors import InputError
from napari_staligner.core.json_text import json_of
from napari_staligner.core.prepare.counts import counts_slot
from napari_staligner.core.prepare.on_disk import in_memory
from napari_staligner.core.progress import Progress, Steps, finish
from napari_staligner.core.result.access import record_of, spots_xy, writable_record

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from anndata import AnnData
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]

Sign = Literal["density", "many", "few", "residual", "home"]
"""What is unusual: spots lie densely, have many or few counts, lie far from their counterparts, or
have no like in the other slices."""
SIGNS: tuple[Sign, ...] = get_args(Sign)
UNUSUAL = 3.0
"""A spot is unusual beyond this many standard deviations, which are estimated by the median."""
FEWEST = 5
"""Fewest spots of a patch."""
MOST = 12
"""Most patches of a slice."""
OFTEN = 0.3
"""A sign is told of a patch if this share of its spots has it."""
NEAREST = 7
"""The density is judged by the distance to this neighbour."""
_FLOOR: Mapping[Sign, float] = {"density": 0.1, "many": 0.1, "few": 0.1, "residual": 0.5}
"""Least standard deviation: of natural logarithms, and of a residual in spacings."""


@dataclass(frozen=True, eq=False)
class Suspect:
    """A connected patch of a slice that may be a fold or a tear.

    Parameters
    ----------
    slice
        Its slice.
    rows
        Rows of the result, sorted.
    strength
        How unusual each spot is, from 0.5 (just so) to 1, float32, shape (rows,).
    signs
        What is unusual, the strongest first, each with its mean number of standard deviations.
    """

    slice: str
    rows: NDArray[np.intp]
    strength: NDArray[np.float32]
    signs: tuple[tuple[Sign, float], ...]

    @property
    def weight(self) -> float:
        """For sorting: how unusual, and how large."""
        return self.signs[0][1] * float(np.sqrt(len(self.rows)))


def declined_suspects(adata: AnnData) -> frozenset[str]:
    """What was declined, as ``uns["staligner"]["declined_suspects"]`` has it, by their marks."""
    try:
        return frozenset(map(str, json_of(str(record_of(adata).get(K.DECLINED, "[]")))))
    except (ValueError, TypeError):
        return frozenset()


def write_declined_suspects(adata: AnnData, marks: Iterable[str]) -> None:
    """Set ``uns["staligner"]["declined_suspects"]``."""
    writable_record(adata)[K.DECLINED] = json.dumps(sorted(marks))


def suspect_mark(adata: AnnData, suspect: Suspect) -> str:
    """A short mark of the spots of a suspect: a later search finds the same patch again."""
    names = "\n".join(map(str, adata.obs_names[suspect.rows]))
    return hashlib.sha256(names.encode()).hexdigest()[:16]


@dataclass(frozen=True)
class SuspectsJob:
    """Everything that searching for folds and tears needs.

    Parameters
    ----------
    names
        Of the slices.
    slice_of
        Number of each spot's slice, shape (spots,).
    places
        Coordinates in the units of each slice, shape (spots, 2).
    domain
        Domain of each spot as a number, -1 for none, shape (spots,).
    graph
        Spatial neighbours, CSR, shape (spots, spots).
    counts
        Matrix of the counts, shape (spots, genes), which is shared; ``None`` without any.
    residual
        In spacings, NaN where unknown, shape (spots,); ``None`` before a registration.
    confidence
        0..1, shape (spots,); ``None`` if it is missing or there is one slice.
    """

    names: tuple[str, ...]
    slice_of: NDArray[np.intp]
    places: Floats
    domain: NDArray[np.intp]
    graph: sparse.csr_matrix
    counts: Any
    residual: Floats | None
    confidence: Floats | None

    def steps(self) -> Steps[tuple[Suspect, ...]]:
        """Search slice by slice; see :func:`find_suspects`."""
        return suspect_steps(self)


def find_suspects(adata: AnnData) -> tuple[Suspect, ...]:
    """Search for patches that may be folds or tears; nothing is changed.

    Each sign is averaged over a spot and its neighbours, and compared with the median of the spots
    of the same slice and domain: spots that lie densely or have many counts (a fold), few counts (a
    tear, or tissue that came off), a large residual of the registration, or a low confidence (no
    like in the other slices, which may as well be a structure of one slice).

    Parameters
    ----------
    adata
        Integrated slices; reads ``obs["slice"]``, ``obs["domain"]``, ``obsm["spatial"]``,
        ``obsp["spatial_connectivities"]``, the counts, ``obs["registration_residual"]`` and
        ``obs["alignment_confidence"]``.

    Returns
    -------
    Patches of at least 5 spots, the most unusual first.

    Raises
    ------
    InputError
        These are no integrated slices.
    """
    return finish(suspects_job(adata).steps())


def suspects_job(adata: AnnData) -> SuspectsJob:
    """Copy what searching for folds and tears needs; the counts are shared.

    Raises
    ------
    InputError
        These are no integrated slices.
    """
    if K.SLICE not in adata.obs or K.CONNECTIVITIES not in adata.obsp:
        raise InputError(
            f"There is no obs[{K.SLICE!r}] or obsp[{K.CONNECTIVITIES!r}]: integrate the slices "
            "first."
        )
    slices = pd.Categorical(adata.obs[K.SLICE])
    layer = counts_slot(adata)
    known = {
        key: adata.obs[key].to_numpy(np.float64, copy=True) if key in adata.obs else None
        for key in (K.RESIDUAL, K.CONFIDENCE)
    }
    no_domain = np.full(adata.n_obs, -1)
    domain = pd.factorize(adata.obs[K.DOMAIN])[0] if K.DOMAIN in adata.obs else no_domain
    return SuspectsJob(
        tuple(map(str, slices.categories)),
        slices.codes.astype(np.intp),
        spots_xy(adata).copy(),
        domain.astype(np.intp),
        sparse.csr_matrix(adata.obsp[K.CONNECTIVITIES], copy=True),
        adata.layers[layer] if layer else adata.X,
        known[K.RESIDUAL],
        known[K.CONFIDENCE] if len(slices.categories) > 1 else None,
    )


def suspect_steps(job: SuspectsJob) -> Steps[tuple[Suspect, ...]]:
    """Search for patches that may be folds or tears; see :func:`find_suspects`."""
    found: list[Suspect] = []
    for number, name in enumerate(job.names):
        yield Progress(f"folds and tears of {name}", number, len(job.names))
        rows = np.flatnonzero(job.slice_of == number)
        if len(rows) >= 2 * FEWEST:
            found += _of_slice(job, name, rows)
    return tuple(sorted(found, key=lambda each: each.weight, reverse=True))


def _of_slice(job: SuspectsJob, name: str, rows: NDArray[np.intp]) -> list[Suspect]:
    from scipy.sparse.csgraph import connected_components

    graph = job.graph[rows][:, rows].astype(bool)
    scores = _scores(job, rows, graph)
    unusual = np.max([*scores.values(), np.zeros(len(rows))], axis=0) > UNUSUAL
    some = np.flatnonzero(unusual)
    _, piece = connected_components(graph[some][:, some], directed=False)
    found = []
    for number in np.unique(piece):
        here = some[piece == number]
        if len(here) < FEWEST:
            continue
        often = {s: v[here] for s, v in scores.items() if (v[here] > UNUSUAL).mean() >= OFTEN}
        signs = {sign: float(values.mean()) for sign, values in often.items()}
        if signs:
            most = np.max([*often.values()], axis=0)
            strength = 0.5 + 0.5 * np.clip(most / (3 * UNUSUAL), 0, 1)
            told = tuple(sorted(signs.items(), key=lambda each: each[1], reverse=True))
            found.append(Suspect(name, rows[here], strength.astype(np.float32), told))
    return sorted(found, key=lambda each: each.weight, reverse=True)[:MOST]


def _scores(
    job: SuspectsJob, rows: NDArray[np.intp], graph: sparse.csr_matrix
) -> dict[Sign, Floats]:
    """How unusual the spots of a slice are by each sign, in standard deviations, shape (rows,)."""
    domain = job.domain[rows]
    scores: dict[Sign, Floats] = {}
    scores["density"] = _unusual(_density(job.places[rows]), domain, graph, _FLOOR["density"])
    if job.counts is not None:
        totals = np.asarray(in_memory(job.counts[rows]).sum(axis=1), dtype=np.float64).ravel()
        if (totals >= 0).all():
            logs = np.log1p(totals)
            scores["many"] = _unusual(logs, domain, graph, _FLOOR["many"])
            scores["few"] = _unusual(-logs, domain, graph, _FLOOR["few"])
    if job.residual is not None:
        apart = job.residual[rows]
        scores["residual"] = _unusual(apart, domain, graph, _FLOOR["residual"])
    if job.confidence is not None:
        doubt = 1.0 - job.confidence[rows]
        scores["home"] = _unusual(doubt, domain, graph, 0.05)
    return scores


def _density(xy: Floats) -> Floats:
    """Natural logarithm of the density of spots, up to a constant, shape (spots,).

    A grid has one density, but at its border, where it is low.
    """
    from scipy.spatial import KDTree

    nth = min(NEAREST, len(xy))
    reach = KDTree(xy).query(xy, k=[nth])[0][:, 0]
    return np.asarray(-2.0 * np.log(np.maximum(reach, 1e-12 + 1e-6 * float(np.ptp(xy)))))


def _unusual(
    values: Floats, domain: NDArray[np.intp], graph: sparse.csr_matrix, floor: float
) -> Floats:
    """How many standard deviations above the median of their domain spots are, with neighbours."""
    known = np.isfinite(values)
    filled = np.where(known, values, 0.0)
    weight = graph @ known.astype(np.float64) + known
    mean = (graph @ filled + filled) / np.maximum(weight, 1.0)
    score = np.zeros(len(values))
    for number in np.unique(domain):
        here = (domain == number) & (weight > 0)
        if here.sum() < 2 * FEWEST:
            continue
        middle = np.median(mean[here])
        spread = 1.4826 * float(np.median(np.abs(mean[here] - middle)))
        score[here] = (mean[here] - middle) / max(spread, floor)
    return score
