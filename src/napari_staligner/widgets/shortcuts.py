"""A dialog that lists keys and mouse gestures."""

from __future__ import annotations

from html import escape

from qtpy.QtCore import Qt
from qtpy.QtWidgets import (
    QApplication,
    QDialog,
    QDialogButtonBox,
    QTextBrowser,
    QVBoxLayout,
    QWidget,
)

from napari_staligner.core.glossary import TERMS

SHORTCUTS = {
    "Domains, Explore, Judge": {
        "Click a row": "Show it alone; Ctrl adds, a second click shows all again",
        "Double-click a name": "Rename it",
        "Esc": "Show all again",
        "Ctrl+Z, Ctrl+Shift+Z": "Undo, redo, each dock its own steps",
    },
    "Slices": {"Del": "Remove the selected slices; files do not change"},
    "Alignment, with a slice in hand; Slices, with an image": {
        "Drag, Ctrl+drag": "Move it, turn it",
        "Arrow keys": "Move it a step",
        "[ and ]": "Turn it a step",
        "M": "Mirror it",
    },
    "Annotate, also on the canvas": {
        "1 to 9": "Give what is drawn or picked this class",
        "0": "Take its class away",
        "Esc": "Put the tool down",
        "Ctrl+Z, Ctrl+Shift+Z": "Undo, redo, without limit",
    },
    "Lasso": {
        "Shift, Ctrl": "Add to the selection, take away from it",
        "Esc": "Show all again",
    },
}
"""By dock: a key or gesture, and what it does."""


class ShortcutsDialog(QDialog):
    """Keys and gestures by dock, and what the words mean."""

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.setWindowTitle("STAligner: keys and words")
        self.setAttribute(Qt.WidgetAttribute.WA_DeleteOnClose)
        self.text = QTextBrowser()
        self.text.setHtml(_page())
        self.text.setToolTip("Keys and mouse gestures by dock, and what the words mean")
        close = QDialogButtonBox(QDialogButtonBox.StandardButton.Close)
        close.rejected.connect(self.reject)
        layout = QVBoxLayout(self)
        layout.addWidget(self.text)
        layout.addWidget(close)
        self.resize(620, 560)


def _page() -> str:
    parts = ["<h3>Keys and mouse</h3>"]
    for dock, keys in SHORTCUTS.items():
        rows = (
            f"<tr><td><b>{escape(k)}</b></td><td>{escape(v)}</td></tr>" for k, v in keys.items()
        )
        parts.append(f"<h4>{escape(dock)}</h4><table cellpadding='3'>{''.join(rows)}</table>")
    parts.append("<h3>Words</h3>")
    parts += (f"<p><b>{escape(term)}</b>: {escape(told)}</p>" for term, told in TERMS.items())
    return "".join(parts)


def show_shortcuts() -> ShortcutsDialog:
    """Open the list of keys and words over the window."""
    dialog = ShortcutsDialog(QApplication.activeWindow())
    dialog.open()
    return dialog
