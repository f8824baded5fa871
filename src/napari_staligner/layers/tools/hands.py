"""What mouse and keys move: a slice in the stack, or a tissue image under its spots."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

import numpy as np

from napari_staligner.core.prepare.graph import spacing
from napari_staligner.core.registration.transforms import about, apply, inverse, shifted, turned
from napari_staligner.core.result.access import spots_xy
from napari_staligner.layers.arrangement import is_solid

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

    from napari_staligner.core.registration.transforms import Matrix
    from napari_staligner.layers.tissue import Tissue


class Hand(Protocol):
    """Something that is in hand. Steps and places are in the world, as (x, y)."""

    @property
    def free(self) -> bool:
        """Whether it is in hand, and lies where its matrix says."""

    def middle(self) -> NDArray[np.float64]:
        """Its present middle."""

    def show(self, step: Matrix | None) -> None:
        """Show it after a step from where it lies; ``None`` shows it where it lies."""

    def put(self, step: Matrix, *, turning: bool) -> None:
        """Leave it after a step from where it lies."""

    def nudge(self, spacings: tuple[float, float]) -> None:
        """Move it by a multiple of the spot spacing."""

    def turn(self, degrees: float, *, mirrored: bool = False) -> None:
        """Turn it about its middle, and mirror it first if ``mirrored``."""

    def click(self, at: NDArray[np.float64]) -> None:
        """Take a place that was clicked."""


class SliceHand:
    """The slice ``view.hand``, which lies in the stack by its transform.

    Parameters
    ----------
    tissue
        Keeper of the layers.
    """

    def __init__(self, tissue: Tissue) -> None:
        self._tissue, self._session = tissue, tissue.session

    @property
    def free(self) -> bool:
        """Whether it is in hand in the stack, seen from above."""
        session = self._session
        flat = session.view.layout == "stack" and not is_solid(session)
        return flat and session.view.hand in session.alignment.transforms

    def middle(self) -> NDArray[np.float64]:
        """Middle of its spots."""
        return self._session.alignment.middle(self._session.view.hand) * self._unit

    def show(self, step: Matrix | None) -> None:
        """Show it after a step."""
        name = self._session.view.hand
        before = self._recorded[name]
        self._session.alignment.preview(name, before if step is None else self._after(step))

    def put(self, step: Matrix, *, turning: bool) -> None:
        """Write its transform."""
        name = self._session.view.hand
        title = f"{'Turn' if turning else 'Move'} {name}"
        self._session.alignment.move(name, self._after(step), title)

    def nudge(self, spacings: tuple[float, float]) -> None:
        """Move it by a multiple of its spot spacing."""
        self._session.alignment.nudge(self._session.view.hand, spacings)

    def turn(self, degrees: float, *, mirrored: bool = False) -> None:
        """Turn it about its middle."""
        self._session.alignment.turn(self._session.view.hand, degrees, mirrored=mirrored)

    def click(self, at: NDArray[np.float64]) -> None:
        """Nothing: a click chooses the spot under it."""

    @property
    def _unit(self) -> float:
        return self._tissue.stage.arrangement.unit

    @property
    def _recorded(self) -> Mapping[str, Matrix]:
        state = self._session.alignment.state
        return {} if state is None else state.registered.transforms

    def _after(self, step: Matrix) -> Matrix:
        """The transform after a step in the world, whose unit differs from the frame's."""
        to_world = np.diag([self._unit, self._unit, 1.0])
        return inverse(to_world) @ step @ to_world @ self._recorded[self._session.view.hand]


class ImageHand:
    """The image of the slice ``view.image_hand``, which moves while the spots stay.

    Parameters
    ----------
    tissue
        Keeper of the layers.
    """

    def __init__(self, tissue: Tissue) -> None:
        self._tissue, self._session, self._images = tissue, tissue.session, tissue.session.images

    @property
    def free(self) -> bool:
        """Whether an image is in hand, and the slices are seen from above."""
        name = self._session.view.image_hand
        return name in self._images.moves and not is_solid(self._session)

    def middle(self) -> NDArray[np.float64]:
        """Middle of the image."""
        return apply(self._place, self._images.middle(self._name)[None])[0]

    def show(self, step: Matrix | None) -> None:
        """Show it after a step."""
        self._images.preview(self._name, self._after(np.eye(3) if step is None else step))

    def put(self, step: Matrix, *, turning: bool) -> None:
        """Write where it lies."""
        title = f"{'Turn' if turning else 'Move'} the image of {self._name}"
        self._images.move(self._name, self._after(step), title)

    def nudge(self, spacings: tuple[float, float]) -> None:
        """Move it by a multiple of the spot spacing of its slice."""
        unit = spacing(apply(self._place, spots_xy(self._session.slices[self._name])))
        step = shifted(unit * np.array(spacings))
        title = f"Nudge the image of {self._name}"
        self._images.move(self._name, self._after(step), title, nudged=True)

    def turn(self, degrees: float, *, mirrored: bool = False) -> None:
        """Turn it about its middle."""
        title = f"{'Mirror' if mirrored else 'Turn'} the image of {self._name}"
        step = about(self.middle(), turned(degrees, mirrored=mirrored))
        self._images.move(self._name, self._after(step), title, nudged=not mirrored)

    def click(self, at: NDArray[np.float64]) -> None:
        """Take a place for a pair, while they are collected."""
        self._images.take(apply(inverse(self._place), at[None])[0])

    @property
    def _name(self) -> str:
        return self._session.view.image_hand

    @property
    def _place(self) -> Matrix:
        """From coordinates of the slice to the world."""
        return self._tissue.stage.arrangement.placement(self._name)

    def _after(self, step: Matrix) -> Matrix:
        """Where the image lies in its slice after a step in the world from where it is written."""
        written = self._images.written(self._name)
        return inverse(self._place) @ step @ self._place @ written
