"""SpatialData stores, and AnnData files and stores."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from napari_staligner import _keys as K
from napari_staligner._errors import InputError
from napari_staligner.core.prepare.counts import RAW, raw_fits
from napari_staligner.core.prepare.on_disk import named_layers
from napari_staligner.core.result.provenance import mark_source, source_of
from napari_staligner.core.result.source import COUNTS
from napari_staligner.io.formats.full_size import add_full_size
from napari_staligner.io.formats.guard import check_inside
from napari_staligner.io.formats.parts import Library, note
from napari_staligner.io.formats.store_cells import cells_of_store, place_in
from napari_staligner.io.formats.tenx import wanted

if TYPE_CHECKING:
    from anndata import AnnData
    from numpy.typing import NDArray

    from napari_staligner.io.formats.found import Found, Named

GLOBAL = "global"
"""The coordinate system that SpatialData uses by default."""


def read_anndata(found: Found, chosen: Mapping[str, str], *, backed: bool = False) -> Named:
    """Read an AnnData as it is.

    ``counts`` names the layer, or ``raw``, that holds the counts. The slice records this in its
    source, and an integration reads the counts from there; ``X`` stays as it is.
    """
    from napari_staligner.io.anndata import read_backed, read_file

    adata = read_backed(found.path) if backed else read_file(found.path)
    source = source_of(adata)
    if COUNTS in chosen and source is not None:
        _check_counts(found.path, adata, chosen[COUNTS])
        mark_source(adata, replace(source, choices={**source.choices, **chosen}))
    return [(found.path.stem, adata)]


def _check_counts(path: Path, adata: AnnData, name: str) -> None:
    there = [*named_layers(adata), *([RAW] if raw_fits(adata) else [])]
    if name not in there and name not in ("X", ".X", f".{RAW}"):
        raise InputError(
            f"{str(path)!r} has no layers[{name!r}] to take the counts from: choose one of "
            f"{', '.join(map(repr, there)) or 'none'}."
        )


def read_spatialdata(found: Found, chosen: Mapping[str, str]) -> Named:
    """Read the tables of a SpatialData store; each region that a table annotates is a slice.

    Coordinates are the centroids of the region's instances in one coordinate system. An image in
    the same system is shown; one in colours goes before others. A store that was exported from
    here is read as the result that it holds, unless something is chosen.
    """
    check_inside(found.path)
    if not found.choices["table"]:
        raise InputError(
            f"{str(found.path)!r} is a SpatialData store without tables: add the table of its "
            "spots or cells, and write it again."
        )
    if K.RESULT_TABLE in found.choices["table"] and not chosen:
        from napari_staligner.io.formats.exported import result_of_store

        return [(found.name, result_of_store(_open(found.path)))]
    names = [name for name in wanted(found, "table", chosen) if name != K.RESULT_TABLE]
    if len(names) > 1:
        raise InputError(
            f"{str(found.path)!r} holds several tables: choose one after the path, such as "
            f"[table={names[0]}] ({', '.join(names)})."
        )
    store = _open(found.path)
    table = store.tables[names[0]]
    slices = [
        _region(found, store, table, region, chosen)
        for region in _regions(found.path, names[0], table)
    ]
    if len(slices) == 1:
        slices = [(found.name, _renamed(slices[0][1], slices[0][0], found.name))]
    return slices


def _open(path: Path) -> Any:
    from napari_staligner.io.anndata import check_matrices

    # ome-zarr logs a warning about labels without a parent, which is not the user's fault.
    logging.getLogger("ome_zarr").addHandler(logging.NullHandler())
    import spatialdata

    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="SpatialData is not stored in the most current")
        warnings.filterwarnings("ignore", message="The table is annotating")  # said by _region
        store = spatialdata.read_zarr(path)
    for name, table in store.tables.items():
        check_matrices(f"{path.name}/tables/{name}", table)
    return store


def _regions(path: Path, name: str, table: AnnData) -> list[str]:
    attrs = table.uns.get("spatialdata_attrs")
    if not isinstance(attrs, Mapping) or attrs.get("region") is None:
        raise InputError(
            f"{str(path)!r}: table {name!r} annotates no element (uns['spatialdata_attrs']), so "
            "its rows have no places: link it to the shapes or labels of its spots."
        )
    return [str(region) for region in np.atleast_1d(np.asarray(attrs["region"], dtype=object))]


def _region(
    found: Found, store: Any, table: AnnData, region: str, chosen: Mapping[str, str]
) -> tuple[str, AnnData]:
    attrs = table.uns["spatialdata_attrs"]
    if region not in store:
        raise InputError(
            f"{str(found.path)!r}: the table annotates {region!r}, which is not in the store: "
            "write the store again with it."
        )
    system, asked = _system(found.path, store, region, chosen), "system" in chosen
    here = (table.obs[attrs["region_key"]] == region).to_numpy()
    if not here.any():
        raise InputError(
            f"{str(found.path)!r}: no row of the table is of {region!r}: mend the table."
        )
    part = table[here].copy()
    rows, xy = _centroids(store, region, system, part.obs[attrs["instance_key"]], found.path)
    lost = part.n_obs - len(rows)
    part = part[rows].copy()
    part.obsm[K.SPATIAL] = xy
    library, said = _image(store, system, chosen, found.path)
    notes = [] if library.scan is None else add_full_size(library, *library.scan, xy)
    library.scalefactors.update(_diameter(store, region, system))
    instances = part.obs[attrs["instance_key"]]
    library.metadata.update(cells_of_store(store, region, system, instances, found.path))
    part.uns[K.SPATIAL] = {region: library.to_uns()}
    part.uns.pop("spatialdata_attrs", None)
    others = [name for name in _systems(store, region) if name != system]
    how = "" if asked or not others else f" by default ([system=…] chooses: {', '.join(others)})"
    first = (
        f"{found.title}, region {region!r} in the coordinate system {system!r}{how}, "
        f"{part.n_obs:,} spots × {part.n_vars:,} genes, {said}"
    )
    left = [f"{lost:,} rows of the table are not in {region!r} and are left out"] if lost else []
    note(part, [first, *left, *notes])
    return region, part


def _renamed(adata: AnnData, old: str, new: str) -> AnnData:
    """Give a slice and its library the name of the store."""
    adata.uns[K.SPATIAL] = {new: adata.uns[K.SPATIAL][old]}
    return adata


def _systems(store: Any, region: str) -> list[str]:
    from spatialdata.transformations import get_transformation

    return [str(name) for name in get_transformation(store[region], get_all=True)]


def _system(path: Path, store: Any, region: str, chosen: Mapping[str, str]) -> str:
    there = _systems(store, region)
    asked = chosen.get("system")
    if asked is not None:
        if asked not in there:
            raise InputError(
                f"{str(path)!r}: {region!r} has no coordinate system {asked!r}: choose one of "
                f"{', '.join(there)}."
            )
        return asked
    if GLOBAL in there:
        return GLOBAL
    # Stores of several slices have a system for each, and its elements begin with its name.
    own = [name for name in there if region == name or region.startswith(f"{name}_")]
    if len(there) == 1 or own:
        return (own or there)[0]
    raise InputError(
        f"{str(path)!r}: {region!r} lies in several coordinate systems ({', '.join(there)}): "
        f"choose one after the path, such as [system={there[0]}]."
    )


def _centroids(
    store: Any, region: str, system: str, instances: pd.Series, path: Path
) -> tuple[NDArray[np.intp], NDArray[np.float64]]:
    """Rows of the table whose instance exists, and their positions."""
    from spatialdata import get_centroids

    found = get_centroids(store[region], coordinate_system=system)
    places = found.compute() if hasattr(found, "compute") else found
    at = places.index.get_indexer(pd.Index(instances))
    rows = np.flatnonzero(at >= 0)
    if not len(rows):
        raise InputError(
            f"{str(path)!r}: no row of the table names an instance of {region!r} "
            f"({instances.name!r} has {str(instances.iloc[0])!r}, {region!r} has "
            f"{str(next(iter(places.index), 'none'))!r}): mend the table."
        )
    return rows, places[["x", "y"]].to_numpy(np.float64)[at[rows]]


def _diameter(store: Any, region: str, system: str) -> dict[str, float]:
    """Diameter of the spots of a region, if they are circles."""
    from spatialdata.transformations import get_transformation

    if region not in store.shapes or "radius" not in store[region]:
        return {}
    place = get_transformation(store[region], system).to_affine_matrix(("x", "y"), ("x", "y"))
    scale = np.sqrt(abs(np.linalg.det(place[:2, :2])))
    return {"spot_diameter_fullres": float(2 * scale * store[region]["radius"].median())}


def _image(store: Any, system: str, chosen: Mapping[str, str], path: Path) -> tuple[Library, str]:
    """The image of a coordinate system, one in colours if there is any, and a note on it."""
    asked = chosen.get("image")
    if asked is not None and asked not in store.images:
        raise InputError(
            f"{str(path)!r} has no image {asked!r}: choose one of "
            f"{', '.join(store.images) or 'none'}."
        )
    found, reasons = [], []
    for name in store.images if asked is None else (asked,):
        place = place_in(store.images[name], system)
        if place is None:
            reasons.append(f"{name!r} is not in {system!r}")
        else:
            found.append((name, place))
    found.sort(key=lambda each: _n_channels(store.images[each[0]]) not in (3, 4))
    if found:
        name, place = found[0]
        return Library(scan=(path / "images" / name, place)), f"image: {name}"
    return Library(), "image: none" + (f" ({'; '.join(reasons)})" if reasons else "")


def _n_channels(element: Any) -> int:
    level = element
    if hasattr(element, "children"):
        level = next(iter(next(iter(element.children.values())).data_vars.values()))
    return int(level.sizes["c"])
