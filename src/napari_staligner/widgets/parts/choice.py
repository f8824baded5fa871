"""A choice between a few options: a row of buttons."""

from __future__ import annotations

from qtpy.QtCore import Signal
from qtpy.QtWidgets import QAbstractButton, QButtonGroup, QHBoxLayout, QPushButton, QWidget

LAYOUTS = {
    "grid": ("Grid", "Side by side, moved and zoomed together"),
    "mosaic": ("Mosaic", "Side by side in one view; links between slices can be drawn"),
    "stack": ("Stack", "On top of each other, in the aligned frame once there is a result"),
}


class ChoiceRow(QWidget):
    """A row of buttons, one of which is pressed.

    Parameters
    ----------
    choices
        Title and tool tip of each button by its value.
    """

    chosen = Signal(str)
    """The value of the button that was clicked."""

    def __init__(self, choices: dict[str, tuple[str, str]]) -> None:
        super().__init__()
        row = QHBoxLayout(self)
        row.setContentsMargins(0, 0, 0, 0)
        row.setSpacing(4)
        self.buttons: dict[str, QPushButton] = {}
        self._group = QButtonGroup(self)
        for value, (title, tip) in choices.items():
            button = self.buttons[value] = QPushButton(title)
            button.setCheckable(True)
            button.setToolTip(tip)
            button.setMinimumWidth(30)
            self._group.addButton(button)
            row.addWidget(button, 1)
        self._group.buttonClicked.connect(self._on_clicked)

    def show_chosen(self, value: str | None) -> None:
        """Show the button of a value as pressed, or none."""
        self._group.setExclusive(value is not None)
        for each, button in self.buttons.items():
            button.setChecked(each == value)

    def _on_clicked(self, clicked: QAbstractButton) -> None:
        (value,) = (value for value, button in self.buttons.items() if button is clicked)
        self.chosen.emit(value)
