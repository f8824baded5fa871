"""A slider that names itself in its signal."""

from __future__ import annotations

from qtpy.QtCore import Qt, Signal
from superqt import QLabeledDoubleSlider
from superqt.utils import signals_blocked


class Slider(QLabeledDoubleSlider):
    """A slider with its value next to it, where the value can also be typed.

    Parameters
    ----------
    name
        What it sets.
    limits
        Its two ends.
    decimals
        Digits after the point.
    tip
        What the value means.
    """

    slid = Signal(str, float)
    """Name and value, moved by the user."""

    def __init__(self, name: str, limits: tuple[float, float], decimals: int, tip: str) -> None:
        super().__init__(Qt.Orientation.Horizontal)
        self.name = name
        self.setDecimals(decimals)
        self.setRange(*limits)
        # superqt's type says int; its double slider takes a float.
        self.setSingleStep(10.0**-decimals)  # type: ignore[arg-type]
        self.setToolTip(tip)
        self.valueChanged.connect(self._on_value_changed)

    def show_value(self, value: float) -> None:
        """Show a value without emitting a signal."""
        if self.value() != value:
            with signals_blocked(self):
                self.setValue(value)

    def _on_value_changed(self, value: float) -> None:
        self.slid.emit(self.name, value)
