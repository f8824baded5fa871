"""Slices moved, turned and mirrored by hand in the stack, and tissue images under their spots."""

from __future__ import annotations

import weakref
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_staligner.core.registration.transforms import about, shifted, turned
from napari_staligner.layers.tools.hands import ImageHand, SliceHand
from napari_staligner.layers.tools.pick import CLICK, mouse_yx

if TYPE_CHECKING:
    from collections.abc import Generator

    import napari
    from numpy.typing import NDArray

    from napari_staligner.core.registration.transforms import Matrix
    from napari_staligner.layers.tissue import Tissue
    from napari_staligner.layers.tools.hands import Hand

NUDGE_DEGREES = 1.0
_NUDGES = {"Left": (-0.5, 0.0), "Right": (0.5, 0.0), "Up": (0.0, -0.5), "Down": (0.0, 0.5)}
_TURNS = {"[": -NUDGE_DEGREES, "]": NUDGE_DEGREES}
_MIRROR = "m"


class MoveTool:
    """Handles mouse and keys of a viewer while the session has a slice or an image in hand.

    Parameters
    ----------
    viewer
        The viewer, held weakly.
    tissue
        Keeper of the layers.
    """

    def __init__(self, viewer: napari.Viewer, tissue: Tissue) -> None:
        self._viewer = weakref.ref(viewer)
        self._view = tissue.session.view
        self._tissue = tissue
        self._slice, self._image = SliceHand(tissue), ImageHand(tissue)
        viewer.mouse_drag_callbacks.append(self._on_mouse_dragged)
        self._view.events.hand.connect(self._on_hand_set)
        self._view.events.image_hand.connect(self._on_image_hand_set)
        tissue.session.result.changed.connect(self._bind)

    @property
    def hand(self) -> Hand:
        """What is moved at present."""
        return self._image if self._view.image_hand else self._slice

    # Only one thing is in hand at a time.

    def _on_hand_set(self, name: str) -> None:
        if name:
            self._view.image_hand = ""
        self._bind()

    def _on_image_hand_set(self, name: str) -> None:
        if name:
            self._view.hand = ""
        self._bind()

    # -- mouse ----------------------------------------------------------------------------

    def _on_mouse_dragged(self, viewer: napari.Viewer, event: Any) -> Generator[None]:
        mode = str(getattr(viewer.layers.selection.active, "mode", "pan_zoom"))
        hand = self.hand
        if not hand.free or event.button != 1 or mode != "pan_zoom" or self._view.tool:
            return
        event.handled = True  # the view stays
        center = hand.middle()
        start, pixel = mouse_yx(event)[::-1], np.array(event.pos)
        turning = "Control" in event.modifiers
        step, farthest = np.eye(3), 0.0
        yield
        while event.type == "mouse_move":
            event.handled = True
            farthest = max(farthest, float(np.abs(np.array(event.pos) - pixel).max()))
            at = mouse_yx(event)[::-1]
            step = _turn(center, start, at) if turning else shifted(at - start)
            hand.show(step)
            yield
        if farthest >= CLICK:
            hand.put(step, turning=turning)
        else:
            hand.show(None)
            hand.click(start)

    # -- keys -----------------------------------------------------------------------------

    def _bind(self) -> None:
        """Bind the keys while something is in hand, and release them afterwards."""
        viewer = self._viewer()
        if viewer is None:
            return
        held = self._view.hand or self._view.image_hand
        for key in (*_NUDGES, *_TURNS, _MIRROR):
            viewer.bind_key(key, self._on_key(key) if held else None, overwrite=True)

    def _on_key(self, key: str) -> Callable[[Any], None]:
        def pressed(_: Any) -> None:
            if self.hand.free:
                self.nudge(key)

        return pressed

    def nudge(self, key: str) -> None:
        """Move what is in hand by half a spacing, turn it by a degree, or mirror it.

        Parameters
        ----------
        key
            ``Left``, ``Right``, ``Up``, ``Down``, ``[``, ``]`` or ``m``.
        """
        if key in _NUDGES:
            self.hand.nudge(_NUDGES[key])
        else:
            self.hand.turn(_TURNS.get(key, 0.0), mirrored=key == _MIRROR)


def _turn(
    center: NDArray[np.float64], start: NDArray[np.float64], now: NDArray[np.float64]
) -> Matrix:
    a, b = start - center, now - center
    degrees = np.degrees(np.arctan2(a[0] * b[1] - a[1] * b[0], a @ b))
    return about(center, turned(float(degrees)))
