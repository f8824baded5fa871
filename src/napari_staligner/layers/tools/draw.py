"""Tools that select spots with the mouse: lasso, polygon, brush, and clicks.

What is drawn is converted at once to coordinates of the slices under it, so that it stays in
place in any layout. In every layout a tool selects what is visible: the spots of the slices in
the cell under the mouse, or of all visible slices if they share one world.
"""

from __future__ import annotations

import weakref
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_staligner import _keys as K
from napari_staligner._errors import InputError
from napari_staligner.compat import camera_of
from napari_staligner.core.annotations.classes import Shape
from napari_staligner.core.annotations.regions import inside, piece_of
from napari_staligner.layers.sketch import SketchedLine
from napari_staligner.layers.tools.pick import clicked, mouse_yx

if TYPE_CHECKING:
    from collections.abc import Generator

    import napari
    from napari.layers import Layer
    from numpy.typing import NDArray

    from napari_staligner.layers.tissue import Tissue
    from napari_staligner.layers.tools.pick import PickTool

    Cell = tuple[int, int] | None

_CLOSE_PX = 10
"""A click this close to the first corner closes a polygon, in pixels."""
_CIRCLE = np.linspace(0, 2 * np.pi, 49)


class DrawTool:
    """Handles the mouse of a viewer while a tool is chosen in the session.

    Parameters
    ----------
    viewer
        The viewer, held weakly.
    tissue
        Keeper of the layers.
    picking
        Finds the spots at a place.
    """

    def __init__(self, viewer: napari.Viewer, tissue: Tissue, picking: PickTool) -> None:
        self._viewer = weakref.ref(viewer)
        self._tissue, self._picking = tissue, picking
        self._path: list[NDArray[np.float64]] = []
        self._cell: Cell = None
        viewer.mouse_drag_callbacks.append(self._on_mouse_dragged)
        viewer.mouse_move_callbacks.append(self._on_mouse_moved)
        viewer.mouse_double_click_callbacks.append(self._on_mouse_double_clicked)
        tissue.session.view.events.tool.connect(self._drop)
        tissue.session.view.events.layout.connect(self._drop)

    # -- mouse ----------------------------------------------------------------------------

    def _on_mouse_dragged(self, viewer: napari.Viewer, event: Any) -> Generator[None]:
        session = self._tissue.session
        mode = str(getattr(viewer.layers.selection.active, "mode", "pan_zoom"))
        if (
            session.view.tool in ("", "line")
            or event.button != 1
            or mode != "pan_zoom"
            or session.result.adata is None
        ):
            return
        if viewer.dims.ndisplay != 2:
            viewer.status = "Leave 3-D to draw."
            return
        if session.view.tool in ("lasso", "brush"):
            yield from self._drag(event)
            return
        # A drag still moves the view; the tool uses only clicks.
        if (yield from clicked(event)):
            self._click(viewer, event)

    def _drag(self, event: Any) -> Generator[None]:
        """Follow the mouse until its button is released."""
        event.handled = True  # the view stays
        self._path, self._cell = [mouse_yx(event)], event.viewbox
        yield
        while event.type == "mouse_move":
            event.handled = True
            self._path.append(mouse_yx(event))
            self._sketch()
            yield
        tool, path = self._tissue.session.view.tool, np.array(self._path)
        if tool == "brush":
            self._take(self._brushed(path), "brush")
        elif len(path) > 2:
            self._take(self._enclosed(path), "lasso")
        self._drop()

    def _click(self, viewer: napari.Viewer, event: Any) -> None:
        if self._tissue.session.view.tool == "polygon":
            self._add_corner(viewer, event)
            return
        session = self._tissue.session
        spot = self._picking.spot_at(viewer, event.position, event.viewbox)
        rows = None if spot is None else session.result.rows(spot.slice)
        if spot is None or rows is None or session.result.adata is None:
            return
        row, how = int(rows[spot.row]), session.view.tool
        if how == "spot" or K.DOMAIN not in session.result.adata.obs:
            taken = np.array([row])
        elif how == "piece":
            taken = piece_of(session.result.adata, row)
        else:
            codes = session.result.adata.obs[K.DOMAIN].cat.codes.to_numpy()
            taken = np.flatnonzero(codes == codes[row]) if codes[row] >= 0 else np.array([row])
        self._give(taken, how, [])

    def _add_corner(self, viewer: napari.Viewer, event: Any) -> None:
        here, cell = mouse_yx(event), event.viewbox
        if not self._path or cell != self._cell:
            self._path, self._cell = [here], cell
        elif len(self._path) > 2 and self._pixels(viewer, here - self._path[0]) < _CLOSE_PX:
            self.close()
        else:
            self._path.append(here)
        self._sketch()

    def close(self) -> None:
        """Select what the polygon encloses, if it has at least three corners."""
        path = np.array(self._path)
        if len(path) > 2:
            self._take(self._enclosed(path), "polygon")
            self._drop()

    def _on_mouse_double_clicked(self, viewer: napari.Viewer, event: Any) -> None:
        if self._tissue.session.view.tool == "polygon":
            # The clicks before it have already set the last corner.
            event.handled = True
            self.close()

    def _on_mouse_moved(self, viewer: napari.Viewer, event: Any) -> None:
        tool = self._tissue.session.view.tool
        if tool == "brush":
            self._cell = event.viewbox
            self._sketch(mouse_yx(event))
        elif tool == "polygon" and self._path and event.viewbox == self._cell:
            self._sketch(mouse_yx(event))

    @staticmethod
    def _pixels(viewer: napari.Viewer, distance: NDArray[np.float64]) -> float:
        return float(np.hypot(*distance) * camera_of(viewer).zoom)

    # -- what is taken --------------------------------------------------------------------

    def _enclosed(self, path: NDArray[np.float64]) -> dict[str, tuple[NDArray[np.intp], Shape]]:
        """For each slice, the spots inside a path in the world, and the path on the slice."""
        taken = {}
        for name, layer in self._layers():
            xy = to_slice(layer, path)
            places = self._tissue.spots.tree(name).data
            taken[name] = _seen(layer, inside(xy, places)), Shape(name, xy)
        return taken

    def _brushed(self, path: NDArray[np.float64]) -> dict[str, tuple[NDArray[np.intp], Shape]]:
        """For each slice, the spots that the brush touched, and its trace."""
        import shapely

        taken = {}
        for name, layer in self._layers():
            xy = to_slice(layer, path)
            places, size = self._tissue.spots.tree(name).data, self._tissue.spots.size(name)
            line = shapely.LineString(xy) if len(xy) > 1 else shapely.Point(xy[0])
            trace = line.buffer(self._tissue.session.view.brush * size)
            corners = shapely.get_coordinates(trace.exterior)
            taken[name] = _seen(layer, inside(trace, places)), Shape(name, corners)
        return taken

    def _layers(self) -> list[tuple[str, Layer]]:
        viewer = self._viewer()
        if viewer is None:
            return []
        return [(name, layer) for _, name, layer in self._picking.shown(viewer, self._cell)]

    def _take(self, taken: dict[str, tuple[NDArray[np.intp], Shape]], how: str) -> None:
        session = self._tissue.session
        found, shapes = [np.empty(0, np.intp)], []
        for name, (spots, shape) in taken.items():
            rows = session.result.rows(name)
            if rows is not None and len(spots):
                found.append(rows[spots])
                shapes.append(shape)
        self._give(np.concatenate(found), how, shapes)

    def _give(self, rows: NDArray[np.intp], how: str, shapes: list[Shape]) -> None:
        try:
            self._tissue.session.annotations.take(rows, how, shapes)
        except InputError as error:
            viewer = self._viewer()
            if viewer is not None:
                viewer.status = str(error)

    # -- what is seen of it ---------------------------------------------------------------

    def _drop(self) -> None:
        """Forget what is being drawn."""
        self._path, self._cell = [], None
        self._tissue.sketch.line = None

    def _sketch(self, pointer: NDArray[np.float64] | None = None) -> None:
        """Draw the path so far, up to the pointer, on the slice under it."""
        layers = self._layers()
        if not layers:
            return
        name, layer = layers[0]
        world = np.array([*self._path, *([] if pointer is None else [pointer])])
        session = self._tissue.session
        xy = to_slice(layer, world) if len(world) else world
        if session.view.tool == "brush" and len(xy):
            radius = session.view.brush * self._tissue.spots.size(name)
            ring = radius * np.column_stack([np.cos(_CIRCLE), np.sin(_CIRCLE)]) + xy[-1]
            xy = np.vstack([xy, ring])
        chosen = session.annotations.chosen
        color = session.annotations.named(chosen).color if chosen else "#00e5ff"
        self._tissue.sketch.line = SketchedLine(name, xy, color)


def to_slice(layer: Layer, world: NDArray[np.float64]) -> NDArray[np.float64]:
    """Convert positions (y, x) in the world to coordinates (x, y) of a slice, shape (n, 2)."""
    at, down, right = (
        np.array(layer.world_to_data((*[0.0] * (layer.ndim - 2), *p))[-2:])
        for p in ((0.0, 0.0), (1.0, 0.0), (0.0, 1.0))
    )
    yx = at + world @ np.array([down - at, right - at])
    return np.ascontiguousarray(yx[:, ::-1])


def _seen(layer: Layer, spots: NDArray[np.intp]) -> NDArray[np.intp]:
    """Leave out spots that the layer does not show."""
    return spots[np.asarray(layer.shown)[spots]]
