"""The layers of a session in the viewer, and where they lie."""

from __future__ import annotations

import weakref
from contextlib import AbstractContextManager, nullcontext
from functools import partial
from typing import TYPE_CHECKING

import numpy as np
from napari.layers import Image
from psygnal import Signal

from napari_staligner import _keys as K
from napari_staligner.compat import (
    after_building,
    controls_when_needed,
    draw_after_removals,
    drawn_later,
    find_cells_once,
    grid_of,
    hold_canvas,
    in_turn,
    layers_removed,
    marked_when_needed,
    outline_letters,
    prepare_before_drawing,
    remember_shaders,
    scene_built_once,
    sliced_when_needed,
)
from napari_staligner.core.result.access import spots_xy
from napari_staligner.layers.arrangement import Arrangement, blanks_needed
from napari_staligner.layers.camera import held
from napari_staligner.layers.colors import Painting, paint
from napari_staligner.layers.fast_points import FastSpots
from napari_staligner.layers.sketch import Sketch
from napari_staligner.layers.spot_index import SpotIndex

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    import napari
    from anndata import AnnData
    from napari.layers import Layer, Points
    from numpy.typing import NDArray

    from napari_staligner.layers.arrangement import Look
    from napari_staligner.session import Session


class Stage:
    """Layers of the slices of a session in a viewer, which is held weakly.

    Parameters
    ----------
    viewer
        The viewer.
    session
        Its session.
    order
        Roles of overlay layers, from the lowest to the topmost.
    """

    painted = Signal()
    """The spots have other colours."""
    arranged = Signal()
    """Layers were added, removed, moved, shown or hidden."""

    def __init__(self, viewer: napari.Viewer, session: Session, order: Sequence[K.Role]) -> None:
        self._viewer = weakref.ref(viewer)
        self._order = (K.Role.BLANK, K.Role.IMAGE, K.Role.SPOTS, *order)
        controls_when_needed(viewer)
        draw_after_removals(viewer)
        prepare_before_drawing(viewer)
        remember_shaders()
        outline_letters(viewer)
        find_cells_once()
        self.session = session
        self.spots = SpotIndex(session.slices)
        self.sketch = Sketch()
        self.painting: Painting = paint(session)
        self.arrangement = Arrangement(viewer)
        self.fast_points = FastSpots(viewer)
        self.layers: dict[str, dict[str, Layer]] = {}
        """Layers of each slice, by role."""
        self.spanning: dict[str, Layer] = {}
        """Layers that show several slices at once, in world coordinates, by role."""
        self.shown: dict[str, AnnData] = {}
        """The slices that have layers."""
        self.adding = False
        """Whether the layer being added is ours."""
        self._holds, self._due = 0, False
        self.paused = False
        """Whether napari's list of layers must not be changed now."""

    @property
    def viewer(self) -> napari.Viewer | None:
        """The viewer, while it exists."""
        return self._viewer()

    def built_once(self) -> AbstractContextManager[None]:
        """Let napari build its scene once for several changes; see the workaround for it."""
        viewer = self.viewer
        if viewer is None:
            return nullcontext()
        return scene_built_once(viewer, later=self.holds)

    @property
    def holds(self) -> bool:
        """Whether the canvas is left as it looks."""
        return self._holds > 0

    def hold(self, held: bool) -> None:
        """Leave the canvas as it looks, or let it be drawn again; each hold is ended once."""
        if self.viewer is not None:
            self._holds += 1 if held else -1
            self._announce_due()
            hold_canvas(self.viewer, held)

    # -- layers ---------------------------------------------------------------------------

    def live(self) -> dict[str, dict[str, Layer]]:
        """Layers of the slices that are still in the session.

        Removing a slice also removes the result, and the session announces that first.
        """
        slices = self.session.slices
        return {n: x for n, x in self.layers.items() if slices.get(n) is self.shown[n]}

    def ours(self) -> list[Layer]:
        """All layers of the slices."""
        own = [layer for layers in self.layers.values() for layer in layers.values()]
        return own + list(self.spanning.values())

    def add(self, layer: Layer, role: str, name: str = "") -> None:
        """Add a layer of one slice, or of several, to the viewer; the view does not change."""
        viewer = self.viewer
        if viewer is None:
            return
        layer.metadata[K.LAYER_ROLE] = role
        if name:
            layer.metadata[K.LAYER_SLICE] = name
        (self.layers[name] if name else self.spanning)[role] = layer
        self.arrangement.units.give(layer)
        sliced_when_needed(layer)
        marked_when_needed(layer)
        selected = set(viewer.layers.selection)
        self._leave_grid(viewer)
        self.adding = True
        try:
            with held(viewer):
                viewer.add_layer(layer)
        finally:
            self.adding = False
        # The last of several slices is selected, as by napari, or the first where none was.
        if (role != K.Role.SPOTS or self.session.slices.more_follow) and selected:
            viewer.layers.selection = selected

    def remove(self, layers: Iterable[Layer]) -> None:
        """Remove layers from the viewer and forget them; view and selection do not change."""
        viewer, gone = self.viewer, set(layers)
        for roles in (*self.layers.values(), self.spanning):
            for role in [role for role, layer in roles.items() if layer in gone]:
                del roles[role]
        if viewer is None or not gone:
            return
        selected = set(viewer.layers.selection) - gone
        self._leave_grid(viewer)
        with held(viewer), layers_removed(viewer):
            for layer in [layer for layer in viewer.layers if layer in gone]:
                viewer.layers.remove(layer)
        if set(viewer.layers.selection) != selected:
            viewer.layers.selection = selected

    def forget(self, layer: Layer) -> tuple[str, str] | None:
        """Forget a layer that the user deleted; returns its slice and role if it is ours."""
        for name, roles in (*self.layers.items(), ("", self.spanning)):
            for role, known in roles.items():
                if known is layer:
                    del roles[role]
                    return name, role
        return None

    @staticmethod
    def _leave_grid(viewer: napari.Viewer) -> None:
        """Leave the grid until all is arranged: napari would rebuild its cells with each layer."""
        grid_of(viewer).enabled = False

    # -- places and colours ---------------------------------------------------------------

    def arrange(self, *, look: Look) -> None:
        """Put the layers in their places and cells, as the layout says."""
        if self.viewer is None:
            return
        self._fill_cells()
        live = {name: self._sorted(roles) for name, roles in self.live().items()}
        spanning = list(self._sorted(self.spanning).values())
        self.arrangement.arrange(self.session, live, spanning, look=look)
        self._announce()

    def place(self) -> None:
        """Put the layers where they will lie; for slices of several that are added in turns."""
        self.arrangement.place(self.session, self.live())

    def arrange_grid(self) -> None:
        """Choose the columns of the grid again, if another number fills the canvas better."""
        if self.session.view.layout == "grid" and self.arrangement.columns_differ():
            self.arrange(look="follow")

    def restack(self) -> None:
        """Show the stack in another way."""
        self.arrangement.restack(self.session, self.live())
        self._announce()

    def _announce(self) -> None:
        """Tell that the layers are arranged; on a canvas that is held, once the window has lived.

        What lies over the slices follows, and takes as long as the slices did.
        """
        if self.holds and self.viewer is not None:
            self._due = True
            after_building(self.viewer, partial(in_turn, self._announce_due))
        else:
            self.arranged.emit()

    def _announce_due(self) -> None:
        due, self._due = self._due, False
        if due and self.viewer is not None:
            with self.built_once():
                self.arranged.emit()

    def _fill_cells(self) -> None:
        """Add the blank layers that the grid needs, and remove the others."""
        live = self.live()
        needed = blanks_needed(live) if self.session.view.layout == "grid" else {}
        surplus, missing = [], []
        for name, roles in live.items():
            blanks = [role for role in roles if role.startswith(K.Role.BLANK)]
            wanted = [f"{K.Role.BLANK} {i}" for i in range(needed.get(name, 0))]
            surplus += [roles[role] for role in blanks if role not in wanted]
            missing += [(name, role) for role in wanted if role not in blanks]
        self.remove(surplus)
        for name, role in missing:
            middle = spots_xy(self.session.slices[name]).mean(axis=0)
            self.add(_blank_layer(name, middle), role, name)

    def _sorted(self, roles: dict[str, Layer]) -> dict[str, Layer]:
        """Layers by role, the lowest first."""
        order = sorted(roles, key=lambda role: self._order.index(K.Role(role.split()[0])))
        return {role: roles[role] for role in order}

    def spot_size(self, name: str) -> float:
        """Diameter of the spots of a slice as they are drawn, in its own units."""
        return float(np.median(self.layers[name][K.Role.SPOTS].size))

    def paint(self) -> None:
        """Colour the spots as the session says."""
        viewer = self.viewer
        if viewer is not None:
            drawn_later(viewer)
        self.painting = paint(self.session)
        for name, roles in self.layers.items():
            if K.Role.SPOTS in roles:
                self.recolor(roles[K.Role.SPOTS], name)
        self.painted.emit()

    def recolor(self, layer: Points, name: str) -> None:
        """Give a spots layer of a slice its present colours."""
        rgba = self.painting.rgba.get(name)
        if rgba is not None and len(layer.data) == len(rgba):
            self.fast_points.recolor(layer, rgba)


def _blank_layer(name: str, xy: NDArray[np.float64]) -> Image:
    """Make an empty image at a point (x, y), to fill a place in a cell of the grid."""
    layer = Image(
        np.zeros((1, 1, 4), dtype=np.uint8), rgb=True, translate=xy[::-1], name=f"{name} (blank)"
    )
    layer.editable = False
    return layer
