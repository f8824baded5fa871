"""What is being drawn with the mouse."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from napari_staligner.core.palette import to_rgba
from napari_staligner.layers.overlays.overlay import SpotMark

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable

    from numpy.typing import NDArray

    from napari_staligner.session import Session

_WIDTH = 0.25
"""Width of a line, as a share of the size of a spot."""


class SketchMark(SpotMark):
    """The line that a tool is drawing, on its slice."""

    def follows(self) -> Iterable[Any]:
        """The sketch."""
        return (self.stage.sketch.changed,)

    def wanted(self, session: Session) -> Collection[str]:
        """Return the slice that is drawn on."""
        line = self.stage.sketch.line
        return [line.slice] if line is not None and len(line.xy) > 1 else []

    def make(self, name: str) -> Any:
        """Make the visual for a slice."""
        from vispy.scene.visuals import Mesh

        return Mesh()

    def update(self, visual: Any, name: str) -> None:
        """Draw the line, as a mesh: graphics cards may not support wide lines."""
        line = self.stage.sketch.line
        if line is not None:
            vertices, faces = ribbon(line.xy, _WIDTH * self.stage.spot_size(name))
            visual.set_data(vertices, faces, color=to_rgba([line.color])[0])


def ribbon(xy: NDArray[np.float64], width: float) -> tuple[NDArray[np.float32], NDArray[np.uint32]]:
    """Return a line as triangles, two for each segment.

    Parameters
    ----------
    xy
        Corners of the line, shape (n, 2), n > 1.
    width
        Width of the line, in the same units.

    Returns
    -------
    Corners of the triangles (x, y, 0), float32, shape (4 (n - 1), 3), and which three of them make
    each triangle, uint32, shape (2 (n - 1), 3).
    """
    step = np.diff(xy, axis=0)
    length = np.linalg.norm(step, axis=1, keepdims=True)
    along = width / 2 * step / np.where(length > 0, length, 1)
    side = along[:, ::-1] * (-1, 1)
    # Segments are a bit longer at both ends, so that there are no gaps at the corners.
    start, end = xy[:-1] - along, xy[1:] + along
    corners = np.stack([start + side, start - side, end + side, end - side], axis=1)
    vertices = np.zeros((4 * len(step), 3), dtype=np.float32)
    vertices[:, :2] = corners.reshape(-1, 2)
    faces = np.array([[0, 1, 2], [1, 2, 3]]) + 4 * np.arange(len(step))[:, None, None]
    return vertices, faces.reshape(-1, 3).astype(np.uint32)


def ribbons(
    lines: Iterable[NDArray[np.float64]], width: float
) -> tuple[NDArray[np.float32], NDArray[np.uint32]]:
    """Return several lines as the triangles of one mesh; see :func:`ribbon`.

    Parameters
    ----------
    lines
        Corners of each line, shape (n, 2), n > 1.
    width
        Width of the lines, in the same units.
    """
    vertices, faces, before = [], [], 0
    for line in lines:
        corners, triangles = ribbon(line, width)
        vertices.append(corners)
        faces.append(triangles + np.uint32(before))
        before += len(corners)
    return np.concatenate(vertices), np.concatenate(faces)
