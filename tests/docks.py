"""What a person's hand does with a dock, and the end of a dock."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from qtpy.QtCore import QEvent, QPoint, Qt
from qtpy.QtWidgets import QApplication

if TYPE_CHECKING:
    from qtpy.QtWidgets import QAbstractButton, QWidget

LEFT = Qt.MouseButton.LeftButton


def press(qtbot: Any, button: QAbstractButton) -> None:
    """Click a check box or a radio button where its mark is."""
    qtbot.mouseClick(button, LEFT, pos=QPoint(8, button.height() // 2))


def delete(dock: QWidget) -> None:
    """Delete a dock now: an event loop would do it later, after the viewer's end."""
    dock.close()
    dock.deleteLater()
    QApplication.sendPostedEvents(dock, QEvent.Type.DeferredDelete)
