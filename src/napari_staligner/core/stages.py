"""The stages after training, which can be computed again if they are missing.

The matches between slices, the confidence of the spots, the domains, the slices that have them, and
the registration. Each is separate, so that a failure of one does not lose the others.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from napari_staligner import _keys as K
from napari_staligner._errors import InputError
from napari_staligner.core.attempt import (
    CONFIDENCE,
    DOMAINS,
    MATCHES,
    PRESENCE,
    REGISTRATION,
    STAGES,
    LaterStage,
    attempt,
    collecting,
    drop_notes,
    warn_lost,
)
from napari_staligner.core.freed import give_back
from napari_staligner.core.missing_stages import missing_stages, settle_notes
from napari_staligner.core.progress import Progress, Steps, finish, part_of
from napari_staligner.core.result.access import record_of, spots_xy, writable_record

if TYPE_CHECKING:
    from anndata import AnnData
    from numpy.typing import NDArray
    from scipy.sparse import csr_matrix

    from napari_staligner.core.domains.domains import FoundDomains
    from napari_staligner.core.domains.presence import PresenceTable
    from napari_staligner.core.domains.slice_specific import SpotContext
    from napari_staligner.core.registration import Registered, RegistrationJob
    from napari_staligner.core.registration.histology import Histology
    from napari_staligner.core.settings import Settings
    from napari_staligner.core.training.ranks import Ranks

_log = logging.getLogger(__name__)

FINDING_DOMAINS = 0.4
"""How long domains take, as a part of the registration of all pairs."""


@dataclass(frozen=True)
class StagesJob:
    """Everything that the stages need, copied.

    Parameters
    ----------
    coordinates
        For each slice, shape (spots, 2), in the order of the rows of the embedding.
    embedding
        Shape (spots of all slices, d).
    connectivities, mutual
        Shape (spots, spots), CSR: neighbours on the tissue, and mutual nearest neighbours across
        slices; the latter ``None`` if they are missing.
    pairs
        Names of the slices that were aligned; all pairs if ``None``.
    settings
        Of the run.
    wanted
        The stages to compute.
    confidence
        Shape (spots,), if already known.
    domains
        Shape (spots,), if already known.
    ranks
        The processes that share what is computed for pairs of slices; all but the first compute
        their part of that and nothing else. ``None`` for this one alone.
    histology
        Tissue images, of the slices that have one.
    """

    coordinates: dict[str, NDArray[np.float64]]
    embedding: NDArray[np.float32]
    connectivities: csr_matrix
    mutual: csr_matrix | None
    pairs: tuple[tuple[str, str], ...] | None
    settings: Settings
    wanted: tuple[LaterStage, ...] = (MATCHES, CONFIDENCE, DOMAINS, PRESENCE, REGISTRATION)
    confidence: NDArray[np.floating[Any]] | None = None
    domains: pd.Categorical | None = None
    ranks: Ranks | None = None
    histology: Mapping[str, Histology] = field(default_factory=dict)

    @property
    def sizes(self) -> list[int]:
        """Spots of each slice."""
        return [len(points) for points in self.coordinates.values()]

    def tissue(self, confidence: NDArray[np.floating[Any]] | None) -> SpotContext:
        """Where spots lie, and how they align."""
        from napari_staligner.core.domains.slice_specific import SpotContext

        slice_of = np.repeat(np.arange(len(self.coordinates)), self.sizes)
        places = np.concatenate(list(self.coordinates.values())).astype(np.float64)
        if confidence is None or self.mutual is None:
            return SpotContext(slice_of, places)
        return SpotContext(slice_of, places, confidence, self.connectivities + self.mutual)

    def steps(self) -> Steps[Staged]:
        """Compute the stages that are wanted; see :func:`stage_steps`."""
        return stage_steps(self)


@dataclass(frozen=True)
class Staged:
    """The results of the stages; ``None`` for one that failed or was not wanted."""

    mutual: csr_matrix | None = None
    confidence: NDArray[np.float32] | None = None
    found: FoundDomains | None = None
    presence: PresenceTable | None = None
    registered: Registered | None = None


def stage_steps(job: StagesJob) -> Steps[Staged]:
    """Compute the stages that are wanted.

    Returns
    -------
    Their results. For each that failed, a step's ``lost`` says so.
    """
    confidence, found, tested, registered, mutual = job.confidence, None, None, None, None
    if MATCHES in job.wanted and job.mutual is None:
        mutual = yield from part_of(attempt(lambda: _matches(job), MATCHES), 0, 0, 3)
        job = replace(job, mutual=mutual)
    if CONFIDENCE in job.wanted:
        steps = attempt(lambda: _confidence(job), CONFIDENCE)
        confidence = yield from part_of(steps, 0, 1, 3)
    give_back()
    if DOMAINS in job.wanted:
        steps_ = attempt(lambda: _domains(job, confidence), DOMAINS)
        found = yield from part_of(steps_, 1, 1, 3)
    elif PRESENCE in job.wanted:
        tested = yield from part_of(attempt(lambda: _presence(job), PRESENCE), 1, 1, 3)
    give_back()
    if REGISTRATION in job.wanted:
        register = attempt(lambda: _registration(job), REGISTRATION)
        registered = yield from part_of(register, 2, 1, 3)
    new = confidence if CONFIDENCE in job.wanted else None
    return Staged(mutual, new, found, tested, registered)


def _matches(job: StagesJob) -> Steps[csr_matrix]:
    import torch

    from napari_staligner.core.training.matching import Matcher, match_matrix

    settings = job.settings if job.pairs is None else replace(job.settings, pairs=job.pairs)
    z = torch.from_numpy(np.asarray(job.embedding, dtype=np.float32))
    matcher = Matcher(tuple(job.coordinates), job.sizes, settings, z.device)
    return match_matrix((yield from matcher.find_all(z, 0, 1)), len(z))


def _confidence(job: StagesJob) -> Steps[NDArray[np.float32]]:
    from napari_staligner.core.result.confidence import confidence_steps

    seed = job.settings.seed
    return (yield from confidence_steps(job.embedding, job.sizes, seed=seed, ranks=job.ranks))


def _domains(job: StagesJob, confidence: NDArray[np.floating[Any]] | None) -> Steps[FoundDomains]:
    from napari_staligner.core.domains.domains import domain_steps

    tissue = job.tissue(confidence)
    return (yield from domain_steps(job.embedding, job.connectivities, job.settings, tissue))


def _presence(job: StagesJob) -> Steps[PresenceTable]:
    from napari_staligner.core.domains.presence import presence

    assert job.domains is not None
    yield Progress("presence by slice", 0, 1)
    tissue, names = job.tissue(None), list(job.coordinates)
    slices = pd.Categorical.from_codes(tissue.slice_of, names)
    return presence(job.domains, slices, tissue.places, job.confidence)


def help_stages(job: StagesJob) -> Steps[None]:
    """Compute the parts of a rank that is not the first.

    Raises
    ------
    ComputeError
        Another rank is gone.
    """
    from napari_staligner.core.registration.register import help_register

    yield from _confidence(job)
    give_back()
    if job.mutual is not None:
        yield from help_register(_registration_job(job))


def _registration(job: StagesJob) -> Steps[Registered]:
    from napari_staligner.core.registration import register_steps

    return (yield from register_steps(_registration_job(job)))


def _registration_job(job: StagesJob) -> RegistrationJob:
    from napari_staligner.core.registration import RegistrationJob
    from napari_staligner.core.training.ranks import Ranks

    if job.mutual is None:
        raise InputError("it needs the matches between the slices; complete the result first")
    ranks = job.ranks or Ranks()
    if DOMAINS in job.wanted:
        # The others begin with the pairs while the first still finds domains.
        ranks = replace(ranks, busy=FINDING_DOMAINS)
    return RegistrationJob(
        job.coordinates,
        job.embedding,
        job.mutual,
        pairs=job.pairs,
        seed=job.settings.seed,
        ranks=ranks,
        histology=job.histology,
    )


def record_stages(adata: AnnData, staged: Staged, settings: Settings) -> Steps[None]:
    """Write the stages into integrated slices; one that cannot be written is missing.

    Parameters
    ----------
    adata
        Integrated slices. Sets ``obsp["mutual_neighbors"]``, ``obs["alignment_confidence"]``, and
        what :func:`~napari_staligner.core.domains.domains.record_domains` and
        :func:`~napari_staligner.register` set.
    staged
        Their results.
    settings
        The settings of the computation.
    """
    from napari_staligner.core.domains.domains import record_domains
    from napari_staligner.core.domains.presence import record_presence
    from napari_staligner.core.registration import Choice, record_registration

    if staged.mutual is not None:
        adata.obsp[K.MUTUAL] = staged.mutual
        drop_notes(adata, MATCHES)
    if staged.confidence is not None:
        adata.obs[K.CONFIDENCE] = staged.confidence
        drop_notes(adata, CONFIDENCE)
    registered, found, tested = staged.registered, staged.found, staged.presence
    writers: list[tuple[LaterStage, Callable[[], object]]] = []
    if registered is not None:
        choice = Choice(seed=settings.seed)
        writers.append((REGISTRATION, lambda: record_registration(adata, registered, choice)))
    if found is not None:
        given = (found.labels, settings, found.stability, found.presence)
        writers.append((DOMAINS, lambda: record_domains(adata, *given)))
    if tested is not None:
        writers.append((PRESENCE, lambda: record_presence(adata, tested)))
    for stage, write in writers:
        before = set(missing_stages(adata))
        yield from attempt(lambda write=write: _once(write), stage)  # type: ignore[misc]
        if stage in before & set(missing_stages(adata)):
            _clear(adata, stage)


def _once(write: Callable[[], object]) -> Steps[None]:
    yield Progress("writing down", 0, 1)
    write()


def _clear(adata: AnnData, stage: LaterStage) -> None:
    """Remove the rest of a stage that was only partly written."""
    kept = record_of(adata)
    slots: dict[LaterStage, tuple[tuple[Any, str], ...]] = {
        DOMAINS: ((adata.obs, K.DOMAIN), (adata.uns, K.DOMAIN_COLORS), (kept, K.PRESENCE)),
        PRESENCE: ((kept, K.PRESENCE),),
        REGISTRATION: (
            (adata.obsm, K.SPATIAL_ALIGNED),
            (adata.obsm, K.SHIFT),
            (adata.obs, K.RESIDUAL),
            (kept, "transforms"),
            (kept, "registration"),
        ),
    }
    for place, key in slots.get(stage, ()):
        if key in place:
            del place[key]


# -- once more --------------------------------------------------------------------------------


def complete(
    adata: AnnData,
    *,
    copy: bool = False,
    on_progress: Callable[[Progress], object] | None = None,
) -> AnnData | None:
    """Compute what integrated slices lack: matches, confidence, domains, presence, registration.

    Parameters
    ----------
    adata
        Integrated slices, as :func:`napari_staligner.integrate` returns them.
    copy
        Whether to return a copy instead of writing into ``adata``.
    on_progress
        Called with each :class:`~napari_staligner.core.progress.Progress`.

    Returns
    -------
    ``None``, or the copy. Existing parts stay as they are; missing ones are computed with the
    settings of the run, and written to the slots that :func:`~napari_staligner.integrate` names.

    Raises
    ------
    InputError
        These are no integrated slices, or they lack what the stages are computed from.

    Warns
    -----
    ComputeWarning
        A stage fails again.
    """
    target = adata.copy() if copy else adata
    lost: list[str] = []
    job = stages_job(target)
    staged = finish(stage_steps(job), collecting(lost, on_progress))
    record_completed(target, staged, job.settings, lost)
    warn_lost(lost)
    return target if copy else None


def stages_job(adata: AnnData) -> StagesJob:
    """Copy from integrated slices what their missing stages need.

    Raises
    ------
    InputError
        These are no integrated slices, or they lack what the stages are computed from.
    """
    from napari_staligner.core.registration.histology import histology_of_result
    from napari_staligner.core.result.provenance import settings_of

    places = (
        (adata.obs, "obs", K.SLICE),
        (adata.obsm, "obsm", K.SPATIAL),
        (adata.obsm, "obsm", K.EMBEDDING),
        (adata.obsp, "obsp", K.CONNECTIVITIES),
    )
    for part, slot, key in places:
        if key not in part:
            raise InputError(f"These slices lack {slot}[{key!r}]: integrate them first.")
    column = pd.Categorical(adata.obs[K.SLICE])
    if (np.diff(column.codes) < 0).any() or (column.codes < 0).any():
        raise InputError(
            f"The spots of a slice do not stand together in obs[{K.SLICE!r}]: sort them by slice."
        )
    ends = np.searchsorted(column.codes, np.arange(len(column.categories) + 1))
    points = spots_xy(adata).copy()
    kept = record_of(adata)
    recorded = np.asarray(kept.get("pairs", ()), dtype=object).reshape(-1, 2)
    known = K.CONFIDENCE in adata.obs
    return StagesJob(
        coordinates={
            str(name): points[a:b]
            for name, (a, b) in zip(column.categories, pairwise(ends), strict=True)
        },
        embedding=np.array(adata.obsm[K.EMBEDDING]),
        connectivities=adata.obsp[K.CONNECTIVITIES].copy(),
        mutual=adata.obsp[K.MUTUAL].copy() if K.MUTUAL in adata.obsp else None,
        pairs=tuple((str(a), str(b)) for a, b in recorded) if "pairs" in kept else None,
        settings=settings_of(adata),
        wanted=missing_stages(adata),
        confidence=adata.obs[K.CONFIDENCE].to_numpy(np.float64, copy=True) if known else None,
        domains=pd.Categorical(adata.obs[K.DOMAIN]).copy() if K.DOMAIN in adata.obs else None,
        histology=histology_of_result(adata),
    )


def record_completed(adata: AnnData, staged: Staged, settings: Settings, lost: list[str]) -> None:
    """Write what was completed, and the sentences on what is still missing.

    Parameters
    ----------
    adata
        Integrated slices.
    staged, settings
        See :func:`record_stages`.
    lost
        Sentences on stages that failed; those that cannot be written are appended.
    """
    finish(record_stages(adata, staged, settings), collecting(lost))
    kept = writable_record(adata)
    again = tuple(s.opening for s in STAGES if any(said.startswith(s.opening) for said in lost))
    notes = [str(note) for note in kept.get("notes", ())]
    notes = [note for note in notes if not note.startswith(again)]
    kept["notes"] = np.array([*notes, *lost], dtype=object)
    settle_notes(adata)
