"""Choices before files are read, and the card of a slice afterwards."""

from __future__ import annotations

import pytest
from fakes import fake_slice
from made_formats import make_gem, make_visium, make_visium_hd, make_xenium
from qtpy.QtCore import Qt
from qtpy.QtWidgets import QDialogButtonBox, QFileDialog

from napari_staligner.widgets.slices import dock as module
from napari_staligner.widgets.slices.slice_table import NAME

LEFT = Qt.MouseButton.LeftButton


@pytest.fixture
def dock(open_dock, qtbot):
    dock = open_dock(module.SlicesWidget)
    yield dock
    runners = (dock._reader, dock._grapher, dock.card.runner)
    for runner in runners:
        runner.cancel()
    qtbot.waitUntil(lambda: not any(runner.running for runner in runners))


def open_folder(qtbot, dock, monkeypatch, path):
    monkeypatch.setattr(QFileDialog, "getExistingDirectory", lambda *_, **__: str(path))
    qtbot.mouseClick(dock.add_folder, LEFT)


def asked(qtbot, dock):
    qtbot.waitUntil(lambda: getattr(dock, "choices", None) is not None and dock.choices.isVisible())
    return dock.choices


def press(qtbot, dialog, which):
    qtbot.mouseClick(dialog.buttons.button(getattr(QDialogButtonBox.StandardButton, which)), LEFT)


def test_a_folder_without_a_choice_is_read_at_once(dock, qtbot, monkeypatch, tmp_path):
    open_folder(qtbot, dock, monkeypatch, make_visium(tmp_path / "liver"))
    qtbot.waitUntil(lambda: list(dock.session.slices) == ["liver"])
    assert not hasattr(dock, "choices")


def test_bins_are_asked_for_and_kept_with_the_slice(dock, qtbot, monkeypatch, tmp_path):
    open_folder(qtbot, dock, monkeypatch, make_visium_hd(tmp_path / "gut"))
    dialog = asked(qtbot, dock)
    ((_, box),) = dialog.boxes.items()
    assert box.currentText() == "8 µm"
    assert [box.itemText(i) for i in range(box.count())] == ["2 µm", "8 µm", "16 µm"]
    qtbot.keyClick(box, Qt.Key.Key_Down)
    press(qtbot, dialog, "Open")
    qtbot.waitUntil(lambda: list(dock.session.slices) == ["gut"])
    assert dock.session.slices["gut"].n_obs == 6
    qtbot.waitUntil(lambda: "bins of 016um" in dock.card.text())


def test_one_answer_serves_all_files_of_a_kind(dock, qtbot, tmp_path):
    paths = [make_visium_hd(tmp_path / name) for name in ("gut", "skin")]
    dock._open([*paths, make_gem(tmp_path / "chip.gem"), make_xenium(tmp_path / "brain")])
    dialog = asked(qtbot, dock)
    assert len(dialog.wanted) == 4
    assert [name for _, name in dialog.boxes] == ["bin", "bin"]
    of_hd, of_gem = dialog.boxes.values()
    of_hd.setCurrentIndex(2)
    of_gem.setFocus()
    of_gem.lineEdit().selectAll()
    qtbot.keyClicks(of_gem.lineEdit(), "40")
    assert [spec.rpartition("[")[2] for spec in dialog.specs()[:3]] == [
        "bin=016um]",
        "bin=016um]",
        "bin=40]",
    ]
    assert dialog.specs()[3] == str(tmp_path / "brain")
    dialog.wanted[1].click()
    press(qtbot, dialog, "Open")
    qtbot.waitUntil(lambda: list(dock.session.slices) == ["gut", "chip", "brain"])


def test_of_a_folder_of_samples_one_takes_those_that_one_wants(dock, qtbot, monkeypatch, tmp_path):
    for name in ("first", "second", "third"):
        make_visium(tmp_path / "study" / name)
    open_folder(qtbot, dock, monkeypatch, tmp_path / "study")
    dialog = asked(qtbot, dock)
    assert [box.text() for box in dialog.wanted] == ["first", "second", "third"]
    for box in dialog.wanted:
        box.click()
    assert not dialog.buttons.button(QDialogButtonBox.StandardButton.Open).isEnabled()
    dialog.wanted[0].click()
    dialog.wanted[2].click()
    press(qtbot, dialog, "Open")
    qtbot.waitUntil(lambda: list(dock.session.slices) == ["first", "third"])


def test_cancel_reads_nothing(dock, qtbot, monkeypatch, tmp_path):
    open_folder(qtbot, dock, monkeypatch, make_visium_hd(tmp_path / "gut"))
    press(qtbot, asked(qtbot, dock), "Cancel")
    assert not dock.session.slices
    assert not dock._reader.running
    assert dock.add.isEnabled()


def test_what_cannot_be_read_is_said_as_before(dock, qtbot, monkeypatch, tmp_path):
    (tmp_path / "empty").mkdir()
    open_folder(qtbot, dock, monkeypatch, tmp_path / "empty")
    qtbot.waitUntil(lambda: "of no format that is known" in dock.status.text())


def test_the_card_is_of_the_newest_slice_or_of_the_selected_one(dock, qtbot):
    dock.session.add([("a", fake_slice(60)), ("b", fake_slice(50, image=False))])
    qtbot.waitUntil(lambda: "<b>b</b>" in dock.card.text())
    assert "50 × " in dock.card.text()
    rect = dock.table.visualItemRect(dock.table.item(0, NAME))
    qtbot.mouseClick(dock.table.viewport(), LEFT, pos=rect.center())
    qtbot.waitUntil(lambda: "<b>a</b>" in dock.card.text())
    assert "pixels" in dock.card.text()
    dock.session.slices.remove("a")
    qtbot.waitUntil(lambda: "<b>b</b>" in dock.card.text())
    dock.session.slices.remove("b")
    assert not dock.card.isVisible()


def test_of_many_notes_the_cards_have_the_rest(dock, qtbot, tmp_path):
    paths = [make_visium(tmp_path / name) for name in ("first", "second", "third", "fourth")]
    dock._open(paths)
    qtbot.waitUntil(lambda: len(dock.session.slices) == 4 and not dock._reader.running)
    said = dock.status.text()
    assert said.count("Slice '") == 3
    assert "more: select a slice" in said
