"""The switch for outlines of cells in the Slices dock."""

from __future__ import annotations

import pytest
from fakes import fake_slice
from made_formats import make_xenium, put_xenium_rims
from qtpy.QtCore import QPoint, Qt

from napari_staligner import read_slices
from napari_staligner.io import outlines
from napari_staligner.widgets.slices.dock import SlicesWidget
from napari_staligner.widgets.slices.outlines_switch import SMALL


@pytest.fixture
def dock(open_dock, qtbot):
    dock = open_dock(SlicesWidget)
    yield dock
    runners = (dock._reader, dock._grapher, dock.card.runner, dock.outlines.runner)
    for runner in runners:
        runner.cancel()
    qtbot.waitUntil(lambda: not any(runner.running for runner in runners))


def press(qtbot, box):
    qtbot.mouseClick(box, Qt.MouseButton.LeftButton, pos=QPoint(8, box.height() // 2))


def test_a_failure_is_said_once(dock, qtbot, tmp_path, monkeypatch):
    make_xenium(tmp_path / "A")
    put_xenium_rims(tmp_path / "A")
    dock.session.add(read_slices([tmp_path / "A"]))
    tried = []

    def fail(*_):
        tried.append(1)
        raise MemoryError

    monkeypatch.setattr(outlines, "read_outlines", fail)
    press(qtbot, dock.outlines)
    qtbot.waitUntil(lambda: "not enough memory" in dock.status.text())
    qtbot.waitUntil(lambda: not dock.outlines.runner.running)
    assert len(tried) == 1


def test_outlines_are_read_when_they_are_asked_for(dock, qtbot, tmp_path):
    session, switch = dock.session, dock.outlines
    session.add([("plain", fake_slice(60))])
    assert not switch.isEnabled()
    make_xenium(tmp_path / "A")
    path = put_xenium_rims(tmp_path / "A")
    session.add(read_slices([tmp_path / "A"]))
    assert switch.isEnabled()
    assert not session.outlines.held
    press(qtbot, switch)
    qtbot.waitUntil(lambda: list(session.outlines.held) == ["A"])
    qtbot.waitUntil(lambda: "1 outlines without a spot are left out" in dock.status.text())
    # Spots of the usual size would cover the rims.
    assert session.view.spot_scale == SMALL
    # A slice that comes later has its own read, and a file that is gone is said, once.
    make_xenium(tmp_path / "B")
    put_xenium_rims(tmp_path / "B")
    late = read_slices([tmp_path / "B"])
    (tmp_path / "B" / path.name).unlink()
    session.add(late)
    qtbot.waitUntil(lambda: "are not at" in dock.status.text())
    assert not session.outlines.lacking
    press(qtbot, switch)
    assert not session.view.outlines_shown
    assert session.view.spot_scale == 1
    put_xenium_rims(tmp_path / "B")
    press(qtbot, switch)
    qtbot.waitUntil(lambda: list(session.outlines.held) == ["A", "B"])
