"""Outlines of cells: lines in the colours of their spots, and masks as an image of labels."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any
from weakref import WeakKeyDictionary

import numpy as np
from napari.layers import Labels
from napari.utils.colormaps import DirectLabelColormap

from napari_staligner import _keys as K
from napari_staligner.io.outlines import Masks, Outlines
from napari_staligner.layers.arrangement import is_solid
from napari_staligner.layers.layouts import to_napari
from napari_staligner.layers.overlays.overlay import SpotMark, TissueOverlay

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable

    from numpy.typing import NDArray

    from napari_staligner.session import Session

_SHADES = 31
"""Steps of each colour of a mask: napari sends every colour of its own, and it takes time."""


class OutlinesMark(SpotMark):
    """The outline of each cell, one pixel wide at any zoom.

    Lines of OpenGL: 100,000 cells are drawn faster than as many spots, where napari's vectors of
    them take half a minute to make, and its shapes far longer.
    """

    def __init__(self, stage: Any) -> None:
        super().__init__(stage)
        self._drawn: WeakKeyDictionary[Any, Outlines] = WeakKeyDictionary()

    def follows(self) -> Iterable[Any]:
        """Whether they are shown, what was read, and the colours of the spots."""
        session = self.session
        return (
            session.view.events.outlines_shown,
            session.outlines.changed,
            self.stage.painted,
        )

    def wanted(self, session: Session) -> Collection[str]:
        """Return the slices whose outlines were read; in 3-D nothing is drawn flat."""
        if not session.view.outlines_shown or is_solid(session):
            return []
        return [n for n, each in session.outlines.held.items() if isinstance(each, Outlines)]

    def make(self, name: str) -> Any:
        """Make the visual for a slice."""
        from vispy.scene.visuals import Line

        return Line(method="gl", antialias=False)

    def update(self, visual: Any, name: str) -> None:
        """Give the outlines of a slice the colours of its spots."""
        outlines = self.session.outlines.held.get(name)
        rgba = self.stage.painting.rgba.get(name)
        if not isinstance(outlines, Outlines) or rgba is None:
            return
        spots = self.stage.layers[name][K.Role.SPOTS]
        # The checkerboard hides some spots.
        rgba = rgba * np.asarray(spots.shown, dtype=np.float32)[:, None]
        color = np.repeat(rgba[outlines.rows], np.diff(outlines.starts), axis=0)
        if self._drawn.get(visual) is outlines:
            visual.set_data(color=color)
            return
        self._drawn[visual] = outlines
        visual.set_data(pos=outlines.corners, color=color, connect=closed_lines(outlines.starts))

    def seen(self, name: str) -> bool:
        """Where the slice is shown, also if its spots are hidden: then the outlines tell more."""
        return not self.stage.arrangement.hides(name)


def closed_lines(starts: NDArray[np.intp]) -> NDArray[np.uint32]:
    """First and second corner of each piece of closed lines, shape (corners, 2).

    Parameters
    ----------
    starts
        Where each line begins, and the end of the last one, shape (lines + 1,).
    """
    first = np.arange(starts[-1], dtype=np.uint32)
    second = first + np.uint32(1)
    second[starts[1:] - 1] = starts[:-1]
    return np.column_stack([first, second])


class MasksOverlay(TissueOverlay):
    """Masks of the cells in the colours of their spots; only what is looked at is read."""

    role = K.Role.MASKS
    order = 5

    def follows(self) -> Iterable[Any]:
        """Whether they are shown, what was read, and the colours of the spots."""
        session = self.session
        return (
            session.view.events.outlines_shown,
            session.outlines.changed,
            self.stage.painted,
        )

    def wanted(self, session: Session) -> bool:
        """Whether masks of any slice were read and are shown."""
        held = session.outlines.held.values()
        return session.view.outlines_shown and any(isinstance(each, Masks) for each in held)

    def make(self, name: str) -> Labels:
        """Make the layer for a slice; it is empty if the slice has no masks."""
        masks = self.session.outlines.held.get(name)
        title = f"{name} cells"
        if not isinstance(masks, Masks):
            layer = Labels(np.zeros((1, 1), dtype=np.uint8), name=title)
        else:
            several = len(masks.levels) > 1
            levels = list(masks.levels) if several else masks.levels[0]
            layer = Labels(levels, name=title, multiscale=several)
            layer.metadata[K.LAYER_PLACE] = to_napari(masks.matrix)
        layer.editable = False
        return layer

    def update(self, layer: Any, name: str) -> None:
        """Give the masks of a slice the colours of its spots."""
        masks, rgba = self.session.outlines.held.get(name), self.stage.painting.rgba.get(name)
        if not isinstance(masks, Masks) or rgba is None or not masks.numbers.any():
            return
        shades = np.round(rgba * _SHADES) / _SHADES
        colors: dict[int | None, Any] = dict(zip(masks.numbers.tolist(), shades, strict=True))
        colors[None] = colors[0] = np.zeros(4, np.float32)
        layer.colormap = DirectLabelColormap(color_dict=colors)

    def seen(self, name: str) -> bool:
        """Where the slice is shown; in 3-D nothing is drawn flat."""
        return super().seen(name) and not is_solid(self.session)
