"""The camera of a viewer: it stays with the tissue when the slices move."""

from __future__ import annotations

import weakref
from contextlib import contextmanager
from typing import TYPE_CHECKING

import numpy as np

from napari_staligner.compat import camera_of, drawn_later

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    import napari
    from numpy.typing import NDArray

    Matrix = NDArray[np.float64]

TILT = (0.0, -18.0, 55.0)
"""Angles (degrees) of the first view in 3-D: from the front, above the slices."""


FILLED = 0.6
"""Share of the canvas that a box fills that is looked at."""
RESIZED = 1.4
"""How much the zoom that shows everything can change when docks next to the canvas come or go."""


class Camera:
    """Fits the view to the slices, or keeps it on the tissue that it shows.

    Parameters
    ----------
    viewer
        The viewer, held weakly.
    """

    def __init__(self, viewer: napari.Viewer) -> None:
        self._viewer = weakref.ref(viewer)
        self._fitted: tuple[tuple[float, ...], float] | None = None
        self._flat: tuple[tuple[float, ...], float, tuple[float, ...]] | None = None
        self._stale = False
        self._angles = TILT

    def fit(self) -> None:
        """Show everything."""
        viewer = self._viewer()
        if viewer is None:
            return
        if viewer.dims.ndisplay == 3:
            viewer.reset_view(reset_camera_angle=False)
            self._stale = True
            return
        viewer.reset_view()
        self._fitted = self._view(viewer)

    def look_at(
        self,
        middle: NDArray[np.float64],
        extent: NDArray[np.float64],
        pixels: tuple[float, float],
    ) -> None:
        """Show a box of the world, with some room around it.

        Parameters
        ----------
        middle, extent
            Its middle and its sides (y, x).
        pixels
            Height and width of what shows it.
        """
        viewer = self._viewer()
        if viewer is None or viewer.dims.ndisplay == 3:
            return
        # What flies there, an exclusion or the next pair, has just taken its time.
        drawn_later(viewer)
        camera = camera_of(viewer)
        camera.center = (*camera.center[:-2], float(middle[0]), float(middle[1]))
        room = np.array(pixels) / np.maximum(extent, 1e-9)
        camera.zoom = float(room.min()) * FILLED

    def follow(
        self, old: Mapping[str, Matrix], new: Mapping[str, Matrix], boxes: Mapping[str, Matrix]
    ) -> None:
        """Show the same tissue as before the slices moved.

        A view that was fitted and not changed since is fitted again. So is one that shows no
        tissue.

        Parameters
        ----------
        old, new
            Placement of each slice before and now, 3 × 3 matrices of (x, y, 1).
        boxes
            Smallest and largest (x, y) of each slice in its own units, shape (2, 2).
        """
        viewer = self._viewer()
        if viewer is None or viewer.dims.ndisplay == 3:
            return
        camera = camera_of(viewer)
        at = np.array([*camera.center[:-3:-1], 1.0])
        anchor = None if self._is_fitted(viewer) else _under(at, old, boxes)
        if anchor is None or anchor not in new:
            self.fit()
            return
        moved = new[anchor] @ np.linalg.inv(old[anchor]) @ at
        camera.center = (*camera.center[:-2], moved[1], moved[0])
        camera.zoom *= _scale(old[anchor]) / _scale(new[anchor])

    def lift(self) -> None:
        """Look at the slices in 3-D."""
        viewer = self._viewer()
        if viewer is None or self._flat is not None:
            return
        self._flat = (*self._view(viewer), tuple(viewer.dims.point))
        viewer.dims.ndisplay = 3
        camera_of(viewer).angles = self._angles
        viewer.reset_view(reset_camera_angle=False)

    def flatten(self) -> None:
        """Restore the view from before :meth:`lift`; the angles are remembered for the next one."""
        viewer = self._viewer()
        if viewer is None or self._flat is None:
            return
        center, zoom, point = self._flat
        self._flat = None
        camera = camera_of(viewer)
        self._angles = camera.angles
        viewer.dims.ndisplay = 2
        missing = (0.0,) * (viewer.dims.ndim - len(point))
        viewer.dims.point = (*missing, *point)[-viewer.dims.ndim :]
        camera.center, camera.zoom = center, zoom
        if self._stale:
            self._stale = False
            self.fit()

    def _is_fitted(self, viewer: napari.Viewer) -> bool:
        """Whether everything is shown; the zoom for that depends on the size of the canvas."""
        if self._fitted is None:
            return False
        (center, zoom), (fitted_center, fitted_zoom) = self._view(viewer), self._fitted
        same = np.allclose(center, fitted_center, atol=1e-6 * max(1.0, 1 / zoom))
        return bool(same) and max(zoom, fitted_zoom) <= RESIZED * min(zoom, fitted_zoom)

    def _view(self, viewer: napari.Viewer) -> tuple[tuple[float, ...], float]:
        camera = camera_of(viewer)
        return tuple(camera.center), float(camera.zoom)


@contextmanager
def held(viewer: napari.Viewer) -> Iterator[None]:
    """Keep the view while layers are added: napari fits it when the first 3-D layer comes."""
    camera = camera_of(viewer)
    center, zoom = camera.center, camera.zoom
    yield
    if (camera.center, camera.zoom) != (center, zoom):
        camera.center, camera.zoom = center, zoom


def _under(
    at: NDArray[np.float64], placements: Mapping[str, Matrix], boxes: Mapping[str, Matrix]
) -> str | None:
    """Slice that covers a place (x, y, 1) in the world; if several do, the most central one."""
    found = []
    for name in placements.keys() & boxes.keys():
        own = (np.linalg.inv(placements[name]) @ at)[:2]
        low, high = boxes[name]
        if ((low <= own) & (own <= high)).all():
            away = np.abs(own - (low + high) / 2) / np.maximum(high - low, 1e-9)
            found.append((float(away.max()), list(boxes).index(name), name))
    return min(found)[-1] if found else None


def _scale(placement: Matrix) -> float:
    return float(np.sqrt(abs(np.linalg.det(placement[:2, :2]))))
