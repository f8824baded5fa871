"""What a result takes from its slices: X, and the layers and embeddings that all of them have."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from napari_staligner import _keys as K
from napari_staligner.core.prepare.counts import joined_layer
from napari_staligner.core.prepare.on_disk import alike, named_layers
from napari_staligner.core.result.ownership import RESERVED
from napari_staligner.core.result.provenance import source_of

if TYPE_CHECKING:
    from anndata import AnnData

OF_ONE_FILE = ("X_pca", "X_harmony", "X_tsne", "X_umap")
"""Starts of keys of ``obsm`` that are comparable between slices only if they were computed from
them together."""


def slim_slices(
    slices: Sequence[AnnData], counts: Sequence[str | None]
) -> tuple[list[AnnData], str | None]:
    """Return the parts of slices that are joined: X, layers, obs, coordinates, colours.

    A layer that a slice lacks is left out of all: missing counts are not zeros. If the counts of
    slices are in different places, they get their own layer.

    Parameters
    ----------
    slices
        Of a run.
    counts
        Layer of each that holds its counts; ``None`` for ``X``.

    Returns
    -------
    The parts, and the layer of their counts; ``None`` for ``X``. If a slice has no ``X``, the
    ``X`` of all parts is their counts.
    """
    from anndata import AnnData

    keys = _common(slices, lambda adata: named_layers(adata))
    matrices: dict[str, list[Any]] = {key: [a.layers[key] for a in slices] for key in keys}
    layer = joined_layer(counts, keys)
    if layer is not None and layer not in matrices:
        matrices[layer] = _counts_of(slices, counts)
    layers = {key: alike(of) for key, of in matrices.items()}
    of_x = [adata.X for adata in slices]
    if any(matrix is None for matrix in of_x):
        of_x = _counts_of(slices, counts)
    expression = alike(of_x)
    embeddings = carried(slices)
    parts = [
        AnnData(
            expression[number],
            obs=adata.obs,
            var=pd.DataFrame(index=adata.var_names),
            obsm={key: adata.obsm[key] for key in (K.SPATIAL, *embeddings)},
            layers={key: of[number] for key, of in layers.items()},
            uns={key: value for key, value in adata.uns.items() if key.endswith("_colors")},
        )
        for number, adata in enumerate(slices)
    ]
    return parts, layer


def _counts_of(slices: Sequence[AnnData], counts: Sequence[str | None]) -> list[Any]:
    of_counts = zip(slices, counts, strict=True)
    return [a.X if key is None else a.layers[key] for a, key in of_counts]


def carried(slices: Sequence[AnnData]) -> list[str]:
    """Keys of ``obsm`` that all slices have with the same width and the same meaning."""
    sources = [source_of(adata) for adata in slices]
    one_file = len({source and source.path for source in sources}) == 1 and sources[0] is not None
    found = []
    for key in _common(slices, lambda adata: adata.obsm):
        of = [adata.obsm[key] for adata in slices]
        fits = len({_columns(value) for value in of}) == 1 and _columns(of[0]) is not None
        if fits and key != K.SPATIAL and (one_file or not key.startswith(OF_ONE_FILE)):
            found.append(key)
    return found


def left_behind(slices: Sequence[tuple[str, AnnData]], counts: Sequence[str | None]) -> list[str]:
    """Say which layers and embeddings of slices are not in the result.

    Parameters
    ----------
    slices
        Name and AnnData of each.
    counts
        Layer of each that holds its counts, which is joined.
    """
    notes = []
    every = [adata for _, adata in slices]
    layers = set(_common(every, lambda adata: named_layers(adata)))
    for key in dict.fromkeys(key for adata in every for key in named_layers(adata)):
        lack = [name for name, adata in slices if key not in adata.layers]
        used = [c == key for (_, a), c in zip(slices, counts, strict=True) if key in a.layers]
        if key not in layers and not all(used):
            notes.append(
                f"layers[{key!r}] is not in the result, because slice {lack[0]!r} lacks it; "
                "its values there are unknown, not zero."
            )
    carry = {*carried(every), K.SPATIAL}
    keys = (key for adata in every for key in adata.obsm if str(key) not in carry)
    for key in dict.fromkeys(keys):
        # A key with a name that the result uses itself was moved aside before.
        own = next((k for k in RESERVED["obsm"] if key.startswith(f"{k}_of_input")), key)
        if own.startswith(OF_ONE_FILE):
            why = "would compare values that were computed for each slice separately"
        else:
            why = "takes only keys that all slices have with the same width"
        notes.append(f"obsm[{own!r}] of the slices is not in the result, which {why}.")
    return notes


def _common(slices: Sequence[AnnData], of: Any) -> list[str]:
    """Keys that all slices have, in the order of the first."""
    others = [set(of(adata)) for adata in slices[1:]]
    return [key for key in of(slices[0]) if all(key in other for other in others)]


def _columns(value: Any) -> Any:
    """Width of an array, or the columns of a table; ``None`` for anything else."""
    if isinstance(value, pd.DataFrame):
        return tuple(map(str, value.columns))
    kind = getattr(value, "dtype", np.dtype(object)).kind
    return value.shape[1] if kind in "fiub" and len(value.shape) == 2 else None
