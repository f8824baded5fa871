"""Profiles as a picture: curves of all slices over one axis, one over the other."""

from __future__ import annotations

from dataclasses import dataclass
from io import BytesIO
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_staligner import _keys as K
from napari_staligner.core.palette import categorical_colors
from napari_staligner.report.methods_picture import FORMATS
from napari_staligner.report.pictures import png_address

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from matplotlib.axes import Axes

    from napari_staligner.core.progress import Steps
    from napari_staligner.core.result.profiles import ProfileJob, Profiles

WIDTH, HEIGHT, DPI = 6.4, 3.6, 300
"""Inches, and dots per inch of a PNG."""
DASHES: tuple[Any, ...] = ("-", "--", ":", "-.", (0, (6, 1, 1, 1, 1, 1)))
_SIZE, _REPORT_DPI = 8, 150
_MOST_ROWS = 14
"""Names in a column of the legend."""


def profile_picture(
    found: Profiles,
    names: Sequence[str] | None = None,
    colors: Mapping[str, str] | None = None,
    form: str = "png",
    dpi: int = DPI,
) -> bytes:
    """Draw curves against the distance.

    Parameters
    ----------
    found
        The profiles.
    names
        The values to draw; ``None`` draws all. Of a single one, slices have colours, bands and
        peaks; of several, values have colours and slices have dashes.
    colors
        Hex of each slice, or of each value if there are several; ``None`` takes the palette.
    form
        ``"png"``, ``"pdf"`` or ``"svg"``.
    dpi
        Dots per inch of a PNG.

    Returns
    -------
    The file.
    """
    from matplotlib import rc_context
    from matplotlib.figure import Figure

    assert form in FORMATS
    shown = list(found.curves) if names is None else list(names)
    slices = list(found.curves[shown[0]])
    kinds = shown if len(shown) > 1 else slices
    if colors is None:
        colors = dict(zip(kinds, categorical_colors(len(kinds)), strict=True))
    data = BytesIO()
    # Text stays text, to be edited and searched.
    with rc_context({"svg.fonttype": "none", "pdf.fonttype": 42, "font.size": _SIZE}):
        figure = Figure(figsize=(WIDTH, HEIGHT), dpi=dpi, facecolor="white", layout="constrained")
        axes = figure.add_subplot()
        if len(shown) > 1:
            _draw_values(axes, found, shown, slices, colors)
        else:
            _draw_slices(axes, found, shown[0], colors)
        axes.set_xlabel(f"{found.axis.title} ({found.scale[1]})")
        axes.set_ylabel(found.unit)
        axes.spines[["top", "right"]].set_visible(False)
        handles, labels = axes.get_legend_handles_labels()
        columns = -(-len(labels) // _MOST_ROWS)
        figure.legend(
            handles, labels, loc="outside right upper", frameon=False, ncols=max(columns, 1)
        )
        figure.savefig(data, format=form)
    return data.getvalue()


def _draw_slices(axes: Axes, found: Profiles, name: str, colors: Mapping[str, str]) -> None:
    factor, _ = found.scale
    x = found.places * factor
    for slice_name, curve in found.curves[name].items():
        color = colors.get(slice_name, "gray")
        axes.fill_between(x, curve.low, curve.high, color=color, alpha=0.2, linewidth=0)
        axes.plot(x, curve.mean, color=color, linewidth=1.5, label=slice_name)
        if np.isfinite(curve.peak):
            axes.axvline(curve.peak * factor, color=color, linewidth=0.8, linestyle=":")
    axes.set_title(name, size=_SIZE + 1)


def _draw_values(
    axes: Axes,
    found: Profiles,
    names: Sequence[str],
    slices: Sequence[str],
    colors: Mapping[str, str],
) -> None:
    from matplotlib.lines import Line2D

    x = found.places * found.scale[0]
    for name in names:
        axes.add_line(Line2D([], [], color=colors.get(name, "gray"), label=name))
        for number, slice_name in enumerate(slices):
            curve = found.curves[name][slice_name]
            dash = DASHES[number % len(DASHES)]
            color = colors.get(name, "gray")
            axes.plot(x, curve.mean, color=color, linestyle=dash, linewidth=1)
    for number, slice_name in enumerate(slices):
        dash = DASHES[number % len(DASHES)]
        axes.add_line(Line2D([], [], color="#444444", linestyle=dash, label=slice_name))


@dataclass(frozen=True)
class DrawnProfile:
    """A profile in a report.

    Parameters
    ----------
    title
        What is drawn along what.
    picture
        The curves, as a ``data:`` address of a PNG.
    slices
        Names of the slices.
    peaks
        For each value where it is highest in each slice, and how far these are apart, as text.
    """

    title: str
    picture: str
    slices: tuple[str, ...]
    peaks: Mapping[str, list[str]]


def drawn_profiles(
    jobs: Sequence[ProfileJob], domains: Mapping[str, str]
) -> Steps[list[DrawnProfile]]:
    """Compute and draw the profiles of a report.

    Parameters
    ----------
    jobs
        What they need.
    domains
        Hex colour of each domain.
    """
    drawn = []
    for job in jobs:
        found = yield from job.steps()
        colors = domains if job.of.key == K.DOMAIN and len(found.curves) > 1 else None
        picture = png_address(profile_picture(found, colors=colors, dpi=_REPORT_DPI))
        title = f"{job.of.text}: {found.axis.title[:1].lower()}{found.axis.title[1:]}"
        peaks = {name: _peaks(found, name) for name in found.curves}
        drawn.append(DrawnProfile(title, picture, job.slices, peaks))
    return drawn


def _peaks(found: Profiles, name: str) -> list[str]:
    factor, unit = found.scale
    places = [curve.peak for curve in found.curves[name].values()] + [found.spread(name)]
    digits = 0 if unit == "µm" else 1
    return [f"{x * factor:.{digits}f} {unit}" if np.isfinite(x) else "–" for x in places]
