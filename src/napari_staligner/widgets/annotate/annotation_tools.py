"""The tools of the Annotate dock: what the mouse does on the tissue."""

from __future__ import annotations

from qtpy.QtCore import Qt
from qtpy.QtWidgets import QDoubleSpinBox, QGridLayout, QLabel, QPushButton, QWidget
from superqt.utils import signals_blocked

from napari_staligner.session import Session, Tool

_TOOLS: dict[Tool, tuple[str, str]] = {
    "lasso": ("Lasso", "Drag around spots on the tissue"),
    "polygon": ("Polygon", "Click corner by corner; a double-click or the first corner closes it"),
    "brush": ("Brush", "Drag over spots"),
    "spot": ("Spot", "Click a spot"),
    "piece": ("Piece", "Click a spot: the connected piece of its domain"),
    "domain": ("Domain", "Click a spot: all of its domain, on every slice"),
}


class ToolBar(QWidget):
    """Shows and sets ``session.view.tool`` and ``session.view.brush``.

    Parameters
    ----------
    session
        The session with the tool.
    """

    def __init__(self, session: Session) -> None:
        super().__init__()
        self._session = session
        self.buttons: dict[str, QPushButton] = {}
        layout = QGridLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.setSpacing(4)
        for number, (tool, (title, tip)) in enumerate(_TOOLS.items()):
            button = QPushButton(title)
            button.setToolTip(f"{tip} (Esc puts the tool away)")
            button.setCheckable(True)
            button.clicked.connect(lambda checked, tool=tool: self._set(tool if checked else ""))
            layout.addWidget(button, number // 3, number % 3)
            self.buttons[tool] = button
        self.radius = QDoubleSpinBox()
        self.radius.setRange(0.3, 20)
        self.radius.setSingleStep(0.5)
        self.radius.setDecimals(1)
        self.radius.setSuffix(" spots")
        self.radius.setToolTip("Radius of the brush, in sizes of a spot")
        self.radius.valueChanged.connect(self._on_radius_changed)
        self._label = QLabel("Brush radius")
        layout.addWidget(self._label, 2, 0)
        layout.addWidget(self.radius, 2, 1, Qt.AlignmentFlag.AlignLeft)
        self.show_set()

    def show_set(self) -> None:
        """Show what the session says."""
        for tool, button in self.buttons.items():
            button.setChecked(tool == self._session.view.tool)
        for widget in (self._label, self.radius):
            widget.setVisible(self._session.view.tool == "brush")
        with signals_blocked(self.radius):
            self.radius.setValue(self._session.view.brush)

    def _set(self, tool: Tool) -> None:
        self._session.view.tool = tool

    def _on_radius_changed(self, value: float) -> None:
        self._session.view.brush = value
