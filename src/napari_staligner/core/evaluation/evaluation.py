"""How good embeddings are: all figures of :mod:`metrics`, overall, by slice pair and by slice."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import combinations
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from napari_staligner import _keys as K
from napari_staligner._errors import InputError
from napari_staligner.core.annotations.record import is_annotation
from napari_staligner.core.domains.domains import domain_steps
from napari_staligner.core.domains.slice_specific import SpotContext
from napari_staligner.core.evaluation import metrics as M
from napari_staligner.core.evaluation.baselines import EmbeddingJob, Embeddings, embedding_job
from napari_staligner.core.evaluation.missing import label_codes
from napari_staligner.core.evaluation.neighborhoods import neighborhood_steps
from napari_staligner.core.progress import Progress, Steps, finish, part_of
from napari_staligner.core.result.access import record_of, spots_xy
from napari_staligner.core.result.overlap import checked_common
from napari_staligner.core.result.ownership import moved, written
from napari_staligner.core.settings import Settings

if TYPE_CHECKING:
    from anndata import AnnData
    from numpy.typing import NDArray

BEFORE_AND_AFTER = (K.PCA, K.EMBEDDING)
SILHOUETTE_SPOTS = 20_000
SAMPLED = (
    "ASW rests on {sample:,} of the {n:,} spots, drawn with seed {seed}; the other figures on all."
)
NOT_RECORDED = "The result does not record the reconstruction error by slice, so it is left out."
NO_LABELS = (
    "Without a column of labels there are no cLISI, label ASW, graph connectivity, ARI, NMI and "
    "F1, and batch ASW is over all spots."
)
KEPT_ASIDE = (
    "obs[{key!r}] holds the {what} of this result: the labels are those of the input, "
    "which are kept as obs[{here!r}]."
)
MADE_HERE = (
    "obs[{key!r}] holds the annotations that were made on this result; those of the input are kept "
    "as obs[{here!r}]."
)
OWN_DOMAINS = (
    "obs['domain'] holds the domains of this result: the figures with labels compare them with "
    "themselves."
)
UNLABELLED = "{n:,} spots have no label in obs[{key!r}] and are left out of figures with labels."
ONLY_OVERLAP = "The figures are of the {n:,} of {all:,} spots where all slices have tissue."
FEW_SPOTS = (
    "{n:,} of {all:,} slices have fewer than {least} spots: pairs with them have no figures."
)
WORDS = "In obs[{key!r}] the text {words} is taken as no label."


@dataclass(frozen=True)
class EvaluationJob:
    """Everything that an evaluation needs, copied.

    Parameters
    ----------
    keys
        Embeddings to compare, in the order of the tables.
    embeddings
        Existing ones: shape (spots, d) each.
    missing
        What the others are computed from.
    domains
        Existing domains, by embedding, shape (spots,); others are found with ``settings``.
    slices
        Names.
    slice_of
        Shape (spots,): number of the slice.
    coordinates
        Shape (spots, 2): the original ones, slice by slice.
    connectivities
        Spatial graph for smoothing the domains, or ``None``.
    label_key, labels
        Column to compare with, and its codes, shape (spots,), -1 without a label; or ``None``.
    reconstruction
        Mean squared error of each slice, as recorded; empty if it is not.
    settings
        ``domains`` or ``resolution``, ``smooth``, ``averaged`` and ``seed``.
    notes
        Sentences on the labels.
    label_names
        Of each code.
    within
        Spots that the figures are about, bool, shape (spots,); ``None`` for all.
    """

    keys: tuple[str, ...]
    embeddings: Mapping[str, NDArray[np.floating[Any]]]
    missing: EmbeddingJob | None
    domains: Mapping[str, NDArray[np.integer[Any]]]
    slices: tuple[str, ...]
    slice_of: NDArray[np.integer[Any]]
    coordinates: NDArray[np.float64]
    connectivities: Any
    label_key: str | None
    labels: NDArray[np.integer[Any]] | None
    reconstruction: Mapping[str, float]
    settings: Settings
    notes: tuple[str, ...] = ()
    label_names: tuple[str, ...] = ()
    within: NDArray[np.bool_] | None = None

    def steps(self) -> Steps[Evaluation]:
        """Compute the figures; see :func:`evaluation_steps`."""
        return evaluation_steps(self)


@dataclass(frozen=True)
class Figures:
    """Figures of one embedding; a figure that cannot be computed is NaN.

    Parameters
    ----------
    overall
        By key of :data:`napari_staligner.core.evaluation.metrics.METRICS`.
    pairs
        Of the spots of two slices, by their names.
    slices
        Of the spots of one slice, by its name.
    domains
        Shape (spots,): the domains that ARI, NMI, F1, CHAOS and PAS are about.
    labels
        F1 of each label, by its name, over all spots; see
        :func:`~napari_staligner.core.evaluation.metrics.matched_f1`.
    """

    overall: Mapping[str, float]
    pairs: Mapping[tuple[str, str], Mapping[str, float]]
    slices: Mapping[str, Mapping[str, float]]
    domains: NDArray[np.integer[Any]] = field(repr=False)
    labels: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True)
class Evaluation:
    """Figures of several embeddings of the same spots.

    Parameters
    ----------
    figures
        By key in ``obsm``.
    computed
        Embeddings that the file lacked, by key: shape (spots, components), float32.
    params
        What goes to ``uns`` with them, see
        :func:`~napari_staligner.core.evaluation.baselines.record_embeddings`.
    labels
        Column of ``obs`` that was compared with, or ``None``.
    notes
        Sentences that belong to the figures.
    """

    figures: Mapping[str, Figures]
    computed: Mapping[str, NDArray[np.float32]] = field(repr=False)
    labels: str | None
    notes: tuple[str, ...]
    params: Mapping[str, Any] = field(default_factory=dict, repr=False)

    def to_frame(self) -> pd.DataFrame:
        """One row per figure: embedding, scope, what it is about, metric and value.

        The scope is ``"overall"``, ``"pair"`` (``first`` and ``second`` are slices), ``"slice"``
        or ``"label"`` (``first`` is the slice or the label).
        """
        rows = [
            (embedding, scope, first, second, metric, value)
            for embedding, figures in self.figures.items()
            for scope, first, second, found in _scopes(figures)
            for metric, value in found.items()
        ]
        columns = ["embedding", "scope", "first", "second", "metric", "value"]
        return pd.DataFrame(rows, columns=columns)

    def to_dict(self) -> dict[str, Any]:
        """The same for JSON; a figure that cannot be computed is ``None``."""
        return {
            "labels": self.labels,
            "notes": list(self.notes),
            "embeddings": {
                key: {
                    "overall": _plain(figures.overall),
                    "pairs": [
                        {"slices": list(pair), **_plain(found)}
                        for pair, found in figures.pairs.items()
                    ],
                    "slices": {name: _plain(found) for name, found in figures.slices.items()},
                    "labels": {name: {"f1": f1} for name, f1 in figures.labels.items()},
                }
                for key, figures in self.figures.items()
            },
        }


def _scopes(figures: Figures) -> list[tuple[str, str, str, Mapping[str, float]]]:
    return [
        ("overall", "", "", figures.overall),
        *(("pair", a, b, found) for (a, b), found in figures.pairs.items()),
        *(("slice", name, "", found) for name, found in figures.slices.items()),
        *(("label", name, "", {"f1": f1}) for name, f1 in figures.labels.items()),
    ]


def _plain(found: Mapping[str, float]) -> dict[str, float | None]:
    return {key: None if np.isnan(value) else float(value) for key, value in found.items()}


def evaluate(
    adata: AnnData,
    labels: str | None = None,
    embeddings: Sequence[str] = BEFORE_AND_AFTER,
    *,
    only_overlap: bool = False,
) -> Evaluation:
    """Compare embeddings of integrated slices, by default before and after integration.

    Parameters
    ----------
    adata
        Integrated slices, see :func:`evaluation_job`.
    labels
        Column of ``obs`` to compare with.
    embeddings
        Keys of ``obsm``; those of :data:`~napari_staligner.core.evaluation.baselines.COMPUTED`
        are computed if they are missing.
    only_overlap
        Compare only the spots where all slices have tissue, in ``obsm["spatial_aligned"]``.

    Returns
    -------
    The figures; ``adata`` stays as it is.

    Raises
    ------
    InputError
        A column or an embedding cannot be used.
    """
    job = evaluation_job(adata, labels, embeddings, only_overlap=only_overlap)
    return finish(evaluation_steps(job))


def evaluation_job(
    adata: AnnData,
    labels: str | None = None,
    embeddings: Sequence[str] = BEFORE_AND_AFTER,
    *,
    only_overlap: bool = False,
) -> EvaluationJob:
    """Check and copy what an evaluation needs.

    Parameters
    ----------
    adata
        Reads ``obs["slice"]``, ``obsm["spatial"]``, the embeddings in ``obsm``, ``obs["domain"]``
        (the domains of ``obsm["STAligner"]``) and ``uns["staligner"]``.
    labels, embeddings, only_overlap
        See :func:`evaluate`.

    Raises
    ------
    InputError
        A column or an embedding is missing or cannot be used.
    """
    keys = tuple(dict.fromkeys(embeddings))
    if not keys:
        raise InputError("There is no embedding to evaluate: name a key of obsm.")
    there = {key: _embedding(adata, key) for key in keys if key in adata.obsm}
    wanted = tuple(key for key in keys if key not in there)
    names, slice_of = _slices(adata)
    settings = _settings(adata)
    kept = record_of(adata)
    domains = {}
    if K.EMBEDDING in there and K.DOMAIN in adata.obs:
        domains[K.EMBEDDING] = pd.factorize(adata.obs[K.DOMAIN])[0]
    codes: NDArray[np.integer[Any]] | None = None
    label_names: list[str] = []
    notes: list[str] = []
    if labels is not None:
        labels, notes = _meant(adata, labels)
        codes, label_names, words = _labels(adata, labels)
        if words:
            shown = " or ".join(map(repr, words))
            notes.append(WORDS.format(key=labels, words=shown))
    within = checked_common(adata) if only_overlap else None
    if within is not None:
        notes.append(ONLY_OVERLAP.format(n=int(within.sum()), all=len(within)))
    graph = adata.obsp[K.CONNECTIVITIES].copy() if K.CONNECTIVITIES in adata.obsp else None
    return EvaluationJob(
        keys=keys,
        embeddings=there,
        missing=embedding_job(adata, wanted, settings.seed) if wanted else None,
        domains=domains,
        slices=names,
        slice_of=slice_of,
        coordinates=spots_xy(adata).copy(),
        connectivities=graph,
        label_key=labels,
        labels=codes,
        reconstruction={
            str(name): float(error)
            for name, error in kept.get(K.RECONSTRUCTION_BY_SLICE, {}).items()
        },
        settings=settings,
        notes=tuple(notes),
        label_names=tuple(label_names),
        within=within,
    )


def _meant(adata: AnnData, key: str) -> tuple[str, list[str]]:
    """Column of the labels: the input's, if the column with this name was computed here."""
    here = next((here for here, own in moved(adata)["obs"].items() if own == key), None)
    ours = key in written(adata)["obs"] and key in adata.obs
    if ours and here is not None:
        if is_annotation(key):
            return key, [MADE_HERE.format(key=key, here=here)]
        what = {K.DOMAIN: "domains", K.SLICE: "slices"}.get(key, "figures")
        return here, [KEPT_ASIDE.format(key=key, what=what, here=here)]
    if key == K.DOMAIN and ours:
        return key, [OWN_DOMAINS]
    return (here or key) if key not in adata.obs else key, []


def _slices(adata: AnnData) -> tuple[tuple[str, ...], NDArray[np.integer[Any]]]:
    if K.SLICE not in adata.obs:
        raise InputError(f"There is no obs[{K.SLICE!r}] that tells the slices apart.")
    if K.SPATIAL not in adata.obsm:
        raise InputError(f"There is no obsm[{K.SPATIAL!r}]: put the spots' coordinates there.")
    column = adata.obs[K.SLICE].astype("category").cat.remove_unused_categories()
    if column.isna().any():
        raise InputError(f"obs[{K.SLICE!r}] is empty for some spots: name a slice for each.")
    return tuple(map(str, column.cat.categories)), column.cat.codes.to_numpy()


def _embedding(adata: AnnData, key: str) -> NDArray[np.floating[Any]]:
    value = adata.obsm[key]
    z = np.array(value.toarray() if hasattr(value, "toarray") else value)
    if z.ndim != 2 or z.dtype.kind not in "fiu":
        raise InputError(f"obsm[{key!r}] has shape {z.shape} and type {z.dtype}: name another.")
    if not np.isfinite(z).all():
        bad = int((~np.isfinite(z).all(axis=1)).sum())
        raise InputError(f"obsm[{key!r}] is not finite for {bad} spots: name another embedding.")
    return z


def _labels(adata: AnnData, key: str) -> tuple[NDArray[np.integer[Any]], list[str], list[str]]:
    """Codes of the labels, their names, and texts that were taken as no label."""
    if key not in adata.obs:
        columns = ", ".join(map(repr, adata.obs.columns))
        raise InputError(f"There is no obs[{key!r}] to compare with: choose one of {columns}.")
    codes, found, words = label_codes(adata.obs[key])
    if len(found) < 2:
        raise InputError(
            f"obs[{key!r}] holds {len(found)} label{'s' * (len(found) != 1)}: choose a column "
            "with at least 2."
        )
    if len(found) > len(codes) / 2:
        raise InputError(
            f"obs[{key!r}] holds {len(found):,} labels for {len(codes):,} spots: choose a column "
            "of regions or kinds, not of measurements."
        )
    return codes, found, words


def _settings(adata: AnnData) -> Settings:
    """The settings that the domains of the file were found with."""
    params = record_of(adata).get("params", {})
    default = Settings()
    domains = params.get("domains")
    return replace(
        default,
        domains=None if domains is None else int(domains),
        resolution=float(params.get("resolution", default.resolution)),
        smooth=bool(params.get("smooth", default.smooth)),
        averaged=bool(params.get("averaged", False)),
        seed=int(params.get("seed", default.seed)),
    )


def evaluation_steps(job: EvaluationJob) -> Steps[Evaluation]:
    """Compute all figures of all embeddings; see :func:`evaluate`."""
    n, before = len(job.slice_of), _missing_parts(job.missing)
    total = (len(job.keys) + before) * n
    made = Embeddings({})
    if job.missing is not None:
        made = yield from part_of(job.missing.steps(), 0, before * n, total)
    figures = {}
    for number, key in enumerate(job.keys, before):
        z = made.arrays[key] if key in made.arrays else job.embeddings[key]
        start = number * n
        domains = job.domains.get(key)
        if domains is None:
            steps = domain_steps(
                np.asarray(z, np.float32),
                job.connectivities,
                job.settings,
                SpotContext(np.asarray(job.slice_of, dtype=np.int64), job.coordinates),
            )
            domains = (yield from part_of(steps, start, n // 4, total)).labels
        figures[key] = yield from part_of(
            _figures_within(job, key, z, domains), start + n // 4, n - n // 4, total
        )
    notes = tuple(_notes(job))
    for note in notes:
        yield Progress("figures", total, total, note=note)
    return Evaluation(figures, made.arrays, job.label_key, notes, made.params)


def _missing_parts(missing: EmbeddingJob | None) -> int:
    """How long the missing embeddings take, in units of the figures of one embedding."""
    return 1 if missing is None or missing.sedr is None else 5


def _notes(job: EvaluationJob) -> list[str]:
    notes = list(job.notes)
    n = len(job.slice_of)
    if job.labels is None:
        notes.append(NO_LABELS)
    elif (job.labels < 0).any():
        notes.append(UNLABELLED.format(n=int((job.labels < 0).sum()), key=job.label_key))
    n_slices, n_large = len(job.slices), len(_large(job))
    if n_large < n_slices > 2:
        few = FEW_SPOTS.format(n=n_slices - n_large, all=n_slices, least=M.GRAPH_NEIGHBORS)
        notes.append(few)
    if n > SILHOUETTE_SPOTS:
        notes.append(SAMPLED.format(sample=SILHOUETTE_SPOTS, n=n, seed=job.settings.seed))
    if K.EMBEDDING in job.keys and not job.reconstruction:
        notes.append(NOT_RECORDED)
    return notes


def _figures_within(
    job: EvaluationJob, key: str, z: NDArray[np.floating[Any]], domains: NDArray[np.integer[Any]]
) -> Steps[Figures]:
    """Compute the figures of the spots that they are about; domains are those of all spots."""
    if job.within is None:
        return (yield from _figures(job, key, z, domains))
    rows = job.within
    part = replace(
        job,
        slice_of=job.slice_of[rows],
        coordinates=job.coordinates[rows],
        labels=None if job.labels is None else job.labels[rows],
        # The error was recorded over all spots.
        reconstruction={},
        within=None,
    )
    found = yield from _figures(part, key, z[rows], domains[rows])
    return replace(found, domains=domains)


def _figures(
    job: EvaluationJob,
    key: str,
    z: NDArray[np.floating[Any]],
    domains: NDArray[np.integer[Any]],
) -> Steps[Figures]:
    n_slices = len(job.slices)
    everything = tuple(range(n_slices))
    scopes = sorted({everything, *combinations(_large(job), 2)})
    found: dict[tuple[int, ...], dict[str, float]] = {scope: {} for scope in scopes}
    mixing = yield from neighborhood_steps(z, job.slice_of, job.labels, scopes)
    yield Progress("silhouettes", 1, 1)
    sums = _silhouette_sums(job, z)
    for scope in scopes:
        found[scope] |= mixing[scope]
        found[scope]["batch_asw"] = sums.batch_asw(scope) if n_slices > 1 else float("nan")
        if job.labels is not None:
            found[scope]["label_asw"] = sums.label_asw(scope)
        found[scope] |= _agreement(job, domains, np.isin(job.slice_of, scope))[0]
    by_slice = {}
    for s, name in enumerate(job.slices):
        rows = job.slice_of == s
        by_slice[name] = _agreement(job, domains, rows)[0] | {
            "chaos": M.chaos(job.coordinates[rows], domains[rows]),
            "pas": M.pas(job.coordinates[rows], domains[rows]),
        }
        if key == K.EMBEDDING and name in job.reconstruction:
            by_slice[name]["reconstruction"] = job.reconstruction[name]
    overall = dict(found[everything])
    weights = np.bincount(job.slice_of, minlength=n_slices)
    for metric in ("chaos", "pas", "reconstruction"):
        values = [figures[metric] for figures in by_slice.values() if metric in figures]
        if len(values) == n_slices:
            overall[metric] = float(np.average(values, weights=weights))
    unknown = dict.fromkeys(found[everything], float("nan"))
    pairs = {
        (job.slices[a], job.slices[b]): _ordered(found.get((a, b), unknown))
        for a, b in combinations(range(n_slices), 2)
    }
    slices = {name: _ordered(figures) for name, figures in by_slice.items()}
    by_label = _agreement(job, domains, np.ones(len(z), dtype=bool))[1]
    return Figures(_ordered(overall), pairs, slices, domains, by_label)


def _large(job: EvaluationJob) -> list[int]:
    """Slices of which pairs are compared."""
    counted = job.slice_of if job.within is None else job.slice_of[job.within]
    sizes = np.bincount(counted, minlength=len(job.slices))
    return np.flatnonzero(sizes >= M.GRAPH_NEIGHBORS).tolist()


def _ordered(found: Mapping[str, float]) -> dict[str, float]:
    return {key: found[key] for key in M.METRICS if key in found}


def _agreement(
    job: EvaluationJob, domains: NDArray[np.integer[Any]], rows: NDArray[np.bool_]
) -> tuple[dict[str, float], dict[str, float]]:
    """ARI, NMI and mean F1 over some spots, and the F1 of each label."""
    from sklearn.metrics import adjusted_rand_score, normalized_mutual_info_score

    if job.labels is None:
        return {}, {}
    rows = rows & (job.labels >= 0) & (domains >= 0)
    if not rows.any():
        return dict.fromkeys(("ari", "nmi", "f1"), float("nan")), {}
    labels, domains = job.labels[rows], domains[rows]
    f1 = M.matched_f1(labels, domains)
    names = job.label_names or tuple(map(str, range(len(f1))))
    found = {
        "ari": float(adjusted_rand_score(labels, domains)),
        "nmi": float(normalized_mutual_info_score(labels, domains)),
        "f1": float(np.nanmean(f1)),
    }
    return found, {
        name: float(value) for name, value in zip(names, f1, strict=False) if not np.isnan(value)
    }


def _silhouette_sums(job: EvaluationJob, z: NDArray[np.floating[Any]]) -> M.SilhouetteSums:
    """Over at most :data:`SILHOUETTE_SPOTS` spots, because it needs every pair of spots."""
    labels = np.zeros(len(z), dtype=np.int64) if job.labels is None else job.labels
    rows = np.flatnonzero(labels >= 0)
    if len(rows) > SILHOUETTE_SPOTS:
        rng = np.random.default_rng(job.settings.seed)
        rows = np.sort(rng.choice(rows, SILHOUETTE_SPOTS, replace=False))
    return M.silhouette_sums(z[rows], labels[rows], job.slice_of[rows], len(job.slices))
