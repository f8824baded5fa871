"""Tissue images that are moved alone, because the spots do not lie on them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import TYPE_CHECKING

import numpy as np
from psygnal import Signal

from napari_staligner._errors import InputError
from napari_staligner.core.prepare.image_move import move_image, moved_images
from napari_staligner.core.registration.choice import Model
from napari_staligner.core.registration.transforms import apply, fit_points, inverse
from napari_staligner.core.result.access import spots_xy
from napari_staligner.io.images import shown_picture
from napari_staligner.session.history import StateTrack

if TYPE_CHECKING:
    from anndata import AnnData
    from numpy.typing import NDArray

    from napari_staligner.core.registration.transforms import Matrix
    from napari_staligner.session.result import Result
    from napari_staligner.session.slices import Slices
    from napari_staligner.session.view import View

FEWEST = 3
"""Pairs that a fit needs: with fewer, a mirror image cannot be told."""


@dataclass(frozen=True)
class ImagesState:
    """What an undo restores.

    Parameters
    ----------
    title
        What was done, as shown to the user.
    moves
        Where the image of each slice with a library lies, shape (3, 3) each.
    nudged
        Whether it was a small step; such steps in a row with the same title count as one.
    """

    title: str
    moves: Mapping[str, Matrix] = field(repr=False)
    nudged: bool = False

    def same(self, other: ImagesState) -> bool:
        """Whether all images are in the same places."""
        return self.moves.keys() == other.moves.keys() and all(
            np.array_equal(move, other.moves[name]) for name, move in self.moves.items()
        )


class Images:
    """Where the tissue images lie; every change is written to slice and result at once.

    Parameters
    ----------
    slices, result, view
        Of the session.
    """

    changed = Signal()
    """An image lies in another place."""
    previewed = Signal(str)
    """The image of this slice is being moved; nothing is written yet."""
    pairs_changed = Signal()
    """``pairs``, ``half`` or ``collecting`` changed."""

    def __init__(self, slices: Slices, result: Result, view: View) -> None:
        self._slices, self._result, self._view = slices, result, view
        self._state = ImagesState("as they came", {})
        self._preview: dict[str, Matrix] = {}
        self._collecting = False
        self.pairs: list[tuple[NDArray[np.float64], NDArray[np.float64]]] = []
        """Of the image in hand: a place on it as it came, and where that belongs, both (x, y)."""
        self.half: NDArray[np.float64] | None = None
        """The place on the image that has no partner yet."""
        self.track = StateTrack(lambda: self._state, self._set, _difference, _goes_on)
        slices.changed.connect(self._follow)
        result.changed.connect(self._follow)
        view.events.image_hand.connect(self._start_over)

    def _follow(self) -> None:
        """Read where the images of the loaded slices lie."""
        found = {name: moved_images(adata) for name, adata in self._slices.items()}
        moves = {name: move for name, move in found.items() if move is not None}
        state = ImagesState("as they came", moves)
        self._preview = {}
        if self._view.image_hand not in moves:
            self._view.image_hand = ""
        # One that was moved during a run lies elsewhere in what came of it.
        self._write(self._result.adata, moves)
        if not state.same(self._state):
            self._state = state
            self.track.start_over()

    @property
    def moves(self) -> Mapping[str, Matrix]:
        """Where the image of each slice lies, including one that is being moved."""
        return MappingProxyType({**self._state.moves, **self._preview})

    def written(self, name: str) -> Matrix:
        """Where the image of a slice lies in the slice's own table."""
        return self._state.moves[name]

    def middle(self, name: str) -> NDArray[np.float64]:
        """Present middle (x, y) of the image of a slice, in its coordinates."""
        picture = shown_picture(self._slices[name])
        if picture is None:
            return np.asarray(spots_xy(self._slices[name]).mean(axis=0))
        center = (np.array(picture.scan.size[::-1]) - 1) / 2
        return np.asarray(apply(self.moves[name] @ picture.own, center[None])[0])

    def preview(self, name: str, matrix: Matrix) -> None:
        """Show the image of a slice in another place, without writing it."""
        self._preview = {name: matrix}
        self.previewed.emit(name)

    def move(self, name: str, matrix: Matrix, title: str, *, nudged: bool = False) -> None:
        """Move the image of a slice; its spots stay.

        Parameters
        ----------
        name
            The slice.
        matrix
            As :func:`~napari_staligner.core.prepare.image_move.move_image` takes it.
        title
            What is done, as shown to the user.
        nudged
            Whether it is a small step, which continues the one before.
        """
        if name in self._state.moves:
            moves = {**self._state.moves, name: np.asarray(matrix, dtype=np.float64)}
            self._set(ImagesState(title, moves, nudged))

    def _set(self, state: ImagesState) -> None:
        self._preview = {}
        for name, move in state.moves.items():
            before = self._state.moves.get(name, np.eye(3))
            if name in self._slices and not np.array_equal(move, before):
                move_image(self._slices[name], move)
        self._write(self._result.adata, state.moves)
        self._state = state
        self.track.record()
        self.changed.emit()

    @staticmethod
    def _write(result: AnnData | None, moves: Mapping[str, Matrix]) -> None:
        """Write where images lie to a result, if it has them elsewhere."""
        for name, move in moves.items():
            known = None if result is None else moved_images(result, name)
            if known is not None and not np.array_equal(known, move):
                move_image(result, move, name)

    # -- by pairs of places -------------------------------------------------------------------

    @property
    def collecting(self) -> bool:
        """Whether clicks on the canvas collect pairs of places."""
        return self._collecting

    @collecting.setter
    def collecting(self, value: bool) -> None:
        self._collecting, self.half = value, None
        self.pairs_changed.emit()

    def take(self, xy: NDArray[np.float64]) -> None:
        """Take a place that was clicked, in coordinates of the slice whose image is in hand.

        The first of two is a place on the image, the second the one where that belongs.
        """
        hand = self._view.image_hand
        if not self._collecting or not hand:
            return
        if self.half is None:
            self.half = apply(inverse(self.moves[hand]), xy[None])[0]
        else:
            self.pairs.append((self.half, np.asarray(xy, dtype=np.float64)))
            self.half = None
        self.pairs_changed.emit()

    def drop_pair(self, number: int) -> None:
        """Forget a pair."""
        del self.pairs[number]
        self.pairs_changed.emit()

    def fit(self) -> None:
        """Move the image in hand so that the pairs are as close as possible.

        Raises
        ------
        InputError
            There are fewer pairs than :data:`FEWEST`, or they are at one place.
        """
        hand = self._view.image_hand
        if len(self.pairs) < FEWEST:
            raise InputError(f"Click {FEWEST} pairs at least: a place, and where it belongs.")
        own, there = (np.array(side) for side in zip(*self.pairs, strict=True))
        self.move(hand, fit_points(own, there, Model.SIMILARITY), f"Fit the image of {hand}")

    def _start_over(self) -> None:
        self.pairs, self.half, self._collecting = [], None, False
        self.pairs_changed.emit()


def _difference(before: ImagesState, after: ImagesState) -> str:
    return "" if before.same(after) else after.title


def _goes_on(before: ImagesState, after: ImagesState) -> bool:
    """Whether a nudge or a turn continues the one before."""
    return before.nudged and after.nudged and before.title == after.title
