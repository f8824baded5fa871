"""What helps a newcomer: tips, the next step, and the list of keys."""

from __future__ import annotations

from importlib import import_module

import pytest
from fakes import fake_result
from qtpy.QtWidgets import (
    QAbstractButton,
    QAbstractSlider,
    QAbstractSpinBox,
    QComboBox,
    QDialogButtonBox,
    QDockWidget,
    QHeaderView,
    QLineEdit,
    QScrollBar,
    QTabBar,
    QWidget,
)

from napari_staligner.layers.tools import move
from napari_staligner.widgets.shortcuts import SHORTCUTS, ShortcutsDialog
from napari_staligner.widgets.workbench import DOCKS

CONTROLS = (QAbstractButton, QAbstractSlider, QAbstractSpinBox, QComboBox, QLineEdit)
# Parts that Qt makes inside another control, which has the tip.
INNER = (QAbstractSpinBox, QComboBox, QTabBar, QHeaderView, QScrollBar, QDialogButtonBox)


def widget_of(name: str) -> type:
    module = import_module(f"napari_staligner.widgets.{name.lower()}.dock")
    return getattr(module, f"{name}Widget")


def without_tip(dock: QWidget) -> list[str]:
    """Return each control that has no tip, neither of its own nor of the control around it."""
    bare = []
    for control in dock.findChildren(QWidget):
        if not isinstance(control, CONTROLS) or isinstance(control, QScrollBar):
            continue
        around = control.parentWidget()
        inner = False
        while around is not None and around is not dock and not isinstance(around, QDockWidget):
            inner = inner or isinstance(around, INNER) or bool(around.toolTip())
            around = around.parentWidget()
        if not control.toolTip() and not inner and control.objectName()[:3] != "qt_":
            text = getattr(control, "text", lambda: "")()
            bare.append(f"{type(control).__name__} {text!r} in {control.parentWidget()}")
    return bare


@pytest.mark.parametrize("name", DOCKS)
def test_every_control_has_a_tip_and_the_next_step_follows(open_dock, name):
    dock = open_dock(widget_of(name))
    without = dock.next_step.text()
    assert without.startswith("What now? ")
    slices, result = fake_result()
    dock.session.add(slices)
    with_slices = dock.next_step.text()
    dock.session.set_result(result)
    assert len({without, with_slices, dock.next_step.text()}) == 3
    assert without_tip(dock) == []
    # On a low screen it scrolls, so that nothing has to be cut or pushed off the screen.
    assert dock.minimumSizeHint().height() < 400


def test_the_dialog_lists_keys_and_words(qtbot):
    dialog = ShortcutsDialog()
    qtbot.addWidget(dialog)
    text = dialog.text.toPlainText()
    assert all(key in text for keys in SHORTCUTS.values() for key in keys)
    assert "mutual nearest neighbours" in text


def test_the_keys_of_a_slice_in_hand_are_those_listed():
    listed = " ".join(SHORTCUTS["Alignment, with a slice in hand; Slices, with an image"])
    assert all(key.upper() in listed for key in (*move._TURNS, move._MIRROR))
