"""Room for controls that may be taller than the screen."""

from __future__ import annotations

from qtpy.QtCore import QSize
from qtpy.QtWidgets import QLayout, QSizePolicy, QWidget

from napari_staligner.widgets.parts.form import FittingScroll

LEAST_HEIGHT = 160
"""How low it may become, in pixels."""
BAR_WIDTH = 8


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
        self.verticalScrollBar().setMaximumWidth(BAR_WIDTH)

    def minimumSizeHint(self) -> QSize:
        """Return the width of the content, so that nothing is cut at the side."""
        bar = BAR_WIDTH if self.verticalScrollBar().isVisible() else 0
        return QSize(self.widget().minimumSizeHint().width() + bar, LEAST_HEIGHT)
