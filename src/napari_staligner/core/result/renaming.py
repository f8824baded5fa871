"""Renames the slices of a result."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from napari_staligner import _keys as K
from napari_staligner.core.result.access import record_of, writable_record
from napari_staligner.core.result.ownership import written

if TYPE_CHECKING:
    from anndata import AnnData


def rename_slices(adata: AnnData, names: Mapping[str, str]) -> None:
    """Rename slices of a result, wherever it stores their names.

    Parameters
    ----------
    adata
        Integrated slices; ``obs["slice"]``, ``obs["library_id"]`` and names of slices in ``uns``
        are changed.
    names
        New names by present ones; a slice that is missing keeps its name.
    """
    if all(old == new for old, new in names.items()):
        return
    aside = record_of(adata).get(K.EXCLUDED)
    if aside is not None:
        was = aside.obs[K.SLICE].astype(str)
        aside.obs[K.SLICE] = pd.Categorical(was.map(lambda name: names.get(name, name)))
    ours = K.LIBRARY in adata.obs and K.LIBRARY in written(adata)["obs"]
    for column in (K.SLICE, *([K.LIBRARY] if ours else [])):
        adata.obs[column] = adata.obs[column].cat.rename_categories(dict(names))
    told = writable_record(adata)
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
    """Rename an array or a column of names, or a single name."""
    if isinstance(values, str):
        return names.get(values, values)
    old = np.asarray(values, dtype=object)
    new = [names.get(str(name), str(name)) for name in old.ravel()]
    return np.array(new, dtype=object).reshape(old.shape)
