from __future__ import annotations

import gc
import threading
import weakref
from inspect import getmembers_static

import pytest
from fakes import fake_result, fake_slice
from psygnal import Signal, SignalInstance
from qtpy.QtCore import QEvent
from qtpy.QtWidgets import QApplication, QDockWidget, QTabBar

from napari_staligner import _keys as K
from napari_staligner.compat import unwrapped
from napari_staligner.layers import open_session
from napari_staligner.widgets.integrate.dock import IntegrateWidget
from napari_staligner.widgets.slices.dock import SlicesWidget
from napari_staligner.widgets.tabs import raise_dock
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
    assert tabs == set(DOCKS[1:])
    assert len({id(widget.session) for widget in opened.values()}) == 1


def test_the_names_of_all_docks_can_be_read(viewer, qtbot):
    opened = open_workbench(viewer)
    window = frame(opened["Slices"]).parent()
    (bar,) = (b for b in window.findChildren(QTabBar) if b.count() == len(DOCKS))
    qtbot.waitUntil(bar.isVisible)
    for i, name in enumerate(DOCKS):
        assert bar.tabText(i) == name
        assert bar.tabRect(i).height() >= bar.fontMetrics().horizontalAdvance(name)
        assert bar.rect().contains(bar.tabRect(i))


def test_second_call_brings_back_what_was_hidden_and_adds_nothing(viewer):
    open_workbench(viewer)
    before = docks(viewer)
    frame(before["Domains"]).close()
    open_workbench(viewer)
    assert {name: id(widget) for name, widget in docks(viewer).items()} == {
        name: id(widget) for name, widget in before.items()
    }
    assert not frame(before["Domains"]).isHidden()


def test_a_class_is_chosen_no_more_once_another_tab_covers_the_dock(viewer, qtbot):
    """Else a lasso in another dock would annotate unseen."""
    docks = open_workbench(viewer)
    session = open_session(viewer)
    slices, result = fake_result()
    session.add(slices)
    session.set_result(result)
    raise_dock(docks["Annotate"])
    session.annotations.add_class("AOB")
    session.annotations.choose("AOB")
    session.view.tool = "lasso"
    qtbot.wait(20)
    assert (session.annotations.chosen, session.view.tool) == ("AOB", "lasso")
    raise_dock(docks["Explore"])
    qtbot.waitUntil(lambda: session.annotations.chosen == "")
    assert session.view.tool == ""
    raise_dock(docks["Annotate"])
    session.annotations.choose("AOB")
    qtbot.wait(20)
    assert session.annotations.chosen == "AOB"
    qtbot.waitUntil(lambda: len(session.slices.graphs) == 2)


def test_what_is_behind_another_tab_is_drawn_once_it_comes_to_sight(viewer, qtbot):
    """To Qt a covered dock is visible; drawn all the same, ten of them freeze the window."""
    docks = open_workbench(viewer)
    session = open_session(viewer)
    attention, links, umap = docks["Attention"], docks["Links"], docks["Explore"].umap
    slices, result = fake_result()
    result.obsm[K.UMAP] = result.obsm[K.SPATIAL]
    raise_dock(docks["Domains"])
    qtbot.waitUntil(lambda: docks["Domains"].seen and not docks["Explore"].seen)
    session.add(slices)
    session.set_result(result)
    assert links.isVisible()
    assert not links.seen
    picture = umap.views[K.UMAP].picture
    assert (attention.borders.text(), links.drawn.text(), picture.image) == ("", "", None)
    for name in ("Attention", "Links", "Explore"):
        raise_dock(docks[name])
        qtbot.waitUntil(lambda name=name: docks[name].seen)
    assert "edges" in attention.drawn.text()
    assert "drawn of" in links.drawn.text()
    qtbot.waitUntil(lambda: picture.image is not None)
    qtbot.waitUntil(lambda: len(session.slices.graphs) == 2)


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


def close_all(viewer):
    for widget in docks(viewer).values():
        frame(widget).destroyOnClose()
    for _ in range(2):
        QApplication.sendPostedEvents(None, QEvent.Type.DeferredDelete)
        gc.collect()


def what_there_is(viewer, session):
    """Count what a dock could leave behind."""
    connected = [
        getattr(part, name)
        for part in (session, *vars(session).values())
        for name, value in getmembers_static(type(part))
        if isinstance(value, Signal)
    ]
    connected += [session.view.events[name] for name in session.view.events]
    assert len(connected) > 30
    assert all(isinstance(signal, SignalInstance) for signal in connected)
    return {
        "layers": [layer.name for layer in viewer.layers],
        "connections": sum(map(len, connected)),
        "callbacks": len(viewer.mouse_drag_callbacks) + len(viewer.mouse_move_callbacks),
        "listeners": len(viewer.layers.events.inserted.callbacks),
        "threads": threading.active_count(),
        "windows": len(QApplication.topLevelWidgets()),
        "widgets": len(QApplication.allWidgets()),
    }


def test_opening_and_closing_again_and_again_leaves_nothing(viewer, qtbot):
    session = open_session(viewer)
    slices, result = fake_result()
    session.add(slices)
    session.set_result(result)
    session.view.legend_shown = True
    # The controls of the chosen layer, with windows of their own, are made once the window lives.
    controls = unwrapped(viewer).window._qt_viewer.controls.widgets
    qtbot.waitUntil(lambda: viewer.layers.selection.active in controls)
    before = what_there_is(viewer, session)
    rounds = []
    for _ in range(4):
        opened = open_workbench(viewer)
        assert tuple(opened) == DOCKS
        del opened
        qtbot.waitUntil(
            lambda: len(session.slices.graphs) == 2
        )  # the Slices dock counts neighbours in a thread
        close_all(viewer)
        rounds.append(what_there_is(viewer, session))
    for kind in ("layers", "connections", "callbacks", "listeners", "windows"):
        assert rounds[-1][kind] == before[kind], kind
    # Qt and the libraries keep some of what the first round made.
    for kind in ("threads", "widgets"):
        assert rounds[-1][kind] <= rounds[1][kind], kind
