"""The controls of the axis: which kind, of which region, of which slice."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from qtpy.QtCore import Qt
from qtpy.QtWidgets import QCheckBox, QComboBox, QFormLayout, QPushButton, QWidget
from superqt.utils import signals_blocked

from napari_staligner import _keys as K
from napari_staligner.core.result.axis import Axis
from napari_staligner.widgets.parts.form import DecimalBox, narrow, row

if TYPE_CHECKING:
    from napari_staligner.core.result.axis import Kind
    from napari_staligner.session import Session

AXES: dict[Kind, tuple[str, str]] = {
    "tissue": ("Depth below the tissue's border", "How far inside the tissue a spot is"),
    "rim": ("Distance from a region's rim", "Negative inside the region"),
    "along": ("Along a line", "Draw the line across the layers"),
    "across": ("Distance from a line", "Draw the line along a layer; negative on its left"),
}


class AxisChoice(QWidget):
    """Shows and sets ``view.axis``, and picks up the tool that draws its line.

    Parameters
    ----------
    session
        The session.
    """

    def __init__(self, session: Session) -> None:
        super().__init__()
        self._session = session
        self.kind = narrow(QComboBox())
        self.kind.setToolTip(
            "What distances are measured from: a line, a rim, or the tissue's border"
        )
        for kind, (title, tip) in AXES.items():
            self.kind.addItem(title, kind)
            self.kind.setItemData(self.kind.count() - 1, tip, Qt.ItemDataRole.ToolTipRole)
        self.draw = QPushButton("Draw…")
        self.draw.setCheckable(True)
        self.draw.setToolTip(
            "Drag a line on the tissue, or click its corners and double-click the last; it holds "
            "for all slices"
        )
        self.width = DecimalBox()
        self.width.setRange(0, 1000)
        self.width.setSpecialValueText("any")
        self.width.setToolTip("Only spots at most this many spots from the line count; 0 for all")
        self.region = narrow(QComboBox())
        self.region.setToolTip("A domain, or a region of a column of obs, such as an annotation")
        self.of = narrow(QComboBox())
        self.of.setToolTip("Whose rim or border: each slice has its own, or one holds for all")
        self.shown = QCheckBox("Draw it on the tissue")
        self.shown.setToolTip(
            "Show the line or the border on the slices, with an arrow the way it runs"
        )
        self._form = QFormLayout(self)
        self._form.setContentsMargins(0, 0, 0, 0)
        self._form.addRow("Axis", self.kind)
        self._form.addRow("Region", self.region)
        self._form.addRow("Of", self.of)
        self._form.addRow("Line", row(self.draw, None))
        self._form.addRow("Up to", row(self.width, None))
        self._form.addRow("", self.shown)
        self.kind.activated.connect(self._on_kind_activated)
        self.region.activated.connect(self._on_region_activated)
        self.of.activated.connect(self._on_of_activated)
        self.draw.toggled.connect(self._on_draw_toggled)
        self.width.valueChanged.connect(self._on_width_changed)
        self.shown.toggled.connect(self._on_shown_toggled)

    def fill(self) -> None:
        """Offer the slices and regions of the result, and show the axis."""
        session = self._session
        with signals_blocked(self.of):
            self.of.clear()
            self.of.addItem("each slice its own", "")
            for name in session.result.by_slice:
                self.of.addItem(f"{name}, for all", name)
        with signals_blocked(self.region):
            self.region.clear()
            for name in session.domains.names:
                self.region.addItem(f"domain {name}", (K.DOMAIN, name))
            for column, names in session.result.named_columns.items():
                for name in names:
                    self.region.addItem(f"{column}: {name}", (column, name))
        self.show_set()

    def show_set(self) -> None:
        """Show the axis and the tool that the session holds."""
        axis = self._session.view.axis
        with signals_blocked(self.kind):
            self.kind.setCurrentIndex(self.kind.findData(axis.kind))
        with signals_blocked(self.of):
            self.of.setCurrentIndex(self.of.findData(axis.of))
        with signals_blocked(self.region):
            self.region.setCurrentIndex(_place(self.region, (axis.column, axis.region)))
        with signals_blocked(self.width):
            self.width.setValue(axis.width)
        with signals_blocked(self.draw):
            self.draw.setChecked(self._session.view.tool == "line")
        with signals_blocked(self.shown):
            self.shown.setChecked(self._session.view.axis_shown)
        self.draw.setText("Draw…" if len(axis.line) < 2 else "Draw another…")
        for control, wanted in (
            (self.region, axis.kind == "rim"),
            (self.of, not axis.drawn),
            (self.draw.parentWidget(), axis.drawn),
            (self.width.parentWidget(), axis.kind == "along"),
        ):
            self._form.setRowVisible(control, wanted)

    def _set(self, **changes: Any) -> None:
        self._session.view.axis = replace(self._session.view.axis, **changes)

    def _on_kind_activated(self) -> None:
        kind = self.kind.currentData()
        axis = replace(self._session.view.axis, kind=kind)
        if kind == "rim" and _place(self.region, (axis.column, axis.region)) < 0:
            first = self.region.itemData(0)
            axis = replace(axis, column=first[0], region=first[1]) if first else axis
        self._session.view.tool = "line" if axis.drawn and len(axis.line) < 2 else ""
        self._session.view.axis = axis
        if axis.drawn and self._session.view.layout == "grid" and not axis.line:
            self._session.view.layout = "stack"

    def _on_region_activated(self) -> None:
        column, region = self.region.currentData()
        self._set(column=column, region=region)

    def _on_of_activated(self) -> None:
        self._set(of=self.of.currentData())

    def _on_draw_toggled(self, draw: bool) -> None:
        self._session.view.tool = "line" if draw else ""

    def _on_width_changed(self, width: float) -> None:
        self._set(width=width)

    def _on_shown_toggled(self, shown: bool) -> None:
        self._session.view.axis_shown = shown


def _place(box: QComboBox, data: tuple[str, str]) -> int:
    """Place of a pair among the items; Qt compares tuples by identity."""
    return next((i for i in range(box.count()) if box.itemData(i) == data), -1)


def is_ready(axis: Axis) -> bool:
    """Whether the axis is complete; a line may not have been drawn yet."""
    return len(axis.line) > 1 if axis.drawn else axis.kind != "rim" or bool(axis.region)
