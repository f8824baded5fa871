"""Names from files are shown as they are, also if they are HTML."""

from __future__ import annotations

from qtpy.QtCore import Qt
from qtpy.QtWidgets import QLabel, QVBoxLayout, QWidget

from napari_staligner.widgets.parts.dock import keep_markup_out


def test_labels_show_markup_as_text_unless_they_are_written_as_html(qtbot):
    page = QWidget()
    qtbot.addWidget(page)
    layout = QVBoxLayout(page)
    plain, rich = QLabel("<img src=x>"), QLabel("<b>A</b>")
    rich.setTextFormat(Qt.TextFormat.RichText)
    for label in (plain, rich):
        layout.addWidget(label)
    keep_markup_out(page)
    assert plain.textFormat() == Qt.TextFormat.PlainText
    assert rich.textFormat() == Qt.TextFormat.RichText
