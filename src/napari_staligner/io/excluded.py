"""Excluded spots from files: regions of folds and tears, and results that left some out."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from napari_staligner import _keys as K
from napari_staligner._errors import InputError
from napari_staligner.core.annotations.annotations import Annotations
from napari_staligner.core.annotations.classes import EXCLUDE
from napari_staligner.core.prepare.coordinates import with_places
from napari_staligner.core.prepare.excluded import excluded_of, mark_excluded
from napari_staligner.core.prepare.libraries import drawable_libraries
from napari_staligner.core.prepare.on_disk import named_layers
from napari_staligner.core.prepare.slices import with_unique_names
from napari_staligner.core.result.access import spots_xy
from napari_staligner.core.result.ownership import names_of_input
from napari_staligner.io.annotations.geojson import UNCLASSIFIED, read_geojson
from napari_staligner.io.h5ad import genes_of_slice, read_any

if TYPE_CHECKING:
    from anndata import AnnData
    from numpy.typing import NDArray

    from napari_staligner.io.formats.found import Named

FORMATS = (".geojson", ".json", ".h5ad")


def exclude(
    slices: Sequence[tuple[str, AnnData]],
    regions: str | os.PathLike[str],
    *,
    by: str | None = None,
) -> list[tuple[str, AnnData]]:
    """Exclude the spots of folds and tears, so that an integration leaves them out.

    Parameters
    ----------
    slices
        Name and AnnData of each; they are not changed.
    regions
        GeoJSON, as QuPath, TissUUmaps and ``napari-staligner annotations`` write it: its regions
        of the class ``exclude``, or all if no region has a class. Or a result, ``.h5ad``: the
        spots that it left out.
    by
        The file to record; ``None`` for this one.

    Returns
    -------
    The slices with ``obs["excluded"]``, bool; :func:`~napari_staligner.integrate` leaves those
    spots out, and keeps them in ``uns["staligner"]["excluded"]``. Such a column can be written by
    hand, too.

    Raises
    ------
    InputError
        The file cannot be read, names none of the slices, or excludes no spot.
    """
    path = Path(os.fspath(regions))
    if path.suffix.lower() not in FORMATS:
        raise InputError(
            f"{path.name!r}: regions to exclude come from .geojson, or a result's .h5ad; choose "
            "one."
        )
    find = _in_result if path.suffix.lower() == ".h5ad" else _in_regions
    found = find(slices, path)
    told = by or str(path.resolve())
    return [(name, mark_excluded(name, adata, found[name], told)) for name, adata in slices]


def _in_regions(slices: Sequence[tuple[str, AnnData]], path: Path) -> dict[str, NDArray[np.bool_]]:
    from anndata import AnnData

    rows, parts = [], []
    for name, adata in slices:
        bare = AnnData(
            obs=pd.DataFrame({"row": np.arange(adata.n_obs)}, index=adata.obs_names),
            obsm=dict(adata.obsm),
            uns=dict(adata.uns),
        )
        # Spots without a place are in no region.
        placed = with_places(name, bare)
        rows.append(placed.obs["row"].to_numpy())
        parts.append((name, placed))
    names = [name for name, _ in parts]
    sizes = [part.n_obs for _, part in parts]
    joined = AnnData(
        obs=pd.DataFrame(
            {K.SLICE: pd.Categorical.from_codes(np.repeat(np.arange(len(names)), sizes), names)},
            index=[str(number) for number in range(sum(sizes))],
        ),
        obsm={K.SPATIAL: np.concatenate([spots_xy(part) for _, part in parts])},
        uns={K.SPATIAL: drawable_libraries(parts)},
    )
    inside = np.split(_excluded_rows(joined, path), np.cumsum(sizes)[:-1])
    found = {}
    for (name, adata), row, here in zip(slices, rows, inside, strict=True):
        found[name] = np.zeros(adata.n_obs, dtype=bool)
        found[name][row[here]] = True
    return found


def _excluded_rows(joined: AnnData, path: Path) -> NDArray[np.bool_]:
    """Which spots lie in the regions to exclude."""
    read = Annotations(spots=joined.obs_names)
    read_geojson(joined, read, path)
    there = [c.name for c in read.classes]
    wanted = [name for name in there if name.strip().lower() == EXCLUDE]
    if there == [UNCLASSIFIED]:
        wanted = there
    if not wanted:
        raise InputError(
            f"{path.name!r} holds no region of the class {EXCLUDE!r}, only "
            f"{', '.join(map(repr, there))}: give the regions to exclude that class."
        )
    return np.isin(read.codes(), [there.index(name) for name in wanted])


def _in_result(slices: Sequence[tuple[str, AnnData]], path: Path) -> dict[str, NDArray[np.bool_]]:
    content = read_any(path)
    aside = excluded_of(content[1]) if content[0] == "result" else None
    if aside is None:
        raise InputError(f"{path.name!r} is no result that left out excluded spots: give another.")
    found = {}
    for name, adata in slices:
        here = aside.obs_names[aside.obs[K.SLICE] == name]
        spots = with_unique_names(name, adata)[0].obs_names
        found[name] = np.asarray(spots.isin(here.str.removesuffix(f"_{name}")))
    if not any(each.any() for each in found.values()):
        names = ", ".join(map(repr, dict.fromkeys(map(str, aside.obs[K.SLICE]))))
        raise InputError(
            f"{path.name!r} excludes spots of {names}, but none of these slices: give slices of "
            "these names."
        )
    return found


def slices_of_excluded(result: AnnData) -> Named:
    """Split the excluded spots of a result by slice, as its slices are split.

    Parameters
    ----------
    result
        Integrated slices.

    Returns
    -------
    Name and excluded spots of each slice that has any, with the genes and columns of
    :func:`~napari_staligner.io.h5ad.slices_of_result`.
    """
    from anndata import AnnData

    aside = excluded_of(result)
    if aside is None:
        return []
    own = {slot: names_of_input(result, slot) for slot in ("obs", "obsm")}
    columns = [key for key in own["obs"] if key in aside.obs and key not in _MARKS]
    found: Named = []
    for name in dict.fromkeys(map(str, aside.obs[K.SLICE])):
        part = aside[(aside.obs[K.SLICE] == name).to_numpy(), genes_of_slice(result, name)]
        obs = part.obs[[*columns, *_MARKS]].rename(columns=own["obs"])
        obs.index = obs.index.str.removesuffix(f"_{name}")
        obsm = {own["obsm"].get(key, key): part.obsm[key].copy() for key in part.obsm}
        found.append(
            (
                name,
                AnnData(
                    None if part.X is None else part.X.copy(),
                    obs=obs,
                    var=pd.DataFrame(index=part.var_names),
                    obsm=obsm,
                    layers={key: layer.copy() for key, layer in named_layers(part).items()},
                ),
            )
        )
    return found


_MARKS = (K.EXCLUDED, K.EXCLUDED_AFTER)
