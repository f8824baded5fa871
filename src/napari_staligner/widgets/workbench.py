"""All docks at once."""

from __future__ import annotations

from typing import TYPE_CHECKING

from qtpy.QtCore import Qt
from qtpy.QtWidgets import QTabWidget

if TYPE_CHECKING:
    import napari
    from qtpy.QtWidgets import QWidget

PLUGIN = "napari-staligner"
DOCKS = (
    *("Slices", "Integrate", "Domains", "Alignment"),
    *("Attention", "Explore", "Compare", "Links", "Judge", "Annotate"),
)


def open_workbench(viewer: napari.Viewer) -> dict[str, QWidget]:
    """Open the docks as tabs at the right, in the order of the work; those that are open stay.

    Returns
    -------
    The docks' widgets by name.
    """
    opened = {
        name: viewer.window.add_plugin_dock_widget(PLUGIN, name, tabify=True) for name in DOCKS
    }
    for name, (dock, _) in opened.items():
        # Tabs are narrow: without the plugin's name, which napari adds, the dock's can be read.
        dock.setWindowTitle(name)
        # A dock that was hidden is there already, and comes back.
        dock.show()
    first = opened[DOCKS[0]][0]
    # Ten names do not fit side by side under a dock; at its edge, from top to bottom, they do.
    first.parent().setTabPosition(
        Qt.DockWidgetArea.RightDockWidgetArea, QTabWidget.TabPosition.East
    )
    first.raise_()
    return {name: widget for name, (_, widget) in opened.items()}
