"""The table of one spot's neighbours and the weights between them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from qtpy.QtWidgets import QWidget

from napari_staligner.widgets.parts.cells import CellRole
from napari_staligner.widgets.parts.spot_table import NAME, SpotTable

if TYPE_CHECKING:
    from pandas import DataFrame

DOMAIN, DISTANCE, TAKES, GIVES = range(1, 5)
_HEADS = {
    "Neighbour": "The spot itself first, then by decreasing weight; click a row to go there",
    "Domain": "Domain of the neighbour",
    "Distance": "In the units of the slice’s coordinates",
    "Takes": "Weight that the spot takes from this neighbour (incoming)",
    "Gives": "Weight that this neighbour takes from the spot (outgoing)",
}


class NeighborTable(SpotTable):
    """One row per neighbour; a click emits its row in the result."""

    def __init__(self, parent: QWidget) -> None:
        super().__init__(_HEADS, (NAME, DOMAIN), parent)

    def show_neighbors(self, neighbors: DataFrame | None, colors: Mapping[str, str]) -> None:
        """Show what ``core.attention.neighbor_table`` found; ``None`` shows nothing.

        Parameters
        ----------
        neighbors
            The neighbours, the spot itself first.
        colors
            Hex colour of each domain.
        """
        self.setRowCount(0 if neighbors is None else len(neighbors))
        if neighbors is None:
            return
        largest = float(neighbors[["incoming", "outgoing"]].to_numpy().max()) or 1.0
        for at, line in enumerate(neighbors.itertuples()):
            name = self._spot(at, line.name, int(line.Index))
            if at == 0:
                name.setText("itself")
            self._domain(at, DOMAIN, line.domain, colors)
            known = line.distance == line.distance  # not nan
            self._cell(at, DISTANCE, f"{line.distance:.4g}" if known and at else "–")
            for column, weight in ((TAKES, line.incoming), (GIVES, line.outgoing)):
                self._cell(at, column, f"{weight:.3f}").setData(CellRole.SHARE, weight / largest)
