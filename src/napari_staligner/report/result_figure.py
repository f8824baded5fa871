"""The figure of a result, without a window: its slices, coloured by a column or a gene."""

from __future__ import annotations

from dataclasses import replace
from difflib import get_close_matches
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from napari_staligner import _keys as K
from napari_staligner._errors import InputError
from napari_staligner.core.annotations.regions import microns_per_unit
from napari_staligner.core.palette import free_colors, recorded_colors, to_rgba
from napari_staligner.core.prepare.libraries import libraries_of_result
from napari_staligner.core.registration.transforms import scale_of
from napari_staligner.core.result.access import spot_size, spots_xy
from napari_staligner.io.images import image_matrix, own_image
from napari_staligner.report.figure import FigureLegend, FigurePart, slices_figure
from napari_staligner.report.pictures import COLORMAP

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from anndata import AnnData
    from numpy.typing import NDArray

IMAGE_PIXELS = 1500
"""Most pixels of the longer side of a tissue image in a figure."""
_GRAY = (0.6, 0.6, 0.6, 1.0)
_STEPS = 128


def result_figure(
    adata: AnnData,
    color: str = K.DOMAIN,
    *,
    slices: Sequence[str] | None = None,
    aligned: bool = False,
    images: bool = True,
    form: str = "png",
) -> bytes:
    """Draw the slices of a result side by side, with names, a scale bar and the legend.

    Parameters
    ----------
    adata
        Integrated slices; reads ``obs["slice"]``, ``obsm["spatial"]``, the tissue images of
        ``uns["spatial"]`` and what the colours are of. Nothing is written.
    color
        A column of ``obs``, whose colours are those of ``uns[f"{color}_colors"]`` if it has
        them; else a gene, by ``X``.
    slices
        Which slices; all by default, in their order.
    aligned
        Draw them as they lie in the common frame (``obsm["spatial_aligned"]``), without images.
    images
        Draw spots over their tissue.
    form
        ``"png"`` (300 dpi), ``"pdf"`` or ``"svg"``.

    Returns
    -------
    The file.

    Raises
    ------
    InputError
        There is no such column, gene or slice, or the slices have no place in a common frame.
    """
    names = _chosen(adata, slices)
    place = K.SPATIAL_ALIGNED if aligned else K.SPATIAL
    if place not in adata.obsm:
        raise InputError(f"There is no obsm[{place!r}]: register the slices first.")
    rgba, legend = _painted(adata, color)
    parts = []
    for name in names:
        rows = np.flatnonzero(adata.obs[K.SLICE].astype(str) == name)
        here, library = spots_xy(adata)[rows], libraries_of_result(adata, name)
        points = np.asarray(adata.obsm[place], dtype=np.float64)[rows, :2]
        known = microns_per_unit(adata[rows], library)
        microns = None if known is None else known[0] / _scale(here, points)
        part = FigurePart(name, points.copy(), rgba[rows], spot_size(points), microns)
        if images and not aligned and library:
            part = over_tissue(part, next(iter(library.values())))
        parts.append(part)
    return slices_figure(parts, legend, form)


def over_tissue(
    part: FigurePart,
    library: Mapping[str, Any],
    place: NDArray[np.float64] | None = None,
    opacity: float = 1.0,
) -> FigurePart:
    """Put the tissue image of a slice, made smaller, below its spots; as it is without one.

    Parameters
    ----------
    part
        The slice.
    library
        Its part of ``uns["spatial"]``.
    place
        Where the slice lies: from its coordinates to those of the part, shape (3, 3).
    opacity
        Of the image, 0..1.
    """
    image = own_image(library)
    if image is None:
        return part
    step = -(-max(image[0].shape[:2]) // IMAGE_PIXELS)
    shown = np.diag([step, step, 1.0])
    shown[:2, 2] = (step - 1) / 2
    matrix = image_matrix(library)
    lies = (np.eye(3) if place is None else place) @ (np.eye(3) if matrix is None else matrix)
    pixels = image[0][::step, ::step].copy()
    return replace(part, image=pixels, matrix=lies @ shown, opacity=opacity)


def _scale(before: NDArray[np.float64], after: NDArray[np.float64]) -> float:
    """Factor by which lengths grew, of places shape (spots, 2)."""
    ones = np.column_stack([before, np.ones(len(before))])
    moved = np.asarray(np.linalg.lstsq(ones, after, rcond=None)[0], dtype=np.float64)
    return scale_of(moved.T) or 1.0


def _chosen(adata: AnnData, slices: Sequence[str] | None) -> list[str]:
    if K.SLICE not in adata.obs:
        raise InputError(f"There is no obs[{K.SLICE!r}]: integrate the slices first.")
    known = [str(name) for name in adata.obs[K.SLICE].astype("category").cat.categories]
    for name in slices or []:
        if name not in known:
            raise InputError(f"There is no slice {name!r}: choose of {', '.join(known)}.")
    return known if slices is None else list(slices)


def _painted(adata: AnnData, color: str) -> tuple[NDArray[np.float64], FigureLegend]:
    """Colours of all spots, shape (spots, 4), and what they mean."""
    if color in adata.obs:
        column = adata.obs[color]
        if not pd.api.types.is_numeric_dtype(column) or pd.api.types.is_bool_dtype(column):
            return _by_category(adata, color, column.astype("category"))
        return _by_number(column.to_numpy(dtype=np.float64), color)
    if color in adata.var_names:
        values = adata[:, color].X
        dense = values.toarray() if hasattr(values, "toarray") else np.asarray(values)
        return _by_number(dense.ravel().astype(np.float64), color)
    alike = get_close_matches(color, [*map(str, adata.obs.columns), *adata.var_names], n=3)
    hint = f"did you mean {' or '.join(map(repr, alike))}?" if alike else "choose another."
    raise InputError(f"There is no column of obs and no gene {color!r}: {hint}")


def _by_category(
    adata: AnnData, color: str, column: pd.Series
) -> tuple[NDArray[np.float64], FigureLegend]:
    names = [str(name) for name in column.cat.categories]
    recorded = recorded_colors(adata, color)
    free = iter(free_colors(list(recorded.values())) * len(names))
    colors = to_rgba([recorded.get(name) or next(free) for name in names])
    rgba = np.vstack([colors, _GRAY])[column.cat.codes.to_numpy()]
    entries = tuple((name, tuple(each)) for name, each in zip(names, colors, strict=True))
    return rgba, FigureLegend(color, entries)


def _by_number(values: NDArray[np.float64], color: str) -> tuple[NDArray[np.float64], FigureLegend]:
    from matplotlib import colormaps

    known = values[np.isfinite(values)]
    low, high = (float(known.min()), float(known.max())) if len(known) else (0.0, 1.0)
    ramp = colormaps[COLORMAP]
    scaled = np.nan_to_num((values - low) / ((high - low) or 1.0))
    rgba = np.where(np.isfinite(values)[:, None], ramp(scaled), _GRAY)
    steps = ramp(np.linspace(0, 1, _STEPS))
    return rgba, FigureLegend(color, limits=(low, high), ramp=steps)
