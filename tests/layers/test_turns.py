"""Many slices are drawn a few at a time, so that the window lives in between."""

import gc

import numpy as np
import pytest
from anndata import AnnData

from napari_staligner.compat import being_drawn, layers_removed
from napari_staligner.layers import open_session


def twelve() -> list[tuple[str, AnnData]]:
    grid = np.stack(np.meshgrid(np.arange(5.0), np.arange(5.0)), axis=-1).reshape(-1, 2)
    slices = []
    for number in range(12):
        adata = AnnData(np.ones((25, 3), dtype=np.float32))
        adata.obsm["spatial"] = grid.copy()
        slices.append((f"slice{number}", adata))
    return slices


def cells(viewer):
    """The cells of the grid that are drawn."""
    canvas = viewer.window._qt_viewer.canvas
    return [view.visible for view in canvas.grid_views[:12]]


@pytest.fixture
def viewer(make_napari_viewer):
    return make_napari_viewer(show=True)


def test_cells_of_the_grid_come_one_after_the_other(viewer, qtbot):
    open_session(viewer).slices.add(twelve())
    assert being_drawn(viewer)
    assert not all(cells(viewer))
    qtbot.waitUntil(lambda: not being_drawn(viewer))
    assert all(cells(viewer))


def test_a_picture_taken_meanwhile_is_whole(viewer):
    session = open_session(viewer)
    session.slices.add(twelve())
    assert being_drawn(viewer)
    picture = viewer.screenshot(canvas_only=True, flash=False)[..., :3].astype(int)
    assert not being_drawn(viewer)
    rows, columns = viewer.canvas.grid.actual_shape(viewer.layers)
    strips = [
        cell for row in np.array_split(picture, rows) for cell in np.array_split(row, columns, 1)
    ]
    assert len(strips) == 12
    assert all(np.ptp(cell, axis=2).max() > 25 for cell in strips)


def test_few_slices_are_drawn_at_once_and_another_layout_ends_the_turns(viewer, qtbot):
    session = open_session(viewer)
    session.slices.add(twelve())
    session.paging.show_only(("slice1", "slice2"))
    assert not being_drawn(viewer)
    session.view.layout = "mosaic"
    session.paging.show_only(())
    qtbot.waitUntil(lambda: not being_drawn(viewer))
    canvas = viewer.window._qt_viewer.canvas
    assert all(canvas.layer_to_visual[layer].node.visible for layer in viewer.layers)


def test_layers_are_removed_without_a_search_for_old_garbage(viewer):
    layers = [viewer.add_points(np.zeros((3, 2))) for _ in range(3)]
    searched = []

    def note(phase, told):
        if phase == "start":
            searched.append(told["generation"])

    gc.callbacks.append(note)
    try:
        with layers_removed(viewer):
            for layer in layers:
                viewer.layers.remove(layer)
        assert searched
        assert 2 not in searched
        gc.collect()
        assert searched[-1] == 2
    finally:
        gc.callbacks.remove(note)
