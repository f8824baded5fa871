"""The loss curves, in the colours of napari's theme."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

import numpy as np
import pyqtgraph as pg
from napari.utils.theme import get_theme
from qtpy.QtWidgets import QWidget

if TYPE_CHECKING:
    import napari
    from numpy.typing import NDArray

    from napari_staligner.core.progress import Loss

# Okabe and Ito's blue and orange: told apart by all, on dark and on light.
_COLORS = {"reconstruction": "#56b4e9", "triplet": "#e69f00"}


class LossPlot(pg.GraphicsLayoutWidget):
    """Reconstruction above, triplets below, over the same epochs.

    Parameters
    ----------
    viewer
        Whose theme is followed.
    """

    def __init__(self, viewer: napari.Viewer, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._viewer = viewer
        self._epochs: list[float] = []
        self._values: dict[str, list[float]] = {name: [] for name in _COLORS}
        self.curves: dict[str, pg.PlotDataItem] = {}
        self._plots: list[pg.PlotItem] = []
        self._titles: list[pg.LabelItem] = []
        for row, (name, color) in enumerate(_COLORS.items()):
            plot = self.addPlot(row=row, col=0)
            # A curve is looked at here, not explored: no menu, no zoom that hides half of it.
            plot.setMenuEnabled(False)
            plot.hideButtons()
            plot.setMouseEnabled(x=False, y=False)
            plot.getAxis("left").setWidth(48)
            plot.addLegend(offset=(-6, 4), labelTextSize="8pt")
            self.curves[name] = plot.plot(
                pen=pg.mkPen(color, width=2), name=f"{name} loss", connect="finite"
            )
            self._plots.append(plot)
        top, bottom = self._plots
        top.setXLink(bottom)
        top.getAxis("bottom").setStyle(showValues=False)
        bottom.setLabel("bottom", "epoch")
        self.ci.layout.setContentsMargins(0, 4, 4, 0)
        self.ci.layout.setVerticalSpacing(0)
        self.setMinimumHeight(180)
        self.setToolTip(
            "Reconstruction: how far the genes are from those rebuilt from the embedding. "
            "Triplet: how far matching spots of two slices are from each other, against spots "
            "drawn at random. Both should fall and flatten."
        )
        self.follow_theme()

    def clear_curves(self) -> None:
        """Forget all epochs."""
        self.show_all({name: np.empty(0) for name in _COLORS})

    def add(self, losses: Iterable[Loss]) -> None:
        """Add epochs and draw."""
        for loss in losses:
            self._epochs.append(loss.epoch)
            self._values["reconstruction"].append(loss.reconstruction)
            self._values["triplet"].append(np.nan if loss.triplet is None else loss.triplet)
        self._draw()

    def show_all(self, losses: dict[str, NDArray[np.floating]]) -> None:
        """Show a whole run, by the name of the loss."""
        self._values = {name: list(map(float, losses.get(name, ()))) for name in _COLORS}
        self._epochs = list(range(1, 1 + max(map(len, self._values.values()))))
        self._draw()

    def follow_theme(self) -> None:
        """Take the colours of the viewer's theme."""
        theme = get_theme(self._viewer.theme)
        text, grid = theme.text.as_hex(), theme.secondary.as_hex()
        self.setBackground(theme.background.as_hex())
        for plot in self._plots:
            for side in ("left", "bottom"):
                axis = plot.getAxis(side)
                axis.setPen(grid)
                axis.setTextPen(text)
            plot.legend.setLabelTextColor(text)
            for _, label in plot.legend.items:
                label.setText(label.text, color=text)
            plot.showGrid(y=True, alpha=0.15)

    def _draw(self) -> None:
        for name, curve in self.curves.items():
            values = np.asarray(self._values[name], dtype=float)
            curve.setData(np.asarray(self._epochs[: len(values)], dtype=float), values)
