"""The dialog that asks for the colour of a domain or a class."""

from __future__ import annotations

from typing import TYPE_CHECKING

from qtpy.QtCore import Qt
from qtpy.QtGui import QColor
from qtpy.QtWidgets import QColorDialog, QWidget

if TYPE_CHECKING:
    from collections.abc import Callable


def ask_color(
    parent: QWidget, title: str, color: str, chosen: Callable[[str], object]
) -> QColorDialog:
    """Open a dialog for a colour; it deletes itself when it is closed.

    Parameters
    ----------
    parent
        Owner of the dialog.
    title
        Title of its window.
    color
        The present colour, hex.
    chosen
        Called with the new colour, hex, if one is chosen.

    Returns
    -------
    The dialog, which is open.
    """
    dialog = QColorDialog(QColor(color), parent)
    # The system's own dialog ignores napari's theme, and on Linux it may be GTK's.
    dialog.setOption(QColorDialog.ColorDialogOption.DontUseNativeDialog)
    dialog.setWindowTitle(title)
    dialog.setAttribute(Qt.WidgetAttribute.WA_DeleteOnClose)
    dialog.colorSelected.connect(lambda new: chosen(new.name()))
    dialog.open()
    return dialog
