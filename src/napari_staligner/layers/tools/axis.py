"""The tool that draws a line across the aligned slices: a drag, or clicks and a double-click."""

from __future__ import annotations

import weakref
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_staligner.core.registration.transforms import apply
from napari_staligner.layers.sketch import SketchedLine
from napari_staligner.layers.tools.draw import to_slice
from napari_staligner.layers.tools.pick import CLICK, mouse_yx

if TYPE_CHECKING:
    from collections.abc import Generator

    import napari
    from napari.layers import Layer
    from numpy.typing import NDArray

    from napari_staligner.layers.tissue import Tissue
    from napari_staligner.layers.tools.pick import PickTool

COLOR = "#00e5ff"


class AxisTool:
    """Draws the line of ``session.view.axis`` while the tool ``"line"`` is chosen.

    A line drawn on one slice is converted at once to the common frame, so it is the same line on
    all slices, in every layout.

    Parameters
    ----------
    viewer
        The viewer, held weakly.
    tissue
        Keeper of the layers.
    picking
        Finds the slices at a place.
    """

    def __init__(self, viewer: napari.Viewer, tissue: Tissue, picking: PickTool) -> None:
        self._viewer = weakref.ref(viewer)
        self._tissue, self._picking = tissue, picking
        self._path: list[NDArray[np.float64]] = []
        self._on: tuple[str, Layer] | None = None
        viewer.mouse_drag_callbacks.append(self._on_mouse_dragged)
        viewer.mouse_move_callbacks.append(self._on_mouse_moved)
        viewer.mouse_double_click_callbacks.append(self._on_mouse_double_clicked)
        for changed in (tissue.session.view.events.tool, tissue.session.view.events.layout):
            changed.connect(self._drop)

    @property
    def _drawing(self) -> bool:
        return self._tissue.session.view.tool == "line"

    def _on_mouse_dragged(self, viewer: napari.Viewer, event: Any) -> Generator[None]:
        session = self._tissue.session
        if not self._drawing or event.button != 1 or session.result.adata is None:
            return
        if viewer.dims.ndisplay != 2:
            viewer.status = "Leave 3-D to draw."
            return
        if self._on is None:
            self._on = self._slice_at(viewer, event.viewbox)
        if self._on is None:
            return
        event.handled = True  # the view stays
        start, pixel, far = mouse_yx(event), np.array(event.pos), 0.0
        yield
        while event.type == "mouse_move":
            event.handled = True
            far = max(far, float(np.abs(np.array(event.pos) - pixel).max()))
            if far >= CLICK and not self._path:
                self._sketch([start, mouse_yx(event)])
            yield
        if far >= CLICK and not self._path:
            self._finish([start, mouse_yx(event)])
        else:
            self._path.append(start)
            self._sketch(self._path)

    def _on_mouse_moved(self, viewer: napari.Viewer, event: Any) -> None:
        if self._drawing and self._path:
            self._sketch([*self._path, mouse_yx(event)])

    def _on_mouse_double_clicked(self, viewer: napari.Viewer, event: Any) -> None:
        if self._drawing:
            # The clicks before it have already set the last corner.
            event.handled = True
            self._finish(self._path)

    def _slice_at(
        self, viewer: napari.Viewer, cell: tuple[int, int] | None
    ) -> tuple[str, Layer] | None:
        """A visible slice of the result under the mouse: one that has a place in the frame."""
        known = self._tissue.session.alignment.transforms
        shown = self._picking.shown(viewer, cell)
        return next(((name, layer) for _, name, layer in shown if name in known), None)

    def _corners(self, path: list[NDArray[np.float64]]) -> NDArray[np.float64]:
        """Corners (x, y) on the slice that is drawn on."""
        return to_slice(self._on[1], np.array(path)) if self._on else np.empty((0, 2))

    def _sketch(self, path: list[NDArray[np.float64]]) -> None:
        if self._on is not None:
            self._tissue.sketch.line = SketchedLine(self._on[0], self._corners(path), COLOR)

    def _finish(self, path: list[NDArray[np.float64]]) -> None:
        session, on = self._tissue.session, self._on
        corners = self._corners(path)
        if on is None or len(np.unique(corners, axis=0)) < 2:
            return
        frame = apply(session.alignment.transforms[on[0]], corners)
        kept = np.r_[True, np.abs(np.diff(frame, axis=0)).sum(axis=1) > 0]
        line = tuple((float(x), float(y)) for x, y in frame[kept])
        kind = session.view.axis.kind if session.view.axis.drawn else "along"
        session.view.tool = ""
        session.view.axis = replace(session.view.axis, kind=kind, line=line)

    def _drop(self) -> None:
        """Forget what is being drawn."""
        if self._path or self._on is not None:
            self._path, self._on = [], None
            self._tissue.sketch.line = None
