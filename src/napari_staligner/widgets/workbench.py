"""All docks at once."""

from __future__ import annotations

from typing import TYPE_CHECKING

from qtpy.QtCore import Qt
from qtpy.QtWidgets import QTabWidget

from napari_staligner.layers.preferences import PLUGIN

if TYPE_CHECKING:
    import napari
    from qtpy.QtWidgets import QWidget

DOCKS = (
    *("Slices", "Integrate", "Jobs", "Domains", "Alignment"),
    *("Attention", "Explore", "Compare", "Profile", "Links", "Judge", "Annotate"),
)


def open_workbench(viewer: napari.Viewer) -> dict[str, QWidget]:
    """Open the docks as tabs on the right, in the order of the work; open docks stay open.

    Returns
    -------
    The docks' widgets by name.
    """
    opened = {
        name: viewer.window.add_plugin_dock_widget(PLUGIN, name, tabify=True) for name in DOCKS
    }
    for name, (dock, _) in opened.items():
        # Tabs are narrow: the dock's name is readable only without the plugin's, which napari adds.
        dock.setWindowTitle(name)
        # A hidden dock already exists: show it again.
        dock.show()
    first = opened[DOCKS[0]][0]
    # Eleven names do not fit side by side below a dock, but they fit along its edge.
    first.parent().setTabPosition(
        Qt.DockWidgetArea.RightDockWidgetArea, QTabWidget.TabPosition.East
    )
    first.raise_()
    return {name: widget for name, (_, widget) in opened.items()}
