"""Registration of slices, step by step: pairs, then a tree of them, then all together."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import combinations, pairwise
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from scipy import sparse

from napari_staligner._errors import InputError
from napari_staligner.core.attempt import BENDING, RESIDUALS, attempt
from napari_staligner.core.prepare.graph import SAME_UNIT, find_radius, spacing
from napari_staligner.core.progress import Progress, Steps
from napari_staligner.core.registration.ambiguity import Way, better, decide, turned_back
from napari_staligner.core.registration.choice import Model
from napari_staligner.core.registration.comparing import best_smoothing, covered, gain
from napari_staligner.core.registration.handedness import Lean, series_hands
from napari_staligner.core.registration.optimize import refine
from napari_staligner.core.registration.raster import components, together
from napari_staligner.core.registration.residuals import counterparts
from napari_staligner.core.registration.sections import Rasters, Section
from napari_staligner.core.registration.sent import received, sent
from napari_staligner.core.registration.starts import LEAST_OVERLAP, PIXELS, distinct, starts
from napari_staligner.core.registration.transforms import apply, inverse, shifted
from napari_staligner.core.registration.trust import SURE, PairTrust, apart
from napari_staligner.core.registration.warp import warp
from napari_staligner.core.training.ranks import Arrays, Ranks, each

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from napari_staligner.core.registration.transforms import Matrix

    Pair = tuple[int, int]

FEWEST_MATCHES = 8
TRIED = 4
"""Number of starts of a pair that are refined."""
MIDDLE = 4.0
"""Smoothing, in spacings, at which the orientation of a pair is decided."""
FINEST = 1.0
"""The same for what a pair says of its handedness to the others: the noise of single spots is in
both ways that are compared, and falls out."""
LEAST = 2.0
"""Least smoothing of the last stage, in spacings; below it, the noise of single spots decides."""
CLEAR = 2.0
"""Smoothing of the last stage, in those at which the pair differs least: there, what they share and
what each has for itself weigh the same; what is coarser is mostly shared."""
WHOLE = 0.85
"""Share of each of two sections that lies on the other where they show the same piece of tissue."""
COMPONENTS = 10
"""How many principal components of the embedding are compared."""
MOST = 4000
"""Most spots of a slice that are looked up in others; its smoothed embedding uses all."""


class _Fit(NamedTuple):
    """A pair of slices, one registered to the other.

    How much it differs, how it lies, the last smoothing, and whether its outlines tell nothing.
    """

    cost: float
    way: Way
    finest: float
    cut: bool


@dataclass(frozen=True)
class RegistrationJob:
    """Everything that a registration needs, copied.

    Parameters
    ----------
    coordinates
        For each slice, shape (spots, 2), in the order of the rows of the embedding.
    embedding
        Shape (spots, d).
    mutual
        Shape (spots, spots), CSR: mutual nearest neighbours across slices.
    pairs
        Names of the slices that are compared; all pairs if ``None``.
    model
        What the transforms may do.
    reference
        The slice that stays; the first if ``None``.
    counted
        Shape (spots,), bool: spots that are compared, those of landmark domains; all if ``None``.
    nonrigid
        Whether a smooth displacement follows.
    seed
        Seed for drawing spots if there are many.
    ranks
        The processes that share the pairs of slices.
    """

    coordinates: Mapping[str, NDArray[np.floating[Any]]]
    embedding: NDArray[np.floating[Any]]
    mutual: sparse.csr_matrix
    pairs: tuple[tuple[str, str], ...] | None = None
    model: Model = Model.RIGID
    reference: str | None = None
    counted: NDArray[np.bool_] | None = None
    nonrigid: bool = False
    seed: int = 0
    ranks: Ranks = field(default_factory=Ranks)

    @property
    def rows(self) -> dict[str, slice]:
        """Rows of the embedding of each slice."""
        ends = np.cumsum([0, *(len(points) for points in self.coordinates.values())])
        return {n: slice(a, b) for n, (a, b) in zip(self.coordinates, pairwise(ends), strict=True)}

    def steps(self) -> Steps[Registered]:
        """Register the slices; see :func:`register_steps`."""
        return register_steps(self)


@dataclass(frozen=True)
class Registered:
    """Slices in a common frame.

    Parameters
    ----------
    transforms
        For each slice: shape (3, 3), float64, takes (x, y, 1) as a column to the reference's frame.
    aligned
        Shape (spots, 2), float64, in the units of the reference.
    shift
        Shape (spots, 2), float64, in the units of the reference: from each spot to its
        counterpart in the slices it was compared with; NaN where they have no tissue.
    residual
        Shape (spots,), float64: length of the shift in spacings of the reference.
    pairs
        Names of the slices that were compared.
    bending
        Bending energy of the smooth last step, by slice; see
        :class:`~napari_staligner.core.registration.warp.Warp`.
    trust
        How far each of ``pairs`` is to be trusted; empty if slices were placed otherwise.
    """

    transforms: dict[str, Matrix]
    aligned: NDArray[np.float64]
    shift: NDArray[np.float64]
    residual: NDArray[np.float64]
    pairs: tuple[tuple[str, str], ...]
    bending: dict[str, float] = field(default_factory=dict)
    trust: tuple[PairTrust, ...] = ()


class Paired(NamedTuple):
    """Slices of which every known pair is registered, before all are placed together."""

    names: list[str]
    reference: int
    known: list[Pair]
    bases: list[Matrix]
    sections: list[Section]
    other_unit: set[int]
    models: dict[Pair, Model]
    found: dict[Pair, _Fit]


def pairwise_steps(job: RegistrationJob) -> Steps[Paired]:
    """Register each pair of slices, one per step; of several ranks, each registers some.

    Raises
    ------
    InputError
        See :func:`register_steps`.
    """
    names = list(job.coordinates)
    reference = _index(names, job.reference)
    wanted = _pairs(names, job)
    known = [pair for pair in wanted if _matches(job, names, pair)[0].size >= FEWEST_MATCHES]
    if job.counted is not None and not known:
        raise InputError(
            "The landmark domains hold too few matches between the slices: choose others, or none."
        )
    bases, sections, other_unit = _sections(job, known, reference)
    models = {pair: Model.SIMILARITY if {*pair} & other_unit else Model.RIGID for pair in known}

    def registered(pair: Pair) -> Arrays:
        i, j = pair
        lying = None if {*pair} & other_unit else bases[j] @ inverse(bases[i])
        # Where landmarks end tells nothing of the sections.
        cut = job.counted is not None
        fit = _register_pair(sections[i], sections[j], models[pair], lying, cut=cut)
        return sent(fit.way) | {"fit": np.array([fit.cost, fit.finest, fit.cut])}

    def said(number: int) -> Progress:
        i, j = known[number]
        return Progress(f"register {names[i]} to {names[j]}", number, len(known) + 2)

    given = yield from each(known, registered, said, job.ranks)
    found = {}
    for pair, arrays in zip(known, given, strict=True):
        cost, finest, is_cut = arrays["fit"]
        found[pair] = _Fit(float(cost), received(arrays), float(finest), bool(is_cut))
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
    names, reference, known, bases, sections, other_unit, models, found = yield from pairwise_steps(
        job
    )
    total = len(known) + 2
    step_models = {
        i: Model.SIMILARITY if i in other_unit else Model.RIGID for i in range(len(names))
    }
    yield Progress("register all together", len(known), total)
    found = _settled(found, sections, models)
    # A pair that may lie another way is settled by others, if these are sure.
    costs = {pair: (bool(fit.way.other), fit.cost) for pair, fit in found.items()}
    edges, lost = _spread(costs, reference, len(names))
    for i, j in edges:
        fit = found[i, j] if (i, j) in found else found[j, i]
        if fit.way.other:
            a, b = sorted((i, j))
            note = (
                f"Slices {names[a]!r} and {names[b]!r} agree about as well with one of them "
                f"{fit.way.other} (p = {fit.way.p:.2f}): look at them in the stack, and correct by "
                "hand if they lie wrong."
            )
            yield Progress("register", len(known), total, note=note)
    frame = _compose(edges, found, reference)
    if job.model is not Model.RIGID:
        step_models = dict.fromkeys(step_models, job.model)
    used = [pair for pair in known if pair[0] in frame and pair[1] in frame]
    if len(used) > 1 or (used and job.model is not Model.RIGID):
        moving = {i: sections[i] for i in frame}
        finest = float(np.median([found[pair].finest for pair in used]))
        cuts = [pair for pair in used if found[pair].cut]
        frame, _ = refine(moving, used, frame, reference, step_models, (2 * finest, finest), cuts)
    if job.model is Model.RIGID and not other_unit and used:
        lying_all = {i: bases[reference] @ inverse(bases[i]) for i in frame}
        finest = float(np.median([found[pair].finest for pair in used]))
        if not better(sections, used, frame, lying_all, finest):
            frame = lying_all
    home = inverse(bases[reference])
    transforms = [home @ frame.get(i, np.eye(3)) @ bases[i] for i in range(len(names))]
    transforms[reference] = np.eye(3)
    for i in lost:
        note = (
            f"Slice {names[i]!r} has too few matches to the other slices to be registered; "
            f"it is centred on {names[reference]!r}."
        )
        yield Progress("register", len(known), total, note=note)
    pairs = tuple((names[i], names[j]) for i, j in used)
    trust = tuple(_trust(found[pair], pair, sections, frame) for pair in used)
    placed = replace(
        _unmeasured(job, dict(zip(names, transforms, strict=True)), pairs), trust=trust
    )
    measured = yield from attempt(ResidualJob(job, placed, {}).steps, RESIDUALS)
    if measured is None:
        return placed
    measured = replace(measured, trust=trust)
    if not job.nonrigid:
        return measured
    warped = yield from attempt(lambda: _warped(job, measured, names[reference]), BENDING)
    return measured if warped is None else replace(warped, trust=trust)


def _trust(
    fit: _Fit, pair: Pair, sections: Sequence[Section], frame: Mapping[int, Matrix]
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
        return measure(self.slices, self.known.transforms, self.known.pairs, self.moved)


def measure(
    job: RegistrationJob,
    transforms: Mapping[str, Matrix],
    pairs: Sequence[tuple[str, str]],
    moved: Mapping[str, NDArray[np.float64]] | None = None,
) -> Registered:
    """Find the residuals of given transforms.

    Parameters
    ----------
    job
        The slices.
    transforms
        Of each slice.
    pairs
        Names of the slices that are compared.
    moved
        Displacements on top of the transforms, shape (spots, 2), of the slices that have any.
    """
    names, plain = list(job.coordinates), _unmeasured(job, transforms, pairs)
    aligned = [plain.aligned[rows] for rows in job.rows.values()]
    for name, by in (moved or {}).items():
        aligned[names.index(name)] = aligned[names.index(name)] + by
    unit = _frame_unit(job)
    whole = replace(job, counted=None)
    matches = {
        pair: _matches(whole, names, pair)
        for pair in ((names.index(a), names.index(b)) for a, b in pairs)
    }
    shift = np.concatenate(counterparts(aligned, job.embedding, matches, unit))
    return replace(
        plain,
        aligned=np.concatenate(aligned),
        shift=shift * unit,
        residual=np.linalg.norm(shift, axis=1),
    )


def _unmeasured(
    job: RegistrationJob, transforms: Mapping[str, Matrix], pairs: Sequence[tuple[str, str]]
) -> Registered:
    """Slices moved by transforms, with unknown residuals."""
    aligned = [apply(transforms[n], np.asarray(p)[:, :2]) for n, p in job.coordinates.items()]
    spots = len(job.embedding)
    return Registered(
        {name: np.array(transforms[name], dtype=np.float64) for name in job.coordinates},
        np.concatenate(aligned),
        np.full((spots, 2), np.nan),
        np.full(spots, np.nan),
        tuple(pairs),
    )


def _frame_unit(job: RegistrationJob) -> float:
    """Spacing of the reference; the frame has the reference's units."""
    return spacing(
        next(iter(job.coordinates.values()))
        if job.reference is None
        else job.coordinates[job.reference]
    )


def _index(names: Sequence[str], reference: str | None) -> int:
    if reference is None:
        return 0
    if reference not in names:
        raise InputError(
            f"There is no slice {reference!r} to register to: "
            f"choose one of {', '.join(map(repr, names))}."
        )
    return names.index(reference)


def _pairs(names: Sequence[str], job: RegistrationJob) -> list[Pair]:
    if job.pairs is None:
        return list(combinations(range(len(names)), 2))
    strange = next((n for pair in job.pairs for n in pair if n not in names), None)
    if strange is not None:
        raise InputError(f"There is no slice {strange!r}, which a pair to be registered names.")
    return [(names.index(a), names.index(b)) for a, b in job.pairs]


def _matches(
    job: RegistrationJob, names: Sequence[str], pair: Pair
) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """Rows within each slice of the mutual nearest neighbours of a pair."""
    a, b = (job.rows[names[k]] for k in pair)
    block = sparse.coo_matrix(job.mutual[a, b])
    first, second = np.asarray(block.row, np.intp), np.asarray(block.col, np.intp)
    if job.counted is not None:
        both = job.counted[a][first] & job.counted[b][second]
        first, second = first[both], second[both]
    return first, second


def _sections(
    job: RegistrationJob, pairs: Sequence[Pair], reference: int
) -> tuple[list[Matrix], list[Section], set[int]]:
    """Each slice centred and in a common unit, the transform to it, and which had another unit."""
    names = list(job.coordinates)
    points = [np.asarray(p, dtype=np.float64)[:, :2] for p in job.coordinates.values()]
    ratios = _ratios(job, names, points, pairs, reference)
    steps = [find_radius(p) / 1.1 for p in points]
    features = components(job.embedding, COMPONENTS)
    features /= np.sqrt(np.square(features).sum(axis=1).mean()) or 1.0
    matched = _matched(job, names, pairs)
    smallest = min(step / ratio for step, ratio in zip(steps, ratios, strict=True))
    bases, sections, rasters = [], [], Rasters()
    for i, rows in enumerate(job.rows.values()):
        unit = smallest * ratios[i]
        middle = points[i][together(points[i])].mean(axis=0)
        base = np.diag([1 / unit, 1 / unit, 1.0]) @ shifted(-middle)
        there = matched[i][together(points[i][matched[i]])]
        counted = np.arange(len(there))
        if job.counted is not None:
            counted = np.flatnonzero(job.counted[rows][there])
        if len(counted) > MOST:
            # Each slice has a generator: the draw must not depend on the order of the slices.
            counted = np.random.default_rng(job.seed).permutation(counted)[:MOST]
        bases.append(base)
        sections.append(
            Section(
                apply(base, points[i][there]),
                features[rows][there],
                np.sort(counted),
                steps[i] / unit,
                rasters,
            )
        )
    other_unit = {i for i, ratio in enumerate(ratios) if ratio != 1.0}
    return bases, sections, other_unit


def _matched(
    job: RegistrationJob, names: Sequence[str], pairs: Sequence[Pair]
) -> list[NDArray[np.intp]]:
    """Rows within each slice of the spots that match a spot of a slice they are compared with.

    A structure that only one slice has contains few of them, if any; all spots if there is no pair.
    """
    whole = replace(job, counted=None)
    seen = [np.zeros(len(points), dtype=bool) for points in job.coordinates.values()]
    for pair in pairs:
        for k, rows in zip(pair, _matches(whole, names, pair), strict=True):
            seen[k][rows] = True
    return [np.flatnonzero(s) if s.any() else np.arange(len(s)) for s in seen]


def _ratios(
    job: RegistrationJob,
    names: Sequence[str],
    points: Sequence[NDArray[np.float64]],
    pairs: Sequence[Pair],
    reference: int,
) -> list[float]:
    """Size of each slice's unit in the reference's unit, from the spread of its matches.

    Matched spots cover the same tissue in both slices, whole or in part. Ratios that are plausible
    for sections of one tissue are taken as 1.
    """
    few: dict[Pair, float] = {}
    ratio_of: dict[Pair, float] = {}
    for pair in pairs:
        matched = _matches(job, names, pair)
        size = [
            float(np.median(np.linalg.norm(p - np.median(p, axis=0), axis=1)))
            for p in (points[k][rows] for k, rows in zip(pair, matched, strict=True))
        ]
        # If most matches are at one place of a slice, they do not show its unit.
        ratio_of[pair] = size[0] / size[1] if min(size) > 0 else 1.0
        few[pair] = -float(len(matched[0]))
    edges, _ = _spread(few, reference, len(names))
    ratios = [1.0] * len(names)
    for i, j in edges:
        ratio = ratio_of[i, j] if (i, j) in ratio_of else 1 / ratio_of[j, i]
        ratios[i] = ratios[j] * (1.0 if 1 / SAME_UNIT <= ratio <= SAME_UNIT else ratio)
    return ratios


def _register_pair(
    first: Section,
    second: Section,
    model: Model,
    lying: Matrix | None = None,
    *,
    cut: bool = False,
) -> _Fit:
    """The way from the first section to the second: the best of several starts.

    One of them is how the two lie, where they have one unit. Outlines count unless the sections
    are ``cut``, or turn out to show parts of each other.
    """
    if _order(first) > _order(second):
        # The same way whichever comes first, so that the two transforms are inverse.
        fit = _register_pair(
            second, first, model, None if lying is None else inverse(lying), cut=cut
        )
        return fit._replace(way=turned_back(fit.way))
    sections, pair, models = {0: first, 1: second}, (0, 1), {0: model}
    largest = max(np.ptp(s.points, axis=0).max() for s in (first, second))
    coarse = max(2 * MIDDLE, float(largest) / PIXELS)

    def laid(matrix: Matrix) -> dict[int, Matrix]:
        return {0: matrix, 1: np.eye(3)}

    def refined(matrix: Matrix, sigmas: Sequence[float]) -> tuple[Matrix, float]:
        cuts = [pair] if cut else []
        found, costs = refine(sections, [pair], laid(matrix), 1, models, sigmas, cuts)
        return found[0], costs[pair]

    def gained(matrix: Matrix) -> float:
        return gain(sections, pair, laid(matrix), coarse)

    found = starts(first.moving, (second.points, second.features), TRIED)
    if lying is not None and covered(sections, pair, laid(lying), coarse) >= LEAST_OVERLAP:
        found.append(lying)
    rough = sorted((refined(m, (coarse,))[0] for m in found), key=gained, reverse=True)
    close = [refined(m, _halved(coarse, MIDDLE))[0] for m in distinct(rough)[:2]]
    clearest = best_smoothing(sections, pair, laid(close[0]))
    way = decide(sections, close, MIDDLE, FINEST)
    return _finished(first, second, model, _Fit(0.0, way, max(LEAST, CLEAR * clearest), cut))


def _finished(first: Section, second: Section, model: Model, fit: _Fit) -> _Fit:
    """Refine the way of a pair down to its last smoothing, and see whether outlines tell."""
    sections, pair, cut = {0: first, 1: second}, (0, 1), fit.cut

    def refined(matrix: Matrix, sigmas: Sequence[float]) -> tuple[Matrix, float]:
        laid, cuts = {0: matrix, 1: np.eye(3)}, [pair] if cut else []
        found, costs = refine(sections, [pair], laid, 1, {0: model}, sigmas, cuts)
        return found[0], costs[pair]

    last = _halved(MIDDLE, fit.finest)
    matrix, cost = refined(fit.way.matrix, last)
    if not cut and covered(sections, pair, {0: matrix, 1: np.eye(3)}, fit.finest) < WHOLE:
        cut = True
        matrix, cost = refined(matrix, (MIDDLE, *last))
    return fit._replace(cost=cost, way=replace(fit.way, matrix=matrix), cut=cut)


def _settled(
    found: Mapping[Pair, _Fit], sections: Sequence[Section], models: Mapping[Pair, Model]
) -> dict[Pair, _Fit]:
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
            settled[pair] = _finished(
                sections[i], sections[j], models[pair], fit._replace(way=flipped)
            )
    return settled


def _halved(start: float, end: float) -> list[float]:
    """Smoothings below the start, each half of the one before, with the end as the last."""
    halvings = max(1, int(np.ceil(np.log2(start / end))))
    return [max(end, start / 2**k) for k in range(1, halvings + 1)]


def _order(section: Section) -> tuple[float, ...]:
    return len(section.points), *section.features.mean(axis=0).round(6)


def _spread(costs: Mapping[Pair, Any], reference: int, n: int) -> tuple[list[Pair], list[int]]:
    """Tree of the cheapest pairs from the reference (Prim), as (new, known), and who is left."""
    known: set[int] = {reference}
    edges: list[Pair] = []
    while True:
        options = [
            (cost, i, j)
            for (p, q), cost in costs.items()
            for i, j in ((p, q), (q, p))
            if i not in known and j in known
        ]
        if not options:
            return edges, sorted(set(range(n)) - known)
        _, i, j = min(options)
        known.add(i)
        edges.append((i, j))


def _compose(
    edges: Sequence[Pair], found: Mapping[Pair, _Fit], reference: int
) -> dict[int, Matrix]:
    frame = {reference: np.eye(3)}
    for i, j in edges:
        there = found[i, j].way.matrix if (i, j) in found else inverse(found[j, i].way.matrix)
        frame[i] = frame[j] @ there
    return frame


def _warped(job: RegistrationJob, placed: Registered, reference: str) -> Steps[Registered]:
    """Displace each slice except the reference smoothly towards its counterparts."""
    unit, moved, bending = _frame_unit(job), {}, {}
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
