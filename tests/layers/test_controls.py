"""The controls of napari's layers are made when they are to be seen."""

import numpy as np
import pytest
from tiny import tiny_slice

from napari_staligner.layers import open_session


def slices(n):
    return [(f"slice{number}", tiny_slice(side=5)) for number in range(n)]


@pytest.fixture
def viewer(make_napari_viewer):
    return make_napari_viewer()


@pytest.fixture
def container(viewer):
    return viewer.window._qt_viewer.controls


def shown(viewer, container):
    active = viewer.layers.selection.active
    return active in container.widgets and container.currentWidget() is container.widgets[active]


def test_only_those_of_the_chosen_layer_are_made(viewer, container, qtbot):
    open_session(viewer).slices.add(slices(4))
    qtbot.waitUntil(lambda: shown(viewer, container))
    # The first ones make room for themselves when they come.
    assert list(container.widgets) == [viewer.layers["slice0"], viewer.layers["slice3"]]
    viewer.layers.selection.active = viewer.layers["slice1"]
    qtbot.waitUntil(lambda: shown(viewer, container))
    assert len(container.widgets) == 3
    viewer.layers.selection.active = None
    qtbot.waitUntil(lambda: container.currentWidget() is container.empty_widget)
    viewer.layers.selection = {viewer.layers["slice0"], viewer.layers["slice1"]}
    qtbot.waitUntil(lambda: container.currentWidget() is container.panel)


def test_who_asks_for_others_gets_them(viewer, container, qtbot):
    open_session(viewer).slices.add(slices(2))
    asked = container.widgets[viewer.layers["slice0"]]
    assert asked.layer is viewer.layers["slice0"]
    assert asked is container.widgets[viewer.layers["slice0"]]
    assert container.indexOf(asked) >= 0


def test_layers_go_with_and_without_controls(viewer, container, qtbot):
    open_session(viewer).slices.add(slices(3))
    qtbot.waitUntil(lambda: shown(viewer, container))
    viewer.layers.remove(viewer.layers["slice0"])
    viewer.layers.remove(viewer.layers["slice2"])
    viewer.layers.selection.active = viewer.layers["slice1"]
    qtbot.waitUntil(lambda: shown(viewer, container))
    assert list(container.widgets) == [viewer.layers["slice1"]]
    viewer.layers.clear()
    qtbot.waitUntil(lambda: container.currentWidget() is container.empty_widget)
    assert container.widgets == {}
    plain = viewer.add_points(np.eye(2))
    qtbot.waitUntil(lambda: shown(viewer, container))
    assert list(container.widgets) == [plain]


def test_layers_that_were_there_before_keep_theirs(viewer, container, qtbot):
    plain = viewer.add_points(np.eye(2))
    before = container.widgets[plain]
    open_session(viewer)
    assert container.widgets[plain] is before
    viewer.dims.ndisplay = 3
    other = viewer.add_points(np.eye(3))
    qtbot.waitUntil(lambda: shown(viewer, container))
    assert container.widgets[other].ndisplay == 3
