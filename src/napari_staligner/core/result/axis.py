"""An axis across the aligned slices: a drawn line, the rim of a region, or the tissue's border."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, Literal, get_args

import numpy as np

from napari_staligner import _keys as K
from napari_staligner._errors import InputError
from napari_staligner.core.annotations.regions import cells
from napari_staligner.core.json_text import json_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from anndata import AnnData
    from numpy.typing import NDArray
    from shapely.geometry.base import BaseGeometry

    Points = NDArray[np.float64]

Kind = Literal["along", "across", "rim", "tissue"]
KINDS: tuple[Kind, ...] = get_args(Kind)
CLOSED = 1.0
"""Gaps in a region up to twice this many spacings wide are closed: they are no rim."""
_STEP = 1e-3
"""Of a line's length: how far before and after a place its direction is looked at."""


@dataclass(frozen=True)
class Axis:
    """Where spots lie, as one number.

    Parameters
    ----------
    kind
        ``"along"``: how far along the line, for spots beside it. ``"across"``: how far from the
        line, negative on its left. ``"rim"``: how far from the rim of a region, negative inside.
        ``"tissue"``: how deep below the border of the tissue.
    line
        Corners (x, y) of the line, in the common frame; for the first two kinds.
    width
        For ``"along"``: spots at most this far from the line count, in spacings of the reference
        slice; 0 for no limit.
    column, region
        For ``"rim"``: a column of ``obs`` with names, and the name of the region in it.
    of
        Slice whose rim or border holds for all slices; empty if each slice has its own.
    """

    kind: Kind = "tissue"
    line: tuple[tuple[float, float], ...] = ()
    width: float = 0.0
    column: str = ""
    region: str = ""
    of: str = ""

    @property
    def drawn(self) -> bool:
        """Whether it is a line that somebody drew."""
        return self.kind in ("along", "across")

    @property
    def title(self) -> str:
        """What the distance is, for people."""
        whose = f" of {self.of}" if self.of else ""
        if self.kind == "rim":
            return f"Distance from the rim of {self.region}{whose}, inside is negative"
        if self.kind == "tissue":
            return f"Depth below the tissue's border{whose}"
        return "Distance along the line" if self.kind == "along" else "Distance from the line"

    def to_json(self) -> str:
        """Return as JSON what :meth:`from_json` reads."""
        return json.dumps(asdict(self))

    @classmethod
    def from_json(cls, text: str) -> Axis | None:
        """Read what :meth:`to_json` gave; ``None`` if it is of another version."""
        try:
            kept = json_of(text)
            line = tuple((float(x), float(y)) for x, y in kept.pop("line", ()))
            read = cls(line=line, **kept)
        except (TypeError, ValueError):
            return None
        return read if read.kind in KINDS else None


def check_axis(axis: Axis, adata: AnnData) -> None:
    """Check that an axis fits integrated slices.

    Parameters
    ----------
    axis
        The axis.
    adata
        Integrated slices; reads ``obs``.

    Raises
    ------
    InputError
        It names a slice, column or region that is not there, or its line has no length.
    """
    names = list(map(str, adata.obs[K.SLICE].cat.categories))
    if axis.kind not in KINDS:
        raise InputError(f"There is no axis {axis.kind!r}: choose one of {', '.join(KINDS)}.")
    if axis.of and axis.of not in names:
        raise InputError(f"There is no slice {axis.of!r}: choose one of {', '.join(names)}.")
    if axis.drawn:
        corners = np.asarray(axis.line, dtype=np.float64).reshape(-1, 2)
        if len(np.unique(corners, axis=0)) < 2 or not np.isfinite(corners).all():
            raise InputError("A line needs two different corners: draw it across the tissue.")
    if axis.kind == "rim":
        _check_region(axis, adata)


def _check_region(axis: Axis, adata: AnnData) -> None:
    column = adata.obs.get(axis.column)
    if column is None:
        raise InputError(f"There is no obs[{axis.column!r}]: name a column that holds regions.")
    here = column.astype(str) == axis.region
    where = ""
    if axis.of:
        here, where = here & (adata.obs[K.SLICE] == axis.of), f" of slice {axis.of!r}"
    if not here.any():
        raise InputError(f"No spot{where} has obs[{axis.column!r}] {axis.region!r}.")


def rims(
    axis: Axis, points: Sequence[Points], inside: Sequence[NDArray[np.bool_]], unit: float
) -> list[BaseGeometry | None]:
    """Find what the distances of each slice are measured from.

    Parameters
    ----------
    axis
        The axis; its line, or what ``inside`` tells.
    points
        Places of the spots of each slice in the common frame, shape (spots, 2).
    inside
        Which spots are in the region, shape (spots,) each; all of them for ``"tissue"``. Without
        spots, the slice has no area of its own.
    unit
        A spacing in the frame.

    Returns
    -------
    For each slice the line, or the area of the region or tissue; ``None`` if it has none.
    """
    import shapely

    if axis.drawn:
        return [shapely.LineString(axis.line)] * len(points)
    return [
        _area(xy, here, unit, holes=axis.kind == "rim") if here.any() else None
        for xy, here in zip(points, inside, strict=True)
    ]


def _area(xy: Points, here: NDArray[np.bool_], unit: float, *, holes: bool) -> BaseGeometry:
    """Area of some spots of a slice, without gaps that are only a spot or two wide."""
    import shapely

    reach = CLOSED * unit
    joined = shapely.union_all(cells(xy)[here])
    joined = shapely.buffer(shapely.buffer(joined, reach, quad_segs=4), -reach, quad_segs=4)
    if holes or joined.is_empty:
        return joined
    parts = [part for part in shapely.get_parts(joined) if part.geom_type == "Polygon"]
    return shapely.union_all([shapely.Polygon(part.exterior) for part in parts])


def distances(axis: Axis, rim: BaseGeometry, xy: Points, unit: float) -> Points:
    """Signed distance of spots on an axis.

    Parameters
    ----------
    axis
        The axis.
    rim
        What :func:`rims` found for them.
    xy
        Places of spots in the common frame, shape (spots, 2).
    unit
        A spacing in the frame.

    Returns
    -------
    In spacings, shape (spots,); NaN for spots that are not on the axis.
    """
    import shapely

    if axis.drawn:
        found = _along(rim, xy, axis.width * unit) if axis.kind == "along" else _across(rim, xy)
        return found / unit
    far = _nearest(rim, xy)
    shapely.prepare(rim)
    within = shapely.contains_xy(rim, xy[:, 0], xy[:, 1])
    if axis.kind == "rim":
        return np.where(within, -far, far) / unit
    # Off another slice's tissue there is no depth.
    return np.where(within, far, np.nan if axis.of else 0.0) / unit


def _nearest(area: BaseGeometry, xy: Points) -> Points:
    """Distance to the border of an area: its sides are searched with a tree."""
    import shapely

    rings = [shapely.get_coordinates(ring) for ring in _rings(area)]
    sides = np.concatenate([np.stack([r[:-1], r[1:]], axis=1) for r in rings])
    tree = shapely.STRtree(shapely.linestrings(sides))
    pairs, far = tree.query_nearest(shapely.points(xy), return_distance=True, all_matches=False)
    found = np.full(len(xy), np.nan)
    found[pairs[0]] = far
    return found


def _rings(area: BaseGeometry) -> list[Any]:
    import shapely

    return list(shapely.get_parts(shapely.get_rings(shapely.get_parts(area))))


def borders_of(rim: BaseGeometry) -> list[Points]:
    """Corners (x, y) of the line, or of the rings of an area, shape (corners, 2) each."""
    import shapely

    if rim.geom_type == "LineString":
        return [shapely.get_coordinates(rim)]
    return [shapely.get_coordinates(ring) for ring in _rings(rim)]


def _direction(line: BaseGeometry, at: Points) -> Points:
    """Direction of a line at places along it; at a corner the mean of both sides."""
    import shapely

    step = _STEP * line.length
    before = shapely.line_interpolate_point(line, np.maximum(at - step, 0.0))
    after = shapely.line_interpolate_point(line, np.minimum(at + step, line.length))
    return np.asarray(shapely.get_coordinates(after) - shapely.get_coordinates(before))


def _beside(line: BaseGeometry, xy: Points) -> tuple[Points, Points, Points]:
    """How far along a line spots are, from there to the spot, and the line's direction there."""
    import shapely

    at = shapely.line_locate_point(line, shapely.points(xy))
    away = xy - shapely.get_coordinates(shapely.line_interpolate_point(line, at))
    return at, away, _direction(line, at)


def _along(line: BaseGeometry, xy: Points, width: float) -> Points:
    at, away, ahead = _beside(line, xy)
    ahead_of = (away * ahead).sum(axis=1)
    beyond = ((at <= 0) & (ahead_of < 0)) | ((at >= line.length) & (ahead_of > 0))
    aside = np.linalg.norm(away, axis=1) > width if width > 0 else np.zeros(len(xy), dtype=bool)
    return np.where(beyond | aside, np.nan, at)


def _across(line: BaseGeometry, xy: Points) -> Points:
    _, away, ahead = _beside(line, xy)
    # y points down, so what is on the right of somebody who walks the line is positive.
    side = ahead[:, 0] * away[:, 1] - ahead[:, 1] * away[:, 0]
    return np.asarray(np.where(side < 0, -1.0, 1.0) * np.linalg.norm(away, axis=1))
