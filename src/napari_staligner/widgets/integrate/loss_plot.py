"""The loss curves, in the colours of napari's theme."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

import numpy as np
import pyqtgraph as pg
from napari.utils.theme import get_theme
from qtpy.QtCore import QSize
from qtpy.QtWidgets import QWidget

if TYPE_CHECKING:
    import napari
    from numpy.typing import NDArray

    from napari_staligner.core.progress import Loss

# Okabe and Ito's blue and orange: everyone can tell them apart, on dark and light.
_COLORS = {"reconstruction": "#56b4e9", "triplet": "#e69f00"}


class LossPlot(pg.GraphicsLayoutWidget):
    """Reconstruction above, triplets below, over the same epochs.

    Parameters
    ----------
    viewer
        The plot follows its theme.
    """

    def __init__(self, viewer: napari.Viewer, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._viewer = viewer
        self._epochs: list[float] = []
        self._values: dict[str, list[float]] = {name: [] for name in _COLORS}
        self.curves: dict[str, pg.PlotDataItem] = {}
        self._axes: list[pg.AxisItem] = []
        self._legends: list[pg.LegendItem] = []
        views = [self._add_view(row, name) for row, name in enumerate(_COLORS)]
        views[0].setXLink(views[1])
        epochs = pg.AxisItem("bottom", maxTickLength=-4)
        epochs.setLabel("epoch")
        epochs.linkToView(views[1])
        self.addItem(epochs, row=len(views), col=1)
        self._axes.append(epochs)
        self.ci.layout.setContentsMargins(0, 6, 6, 6)
        self.ci.layout.setVerticalSpacing(10)
        self.setMinimumHeight(180)
        self.setMaximumHeight(360)
        self.setToolTip(
            "Reconstruction: how far the genes are from those rebuilt from the embedding. "
            "Triplet: how far matching spots of two slices are from each other, compared with "
            "random spots. Both should fall and flatten."
        )
        self.follow_theme()

    def _add_view(self, row: int, name: str) -> pg.ViewBox:
        """Add the view of one loss.

        Built from parts: the menus of a PlotItem would stay behind when the dock is closed. The
        curve needs no menu, and no zoom that could hide half of it.
        """
        view = pg.ViewBox(enableMenu=False, enableMouse=False)
        axis = pg.AxisItem("left", maxTickLength=-4)
        axis.setWidth(48)
        axis.linkToView(view)
        self.addItem(axis, row=row, col=0)
        self.addItem(view, row=row, col=1)
        curve = pg.PlotDataItem(pen=pg.mkPen(_COLORS[name], width=2), connect="finite")
        view.addItem(curve)
        legend = pg.LegendItem(offset=(-6, 4), labelTextSize="8pt")
        legend.setParentItem(view)
        legend.addItem(curve, f"{name} loss")
        self.curves[name] = curve
        self._axes.append(axis)
        self._legends.append(legend)
        return view

    def sizeHint(self) -> QSize:
        """Prefer a smaller size than a separate plot window."""
        return QSize(320, 260)

    @property
    def empty(self) -> bool:
        """Whether there is no epoch to show."""
        return not self._epochs

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
        """Show a whole run; values by name of the loss."""
        self._values = {name: list(map(float, losses.get(name, ()))) for name in _COLORS}
        self._epochs = list(range(1, 1 + max(map(len, self._values.values()))))
        self._draw()

    def follow_theme(self) -> None:
        """Adopt the colours of the viewer's theme."""
        theme = get_theme(self._viewer.theme)
        text, grid = theme.text.as_hex(), theme.secondary.as_hex()
        self.setBackground(theme.background.as_hex())
        for axis in self._axes:
            axis.setPen(grid)
            axis.setTextPen(text)
        for legend in self._legends:
            legend.setLabelTextColor(text)
            for _, label in legend.items:
                label.setText(label.text, color=text)

    def _draw(self) -> None:
        for name, curve in self.curves.items():
            values = np.asarray(self._values[name], dtype=float)
            curve.setData(np.asarray(self._epochs[: len(values)], dtype=float), values)
        # Else the axes would find their ranges while they are drawn, and be drawn once more.
        self.sceneObj.prepareForPaint()
