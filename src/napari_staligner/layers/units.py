"""The unit of the world: µm where it is known of all slices, and then a scale bar."""

from __future__ import annotations

import weakref
from typing import TYPE_CHECKING

import numpy as np

from napari_staligner.compat import scale_bar_of
from napari_staligner.core.annotations.regions import microns_per_unit
from napari_staligner.core.prepare.libraries import own_library

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    import napari
    from anndata import AnnData
    from napari.layers import Layer
    from numpy.typing import NDArray

    Matrix = NDArray[np.float64]

AGREE = 0.05
"""By what share the sizes of the unit that slices tell may differ."""
_MICRONS, _UNKNOWN = "micrometer", "pixel"


class Units:
    """Knows the unit of each slice, and tells layers and scale bar that of the world.

    Parameters
    ----------
    viewer
        The viewer, held weakly.
    """

    def __init__(self, viewer: napari.Viewer) -> None:
        self._viewer = weakref.ref(viewer)
        self._known: dict[str, tuple[int, float | None]] = {}
        self._shown, self._unit = False, _UNKNOWN

    def microns(self, slices: Mapping[str, AnnData]) -> dict[str, float] | None:
        """Return µm per unit of each slice; ``None`` if it is not known of all."""
        found = {}
        for name, adata in slices.items():
            known = self._known.get(name)
            if known is None or known[0] != id(adata):
                library = own_library(adata, name)
                told = None if library is None else microns_per_unit(adata, dict([library]))
                known = self._known[name] = (id(adata), None if told is None else told[0])
            if known[1] is not None:
                found[name] = known[1]
        return found if found and len(found) == len(slices) else None

    def tell(self, layers: Iterable[Layer], *, known: bool) -> None:
        """Give layers the unit of the world, and show the scale bar once it is known.

        Parameters
        ----------
        layers
            The layers.
        known
            Whether the world is in µm.
        """
        self._unit = _MICRONS if known else _UNKNOWN
        for layer in layers:
            self.give(layer)
        viewer = self._viewer()
        if viewer is not None and known != self._shown:
            # Only when it changes: a user may hide the bar.
            self._shown = known
            scale_bar_of(viewer).visible = known

    def give(self, layer: Layer) -> None:
        """Give a layer the present unit of the world.

        A layer must have it before it is added: napari warns once two layers differ.
        """
        if any(str(each) != self._unit for each in layer.units):
            layer.units = (self._unit,) * layer.ndim


def world_unit(placements: Mapping[str, Matrix], microns: Mapping[str, float] | None) -> float:
    """Return µm per unit of the world in which slices were placed; nan if it is not known.

    Parameters
    ----------
    placements
        3 × 3 matrices from the coordinates (x, y, 1) of each slice.
    microns
        µm per unit of each slice.
    """
    if not placements or microns is None:
        return float("nan")
    found = [
        microns[name] / float(np.sqrt(abs(np.linalg.det(matrix[:2, :2]))))
        for name, matrix in placements.items()
    ]
    return found[0] if max(found) <= (1 + AGREE) * min(found) else float("nan")
