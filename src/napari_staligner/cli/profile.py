"""The shell's command for profiles: its axis, its files, and the table that it prints."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_staligner._errors import InputError
from napari_staligner.cli.tables import Table
from napari_staligner.core.result.axis import Axis

if TYPE_CHECKING:
    from anndata import AnnData

    from napari_staligner.core.result.profiles import Profiles


@dataclass(frozen=True)
class ProfileFiles:
    """What was written.

    Parameters
    ----------
    table
        Where each value is highest in each slice.
    paths
        The files.
    """

    table: Table
    paths: tuple[Path, ...]


def axis_of(
    line: str | None, rim: str | None, of_slice: str | None, *, across: bool, width: float
) -> Axis:
    """Make the axis that the options ask for.

    Raises
    ------
    InputError
        They contradict each other, or cannot be read.
    """
    if line is not None and rim is not None:
        raise InputError("An axis is a line or a rim, not both: give --line or --rim.")
    if line is None and across:
        raise InputError("--across needs a line: give --line X,Y;X,Y.")
    if line is not None:
        return Axis("across" if across else "along", _corners(line), width)
    if rim is None:
        return Axis("tissue", of=of_slice or "")
    column, equals, region = rim.partition("=")
    if not equals or not region:
        raise InputError(f"--rim {rim!r} names no region: give COLUMN=REGION, as domain=3.")
    return Axis("rim", column=column, region=region, of=of_slice or "")


def _corners(text: str) -> tuple[tuple[float, float], ...]:
    try:
        pairs = [tuple(map(float, corner.split(","))) for corner in text.split(";")]
        return tuple((x, y) for x, y in pairs)
    except ValueError:
        raise InputError(
            f"--line {text!r} cannot be read: give corners as X,Y;X,Y, in quotes."
        ) from None


def write_profile_files(
    content: AnnData,
    axis: Axis,
    of: str,
    smoothing: float | None,
    output: Path,
    picture: Path | None,
    run: Callable[[Any], Any],
) -> ProfileFiles:
    """Compute profiles and write them.

    Parameters
    ----------
    content, axis, of, smoothing
        As for :func:`~napari_staligner.core.result.profiles.profiles`.
    output
        Gets the curves; peaks go to a file next to it.
    picture
        Gets the plot; ``None`` for none.
    run
        Runs the steps of a computation.

    Raises
    ------
    InputError
        Something does not exist, or cannot be written.
    """
    from napari_staligner.core.result.profiles import profile_job
    from napari_staligner.core.result.quantities import parse_quantity
    from napari_staligner.io.atomic import check_target, write_bytes, write_text
    from napari_staligner.report.picture import picture_form
    from napari_staligner.report.profile_picture import profile_picture

    peaks = output.with_name(f"{output.stem}_peaks.csv")
    for path in filter(None, (output, peaks, picture)):
        check_target(path)
    form = "" if picture is None else picture_form(picture)
    found = run(profile_job(content, axis, parse_quantity(of), smoothing=smoothing).steps())
    paths = [
        write_text(found.to_frame().to_csv(index=False), output),
        write_text(found.peaks_frame().to_csv(index=False), peaks),
    ]
    if picture is not None:
        paths.append(write_bytes(profile_picture(found, form=form), picture))
    return ProfileFiles(peak_rows(found), tuple(paths))


def peak_rows(found: Profiles) -> Table:
    """Where each value is highest in each slice, and how far that is apart."""
    factor, unit = found.scale
    rows = []
    for value, curves in found.curves.items():
        places = [*(curve.peak for curve in curves.values()), found.spread(value)]
        rows.append([value, *(f"{x * factor:,.1f}" if np.isfinite(x) else "–" for x in places)])
    slices = list(next(iter(found.curves.values())))
    return Table(f"Peaks in {unit}", ["value"], [*slices, "apart"], rows)
