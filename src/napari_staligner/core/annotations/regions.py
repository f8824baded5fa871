"""Regions of annotated spots: outlines, connected pieces, areas and other figures."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from scipy import sparse

from napari_staligner import _keys as K
from napari_staligner.core.prepare.libraries import factor_of, libraries_of_result
from napari_staligner.core.result.access import spots_xy

if TYPE_CHECKING:
    from collections.abc import Mapping

    from anndata import AnnData
    from numpy.typing import NDArray
    from shapely import MultiPolygon, Polygon

    Rows = NDArray[np.intp]

REACH = 0.75
"""Reach of a spot's cell, in median distances to the fourth neighbour. The cell meets those of its
neighbours on a square grid (0.71), on a hexagonal one (0.58) and mostly among scattered spots, and
does not grow over empty space."""
GRID = 1e-6
"""Corners of cells are rounded to this fraction of the reach."""
VISIUM_PITCH_UM = 100.0
"""Distance between the centres of neighbouring Visium spots, by design of the slide."""


def cells(xy: NDArray[np.float64]) -> NDArray[np.object_]:
    """Give every spot a cell: the area that is nearest to it, within its reach.

    Parameters
    ----------
    xy
        Coordinates, shape (spots, 2).

    Returns
    -------
    Shapely polygons, shape (spots,): Voronoi cells cut to a disc around the spot. Spots at the same
    place share a cell.
    """
    import shapely
    from scipy.spatial import KDTree

    places, place = np.unique(xy, axis=0, return_inverse=True)
    nth = min(4, len(places) - 1) + 1
    apart = KDTree(places).query(places, k=[2, nth])[0]
    radius = REACH * float(np.median(apart[:, 1])) or REACH
    found = shapely.buffer(shapely.points(xy), radius, quad_segs=4)
    # An isolated spot gets just its disc; far ones must not cost the others precision.
    near = np.flatnonzero(apart[:, 0] <= 2 * radius)
    if len(near):
        site = np.full(len(places), -1)
        site[near], ground = _ground(places[near])
        at = site[place.ravel()]
        cut = np.flatnonzero(at >= 0)
        found[cut] = shapely.intersection(found[cut], ground[at[cut]])
    # Corners snap to a grid, also in what is made from the cells: without it, GEOS may lose cells
    # with corners that differ by a rounding error.
    return np.asarray(shapely.set_precision(found, GRID * radius))


def _ground(xy: NDArray[np.float64]) -> tuple[Rows, NDArray[np.object_]]:
    """Which Voronoi polygon each spot has, and the polygons, closed far outside.

    Places that differ only by rounding share one.
    """
    import shapely
    from scipy.spatial import Voronoi

    low, extent = xy.min(axis=0), float(np.ptp(xy, axis=0).max())
    _, first, site = np.unique(
        np.round((xy - low) / extent, 9), axis=0, return_index=True, return_inverse=True
    )
    # GEOS's own diagrams of grids with gaps have polygons that cross themselves and others.
    far = low + extent * np.array([(-9, -9), (-9, 10), (10, -9), (10, 10)])
    diagram = Voronoi(np.concatenate([xy[first], far]))
    corners = [diagram.regions[region] for region in diagram.point_region[: len(first)]]
    of = np.repeat(np.arange(len(first)), [len(each) for each in corners])
    rings = shapely.linearrings(diagram.vertices[np.concatenate(corners)], indices=of)
    return site.ravel(), np.asarray(shapely.polygons(rings))


def outline(of: NDArray[np.object_]) -> Polygon | MultiPolygon:
    """Join the cells of a region into its outline; holes stay holes."""
    import shapely

    joined = shapely.union_all(of)
    return joined if joined.geom_type != "GeometryCollection" else shapely.MultiPolygon()


def outlines(
    xy: NDArray[np.float64], codes: NDArray[np.integer[Any]]
) -> dict[int, Polygon | MultiPolygon]:
    """Outline of each class on a slice.

    Parameters
    ----------
    xy
        Coordinates of the slice's spots, shape (spots, 2).
    codes
        Class of each, -1 for none.
    """
    own = cells(xy)
    return {int(c): outline(own[codes == c]) for c in np.unique(codes[codes >= 0])}


def inside(polygon: Any, xy: NDArray[np.float64]) -> Rows:
    """Rows of the spots inside a shapely polygon, or one given by its corners (x, y)."""
    import shapely

    if isinstance(polygon, np.ndarray):
        if len(polygon) < 3:
            return np.empty(0, np.intp)
        # A lasso may cross itself.
        polygon = shapely.make_valid(shapely.Polygon(polygon))
    shapely.prepare(polygon)
    return np.flatnonzero(shapely.contains_xy(polygon, xy[:, 0], xy[:, 1]))


def piece_of(adata: AnnData, row: int, key: str = K.DOMAIN) -> Rows:
    """Rows of the connected piece of a domain that contains a spot.

    Parameters
    ----------
    adata
        Integrated slices; reads ``obsp["spatial_connectivities"]``, where neighbours are in the
        same slice.
    row
        The spot.
    key
        Column of ``obs`` that holds the domains.

    Returns
    -------
    Sorted rows, including the spot's own; only that one if it has no domain.
    """
    codes = adata.obs[key].cat.codes.to_numpy()
    if codes[row] < 0:
        return np.array([row], dtype=np.intp)
    same = np.flatnonzero(codes == codes[row])
    pieces = _pieces(adata, same)
    return np.asarray(same[pieces == pieces[np.searchsorted(same, row)]])


def largest_piece(adata: AnnData, domain: str, key: str = K.DOMAIN) -> Rows:
    """Rows of the largest connected piece of a domain.

    Parameters
    ----------
    adata, key
        As for :func:`piece_of`.
    domain
        Which.
    """
    same = np.flatnonzero((adata.obs[key] == domain).to_numpy())
    pieces = _pieces(adata, same)
    return np.asarray(same[pieces == np.bincount(pieces).argmax()])


def _pieces(adata: AnnData, rows: Rows) -> NDArray[np.integer[Any]]:
    """Number of each spot's connected piece, with only these spots considered."""
    from scipy.sparse.csgraph import connected_components

    graph = sparse.csr_matrix(adata.obsp[K.CONNECTIVITIES])[rows][:, rows]
    return np.asarray(connected_components(graph, directed=False)[1])


def microns_per_unit(adata: AnnData, libraries: Mapping[str, Any]) -> tuple[float, str] | None:
    """Size of the unit of a slice's coordinates.

    Parameters
    ----------
    adata
        The slice; reads ``obsm["spatial"]`` and whether ``obs`` has Visium's array.
    libraries
        The slice's part of ``uns["spatial"]``.

    Returns
    -------
    µm per unit and how that is known; ``None`` if it is not.
    """
    from napari_staligner.core.prepare.graph import spacing

    for library in libraries.values():
        microns = factor_of(library, "microns_per_pixel")
        if microns is not None:
            return microns, "by its scale factors"
        diameter = factor_of(library, "spot_diameter_fullres")
        if diameter is not None and {"array_row", "array_col"} <= set(adata.obs):
            # The diameter is only nominal: 55 or 65 µm, depending on the version of Space Ranger.
            pitch = spacing(spots_xy(adata))
            return VISIUM_PITCH_UM / pitch, "by Visium’s pitch of 100 µm"
    return None


@dataclass(frozen=True)
class Extent:
    """A region on one slice.

    Parameters
    ----------
    n_spots
        Its spots.
    share
        Of the slice's spots, 0..1.
    n_pieces
        Connected pieces.
    area
        Area of its spots' cells, in ``unit``.
    unit
        ``"µm²"``, or the square of the unit of the coordinates.
    confidence
        Mean confidence of the alignment; nan without spots.
    """

    n_spots: int
    share: float
    n_pieces: int
    area: float
    unit: str
    confidence: float


def extents(
    adata: AnnData,
    region: NDArray[np.bool_],
    libraries: Mapping[str, Mapping[str, Any]] | None = None,
) -> dict[str, Extent]:
    """Measure a region on each slice.

    Parameters
    ----------
    adata
        Integrated slices.
    region
        Whether a spot belongs to it, shape (spots,).
    libraries
        Each slice's part of ``uns["spatial"]``; ``None`` takes that of ``adata``.
    """
    found = {}
    for name in adata.obs[K.SLICE].cat.categories:
        rows = np.flatnonzero((adata.obs[K.SLICE] == name).to_numpy())
        own: Mapping[str, Any] = libraries_of_result(adata, str(name))
        own = own if libraries is None else libraries.get(str(name), {})
        found[str(name)] = _extent(adata[rows], rows[region[rows]], region[rows], own, adata)
    return found


def _extent(
    part: AnnData, rows: Rows, here: NDArray[np.bool_], library: Mapping[str, Any], adata: AnnData
) -> Extent:
    import shapely
    from scipy.sparse.csgraph import connected_components

    xy = spots_xy(part)
    scale = microns_per_unit(part, library)
    # One cell at each place, so that spots at the same place do not count twice.
    places = np.unique(xy, axis=0, return_index=True)[1]
    area = float(shapely.area(cells(xy)[places][here[places]]).sum())
    graph = sparse.csr_matrix(adata.obsp[K.CONNECTIVITIES])[rows][:, rows]
    trust = adata.obs[K.CONFIDENCE].to_numpy()[rows] if K.CONFIDENCE in adata.obs else []
    return Extent(
        len(rows),
        len(rows) / max(1, len(here)),
        int(connected_components(graph, directed=False)[0]) if len(rows) else 0,
        area * (scale[0] ** 2 if scale else 1.0),
        "µm²" if scale else "square units of the coordinates",
        float(np.mean(trust)) if len(trust) else float("nan"),
    )
