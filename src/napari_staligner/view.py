"""What is looked at, as values: the stack, links, and the spots that are trusted."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Literal

StackMode = Literal["blend", "flicker", "checkerboard", "swipe", "3d"]
Part = Literal["both", "image", "spots"]

PAIRWISE: tuple[StackMode, ...] = ("flicker", "checkerboard", "swipe")
"""Modes of the stack that show two slices, and hide the others."""


@dataclass(frozen=True)
class StackView:
    """How slices that lie on top of each other are told apart.

    Parameters
    ----------
    mode
        ``"blend"`` lets all shine through each other, ``"flicker"`` shows two in turn,
        ``"checkerboard"`` and ``"swipe"`` show two in parts, ``"3d"`` lifts each above the one
        before.
    pair
        Names of the two slices; ``None`` takes the first two.
    part
        What is shown of a slice; one without an image shows its spots in any case.
    opacities
        Opacity of the spots of each slice, 0..1 (of its image, where images alone are blended);
        slices not named have :data:`OPACITY`, and in 3-D 1.
    front
        Which of the pair the flicker shows now, 0 or 1.
    rate
        Turns of the flicker per second; 0 stands still.
    cells
        Cells of the checkerboard along its longer side.
    swipe
        Share of the width that shows the first of the pair, 0..1.
    spacing
        Distance between slices in 3-D, as a share of the extent of the first slice.
    """

    mode: StackMode = "blend"
    pair: tuple[str, str] | None = None
    part: Part = "both"
    opacities: Mapping[str, float] = field(default_factory=lambda: MappingProxyType({}))
    front: int = 0
    rate: float = 2.0
    cells: int = 8
    swipe: float = 0.5
    spacing: float = 0.3

    def opacity(self, name: str) -> float:
        """Opacity of a slice, 0..1."""
        return self.opacities.get(name, OPACITY)


OPACITY = 0.6
"""Opacity of slices in the stack unless set."""


@dataclass(frozen=True)
class Trust:
    """Which spots are shown by their ``obs["alignment_confidence"]``.

    Parameters
    ----------
    least
        Spots with a smaller confidence are greyed, 0..1.
    hide
        Hide them instead.
    """

    least: float = 0.0
    hide: bool = False


@dataclass(frozen=True)
class LinkView:
    """Which links between slices are drawn: pairs of mutual nearest neighbours in z.

    Parameters
    ----------
    shown
        Whether they are drawn.
    of_spot
        Only those of the chosen spot.
    color
        By what they are coloured: ``"domain"`` that both ends share, or ``"distance"`` in z.
    most
        So many at most, evenly over the tissue; those of the chosen spot are drawn besides.
    """

    shown: bool = False
    of_spot: bool = False
    color: Literal["domain", "distance"] = "domain"
    most: int = 500
