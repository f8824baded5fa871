"""Where the spots of the slices are: finds the spot at a place, and those inside a line."""

from __future__ import annotations

from typing import TYPE_CHECKING

from scipy.spatial import KDTree

from napari_staligner.core.result.access import spot_size, spots_xy

if TYPE_CHECKING:
    from anndata import AnnData

    from napari_staligner.session.slices import Slices


class SpotIndex:
    """Search index of the spots of slices; each slice is indexed on its first search.

    Parameters
    ----------
    slices
        The slices.
    """

    def __init__(self, slices: Slices) -> None:
        self._slices = slices
        self._known: dict[str, tuple[AnnData, KDTree, float]] = {}

    def tree(self, name: str) -> KDTree:
        """Return the search tree of the spots of a slice, (x, y) in its own units."""
        return self._entry(name)[1]

    def size(self, name: str) -> float:
        """Diameter at which the spots of a slice nearly touch, in its own units."""
        return self._entry(name)[2]

    def _entry(self, name: str) -> tuple[AnnData, KDTree, float]:
        if name not in self._known or self._known[name][0] is not self._slices[name]:
            self._known = {n: known for n, known in self._known.items() if n in self._slices}
            xy = spots_xy(self._slices[name])
            self._known[name] = self._slices[name], KDTree(xy), spot_size(xy)
        return self._known[name]
