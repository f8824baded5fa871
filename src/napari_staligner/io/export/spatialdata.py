"""Integrated slices as a SpatialData store (zarr)."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from napari_staligner import _keys as K
from napari_staligner.core.annotations.record import annotations_of
from napari_staligner.core.prepare.libraries import as_it_came, libraries_in
from napari_staligner.core.prepare.on_disk import in_memory, named_layers
from napari_staligner.core.prepare.storable import with_storable_keys
from napari_staligner.core.progress import Progress, finish
from napari_staligner.core.result.access import drop_record
from napari_staligner.core.result.ownership import claim
from napari_staligner.io.annotations.spatialdata import element_names, elements_of
from napari_staligner.io.atomic import written_beside
from napari_staligner.io.export.bent import bent_elements, bent_slices, place_unbent
from napari_staligner.io.export.parts import counted, rows_by_slice
from napari_staligner.io.formats.exported import NAMES, SLOTS
from napari_staligner.io.h5ad import genes_of_slice

if TYPE_CHECKING:
    from anndata import AnnData
    from numpy.typing import NDArray
    from spatialdata import SpatialData

    from napari_staligner.core.annotations.annotations import Annotations
    from napari_staligner.core.progress import Steps


def write_spatialdata(adata: AnnData, annotations: Annotations, path: Path) -> Path:
    """Write integrated slices as a SpatialData store; see :func:`to_spatialdata`.

    Parameters
    ----------
    adata
        Integrated slices.
    annotations
        Of these spots.
    path
        Folder to write, ``.zarr``; an existing one is replaced when all is written.

    Returns
    -------
    The path.

    Raises
    ------
    InputError
        The folder cannot be written.
    """
    with written_beside(path) as draft:
        _write(to_spatialdata(adata, annotations), draft)
    return path


def store_steps(adata: AnnData, draft: Path) -> Steps[str]:
    """Write integrated slices as a SpatialData store, a step at a time."""
    store = yield from _store_steps(adata, annotations_of(adata))
    names = rows_by_slice(adata)
    yield Progress("writing the store", len(names), len(names) + 1)
    _write(store, draft)
    return counted(names)


def _write(store: SpatialData, draft: Path) -> None:
    with warnings.catch_warnings():
        # anndata warns about what a later version of it will do.
        warnings.filterwarnings("ignore", message="zarr v3 autosharding")
        store.write(draft)


def to_spatialdata(adata: AnnData, annotations: Annotations) -> SpatialData:
    """Return integrated slices as a SpatialData object.

    Each slice has a coordinate system with its own name, in the units of its coordinates. If it
    was aligned, it also has a place in the system ``"aligned"``. Its elements are circles
    (``…_spots``), the tissue image (``…_image``), outlines of the annotated classes (``…_regions``)
    and drawn shapes (``…_drawn``). Transformations of SpatialData are affine: if slices are bent,
    their spots and images are there once more as they are bent (``…_spots_bent``,
    ``…_image_bent``), in the system ``"aligned_bent"`` of all slices. Its own table (``…_table``)
    annotates its spots: genes, embeddings, and columns with only the categories that it has. What
    belongs to several slices (graphs, parameters, transforms, every edit of the annotations) is in
    the table ``"staligner_result"``, so that the store opens as a result again.

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
    bent = bent_slices(adata, slices)
    elements: dict[str, Any] = {}
    for done, (name, rows) in enumerate(slices.items()):
        yield Progress(f"elements of {name}", done, len(slices) + 1)
        own = elements_of(adata, annotations, name, keys[name])
        if name in bent:
            own |= bent_elements(adata, name, keys[name], rows)
        elif bent:
            place_unbent(own)
        elements |= own
        elements[f"{keys[name]}_table"] = _table_of(adata, name, rows, keys[name])
    elements[K.RESULT_TABLE] = _table_of_all(adata, keys)
    return SpatialData.init_from_elements(elements)


def _table_of(adata: AnnData, name: str, rows: NDArray[np.intp], key: str) -> AnnData:
    """The table that annotates the spots of a slice."""
    from anndata import AnnData
    from spatialdata.models import TableModel

    genes = genes_of_slice(adata, name)
    part = adata[rows, genes]
    # A view would drop unused categories before their colours are looked up.
    obs, uns = adata.obs.iloc[rows].copy(), {}
    for column in obs.select_dtypes("category"):
        colors = adata.uns.get(f"{column}_colors")
        used = np.unique(obs[column].cat.codes[obs[column].cat.codes >= 0])
        if colors is not None and len(colors) == len(obs[column].cat.categories):
            # Viewers match categories and colours by position.
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
    """What belongs to several slices: all but the expression and the images."""
    from anndata import AnnData
    from spatialdata.models import TableModel

    table = AnnData(
        obs=adata.obs.copy(),
        var=adata.var.copy(),
        obsm={k: v.copy() for k, v in adata.obsm.items()},
        varm={k: v.copy() for k, v in adata.varm.items()},
        obsp={k: v.copy() for k, v in adata.obsp.items()},
        # SpatialData looks at the names of whole slots only.
        uns={key: with_storable_keys(value) for key, value in adata.uns.items()},
    )
    libraries = libraries_in(adata.uns.get(K.SPATIAL))
    described = {
        name: {key: value for key, value in as_it_came(library).items() if key != "images"}
        for name, library in libraries.items()
    }
    table.uns[K.SPATIAL] = with_storable_keys(described)
    renamed: dict[str, Any] = _with_valid_keys(table)
    table.uns[NAMES] = renamed | {"elements": _pairs((key, name) for name, key in keys.items())}
    return TableModel.parse(table)


def _with_valid_keys(table: AnnData) -> dict[str, Any]:
    """Rename in place the keys that SpatialData does not accept; return the new and old keys."""
    from spatialdata import sanitize_table

    before = {slot: list(getattr(table, slot)) for slot in SLOTS}
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
