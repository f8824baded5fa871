"""The part of a report that puts embeddings side by side: their domains and their UMAPs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_staligner.core.evaluation.comparison import Method, methods
from napari_staligner.core.evaluation.evaluation import EvaluationJob
from napari_staligner.core.evaluation.missing import label_codes
from napari_staligner.core.evaluation.umap import UmapJob, umap_key, umap_steps
from napari_staligner.core.palette import categorical_colors, to_rgba
from napari_staligner.core.result.access import record_of
from napari_staligner.report.pictures import SlicePart, tissue_picture, umap_picture

if TYPE_CHECKING:
    from anndata import AnnData
    from numpy.typing import NDArray

    from napari_staligner.core.evaluation.evaluation import Evaluation
    from napari_staligner.core.progress import Steps

    Umaps = Mapping[str, NDArray[np.floating[Any]]]


@dataclass(frozen=True)
class ComparisonJob:
    """What the pictures of embeddings side by side need, copied.

    Parameters
    ----------
    labels
        Codes of the column to compare with, shape (spots,); ``None`` without one.
    umaps
        Existing UMAPs by the key of the embedding, shape (spots, 2).
    embeddings
        Embeddings that need a UMAP, by key, in addition to those that the figures compute;
        ``None`` computes no UMAP.
    seed
        Seed of these UMAPs.
    """

    labels: NDArray[np.integer[Any]] | None
    umaps: Umaps
    embeddings: Mapping[str, NDArray[np.float32]] | None
    seed: int


@dataclass(frozen=True)
class ComparisonRow:
    """Pictures of the labels or of one embedding, each as a ``data:`` address.

    Parameters
    ----------
    title, figures
        Name of the row, and some of its figures.
    slices
        The tissue coloured by its domains, by slice.
    umaps
        UMAPs by what they are coloured by; empty without a UMAP.
    """

    title: str
    figures: str
    slices: Mapping[str, str]
    umaps: Mapping[str, str]


def comparison_job(
    adata: AnnData, evaluation: Evaluation | EvaluationJob, *, compute_umaps: bool
) -> ComparisonJob:
    """Copy what the pictures need.

    Parameters
    ----------
    adata
        Integrated slices; reads ``obs``, and ``obsm`` for embeddings and their UMAPs.
    evaluation
        Figures of the embeddings, or the job to compute them.
    compute_umaps
        Whether to compute UMAPs that ``obsm`` lacks; otherwise they are left out.
    """
    if isinstance(evaluation, EvaluationJob):
        keys, column = evaluation.keys, evaluation.label_key
    else:
        keys, column = tuple(evaluation.figures), evaluation.labels
    labels = label_codes(adata.obs[column])[0] if column in adata.obs else None
    places = {key: umap_key(key) for key in keys}
    umaps = {key: np.array(adata.obsm[at]) for key, at in places.items() if at in adata.obsm}
    lacking = {
        key: np.array(adata.obsm[key], dtype=np.float32)
        for key in keys
        if key in adata.obsm and key not in umaps
    }
    params = record_of(adata).get("params", {})
    return ComparisonJob(
        labels, umaps, lacking if compute_umaps else None, int(params.get("seed", 0))
    )


def umaps_of(
    job: ComparisonJob, evaluation: Evaluation, parts: Sequence[SlicePart]
) -> Steps[Umaps]:
    """Return the UMAPs by embedding; computes missing ones if the job says so."""
    if job.embeddings is None:
        return job.umaps
    there = {**job.embeddings, **evaluation.computed}
    missing = [key for key in evaluation.figures if key not in job.umaps]
    if not missing:
        return job.umaps
    wanted = {umap_key(key): there[key] for key in missing}
    rows = tuple(part.rows for part in parts)
    found = yield from umap_steps(UmapJob(wanted, None, rows, job.seed))
    return {**job.umaps, **{key: found.arrays[umap_key(key)] for key in missing}}


def compared_methods(
    job: ComparisonJob,
    evaluation: Evaluation,
    umaps: Umaps,
    parts: Sequence[SlicePart],
    colors: Mapping[str, str],
) -> tuple[Method, ...]:
    """List the labels, if there are any, and each embedding; see :func:`comparison_rows`."""
    reference = np.full(sum(len(part.rows) for part in parts), -1)
    for part in parts:
        reference[part.rows] = part.codes
    return methods(evaluation, reference, list(colors.values()), job.labels, umaps)


def comparison_rows(
    job: ComparisonJob,
    evaluation: Evaluation,
    umaps: Umaps,
    parts: Sequence[SlicePart],
    colors: Mapping[str, str],
    no_domain: str,
) -> list[ComparisonRow]:
    """Draw the labels, if there are any, and each embedding.

    Parameters
    ----------
    job, evaluation, umaps
        What is drawn.
    parts
        The slices.
    colors
        Hex colour of each domain of the result.
    no_domain
        Hex colour of spots without one.
    """
    slice_of = np.zeros(sum(len(part.rows) for part in parts), dtype=np.intp)
    for number, part in enumerate(parts):
        slice_of[part.rows] = number
    by_slice = to_rgba(categorical_colors(len(parts)))[slice_of]
    rows = []
    for method in compared_methods(job, evaluation, umaps, parts, colors):
        # Code -1, without a domain, is the last colour.
        rgba = to_rgba([*method.colors, no_domain])[method.codes]
        slices = {part.name: tissue_picture(part, rgba[part.rows], small=True) for part in parts}
        drawn = {}
        if method.umap is not None:
            drawn = {
                "by slice": umap_picture(method.umap, by_slice),
                "by domain": umap_picture(method.umap, rgba),
            }
        rows.append(ComparisonRow(method.title, method.figures, slices, drawn))
    return rows
