"""From slices as they come to what is trained on: checks, genes, normalisation."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from scipy import sparse

from napari_staligner._errors import InputError
from napari_staligner.core.prepare.counts import ValueKind, is_counts, kind_of, said_of_kind, stored
from napari_staligner.core.prepare.gene_names import examples
from napari_staligner.core.prepare.guards import variable_gene_table
from napari_staligner.core.prepare.on_disk import in_memory, named_layers, on_disk

if TYPE_CHECKING:
    from anndata import AnnData
    from numpy.typing import NDArray

TARGET_SUM = 1e4
FEWEST_GENES, FEW_GENES = 20, 100
FEWEST_SPOTS = 3
ROWS = 4096
"""Spots that are looked at together."""
LARGEST = 1e15
"""Sums of squares of larger values are not finite in float32."""
LARGEST_LOG = 88.0
"""Larger values are no logarithms: their exponential is infinite in float32."""


def check_slice(name: str, adata: AnnData, counts_layer: str | None = None) -> list[str]:
    """Check that a slice can be integrated.

    Its coordinates are checked where they are read, see
    :func:`~napari_staligner.core.prepare.coordinates.with_places`.

    Parameters
    ----------
    name
        Its name, for the messages.
    adata
        Reads ``X`` or the counts layer.
    counts_layer
        Layer that holds the counts; ``None`` means ``X``.

    Returns
    -------
    Sentences the user should know about; those that were said when it was read come first.

    Raises
    ------
    InputError
        Something is missing, or holds values that cannot be used.
    """
    if adata.n_obs < FEWEST_SPOTS:
        raise InputError(
            f"Slice {name!r} holds {adata.n_obs} spots: leave it out, "
            f"a slice needs at least {FEWEST_SPOTS}."
        )
    notes: list[str] = []
    where = f"layers[{counts_layer!r}]" if counts_layer else "X"
    matrix = expression_of(name, adata, counts_layer)
    values = stored(matrix)
    if values.dtype.kind not in "biuf":
        raise InputError(
            f"Slice {name!r}: {where} holds values of type {values.dtype}; put counts there."
        )
    if not np.isfinite(values).all():
        raise InputError(
            f"Slice {name!r}: {where} holds values that are not finite; replace or drop them."
        )
    if values.size and values.min() < 0:
        raise InputError(
            f"Slice {name!r}: {where} holds negative values, so it is neither counts nor "
            "log-normalised; name the layer that holds the counts (counts_layer)."
        )
    if values.size and values.max() > LARGEST:
        raise InputError(
            f"Slice {name!r}: {where} holds values above {LARGEST:.0e}, which no counts are; "
            "replace or drop them."
        )
    expressed = check_expressed(name, matrix, where)
    notes += said_of_kind(name, adata, counts_layer, kind_of(matrix))
    if expressed < 50:
        held = "spots" if expressed == adata.n_obs else "spots with counts"
        notes.append(f"Slice {name!r} has only {expressed} {held}; its result is hardly reliable.")
    return notes


def check_expressed(name: str, matrix: Any, where: str) -> int:
    """Check that there is something to learn from in a slice.

    Parameters
    ----------
    name
        Name of the slice.
    matrix
        Shape (spots, genes), dense or sparse, no value below 0.
    where
        The slot that it comes from, for the messages.

    Returns
    -------
    How many spots have a value above 0.

    Raises
    ------
    InputError
        Fewer than 3 spots have one, or fewer than 20 genes vary between the spots.
    """
    spots = int(np.count_nonzero(matrix.sum(axis=1, dtype=np.float64)))
    if spots == 0:
        raise InputError(
            f"Slice {name!r}: {where} holds no count at all, only zeros: leave the slice out, or "
            "name the layer that holds the counts (counts_layer)."
        )
    if spots < FEWEST_SPOTS:
        raise InputError(
            f"Slice {name!r}: {where} holds counts of {spots} of {matrix.shape[0]} spots: leave "
            f"the slice out, it needs at least {FEWEST_SPOTS}."
        )
    genes = int(np.count_nonzero(varying(matrix)))
    if genes < FEWEST_GENES:
        raise InputError(
            f"Slice {name!r}: {genes} of {matrix.shape[1]} genes of {where} vary between the "
            f"spots, at least {FEWEST_GENES} are needed: leave the slice out, or name the layer "
            "that holds the counts (counts_layer)."
        )
    return spots


def varying(matrix: Any) -> NDArray[np.bool_]:
    """Which genes are not the same in all spots.

    Parameters
    ----------
    matrix
        Shape (spots, genes), dense or sparse, no value below 0.

    Returns
    -------
    Shape (genes,).
    """
    if not sparse.issparse(matrix):
        return np.asarray(np.max(matrix, axis=0) > np.min(matrix, axis=0))
    rows = sparse.csr_matrix(matrix)
    # A gene that is 0 somewhere varies if it is not 0 everywhere.
    everywhere = np.flatnonzero(rows.getnnz(axis=0) == rows.shape[0])
    total = np.zeros(rows.shape[1])
    most, least = np.zeros(len(everywhere)), np.full(len(everywhere), np.inf)
    # A few at a time, as each is copied.
    for start in range(0, rows.shape[0], ROWS):
        some = rows[start : start + ROWS]
        total += np.bincount(some.indices, some.data, len(total))
        if len(everywhere):
            values = some[:, everywhere].toarray()
            most = np.maximum(most, values.max(axis=0))
            least = np.minimum(least, values.min(axis=0))
    found = total > 0
    found[everywhere] = most > least
    return found


def expression_of(name: str, adata: AnnData, counts_layer: str | None) -> Any:
    """Return ``X`` or the counts layer; what lies on disk is read.

    Raises
    ------
    InputError
        There is no such layer, or no ``X``.
    """
    if counts_layer is None:
        if adata.X is None:
            raise InputError(f"Slice {name!r} has no X: name the layer that holds the counts.")
        return in_memory(adata.X)
    if counts_layer not in adata.layers:
        there = ", ".join(map(repr, named_layers(adata))) or "none"
        raise InputError(
            f"Slice {name!r} has no layers[{counts_layer!r}]: name one that is there ({there})."
        )
    return in_memory(adata.layers[counts_layer])


def with_counts(adata: AnnData, counts_layer: str | None) -> AnnData:
    """A slice with its counts in memory, to look at them several times; the same if they are."""
    matrix = adata.X if counts_layer is None else adata.layers.get(counts_layer)
    if not on_disk(matrix):
        return adata
    held = adata.copy()
    if counts_layer is None:
        held.X = in_memory(matrix)
    else:
        held.layers[counts_layer] = in_memory(matrix)
    return held


def normalize(name: str, adata: AnnData, counts_layer: str | None) -> sparse.csr_matrix:
    """Counts per 10,000, log1p; values that are logged come back as they are.

    Values that are normalised but not logged, as counts per million, are treated as counts are,
    which gives the same.

    Returns
    -------
    Shape (spots, genes), CSR float32, a copy.
    """
    matrix = sparse.csr_matrix(expression_of(name, adata, counts_layer), dtype=np.float32)
    if kind_of(matrix) not in (ValueKind.COUNTS, ValueKind.NORMALISED):
        return matrix.copy()
    totals = np.asarray(matrix.sum(axis=1, dtype=np.float64)).ravel()
    scale = np.divide(TARGET_SUM, totals, out=np.zeros_like(totals), where=totals > 0)
    scaled = sparse.csr_matrix(sparse.diags(scale.astype(np.float32)) @ matrix)
    return scaled.log1p()


def normalize_parts(
    matrix: sparse.csr_matrix, part_of: NDArray[np.integer[Any]]
) -> sparse.csr_matrix:
    """Normalise what comes of several slices as :func:`normalize` does each of them.

    One may hold counts and another logged values.

    Parameters
    ----------
    matrix
        Shape (spots, genes).
    part_of
        Number of the slice of each spot, shape (spots,).
    """
    from anndata import AnnData

    order = np.argsort(part_of, kind="stable")
    ends = np.flatnonzero(np.diff(part_of[order])) + 1
    parts = [normalize("", AnnData(matrix[rows]), None) for rows in np.split(order, ends)]
    back = np.empty_like(order)
    back[order] = np.arange(len(order))
    return sparse.csr_matrix(sparse.vstack(parts, format="csr")[back])


def log_depth(name: str, adata: AnnData, counts_layer: str | None) -> NDArray[np.float64] | None:
    """Logarithm of the total counts of a slice's spots, shape (spots,).

    ``None`` if its values are not counts.
    """
    matrix = expression_of(name, adata, counts_layer)
    if not is_counts(stored(matrix)):
        return None
    totals = np.asarray(matrix.sum(axis=1, dtype=np.float64)).ravel()
    return np.asarray(np.log(np.maximum(totals, 1.0)))


def stored_by_gene(name: str, adata: AnnData, counts_layer: str | None) -> NDArray[np.int64]:
    """How many values a slice stores of each gene, shape (genes,)."""
    matrix = expression_of(name, adata, counts_layer)
    if sparse.issparse(matrix):
        return np.asarray(matrix.getnnz(axis=0), dtype=np.int64)
    return np.asarray(np.count_nonzero(matrix, axis=0), dtype=np.int64)


def variable_genes(
    name: str, adata: AnnData, counts_layer: str | None, n_top: int
) -> pd.Index[str]:
    """Names of the highly variable genes of a slice (``seurat_v3`` on counts).

    Parameters
    ----------
    name, adata, counts_layer
        The slice.
    n_top
        How many; all are taken where there are no more.
    """
    if adata.n_vars <= n_top:
        return adata.var_names
    matrix = sparse.csr_matrix(expression_of(name, adata, counts_layer), dtype=np.float32)
    kind = kind_of(matrix)
    counts = kind is ValueKind.COUNTS
    if kind is ValueKind.NORMALISED:
        matrix = normalize(name, adata, counts_layer)
    if not counts and matrix.data.max(initial=0) > LARGEST_LOG:
        return adata.var_names[_most_spread(matrix, n_top)]
    table = variable_gene_table(matrix, n_top, counts=counts)
    if table is None:
        return adata.var_names[_most_spread(matrix, n_top)]
    chosen = table["highly_variable"].to_numpy()
    # Genes that have a bin of seurat to themselves get no dispersion.
    few = chosen.sum() < min(n_top, FEWEST_GENES)
    return adata.var_names[_most_spread(matrix, n_top) if few else chosen]


def _most_spread(matrix: sparse.csr_matrix, n_top: int) -> NDArray[np.intp]:
    """Columns with the largest variance, in their order."""
    return np.sort(np.argsort(-variance(matrix), kind="stable")[:n_top])


def variance(matrix: sparse.csr_matrix) -> NDArray[np.float64]:
    """Variance of each column, shape (genes,)."""
    exact = matrix.astype(np.float64)
    return np.asarray(exact.power(2).mean(axis=0) - np.square(exact.mean(axis=0))).ravel()


def shared_genes(
    names: Sequence[str], genes: Sequence[Iterable[str]]
) -> tuple[list[str], str | None]:
    """Genes that all slices have, in the order of the first.

    Parameters
    ----------
    names
        Names of the slices.
    genes
        Variable genes of each.

    Returns
    -------
    The genes, and a warning where they are few.

    Raises
    ------
    InputError
        Fewer than 20 genes are shared.
    """
    sets = [set(of_slice) for of_slice in genes]
    shared = [gene for gene in genes[0] if all(gene in others for others in sets[1:])]
    if len(shared) < FEWEST_GENES:
        raise InputError(_too_few(names, sets, len(shared)))
    if len(shared) < FEW_GENES:
        return shared, (
            f"The slices share only {len(shared)} variable genes; "
            "with under 100 the domains rest on little."
        )
    return shared, None


def check_shared(name: str, n_varying: int, n_shared: int) -> None:
    """Check that the genes which all slices share tell something about the spots of one.

    Parameters
    ----------
    name
        Name of the slice.
    n_varying
        How many of the shared genes vary between its spots.
    n_shared
        How many genes are shared.

    Raises
    ------
    InputError
        Fewer than 20 vary.
    """
    if n_varying < FEWEST_GENES:
        raise InputError(
            f"Slice {name!r}: of the {n_shared} variable genes that the slices share, "
            f"{n_varying} vary between its spots, at least {FEWEST_GENES} are needed: "
            "leave the slice out."
        )


def _too_few(names: Sequence[str], sets: Sequence[set[str]], n_shared: int) -> str:
    """Say which slice has the least in common with the others."""
    if len(names) == 1:
        return f"Slice {names[0]!r} has {n_shared} genes in var_names; at least 20 are needed."
    overlap = [
        sum(len(own & other) for j, other in enumerate(sets) if j != i)
        for i, own in enumerate(sets)
    ]
    odd = int(np.argmin(overlap))
    return (
        f"The slices share {n_shared} genes, at least {FEWEST_GENES} are needed; slice "
        f"{names[odd]!r} has least in common with the others"
        f" ({examples(names, sets, odd)}): give all slices the same kind of "
        "gene names in var_names, symbols or Ensembl identifiers."
    )


def with_unique_names(name: str, adata: AnnData) -> tuple[AnnData, list[str]]:
    """Make spot and gene names of a slice unique; a copy where anything changes.

    Returns
    -------
    The slice, and a sentence for each kind of name that was not unique.
    """
    notes = []
    if not adata.obs_names.is_unique or not adata.var_names.is_unique:
        adata = adata.copy()
    if not adata.obs_names.is_unique:
        adata.obs_names_make_unique()
        notes.append(f"Slice {name!r}: obs_names were not unique and got numbers.")
    if not adata.var_names.is_unique:
        adata.var_names_make_unique()
        notes.append(f"Slice {name!r}: var_names were not unique and got numbers.")
    return adata, notes
