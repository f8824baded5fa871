"""Integrated slices as a SpatialData store (zarr), and such a store as integrated slices again."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from scipy import sparse

from napari_staligner import _keys as K
from napari_staligner.core.annotations.record import annotations_of
from napari_staligner.core.prepare.libraries import libraries_in
from napari_staligner.core.prepare.on_disk import in_memory, named_layers
from napari_staligner.core.progress import Progress, finish
from napari_staligner.core.result.access import drop_record
from napari_staligner.core.result.ownership import claim
from napari_staligner.io.annotations.spatialdata import element_names, elements_of
from napari_staligner.io.atomic import written_beside
from napari_staligner.io.export.parts import rows_by_slice
from napari_staligner.io.h5ad import genes_of_slice

if TYPE_CHECKING:
    from anndata import AnnData
    from numpy.typing import NDArray
    from spatialdata import SpatialData

    from napari_staligner.core.annotations.annotations import Annotations
    from napari_staligner.core.progress import Steps

NAMES = "staligner_names"
"""In its ``uns``: of each slot, the keys that SpatialData does not take (here, and their own); and
``elements``, what the elements of each slice are called. Arrays of text, shape (n, 2)."""
_SLOTS = ("obs", "var", "obsm", "varm", "obsp", "layers", "uns")


def write_spatialdata(adata: AnnData, annotations: Annotations, path: Path) -> Path:
    """Write integrated slices as a SpatialData store; see :func:`to_spatialdata`.

    Parameters
    ----------
    adata
        Integrated slices.
    annotations
        Of these spots.
    path
        Folder to write, ``.zarr``; one that is there is replaced when all is written.

    Returns
    -------
    The path.

    Raises
    ------
    InputError
        The folder cannot be written.
    """
    with written_beside(path) as draft:
        to_spatialdata(adata, annotations).write(draft)
    return path


def store_steps(adata: AnnData, draft: Path) -> Steps[str]:
    """Write integrated slices as a SpatialData store, a step at a time."""
    store = yield from _store_steps(adata, annotations_of(adata))
    names = rows_by_slice(adata)
    yield Progress("writing the store", len(names), len(names) + 1)
    store.write(draft)
    return f"{len(names)} slice{'' if len(names) == 1 else 's'}"


def to_spatialdata(adata: AnnData, annotations: Annotations) -> SpatialData:
    """Return integrated slices as a SpatialData object.

    Each slice has a coordinate system of its own name, in the units of its coordinates, and, where
    it was aligned, a place in the system ``"aligned"``. Its elements are circles (``…_spots``), the
    tissue image (``…_image``), outlines of the annotated classes (``…_regions``) and what was drawn
    (``…_drawn``). A table of its own (``…_table``) annotates its spots: genes, columns with those
    categories that it has, embeddings. What is of several slices (graphs, parameters, transforms,
    every edit of the annotations) is in the table ``"staligner_result"``, by which the store opens
    as a result again.

    Parameters
    ----------
    adata
        Integrated slices.
    annotations
        Of these spots.
    """
    return finish(_store_steps(adata, annotations))


def _store_steps(adata: AnnData, annotations: Annotations) -> Steps[SpatialData]:
    from spatialdata import SpatialData

    slices = rows_by_slice(adata)
    keys = element_names(slices)
    elements: dict[str, Any] = {}
    for done, (name, rows) in enumerate(slices.items()):
        yield Progress(f"elements of {name}", done, len(slices) + 1)
        elements |= elements_of(adata, annotations, name, keys[name])
        elements[f"{keys[name]}_table"] = _table_of(adata, name, rows, keys[name])
    elements[K.RESULT_TABLE] = _table_of_all(adata, keys)
    return SpatialData.init_from_elements(elements)


def _table_of(adata: AnnData, name: str, rows: NDArray[np.intp], key: str) -> AnnData:
    """The table that annotates the spots of a slice."""
    from anndata import AnnData
    from spatialdata.models import TableModel

    genes = genes_of_slice(adata, name)
    part = adata[rows, genes]
    # Of the view, unused categories would be gone before their colours are looked up.
    obs, uns = adata.obs.iloc[rows].copy(), {}
    for column in obs.select_dtypes("category"):
        colors = adata.uns.get(f"{column}_colors")
        used = np.unique(obs[column].cat.codes[obs[column].cat.codes >= 0])
        if colors is not None and len(colors) == len(obs[column].cat.categories):
            # Viewers pair categories with colours one by one.
            uns[f"{column}_colors"] = np.asarray(colors, dtype=object)[used]
        obs[column] = obs[column].cat.remove_unused_categories()
    table = AnnData(
        None if part.X is None else in_memory(part.X).copy(),
        obs=obs,
        var=part.var.copy(),
        obsm={k: v.copy() for k, v in part.obsm.items()},
        layers={k: in_memory(v).copy() for k, v in named_layers(part).items()},
        uns=uns,
    )
    claim(table, "obs", K.ELEMENT, K.INSTANCE)
    drop_record(table)
    table.obs[K.ELEMENT] = pd.Categorical([f"{key}_spots"] * len(rows))
    table.obs[K.INSTANCE] = np.arange(len(rows))
    _with_valid_keys(table)
    return TableModel.parse(
        table, region=f"{key}_spots", region_key=K.ELEMENT, instance_key=K.INSTANCE
    )


def _table_of_all(adata: AnnData, keys: dict[str, str]) -> AnnData:
    """What is of several slices: all but the expression and the images."""
    from anndata import AnnData
    from spatialdata.models import TableModel

    table = AnnData(
        obs=adata.obs.copy(),
        var=adata.var.copy(),
        obsm={k: v.copy() for k, v in adata.obsm.items()},
        varm={k: v.copy() for k, v in adata.varm.items()},
        obsp={k: v.copy() for k, v in adata.obsp.items()},
        uns=dict(adata.uns),
    )
    libraries = libraries_in(adata.uns.get(K.SPATIAL))
    table.uns[K.SPATIAL] = {
        name: {key: value for key, value in library.items() if key != "images"}
        for name, library in libraries.items()
    }
    renamed: dict[str, Any] = _with_valid_keys(table)
    table.uns[NAMES] = renamed | {"elements": _pairs((key, name) for name, key in keys.items())}
    return TableModel.parse(table)


def _with_valid_keys(table: AnnData) -> dict[str, Any]:
    """Rename in place what SpatialData does not take; return the keys here, and their own."""
    from spatialdata import sanitize_table

    before = {slot: list(getattr(table, slot)) for slot in _SLOTS}
    sanitize_table(table)
    renamed = {}
    for slot, old in before.items():
        pairs = zip(getattr(table, slot), old, strict=True)
        changed = [(here, own) for here, own in pairs if here != own]
        if changed:
            renamed[slot] = _pairs(changed)
    return renamed


def _pairs(pairs: Any) -> NDArray[Any]:
    return np.array(list(pairs), dtype=object).reshape(-1, 2)


# -- back ---------------------------------------------------------------------------------------


def result_of_store(store: SpatialData) -> AnnData:
    """Return the integrated slices that :func:`to_spatialdata` made a store of.

    Parameters
    ----------
    store
        A SpatialData object with the table ``"staligner_result"``. Columns that others added to
        the tables of slices are taken, too.
    """
    table = store.tables[K.RESULT_TABLE].copy()
    names = table.uns.pop(NAMES)
    _rename_back(table, names)
    parts = {
        str(name): (str(key), store.tables[f"{key}_table"])
        for key, name in names["elements"]
        if f"{key}_table" in store.tables
    }
    rows = rows_by_slice(table)
    parts = {name: part for name, part in parts.items() if name in rows}
    matrices = {name: part.X for name, (_, part) in parts.items()}
    if matrices and all(matrix is not None for matrix in matrices.values()):
        table.X = _joined(table, rows, parts, matrices)
    layers = [set(named_layers(part)) for _, part in parts.values()]
    for layer in set.intersection(*layers) if layers else ():
        own = dict(map(tuple, names.get("layers", ()))).get(layer, layer)
        values = {name: part.layers[layer] for name, (_, part) in parts.items()}
        table.layers[own] = _joined(table, rows, parts, values)
    renamed = {str(here) for here, _ in names.get("obs", ())}
    known = {str(column) for column in table.obs} | renamed
    for name, (key, part) in parts.items():
        _take_columns(table, rows[name], part, known)
        if f"{key}_image" in store.images:
            _take_image(table, name, key, store.images[f"{key}_image"])
    return table


def _rename_back(table: AnnData, names: dict[str, Any]) -> None:
    for slot in _SLOTS:
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
    """Put matrices of slices below each other, with all genes: CSR if any is sparse, else dense."""
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


def _take_image(table: AnnData, name: str, key: str, element: Any) -> None:
    from spatialdata.transformations import get_transformation

    to_spots = get_transformation(element, key).to_affine_matrix(("x", "y"), ("x", "y"))
    libraries = table.uns.setdefault(K.SPATIAL, {})
    library = libraries.setdefault(name, {})
    library.setdefault("scalefactors", {})["tissue_hires_scalef"] = 1 / float(to_spots[0, 0])
    library["images"] = {"hires": element.transpose("y", "x", "c").to_numpy()}
