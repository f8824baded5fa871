from __future__ import annotations

import gc
import weakref

import pytest
from fakes import fake_slice
from qtpy.QtWidgets import QDockWidget

from napari_staligner.widgets.integrate import IntegrateWidget
from napari_staligner.widgets.slices import SlicesWidget
from napari_staligner.widgets.workbench import DOCKS, open_workbench


@pytest.fixture
def viewer(make_napari_viewer_proxy):
    return make_napari_viewer_proxy(show=True)


def docks(viewer):
    return {name.split(" (")[0]: widget for name, widget in viewer.window.dock_widgets.items()}


def frame(widget):
    while not isinstance(widget, QDockWidget):
        widget = widget.parent()
    return widget


def test_docks_are_tabs_with_slices_in_front(viewer, qtbot):
    open_workbench(viewer)
    opened = docks(viewer)
    assert tuple(opened) == DOCKS
    assert isinstance(opened["Slices"], SlicesWidget)
    assert isinstance(opened["Integrate"], IntegrateWidget)
    qtbot.waitUntil(lambda: not opened["Slices"].visibleRegion().isEmpty())
    assert opened["Integrate"].visibleRegion().isEmpty()
    window = frame(opened["Slices"]).parent()
    tabs = {
        dock.windowTitle().split(" (")[0]
        for dock in window.tabifiedDockWidgets(frame(opened["Slices"]))
    }
    assert tabs == {"Integrate", "Domains", "Attention"}
    assert len({id(widget.session) for widget in opened.values()}) == 1


def test_second_call_brings_back_what_was_hidden_and_adds_nothing(viewer):
    open_workbench(viewer)
    before = docks(viewer)
    frame(before["Domains"]).close()
    open_workbench(viewer)
    assert {name: id(widget) for name, widget in docks(viewer).items()} == {
        name: id(widget) for name, widget in before.items()
    }
    assert not frame(before["Domains"]).isHidden()


def test_docks_fit_beside_the_tissue(viewer):
    open_workbench(viewer)
    assert {name: w.minimumSizeHint().width() for name, w in docks(viewer).items()} == {
        name: pytest.approx(190, abs=190) for name in DOCKS
    }


@pytest.mark.parametrize("kind", [SlicesWidget, IntegrateWidget])
def test_nothing_is_left_of_a_dock_that_was_closed(make_napari_viewer_proxy, qtbot, kind):
    viewer = make_napari_viewer_proxy()
    dock = kind(viewer)
    session = dock.session
    wrapper = viewer.window.add_dock_widget(dock, name="Dock")
    gone = weakref.ref(dock)
    with qtbot.waitSignal(dock.destroyed):
        wrapper.destroyOnClose()
    del dock, wrapper
    # Twice: what the first round frees lets Qt let go of the rest.
    for _ in range(2):
        qtbot.wait(1)
        gc.collect()
    assert gone() is None
    session.add([("a", fake_slice(20))])
