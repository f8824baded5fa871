"""Where the curves of each slice are highest, and how far apart that is."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np
from qtpy.QtCore import Qt, Signal
from qtpy.QtGui import QColor, QIcon, QPixmap
from qtpy.QtWidgets import QHeaderView, QTreeWidget, QTreeWidgetItem
from superqt.utils import signals_blocked

if TYPE_CHECKING:
    from qtpy.QtWidgets import QWidget

    from napari_staligner.core.result.profiles import Curve, Profiles

NAME, PEAK, APART = range(3)


class PeakTable(QTreeWidget):
    """A row for each value, which opens to a row for each slice.

    Parameters
    ----------
    parent
        Owner.
    """

    value_chosen = Signal(str)
    """A value should be shown alone; empty for all."""

    def __init__(self, parent: QWidget) -> None:
        super().__init__(parent)
        self.setHeaderLabels(["Value", "Peak", "Apart"])
        item = self.headerItem()
        item.setToolTip(NAME, "Click a value to see it alone; again for all")
        item.setToolTip(PEAK, "Where the curve is highest; of a value, the middle of its slices")
        item.setToolTip(
            APART,
            "Of a value: how far the peaks of the slices are apart at most. Of a slice: where the "
            "peak is in 95 % of draws of blocks of tissue",
        )
        self.setUniformRowHeights(True)
        self.setMinimumHeight(110)
        header = self.header()
        header.setStretchLastSection(False)
        header.setSectionResizeMode(NAME, QHeaderView.ResizeMode.Stretch)
        for column in (PEAK, APART):
            header.setSectionResizeMode(column, QHeaderView.ResizeMode.ResizeToContents)
        self.itemClicked.connect(self._on_item_clicked)
        self._chosen = ""

    @property
    def chosen(self) -> str:
        """The value that is shown alone; empty for all."""
        return self._chosen

    def show_profiles(
        self, found: Profiles | None, values: Mapping[str, str], slices: Mapping[str, str]
    ) -> None:
        """List the peaks.

        Parameters
        ----------
        found
            The profiles; ``None`` lists nothing.
        values, slices
            Hex colour of each value and of each slice; without one there is no patch.
        """
        before = self._chosen
        with signals_blocked(self):
            self.clear()
            self._chosen = before if found is not None and before in found.curves else ""
            for name, curves in ({} if found is None else found.curves).items():
                assert found is not None
                row = self._value_row(found, name, values.get(name))
                for slice_name, curve in curves.items():
                    row.addChild(_slice_row(found, slice_name, curve, slices.get(slice_name)))
                self.addTopLevelItem(row)
                row.setExpanded(len(found.curves) == 1 or name == self._chosen)

    def _value_row(self, found: Profiles, name: str, color: str | None) -> QTreeWidgetItem:
        peaks = np.array([curve.peak for curve in found.curves[name].values()])
        peaks = peaks[np.isfinite(peaks)]
        middle = float(np.median(peaks)) if len(peaks) else np.nan
        row = QTreeWidgetItem([name, _at(found, middle), _at(found, found.spread(name))])
        _patch(row, color)
        if name == self._chosen:
            font = row.font(NAME)
            font.setBold(True)
            row.setFont(NAME, font)
        _right(row)
        return row

    def _on_item_clicked(self, item: QTreeWidgetItem) -> None:
        if item.parent() is None and self.topLevelItemCount() > 1:
            name = item.text(NAME)
            self._chosen = "" if name == self._chosen else name
            self.value_chosen.emit(self._chosen)


def _slice_row(found: Profiles, name: str, curve: Curve, color: str | None) -> QTreeWidgetItem:
    if not np.isfinite(curve.peak):
        row = QTreeWidgetItem([name, "–", ""])
        row.setToolTip(PEAK, "Too few spots of this slice lie on the axis, or have a value")
    else:
        end = " ⊣" if curve.at_end else ""
        between = f"{_at(found, curve.peak_low, '')}–{_at(found, curve.peak_high)}"
        row = QTreeWidgetItem([name, _at(found, curve.peak) + end, between])
        if curve.at_end:
            row.setToolTip(PEAK, "At an end of the axis: the true peak may lie beyond it")
    _patch(row, color)
    _right(row)
    return row


def _at(found: Profiles, spacings: float, unit: str | None = None) -> str:
    """A distance in µm or spots."""
    if not np.isfinite(spacings):
        return "–"
    factor, name = found.scale
    number = f"{spacings * factor:,.0f}" if name == "µm" else f"{spacings * factor:.1f}"
    return f"{number} {name}" if unit is None else number


def _patch(row: QTreeWidgetItem, color: str | None) -> None:
    if color is not None:
        pixmap = QPixmap(10, 10)
        pixmap.fill(QColor(color))
        row.setIcon(NAME, QIcon(pixmap))


def _right(row: QTreeWidgetItem) -> None:
    for column in (PEAK, APART):
        row.setTextAlignment(column, Qt.AlignmentFlag.AlignRight | Qt.AlignmentFlag.AlignVCenter)
