"""A SpatialData store that was exported from here, as integrated slices again."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from scipy import sparse

from napari_staligner import _keys as K
from napari_staligner._errors import InputError
from napari_staligner.core.prepare.image_move import IMAGE_MOVED, image_move
from napari_staligner.core.prepare.libraries import drawable
from napari_staligner.core.prepare.on_disk import named_layers
from napari_staligner.core.registration.transforms import inverse, scale_of
from napari_staligner.core.result.access import spots_xy
from napari_staligner.io.export.parts import rows_by_slice

if TYPE_CHECKING:
    from anndata import AnnData
    from numpy.typing import NDArray
    from spatialdata import SpatialData

NAMES = "staligner_names"
"""In its ``uns``: for each slot, the keys that SpatialData does not accept (as written, and
original); and ``elements``, the names of each slice's elements. Arrays of text, shape (n, 2)."""
SLOTS = ("obs", "var", "obsm", "varm", "obsp", "layers", "uns")
"""Slots whose keys SpatialData checks."""


def result_of_store(store: SpatialData) -> AnnData:
    """Return the integrated slices that were exported to a store.

    Parameters
    ----------
    store
        A SpatialData object with the table ``"staligner_result"``. Columns that others added to
        the tables of slices are read, too.

    Raises
    ------
    InputError
        The table of a slice is missing.
    """
    table = store.tables[K.RESULT_TABLE].copy()
    names = table.uns.pop(NAMES)
    _rename_back(table, names)
    rows, keys = rows_by_slice(table), {str(name): str(key) for key, name in names["elements"]}
    lost = [name for name in rows if f"{keys.get(name)}_table" not in store.tables]
    if lost:
        # Missing values must not become zeros.
        raise InputError(
            f"The store has lost the table of slice {lost[0]!r}: take the others one by one, with "
            "[table=…] after the path."
        )
    parts = {name: (keys[name], store.tables[f"{keys[name]}_table"]) for name in rows}
    matrices = {name: part.X for name, (_, part) in parts.items()}
    if all(matrix is not None for matrix in matrices.values()):
        table.X = _joined(table, rows, parts, matrices)
    layers = [set(named_layers(part)) for _, part in parts.values()]
    for layer in set.intersection(*layers):
        own = dict(map(tuple, names.get("layers", ()))).get(layer, layer)
        values = {name: part.layers[layer] for name, (_, part) in parts.items()}
        table.layers[own] = _joined(table, rows, parts, values)
    renamed = {str(here) for here, _ in names.get("obs", ())}
    known = {str(column) for column in table.obs} | renamed
    for name, (key, part) in parts.items():
        _take_columns(table, rows[name], part, known)
        if f"{key}_image" in store.images:
            _take_image(table, name, rows[name], key, store.images[f"{key}_image"])
    return table


def _rename_back(table: AnnData, names: dict[str, Any]) -> None:
    for slot in SLOTS:
        renamed = {str(here): str(own) for here, own in names.get(slot, ())}
        part = getattr(table, slot)
        if slot in ("obs", "var"):
            setattr(table, slot, part.rename(columns=renamed))
            continue
        for here, own in renamed.items():
            if here in part:
                part[own] = part.pop(here)


def _joined(
    table: AnnData,
    rows: dict[str, NDArray[np.intp]],
    parts: dict[str, tuple[str, AnnData]],
    matrices: dict[str, Any],
) -> Any:
    """Stack the matrices of slices, with all genes: CSR if any is sparse, else dense."""
    blocks, order = [], []
    for name, matrix in matrices.items():
        part = parts[name][1]
        at = table.var_names.get_indexer(part.var_names)
        block = sparse.csr_matrix(matrix).tocoo()
        shape = (part.n_obs, table.n_vars)
        blocks.append(sparse.csr_matrix((block.data, (block.row, at[block.col])), shape=shape))
        # By name: rows may have been sorted or left out since.
        order.append(table.obs_names.get_indexer(part.obs_names))
    place = np.concatenate(order)
    known = np.flatnonzero(place >= 0)
    stacked = sparse.vstack(blocks, format="csr")[known]
    row = np.repeat(place[known], np.diff(stacked.indptr))
    whole = sparse.csr_matrix(
        (stacked.data, (row, stacked.indices)), shape=(table.n_obs, table.n_vars)
    )
    return whole if any(map(sparse.issparse, matrices.values())) else whole.toarray()


def _take_columns(table: AnnData, rows: NDArray[np.intp], part: AnnData, known: set[str]) -> None:
    """Take columns that others added to a slice's table."""
    at = part.obs_names.get_indexer(table.obs_names[rows])
    if (at < 0).any():
        return
    ours = (K.ELEMENT, K.INSTANCE)
    for column in (c for c in part.obs if c not in known and not str(c).startswith(ours)):
        values = part.obs[column].iloc[at]
        whole = pd.Series(None, index=table.obs_names, dtype=object)
        if column in table.obs:
            whole = table.obs[column].astype(object)
        whole.iloc[rows] = values.astype(object).to_numpy()
        whole = whole.infer_objects()
        table.obs[column] = whole.astype("category") if whole.dtype == object else whole


def _take_image(table: AnnData, name: str, rows: NDArray[np.intp], key: str, element: Any) -> None:
    from spatialdata.transformations import get_transformation

    to_spots = get_transformation(element, key).to_affine_matrix(("x", "y"), ("x", "y"))
    libraries = table.uns.setdefault(K.SPATIAL, {})
    library = libraries.setdefault(name, {})
    factor = 1 / scale_of(to_spots)
    kept, own = image_move(library), np.diag([1 / factor, 1 / factor, 1.0])
    if not np.allclose(kept @ own, to_spots, rtol=1e-6, atol=1e-6):
        # Another program may have moved the image.
        own = inverse(kept) @ to_spots
        straight = np.allclose(own, np.diag([own[0, 0], own[0, 0], 1.0]), rtol=1e-6, atol=1e-6)
        if straight and own[0, 0] > 0:
            factor = 1 / float(own[0, 0])
        else:
            moved = to_spots @ np.diag([factor, factor, 1.0])
            library["metadata"] = {**(library.get("metadata") or {}), IMAGE_MOVED: moved}
    factors = library.setdefault("scalefactors", {})
    low = np.isclose(float(factors.get("tissue_lowres_scalef", np.nan)), factor)
    high = np.isclose(float(factors.get("tissue_hires_scalef", np.nan)), factor)
    kind = "lowres" if low and not high else "hires"
    factors[f"tissue_{kind}_scalef"] = factor
    library["images"] = {kind: element.transpose("y", "x", "c").to_numpy()}
    libraries[name] = drawable(library, spots_xy(table)[rows])
