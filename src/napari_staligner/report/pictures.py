"""Pictures of a report, drawn with matplotlib but without pyplot, so any thread may draw them."""

from __future__ import annotations

import base64
from dataclasses import dataclass
from io import BytesIO
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_staligner.core.evaluation.metrics import METRICS

if TYPE_CHECKING:
    from collections.abc import Mapping

    from matplotlib.figure import Figure
    from numpy.typing import NDArray

    from napari_staligner.core.evaluation.evaluation import Evaluation

INCHES, SMALL, DPI = 4.2, 2.3, 130
"""Longer side of single pictures, and of pictures shown next to many others."""
SPOT = 0.95
"""Diameter of a spot, in spacings."""
COLORMAP = "viridis"
_GRAY = "#666666"


@dataclass(frozen=True)
class SlicePart:
    """What the pictures of a slice are drawn from.

    Parameters
    ----------
    name
        Name of the slice.
    rows
        Shape (spots,): rows of its spots in the result.
    points
        Shape (spots, 2): x and y, in the units of the slice.
    spacing
        Distance from a spot to its nearest neighbour, in these units.
    codes
        Shape (spots,): number of the domain, -1 without one.
    confidence
        Shape (spots,), 0..1; ``None`` if it is not known.
    image
        Tissue, shape (height, width, 3 or 4), reduced in size; ``None`` without one.
    unit
        Length of a pixel of the image, in the units of the slice.
    """

    name: str
    rows: NDArray[np.intp]
    points: NDArray[np.float64]
    spacing: float
    codes: NDArray[np.integer[Any]]
    confidence: NDArray[np.floating[Any]] | None
    image: NDArray[Any] | None
    unit: float


def tissue_picture(part: SlicePart, rgba: NDArray[np.floating[Any]], *, small: bool = False) -> str:
    """Draw spots over the tissue, y downwards as in the image.

    Parameters
    ----------
    part
        The slice.
    rgba
        Shape (spots, 4).
    small
        Smaller, without the tissue image, to show next to many others.

    Returns
    -------
    The picture as a ``data:`` address of a PNG.
    """
    from matplotlib.figure import Figure

    margin = 2 * part.spacing
    (left, top), (right, bottom) = part.points.min(0) - margin, part.points.max(0) + margin
    width, height = right - left, bottom - top
    inch = (SMALL if small else INCHES) / max(width, height)
    figure = Figure(figsize=(width * inch, height * inch), dpi=DPI)
    axes = figure.add_axes((0, 0, 1, 1))
    axes.set_axis_off()
    if part.image is not None and not small:
        # The middle of the first pixel is at 0.
        rows, columns = part.image.shape[:2]
        edges = np.array([-0.5, columns - 0.5, rows - 0.5, -0.5]) * part.unit
        axes.imshow(part.image, extent=tuple(edges))
    points = (SPOT * part.spacing * inch * 72) ** 2
    axes.scatter(part.points[:, 0], part.points[:, 1], s=points, c=rgba, linewidths=0)
    axes.set(xlim=(left, right), ylim=(bottom, top))
    return _address(figure)


def umap_picture(places: NDArray[np.floating[Any]], rgba: NDArray[np.floating[Any]]) -> str:
    """Draw a UMAP with the spots in random order, so that no slice hides another.

    Parameters
    ----------
    places
        Shape (spots, 2).
    rgba
        Shape (spots, 4).
    """
    from matplotlib.figure import Figure

    order = np.random.default_rng(0).permutation(len(places))
    figure = Figure(figsize=(SMALL, SMALL), dpi=DPI)
    axes = figure.add_axes((0, 0, 1, 1))
    axes.set_axis_off()
    size = float(np.clip(20_000 / max(len(places), 1), 0.3, 12.0))
    x, y = places[order].T
    axes.scatter(x, y, s=size, c=rgba[order], linewidths=0)
    axes.set_aspect("equal", adjustable="datalim")
    return _address(figure)


def figures_picture(evaluation: Evaluation, titles: Mapping[str, str]) -> str:
    """Draw the overall figures on a scale up to 1: a line a figure, a mark an embedding.

    Parameters
    ----------
    evaluation
        Figures of the embeddings.
    titles
        Readable names of the embeddings.
    """
    from matplotlib.figure import Figure

    from napari_staligner.core.palette import categorical_colors

    found = {key: figures.overall for key, figures in evaluation.figures.items()}
    known = set().union(*found.values())
    shown = [
        key
        for key, metric in METRICS.items()
        if key in known and metric.higher_is_better and not metric.counts
    ]
    figure = Figure(figsize=(7.2, 0.9 + 0.34 * len(shown)), dpi=DPI, layout="constrained")
    axes = figure.add_subplot()
    places = np.arange(len(shown))[::-1]
    values = np.array([[found[e].get(key, np.nan) for key in shown] for e in found])
    low, high = _ends(values)
    axes.hlines(places, low, high, color="#bbbbbb", linewidth=2, zorder=1)
    colors, marks = categorical_colors(len(found)), "osD^vP*X"
    for number, key in enumerate(found):
        mark = marks[number % len(marks)]
        axes.scatter(values[number], places, s=52, c=colors[number], marker=mark, zorder=2,
                     label=titles[key])  # fmt: skip
    axes.set_yticks(places, [METRICS[key].title for key in shown])
    axes.set_xlim(min(0.0, float(np.nanmin(values, initial=0.0))) - 0.02, 1.02)
    axes.set_xlabel("1 is best", color=_GRAY)
    axes.spines[["top", "right", "left"]].set_visible(False)
    axes.tick_params(axis="y", length=0)
    axes.grid(axis="x", color="#eeeeee", zorder=0)
    figure.legend(loc="outside upper left", ncols=4, frameon=False)
    return _address(figure)


def _ends(values: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Smallest and largest value of each column, NaN if it has none."""
    low = np.where(np.isnan(values), np.inf, values).min(axis=0)
    high = np.where(np.isnan(values), -np.inf, values).max(axis=0)
    nothing = np.isinf(low)
    return np.where(nothing, np.nan, low), np.where(nothing, np.nan, high)


def gradient(steps: int = 11) -> str:
    """The colour map of the confidence as a list of colours for a CSS gradient."""
    from matplotlib import colormaps
    from matplotlib.colors import to_hex

    return ", ".join(to_hex(colormaps[COLORMAP](x)) for x in np.linspace(0, 1, steps))


def confidence_colors(confidence: NDArray[np.floating[Any]]) -> NDArray[np.float64]:
    """RGBA of confidences on a scale of 0 to 1, grey where it is not known."""
    from matplotlib import colormaps

    rgba = np.array(colormaps[COLORMAP](np.clip(np.nan_to_num(confidence), 0, 1)))
    rgba[~np.isfinite(confidence)] = (0.6, 0.6, 0.6, 1.0)
    return rgba


def _address(figure: Figure) -> str:
    from matplotlib.backends.backend_agg import FigureCanvasAgg

    data = BytesIO()
    FigureCanvasAgg(figure).print_png(data)
    return png_address(data.getvalue())


def png_address(png: bytes) -> str:
    """Return a picture as a ``data:`` address."""
    return "data:image/png;base64," + base64.b64encode(png).decode("ascii")
