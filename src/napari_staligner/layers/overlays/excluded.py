"""Spots that the run left out, and a patch that may be a fold or a tear."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from napari_staligner import _keys as K
from napari_staligner.compat import markers_visual
from napari_staligner.core.result.access import spots_xy
from napari_staligner.layers.overlays.overlay import SpotMark

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable

    from numpy.typing import NDArray

    from napari_staligner.session import Session

LEFT_OUT, TAKEN_BACK = (0.55, 0.55, 0.55, 0.9), (1.0, 1.0, 1.0, 0.9)
_BLACK, _WHITE = (0.0, 0.0, 0.0, 1.0), (1.0, 1.0, 1.0, 1.0)


class _Markers(SpotMark):
    """Signs at some places of a slice, as large as its spots."""

    def make(self, name: str) -> Any:
        """Make the visual for a slice."""
        visual = markers_visual()
        visual.scaling = "visual"
        return visual

    def draw(
        self, visual: Any, name: str, xy: NDArray[np.float64], share: float, **look: Any
    ) -> None:
        """Draw signs at places (x, y), of a share of the size of a spot."""
        spots = self.stage.layers[name][K.Role.SPOTS]
        # As napari draws points: their size times the scale of their layer.
        size = share * self.stage.spot_size(name) * abs(spots.scale[-1])
        visual.set_data(xy.astype(np.float32), size=size, edge_width=None, **look)


class ExcludedMark(_Markers):
    """Grey crosses where spots were left out; white ones where the next run uses them again."""

    def follows(self) -> Iterable[Any]:
        """The result, what was taken back, and the size of spots."""
        session = self.session
        return (
            session.result.changed,
            session.exclusions.changed,
            session.view.events.spot_scale,
        )

    def wanted(self, session: Session) -> Collection[str]:
        """Return the slices of which spots were left out."""
        return [name for name, part in session.exclusions.left_out.items() if part.n_obs]

    def update(self, visual: Any, name: str) -> None:
        """Draw the spots of a slice that were left out."""
        aside = self.session.exclusions.left_out[name]
        marks = aside.obs[K.EXCLUDED].to_numpy(dtype=bool)
        color = np.where(marks[:, None], LEFT_OUT, TAKEN_BACK)
        look = {"edge_width_rel": 0.0, "edge_color": color, "face_color": color, "symbol": "x"}
        self.draw(visual, name, spots_xy(aside), 0.7, **look)


class SuspectMark(_Markers):
    """Rings around the spots of the suspect that is looked at."""

    def follows(self) -> Iterable[Any]:
        """The suspect, and the size of spots."""
        session = self.session
        return session.exclusions.shown_changed, session.view.events.spot_scale

    def wanted(self, session: Session) -> Collection[str]:
        """Return its slice."""
        suspect = session.exclusions.shown_suspect
        return [] if suspect is None else [suspect.slice]

    def update(self, visual: Any, name: str) -> None:
        """Draw its spots."""
        suspect, rows = self.session.exclusions.shown_suspect, self.session.result.rows(name)
        if suspect is None or rows is None:
            return
        spots = np.searchsorted(rows, suspect.rows)
        xy, n = spots_xy(self.session.slices[name])[spots], len(spots)
        # A black ring with a thinner white one on it is visible on any colour.
        look = {
            "edge_width_rel": np.array([0.2] * n + [0.1] * n),
            "edge_color": np.array([_BLACK] * n + [_WHITE] * n),
            "face_color": (0, 0, 0, 0),
            "symbol": "disc",
        }
        self.draw(visual, name, np.concatenate([xy, xy]), 1.1, **look)
