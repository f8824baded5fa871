"""Turns a finished result of another program into one of ours: slices, graphs and matches."""

from __future__ import annotations

from importlib.metadata import version
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from scipy import sparse

from napari_staligner import _keys as K
from napari_staligner._errors import InputError
from napari_staligner.core.prepare.coordinates import with_places
from napari_staligner.core.prepare.libraries import drawable_libraries
from napari_staligner.core.prepare.notes import notes_of
from napari_staligner.core.prepare.sections import split_by
from napari_staligner.core.progress import Progress, Steps, part_of
from napari_staligner.core.result.access import writable_record
from napari_staligner.core.result.ownership import claim
from napari_staligner.core.result.provenance import record_sources, source_of
from napari_staligner.core.result.soundness import LARGEST, drop_odd_colors
from napari_staligner.core.settings import Settings

if TYPE_CHECKING:
    from anndata import AnnData
    from numpy.typing import NDArray

    from napari_staligner.core.prepare.graph import SpatialGraph
    from napari_staligner.core.result.finished import Finished

FEWEST_SPOTS = 2
"""A slice of one spot has no neighbours."""


def adopt_steps(adata: AnnData, found: Finished) -> Steps[AnnData]:
    """Turn a finished result of another program into one that can be judged, without training.

    Parameters
    ----------
    adata
        What its file holds; it is not changed.
    found
        The slots that are used.

    Returns
    -------
    Its spots, slice by slice, with everything in the file. Spots without a slice, coordinates or an
    embedding are left out, and a note says so. It adds ``obs["slice"]``, ``obs["library_id"]``,
    ``obsm["STAligner"]`` (the embedding, float32), ``obsp["spatial_connectivities"]``,
    ``obsp["spatial_distances"]``, ``obsp["mutual_neighbors"]`` and ``uns["staligner"]``; existing
    columns with these names are kept as ``<column>_of_input``. The stages that follow training
    (confidence, domains, registration) are still missing:
    :func:`~napari_staligner.complete` computes them.

    Raises
    ------
    InputError
        It lacks coordinates, or no spot is left.
    """
    from napari_staligner.core.prepare.graph import graph_steps

    yield Progress("slices of the result", 0, 3)
    lean, notes = _lean(adata, found)
    parts = []
    for name, part in split_by(found.column, lean, found.column):
        placed = with_places(name, part)
        notes += notes_of(name, placed)
        if placed.n_obs >= FEWEST_SPOTS:
            parts.append((name, placed))
    if len(parts) < 2:
        raise InputError(
            f"Fewer than two slices by obs[{found.column!r}] have spots with places and an "
            f"embedding: choose another column, by [embedding={found.embedding},slice=COLUMN]."
        )
    rows = np.concatenate([part.obs_names.astype(int) for _, part in parts])
    result = adata[rows].copy()
    z = np.ascontiguousarray(_numbers(result.obsm[found.embedding]), dtype=np.float32)
    notes += _record(result, parts, found, z)
    settings = Settings()
    places = [(name, part.obsm[K.SPATIAL].astype(np.float64)) for name, part in parts]
    graphs = yield from part_of(graph_steps(places, settings), 1, 1, 3)
    pairs, mutual = yield from part_of(_matches(graphs, z, settings), 2, 1, 3)
    _record_graphs(result, graphs, mutual)
    told = writable_record(result)
    told["pairs"] = np.array(pairs, dtype=object).reshape(-1, 2)
    told["notes"] = np.array([found.said, *notes], dtype=object)
    for note in told["notes"]:
        yield Progress("slices of the result", 3, 3, note=str(note))
    return result


def _numbers(embedding: Any) -> NDArray[Any]:
    """An embedding as an array; some programs store it as a sparse matrix."""
    return np.asarray(embedding.toarray() if sparse.issparse(embedding) else embedding)


def _lean(adata: AnnData, found: Finished) -> tuple[AnnData, list[str]]:
    """The spots that have an embedding, named by their rows, without genes."""
    from anndata import AnnData

    z = _numbers(adata.obsm[found.embedding]).astype(np.float64)
    # NaN is not smaller than anything either.
    there = np.flatnonzero((np.abs(z) <= LARGEST).all(axis=1))
    lost = adata.n_obs - len(there)
    obs = adata.obs.iloc[there].copy()
    obs.index = there.astype(str)
    obsm = {}
    for key, value in adata.obsm.items():
        if key != found.embedding:
            obsm[key] = value.iloc[there] if isinstance(value, pd.DataFrame) else value[there]
        if key != found.embedding and isinstance(value, pd.DataFrame):
            obsm[key] = obsm[key].set_axis(obs.index)
    uns = {key: adata.uns[key] for key in (K.SPATIAL, K.SOURCE) if key in adata.uns}
    notes = (
        [
            f"{lost:,} spots have no number, or one beyond all bounds, in "
            f"obsm[{found.embedding!r}]; they were left out."
        ]
        if lost
        else []
    )
    return AnnData(obs=obs, obsm=obsm, uns=uns), notes


def _record(
    result: AnnData,
    parts: list[tuple[str, AnnData]],
    found: Finished,
    z: NDArray[np.float32],
) -> list[str]:
    """Write slices, places, images and the embedding; return what was moved aside for them."""
    names = [name for name, _ in parts]
    slice_of = np.repeat(np.arange(len(parts)), [part.n_obs for _, part in parts])
    result.uns.pop(K.SOURCE, None)
    result.uns.pop(K.NOTES, None)
    said = [f"{slot} is no list of colours; it was left out." for slot in drop_odd_colors(result)]
    # Also what is not computed yet: a column of theirs would be taken for ours.
    said += claim(result, "obs", K.SLICE, K.LIBRARY, K.DOMAIN, K.CONFIDENCE, K.RESIDUAL)
    said += claim(result, "obsm", K.SPATIAL_ALIGNED, K.SHIFT)
    if found.embedding != K.EMBEDDING:
        said += claim(result, "obsm", K.EMBEDDING)
    said += claim(result, "obsp", K.CONNECTIVITIES, K.DISTANCES, K.MUTUAL, K.ATTENTION)
    result.obs[K.SLICE] = pd.Categorical.from_codes(slice_of, names)
    result.obs[K.LIBRARY] = result.obs[K.SLICE]
    if not result.obs_names.is_unique:
        result.obs_names = [
            f"{spot}_{name}"
            for spot, name in zip(result.obs_names, result.obs[K.SLICE], strict=True)
        ]
        result.obs_names_make_unique()
    result.obsm[K.EMBEDDING] = z
    result.obsm[K.SPATIAL] = np.concatenate([part.obsm[K.SPATIAL] for _, part in parts])
    result.uns[K.SPATIAL] = drawable_libraries(parts)
    record = writable_record(result)
    record |= {
        "params": {"seed": Settings().seed},
        "version": version("napari-staligner"),
        "slices": np.array(names, dtype=object),
        K.ADOPTED: {"embedding": found.embedding, "slices": found.column},
    }
    record_sources(result, {name: source_of(part) for name, part in parts})
    return said


def _matches(
    graphs: dict[str, SpatialGraph], z: NDArray[np.float32], settings: Settings
) -> Steps[tuple[list[tuple[str, str]], sparse.csr_matrix]]:
    """Find mutual nearest neighbours between slices in the embedding."""
    import torch

    from napari_staligner.core.training.matching import Matcher, match_matrix

    names = list(graphs)
    sizes = [graph.connectivities.shape[0] for graph in graphs.values()]
    matcher = Matcher(names, sizes, settings, torch.device("cpu"))
    matches = yield from matcher.find_all(torch.from_numpy(z), 0, 1)
    pairs = [(names[i], names[j]) for i, j in matcher.pairs]
    return pairs, match_matrix(matches, len(z))


def _record_graphs(
    result: AnnData, graphs: dict[str, SpatialGraph], mutual: sparse.csr_matrix
) -> None:
    from napari_staligner.core.prepare.graph import stacked

    result.obsp[K.CONNECTIVITIES] = stacked(graphs, "connectivities")
    result.obsp[K.DISTANCES] = stacked(graphs, "distances")
    result.obsp[K.MUTUAL] = mutual
