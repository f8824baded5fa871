"""Slices that are to be registered, and slices in one frame."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from itertools import combinations, pairwise
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_staligner._errors import InputError
from napari_staligner.core.prepare.graph import spacing
from napari_staligner.core.registration.choice import Model
from napari_staligner.core.registration.trust import PairTrust
from napari_staligner.core.training.ranks import Ranks

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from scipy import sparse

    from napari_staligner.core.registration.histology import Histology
    from napari_staligner.core.registration.transforms import Matrix

    Pair = tuple[int, int]


@dataclass(frozen=True)
class Series:
    """Slices, and how they are to be registered.

    Parameters
    ----------
    coordinates
        For each slice, shape (spots, 2), in the order of the rows of the embedding.
    embedding
        Shape (spots, d).
    mutual
        Shape (spots, spots), CSR: mutual nearest neighbours across slices.
    pairs
        Names of the slices that are compared; all pairs if ``None``.
    model
        What the transforms may do.
    reference
        The slice that stays; the first if ``None``.
    counted
        Shape (spots,), bool: spots that are compared, those of landmark domains; all if ``None``.
    nonrigid
        Whether a smooth displacement follows.
    seed
        Seed for drawing spots if there are many.
    ranks
        The processes that share the pairs of slices.
    histology
        Tissue images, of the slices that have one; they tell how two slices lie where the
        embedding does not.
    """

    coordinates: Mapping[str, NDArray[np.floating[Any]]]
    embedding: NDArray[np.floating[Any]]
    mutual: sparse.csr_matrix
    pairs: tuple[tuple[str, str], ...] | None = None
    model: Model = Model.RIGID
    reference: str | None = None
    counted: NDArray[np.bool_] | None = None
    nonrigid: bool = False
    seed: int = 0
    ranks: Ranks = field(default_factory=Ranks)
    histology: Mapping[str, Histology] = field(default_factory=dict)

    @property
    def rows(self) -> dict[str, slice]:
        """Rows of the embedding of each slice."""
        ends = np.cumsum([0, *(len(points) for points in self.coordinates.values())])
        return {n: slice(a, b) for n, (a, b) in zip(self.coordinates, pairwise(ends), strict=True)}

    @property
    def names(self) -> list[str]:
        """Names of the slices."""
        return list(self.coordinates)

    @property
    def unit(self) -> float:
        """Spacing of the reference; the frame has the reference's units."""
        return spacing(self.coordinates[self.names[self.number_of_reference]])

    @property
    def number_of_reference(self) -> int:
        """Which slice stays.

        Raises
        ------
        InputError
            It does not exist.
        """
        if self.reference is None:
            return 0
        if self.reference not in self.names:
            raise InputError(
                f"There is no slice {self.reference!r} to register to: "
                f"choose one of {', '.join(map(repr, self.names))}."
            )
        return self.names.index(self.reference)

    def wanted(self) -> list[Pair]:
        """Numbers of the slices that are compared.

        Raises
        ------
        InputError
            A slice does not exist.
        """
        if self.pairs is None:
            return list(combinations(range(len(self.names)), 2))
        strange = next((n for pair in self.pairs for n in pair if n not in self.names), None)
        if strange is not None:
            raise InputError(f"There is no slice {strange!r}, which a pair to be registered names.")
        return [(self.names.index(a), self.names.index(b)) for a, b in self.pairs]

    def matches(
        self, pair: Pair, *, whole: bool = False
    ) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
        """Rows within each slice of the mutual nearest neighbours of a pair.

        Parameters
        ----------
        pair
            Numbers of the slices.
        whole
            Whether those of spots that are not counted are given, too.
        """
        a, b = (self.rows[self.names[k]] for k in pair)
        block = self.mutual[a, b].tocoo()
        first, second = np.asarray(block.row, np.intp), np.asarray(block.col, np.intp)
        if self.counted is not None and not whole:
            both = self.counted[a][first] & self.counted[b][second]
            first, second = first[both], second[both]
        return first, second


@dataclass(frozen=True)
class Registered:
    """Slices in a common frame.

    Parameters
    ----------
    transforms
        For each slice: shape (3, 3), float64, takes (x, y, 1) as a column to the reference's frame.
    aligned
        Shape (spots, 2), float64, in the units of the reference.
    shift
        Shape (spots, 2), float64, in the units of the reference: from each spot to its
        counterpart in the slices it was compared with; NaN where they have no tissue.
    residual
        Shape (spots,), float64: length of the shift in spacings of the reference.
    pairs
        Names of the slices that were compared.
    bending
        Bending energy of the smooth last step, by slice; see
        :class:`~napari_staligner.core.registration.warp.Warp`.
    trust
        How far each of ``pairs`` is to be trusted; empty if slices were placed otherwise.
    """

    transforms: dict[str, Matrix]
    aligned: NDArray[np.float64]
    shift: NDArray[np.float64]
    residual: NDArray[np.float64]
    pairs: tuple[tuple[str, str], ...]
    bending: dict[str, float] = field(default_factory=dict)
    trust: tuple[PairTrust, ...] = ()
