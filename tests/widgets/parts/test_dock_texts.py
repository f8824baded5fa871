"""Names from files are shown as they are, also if they are HTML."""

from __future__ import annotations

from napari.components import ViewerModel
from qtpy.QtCore import Qt
from qtpy.QtWidgets import QLabel, QVBoxLayout, QWidget

from napari_staligner.io.problem_report import keep_problem
from napari_staligner.widgets.parts.dock import Dock, keep_markup_out


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


def test_a_problem_that_is_to_be_reported_has_a_button(qtbot):
    dock = Dock(ViewerModel())
    qtbot.addWidget(dock)
    dock.say("There is no such file: check the path.", problem=True)
    assert dock.attachment.isHidden()
    dock.say(f"This failed. {keep_problem(KeyError('x'), 'a test')}", problem=True)
    assert not dock.attachment.isHidden()
    dock.say("Done.")
    assert dock.attachment.isHidden()
    dock.teardown()
