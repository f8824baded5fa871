"""A figure of slices for a paper: spots in their colours, names, a scale bar, and the legend."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from io import BytesIO
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_staligner.core.progress import Progress, Steps
from napari_staligner.report.methods_picture import FORMATS

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from numpy.typing import NDArray

DPI = 300
TILE, LEGEND, WIDEST = 2.0, 1.3, 8.0
"""Inches: side of a slice, width of the legend, and of the whole at most."""
GAP = 0.06
"""Inches between slices."""
ALIKE = 1.02
"""Scales that differ by less have one bar."""
_SIZE = 7
"""Of text, in points."""
_BAR = 0.3
"""Largest share of a slice's width that the scale bar takes."""
_DARK = 90
"""Median of the pixels of a dark image, of 255."""
_MOST_ROWS = 28
"""Entries in a column of the legend."""
_AS_VECTORS = 20_000
"""With more spots than this, they are pixels in an SVG or PDF; text and bars stay vectors."""


@dataclass(frozen=True)
class FigurePart:
    """One slice of a figure.

    Parameters
    ----------
    name
        Its name.
    points
        Places (x, y) of its spots, shape (spots, 2); y points down.
    rgba
        Their colours, shape (spots, 4).
    size
        Diameter of a spot, in the units of the places.
    microns
        µm per unit; ``None`` if that is not known.
    image
        Its tissue, uint8, shape (height, width, 3 or 4); ``None`` for none.
    matrix
        Place of the image, shape (3, 3): from (column, row, 1) of its pixels to the places.
    opacity
        Of the image, 0..1.
    """

    name: str
    points: NDArray[np.float64]
    rgba: NDArray[np.floating[Any]]
    size: float
    microns: float | None = None
    image: NDArray[Any] | None = None
    matrix: NDArray[np.float64] = field(default_factory=lambda: np.eye(3))
    opacity: float = 1.0


@dataclass(frozen=True)
class FigureLegend:
    """What the colours mean.

    Parameters
    ----------
    title
        What the spots are coloured by.
    entries
        Name and RGBA of each category; empty for a scale.
    limits
        Values at the two ends of the scale.
    ramp
        Colours of the scale from low to high, shape (steps, 4); ``None`` for categories.
    unit
        Unit of the numbers.
    """

    title: str
    entries: tuple[tuple[str, tuple[float, float, float, float]], ...] = ()
    limits: tuple[float, float] | None = None
    ramp: NDArray[np.floating[Any]] | None = None
    unit: str = ""


@dataclass(frozen=True)
class FigureJob:
    """What a figure is drawn from, copied.

    Parameters
    ----------
    parts
        The slices.
    legend
        What their colours mean.
    form
        ``"png"``, ``"pdf"`` or ``"svg"``.
    """

    parts: tuple[FigurePart, ...]
    legend: FigureLegend
    form: str

    def steps(self) -> Steps[bytes]:
        """Draw it; returns the file."""
        yield Progress("figure", 0, 1)
        return slices_figure(self.parts, self.legend, self.form)


def slices_figure(
    parts: Sequence[FigurePart], legend: FigureLegend, form: str = "png", dpi: int = DPI
) -> bytes:
    """Draw slices side by side, all on one scale.

    Parameters
    ----------
    parts
        The slices.
    legend
        What the colours mean.
    form
        ``"png"``, ``"pdf"`` or ``"svg"``.
    dpi
        Dots per inch of pixels.

    Returns
    -------
    The file.
    """
    from matplotlib import rc_context
    from matplotlib.figure import Figure

    assert form in FORMATS
    columns = min(len(parts), max(1, int(np.ceil(np.sqrt(1.5 * len(parts))))))
    rows = -(-len(parts) // columns)
    tile = min(TILE, (WIDEST - LEGEND) / columns)
    width, height = columns * tile + LEGEND, max(rows * (tile + 0.18), 1.6)
    data = BytesIO()
    # Text stays text, to be edited and searched.
    with rc_context({"svg.fonttype": "none", "pdf.fonttype": 42, "font.size": _SIZE}):
        figure = Figure(figsize=(width, height), dpi=dpi, facecolor="white")
        side = max(_extent(part) for part in parts)
        scales = [part.microns for part in parts if part.microns is not None]
        same = len(scales) in (0, len(parts)) and max(scales, default=1) <= ALIKE * min(
            scales, default=1
        )
        vector = sum(len(part.points) for part in parts) <= _AS_VECTORS
        for number, part in enumerate(parts):
            row, column = divmod(number, columns)
            top = height - row * (tile + 0.18) - 0.18
            inner = tile - GAP
            box = (column * tile / width, (top - inner) / height, inner / width, inner / height)
            axes = figure.add_axes(box)
            _draw(axes, part, side, tile, rasterized=not vector)
            axes.set_title(part.name, size=_SIZE, pad=2)
            if number == 0 or not same:
                _draw_bar(axes, part, side)
        _draw_legend(figure, legend, columns * tile / width, width, height)
        figure.savefig(data, format=form)
    return data.getvalue()


def _extent(part: FigurePart) -> float:
    """Larger side of a slice with its spots, in µm if known, else in its own units."""
    return (float(np.ptp(part.points, axis=0).max()) + 2 * part.size) * (part.microns or 1.0)


def _draw(axes: Axes, part: FigurePart, side: float, tile: float, *, rasterized: bool) -> None:
    from matplotlib.collections import EllipseCollection
    from matplotlib.transforms import Affine2D

    axes.set_axis_off()
    middle = (part.points.min(axis=0) + part.points.max(axis=0)) / 2
    half = side / (part.microns or 1.0) / 2
    if part.image is not None:
        shown = axes.imshow(part.image, alpha=part.opacity, interpolation="antialiased")
        shown.set_transform(Affine2D(part.matrix) + axes.transData)
    sizes = np.full(len(part.points), part.size)
    axes.add_collection(
        EllipseCollection(
            sizes,
            sizes,
            np.zeros(len(sizes)),
            units="xy",
            offsets=part.points,
            offset_transform=axes.transData,
            facecolors=part.rgba,
            linewidths=0,
            rasterized=rasterized,
        )
    )
    axes.set(xlim=(middle[0] - half, middle[0] + half), ylim=(middle[1] + half, middle[1] - half))
    axes.set_aspect("equal")


def nice_length(most: float) -> float:
    """Return the largest of 1, 2 or 5 times a power of ten that is not larger than ``most``."""
    power = 10.0 ** np.floor(np.log10(most))
    return float(max(step * power for step in (1, 2, 5) if step * power <= most * (1 + 1e-9)))


def _draw_bar(axes: Axes, part: FigurePart, side: float) -> None:
    """Draw the scale bar at the lower left."""
    length = nice_length(_BAR * side)
    own = length / (part.microns or 1.0)
    left, right = axes.get_xlim()
    bottom, top = axes.get_ylim()
    x, y = left + 0.04 * (right - left), bottom + 0.03 * (top - bottom)
    color = "white" if _is_dark(part.image) else "black"
    axes.plot([x, x + own], [y, y], color=color, linewidth=1.5, solid_capstyle="butt")
    if part.microns is None:
        text = f"{length:g} units"
    else:
        text = f"{length / 1000:g} mm" if length >= 1000 else f"{length:g} µm"
    axes.text(x, y + 0.015 * (top - bottom), text, va="bottom", size=_SIZE - 1, color=color)


def _is_dark(image: NDArray[Any] | None) -> bool:
    """Whether black lines would not be seen on an image: one of fluorescence."""
    return image is not None and float(np.median(image[..., :3])) < _DARK


def _draw_legend(
    figure: Figure, legend: FigureLegend, left: float, width: float, height: float
) -> None:
    from matplotlib.colors import ListedColormap
    from matplotlib.lines import Line2D

    if legend.ramp is not None and legend.limits is not None:
        box = (left + 0.15 / width, 1 - 1.4 / height, 0.12 / width, 1.0 / height)
        axes = figure.add_axes(box)
        ramp = ListedColormap(legend.ramp)
        low, high = legend.limits
        axes.imshow(
            np.linspace(1, 0, 128)[:, None], aspect="auto", cmap=ramp, extent=(0, 1, low, high)
        )
        axes.set_xticks([])
        axes.yaxis.tick_right()
        axes.set_title(legend.title, size=_SIZE, loc="left")
        axes.set_ylabel(legend.unit, size=_SIZE - 1)
        axes.yaxis.set_label_position("right")
        return
    marks = [
        Line2D([], [], marker="o", linestyle="", markersize=5, color=rgba, label=name)
        for name, rgba in legend.entries
    ]
    figure.legend(
        handles=marks,
        title=legend.title,
        loc="upper left",
        bbox_to_anchor=(left, 1.0),
        frameon=False,
        ncols=max(1, -(-len(marks) // _MOST_ROWS)),
        alignment="left",
        handletextpad=0.2,
    )
