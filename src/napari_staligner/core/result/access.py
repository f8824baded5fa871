"""Where integrated slices and single ones keep what is read often: coordinates, records, names."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_staligner import _keys as K
from napari_staligner.core.result.ownership import written

if TYPE_CHECKING:
    from anndata import AnnData
    from numpy.typing import NDArray

    LayerData = tuple[Any, dict[str, Any], str]


def spots_xy(adata: AnnData) -> NDArray[np.float64]:
    """Return the coordinates (x, y) of the spots, float64, shape (spots, 2)."""
    return spots_xy(adata)


def record_of(adata: AnnData) -> Mapping[str, Any]:
    """Return what this package has recorded in ``uns["staligner"]``; empty where it has not."""
    kept = adata.uns.get(K.STALIGNER)
    return kept if isinstance(kept, Mapping) else {}


def has_record(adata: AnnData) -> bool:
    """Whether this package has recorded something in ``uns["staligner"]``, be it nothing yet."""
    return isinstance(adata.uns.get(K.STALIGNER), Mapping)


def writable_record(adata: AnnData) -> dict[str, Any]:
    """Return ``uns["staligner"]`` to write to it; made where it is missing."""
    if not has_record(adata):
        writable_record(adata) = {}
    kept: dict[str, Any] = writable_record(adata)
    return kept


def drop_record(adata: AnnData) -> None:
    """Take ``uns["staligner"]`` away."""
    del writable_record(adata)


def spot_size(xy: NDArray[np.float64]) -> float:
    """Diameter that lets spots nearly touch, in the units of the coordinates.

    0.95 × the distance to the fourth neighbour, its lower quartile: inside a square or hexagonal
    grid that neighbour is as near as the first; among scattered spots, whose first neighbour is
    much nearer than most, discs of this size still cover the tissue.
    """
    from scipy.spatial import KDTree

    if len(xy) < 2:
        return 1.0
    rng = np.random.default_rng(0)
    some = xy if len(xy) <= 5000 else xy[rng.choice(len(xy), 5000, replace=False)]
    nth = min(4, len(xy) - 1) + 1
    distance = float(np.quantile(KDTree(xy).query(some, k=[nth])[0], 0.25))
    return 0.95 * distance if distance > 0 else 1.0


def rename_slices(adata: AnnData, names: Mapping[str, str]) -> None:
    """Call slices of a result by other names, wherever it knows them by name.

    Parameters
    ----------
    adata
        Integrated slices; ``obs["slice"]``, ``obs["library_id"]`` and what ``uns`` tells of slices
        are changed.
    names
        New names by present ones; a slice that is missing keeps its name.
    """
    if all(old == new for old, new in names.items()):
        return
    ours = K.LIBRARY in adata.obs and K.LIBRARY in written(adata)["obs"]
    for column in (K.SLICE, *([K.LIBRARY] if ours else [])):
        adata.obs[column] = adata.obs[column].cat.rename_categories(dict(names))
    told = record_of(adata)
    registration, params = told.get("registration", {}), told.get("params", {})
    sources = told.get(K.PROVENANCE, {}).get("sources", {})
    by_slice = (*map(told.get, ("transforms", "radius", K.RECONSTRUCTION_BY_SLICE)), sources)
    for of in (*by_slice, registration.get("bending"), adata.uns.get(K.SPATIAL)):
        if of:
            renamed = {names.get(key, key): value for key, value in of.items()}
            of.clear()
            of.update(renamed)
    shapes = told.get("annotations", {}).get("shapes", {})
    columns = ((told.get(K.PRESENCE), ("slice",)), (told.get(K.VERDICTS), ("first", "second")))
    of_names = [(told, "slices"), (told, "pairs"), (registration, "pairs"), (params, "pairs")]
    of_names += [(registration, "reference"), (shapes, "slice")]
    of_names += [(table, column) for table, some in columns if table is not None for column in some]
    for of, key in of_names:
        if key in of:
            of[key] = _renamed(of[key], names)


def _renamed(values: Any, names: Mapping[str, str]) -> Any:
    """Rename what is in an array or a column of names, or a single one."""
    if isinstance(values, str):
        return names.get(values, values)
    old = np.asarray(values, dtype=object)
    new = [names.get(str(name), str(name)) for name in old.ravel()]
    return np.array(new, dtype=object).reshape(old.shape)
