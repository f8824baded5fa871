"""What the values of a slice are: counts, logged values, or neither; and where its counts are.

Three classes are distinguished because they need different treatment: counts, normalised and
logged values, and values that are normalised but not logged (CPM and the like).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from enum import StrEnum
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import numpy as np
from scipy import sparse

from napari_staligner import _keys as K
from napari_staligner._errors import InputError
from napari_staligner.core.prepare.on_disk import in_memory, named_layers, with_slots
from napari_staligner.core.result.access import record_of
from napari_staligner.core.result.provenance import source_of
from napari_staligner.core.result.source import COUNTS

if TYPE_CHECKING:
    from anndata import AnnData
    from numpy.typing import NDArray

RAW = "raw"
"""Name that means ``.raw``, if there is no layer of that name."""
COUNTS_NAMES = ("counts", "raw_counts", "raw", "umi", "umis", "count", "raw_count", "umi_counts")
"""Names of layers that hold counts, in lower case."""
SOME_ROWS = 500
LARGEST_LOGGED = 20.0
"""No logarithm of a normalised count is larger: log2 of a million counts per million is 20."""
LEVEL = 1e-3
"""Totals that differ by less than this part of their mean count as equal."""
USED_AS_THEY_ARE = "normalised values, not counts; they are used as they are"
"""What a note says of a slice whose values are logged already."""


class ValueKind(StrEnum):
    """What the values of a matrix are."""

    COUNTS = "counts"
    LOGGED = "normalised values, logged"
    NORMALISED = "normalised values, not logged"
    SCALED = "scaled values, some negative"


def is_counts(values: NDArray[Any]) -> bool:
    """Whether values are non-negative whole numbers; checks up to 100,000 of them."""
    if values.dtype.kind in "ub":
        return True
    flat = values.reshape(-1)
    some = flat[:: max(1, flat.size // 100_000)]
    return bool((some >= 0).all() and (some == np.round(some)).all())


def stored(matrix: Any) -> NDArray[Any]:
    """Return the values that a matrix in memory stores, sparse or dense."""
    return np.asarray(matrix.data if sparse.issparse(matrix) else matrix)


def kind_of(matrix: Any) -> ValueKind:
    """Tell what the values of a matrix are.

    Values with fractions are not logged if the totals of all spots are equal, if they are whole
    multiples of the smallest value of their spot, or if they are too large for a logarithm.

    Parameters
    ----------
    matrix
        In memory, shape (spots, genes), sparse or dense, of finite numbers.
    """
    values = stored(matrix)
    if values.size and values.min() < 0:
        return ValueKind.SCALED
    if is_counts(values):
        return ValueKind.COUNTS
    step = max(1, matrix.shape[0] // SOME_ROWS)
    some = matrix[::step]
    rows = sparse.csr_matrix(np.asarray(some) if not sparse.issparse(some) else some, dtype=float)
    if _level(rows) or _multiples(rows.data, rows.indptr):
        return ValueKind.NORMALISED
    if _multiples(np.expm1(np.minimum(rows.data, 50.0)), rows.indptr):
        return ValueKind.LOGGED
    return ValueKind.NORMALISED if values.max() > LARGEST_LOGGED else ValueKind.LOGGED


def _level(rows: sparse.csr_matrix) -> bool:
    """Whether the totals of all spots are the same."""
    totals = np.asarray(rows.sum(axis=1)).ravel()
    totals = totals[totals > 0]
    return len(totals) > 1 and bool(np.ptp(totals) < LEVEL * totals.mean())


def _multiples(values: NDArray[np.float64], indptr: NDArray[np.integer[Any]]) -> bool:
    """Whether the values of most spots are whole multiples of each spot's smallest value."""
    told = whole = 0
    for start, end in pairwise(indptr):
        row = values[start:end]
        row = row[row > 0]
        if not len(row):
            continue
        times = row / row.min()
        times = times[(times > 1.01) & (times < 50)]
        if len(np.unique(np.round(times, 2))) < 2:
            continue
        told += 1
        whole += bool((np.abs(times - np.round(times)) < 0.02 * np.sqrt(times)).mean() > 0.9)
    return told >= 3 and whole > 0.6 * told


def layers_of_counts(adata: AnnData) -> list[str]:
    """Return the layers that hold whole numbers, those with a usual name for counts first.

    Checks only the first spots. ``"raw"`` stands for ``.raw`` if there is no such layer.
    """
    some = {key: layer[:SOME_ROWS] for key, layer in named_layers(adata).items()}
    if raw_fits(adata):
        some.setdefault(RAW, adata.raw.X[:SOME_ROWS])
    found = [key for key, layer in some.items() if _holds_counts(in_memory(layer))]
    return sorted(found, key=lambda key: key.lower() not in COUNTS_NAMES)


def _holds_counts(matrix: Any) -> bool:
    values = stored(matrix)
    return bool(values.size and values.dtype.kind in "fiub" and values.max() > 0) and is_counts(
        values
    )


def raw_fits(adata: AnnData) -> bool:
    """Whether ``.raw`` has all genes of a slice."""
    raw = adata.raw
    if raw is None or not adata.var_names.is_unique or not raw.var_names.is_unique:
        return False
    return bool(adata.var_names.isin(raw.var_names).all())


def with_raw(adata: AnnData) -> AnnData:
    """Return a slice with ``.raw``, cut to its genes, as the layer "raw"; the same if it has it."""
    if RAW in adata.layers or not raw_fits(adata):
        return adata
    matrix = adata.raw.X
    columns = adata.raw.var_names.get_indexer(adata.var_names)
    if len(columns) != matrix.shape[1] or (columns != np.arange(len(columns))).any():
        matrix = matrix[:, columns]
    return with_slots(adata, layers={**named_layers(adata), RAW: matrix})


def layers_wanted(
    slices: Sequence[tuple[str, AnnData]], counts_layer: str | Mapping[str, str] | None
) -> str | Mapping[str, str] | None:
    """Return the setting ``counts_layer``; by slice, so that nothing is guessed, if none has it."""
    if not isinstance(counts_layer, str):
        return counts_layer
    raw = counts_layer.lstrip(".") == RAW
    if any(counts_layer in a.layers or (raw and raw_fits(a)) for _, a in slices):
        return counts_layer
    return {name: counts_layer for name, _ in slices}


def with_counts_layer(
    name: str, adata: AnnData, wanted: str | Mapping[str, str] | None
) -> tuple[AnnData, str | None, list[str]]:
    """Find where the counts of a slice are.

    Parameters
    ----------
    name
        Of the slice.
    adata
        The slice; data on disk are read only as far as needed.
    wanted
        From :class:`~napari_staligner.core.settings.Settings`: the layer of all slices, or of some
        by name. A choice made with the file of this slice takes precedence.

    Returns
    -------
    The slice (with ``.raw`` as a layer, if that is used), its layer (``None`` for ``X``), and
    notes.

    Raises
    ------
    InputError
        The layer is not there, and it is not certain which other one holds the counts.
    """
    source = source_of(adata)
    own = None if source is None else source.choices.get(COUNTS)
    if isinstance(wanted, Mapping):
        own, wanted = wanted.get(name, own), None
    layer = own or wanted
    if layer in ("X", ".X") and layer not in adata.layers:
        return adata, None, []
    if layer is not None and layer.lstrip(".") == RAW and layer not in adata.layers:
        adata, layer = with_raw(adata), RAW
    if layer is not None and layer in adata.layers:
        return adata, layer, []
    if layer is not None:
        return _another(name, adata, layer, certain=own is None)
    if adata.X is None:
        return _another(name, adata, None, certain=True)
    return (adata, None, []) if not _negative(adata.X) else _instead_of_scaled(name, adata)


def _another(
    name: str, adata: AnnData, layer: str | None, *, certain: bool
) -> tuple[AnnData, str | None, list[str]]:
    """Take the only place that holds counts, if the named layer is not there."""
    lacks = "no X" if layer is None else f"no layers[{layer!r}]"
    found = layers_of_counts(adata)
    x = None if adata.X is None or layer is None else in_memory(adata.X[:SOME_ROWS])
    if certain and x is not None and _holds_counts(x):
        note = f"it has {lacks}, so its X is used, which holds counts."
        return adata, None, [f"Slice {name!r}: {note}"]
    called = [key for key in found if key.lower() in COUNTS_NAMES]
    if certain and len(called or found) == 1:
        (key,) = called or found
        note = f"it has {lacks}, so {_slot(adata, key)} is used, which holds counts."
        return with_raw(adata) if key == RAW else adata, key, [f"Slice {name!r}: {note}"]
    there = ", ".join(map(repr, found or named_layers(adata))) or "none"
    if layer is None:
        raise InputError(
            f"Slice {name!r} has no X: name the layer that holds the counts ({there})."
        )
    holds = " with counts" if found else ""
    raise InputError(f"Slice {name!r} has {lacks}: name one that is there{holds} ({there}).")


def _instead_of_scaled(name: str, adata: AnnData) -> tuple[AnnData, str | None, list[str]]:
    """Take ``.raw`` if X is scaled; otherwise say where counts are."""
    if raw_fits(adata) and not _negative(adata.raw.X):
        note = "X holds negative values, so .raw is used instead."
        return with_raw(adata), RAW, [f"Slice {name!r}: {note}"]
    found = layers_of_counts(adata)
    hint = f", which layers[{found[0]!r}] does" if found else ""
    raise InputError(
        f"Slice {name!r}: X holds negative values, so it is neither counts nor "
        f"log-normalised; name the layer that holds the counts (counts_layer){hint}."
    )


def _negative(matrix: Any) -> bool:
    values = stored(in_memory(matrix[:SOME_ROWS]))
    return bool(values.dtype.kind in "fi" and values.size and np.nanmin(values) < 0)


def _slot(adata: AnnData, key: str) -> str:
    return ".raw" if key == RAW and RAW not in adata.layers else f"layers[{key!r}]"


def said_of_kind(name: str, adata: AnnData, layer: str | None, kind: ValueKind) -> list[str]:
    """For values that are not counts, say how they are used, and where counts are.

    Parameters
    ----------
    name
        Of the slice.
    adata
        The slice.
    layer
        Where the values are; ``None`` for ``X``.
    kind
        What they are.
    """
    if kind is ValueKind.COUNTS:
        return []
    where = f"layers[{layer!r}]" if layer else "X"
    others = [key for key in layers_of_counts(adata) if key != layer]
    hint = (
        f" ({_slot(adata, others[0])} holds counts: --counts-layer {others[0]})" if others else ""
    )
    if kind is ValueKind.NORMALISED:
        what = "normalised values that are not logged, not counts; they are scaled and logged"
    else:
        what = USED_AS_THEY_ARE
    return [f"Slice {name!r}: {where} holds {what}{hint}."]


def joined_layer(layers: Sequence[str | None], taken: Sequence[str]) -> str | None:
    """Name the layer of a result that holds the counts of all slices; ``None`` for ``X``.

    Parameters
    ----------
    layers
        Where the counts of each slice are.
    taken
        Layers that all slices have: none of them is overwritten.
    """
    if len(set(layers)) == 1:
        return layers[0]
    return next(name for name in ("counts", "counts_used", "staligner_counts") if name not in taken)


def counts_slot(result: AnnData) -> str | None:
    """Return the layer that a result was integrated from; ``None`` for ``X``."""
    kept = record_of(result)
    layer = kept.get(K.COUNTS_LAYER, kept.get("params", {}).get("counts_layer"))
    return str(layer) if isinstance(layer, str) and layer in result.layers else None


def parse_counts_layers(texts: Sequence[str]) -> str | dict[str, str] | None:
    """Read ``LAYER``, or ``SLICE=LAYER`` for each slice.

    Raises
    ------
    InputError
        Both forms are given, or several layers without a slice.
    """
    if not texts:
        return None
    if len(texts) == 1 and "=" not in texts[0]:
        return texts[0]
    found = {}
    for text in texts:
        name, equals, layer = text.rpartition("=")
        if not equals or not name or not layer:
            raise InputError(
                f"--counts-layer {text!r} names no slice: give one layer for all slices, or "
                "SLICE=LAYER for each."
            )
        found[name] = layer
    return found
