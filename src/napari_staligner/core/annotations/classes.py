"""The parts of annotations: classes, drawn shapes and edits; and the templates of classes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Codes = NDArray[np.int16]
    Rows = NDArray[np.intp]

NONE = -1
"""Code of a spot that has no class."""
KEYS = range(1, 10)
EXCLUDE = "exclude"
"""Class whose spots the next run leaves out."""
EXCLUDED_COLOR = "#8c8c8c"


@dataclass(frozen=True)
class RegionClass:
    """A class of regions.

    Parameters
    ----------
    id
        Its code among the labels of spots; never used for another class.
    name
        Its name, unique.
    color
        Hex.
    parent
        Name of the class that it is part of; empty for none.
    key
        1..9, the key that assigns it; 0 for none.
    """

    id: int
    name: str
    color: str
    parent: str = ""
    key: int = 0


@dataclass(frozen=True)
class Shape:
    """A polygon that was drawn.

    Parameters
    ----------
    slice
        The slice that it is on.
    xy
        Corners (x, y) in the slice's own coordinates, float64, shape (corners, 2).
    """

    slice: str
    xy: NDArray[np.float64]


@dataclass(frozen=True)
class Edit:
    """One step: spots that changed their class, or classes that changed, or both.

    Parameters
    ----------
    what
        Short description for the undo button.
    how
        The tool: ``"lasso"``, ``"domain"``, ``"transfer"``, ``"import"``, …
    who
        The annotator whose labels changed.
    when
        UTC, ISO 8601.
    rows, before, after
        Rows of the result, and their codes before and after, shape (rows,) each.
    old_classes, new_classes
        All classes before and after; both empty if they do not change.
    shapes
        What was drawn.
    """

    what: str
    how: str
    who: str
    when: str
    rows: Rows
    before: Codes
    after: Codes
    old_classes: tuple[RegionClass, ...] = ()
    new_classes: tuple[RegionClass, ...] = ()
    shapes: tuple[Shape, ...] = ()


TEMPLATES: dict[str, tuple[tuple[str, str], ...]] = {
    "Olfactory bulb": (
        ("ONL", ""),
        ("GL", ""),
        ("EPL", ""),
        ("MCL", ""),
        ("IPL", ""),
        ("GCL", ""),
        ("RMS", ""),
        ("AOB", ""),
        ("AOBgr", "AOB"),
    ),
    "Folds and tears": ((EXCLUDE, ""),),
    "Cortex": (*((f"Layer {i}", "") for i in range(1, 7)), ("WM", "")),
}
"""Name and parent of the classes of each template."""
