"""Rings around the chosen spot and its matches."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_staligner import _keys as K
from napari_staligner.compat import markers_visual
from napari_staligner.core.result.access import spots_xy
from napari_staligner.layers.overlays.links import drawn_links
from napari_staligner.layers.overlays.overlay import SpotMark

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable

    from numpy.typing import NDArray

    from napari_staligner.session import Session

_SIZE = 1.7
"""Diameter of a ring, as a share of the size of a spot."""
_LEAST_PX = 16
"""Smallest diameter of a ring on the screen."""
_BLACK, _WHITE = (0, 0, 0, 1), (1, 1, 1, 1)


@dataclass(frozen=True)
class Marked:
    """Spots of a slice that have a ring.

    Parameters
    ----------
    chosen
        Row of the chosen spot in its slice, shape (1,), or shape (0,) if it is in another slice.
    matches
        Rows of spots that match the chosen spot of another slice, shape (n,).
    """

    chosen: NDArray[np.intp]
    matches: NDArray[np.intp]


def marked_spots(session: Session) -> dict[str, Marked]:
    """Find the chosen spot and, if links are shown, its matches, for each slice with any."""
    spot, none = session.view.spot, np.empty(0, dtype=np.intp)
    if spot is None or spot.slice not in session.slices:
        return {}
    found = {spot.slice: Marked(np.array([spot.row], dtype=np.intp), none)}
    own = session.result.rows(spot.slice)
    drawn = drawn_links(session) if session.view.links.shown else None
    if drawn is None or own is None:
        return found
    ends = np.union1d(drawn.links.first[drawn.of_spot], drawn.links.second[drawn.of_spot])
    matched = ends[ends != own[spot.row]]
    for name, rows in session.result.by_slice.items():
        here = np.flatnonzero(np.isin(rows, matched))
        if len(here) and name in session.slices:
            found[name] = Marked(found[name].chosen if name in found else none, here)
    return found


class SpotRings(SpotMark):
    """A ring around the chosen spot and, with links, thinner ones around its matches."""

    def follows(self) -> Iterable[Any]:
        """The spot, its links, and the size of spots."""
        session = self.session
        return (
            session.view.events.spot,
            session.view.events.links,
            session.view.events.spot_scale,
            session.result.changed,
        )

    def wanted(self, session: Session) -> Collection[str]:
        """Return the slices with the chosen spot or a match."""
        return marked_spots(session)

    def make(self, name: str) -> Any:
        """Make the visual for a slice."""
        visual = markers_visual()
        visual.scaling, visual.canvas_size_limits = "visual", (_LEAST_PX, 10_000)
        return visual

    def update(self, visual: Any, name: str) -> None:
        """Draw the rings of a slice."""
        marked = marked_spots(self.session)[name]
        # A black ring with a thinner white one on it is visible on any colour.
        rows = np.concatenate([marked.matches, marked.chosen, marked.chosen])
        n_matches, n_chosen = len(marked.matches), len(marked.chosen)
        spots = self.stage.layers[name][K.Role.SPOTS]
        visual.set_data(
            spots_xy(self.session.slices[name])[rows].astype(np.float32),
            # As napari draws points: their size times the scale of their layer.
            size=_SIZE * self.stage.spot_size(name) * abs(spots.scale[-1]),
            edge_width=None,
            edge_width_rel=np.array([0.05] * n_matches + [0.16] * n_chosen + [0.08] * n_chosen),
            edge_color=np.array([_WHITE] * n_matches + [_BLACK] * n_chosen + [_WHITE] * n_chosen),
            face_color=(0, 0, 0, 0),
            symbol="disc",
        )
