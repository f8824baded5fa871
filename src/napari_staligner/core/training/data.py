"""The input and the output of training."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from scipy import sparse

from napari_staligner.core.prepare.expression import Expression

if TYPE_CHECKING:
    from numpy.typing import NDArray


@dataclass(frozen=True)
class Prepared:
    """The input of training; N spots, G genes.

    Parameters
    ----------
    names
        Names of the slices.
    sizes
        Spots of each slice; rows of a slice are contiguous.
    expression
        Shape (N, G): log-normalised expression of the shared variable genes.
    connectivities
        Shape (N, N), CSR: the spatial graph of all slices, without self loops.
    coordinates
        Shape (N, 2), float64, in the units of each slice; used to cut large slices into tiles.
    log_depth
        Shape (N,), float64: logarithm of each spot's total counts; ``None`` without counts.
    """

    names: tuple[str, ...]
    sizes: tuple[int, ...]
    expression: Expression
    connectivities: sparse.csr_matrix
    coordinates: NDArray[np.float64] | None = None
    log_depth: NDArray[np.float64] | None = None


@dataclass(frozen=True)
class Trained:
    """The output of training; N spots, E edges.

    Parameters
    ----------
    embedding
        Shape (N, d), float32: z after the last step.
    attention
        Shape (N, N), CSR float32: α, row = receiving spot, rows sum to 1; ``None`` if that failed,
        as for ``mutual``.
    mutual
        Shape (N, N), CSR float32, symmetric: distance in z of mutual nearest neighbours.
    pairs
        Numbers of the slices between which they were searched.
    reconstruction, triplet
        Shape (epochs,), float64: losses by epoch; the triplets' is NaN if there were none.
    reconstruction_by_slice
        Shape (slices,), float64: mean squared error of each slice after the last step; ``None``
        if that failed.
    """

    embedding: NDArray[np.float32]
    attention: sparse.csr_matrix | None
    mutual: sparse.csr_matrix | None
    pairs: tuple[tuple[int, int], ...]
    reconstruction: NDArray[np.float64]
    triplet: NDArray[np.float64]
    reconstruction_by_slice: NDArray[np.float64] | None
