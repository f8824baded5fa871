"""What an overlay is: something that is drawn on the slices while it is switched on."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, Any, ClassVar

from psygnal import Signal

from napari_staligner import _keys as K

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable

    from napari.layers import Layer

    from napari_staligner.layers.stage import Stage
    from napari_staligner.session import Session


class TissueOverlay(ABC):
    """Layers that are in the viewer while something is switched on: one a slice, or one for all.

    Parameters
    ----------
    stage
        What it is drawn on.
    """

    role: ClassVar[K.Role]
    """Of its layers."""
    order: ClassVar[int]
    """Its layers lie over those of overlays with a smaller number."""
    spans: ClassVar[bool] = False
    """Whether one layer, in the world, shows all slices. The grid has no place for such a one."""
    due = Signal()
    """It is to be drawn again, for another reason than :meth:`follows` names."""

    def __init__(self, stage: Stage) -> None:
        self.stage, self.session = stage, stage.session

    @abstractmethod
    def follows(self) -> Iterable[Any]:
        """Signals after which it is made, drawn again or removed; layers that move are told."""

    @abstractmethod
    def wanted(self, session: Session) -> bool:
        """Whether it is switched on, and has a place in the layout."""

    @abstractmethod
    def make(self, name: str) -> Layer:
        """Make the layer for a slice, which may be empty; without a name, that for all."""

    @abstractmethod
    def update(self, layer: Any, name: str) -> None:
        """Draw the layer as the session says."""

    def seen(self, name: str) -> bool:
        """Whether the layer has a place in the present picture of a stack."""
        return not self.stage.arrangement.hides(name)


class SpotMark(ABC):
    """What vispy draws at the spots of a slice above all layers, and which is in no list.

    It moves with the spots, into their cell of the grid, too.

    Parameters
    ----------
    stage
        What it is drawn on.
    """

    def __init__(self, stage: Stage) -> None:
        self.stage, self.session = stage, stage.session

    @abstractmethod
    def follows(self) -> Iterable[Any]:
        """Signals after which it is drawn again."""

    @abstractmethod
    def wanted(self, session: Session) -> Collection[str]:
        """Names of the slices on which it is drawn."""

    @abstractmethod
    def make(self, name: str) -> Any:
        """Make the visual for a slice."""

    @abstractmethod
    def update(self, visual: Any, name: str) -> None:
        """Draw it as the session says; places are (x, y) of the slice."""

    def seen(self, name: str) -> bool:
        """Whether it is seen: with its spots; in the stack also where images stand for them."""
        if self.session.view.layout == "stack":
            return not self.stage.arrangement.hides(name)
        return bool(self.stage.layers[name][K.Role.SPOTS].visible)
