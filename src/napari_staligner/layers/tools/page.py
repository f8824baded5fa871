"""Look at one slice after the other: a double-click shows one alone, arrow keys go on."""

from __future__ import annotations

import weakref
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable

    import napari

    from napari_staligner.layers.tissue import Tissue
    from napari_staligner.layers.tools.pick import PickTool

KEYS = {"Right": 1, "Left": -1}


class PageTool:
    """Handles double-clicks and arrow keys of a viewer, unless a slice or an image is in hand.

    Parameters
    ----------
    viewer
        The viewer, held weakly.
    tissue
        Keeper of the layers.
    picking
        Finds the slice at a place.
    """

    def __init__(self, viewer: napari.Viewer, tissue: Tissue, picking: PickTool) -> None:
        self._viewer = weakref.ref(viewer)
        self._session, self._picking = tissue.session, picking
        viewer.mouse_double_click_callbacks.append(self._on_mouse_double_clicked)
        # After the tool that moves slices and images, which has the same keys meanwhile.
        self._session.view.events.hand.connect(self._bind)
        self._session.view.events.image_hand.connect(self._bind)
        self._session.result.changed.connect(self._bind)
        self._session.slices.changed.connect(self._bind)

    def _on_mouse_double_clicked(self, viewer: napari.Viewer, event: Any) -> None:
        if self._session.view.tool or len(self._session.slices) < 2 or viewer.dims.ndisplay != 2:
            return
        spot = self._picking.spot_at(viewer, event.position, event.viewbox)
        shown = self._picking.shown(viewer, event.viewbox)
        if spot is not None:
            event.handled = True
            self._session.paging.zoom(spot.slice)
        elif len(shown) == 1:
            event.handled = True
            self._session.paging.zoom(shown[0][1])

    def _bind(self) -> None:
        viewer = self._viewer()
        if viewer is None or self._session.view.hand or self._session.view.image_hand:
            return
        for key, step in KEYS.items():
            bound = self._on_key(step) if len(self._session.slices) > 1 else None
            viewer.bind_key(key, bound, overwrite=True)

    def _on_key(self, step: int) -> Callable[[Any], None]:
        def pressed(viewer: Any) -> None:
            name = self._session.paging.page(step)
            if name:
                viewer.status = f"Slice {name}"

        return pressed
