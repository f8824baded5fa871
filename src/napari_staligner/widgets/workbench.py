"""All docks at once."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import napari

PLUGIN = "napari-staligner"
DOCKS = ("Slices", "Integrate", "Domains", "Attention")


def open_workbench(viewer: napari.Viewer) -> None:
    """Open the docks as tabs at the right, in the order of the work; those that are open stay."""
    docks = [viewer.window.add_plugin_dock_widget(PLUGIN, name, tabify=True)[0] for name in DOCKS]
    for dock in docks:
        # A dock that was hidden is there already, and comes back.
        dock.show()
    docks[0].raise_()
