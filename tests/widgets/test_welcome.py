"""The tour of a newcomer, and what a person prefers."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
from docks import LEFT
from fakes import fake_slice
from qtpy.QtCore import QPoint, Qt

from napari_staligner.layers import open_session, preferences
from napari_staligner.widgets.welcome import STOPS, Balloon, start_tour, welcome
from napari_staligner.widgets.workbench import DOCKS


@pytest.fixture
def kept(monkeypatch):
    """Stand in for napari's settings, as a person left them."""
    kept = SimpleNamespace(tour=True, name=" Ada ", layout="stack", colormap="magma")
    monkeypatch.setattr(preferences, "kept_by_napari", lambda: kept)
    return kept


@pytest.fixture
def viewer(make_napari_viewer_proxy):
    viewer = make_napari_viewer_proxy(show=True)
    viewer.window.resize(1366, 768)
    return viewer


def balloons(viewer):
    docks = [w for name, w in viewer.window.dock_widgets.items() if name.startswith("Slices")]
    return [b for b in docks[0].window().findChildren(Balloon) if b.isVisible()]


def shown_dock(viewer):
    fronts = {
        name.split(" (")[0]
        for name, widget in viewer.window.dock_widgets.items()
        if not widget.visibleRegion().isEmpty()
    }
    return fronts & set(DOCKS)


def test_six_balloons_lead_through_the_docks(viewer, qtbot):
    balloon = start_tour(viewer)
    window = balloon.parentWidget()
    for number, stop in enumerate(STOPS, 1):
        qtbot.waitUntil(lambda stop=stop: shown_dock(viewer) == {stop.dock})
        qtbot.waitUntil(lambda stop=stop: balloon.title.text() == stop.title)
        assert balloon.count.text() == f"{number} of 6"
        qtbot.waitUntil(balloon.isVisible)
        # No line is cut.
        qtbot.waitUntil(lambda: balloon.height() >= balloon.heightForWidth(balloon.width()))
        corner = balloon.mapTo(window, QPoint(0, 0))
        assert window.rect().contains(balloon.rect().translated(corner))
        qtbot.mouseClick(balloon.next, LEFT)
    qtbot.waitUntil(lambda: not balloons(viewer))


def test_one_goes_back_and_leaves_at_any_point(viewer, qtbot):
    balloon = start_tour(viewer)
    qtbot.waitUntil(balloon.isVisible)
    assert not balloon.back.isEnabled()
    qtbot.mouseClick(balloon.next, LEFT)
    qtbot.mouseClick(balloon.back, LEFT)
    assert balloon.stop == STOPS[0]
    qtbot.keyClick(balloon.next, Qt.Key.Key_Escape)
    qtbot.waitUntil(lambda: not balloons(viewer))


def test_the_tour_comes_once_and_only_while_nothing_is_loaded(viewer, kept, qtbot):
    open_session(viewer).add([("a", fake_slice(10))])
    welcome(viewer)
    assert not balloons(viewer)
    assert kept.tour
    open_session(viewer).slices.clear()
    welcome(viewer)
    qtbot.waitUntil(lambda: len(balloons(viewer)) == 1)
    assert not kept.tour
    balloons(viewer)[0].close()
    welcome(viewer)
    assert not balloons(viewer)


def test_a_new_session_begins_as_one_prefers(viewer, kept):
    session = open_session(viewer)
    assert session.view.layout == "stack"
    assert session.view.scale.colormap == "magma"
    assert session.annotations.annotator == "Ada"


def test_a_name_that_no_column_can_have_is_not_taken(viewer, kept):
    kept.name = "a/b"
    assert open_session(viewer).annotations.annotator == "me"


def test_napari_keeps_what_the_manifest_declares():
    settings = pytest.importorskip("napari.settings")
    if not hasattr(settings, "get_plugin_settings"):
        pytest.skip("napari before 0.9 has no settings of plugins")
    # The defaults: what is kept of this machine's own windows is another matter.
    declared = type(settings.get_plugin_settings(preferences.PLUGIN).workbench)()
    defaults = preferences.Preferences()
    assert {n: getattr(declared, n) for n in preferences.Preferences.model_fields} == (
        defaults.model_dump()
    )
