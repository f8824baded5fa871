"""One picture of all methods on all slices, with their figures, as papers print it."""

from __future__ import annotations

from collections.abc import Sequence
from io import BytesIO
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_staligner.core.evaluation.comparison import Method, best, key_figures
from napari_staligner.core.evaluation.metrics import METRICS
from napari_staligner.core.palette import to_rgba
from napari_staligner.report.pictures import SPOT, SlicePart

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from numpy.typing import NDArray

PANEL, TITLE, FIGURE, HEAD = 1.35, 1.4, 0.62, 0.45
"""Inches: a side of a tissue, widths of a method's name and of a figure, height of the heads."""
DPI = 150
FORMATS = ("png", "pdf", "svg")
_SIZE = 8
"""Of text, in points."""


def methods_picture(
    methods: Sequence[Method], parts: Sequence[SlicePart], no_domain: str, form: str = "png"
) -> bytes:
    """Draw a row for the labels and each method, a column for each slice, and the figures beside.

    The best value of a figure is bold.

    Parameters
    ----------
    methods
        What the rows show.
    parts
        The slices.
    no_domain
        Hex colour of spots without a domain.
    form
        One of :data:`FORMATS`.

    Returns
    -------
    The file.
    """
    from matplotlib import rc_context
    from matplotlib.figure import Figure

    keys = key_figures(methods)
    width = TITLE + PANEL * len(parts) + FIGURE * len(keys) + 0.1
    height = HEAD + PANEL * len(methods)
    figure = Figure(figsize=(width, height), dpi=DPI, facecolor="white")
    for row, method in enumerate(methods):
        top = height - HEAD - PANEL * row
        name = method.title.replace(" + ", " +\n").replace(", ", ",\n").replace(": ", ":\n")
        figure.text(0.08 / width, (top - PANEL / 2) / height, name, va="center", size=_SIZE + 1)
        # Code -1, without a domain, is the last colour.
        rgba = to_rgba([*method.colors, no_domain])[method.codes]
        for column, part in enumerate(parts):
            left = TITLE + PANEL * column
            box = (left / width, (top - PANEL) / height, PANEL / width, PANEL / height)
            _draw_tissue(figure.add_axes(box), part, rgba[part.rows])
            if row == 0:
                middle = (left + PANEL / 2) / width
                # A letter is about 0.6 times as wide as it is high.
                size = min(_SIZE, PANEL * 72 / (0.6 * max(len(part.name), 1)))
                figure.text(middle, 1 - 0.2 / height, part.name, ha="center", size=size)
    for column, key in enumerate(keys):
        x = (TITLE + PANEL * len(parts) + FIGURE * (column + 0.5)) / width
        arrow = "↑" if METRICS[key].higher_is_better else "↓"
        title = f"{METRICS[key].title} {arrow}"
        figure.text(x, 1 - 0.2 / height, title, ha="center", size=_SIZE)
        bold = best(methods, key)
        for row, method in enumerate(methods):
            if key not in method.overall:
                continue
            value = method.overall[key]
            y = (height - HEAD - PANEL * (row + 0.5)) / height
            weight = "bold" if row in bold else "normal"
            said = "–" if np.isnan(value) else f"{value:.3f}"
            figure.text(x, y, said, ha="center", va="center", size=_SIZE + 1, weight=weight)
    data = BytesIO()
    # Text stays text, to be edited and searched.
    with rc_context({"svg.fonttype": "none", "pdf.fonttype": 42}):
        figure.savefig(data, format=form)
    return data.getvalue()


def _draw_tissue(axes: Axes, part: SlicePart, rgba: NDArray[np.floating[Any]]) -> None:
    """Draw the spots of a slice, y downwards as in its image."""
    axes.set_axis_off()
    low, high = part.points.min(axis=0), part.points.max(axis=0)
    middle, half = (low + high) / 2, 0.53 * max(float((high - low).max()), part.spacing)
    # Scattered cells lie much closer to their nearest than they would on a grid.
    width = max(part.spacing, 0.7 * float(np.sqrt(np.prod(high - low) / len(part.points))))
    size = (SPOT * width * PANEL / (2 * half) * 72) ** 2
    # A vector of a hundred thousand spots is of no use to anybody.
    x, y = part.points.T
    axes.scatter(x, y, s=max(size, 0.15), c=rgba, linewidths=0, rasterized=True)
    axes.set(xlim=(middle[0] - half, middle[0] + half), ylim=(middle[1] + half, middle[1] - half))
