"""The axis of profiles on the slices: a line, or the rim of a region or of the tissue."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from napari_staligner.core.palette import to_rgba
from napari_staligner.core.registration.transforms import apply, inverse
from napari_staligner.layers.overlays.overlay import SpotMark
from napari_staligner.layers.overlays.sketch import ribbons

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable

    from numpy.typing import NDArray

    from napari_staligner.session import Session

COLOR = "#00e5ff"
_WIDTH = 0.3
"""Width of the line, as a share of the size of a spot."""
_HEAD = 2.0
"""Size of the head that shows which way a drawn line goes, in spots."""


class AxisMark(SpotMark):
    """What the distances of a profile are measured from, on every slice."""

    def follows(self) -> Iterable[Any]:
        """The axis, and where the slices are."""
        session = self.session
        return (
            session.view.events.axis,
            session.view.events.axis_shown,
            session.profile.changed,
            session.alignment.changed,
        )

    def wanted(self, session: Session) -> Collection[str]:
        """Return the slices that have a line."""
        if not session.view.axis_shown:
            return []
        return [name for name in session.alignment.transforms if self._lines(name)]

    def make(self, name: str) -> Any:
        """Make the visual for a slice."""
        from vispy.scene.visuals import Mesh

        return Mesh()

    def update(self, visual: Any, name: str) -> None:
        """Draw the lines, as a mesh: graphics cards may not support wide lines."""
        back = inverse(self.session.alignment.transforms[name])
        size = self.stage.spot_size(name)
        drawn = self.session.view.axis.drawn
        parts = [
            part
            for line in self._lines(name)
            for part in _with_head(apply(back, line), _HEAD * size, drawn)
        ]
        visual.set_data(*ribbons(parts, _WIDTH * size), color=to_rgba([COLOR])[0])

    def _lines(self, name: str) -> list[NDArray[np.float64]]:
        """Corners (x, y) of the lines of a slice, in the common frame."""
        axis, found = self.session.view.axis, self.session.profile.found
        if axis.drawn:
            return [np.array(axis.line, dtype=np.float64)] if len(axis.line) > 1 else []
        if found is None or found.axis != axis:
            return []
        return list(found.outlines.get(name, ()))


def _with_head(line: NDArray[np.float64], size: float, drawn: bool) -> list[NDArray[np.float64]]:
    """A line, and if it was drawn the head of an arrow at its end."""
    if not drawn:
        return [line]
    step = line[-1] - line[-2]
    length = float(np.linalg.norm(step))
    ahead = size * step / length if length > 0 else np.zeros(2)
    side = 0.5 * ahead[::-1] * (-1, 1)
    return [line, np.array([line[-1] - ahead + side, line[-1], line[-1] - ahead - side])]
