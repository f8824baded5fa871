"""The table of one spot's matches in the other slices."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from qtpy.QtCore import QSize
from qtpy.QtWidgets import QWidget

from napari_staligner.widgets.parts.cells import CellRole
from napari_staligner.widgets.parts.spot_table import NAME, SpotTable

if TYPE_CHECKING:
    from pandas import DataFrame

SLICE, DOMAIN, DISTANCE = range(1, 4)
_HEADS = {
    "Match": "Spot of another slice; click a row to go there",
    "Slice": "Slice of the match",
    "Domain": "Domain of the match",
    "Distance": "In the embedding",
}


class MatchTable(SpotTable):
    """One row per match, nearest first; a click emits its row in the result."""

    def __init__(self, parent: QWidget) -> None:
        super().__init__(_HEADS, (NAME, SLICE, DOMAIN), parent)

    def show_matches(self, matches: DataFrame | None, colors: Mapping[str, str]) -> None:
        """Show what ``core.links.matches`` found; ``None`` shows nothing.

        Parameters
        ----------
        matches
            The matches, nearest first.
        colors
            Hex colour of each domain.
        """
        self.setRowCount(0 if matches is None else len(matches))
        if matches is None:
            return
        largest = float(matches["distance"].max()) if len(matches) else 1.0
        for at, line in enumerate(matches.itertuples()):
            self._spot(at, line.name, int(line.Index))
            of_slice = self._cell(at, SLICE, line.slice)
            of_slice.setSizeHint(QSize(self.fontMetrics().horizontalAdvance(line.slice) + 16, 26))
            self._domain(at, DOMAIN, line.domain, colors)
            distance = self._cell(at, DISTANCE, f"{line.distance:.3f}")
            distance.setData(CellRole.SHARE, line.distance / (largest or 1.0))
