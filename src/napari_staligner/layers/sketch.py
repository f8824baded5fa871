"""The line that a tool draws, while it is being drawn."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from psygnal import Signal

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray


@dataclass(frozen=True)
class SketchedLine:
    """A line on a slice.

    Parameters
    ----------
    slice
        Name of the slice.
    xy
        Its corners in the units of the slice, shape (n, 2).
    color
        Hex.
    """

    slice: str
    xy: NDArray[np.float64]
    color: str


class Sketch:
    """The line that a tool is drawing."""

    changed = Signal()
    """``line`` was set."""

    def __init__(self) -> None:
        self._line: SketchedLine | None = None

    @property
    def line(self) -> SketchedLine | None:
        """The line; ``None`` while nothing is drawn."""
        return self._line

    @line.setter
    def line(self, value: SketchedLine | None) -> None:
        if value is not self._line:
            self._line = value
            self.changed.emit()
