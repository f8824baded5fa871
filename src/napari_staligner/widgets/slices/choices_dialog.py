"""What a person chooses of files before they are read: bins, tables, samples."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from qtpy.QtCore import Qt
from qtpy.QtWidgets import (
    QCheckBox,
    QComboBox,
    QDialog,
    QDialogButtonBox,
    QFormLayout,
    QGroupBox,
    QScrollArea,
    QVBoxLayout,
    QWidget,
)

from napari_staligner.core.result.source import Source
from napari_staligner.io.formats.found import PITCH_UM

if TYPE_CHECKING:
    from napari_staligner.io.formats.found import Found
    from napari_staligner.widgets.slices.opening import Looked

_LABELS = {
    "bin": ("Size of bins", "Larger bins have more counts, and their spots see less detail"),
    "sample": ("Sample", "Which of the samples of the file"),
    "table": ("Table", "Which table of the store is the slice"),
    "system": ("Coordinate system", "In which the spots are placed"),
    "image": ("Image", "Which image lies under the spots"),
    "counts": ("Counts", "The layer that holds them"),
}
_DEFAULT = "as usual"


class ChoicesDialog(QDialog):
    """Shows what was found, and asks for what only a person knows.

    Files of one kind that let one choose the same share their controls.

    Parameters
    ----------
    looked
        What lies at the paths.
    parent
        Owner.
    """

    def __init__(self, looked: Looked, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.setWindowTitle("Open slices")
        self._looked = looked
        self.wanted: list[QCheckBox] = []
        """Whether each of the paths is to be read."""
        self.boxes: dict[tuple[int, str], QComboBox] = {}
        """Of a group of files, by its number, the control of each choice."""
        self._group: list[int] = []
        self.buttons = QDialogButtonBox(
            QDialogButtonBox.StandardButton.Open | QDialogButtonBox.StandardButton.Cancel
        )
        self.buttons.accepted.connect(self.accept)
        self.buttons.rejected.connect(self.reject)
        self._lay_out()
        self._show_enabled()

    def _lay_out(self) -> None:
        inside = QWidget()
        body = QVBoxLayout(inside)
        groups: dict[tuple[object, ...], int] = {}
        layouts: list[QFormLayout] = []
        for spec, found in zip(self._looked.specs, self._looked.found, strict=True):
            choices = {} if found is None else found.open_choices
            kind = "" if found is None else found.title
            key = (kind, tuple(choices.items()))
            if key not in groups:
                groups[key] = len(groups)
                group = QGroupBox(kind or "To be read")
                body.addWidget(group)
                layouts.append(QFormLayout(group))
                self._add_choices(groups[key], layouts[-1], choices, found)
            self._group.append(groups[key])
            box = QCheckBox(spec if found is None else found.name)
            box.setChecked(True)
            box.setToolTip(spec)
            box.toggled.connect(self._show_enabled)
            self.wanted.append(box)
            layouts[groups[key]].insertRow(self._group.count(groups[key]) - 1, box)
        body.addStretch(1)
        area = QScrollArea()
        area.setWidgetResizable(True)
        area.setFrameShape(QScrollArea.Shape.NoFrame)
        area.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
        area.setWidget(inside)
        whole = QVBoxLayout(self)
        whole.addWidget(area)
        whole.addWidget(self.buttons)
        self.resize(max(420, inside.sizeHint().width() + 40), min(600, self.sizeHint().height()))

    def _add_choices(
        self,
        number: int,
        form: QFormLayout,
        choices: dict[str, tuple[str, ...]],
        found: Found | None,
    ) -> None:
        defaults = {} if found is None else found.chosen({})
        for name, values in choices.items():
            label, tip = _LABELS.get(name, (name, ""))
            box = QComboBox()
            if name not in defaults and name != "table":
                box.addItem(_DEFAULT, "")
            for value in values:
                box.addItem(_said(found, name, value), value)
            box.setCurrentIndex(max(0, box.findData(defaults.get(name, ""))))
            box.setToolTip(tip)
            if found is not None and name == "bin" and found.choices["bin"] == ():
                box.setEditable(True)
            form.addRow(label, box)
            self.boxes[number, name] = box

    def _show_enabled(self) -> None:
        can = any(box.isChecked() for box in self.wanted)
        self.buttons.button(QDialogButtonBox.StandardButton.Open).setEnabled(can)

    def specs(self) -> list[str]:
        """Return the paths that are wanted, with what was chosen in brackets behind them."""
        made = []
        for spec, group, wanted in zip(self._looked.specs, self._group, self.wanted, strict=True):
            chosen = {name: _value(box) for (at, name), box in self.boxes.items() if at == group}
            chosen = {name: value for name, value in chosen.items() if value}
            if wanted.isChecked():
                source = Source.from_spec(spec)
                made.append(replace(source, choices=chosen).spec())
        return made


def _value(box: QComboBox) -> str:
    if box.isEditable() and box.currentText() != box.itemText(box.currentIndex()):
        return box.currentText().strip()
    return str(box.currentData() or "")


def _said(found: Found | None, name: str, value: str) -> str:
    """A value as people say it."""
    if found is None or name != "bin":
        return value
    if found.kind == "visium_hd":
        return f"{int(value.removesuffix('um'))} µm"
    return f"{value} spots of the chip ({int(value) * PITCH_UM:g} µm)"
