"""Brings the layers of the slices to their places, cells and order."""

from __future__ import annotations

import weakref
from typing import TYPE_CHECKING, Any

import numpy as np
from napari.layers import Points

from napari_staligner import _keys as K
from napari_staligner.io.layer_data import spots_xy
from napari_staligner.layers.layouts import Footprint, placements, to_napari

if TYPE_CHECKING:
    from collections.abc import Mapping

    import napari
    from napari.layers import Layer

    from napari_staligner.session import Session

    SliceLayers = Mapping[str, Mapping[str, Layer]]

BLANK = "blank"
"""Start of the roles of layers that only fill a place in a cell."""
_ORDER = (BLANK, "image", "spots", "graph", "attention", "proposal", "marker", "sketch")
_CELL_SPACING = 6
_STACK_OPACITY = 0.6


class Arrangement:
    """Places the layers of a viewer by the layout of the session.

    Only the place (``affine``, and ``scale`` of points), ``visible``, ``opacity`` and the order
    of the layers change; what the stack hides or fades is as before once another layout is
    chosen.

    Parameters
    ----------
    viewer
        The viewer, held weakly.
    """

    def __init__(self, viewer: napari.Viewer) -> None:
        self._viewer = weakref.ref(viewer)
        self._before_stack: dict[Layer, tuple[bool, float]] = {}

    def missing(self, layers: SliceLayers) -> list[tuple[str, str]]:
        """Slice and role of the blanks without which the grid's cells would not hold as many each.

        The grid fills its cells with so many layers, one after the other: an image that came
        with one slice only would shift all that follow.
        """
        most = max(map(len, layers.values()), default=0)
        blanks = []
        for name, roles in layers.items():
            free = [role for i in range(most) if (role := f"{BLANK} {i}") not in roles]
            blanks += [(name, role) for role in free[: most - len(roles)]]
        return blanks

    def arrange(self, session: Session, layers: SliceLayers, *, refit: bool) -> None:
        """Place, order and show the layers, and fit the view to them if asked."""
        viewer = self._viewer()
        if viewer is None:
            return
        grid = grid_of(viewer)
        # Out of the grid first: while it is on, every change of the list moves layers about.
        grid.enabled = False
        _sort(viewer, [layer for name in layers for layer in _by_order(layers[name])])
        self._place(session, layers)
        self._fade(session, layers)
        if session.layout == "grid" and len(layers) > 1:
            grid.stride = max(map(len, layers.values()))
            grid.shape = (-1, -1)
            grid.spacing = _CELL_SPACING
            grid.enabled = True
        if refit and layers:
            viewer.reset_view()

    def _place(self, session: Session, layers: SliceLayers) -> None:
        footprints = {
            name: _footprint(spots_xy(session.slices[name]), roles)
            for name, roles in layers.items()
        }
        for name, placement in placements(session.layout, footprints, _transforms(session)).items():
            for layer in layers[name].values():
                _put(layer, to_napari(placement))

    def _fade(self, session: Session, layers: SliceLayers) -> None:
        """Let the slices of a stack be seen through each other; undo that elsewhere."""
        if session.layout != "stack":
            for layer, (visible, opacity) in self._before_stack.items():
                layer.visible, layer.opacity = visible, opacity
            self._before_stack.clear()
            return
        for i, roles in enumerate(layers.values()):
            for role, layer in roles.items():
                if role not in ("image", "spots") or layer in self._before_stack:
                    continue
                self._before_stack[layer] = layer.visible, layer.opacity
                if role == "spots":
                    layer.opacity = _STACK_OPACITY
                elif i > 0:
                    layer.visible = False


def _put(layer: Layer, placement: np.ndarray) -> None:
    """Map a layer by a placement of (y, x)."""
    if isinstance(layer, Points):
        # napari draws points at their size times the layer's scale, whatever the affine says.
        scale = float(np.sqrt(abs(np.linalg.det(placement[:2, :2]))))
        placement = placement @ np.diag([1 / scale, 1 / scale, 1])
        if not np.allclose(layer.scale, scale):
            layer.scale = (scale, scale)
    if not np.array_equal(layer.affine.affine_matrix, placement):
        layer.affine = placement


def grid_of(viewer: napari.Viewer) -> Any:
    """Grid of a viewer, which napari 0.9 moved to the canvas."""
    return viewer.canvas.grid if hasattr(viewer, "canvas") else viewer.grid


def _by_order(roles: Mapping[str, Layer]) -> list[Layer]:
    """Layers of a slice, the lowest first."""
    return [roles[role] for role in sorted(roles, key=lambda r: _ORDER.index(r.split()[0]))]


def _sort(viewer: napari.Viewer, ours: list[Layer]) -> None:
    """Move our layers to the bottom of the list, in this order; others keep theirs above."""
    for at, layer in enumerate(ours):
        if viewer.layers[at] is not layer:
            viewer.layers.move(viewer.layers.index(layer), at)


def _footprint(xy: np.ndarray, roles: Mapping[str, Layer]) -> Footprint:
    spots = np.array([xy.min(axis=0), xy.max(axis=0)])
    if "image" not in roles:
        return Footprint(spots, spots)
    image = roles["image"]
    rows_columns = np.array(image.data.shape[:2])
    corners = np.array([[-0.5, -0.5], rows_columns - 0.5]) * image.scale[-2:]
    both = np.vstack([spots, corners[:, ::-1]])
    return Footprint(spots, np.array([both.min(axis=0), both.max(axis=0)]))


def _transforms(session: Session) -> Mapping[str, np.ndarray]:
    if session.result is None:
        return {}
    return session.result.uns.get(K.STALIGNER, {}).get("transforms", {})
