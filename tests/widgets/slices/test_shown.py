"""Which slices are shown, by ticks and buttons; and the figure of what is shown."""

from __future__ import annotations

import pytest
from docks import LEFT
from fakes import fake_result
from qtpy.QtWidgets import QFileDialog

from napari_staligner.widgets.parts.legend import short_names
from napari_staligner.widgets.slices.dock import SlicesWidget
from napari_staligner.widgets.slices.slice_table import NAME


@pytest.fixture
def dock(open_dock):
    """Return a dock with three integrated slices."""
    dock = open_dock(SlicesWidget)
    slices, result = fake_result((60, 50, 40))
    dock.session.add(slices)
    dock.session.set_result(result, saved=True)
    return dock


def tick(dock, qtbot, row):
    """Click the tick of a slice."""
    at = dock.table.visualItemRect(dock.table.item(row, NAME))
    at = at.center()
    at.setX(10)
    qtbot.mouseClick(dock.table.viewport(), LEFT, pos=at)


def test_ticks_choose_the_slices_and_the_last_one_stays(dock, qtbot):
    session = dock.session
    tick(dock, qtbot, 1)
    assert session.paging.shown == ("slice1", "slice3")
    tick(dock, qtbot, 0)
    assert session.view.only == {"slice3"}
    tick(dock, qtbot, 2)
    assert session.view.only == {"slice3"}
    assert dock.status.text() == "At least one slice stays shown."
    qtbot.mouseClick(dock.shown.all, LEFT)
    assert session.view.only == frozenset()


def test_buttons_page_beside_the_pinned_slice(dock, qtbot):
    dock.shown.pinned.setCurrentIndex(3)
    dock.shown.pinned.activated.emit(3)
    qtbot.mouseClick(dock.shown.on, LEFT)
    assert dock.session.paging.shown == ("slice1", "slice3")
    qtbot.mouseClick(dock.shown.on, LEFT)
    assert dock.session.paging.shown == ("slice2", "slice3")


def test_the_figure_shows_only_the_slices_that_are_shown(dock, qtbot, tmp_path, monkeypatch):
    target = tmp_path / "f.svg"
    monkeypatch.setattr(QFileDialog, "getSaveFileName", lambda *_: (str(target), ""))
    dock.session.view.only = {"slice1", "slice2"}
    qtbot.mouseClick(dock.figure, LEFT)
    qtbot.waitUntil(lambda: "Figure written" in dock.status.text())
    svg = target.read_text()
    assert ">slice1</text>" in svg
    assert ">slice3</text>" not in svg
    assert ">domain</text>" in svg
    monkeypatch.setattr(QFileDialog, "getSaveFileName", lambda *_: (str(tmp_path / "f.tif"), ""))
    qtbot.mouseClick(dock.figure, LEFT)
    assert "end it with" in dock.status.text()


def test_names_of_many_slices_are_shortened_to_what_tells_them_apart():
    names = ["DLPFC_151673 a.h5ad", "DLPFC_151674 a.h5ad", "DLPFC_151699 a.h5ad"]
    assert short_names(names) == ("73", "74", "99")
    assert short_names(["A", "AB"]) == ("A", "B")
    assert short_names(["alone"]) == ("alone",)
