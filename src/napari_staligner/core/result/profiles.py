"""Profiles: values of the spots of each slice against their distance on an axis."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from napari_staligner import _keys as K
from napari_staligner._errors import InputError
from napari_staligner.core.annotations.regions import microns_per_unit
from napari_staligner.core.blocks import blocks_of
from napari_staligner.core.json_text import json_of
from napari_staligner.core.prepare.graph import find_radius, spacing
from napari_staligner.core.prepare.libraries import libraries_of_result
from napari_staligner.core.progress import Progress, Steps, finish
from napari_staligner.core.registration.choice import Choice
from napari_staligner.core.result.access import record_of, spots_xy, writable_record
from napari_staligner.core.result.axis import Axis, borders_of, check_axis, distances, rims
from napari_staligner.core.result.quantities import Quantity, parse_quantity, values_of_quantity

if TYPE_CHECKING:
    import pandas as pd
    from anndata import AnnData
    from numpy.typing import NDArray

    from napari_staligner.core.result.quantities import Values

    Numbers = NDArray[np.float64]

STEPS_PER_SPACING, MOST_STEPS = 4, 400
"""Places of a curve: so many in a spacing, so many at most."""
FEWEST = 5
"""A curve is drawn where this many spots lie within the smoothing."""
LEAST = 0.2
"""A draw counts where it has at least this share of the spots."""
DRAWS, INSIDE = 200, 95.0
"""Times that blocks of tissue are drawn for a band, and how much of the draws, in %, it holds."""


@dataclass(frozen=True)
class ProfileJob:
    """All that profiles need, copied.

    Parameters
    ----------
    axis
        Where the spots lie.
    slices
        Names of the slices.
    points
        Places of the spots of each slice in the common frame, float64, shape (spots, 2).
    inside
        Which spots of each slice are in the region of the axis, bool, shape (spots,).
    values
        Values of the spots of each slice, float32, shape (spots, names).
    names
        What the columns of the values are.
    of
        The quantity.
    unit
        What the values are.
    spacing
        A spacing of the reference slice, in the frame.
    microns
        µm per spacing; ``None`` if that is not known.
    smoothing
        Standard deviation of the Gauss curve that averages along the axis, in spacings.
    """

    axis: Axis
    slices: tuple[str, ...]
    points: tuple[Numbers, ...]
    inside: tuple[NDArray[np.bool_], ...]
    values: tuple[NDArray[np.float32], ...]
    names: tuple[str, ...]
    of: Quantity
    unit: str
    spacing: float
    microns: float | None
    smoothing: float

    def steps(self) -> Steps[Profiles]:
        """Average along the axis; see :func:`profile_steps`."""
        return profile_steps(self)


@dataclass(frozen=True)
class Curve:
    """Mean of some values of one slice along the axis.

    Parameters
    ----------
    mean, low, high
        Shape (places,): mean, and the ends of its band; NaN where there are too few spots.
    peak, peak_low, peak_high
        Where the mean is highest, and the ends of 95 % of the draws; in spacings, NaN if unknown.
    at_end
        Whether the peak is at an end of the curve: then the true one may lie beyond it.
    """

    mean: Numbers
    low: Numbers
    high: Numbers
    peak: float
    peak_low: float
    peak_high: float
    at_end: bool


@dataclass(frozen=True)
class Profiles:
    """Curves of all slices over one axis.

    Parameters
    ----------
    axis, of, unit, microns, smoothing
        As in :class:`ProfileJob`.
    places
        Where the curves are known, in spacings, shape (places,).
    curves
        ``{name of a value: {slice: curve}}``.
    spots
        How many spots of each slice lie on the axis.
    outlines
        For each slice the corners (x, y) of the lines that are measured from, in the frame.
    """

    axis: Axis
    of: Quantity
    unit: str
    microns: float | None
    smoothing: float
    places: Numbers
    curves: Mapping[str, Mapping[str, Curve]]
    spots: Mapping[str, int]
    outlines: Mapping[str, Sequence[Numbers]] = field(default_factory=dict)

    @property
    def scale(self) -> tuple[float, str]:
        """How much a spacing is in the unit of people, and its name: µm if known, else spots."""
        return (1.0, "spots") if self.microns is None else (self.microns, "µm")

    def spread(self, name: str) -> float:
        """How far the peaks of the slices are apart at most, in spacings; NaN for fewer than 2."""
        peaks = np.array([curve.peak for curve in self.curves[name].values()])
        peaks = peaks[np.isfinite(peaks)]
        return float(np.ptp(peaks)) if len(peaks) > 1 else np.nan

    def to_frame(self) -> pd.DataFrame:
        """One row per value, slice and place: ``distance_spots``, ``mean``, ``low``, ``high``."""
        import pandas as pd

        parts = []
        for name, slices in self.curves.items():
            for slice_name, curve in slices.items():
                part = {"value": name, "slice": slice_name, "distance_spots": self.places}
                if self.microns is not None:
                    part["distance_um"] = self.places * self.microns
                part |= {"mean": curve.mean, "low": curve.low, "high": curve.high}
                parts.append(pd.DataFrame(part))
        return pd.concat(parts, ignore_index=True).dropna(subset=["mean"])

    def peaks_frame(self) -> pd.DataFrame:
        """One row per value and slice: where the curve is highest, in spots and µm if known."""
        import pandas as pd

        rows = []
        for name, slices in self.curves.items():
            for slice_name, curve in slices.items():
                where = {"": curve.peak, "_low": curve.peak_low, "_high": curve.peak_high}
                row: dict[str, object] = {"value": name, "slice": slice_name}
                row |= {f"peak{end}_spots": at for end, at in where.items()}
                if self.microns is not None:
                    row |= {f"peak{end}_um": at * self.microns for end, at in where.items()}
                rows.append(row | {"at_end": curve.at_end})
        return pd.DataFrame(rows)


def profiles(
    adata: AnnData, axis: Axis, of: str | Quantity = K.DOMAIN, *, smoothing: float | None = None
) -> Profiles:
    """Average a quantity of each slice along an axis across the aligned slices.

    Parameters
    ----------
    adata
        Integrated slices; reads ``obsm["spatial_aligned"]`` and what ``of`` names.
    axis
        The axis.
    of
        A column of ``obs``, ``gene:NAME`` or ``attention:self``.
    smoothing
        See :class:`ProfileJob`; ``None`` takes the distance to the neighbours.

    Raises
    ------
    InputError
        Something that is named does not exist, or no spot lies on the axis.
    """
    quantity = parse_quantity(of) if isinstance(of, str) else of
    return finish(profile_job(adata, axis, quantity, smoothing=smoothing).steps())


def profile_job(
    adata: AnnData, axis: Axis, of: Quantity, *, smoothing: float | None = None
) -> ProfileJob:
    """Copy what profiles need; see :func:`profiles`."""
    if K.SPATIAL_ALIGNED not in adata.obsm:
        raise InputError(
            "The slices are not registered, so no line crosses all of them: register them first."
        )
    check_axis(axis, adata)
    values: Values = values_of_quantity(adata, of)
    frame = np.array(adata.obsm[K.SPATIAL_ALIGNED], dtype=np.float64)
    codes = adata.obs[K.SLICE].cat.codes.to_numpy()
    names = tuple(map(str, adata.obs[K.SLICE].cat.categories))
    rows = [np.flatnonzero(codes == code) for code in range(len(names))]
    here = np.ones(adata.n_obs, dtype=bool)
    if axis.kind == "rim":
        here = (adata.obs[axis.column].astype(str) == axis.region).to_numpy()
    reference = _reference(adata, names)
    own = rows[names.index(reference)]
    unit = spacing(frame[own])
    wide = max(1.0, find_radius(frame[own]) / 1.1 / unit)
    return ProfileJob(
        axis,
        names,
        tuple(frame[r] for r in rows),
        tuple(here[r] for r in rows),
        tuple(values.numbers[r] for r in rows),
        values.names,
        of,
        values.unit,
        unit,
        _microns(adata, reference, own, unit),
        wide if smoothing is None else smoothing,
    )


def _reference(adata: AnnData, names: Sequence[str]) -> str:
    chosen = Choice.read(record_of(adata).get("registration", {})).reference
    return chosen if chosen is not None and chosen in names else names[0]


def _microns(adata: AnnData, name: str, rows: NDArray[np.intp], unit: float) -> float | None:
    """µm in a spacing, if the reference slice tells; its units are those of the frame."""
    from anndata import AnnData as Table

    part = Table(obs=adata.obs.iloc[rows], obsm={K.SPATIAL: spots_xy(adata)[rows]})
    found = microns_per_unit(part, libraries_of_result(adata, name))
    return None if found is None else found[0] * unit


def profile_steps(job: ProfileJob) -> Steps[Profiles]:
    """Average the values of each slice along the axis, with bands and peaks.

    The mean at a place is that of the spots around it, weighted by a Gauss curve of their
    distance. Neighbours are alike, so a band is found by drawing blocks of tissue, not spots,
    with replacement: between its ends are 95 % of the draws.

    Raises
    ------
    InputError
        No spot lies on the axis.
    """
    total = len(job.slices) + 1
    yield Progress("axis", 0, total)
    found = rims(job.axis, job.points, job.inside, job.spacing)
    if job.axis.of:
        found = [found[job.slices.index(job.axis.of)]] * len(found)
    far = [
        np.full(len(xy), np.nan) if rim is None else distances(job.axis, rim, xy, job.spacing)
        for rim, xy in zip(found, job.points, strict=True)
    ]
    places = _places(far)
    curves: dict[str, dict[str, Curve]] = {name: {} for name in job.names}
    for number, name in enumerate(job.slices):
        yield Progress("profiles", number + 1, total)
        blocks = blocks_of(job.points[number])
        for column, value in enumerate(job.names):
            numbers = job.values[number][:, column].astype(np.float64)
            curves[value][name] = _curve(far[number], numbers, blocks, places, job.smoothing)
    on_axis = {n: int(np.isfinite(f).sum()) for n, f in zip(job.slices, far, strict=True)}
    lines = {
        n: [] if rim is None else borders_of(rim) for n, rim in zip(job.slices, found, strict=True)
    }
    return Profiles(
        job.axis, job.of, job.unit, job.microns, job.smoothing, places, curves, on_axis, lines
    )


def _places(far: Sequence[Numbers]) -> Numbers:
    """Evenly spaced places that cover all distances."""
    known = np.concatenate([f[np.isfinite(f)] for f in far])
    if len(known) == 0:
        raise InputError("No spot lies on this axis: draw it across the tissue.")
    low, high = known.min(), max(known.max(), known.min() + 1 / STEPS_PER_SPACING)
    n = int(np.clip(np.ceil((high - low) * STEPS_PER_SPACING), 1, MOST_STEPS)) + 1
    return np.linspace(low, high, n)


def _curve(
    far: Numbers, numbers: Numbers, blocks: NDArray[np.int64], places: Numbers, smoothing: float
) -> Curve:
    from scipy.ndimage import gaussian_filter1d, uniform_filter1d

    step, n = places[1] - places[0], len(places)
    used = np.isfinite(far) & np.isfinite(numbers)
    at = np.rint((far[used] - places[0]) / step).astype(np.intp)
    block = np.unique(blocks[used], return_inverse=True)[1].ravel()
    shape = (int(block.max(initial=0)) + 1, n)
    flat = block * n + at
    counts, sums = (
        np.bincount(flat, weights=w, minlength=shape[0] * n).reshape(shape)
        for w in (np.ones(len(at)), numbers[used])
    )
    wide = max(smoothing / step, 1e-3)
    near = uniform_filter1d(counts.sum(axis=0), min(2 * int(wide) + 1, n), mode="constant")
    known = near * min(2 * int(wide) + 1, n) >= FEWEST - 1e-6
    if not known.any():
        nothing = np.full(n, np.nan)
        return Curve(nothing, nothing, nothing, np.nan, np.nan, np.nan, at_end=False)
    counts, sums = (gaussian_filter1d(x, wide, axis=1, mode="constant") for x in (counts, sums))
    mean = np.where(known, sums.sum(axis=0) / np.maximum(counts.sum(axis=0), 1e-12), np.nan)
    drawn = np.random.default_rng(0).multinomial(shape[0], np.full(shape[0], 1 / shape[0]), DRAWS)
    weight = drawn @ counts
    enough = known & (weight > LEAST * counts.sum(axis=0))
    draws = np.where(enough, drawn @ sums / np.maximum(weight, 1e-12), np.nan)
    ends = ((100 - INSIDE) / 2, (100 + INSIDE) / 2)
    low, high = np.full(n, np.nan), np.full(n, np.nan)
    low[known], high[known] = np.nanpercentile(draws[:, known], ends, axis=0)
    peaks = places[np.nanargmax(np.where(np.isnan(draws), -np.inf, draws), axis=1)]
    first, last = map(float, np.percentile(peaks, ends))
    top = int(np.nanargmax(mean))
    at_end = top in (int(np.flatnonzero(known)[0]), int(np.flatnonzero(known)[-1]))
    return Curve(mean, low, high, _summit(places, mean, top), first, last, at_end)


def _summit(places: Numbers, mean: Numbers, top: int) -> float:
    """Highest point of the parabola through a maximum and its neighbours."""
    if not 0 < top < len(mean) - 1:
        return float(places[top])
    before, here, after = mean[top - 1 : top + 2]
    bend = before - 2 * here + after
    if not np.isfinite(bend) or bend >= 0:
        return float(places[top])
    return float(places[top] + 0.5 * (before - after) / bend * (places[1] - places[0]))


# -- what a result keeps ---------------------------------------------------------------------


def write_profiles(adata: AnnData, kept: Sequence[tuple[Axis, Quantity]]) -> None:
    """Set ``uns["staligner"]["profiles"]``, which the report shows; without any, it is removed."""
    record = writable_record(adata)
    if kept:
        record[K.PROFILES] = json.dumps([[axis.to_json(), of.text] for axis, of in kept])
    else:
        record.pop(K.PROFILES, None)


def read_profiles(adata: AnnData) -> tuple[tuple[Axis, Quantity], ...]:
    """Return what :func:`write_profiles` kept; those of another version are left out."""
    try:
        kept = json_of(str(record_of(adata).get(K.PROFILES, "[]")))
        found = [(Axis.from_json(axis), parse_quantity(of)) for axis, of in kept]
    except (ValueError, TypeError, InputError):
        return ()
    return tuple((axis, of) for axis, of in found if axis is not None)
