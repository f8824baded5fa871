"""Room for controls that may be taller than the screen."""

from __future__ import annotations

from qtpy.QtWidgets import QLayout, QSizePolicy, QWidget

from napari_staligner.widgets.parts.form import FittingScroll

LEAST_HEIGHT = 160
"""How low it may become, in pixels."""


class TallArea(FittingScroll):
    """Fills the height that there is, and scrolls where that is too little.

    Parameters
    ----------
    layout
        What is shown.
    """

    def __init__(self, layout: QLayout) -> None:
        content = QWidget()
        layout.setContentsMargins(0, 0, 0, 0)
        content.setLayout(layout)
        super().__init__(content)
        self.setSizePolicy(QSizePolicy.Policy.Preferred, QSizePolicy.Policy.Expanding)
        self.setMinimumHeight(LEAST_HEIGHT)
