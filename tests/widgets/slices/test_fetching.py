"""Real slices are fetched from the Slices dock and from napari's menu, and can be cancelled."""

from __future__ import annotations

from threading import Event

import made_formats as made
import pytest
from docks import LEFT
from qtpy.QtWidgets import QMessageBox

from napari_staligner.io import fetching, remote_samples
from napari_staligner.io.remote_samples import RemoteFile, RemoteSample
from napari_staligner.widgets.slices import fetch_button
from napari_staligner.widgets.slices.dock import SlicesWidget


@pytest.fixture
def dock(open_dock, qtbot, tmp_path, monkeypatch):
    """Return a dock whose samples lie in a folder of the test's own."""
    for module in (fetching, fetch_button):
        monkeypatch.setattr(module, "samples_folder", lambda: tmp_path / "cache")
    dock = open_dock(SlicesWidget)
    yield dock
    runners = (dock._reader, dock._grapher, dock.card.runner)
    for runner in runners:
        runner.cancel()
    qtbot.waitUntil(lambda: not any(runner.running for runner in runners))


def offer(monkeypatch, url):
    files = (
        RemoteFile("filtered_feature_bc_matrix.h5", url),
        RemoteFile("spatial/tissue_positions_list.csv", url),
    )
    mine = RemoteSample("mine", "A slice", "CC0", "https://page", "Somebody", files)
    monkeypatch.setattr(remote_samples, "SAMPLES", {"mine": mine})


def press(qtbot, box, text):
    button = next(b for b in box.buttons() if text in b.text())
    qtbot.mouseClick(button, LEFT)


def test_a_sample_that_is_there_is_opened_at_once(dock, qtbot, tmp_path, monkeypatch):
    made.make_visium(tmp_path / "cache" / "mine")
    offer(monkeypatch, "http://127.0.0.1:9/x")
    dock.fetch.ask("mine")
    qtbot.waitUntil(lambda: list(dock.session.slices) == ["mine"])
    qtbot.waitUntil(dock.real.isHidden)


def test_licence_is_told_first_and_a_missing_network_said(dock, qtbot, tmp_path, monkeypatch):
    offer(monkeypatch, "http://127.0.0.1:9/x")
    dock.fetch.ask("mine")
    box = dock.fetch.question
    assert "Licence: CC0" in box.text()
    assert str(tmp_path / "cache") in box.text()
    press(qtbot, box, "Cancel")
    assert not dock._reader.running
    dock.fetch.ask("mine")
    press(qtbot, dock.fetch.question, "Fetch")
    qtbot.waitUntil(lambda: "http://127.0.0.1:9/x" in dock.status.text())
    assert "put it at" in dock.status.text()
    # An address cannot be wrapped.
    dock.say("x" * 500, problem=True)
    assert dock.minimumSizeHint().width() <= 380
    qtbot.waitUntil(lambda: dock.stop.isHidden())
    assert dock.sample.isEnabled()


def test_a_fetching_is_cancelled(dock, qtbot, monkeypatch):
    offer(monkeypatch, "http://127.0.0.1:9/x")
    held = Event()
    monkeypatch.setattr(fetching, "_retrieve", lambda *_: held.wait(20))
    dock.fetch.ask("mine")
    press(qtbot, dock.fetch.question, "Fetch")
    qtbot.waitUntil(lambda: dock.status.text().startswith("Fetching filtered_feature"))
    assert not dock.fetch.isEnabled()
    qtbot.mouseClick(dock.stop, LEFT)
    assert dock.status.text().startswith("Cancelled")
    held.set()
    qtbot.waitUntil(lambda: not dock._reader.running and dock.stop.isHidden())
    assert not dock.session.slices


def test_the_menu_of_napari_asks_in_the_dock(
    make_napari_viewer_proxy, qtbot, tmp_path, monkeypatch
):
    for module in (fetching, fetch_button):
        monkeypatch.setattr(module, "samples_folder", lambda: tmp_path / "cache")
    viewer = make_napari_viewer_proxy(show=True)
    viewer.__wrapped__.open_sample("napari-staligner", "real_bulbs")
    # napari wants a layer; it does not stay.
    qtbot.waitUntil(lambda: len(viewer.layers) == 0)
    dock = next(w for n, w in viewer.window.dock_widgets.items() if n.startswith("Slices"))
    slices = dock if isinstance(dock, SlicesWidget) else dock.findChild(SlicesWidget)
    box = slices.fetch.question
    assert isinstance(box, QMessageBox)
    assert "Puck_200127_15" in box.text()
    assert "Stereo-seq" in box.text()
    press(qtbot, box, "Cancel")
