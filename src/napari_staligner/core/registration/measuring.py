"""Slices moved by given transforms, and how far each spot then is from its counterparts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from napari_staligner.core.registration.residuals import counterparts
from napari_staligner.core.registration.series import Registered
from napari_staligner.core.registration.transforms import apply
from napari_staligner.threads import wanted_threads

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from napari_staligner.core.registration.series import Series
    from napari_staligner.core.registration.transforms import Matrix
    from napari_staligner.core.training.ranks import Ranks


def measure(
    series: Series,
    transforms: Mapping[str, Matrix],
    pairs: Sequence[tuple[str, str]],
    moved: Mapping[str, NDArray[np.float64]] | None = None,
    ranks: Ranks | None = None,
) -> Registered:
    """Find the residuals of given transforms.

    Parameters
    ----------
    series
        The slices.
    transforms
        Of each slice.
    pairs
        Names of the slices that are compared.
    moved
        Displacements on top of the transforms, shape (spots, 2), of the slices that have any.
    ranks
        The processes that measure together; ``None`` for this one alone.
    """
    names, plain = series.names, unmeasured(series, transforms, pairs)
    aligned = [plain.aligned[rows] for rows in series.rows.values()]
    for name, by in (moved or {}).items():
        aligned[names.index(name)] = aligned[names.index(name)] + by
    unit = series.unit
    matches = {
        pair: series.matches(pair, whole=True)
        for pair in ((names.index(a), names.index(b)) for a, b in pairs)
    }
    threads = wanted_threads(series.ranks.here)
    found = counterparts(aligned, series.embedding, matches, unit, threads, ranks)
    shift = np.concatenate(found)
    return replace(
        plain,
        aligned=np.concatenate(aligned),
        shift=shift * unit,
        residual=np.linalg.norm(shift, axis=1),
    )


def unmeasured(
    series: Series, transforms: Mapping[str, Matrix], pairs: Sequence[tuple[str, str]]
) -> Registered:
    """Slices moved by transforms, with unknown residuals."""
    aligned = [apply(transforms[n], np.asarray(p)[:, :2]) for n, p in series.coordinates.items()]
    spots = len(series.embedding)
    return Registered(
        {name: np.array(transforms[name], dtype=np.float64) for name in series.coordinates},
        np.concatenate(aligned),
        np.full((spots, 2), np.nan),
        np.full(spots, np.nan),
        tuple(pairs),
    )
