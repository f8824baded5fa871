"""Real slices in napari's File ▸ Open Sample: they are fetched by the Slices dock."""

from __future__ import annotations

from typing import TYPE_CHECKING

import napari

from napari_staligner.compat import no_layers_yet
from napari_staligner.widgets.workbench import open_workbench

if TYPE_CHECKING:
    from napari_staligner.layers.layer_data import LayerData


def real_bulbs() -> list[LayerData]:
    """Ask for the two olfactory bulbs; they come later, from the background."""
    return _asked("bulbs")


def real_cortex() -> list[LayerData]:
    """Ask for four sections of cortex; they come later, from the background."""
    return _asked("dlpfc")


def _asked(name: str) -> list[LayerData]:
    viewer = napari.current_viewer()
    if viewer is None:
        return []
    open_workbench(viewer)["Slices"].fetch.ask(name)
    return no_layers_yet(viewer)
