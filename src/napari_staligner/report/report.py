"""The report: one self-contained HTML file with pictures, tests, figures and verdicts."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from napari_staligner import _keys as K
from napari_staligner._errors import InputError
from napari_staligner.core.domains.presence import presence_of
from napari_staligner.core.evaluation.baselines import TITLES
from napari_staligner.core.evaluation.evaluation import Evaluation, EvaluationJob, evaluation_steps
from napari_staligner.core.evaluation.metrics import METRICS, SCOPES
from napari_staligner.core.palette import categorical_colors, to_rgba
from napari_staligner.core.prepare.graph import spacing
from napari_staligner.core.prepare.libraries import libraries_of_result
from napari_staligner.core.progress import Progress, Steps, part_of
from napari_staligner.core.result.access import record_of, spots_xy
from napari_staligner.core.result.methods_text import methods_text
from napari_staligner.core.result.profiles import ProfileJob, profile_job, read_profiles
from napari_staligner.core.result.verdicts import Verdict, is_current, read_verdicts
from napari_staligner.io.images import tissue_image
from napari_staligner.report.comparison import (
    ComparisonJob,
    ComparisonRow,
    compared_methods,
    comparison_job,
    comparison_rows,
    umaps_of,
)
from napari_staligner.report.methods_picture import methods_picture
from napari_staligner.report.pictures import (
    SlicePart,
    confidence_colors,
    figures_picture,
    gradient,
    png_address,
    tissue_picture,
)
from napari_staligner.report.profile_picture import DrawnProfile, drawn_profiles

if TYPE_CHECKING:
    from anndata import AnnData
    from numpy.typing import NDArray

    from napari_staligner.core.domains.presence import PresenceTable

TEMPLATE = Path(__file__).with_name("report.html.jinja")
IMAGE_PIXELS = 800
"""Largest longer side of the tissue images; pictures of a report are no larger."""
NO_DOMAIN = "#999999"
_FIGURES, _UMAPS = 70, 92
"""Share of the work, in percent, that is done once the figures and the UMAPs are ready."""
LIBRARIES = ("anndata", "numpy", "pandas", "scanpy", "scikit-learn", "scipy", "squidpy", "torch")


@dataclass(frozen=True)
class ReportJob:
    """Everything that a report needs, copied.

    Parameters
    ----------
    title
        What was judged, for example the name of its file.
    parts
        The slices.
    colors
        Hex colour of each domain, in their order.
    presence
        Domain × slice; ``None`` without domains.
    evaluation
        Figures of embeddings, or what to compute them from.
    verdicts
        Each verdict, and whether its domains are still the present ones.
    facts
        How the slices were integrated.
    notes
        Notes of the integration.
    compared
        What the pictures of all embeddings side by side need.
    profiles
        Profiles to show.
    lost
        A sentence for each profile that cannot be shown any more.
    """

    title: str
    parts: tuple[SlicePart, ...]
    colors: Mapping[str, str]
    presence: PresenceTable | None
    evaluation: Evaluation | EvaluationJob
    verdicts: tuple[tuple[Verdict, bool], ...]
    facts: Mapping[str, str]
    notes: tuple[str, ...]
    compared: ComparisonJob
    methods: str = ""
    """A paragraph for the methods of a paper."""
    profiles: tuple[ProfileJob, ...] = ()
    lost: tuple[str, ...] = ()

    def steps(self) -> Steps[str]:
        """Write the page; see :func:`report_steps`."""
        return report_steps(self)


def report_job(
    adata: AnnData,
    title: str,
    evaluation: Evaluation | EvaluationJob,
    *,
    compute_umaps: bool = False,
) -> ReportJob:
    """Copy what a report needs of integrated slices.

    Parameters
    ----------
    adata
        Integrated slices; reads ``obs["slice"]``, ``obs["domain"]``,
        ``obs["alignment_confidence"]``, ``obsm["spatial"]``, ``uns["spatial"]`` and
        ``uns["staligner"]``.
    title
        Heading, for example the name of the file.
    evaluation
        Figures of embeddings, or the job to compute them.
    compute_umaps
        Whether to compute UMAPs that ``obsm`` lacks; otherwise they are left out.
    """
    kept = record_of(adata)
    colors = _domain_colors(adata)
    table = presence_of(adata) if colors else None
    facts = {"integrated by": f"napari-staligner {kept.get('version', '?')}"}
    profiles, lost = _profiles(adata)
    facts |= {str(key): str(value) for key, value in kept.get("params", {}).items()}
    return ReportJob(
        title,
        tuple(_part(adata, str(name)) for name in adata.obs[K.SLICE].cat.categories),
        colors,
        table,
        evaluation,
        tuple((verdict, is_current(adata, verdict)) for verdict in read_verdicts(adata)),
        facts,
        tuple(map(str, kept.get("notes", ()))),
        comparison_job(adata, evaluation, compute_umaps=compute_umaps),
        methods_text(adata),
        profiles,
        lost,
    )


def _profiles(adata: AnnData) -> tuple[tuple[ProfileJob, ...], tuple[str, ...]]:
    """What the kept profiles need, and why some cannot be drawn."""
    jobs, lost = [], []
    for axis, of in read_profiles(adata):
        try:
            jobs.append(profile_job(adata, axis, of))
        except InputError as error:
            lost.append(f"A profile of {of.text} is not shown: {error}")
    return tuple(jobs), tuple(lost)


def _domain_colors(adata: AnnData) -> dict[str, str]:
    if K.DOMAIN not in adata.obs:
        return {}
    names = list(map(str, pd.Categorical(adata.obs[K.DOMAIN]).categories))
    recorded = list(map(str, adata.uns.get(K.DOMAIN_COLORS, ())))
    colors = recorded if len(recorded) == len(names) else categorical_colors(len(names))
    return dict(zip(names, colors, strict=True))


def _part(adata: AnnData, name: str) -> SlicePart:
    rows = np.flatnonzero((adata.obs[K.SLICE] == name).to_numpy())
    points = spots_xy(adata)[rows]
    codes = np.full(len(rows), -1)
    if K.DOMAIN in adata.obs:
        codes = np.array(pd.Categorical(adata.obs[K.DOMAIN]).codes[rows])
    confidence = None
    if K.CONFIDENCE in adata.obs:
        confidence = adata.obs[K.CONFIDENCE].to_numpy(float)[rows]
    image, unit = _thinned_image(adata, name)
    return SlicePart(name, rows, points, spacing(points), codes, confidence, image, unit)


def _thinned_image(adata: AnnData, name: str) -> tuple[NDArray[Any] | None, float]:
    from anndata import AnnData

    own = libraries_of_result(adata, name)
    found = tissue_image(AnnData(shape=(0, 0), uns={K.SPATIAL: own}))
    if found is None:
        return None, 1.0
    pixels, factor = found
    step = max(1, int(np.ceil(max(pixels.shape[:2]) / IMAGE_PIXELS)))
    return pixels[::step, ::step].copy(), step / factor


def report_steps(job: ReportJob) -> Steps[str]:
    """Compute what is missing and draw the report; returns the text of the HTML file."""
    total = 100
    evaluation = job.evaluation
    if isinstance(evaluation, EvaluationJob):
        evaluation = yield from part_of(evaluation_steps(evaluation), 0, _FIGURES, total)
    umaps = yield from part_of(
        umaps_of(job.compared, evaluation, job.parts), _FIGURES, _UMAPS - _FIGURES, total
    )
    domains: dict[str, str] = {}
    confidence: dict[str, str] = {}
    rgba = to_rgba([*job.colors.values(), NO_DOMAIN])
    for number, part in enumerate(job.parts):
        yield Progress("pictures", _UMAPS + 5 * number // len(job.parts), total)
        # Code -1, without a domain, is the last colour.
        domains[part.name] = tissue_picture(part, rgba[part.codes])
        if part.confidence is not None:
            confidence[part.name] = tissue_picture(part, confidence_colors(part.confidence))
    yield Progress("pictures side by side", _UMAPS + 5, total)
    beside = comparison_rows(job.compared, evaluation, umaps, job.parts, job.colors, NO_DOMAIN)
    found = compared_methods(job.compared, evaluation, umaps, job.parts, job.colors)
    together = png_address(methods_picture(found, job.parts, NO_DOMAIN))
    drawn = yield from drawn_profiles(job.profiles, job.colors)
    yield Progress("report", 99, total)
    return _render(job, evaluation, domains, confidence, beside, together, drawn)


def _render(
    job: ReportJob,
    evaluation: Evaluation,
    domains: Mapping[str, str],
    confidence: Mapping[str, str],
    beside: list[ComparisonRow],
    together: str,
    profiles: list[DrawnProfile],
) -> str:
    from jinja2 import Environment, StrictUndefined

    # Names and notes are user input: they appear as text in the page, never as markup.
    environment = Environment(
        autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    titles = {key: TITLES.get(key, key) for key in evaluation.figures}
    return environment.from_string(TEMPLATE.read_text(encoding="utf-8")).render(
        job=job,
        made=datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC"),
        n_spots=sum(len(part.points) for part in job.parts),
        domain_pictures=domains,
        confidence_pictures=confidence,
        beside=beside,
        together=together,
        profiles=profiles,
        slice_colors=dict(
            zip(
                [part.name for part in job.parts],
                categorical_colors(len(job.parts)),
                strict=True,
            )
        ),
        gradient=gradient(),
        medians={
            part.name: float(np.nanmedian(part.confidence))
            for part in job.parts
            if part.confidence is not None and np.isfinite(part.confidence).any()
        },
        presence=_presence_rows(job.presence),
        labels=evaluation.labels,
        evaluation_notes=evaluation.notes,
        embeddings=list(titles.values()),
        figures_picture=figures_picture(evaluation, titles),
        overall=_overall_rows(evaluation),
        metrics=METRICS,
        scopes=_scope_tables(evaluation, titles),
        versions=_versions(),
    )


def _presence_rows(table: PresenceTable | None) -> dict[str, list[Any]]:
    """Rows of the test, by domain."""
    found: dict[str, list[Any]] = {}
    for row in () if table is None else table.rows:
        found.setdefault(row.label, []).append(row)
    return found


Cell = tuple[str, int]
"""A figure as text, and whether it is better (1) or worse (-1) than the first embedding's, or 0."""


def _overall_rows(evaluation: Evaluation) -> dict[str, list[Cell]]:
    """Figures of all embeddings, by metric."""
    found = [figures.overall for figures in evaluation.figures.values()]
    keys = [key for key in METRICS if any(key in figures for figures in found)]
    nan = float("nan")
    return {
        key: [_cell(key, f.get(key, nan), found[0].get(key, nan)) for f in found] for key in keys
    }


def _scope_tables(evaluation: Evaluation, titles: Mapping[str, str]) -> list[dict[str, Any]]:
    """Figures by slice pair, by slice and by label, a row an embedding."""
    frame = evaluation.to_frame()
    tables = []
    for scope, title in SCOPES.items():
        if scope == "overall":
            continue
        part = frame[frame["scope"] == scope]
        keys = [key for key in METRICS if key in set(part["metric"])]
        rows = []
        for (first, second), group in part.groupby(["first", "second"], sort=False):
            wide = group.pivot(index="embedding", columns="metric", values="value")
            wide = wide.reindex(index=list(titles), columns=keys)
            name = f"{first} – {second}" if second else first
            for embedding, values in wide.iterrows():
                cells = [_cell(key, values[key], wide.iloc[0][key]) for key in keys]
                rows.append((name, titles[str(embedding)], cells))
        if rows:
            tables.append({"title": title, "keys": keys, "rows": rows})
    return tables


def _cell(key: str, value: float, first: float) -> Cell:
    return ("–" if np.isnan(value) else f"{value:.3f}"), METRICS[key].compare(value, first)


def _versions() -> dict[str, str]:
    """Installed versions of this package and of its main dependencies."""
    found = {}
    for name in ("napari-staligner", *LIBRARIES):
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found
