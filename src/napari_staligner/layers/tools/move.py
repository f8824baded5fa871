"""Slices moved, turned and mirrored by hand in the stack."""

from __future__ import annotations

import weakref
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_staligner.core.registration.transforms import about, shifted, turned
from napari_staligner.layers.arrangement import is_solid
from napari_staligner.layers.tools.pick import CLICK, mouse_yx

if TYPE_CHECKING:
    from collections.abc import Generator

    import napari
    from numpy.typing import NDArray

    from napari_staligner.core.registration.transforms import Matrix
    from napari_staligner.layers.tissue import Tissue

NUDGE_DEGREES = 1.0
_NUDGES = {"Left": (-0.5, 0.0), "Right": (0.5, 0.0), "Up": (0.0, -0.5), "Down": (0.0, 0.5)}
_TURNS = {"[": -NUDGE_DEGREES, "]": NUDGE_DEGREES}
_MIRROR = "m"


class MoveTool:
    """Handles mouse and keys of a viewer while the session has a slice in hand.

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
        self._alignment = tissue.session.alignment
        viewer.mouse_drag_callbacks.append(self._on_mouse_dragged)
        tissue.session.view.events.hand.connect(self._bind)
        tissue.session.result.changed.connect(self._bind)

    # -- mouse ----------------------------------------------------------------------------

    @property
    def _free(self) -> bool:
        """Whether a slice is in hand, and lies where its transform says."""
        session = self._tissue.session
        flat = session.view.layout == "stack" and not is_solid(session)
        return flat and session.view.hand in self._alignment.transforms

    def _on_mouse_dragged(self, viewer: napari.Viewer, event: Any) -> Generator[None]:
        mode = str(getattr(viewer.layers.selection.active, "mode", "pan_zoom"))
        tool = self._tissue.session.view.tool
        if not self._free or event.button != 1 or mode != "pan_zoom" or tool:
            return
        event.handled = True  # the view stays
        name = self._tissue.session.view.hand
        before = self._alignment.transforms[name]
        center = self._alignment.middle(name)
        start, pixel = self._xy(event), np.array(event.pos)
        turning = "Control" in event.modifiers
        matrix, farthest = before, 0.0
        yield
        while event.type == "mouse_move":
            event.handled = True
            farthest = max(farthest, float(np.abs(np.array(event.pos) - pixel).max()))
            at = self._xy(event)
            step = _turn(center, start, at) if turning else shifted(at - start)
            matrix = step @ before
            self._alignment.preview(name, matrix)
            yield
        if farthest >= CLICK:
            self._alignment.move(name, matrix, f"{'Turn' if turning else 'Move'} {name}")
        else:
            self._alignment.preview(name, before)

    def _xy(self, event: Any) -> NDArray[np.float64]:
        """Place of the mouse in the frame that the slices share."""
        world = mouse_yx(event)[::-1]
        return world / self._tissue.stage.arrangement.unit

    # -- keys -----------------------------------------------------------------------------

    def _bind(self) -> None:
        """Bind the keys while a slice is in hand, and release them afterwards."""
        viewer = self._viewer()
        if viewer is None:
            return
        for key in (*_NUDGES, *_TURNS, _MIRROR):
            bound = self._on_key(key) if self._tissue.session.view.hand else None
            viewer.bind_key(key, bound, overwrite=True)

    def _on_key(self, key: str) -> Callable[[Any], None]:
        def pressed(_: Any) -> None:
            if self._free:
                self.nudge(key)

        return pressed

    def nudge(self, key: str) -> None:
        """Move the slice in hand by half a spacing, turn it by a degree, or mirror it.

        Parameters
        ----------
        key
            ``Left``, ``Right``, ``Up``, ``Down``, ``[``, ``]`` or ``m``.
        """
        alignment, hand = self._alignment, self._tissue.session.view.hand
        if key in _NUDGES:
            alignment.nudge(hand, _NUDGES[key])
        else:
            alignment.turn(hand, _TURNS.get(key, 0.0), mirrored=key == _MIRROR)


def _turn(
    center: NDArray[np.float64], start: NDArray[np.float64], now: NDArray[np.float64]
) -> Matrix:
    a, b = start - center, now - center
    degrees = np.degrees(np.arctan2(a[0] * b[1] - a[1] * b[0], a @ b))
    return about(center, turned(float(degrees)))
