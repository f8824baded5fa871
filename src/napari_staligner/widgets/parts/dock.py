"""What every dock has: the session of its viewer, a status line, and managed connections."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from qtpy.QtCore import QEvent, QObject, Qt, QUrl
from qtpy.QtGui import QDesktopServices, QHideEvent, QShowEvent
from qtpy.QtWidgets import (
    QDockWidget,
    QLabel,
    QPushButton,
    QSizePolicy,
    QVBoxLayout,
    QWidget,
)

from napari_staligner.io.problem_report import problems_folder
from napari_staligner.layers import open_session
from napari_staligner.widgets.parts.saving import guard
from napari_staligner.widgets.parts.tall import TallArea
from napari_staligner.widgets.parts.what_now import what_now

if TYPE_CHECKING:
    import napari
    from psygnal import SignalInstance


class Dock(QWidget):
    """Base of the docks.

    A subclass builds its controls in ``__init__`` (state, controls, layout, connections, first
    refresh), puts them into ``self.body`` and connects to the session with :meth:`_connect` only.
    It shows what is slow only while :attr:`seen`, and catches up in :meth:`_come_to_sight`.
    """

    def __init__(self, viewer: napari.Viewer) -> None:
        super().__init__()
        self.session = open_session(viewer)
        self.session.autosave.start()
        # Without this napari fills the dock from below with empty space.
        self.setSizePolicy(QSizePolicy.Policy.Preferred, QSizePolicy.Policy.Expanding)
        self.body = QVBoxLayout()
        self.status = QLabel()
        self.status.setObjectName("status")
        self.status.setWordWrap(True)
        # A path or an address cannot be wrapped, and would make the dock as wide as it is long.
        self.status.setMinimumWidth(1)
        self.status.setTextFormat(Qt.TextFormat.PlainText)
        self.status.setTextInteractionFlags(Qt.TextInteractionFlag.TextSelectableByMouse)
        self.next_step = QLabel()
        self.next_step.setObjectName("next step")
        self.next_step.setWordWrap(True)
        self.next_step.setStyleSheet("font-style: italic;")
        self.attachment = QPushButton("Show the file to attach")
        self.attachment.setToolTip(
            "Opens the folder of the file that tells what failed, without data"
        )
        self.attachment.clicked.connect(_show_problems)
        self.attachment.hide()
        self._connections: list[tuple[SignalInstance, Callable[..., Any]]] = []
        self._frame: QDockWidget | None = None
        self._covered = False
        layout = QVBoxLayout(self)
        layout.setContentsMargins(6, 8, 6, 8)
        layout.addWidget(TallArea(self.body), 1)
        layout.addWidget(self.status)
        layout.addWidget(self.attachment)
        layout.addWidget(self.next_step)
        for changed in (self.session.slices.changed, self.session.result.changed):
            self._connect(changed, self._show_next_step)
        self._show_next_step()

    def say(self, text: str, *, problem: bool = False) -> None:
        """Show one sentence in the status line."""
        self.status.setText(text)
        self.status.setToolTip(text if problem else "")
        self.attachment.setVisible(problem and str(problems_folder()) in text)
        self.status.setStyleSheet("color: #e8871e;" if problem else "")

    def _show_next_step(self) -> None:
        said = what_now(type(self).__name__.removesuffix("Widget"), self.session)
        self.next_step.setText(said)
        self.next_step.setVisible(bool(said))

    def listen(self, *panels: QObject) -> None:
        """Show in the status line what panels report with their signal ``said``."""
        for panel in panels:
            panel.said.connect(self._on_said)

    def _on_said(self, text: str, problem: bool) -> None:
        self.say(text, problem=problem)

    @property
    def seen(self) -> bool:
        """Whether the dock is on the screen; Qt calls it visible even behind another tab."""
        return self.isVisible() and not self._covered

    def showEvent(self, event: QShowEvent) -> None:
        """Show what was missed."""
        super().showEvent(event)
        keep_markup_out(self)
        self._watch_frame()
        if self.seen:
            self._come_to_sight()

    def hideEvent(self, event: QHideEvent) -> None:
        """Stop what must not go on while hidden."""
        super().hideEvent(event)
        self._go_out_of_sight()

    def _watch_frame(self) -> None:
        """Notice when another tab covers the dock."""
        frame = self.parentWidget()
        while frame is not None and not isinstance(frame, QDockWidget):
            frame = frame.parentWidget()
        if frame is not None and frame is not self._frame:
            frame.visibilityChanged.connect(self._on_frame_seen)
            self._frame = frame

    def _on_frame_seen(self, seen: bool) -> None:
        self._covered = not seen
        if seen and self.isVisible():
            self._come_to_sight()
        elif not seen:
            self._go_out_of_sight()

    def _come_to_sight(self) -> None:
        """Catch up: called whenever the dock becomes visible, even if nothing was missed."""

    def _go_out_of_sight(self) -> None:
        """Stop what must not go on while hidden: called when the dock is hidden or covered."""

    def _connect(self, signal: SignalInstance, slot: Callable[..., Any]) -> None:
        signal.connect(slot)
        self._connections.append((signal, slot))

    def teardown(self) -> None:
        """End all connections; safe to call twice."""
        while self._connections:
            signal, slot = self._connections.pop()
            signal.disconnect(slot, missing_ok=True)
        self._frame = None

    def event(self, event: QEvent) -> bool:
        """Tear down when the dock is closed: by Qt with the window, or by its × in napari."""
        if event.type() == QEvent.Type.DeferredDelete:
            self.teardown()
        elif event.type() == QEvent.Type.ParentChange and self.parent() is None:
            # napari deletes only the frame, and would leave the dock alive but hidden.
            self.teardown()
            self.deleteLater()
        elif event.type() == QEvent.Type.Show:
            guard(self, self.session)
        return bool(super().event(event))


def seen(panel: QWidget) -> bool:
    """Whether a part of a dock is on the screen; outside a dock, whether it is visible.

    Parameters
    ----------
    panel
        A widget, inside a :class:`Dock` or not.
    """
    dock = panel.parentWidget()
    while dock is not None and not isinstance(dock, Dock):
        dock = dock.parentWidget()
    return panel.isVisible() and (dock is None or dock.seen)


def _show_problems() -> None:
    QDesktopServices.openUrl(QUrl.fromLocalFile(str(problems_folder())))


def keep_markup_out(widget: QWidget) -> None:
    """Show texts in labels as they are: names in files may hold HTML, which Qt would follow.

    Parameters
    ----------
    widget
        Its labels that leave the format to Qt; those that are written as HTML say so themselves.
    """
    for label in widget.findChildren(QLabel):
        if label.textFormat() == Qt.TextFormat.AutoText:
            label.setTextFormat(Qt.TextFormat.PlainText)
