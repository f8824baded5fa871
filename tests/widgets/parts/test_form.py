"""Controls that are made from the fields of the settings, by real events."""

from __future__ import annotations

from dataclasses import dataclass, replace
from types import SimpleNamespace
from typing import Annotated, Literal

import pytest
from docks import press
from qtpy.QtCore import QPoint, QPointF, Qt
from qtpy.QtGui import QWheelEvent
from qtpy.QtWidgets import QApplication, QCheckBox, QComboBox, QVBoxLayout, QWidget

from napari_staligner.core.fields import Setting
from napari_staligner.core.settings import Settings
from napari_staligner.widgets.parts.form import SettingsForm


@dataclass(frozen=True)
class More(Settings):
    """Settings with new fields of every kind."""

    on_tissue: Annotated[bool, Setting("On tissue", "Leave out spots beside the tissue")] = True
    shade: Annotated[Literal["dark", "light"], Setting("Shade", "Of the picture")] = "dark"
    rings: Annotated[int, Setting("Rings", "How many rings there are", least=1)] = 4
    layer: Annotated[
        str | None,
        Setting("Layer", "Which layer", unset="any", titles={None: "Any", "a": "Layer a"}),
    ] = None
    silent: Annotated[float, Setting("Silent", "Not shown", no_control="A test says so.")] = 1.0


@pytest.fixture
def shown(qtbot):
    """Return a form of all settings, what it sets, and what it said."""
    session, said = SimpleNamespace(view=SimpleNamespace(settings=More())), []
    panel = QWidget()
    qtbot.addWidget(panel)
    form = SettingsForm(session, panel)
    form.said.connect(lambda text, problem: said.append(text))
    layout = QVBoxLayout(panel)
    boxes = {name: form.control(name) for name in form.fields}
    for box in boxes.values():
        layout.addWidget(box)
    with qtbot.waitExposed(panel):
        panel.show()
    return SimpleNamespace(panel=panel, form=form, boxes=boxes, session=session, said=said)


def choose(qtbot, box, text):
    box.showPopup()
    box.view().setCurrentIndex(box.model().index(box.findText(text), 0))
    qtbot.keyClick(box.view(), Qt.Key.Key_Return)


def turn(box):
    """Turn the wheel over a box."""
    middle = QPointF(box.rect().center())
    event = QWheelEvent(
        middle,
        QPointF(box.mapToGlobal(middle.toPoint())),
        QPoint(0, 120),
        QPoint(0, 120),
        Qt.MouseButton.NoButton,
        Qt.KeyboardModifier.NoModifier,
        Qt.ScrollPhase.NoScrollPhase,
        False,
    )
    event.ignore()
    QApplication.sendEvent(box, event)
    return event.isAccepted()


def test_every_setting_has_a_control_with_its_tip_or_a_reason(shown):
    for name, field in shown.form.fields.items():
        assert shown.boxes[name].toolTip() == field.setting.tip
    assert "silent" not in shown.boxes
    assert {"on_tissue", "shade", "rings", "layer"} < set(shown.boxes)


def test_a_new_field_has_a_control_that_sets_it(shown, qtbot):
    boxes, session = shown.boxes, shown.session
    assert isinstance(boxes["on_tissue"], QCheckBox)
    assert boxes["on_tissue"].isChecked()
    press(qtbot, boxes["on_tissue"])
    assert session.view.settings == replace(More(), on_tissue=False)
    assert isinstance(boxes["shade"], QComboBox)
    choose(qtbot, boxes["shade"], "light")
    boxes["rings"].selectAll()
    qtbot.keyClicks(boxes["rings"], "12")
    assert session.view.settings.rings == 4  # while it is typed nothing is set
    qtbot.keyClick(boxes["rings"], Qt.Key.Key_Return)
    choose(qtbot, boxes["layer"], "Layer a")
    assert session.view.settings == replace(
        More(), on_tissue=False, shade="light", rings=12, layer="a"
    )
    assert type(session.view.settings.rings) is int
    choose(qtbot, boxes["layer"], "Any")
    assert session.view.settings.layer is None
    assert not shown.said


def test_what_is_set_elsewhere_is_shown_and_sets_nothing(shown):
    wanted = replace(More(), on_tissue=False, shade="light", rings=9, layer="a", epochs=30)
    shown.session.view.settings = wanted
    shown.form.show_set()
    assert shown.session.view.settings is wanted
    assert not shown.boxes["on_tissue"].isChecked()
    assert shown.boxes["shade"].currentText() == "light"
    assert shown.boxes["layer"].currentText() == "Layer a"
    assert shown.boxes["rings"].text() == "9"
    assert shown.boxes["epochs"].text() == "30"


def test_what_people_rarely_need_is_shown_as_it_is(shown):
    wanted = replace(
        More(), hidden=100_000, seed=2**32 - 1, alpha=0.125, learning_rate=2e-7, device="cuda:1"
    )
    shown.session.view.settings = wanted
    shown.form.show_set()
    assert shown.session.view.settings is wanted
    for name in ("hidden", "seed", "alpha", "learning_rate"):
        assert shown.boxes[name].value() == getattr(wanted, name)
    assert shown.boxes["hidden"].text() == "100,000"
    assert shown.boxes["alpha"].text() == "0.125"
    assert shown.boxes["device"].currentText() == "cuda:1"
    shown.session.view.settings = More()
    shown.form.show_set()
    titles = [shown.boxes["device"].itemText(i) for i in range(shown.boxes["device"].count())]
    assert titles == ["Automatic", "CPU", "GPU (CUDA)"]


def test_other_choices_are_offered(shown, qtbot):
    box = shown.boxes["layer"]
    shown.form.set_titles("layer", {None: "Any", "b": "b", "c": "c"})
    assert [box.itemText(i) for i in range(box.count())] == ["Any", "b", "c"]
    assert shown.session.view.settings == More()
    choose(qtbot, box, "c")
    assert shown.session.view.settings.layer == "c"


def test_what_is_refused_is_said_and_the_old_value_shown(shown, qtbot):
    shown.session.view.settings = replace(More(), pretrain_epochs=0)
    box = shown.boxes["epochs"]
    box.selectAll()
    qtbot.keyClicks(box, "0")
    qtbot.keyClick(box, Qt.Key.Key_Return)
    assert shown.said == ["Setting 'epochs' is 0: train for at least 1 epoch."]
    assert box.value() == More().epochs


@pytest.mark.parametrize("name", ["rings", "alpha", "device"])
def test_the_wheel_is_left_to_the_page_unless_the_box_has_the_focus(shown, qtbot, name):
    box, other = shown.boxes[name], shown.boxes["seed"]
    shown.panel.activateWindow()
    other.setFocus()
    qtbot.waitUntil(other.hasFocus)
    assert not turn(box)
    assert shown.session.view.settings == More()
    box.setFocus()
    qtbot.waitUntil(box.hasFocus)
    assert turn(box)
    if name != "device":  # which is at its first choice already
        assert getattr(shown.session.view.settings, name) > getattr(More(), name)
