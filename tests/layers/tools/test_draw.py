"""Tools on the tissue with a real mouse: lasso, polygon, brush, and clicks, in every layout."""

from __future__ import annotations

import numpy as np

from napari_staligner import _keys as K
from napari_staligner.core.annotations.regions import inside
from napari_staligner.core.annotations.transfer import Proposal

# fake_slice lays spots on a grid of 8 columns, 10 apart, the first at (20, 20)
WIDTH = 8


def xy(column, row):
    return 20.0 + 10 * column, 20.0 + 10 * row


def spots(*columns_rows):
    return sorted(row * WIDTH + column for column, row in columns_rows)


BLOCK = [(c, r) for r in (1, 2, 3) for c in (2, 3)]
AROUND = [(15, 5), (35, 5), (35, 35), (15, 35)]  # around that block, less 20


def pixels(shown, mouse, name, corners, cell=None):
    layer = shown.layer(name)
    return [
        mouse.pixel(layer.data_to_world((y + 20, x + 20)), cell) for x, y in [*corners, corners[0]]
    ]


def pick_up(shown, mouse, tool):
    """Choose a tool."""
    shown.session.view.tool = tool
    mouse.settle(shown.layer("slice1"))


def rows_of(shown, name, in_slice):
    return shown.session.result.rows(name)[in_slice].tolist()


def test_a_lasso_in_the_grid_takes_the_spots_of_that_cell(canvas):
    shown, mouse = canvas
    pick_up(shown, mouse, "lasso")
    before = shown.viewer.scene.camera.center
    for cell, name in enumerate(("slice1", "slice2")):
        mouse.follow(pixels(shown, mouse, name, AROUND, cell))
        assert shown.session.result.selection.tolist() == rows_of(shown, name, spots(*BLOCK))
        assert shown.viewer.scene.camera.center == before, "a lasso must not move the view"


def test_a_lasso_takes_what_is_under_it_in_the_other_layouts(canvas):
    shown, mouse = canvas
    for layout in ("mosaic", "stack"):
        shown.session.result.selection = np.array([], dtype=int)
        shown.session.view.layout = layout
        pick_up(shown, mouse, "lasso")
        mouse.follow(pixels(shown, mouse, "slice1", AROUND))
        taken = set(shown.session.result.selection) & set(shown.session.result.rows("slice1"))
        assert sorted(taken) == rows_of(shown, "slice1", spots(*BLOCK))


def test_hidden_slices_are_not_taken(canvas):
    shown, mouse = canvas
    shown.session.view.layout = "mosaic"
    shown.layer("slice1").visible = False
    pick_up(shown, mouse, "lasso")
    mouse.follow(pixels(shown, mouse, "slice1", AROUND))
    assert len(shown.session.result.selection) == 0


def test_what_is_drawn_stays_on_its_slice_in_every_layout(canvas):
    shown, mouse = canvas
    session = shown.session
    session.annotations.use_template("Olfactory bulb")
    session.annotations.choose("GL")
    session.view.layout = "stack"
    pick_up(shown, mouse, "lasso")
    mouse.follow(pixels(shown, mouse, "slice1", AROUND))
    session.view.layout = "mosaic"
    ((_, shape),) = [x for x in session.annotations.shapes if x[1].slice == "slice1"]
    coordinates = shown.slices[0][1].obsm[K.SPATIAL]
    assert inside(shape.xy, coordinates).tolist() == spots(*BLOCK)
    low, high = np.array(AROUND).min(axis=0) + 20, np.array(AROUND).max(axis=0) + 20
    np.testing.assert_allclose([shape.xy.min(axis=0), shape.xy.max(axis=0)], [low, high], atol=1.5)


def test_a_polygon_is_clicked_and_closed_by_a_double_click(canvas):
    shown, mouse = canvas
    pick_up(shown, mouse, "polygon")
    corners = pixels(shown, mouse, "slice1", AROUND, 0)[:-1]
    for corner in corners[:-1]:
        mouse.click(corner)
    assert len(shown.session.result.selection) == 0
    (sketch,) = shown.marks("slice1")
    # Two pieces, of four corners each, from corner to corner of the polygon.
    assert len(sketch.mesh_data.get_vertices()) == 8
    assert not shown.marks("slice2")
    mouse.double_click(corners[-1])
    assert shown.session.result.selection.tolist() == rows_of(shown, "slice1", spots(*BLOCK))
    assert not shown.marks("slice1")


def test_a_polygon_closes_at_its_first_corner(canvas):
    shown, mouse = canvas
    pick_up(shown, mouse, "polygon")
    for corner in pixels(shown, mouse, "slice2", AROUND, 1):
        mouse.click(corner)
    assert shown.session.result.selection.tolist() == rows_of(shown, "slice2", spots(*BLOCK))


def test_another_tool_drops_an_unfinished_polygon(canvas):
    shown, mouse = canvas
    pick_up(shown, mouse, "polygon")
    for corner in pixels(shown, mouse, "slice1", AROUND, 0)[:3]:
        mouse.click(corner)
    pick_up(shown, mouse, "lasso")
    pick_up(shown, mouse, "polygon")
    mouse.double_click(pixels(shown, mouse, "slice1", AROUND, 0)[3])
    assert len(shown.session.result.selection) == 0


def test_a_brush_takes_the_spots_it_goes_over(canvas):
    shown, mouse = canvas
    pick_up(shown, mouse, "brush")
    shown.session.view.brush = 0.5
    path = [mouse.pixel(shown.layer("slice1").data_to_world((40, x)), 0) for x in (40, 55, 70)]
    mouse.follow(path)
    assert shown.session.result.selection.tolist() == rows_of(
        shown, "slice1", spots(*((c, 2) for c in (2, 3, 4, 5)))
    )


def test_a_click_takes_a_spot_its_piece_or_its_domain(canvas):
    shown, mouse = canvas
    result = shown.session.result.adata
    domain = result.obs[K.DOMAIN].to_numpy()
    (row,) = rows_of(shown, "slice1", spots((3, 3)))
    same = np.flatnonzero(domain == domain[row])
    expected = {
        "spot": [row],
        "piece": [r for r in same if result.obs[K.SLICE].iloc[r] == "slice1"],
        "domain": same.tolist(),
    }
    for tool, rows in expected.items():
        shown.session.result.selection = np.array([], dtype=int)
        pick_up(shown, mouse, tool)
        mouse.click(mouse.pixel(shown.layer("slice1").data_to_world(xy(3, 3)[::-1]), 0))
        assert shown.session.result.selection.tolist() == rows, tool


def test_a_drag_with_a_click_tool_moves_the_view(canvas, qtbot):
    shown, mouse = canvas
    pick_up(shown, mouse, "spot")
    before = shown.viewer.scene.camera.center
    start = mouse.pixel(shown.layer("slice1").data_to_world(xy(3, 3)[::-1]), 0)
    mouse.drag(start, start + type(start)(40, 30))
    assert len(shown.session.result.selection) == 0
    qtbot.waitUntil(lambda: shown.viewer.scene.camera.center != before)


def test_with_a_chosen_class_a_lasso_assigns(canvas):
    shown, mouse = canvas
    session = shown.session
    session.annotations.use_template("Cortex")
    session.annotations.choose("Layer 2")
    pick_up(shown, mouse, "lasso")
    mouse.follow(pixels(shown, mouse, "slice2", AROUND, 1))
    rows = rows_of(shown, "slice2", spots(*BLOCK))
    column = session.result.adata.obs[K.ANNOTATION]
    assert np.flatnonzero(column == "Layer 2").tolist() == rows
    assert session.annotations.edits[-1].how == "lasso"


def test_a_proposal_is_seen_paler_where_it_is_less_sure(canvas):
    shown, _ = canvas
    session = shown.session
    session.annotations.use_template("Cortex")
    rows = session.result.rows("slice2")[[4, 5, 6]]
    session.annotations.proposal = Proposal("WM", rows, np.array([0.2, 0.6, 0.9], np.float32))
    layer = shown.layer("slice2", "proposal")
    np.testing.assert_array_equal(layer.data, shown.layer("slice2").data[[5, 6]])
    assert layer.face_color[0, 3] < layer.face_color[1, 3]
    session.annotations.proposal = session.annotations.proposal.trimmed(0.1)
    assert len(layer.data) == 3
    both = Proposal(
        *("WM", rows, np.array([0.2, 0.6, 0.9], np.float32)),
        other=np.array([0.7, 0.1, 0.8], np.float32),
    )
    session.annotations.proposal = both
    assert len(layer.data) == 3
    # Hollow where only the other way proposes; orange where one does, white where both do.
    np.testing.assert_array_equal(layer.face_color[:, 3] > 0, [False, True, True])
    np.testing.assert_array_equal((layer.border_color == 1).all(axis=1), [False, False, True])
    session.annotations.proposal = None
    assert not shown.layers("proposal")
