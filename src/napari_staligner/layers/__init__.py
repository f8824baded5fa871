"""The layers of a viewer that show its session: the part that docks and the manifest use."""

from __future__ import annotations

from typing import TYPE_CHECKING

from napari_staligner.layers.colors import Legend, Painting
from napari_staligner.layers.tools.pick import describe
from napari_staligner.layers.window import legend, open_session, painting
from napari_staligner.threads import share_cores

if TYPE_CHECKING:
    from napari_staligner.layers.layer_data import LayerData

__all__ = [
    "Legend",
    "Painting",
    "describe",
    "legend",
    "open_session",
    "painting",
    "sample_olfactory_bulb",
]

# napari imports this before any other part of the plugin, so before any library with threads.
share_cores()


def sample_olfactory_bulb() -> list[LayerData]:
    """Layer data of the simulated olfactory bulb, for File ▸ Open Sample."""
    from napari_staligner.layers.layer_data import slice_layers
    from napari_staligner.samples import sample_slices

    return slice_layers(sample_slices())
