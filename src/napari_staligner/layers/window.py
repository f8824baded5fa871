"""The session of a viewer and what shows it: made once, and gone with the viewer."""

from __future__ import annotations

from typing import TYPE_CHECKING
from weakref import WeakKeyDictionary

from napari_staligner.compat import unwrapped
from napari_staligner.layers.colors import Legend, Painting, paint
from napari_staligner.layers.preferences import prefer
from napari_staligner.layers.tissue import Tissue
from napari_staligner.layers.tools.axis import AxisTool
from napari_staligner.layers.tools.draw import DrawTool
from napari_staligner.layers.tools.move import MoveTool
from napari_staligner.layers.tools.page import PageTool
from napari_staligner.layers.tools.pick import PickTool
from napari_staligner.session import Session

if TYPE_CHECKING:
    import napari


class Window:
    """A session, the layers that show it, and the tools that act on them.

    Parameters
    ----------
    viewer
        The viewer; the parts hold it weakly.
    """

    def __init__(self, viewer: napari.Viewer) -> None:
        self.session = Session()
        prefer(self.session)
        self.tissue = Tissue(viewer, self.session)
        self.pick = PickTool(viewer, self.tissue)
        self.draw = DrawTool(viewer, self.tissue, self.pick)
        self.axis = AxisTool(viewer, self.tissue, self.pick)
        self.move = MoveTool(viewer, self.tissue)
        self.page = PageTool(viewer, self.tissue, self.pick)


_open: WeakKeyDictionary[napari.Viewer, Window] = WeakKeyDictionary()


def open_session(viewer: napari.Viewer) -> Session:
    """Return the session of a viewer, made on the first call.

    From then on, slices that are in the viewer or are opened later belong to the session. It ends
    with the viewer.
    """
    # napari gives each dock its own proxy of the viewer.
    viewer = unwrapped(viewer)
    if viewer not in _open:
        _open[viewer] = Window(viewer)
    return _open[viewer].session


def painting(session: Session) -> Painting:
    """Return the present colours of all spots; do not write to them.

    If the session has a viewer, its layers have them already.
    """
    shown = (each.tissue.painting for each in _open.values() if each.session is session)
    return next(shown, None) or paint(session)


def legend(session: Session) -> Legend:
    """Return what the present colours of the spots mean."""
    return painting(session).legend
