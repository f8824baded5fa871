"""Which element of a SpatialData store holds the outlines of the cells of a table."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from napari_staligner.core.prepare.libraries import named_values
from napari_staligner.io.outlines import outlines_metadata

if TYPE_CHECKING:
    from numpy.typing import NDArray

_MOST_MISSING = 0.5
"""What share of the cells may lack an outline."""


def cells_of_store(
    store: Any, region: str, system: str, instances: pd.Series, path: Path
) -> dict[str, Any]:
    """Return what ``metadata`` of a library tells of outlines; empty if there are none.

    Polygons whose index names the cells go first, then masks.

    Parameters
    ----------
    store
        The SpatialData.
    region
        Element that the table annotates.
    system
        Coordinate system of the spots.
    instances
        Column of the table that names the cells.
    path
        The store.
    """
    cells = pd.Index(named_values(instances))
    best: tuple[float, str] | None = None
    for name in _ordered(store.shapes, region):
        share = float(np.isin(cells, store[name].index.map(str)).mean())
        polygons = bool(store[name].geom_type.isin(["Polygon", "MultiPolygon"]).all())
        more = share > max(_MOST_MISSING, best[0] if best else 0)
        if polygons and more and place_in(store[name], system) is not None:
            best = share, name
    if best is not None:
        place = place_in(store[best[1]], system)
        return outlines_metadata(path / "shapes" / best[1], place, str(instances.name))
    for name in _ordered(store.labels, region):
        place = place_in(store[name], system)
        if place is not None:
            key = str(instances.name) if name == region else ""
            return outlines_metadata(path / "labels" / name, place, key)
    return {}


def _ordered(names: Any, region: str) -> list[str]:
    """The region itself first, nuclei last."""
    return sorted(names, key=lambda name: (name != region, "nucle" in name.lower()))


def place_in(element: Any, system: str) -> NDArray[np.float64] | None:
    """Matrix from (x, y, 1) of an element to those of a coordinate system; ``None`` outside it."""
    from spatialdata.transformations import get_transformation

    places = get_transformation(element, get_all=True)
    if system not in places:
        return None
    matrix = places[system].to_affine_matrix(("x", "y"), ("x", "y"))
    return np.asarray(matrix, dtype=np.float64)
