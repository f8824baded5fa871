"""Places of an image that is moved alone, each with a line to where it belongs."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from napari_staligner.core.palette import to_rgba
from napari_staligner.core.registration.transforms import apply
from napari_staligner.layers.overlays.overlay import SpotMark
from napari_staligner.layers.overlays.sketch import ribbons

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable

    from numpy.typing import NDArray

    from napari_staligner.session import Session

COLOR = "#ff2bd6"
_WIDTH = 0.25
"""Width of a line, as a share of the size of a spot."""
_CROSS = 0.8
"""Size of the cross on the image, in spots."""


class ImagePairsMark(SpotMark):
    """A cross on the image for each place, and a line to the place on the slice."""

    def follows(self) -> Iterable[Any]:
        """The pairs, and where the image lies."""
        images = self.session.images
        return images.pairs_changed, images.changed, images.previewed

    def wanted(self, session: Session) -> Collection[str]:
        """Return the slice whose image is in hand, if there are places."""
        hand, images = session.view.image_hand, session.images
        known = hand in session.images.moves and (images.pairs or images.half is not None)
        return [hand] if known else []

    def make(self, name: str) -> Any:
        """Make the visual for a slice."""
        from vispy.scene.visuals import Mesh

        return Mesh()

    def update(self, visual: Any, name: str) -> None:
        """Draw crosses and lines, as a mesh: graphics cards may not support wide lines."""
        images, size = self.session.images, self.stage.spot_size(name)
        half = [] if images.half is None else [images.half]
        on_image = apply(images.moves[name], np.array([own for own, _ in images.pairs] + half))
        lines = [_cross(xy, sign, _CROSS * size) for xy in on_image for sign in (1, -1)]
        there = [place for _, place in images.pairs]
        lines += [np.array(ends) for ends in zip(on_image, there, strict=False)]
        visual.set_data(*ribbons(lines, _WIDTH * size), color=to_rgba([COLOR])[0])


def _cross(xy: NDArray[np.float64], sign: int, size: float) -> NDArray[np.float64]:
    """One of the two lines of a cross."""
    arm = size / 2 * np.array([1.0, sign])
    return np.array([xy - arm, xy + arm])
