"""Slices in a common unit, as a registration compares them."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import TYPE_CHECKING

import numpy as np

from napari_staligner.core.prepare.graph import SAME_UNIT, find_radius
from napari_staligner.core.registration.raster import components, together
from napari_staligner.core.registration.sections import Rasters, Section
from napari_staligner.core.registration.transforms import apply, shifted
from napari_staligner.core.registration.tree import spread

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from napari_staligner.core.registration.histology import Histology
    from napari_staligner.core.registration.series import Series
    from napari_staligner.core.registration.transforms import Matrix

    Pair = tuple[int, int]

COMPONENTS = 10
"""How many principal components of the embedding are compared."""
MOST = 4000
"""Most spots of a slice that are looked up in others; its smoothed embedding uses all."""


def in_common_unit(
    series: Series, pairs: Sequence[Pair]
) -> tuple[list[Matrix], list[Section], set[int]]:
    """Each slice centred and in a common unit, the transform to it, and which had another unit."""
    points = [np.asarray(p, dtype=np.float64)[:, :2] for p in series.coordinates.values()]
    ratios = _ratios(series, points, pairs)
    steps = [find_radius(p) / 1.1 for p in points]
    features = components(series.embedding, COMPONENTS)
    features /= np.sqrt(np.square(features).sum(axis=1).mean()) or 1.0
    matched = _matched(series, pairs)
    smallest = min(step / ratio for step, ratio in zip(steps, ratios, strict=True))
    bases, sections, rasters = [], [], Rasters()
    for i, rows in enumerate(series.rows.values()):
        unit = smallest * ratios[i]
        middle = points[i][together(points[i])].mean(axis=0)
        base = np.diag([1 / unit, 1 / unit, 1.0]) @ shifted(-middle)
        there = matched[i][together(points[i][matched[i]])]
        counted = np.arange(len(there))
        if series.counted is not None:
            counted = np.flatnonzero(series.counted[rows][there])
        if len(counted) > MOST:
            # Each slice has a generator: the draw must not depend on the order of the slices.
            counted = np.random.default_rng(series.seed).permutation(counted)[:MOST]
        bases.append(base)
        sections.append(
            Section(
                apply(base, points[i][there]),
                features[rows][there],
                np.sort(counted),
                steps[i] / unit,
                rasters,
                partial(_stains, series.histology.get(series.names[i]), there),
            )
        )
    other_unit = {i for i, ratio in enumerate(ratios) if ratio != 1.0}
    return bases, sections, other_unit


def _stains(histology: Histology | None, rows: NDArray[np.intp]) -> NDArray[np.float64] | None:
    found = None if histology is None else histology.stains()
    return None if found is None else found[rows]


def _matched(series: Series, pairs: Sequence[Pair]) -> list[NDArray[np.intp]]:
    """Rows within each slice of the spots that match a spot of a slice they are compared with.

    A structure that only one slice has contains few of them, if any; all spots if there is no pair.
    """
    seen = [np.zeros(len(points), dtype=bool) for points in series.coordinates.values()]
    for pair in pairs:
        for k, rows in zip(pair, series.matches(pair, whole=True), strict=True):
            seen[k][rows] = True
    return [np.flatnonzero(s) if s.any() else np.arange(len(s)) for s in seen]


def _ratios(
    series: Series, points: Sequence[NDArray[np.float64]], pairs: Sequence[Pair]
) -> list[float]:
    """Size of each slice's unit in the reference's unit, from the spread of its matches.

    Matched spots cover the same tissue in both slices, whole or in part. Ratios that are plausible
    for sections of one tissue are taken as 1.
    """
    few: dict[Pair, float] = {}
    ratio_of: dict[Pair, float] = {}
    for pair in pairs:
        matched = series.matches(pair)
        size = [
            float(np.median(np.linalg.norm(p - np.median(p, axis=0), axis=1)))
            for p in (points[k][rows] for k, rows in zip(pair, matched, strict=True))
        ]
        # If most matches are at one place of a slice, they do not show its unit.
        ratio_of[pair] = size[0] / size[1] if min(size) > 0 else 1.0
        few[pair] = -float(len(matched[0]))
    edges, _ = spread(few, series.number_of_reference, len(points))
    ratios = [1.0] * len(points)
    for i, j in edges:
        ratio = ratio_of[i, j] if (i, j) in ratio_of else 1 / ratio_of[j, i]
        ratios[i] = ratios[j] * (1.0 if 1 / SAME_UNIT <= ratio <= SAME_UNIT else ratio)
    return ratios
