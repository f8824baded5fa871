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
    """Layers that are in the viewer while switched on: one per slice, or one for all.

    Parameters
    ----------
    stage
        What it is drawn on.
    """

    role: ClassVar[K.Role]
    """Role of its layers."""
    order: ClassVar[int]
    """Its layers lie above the layers of overlays with a lower number."""
    spans: ClassVar[bool] = False
    """Whether one layer, in world coordinates, shows all slices. The grid cannot show one."""
    due = Signal()
    """It must be drawn again, for a reason that :meth:`follows` does not cover."""

    def __init__(self, stage: Stage) -> None:
        self.stage, self.session = stage, stage.session

    @abstractmethod
    def follows(self) -> Iterable[Any]:
        """Signals after which it is made, redrawn or removed; moved layers are redrawn anyway."""

    @abstractmethod
    def wanted(self, session: Session) -> bool:
        """Whether it is switched on, and the layout can show it."""

    @abstractmethod
    def make(self, name: str) -> Layer:
        """Make the layer for a slice, possibly empty; without a name, the one for all slices."""

    @abstractmethod
    def update(self, layer: Any, name: str) -> None:
        """Draw the layer as the session says."""

    def seen(self, name: str) -> bool:
        """Whether the stack shows the layer at present."""
        return not self.stage.arrangement.hides(name)


class SpotMark(ABC):
    """What vispy draws at the spots of a slice, above all layers and outside napari's list.

    It moves with the spots, also into their cell of the grid.

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
        """Draw it as the session says, in coordinates (x, y) of the slice."""

    def seen(self, name: str) -> bool:
        """Whether it is visible: with its spots; in the stack also if images replace them."""
        if self.session.view.layout == "stack":
            return not self.stage.arrangement.hides(name)
        return bool(self.stage.layers[name][K.Role.SPOTS].visible)
