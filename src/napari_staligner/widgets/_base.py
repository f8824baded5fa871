"""What every dock has: the session of its viewer, a status line, and connections that end."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from qtpy.QtCore import QEvent, Qt
from qtpy.QtWidgets import QLabel, QSizePolicy, QVBoxLayout, QWidget

from napari_staligner.layers import open_session
from napari_staligner.widgets._keeping import guard

if TYPE_CHECKING:
    import napari
    from psygnal import SignalInstance


class Dock(QWidget):
    """Base of the docks.

    A subclass builds its controls in ``__init__`` (state, controls, layout, connections, first
    refresh), puts them into ``self.body`` and connects to the session by :meth:`_connect` only.
    """

    def __init__(self, viewer: napari.Viewer) -> None:
        super().__init__()
        self.session = open_session(viewer)
        self.session.start_keeping()
        # Without this napari fills the dock from below with empty space.
        self.setSizePolicy(QSizePolicy.Policy.Preferred, QSizePolicy.Policy.Expanding)
        self.body = QVBoxLayout()
        self.status = QLabel()
        self.status.setObjectName("status")
        self.status.setWordWrap(True)
        self.status.setTextInteractionFlags(Qt.TextInteractionFlag.TextSelectableByMouse)
        self._connections: list[tuple[SignalInstance, Callable[..., Any]]] = []
        layout = QVBoxLayout(self)
        layout.setContentsMargins(8, 8, 8, 8)
        layout.addLayout(self.body, 1)
        layout.addWidget(self.status)

    def say(self, text: str, *, problem: bool = False) -> None:
        """Show one sentence in the status line."""
        self.status.setText(text)
        self.status.setStyleSheet("color: #e8871e;" if problem else "")

    def _connect(self, signal: SignalInstance, slot: Callable[..., Any]) -> None:
        signal.connect(slot)
        self._connections.append((signal, slot))

    def teardown(self) -> None:
        """End all connections; safe to call twice."""
        while self._connections:
            signal, slot = self._connections.pop()
            signal.disconnect(slot, missing_ok=True)

    def event(self, event: QEvent) -> bool:
        """Tear down when the dock is closed: by Qt with the window, or by its × in napari."""
        if event.type() == QEvent.Type.DeferredDelete:
            self.teardown()
        elif event.type() == QEvent.Type.ParentChange and self.parent() is None:
            # napari deletes the frame only, and would leave the dock alive and unseen.
            self.teardown()
            self.deleteLater()
        elif event.type() == QEvent.Type.Show:
            guard(self, self.session)
        return bool(super().event(event))
