"""Colour by anything: by what, on which scale, and with which legend."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
from qtpy.QtCore import QSignalBlocker
from qtpy.QtWidgets import (
    QCheckBox,
    QComboBox,
    QDoubleSpinBox,
    QFormLayout,
    QScrollArea,
    QSizePolicy,
    QStackedWidget,
    QVBoxLayout,
    QWidget,
)

from napari_staligner.layers import painting
from napari_staligner.widgets.parts.color_box import ColorBox
from napari_staligner.widgets.parts.color_key import ColorKey
from napari_staligner.widgets.parts.form import narrow, row
from napari_staligner.widgets.parts.histogram import ColoredHistogram
from napari_staligner.widgets.parts.slider import Slider

if TYPE_CHECKING:
    from napari_staligner.session import Session

COLORMAPS = ("viridis", "cividis", "magma", "inferno", "plasma", "gray")
"""Colour maps with even steps in lightness, also readable for colour-blind users."""


class ColorPanel(QWidget):
    """Shows and sets what spots are coloured by, the scale, the spot size and the legend."""

    def __init__(self, session: Session, parent: QWidget) -> None:
        super().__init__(parent)
        self._session = session
        self.box = ColorBox(session)
        self.low, self.high = _percentile(), _percentile()
        self.low.setToolTip("Percentile of the values at the low end of the colours")
        self.high.setToolTip("Percentile of the values at the high end of the colours")
        self.log = QCheckBox("log")
        self.log.setToolTip("Show log(1 + value); gene counts are per 10,000 counts of the spot")
        self.colormap = narrow(QComboBox())
        self.colormap.addItems(COLORMAPS)
        self.colormap.setToolTip("Colour map of numbers")
        self.size = Slider(
            "size", (0.2, 3), 1, "Diameter of the spots of all slices; at 1 they nearly touch"
        )
        self.on_canvas = QCheckBox("Legend on the canvas")
        self.on_canvas.setToolTip("Also show what the colours mean beside the tissue")
        self.histogram = ColoredHistogram("", self)
        self.key = ColorKey(self)
        self._lay_out()
        self.low.valueChanged.connect(self._on_scale_edited)
        self.high.valueChanged.connect(self._on_scale_edited)
        self.log.clicked.connect(self._on_log_clicked)
        self.colormap.currentTextChanged.connect(self._on_scale_edited)
        self.on_canvas.toggled.connect(self._on_on_canvas_toggled)
        self.size.slid.connect(self._on_size_slid)
        self.key.chosen.connect(self._on_category_chosen)

    def _lay_out(self) -> None:
        form = QFormLayout(self)
        form.setContentsMargins(0, 0, 0, 0)
        form.addRow("Colour by", self.box)
        self.scale = row(self.low, self.high, self.log, None)
        form.addRow("Percentiles", self.scale)
        form.addRow("Colour map", self.colormap)
        form.addRow("Spot size", self.size)
        scroll = QScrollArea()
        scroll.setWidgetResizable(True)
        scroll.setFrameShape(QScrollArea.Shape.NoFrame)
        scroll.setWidget(self.key)
        self.legend = QStackedWidget()
        for widget in (scroll, self.histogram):
            self.legend.addWidget(widget)
        self.legend.setFixedHeight(self.histogram.height())
        self.legend.setSizePolicy(QSizePolicy.Policy.Preferred, QSizePolicy.Policy.Fixed)
        column = QVBoxLayout()
        column.addWidget(self.legend)
        column.addWidget(self.on_canvas)
        form.addRow(column)

    def show_set(self) -> None:
        """Show what the session says."""
        session, scale = self._session, self._session.view.scale
        shown = painting(session)
        legend = shown.legend
        self.box.show_set()
        self.size.show_value(session.view.spot_scale)
        numbers = legend.colormap is not None
        self.scale.setEnabled(numbers)
        self.colormap.setEnabled(numbers)
        blocked = [QSignalBlocker(w) for w in (self.low, self.high, self.colormap, self.on_canvas)]
        self.low.setRange(0, scale.percentiles[1] - 0.1)
        self.high.setRange(scale.percentiles[0] + 0.1, 100)
        self.low.setValue(scale.percentiles[0])
        self.high.setValue(scale.percentiles[1])
        self.colormap.setCurrentText(scale.colormap)
        self.on_canvas.setChecked(session.view.legend_shown)
        del blocked
        self.log.setChecked(legend.log)
        self.legend.setCurrentIndex(int(numbers))
        self.key.show_legend(legend, session.focus.alone)
        if legend.colormap and legend.limits:
            unit = f" ({legend.unit})" if legend.unit else ""
            self.histogram.set_title(legend.title + unit)
            # Values beyond the limits, and their bars, have the colours of the limits.
            values = np.concatenate([v[np.isfinite(v)] for v in shown.values.values()])
            self.histogram.show_values(
                np.clip(values, *legend.limits), legend.colormap, legend.limits
            )

    def _on_scale_edited(self) -> None:
        self._session.view.scale = replace(
            self._session.view.scale,
            percentiles=(round(self.low.value(), 1), round(self.high.value(), 1)),
            colormap=self.colormap.currentText(),
        )

    def _on_log_clicked(self, checked: bool) -> None:
        self._session.view.scale = replace(self._session.view.scale, log=checked)
        # Values below 0 have no logarithm, so the box may have to change back.
        self.show_set()

    def _on_size_slid(self, _: str, size: float) -> None:
        self._session.view.spot_scale = round(size, 1)

    def _on_category_chosen(self, name: str) -> None:
        self._session.focus.toggle_alone(name)

    def _on_on_canvas_toggled(self, shown: bool) -> None:
        self._session.view.legend_shown = shown


def _percentile() -> QDoubleSpinBox:
    box = QDoubleSpinBox()
    box.setDecimals(1)
    box.setButtonSymbols(QDoubleSpinBox.ButtonSymbols.NoButtons)
    box.setMaximumWidth(56)
    box.setKeyboardTracking(False)
    return box
