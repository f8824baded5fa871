"""The spot under the mouse: a click chooses it, hovering names it in the status bar."""

from __future__ import annotations

import weakref
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_staligner import _keys as K
from napari_staligner.compat import grid_of
from napari_staligner.session import Spot

if TYPE_CHECKING:
    from collections.abc import Generator, Sequence

    import napari
    from napari.layers import Layer
    from numpy.typing import NDArray

    from napari_staligner.layers.colors import Painting
    from napari_staligner.layers.tissue import Tissue
    from napari_staligner.session import Session

CLICK = 4
"""A mouse that moves fewer pixels than this between press and release is a click, not a drag."""


def mouse_yx(event: Any) -> NDArray[np.float64]:
    """Where the mouse is in the world: (y, x)."""
    return np.array(event.position[-2:], dtype=np.float64)


def clicked(event: Any) -> Generator[None, None, bool]:
    """Wait until a pressed button is released, and say whether it was a click."""
    start, farthest = np.array(event.pos), 0.0
    yield
    while event.type == "mouse_move":
        farthest = max(farthest, float(np.abs(np.array(event.pos) - start).max()))
        yield
    return farthest < CLICK


class PickTool:
    """Handles the mouse of a viewer.

    Parameters
    ----------
    viewer
        The viewer, held weakly.
    tissue
        Keeper of the layers.
    """

    def __init__(self, viewer: napari.Viewer, tissue: Tissue) -> None:
        self._viewer = weakref.ref(viewer)
        self._tissue = tissue
        self._text = ""
        viewer.mouse_drag_callbacks.append(self._on_mouse_dragged)
        viewer.mouse_move_callbacks.append(self._on_mouse_moved)
        viewer.events.status.connect(self._on_status_changed)

    def spot_at(
        self, viewer: napari.Viewer, position: Sequence[float], cell: tuple[int, int] | None
    ) -> Spot | None:
        """Find the spot at a position in the world, at most one spot away.

        Where slices overlap, the active layer goes first, then the topmost.

        Parameters
        ----------
        viewer
            The viewer.
        position
            Position in the world, last two axes (y, x).
        cell
            Cell of the grid, if it is on: all cells share one world.
        """
        active = viewer.layers.selection.active
        shown = [(active is layer, at, name) for at, name, layer in self.shown(viewer, cell)]
        for _, at, name in sorted(shown, reverse=True):
            y, x = viewer.layers[at].world_to_data(position)[-2:]
            distance, row = self._tissue.spots.tree(name).query((x, y))
            if distance <= self._tissue.spots.size(name) and _is_seen(viewer.layers[at], row):
                return Spot(name, int(row))
        return None

    def shown(
        self, viewer: napari.Viewer, cell: tuple[int, int] | None
    ) -> list[tuple[int, str, Layer]]:
        """Visible spots layers in a cell of the grid: index in the list, slice, layer."""
        spots = {x[K.Role.SPOTS]: n for n, x in self._tissue.layers.items() if K.Role.SPOTS in x}
        found = [
            (at, spots[layer], layer)
            for at, layer in enumerate(viewer.layers)
            if layer.visible and layer in spots
        ]
        grid = grid_of(viewer)
        if not grid.enabled or cell is None:
            return found
        inside = grid.contents_at(cell, viewer.layers)
        return [entry for entry in found if entry[0] in inside]

    # -- mouse ----------------------------------------------------------------------------

    def _on_mouse_dragged(self, viewer: napari.Viewer, event: Any) -> Generator[None]:
        active = viewer.layers.selection.active
        if event.button != 1 or str(getattr(active, "mode", "pan_zoom")) != "pan_zoom":
            return
        if self._tissue.session.view.tool:
            return
        if (yield from clicked(event)):
            spot = self.spot_at(viewer, event.position, event.viewbox)
            self._tissue.session.view.spot = spot

    def _on_mouse_moved(self, viewer: napari.Viewer, event: Any) -> None:
        spot = self.spot_at(viewer, event.position, event.viewbox)
        self._text = (
            "" if spot is None else describe(self._tissue.session, self._tissue.painting, spot)
        )
        if self._text:
            viewer.status = self._text

    def _on_status_changed(self, event: Any) -> None:
        """Show the spot's description again: napari overwrites it a moment later."""
        viewer = self._viewer()
        if viewer is not None and self._text and viewer.mouse_over_canvas:
            viewer.status = self._text


def describe(session: Session, painting: Painting, spot: Spot) -> str:
    """Say slice, name, domain and value of a spot.

    Parameters
    ----------
    session
        The session of the spot.
    painting
        Present colours and values of the spots.
    spot
        The spot.
    """
    parts = [spot.slice, str(session.slices[spot.slice].obs_names[spot.row])]
    rows = session.result.rows(spot.slice)
    if (
        rows is not None
        and session.result.adata is not None
        and K.DOMAIN in session.result.adata.obs
    ):
        parts.append(f"domain {session.result.adata.obs[K.DOMAIN].iloc[rows[spot.row]]}")
    values, title = painting.values.get(spot.slice), painting.legend.title
    if values is not None and title not in (K.SLICE, K.DOMAIN):
        value = values[spot.row]
        parts.append(f"{title} {value if isinstance(value, str) else f'{value:.4g}'}")
    return " · ".join(parts)


def _is_seen(layer: Layer, row: int) -> bool:
    """Whether a spot is hidden neither by the other slice of a stack nor by its colour."""
    return bool(layer.shown[row] and layer.face_color[row, 3] > 0)
