"""What a region is like: its size on each slice, and the genes that mark it."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from napari_staligner import _keys as K
from napari_staligner._errors import InputError
from napari_staligner.core.annotations.regions import Extent, extents
from napari_staligner.core.attempt import reason
from napari_staligner.core.domains.presence import Presence, presence
from napari_staligner.core.progress import Progress, Steps
from napari_staligner.core.result.access import spots_xy
from napari_staligner.core.result.markers import MarkerJob, marker_job, marker_steps

if TYPE_CHECKING:
    from anndata import AnnData
    from numpy.typing import NDArray

_log = logging.getLogger(__name__)

TOP = 6
"""Genes named on the card."""
SIGNIFICANT = 0.05


@dataclass(frozen=True)
class CardJob:
    """Everything that a card needs, copied.

    Parameters
    ----------
    name
        The class.
    extents
        The region on each slice.
    against_rest
        The region against all other spots; a sentence if they cannot be compared.
    against_elsewhere
        The region of each slice against that of the other slices, or why not.
    """

    name: str
    extents: Mapping[str, Extent]
    against_rest: MarkerJob | str
    against_elsewhere: Mapping[str, MarkerJob | str]
    region: NDArray[np.bool_]
    slices: pd.Categorical
    coordinates: NDArray[np.float64]
    trust: NDArray[np.float64] | None
    """What the test of presence reads about the spots of slices with any annotation: whether each
    belongs to the region, its slice, coordinates and confidence."""

    def steps(self) -> Steps[RegionCard]:
        """Describe the region; see :func:`card_steps`."""
        return card_steps(self)


@dataclass(frozen=True)
class RegionCard:
    """What a region is like.

    Parameters
    ----------
    name
        The class.
    extents
        The region on each slice.
    markers
        Genes higher in the region than in all other spots (adjusted p < 0.05), the strongest
        first; a sentence if they cannot be compared.
    elsewhere
        The same for each slice's part against the region on the other slices.
    """

    name: str
    extents: Mapping[str, Extent]
    markers: tuple[str, ...] | str
    elsewhere: Mapping[str, tuple[str, ...] | str]
    presence: Mapping[str, Presence]
    """Test of the region's share in each slice against the others; slices without annotations are
    left out."""
    annotated: frozenset[str]
    """Slices where any spot has a class: the region can be called absent only there."""


def card_job(
    adata: AnnData, region: NDArray[np.bool_], name: str, annotated: NDArray[np.bool_]
) -> CardJob:
    """Measure a region and copy what finding its markers needs.

    Parameters
    ----------
    adata
        Integrated slices.
    region
        Whether a spot belongs to it, shape (spots,).
    name
        The class.
    annotated
        Whether a spot has any class, shape (spots,).

    Raises
    ------
    InputError
        The region has no spot.
    """
    if not region.any():
        raise InputError(f"No spot has class {name!r}: annotate some first.")
    slices = adata.obs[K.SLICE].to_numpy()
    compared = np.flatnonzero(np.isin(slices, slices[annotated]))
    inside = np.flatnonzero(region)
    here = {str(s): inside[slices[inside] == s] for s in adata.obs[K.SLICE].cat.categories}
    present = {s: rows for s, rows in here.items() if len(rows)}
    return CardJob(
        name,
        extents(adata, region),
        _job(adata, inside, np.flatnonzero(~region)),
        {
            s: _job(adata, rows, inside[slices[inside] != s])
            for s, rows in present.items()
            if len(present) > 1
        },
        region[compared],
        pd.Categorical(slices[compared].astype(str)),
        spots_xy(adata)[compared],
        np.array(adata.obs[K.CONFIDENCE], float)[compared] if K.CONFIDENCE in adata.obs else None,
    )


def card_steps(job: CardJob) -> Steps[RegionCard]:
    """Find the marker genes of a region, and test in which slices it is present."""
    total = 2 + len(job.against_elsewhere)
    yield Progress("presence by slice", 0, total)
    here = _presence(job)
    yield Progress("markers against the rest", 1, total)
    markers = yield from _genes(job.against_rest)
    elsewhere = {}
    for done, (name, compared) in enumerate(job.against_elsewhere.items(), 2):
        yield Progress(f"markers of {name}", done, total)
        elsewhere[name] = yield from _genes(compared)
    annotated = frozenset(map(str, job.slices.categories))
    return RegionCard(job.name, job.extents, markers, elsewhere, here, annotated)


def _presence(job: CardJob) -> dict[str, Presence]:
    """Test the region in each slice; with one slice there is nothing to compare."""
    if len(job.slices.categories) < 2:
        return {}
    labels = pd.Categorical.from_codes(np.where(job.region, 0, -1), [job.name])
    table = presence(labels, job.slices, job.coordinates, job.trust)
    return {row.slice: row for row in table.rows}


def _job(adata: AnnData, inside: Any, against: Any) -> MarkerJob | str:
    try:
        return marker_job(adata, inside, against)
    except InputError as error:
        return str(error)


def _genes(job: MarkerJob | str) -> Steps[tuple[str, ...] | str]:
    if isinstance(job, str):
        return job
    try:
        table = yield from marker_steps(job)
    except Exception as error:
        # The extents and the presence stay.
        _log.exception("The markers of a region failed")
        return f"The markers of this region are missing ({reason(error)})."
    higher = table[(table["score"] > 0) & (table["p"] < SIGNIFICANT)]
    return tuple(map(str, higher["gene"].head(TOP)))
