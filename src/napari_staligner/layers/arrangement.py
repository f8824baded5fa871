"""Puts the layers of the slices in their places, cells and order."""

from __future__ import annotations

import weakref
from functools import partial
from typing import TYPE_CHECKING, Literal

import numpy as np
from napari.layers import Points

from napari_staligner import _keys as K
from napari_staligner.compat import (
    canvas_size,
    grid_of,
    layers_moved,
    make_overlays,
    scene_built_once,
    when_built,
)
from napari_staligner.core.result.access import spots_xy
from napari_staligner.layers.camera import Camera
from napari_staligner.layers.layouts import Footprint, best_columns, placements, to_napari
from napari_staligner.layers.stacking import Stacking
from napari_staligner.layers.units import Units, world_unit

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    import napari
    from napari.layers import Layer

    from napari_staligner.session import Session

    SliceLayers = Mapping[str, Mapping[str, Layer]]
    Look = Literal["keep", "follow", "fit"]

_CELL_SPACING = 6


class Arrangement:
    """Places the layers of a viewer by the layout of the session.

    Only the place (``affine``, and ``scale`` of points) and the order of the layers change. In the
    stack, what :class:`Stacking` names changes too, until another layout is chosen.

    Parameters
    ----------
    viewer
        The viewer, held weakly.
    """

    def __init__(self, viewer: napari.Viewer) -> None:
        self._viewer = weakref.ref(viewer)
        self._camera = Camera(viewer)
        self.stacking = Stacking()
        self._placements: dict[str, np.ndarray] = {}
        self._height: dict[str, float] = {}
        self.units = Units(viewer)
        self.unit = 1.0
        """Units of the world per unit in which slices were placed: µm where they are known."""
        self._covered: dict[str, Footprint] = {}
        self._named: weakref.WeakSet[Layer] = weakref.WeakSet()

    def hides(self, name: str) -> bool:
        """Whether the edges and markers of a slice are hidden at present."""
        return name in self.stacking.hidden or name in self.stacking.away

    def fit(self) -> None:
        """Show everything."""
        self._camera.fit()

    def flatten(self) -> None:
        """Look at the slices from above again, if they were shown in 3-D."""
        self._camera.flatten()

    def arrange(
        self, session: Session, layers: SliceLayers, spanning: Iterable[Layer], *, look: Look
    ) -> None:
        """Place, order and show the layers.

        Parameters
        ----------
        session
            Gives the layout.
        layers
            Layers of each slice by role, the lowest first.
        spanning
            Layers that show several slices at once, in world coordinates; they go above the others.
        look
            ``"fit"`` shows everything, ``"follow"`` shows what was seen before, wherever it is now,
            and ``"keep"`` leaves the camera alone.
        """
        viewer = self._viewer()
        if viewer is None:
            return
        spanning = list(spanning)
        if not is_solid(session):
            self._camera.flatten()
        before = self._placements
        with scene_built_once(viewer):
            footprints = self._lay_out(viewer, session, layers, spanning)
        if look == "fit" and layers:
            self._camera.fit()
        elif look == "follow" and layers:
            boxes = {name: footprint.all for name, footprint in footprints.items()}
            self._camera.follow(before, self._placements, boxes)
        if is_solid(session) and layers:
            self._camera.lift()

    def _lay_out(
        self, viewer: napari.Viewer, session: Session, layers: SliceLayers, spanning: list[Layer]
    ) -> dict[str, Footprint]:
        """Place, order and show the layers, and return what the slices cover."""
        grid, (width, height) = grid_of(viewer), canvas_size(viewer)
        # Leave the grid first: while it is on, every change of the list moves layers around.
        grid.enabled = False
        ours = [*(x for roles in layers.values() for x in roles.values()), *spanning]
        _sort(viewer, ours)
        with layers_moved(viewer, ours):
            self.stacking.bring_back(layers, session.paging.shown)
            footprints = self._covered = self._place(session, layers, ours, width / height)
        self.stacking.show(session, layers)
        self.stacking.put_away(layers, session.paging.shown)
        in_grid = session.view.layout == "grid" and len(footprints) > 1
        for name, roles in layers.items():
            when_built(viewer, partial(_show_names, {name: roles}, shown=in_grid))
        if in_grid:
            grid.stride = max(map(len, layers.values()))
            grid.shape = (-1, _grid_columns(footprints, width / height))
            grid.spacing = _CELL_SPACING
            grid.enabled = True
        return footprints

    def place(self, session: Session, layers: SliceLayers) -> None:
        """Put the layers where they will lie, before all is arranged."""
        viewer = self._viewer()
        if viewer is None:
            return
        width, height = canvas_size(viewer)
        ours = [layer for roles in layers.values() for layer in roles.values()]
        with layers_moved(viewer, ours):
            self._place(session, layers, ours, width / height)
        if session.view.layout == "grid":
            self._make_names(viewer, layers)
        if len(layers) == 1:
            # At any other zoom its spots may fill the canvas many times over.
            self._camera.fit()

    def _make_names(self, viewer: napari.Viewer, layers: SliceLayers) -> None:
        """Let napari make the names of slices, 40 ms each, before all are shown at once."""
        spots = {n: roles[K.Role.SPOTS] for n, roles in layers.items() if K.Role.SPOTS in roles}
        new = {n: layers[n] for n, layer in spots.items() if layer not in self._named}
        self._named.update(spots.values())
        _show_names(new, shown=True)
        make_overlays(viewer, [roles[K.Role.SPOTS] for roles in new.values()])
        _show_names(new, shown=False)

    def restack(self, session: Session, layers: SliceLayers) -> None:
        """Show the stack in another way; only the height of the slices changes."""
        viewer = self._viewer()
        if viewer is None:
            return
        solid = is_solid(session)
        if not solid:
            self._camera.flatten()
        heights = self._heights(session, layers)
        for name, roles in layers.items():
            for layer in roles.values():
                if layer.ndim == 3 and name in self._placements:
                    _put(layer, to_napari(self._placements[name]), heights[name])
        with scene_built_once(viewer):
            self.stacking.bring_back(layers, session.paging.shown)
            self.stacking.show(session, layers)
            self.stacking.put_away(layers, session.paging.shown)
        if solid and layers:
            self._camera.lift()

    def world(self, name: str, xy: np.ndarray) -> np.ndarray:
        """Convert coordinates of a slice to world coordinates (z, y, x), shape (n, 3).

        Parameters
        ----------
        name
            The slice; its layers must have been arranged.
        xy
            Coordinates, shape (n, 2).
        """
        matrix = self.placement(name)
        yx = (xy @ matrix[:2, :2].T + matrix[:2, 2])[:, ::-1]
        return np.column_stack([np.full(len(yx), self._height.get(name, 0.0)), yx])

    def placement(self, name: str) -> np.ndarray:
        """Matrix from coordinates (x, y, 1) of a slice to the world, shape (3, 3)."""
        return self._placements.get(name, np.eye(3))

    def replace(self, name: str, layers: Iterable[Layer]) -> None:
        """Put layers of a slice in their places again, because their own places changed."""
        for layer in layers:
            _put(layer, to_napari(self.placement(name)), self._height.get(name, 0.0))

    def columns_differ(self) -> bool:
        """Whether the grid would have another number of columns in the present window."""
        viewer = self._viewer()
        if viewer is None or not grid_of(viewer).enabled or not self._covered:
            return False
        width, height = canvas_size(viewer)
        return bool(grid_of(viewer).shape[1] != _grid_columns(self._covered, width / height))

    def look_at(self, places: np.ndarray) -> None:
        """Show places in the world, (z, y, x), shape (n, 3), as large as the canvas allows."""
        viewer = self._viewer()
        if viewer is None or len(places) == 0:
            return
        grid, (width, height) = grid_of(viewer), canvas_size(viewer)
        rows, columns = grid.actual_shape(viewer.layers) if grid.enabled else (1, 1)
        low, high = places[:, 1:].min(axis=0), places[:, 1:].max(axis=0)
        self._camera.look_at((low + high) / 2, high - low, (height / rows, width / columns))

    def _place(
        self, session: Session, layers: SliceLayers, ours: list[Layer], aspect: float
    ) -> dict[str, Footprint]:
        """Place the slices that are shown, and return what they cover."""
        footprints = {
            name: footprint(spots_xy(session.slices[name]), layers[name])
            for name in session.paging.shown
            if name in layers
        }
        microns = self.units.microns({name: session.slices[name] for name in layers})
        transforms = session.alignment.transforms
        placed = placements(session.view.layout, footprints, transforms, microns, aspect)
        unit = world_unit(placed, microns)
        self.unit = unit if np.isfinite(unit) else 1.0
        to_world = np.diag([self.unit, self.unit, 1.0])
        # Slices that are not shown keep their place.
        kept = {name: m for name, m in self._placements.items() if name in layers}
        self._placements = kept | {name: to_world @ matrix for name, matrix in placed.items()}
        self.units.tell(ours, known=bool(np.isfinite(unit)))
        heights = self._heights(session, layers)
        for name, placement in self._placements.items():
            for layer in layers[name].values():
                _put(layer, to_napari(placement), heights[name])
        return footprints

    def _heights(self, session: Session, layers: SliceLayers) -> dict[str, float]:
        """Height of each slice above the first; 0 except in 3-D, so that the world stays flat."""
        step = 0.0
        if is_solid(session) and self._placements:
            first = next(iter(layers))
            extent = np.ptp(spots_xy(session.slices[first]), axis=0).max()
            step = session.view.stack.spacing * extent * _scale(self._placements[first])
        self._height = {name: i * float(step) for i, name in enumerate(layers)}
        return self._height


def _grid_columns(footprints: Mapping[str, Footprint], aspect: float) -> int:
    """In how many columns of the grid the slices are largest."""
    width, height = np.array([np.ptp(f.all, axis=0) for f in footprints.values()]).max(axis=0)
    return best_columns(len(footprints), max(width, 1e-9), max(height, 1e-9), aspect)


def is_solid(session: Session) -> bool:
    """Whether the slices are shown in 3-D."""
    return session.view.layout == "stack" and session.view.stack.mode == "3d"


def _put(layer: Layer, placement: np.ndarray, height: float = 0.0) -> None:
    """Place a layer by a matrix of (y, x, 1), and lift it if it has a height."""
    if isinstance(layer, Points):
        # napari draws points at their size times the layer's scale, whatever the affine says.
        scale = _scale(placement)
        placement = placement @ np.diag([1 / scale, 1 / scale, 1])
        if not np.allclose(layer.scale, scale):
            layer.scale = (scale,) * layer.ndim
    own = layer.metadata.get(K.LAYER_PLACE)
    if own is not None:
        placement = placement @ own
    if layer.ndim == 3:
        lifted = np.eye(4)
        lifted[1:, 1:], lifted[0, 3] = placement, height
        placement = lifted
    if not np.array_equal(layer.affine.affine_matrix, placement):
        layer.affine = placement


def _scale(placement: np.ndarray) -> float:
    return float(np.sqrt(abs(np.linalg.det(placement[:2, :2]))))


def _show_names(layers: SliceLayers, *, shown: bool) -> None:
    """Show each slice's name in its cell of the grid; elsewhere all names would overlap."""
    for roles in layers.values():
        if K.Role.SPOTS in roles:
            name = roles[K.Role.SPOTS].name_overlay
            name.box, name.visible = True, shown


def blanks_needed(layers: SliceLayers) -> dict[str, int]:
    """How many blank layers each slice needs so that all cells of the grid hold equally many.

    The grid fills its cells in turn, each with the same number of layers. Without blanks, an image
    of one slice only would shift all slices after it.
    """
    filled = {
        name: sum(not role.startswith(K.Role.BLANK) for role in roles)
        for name, roles in layers.items()
    }
    most = max(filled.values(), default=0) if len(layers) > 1 else 0
    return {name: max(0, most - n) for name, n in filled.items()}


def _sort(viewer: napari.Viewer, ours: list[Layer]) -> None:
    """Move our layers to the bottom of the list, in this order; others keep theirs above."""
    for at, layer in enumerate(ours):
        if viewer.layers[at] is not layer:
            viewer.layers.move(viewer.layers.index(layer), at)


def footprint(xy: np.ndarray, roles: Mapping[str, Layer]) -> Footprint:
    """Find the area that a slice covers.

    Parameters
    ----------
    xy
        Coordinates of its spots, shape (spots, 2).
    roles
        Its layers.
    """
    spots = np.array([xy.min(axis=0), xy.max(axis=0)])
    if K.Role.IMAGE not in roles:
        return Footprint(spots, spots)
    image = roles[K.Role.IMAGE]
    low, high = np.array([-0.5, -0.5]), np.array(image.data.shape[:2]) - 0.5
    corners = np.array([low, high, (low[0], high[1]), (high[0], low[1])]) * image.scale[-2:]
    place = image.metadata.get(K.LAYER_PLACE)
    if place is not None:
        corners = corners @ place[:2, :2].T + place[:2, 2]
    both = np.vstack([spots, corners[:, ::-1]])
    return Footprint(spots, np.array([both.min(axis=0), both.max(axis=0)]))
