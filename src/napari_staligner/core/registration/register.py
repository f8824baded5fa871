"""Registration of slices, step by step: pairs, then a tree of them, then all together."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from napari_staligner._errors import ComputeError, InputError
from napari_staligner.core.attempt import BENDING, RESIDUALS, attempt
from napari_staligner.core.progress import Progress, Steps
from napari_staligner.core.registration.ambiguity import better
from napari_staligner.core.registration.choice import Model
from napari_staligner.core.registration.common import in_common_unit
from napari_staligner.core.registration.handedness import Lean, series_hands
from napari_staligner.core.registration.measuring import measure, unmeasured
from napari_staligner.core.registration.optimize import refine
from napari_staligner.core.registration.pairs import PairFit, finished, register_pair
from napari_staligner.core.registration.sent import received, sent
from napari_staligner.core.registration.series import Registered, Series
from napari_staligner.core.registration.transforms import inverse
from napari_staligner.core.registration.tree import compose, spread
from napari_staligner.core.registration.trust import SURE, PairTrust, apart
from napari_staligner.core.registration.warp import warp
from napari_staligner.core.training.ranks import Arrays
from napari_staligner.core.training.sharing import each
from napari_staligner.threads import in_single_products, single_products, wanted_threads

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from napari_staligner.core.registration.sections import Section
    from napari_staligner.core.registration.transforms import Matrix

    Pair = tuple[int, int]

FEWEST_MATCHES = 8


@dataclass(frozen=True)
class RegistrationJob(Series):
    """Everything that a registration needs, copied."""

    def steps(self) -> Steps[Registered]:
        """Register the slices; see :func:`register_steps`."""
        return register_steps(self)


class Paired(NamedTuple):
    """Slices of which every known pair is registered, before all are placed together."""

    names: list[str]
    reference: int
    known: list[Pair]
    bases: list[Matrix]
    sections: list[Section]
    other_unit: set[int]
    models: dict[Pair, Model]
    found: dict[Pair, PairFit]


def pairwise_steps(job: RegistrationJob) -> Steps[Paired]:
    """Register each pair of slices, one per step; of several ranks, each registers some.

    Raises
    ------
    InputError
        See :func:`register_steps`.
    """
    return in_single_products(_pairwise(job))


def _pairwise(job: RegistrationJob) -> Steps[Paired]:
    names, reference = job.names, job.number_of_reference
    known = [pair for pair in job.wanted() if job.matches(pair)[0].size >= FEWEST_MATCHES]
    if job.counted is not None and not known:
        raise InputError(
            "The landmark domains hold too few matches between the slices: choose others, or none."
        )
    bases, sections, other_unit = in_common_unit(job, known)
    models = {pair: Model.SIMILARITY if {*pair} & other_unit else Model.RIGID for pair in known}

    def registered(pair: Pair) -> Arrays:
        i, j = pair
        lying = None if {*pair} & other_unit else bases[j] @ inverse(bases[i])
        # Where landmarks end tells nothing of the sections.
        cut = job.counted is not None
        fit = register_pair(sections[i], sections[j], models[pair], lying, cut=cut)
        return sent(fit.way) | {"fit": np.array([fit.cost, fit.finest, fit.cut])}

    def said(number: int) -> Progress:
        i, j = known[number]
        return Progress(f"register {names[i]} to {names[j]}", number, len(known) + 2)

    given = yield from each(
        known, registered, said, job.ranks, threads=wanted_threads(job.ranks.here)
    )
    found = {}
    for pair, arrays in zip(known, given, strict=True):
        cost, finest, is_cut = arrays["fit"]
        found[pair] = PairFit(float(cost), received(arrays), float(finest), bool(is_cut))
    return Paired(names, reference, known, bases, sections, other_unit, models, found)


def register_steps(job: RegistrationJob) -> Steps[Registered]:
    """Register slices to the reference, one pair per step.

    Returns
    -------
    Slices without enough matches to any other are centred on the reference, and a note says so.
    If the residuals or the smooth last step fail, a step's ``lost`` says so, and the
    transforms stay.

    Raises
    ------
    InputError
        The reference, or a slice of a pair, does not exist.
    """
    try:
        placed = yield from in_single_products(_placed(job))
    except Exception:
        _tell_helpers(job, None)
        raise
    _tell_helpers(job, placed)
    measured = yield from attempt(ResidualJob(job, placed, {}).steps, RESIDUALS)
    if measured is None:
        return placed
    measured = replace(measured, trust=placed.trust)
    if not job.nonrigid:
        return measured
    reference = job.names[job.number_of_reference]
    warped = yield from attempt(lambda: _warped(job, measured, reference), BENDING)
    return measured if warped is None else replace(warped, trust=placed.trust)


def help_register(job: RegistrationJob) -> Steps[None]:
    """Compute the parts of a rank that is not the first: some pairs, and residuals of some slices.

    Raises
    ------
    InputError
        See :func:`register_steps`.
    ComputeError
        Another rank is gone.
    """
    yield from pairwise_steps(job)
    told = job.ranks.share_arrays(None, 0)
    if told:
        names = job.names
        transforms = dict(zip(names, told["transforms"], strict=True))
        pairs = [(names[i], names[j]) for i, j in told["pairs"]]
        yield from ResidualJob(job, unmeasured(job, transforms, pairs), {}).steps()


def _tell_helpers(job: RegistrationJob, placed: Registered | None) -> None:
    """Tell the other ranks where the slices lie; nothing if that is not known."""
    told: Arrays = {}
    if placed is not None:
        at = {name: number for number, name in enumerate(job.names)}
        pairs = [[at[name] for name in pair] for pair in placed.pairs]
        told = {
            "transforms": np.stack([placed.transforms[name] for name in job.names]),
            "pairs": np.array(pairs, dtype=np.int64).reshape(-1, 2),
        }
    # What they do not compute, the first does.
    with suppress(ComputeError):
        job.ranks.share_arrays(told, 0)


def _placed(job: RegistrationJob) -> Steps[Registered]:
    """All slices in one frame, with unknown residuals."""
    paired = yield from _pairwise(job)
    names, reference, known, bases, sections = paired[:5]
    total = len(known) + 2
    yield Progress("register all together", len(known), total)
    paired = paired._replace(found=_settled(paired.found, sections, paired.models))
    # A pair that may lie another way is settled by others, if these are sure.
    costs = {pair: (bool(fit.way.other), fit.cost) for pair, fit in paired.found.items()}
    edges, lost = spread(costs, reference, len(names))
    for note in (*_doubts(paired, edges), *_seen(paired, edges), *_lost(paired, lost)):
        yield Progress("register", len(known), total, note=note)
    matrices = {pair: fit.way.matrix for pair, fit in paired.found.items()}
    frame = compose(edges, matrices, reference)
    used = [pair for pair in known if pair[0] in frame and pair[1] in frame]
    frame = _together(paired, frame, used, job.model)
    home = inverse(bases[reference])
    transforms = [home @ frame.get(i, np.eye(3)) @ bases[i] for i in range(len(names))]
    transforms[reference] = np.eye(3)
    trust = tuple(_trust(paired.found[pair], pair, sections, frame) for pair in used)
    pairs = tuple((names[i], names[j]) for i, j in used)
    return replace(unmeasured(job, dict(zip(names, transforms, strict=True)), pairs), trust=trust)


def _doubts(paired: Paired, edges: Sequence[Pair]) -> Iterator[str]:
    """Sentences on the pairs that hold the slices together, and may lie another way."""
    for a, b in map(sorted, edges):
        way = (paired.found[a, b] if (a, b) in paired.found else paired.found[b, a]).way
        if way.other:
            yield (
                f"Slices {paired.names[a]!r} and {paired.names[b]!r} agree about as well with one "
                f"of them {way.other} (p = {way.p:.2f}): look at them in the stack, and correct by "
                "hand if they lie wrong."
            )


def _seen(paired: Paired, edges: Sequence[Pair]) -> Iterator[str]:
    """Sentences on the pairs that hold the slices together by what their images show."""
    for a, b in map(sorted, edges):
        way = (paired.found[a, b] if (a, b) in paired.found else paired.found[b, a]).way
        if way.seen and not way.other:
            yield (
                f"Slices {paired.names[a]!r} and {paired.names[b]!r} agree about as well another "
                f"way by their embedding; their tissue images tell which (p = {way.p:.1g}): look "
                "at them in the stack."
            )


def _lost(paired: Paired, lost: Sequence[int]) -> Iterator[str]:
    """Sentences on the slices that no pair holds."""
    for i in lost:
        yield (
            f"Slice {paired.names[i]!r} has too few matches to the other slices to be registered; "
            f"it is centred on {paired.names[paired.reference]!r}."
        )


def _together(
    paired: Paired, frame: dict[int, Matrix], used: Sequence[Pair], model: Model
) -> dict[int, Matrix]:
    """Move all slices until all pairs agree best, unless they do so as they lie."""
    sections, bases, reference = paired.sections, paired.bases, paired.reference
    if not used:
        return frame
    finest = float(np.median([paired.found[pair].finest for pair in used]))
    if len(used) > 1 or model is not Model.RIGID:
        models = {
            i: Model.SIMILARITY if model is Model.RIGID and i in paired.other_unit else model
            for i in frame
        }
        cuts = [pair for pair in used if paired.found[pair].cut]
        moving = {i: sections[i] for i in frame}
        frame, _ = refine(moving, used, frame, reference, models, (2 * finest, finest), cuts)
    if model is Model.RIGID and not paired.other_unit:
        lying = {i: bases[reference] @ inverse(bases[i]) for i in frame}
        if not better(sections, used, frame, lying, finest):
            return lying
    return frame


def _trust(
    fit: PairFit, pair: Pair, sections: Sequence[Section], frame: Mapping[int, Matrix]
) -> PairTrust:
    i, j = pair
    step = max(sections[i].step, sections[j].step)
    far = apart(sections[i].points, fit.way.matrix, frame[i], frame[j], step)
    return PairTrust(fit.way.p, far)


@dataclass(frozen=True)
class ResidualJob:
    """Everything that measuring the residuals of an alignment needs, copied.

    Parameters
    ----------
    slices
        The slices.
    known
        The alignment.
    moved
        Displacements on top of its transforms, shape (spots, 2), of the slices that have any.
    """

    slices: RegistrationJob
    known: Registered
    moved: Mapping[str, NDArray[np.float64]]

    def steps(self) -> Steps[Registered]:
        """Measure them; see :func:`measure`."""
        yield Progress("residuals", 0, 1)
        job, known = self.slices, self.known
        ranks = replace(job.ranks, busy=0.0)
        with single_products():
            return measure(job, known.transforms, known.pairs, self.moved, ranks)


def _settled(
    found: Mapping[Pair, PairFit], sections: Sequence[Section], models: Mapping[Pair, Model]
) -> dict[Pair, PairFit]:
    """Mirror the pairs that others contradict, and say how sure all together are."""
    leans = {pair: Lean(fit.way.mirrored, fit.way.evidence) for pair, fit in found.items()}
    settled = dict(found)
    for pair, (mirrored, p) in series_hands(leans).items():
        fit, way = found[pair], found[pair].way
        if way.instead is None:
            continue
        other = way.other if p >= SURE else ""
        settled[pair] = fit._replace(way=replace(way, other=other, p=p))
        if mirrored != way.mirrored:
            flipped = replace(way, matrix=way.instead, instead=way.matrix, other=other, p=p)
            i, j = pair
            settled[pair] = finished(
                sections[i], sections[j], models[pair], fit._replace(way=flipped)
            )
    return settled


def _warped(job: RegistrationJob, placed: Registered, reference: str) -> Steps[Registered]:
    """Displace each slice except the reference smoothly towards its counterparts."""
    unit, moved, bending = job.unit, {}, {}
    others = [name for name in job.coordinates if name != reference]
    for done, name in enumerate(others):
        yield Progress(f"bend {name}", done, len(others))
        rows = job.rows[name]
        found = warp(placed.aligned[rows], placed.shift[rows], unit)
        if found is None or found.folds:
            why = "would fold the tissue" if found else "has too few places, or all on one line"
            note = f"Slice {name!r}: the smooth displacement {why}; it is left out."
            yield Progress(f"bend {name}", done + 1, len(others), note=note)
            continue
        moved[name], bending[name] = found.shift, found.bending
    return replace(measure(job, placed.transforms, placed.pairs, moved), bending=bending)
