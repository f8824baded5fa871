"""Many slices are drawn a few at a time, so that the window lives in between."""

import gc
from types import SimpleNamespace

import numpy as np
import pytest
from anndata import AnnData
from napari.components.grid import GridCanvas
from napari.layers import Points
from qtpy.QtCore import QPoint, QPointF, Qt, QTimer
from qtpy.QtGui import QWheelEvent
from qtpy.QtWidgets import QApplication
from vispy import gloo
from vispy.visuals import ImageVisual, MarkersVisual, TextVisual

from napari_staligner.compat import (
    after_building,
    being_drawn,
    find_cells_once,
    layers_moved,
    layers_removed,
    remember_shaders,
    scene_built_once,
)
from napari_staligner.layers import open_session, window


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
    qtbot.waitUntil(lambda: 0 < sum(cells(viewer)) < 12)
    assert being_drawn(viewer)
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
    qtbot.waitUntil(lambda: not being_drawn(viewer))
    session.paging.show_only(("slice1", "slice2"))
    assert not being_drawn(viewer)
    session.view.layout = "mosaic"
    session.paging.show_only(())
    qtbot.waitUntil(lambda: not being_drawn(viewer))
    canvas = viewer.window._qt_viewer.canvas
    assert all(canvas.layer_to_visual[layer].node.visible for layer in viewer.layers)


def test_many_layers_are_built_after_the_event_loop_has_lived_and_not_drawn_before(viewer, qtbot):
    session = open_session(viewer)
    session.slices.add(twelve())
    qtbot.waitUntil(lambda: not being_drawn(viewer))
    session.view.layout = "mosaic"
    qtbot.waitUntil(lambda: not being_drawn(viewer))
    canvas, order = viewer.window._qt_viewer.canvas, []
    make, build = canvas._init_or_update_grid, canvas._setup_layer_views_in_grid
    canvas._init_or_update_grid = lambda: (order.append("cells"), make())
    canvas._setup_layer_views_in_grid = lambda: (order.append("built"), build())
    canvas._scene_canvas.events.draw.connect(lambda _: order.append("drawn"))
    QTimer.singleShot(0, lambda: order.append("lived"))
    session.view.layout = "grid"
    assert order == []
    session.view.layout = "mosaic"
    session.view.layout = "grid"
    assert order == []
    assert being_drawn(viewer)
    qtbot.waitUntil(lambda: not being_drawn(viewer))
    assert order[0] == "lived"
    assert order.count("built") == 1
    assert order.index("cells") < order.index("built") < order.index("drawn")
    assert len(cells(viewer)) == 12


def test_the_picture_of_a_scene_that_is_not_built_yet_is_whole(viewer, qtbot):
    session = open_session(viewer)
    session.slices.add(twelve())
    session.view.layout = "mosaic"
    qtbot.waitUntil(lambda: not being_drawn(viewer))
    qtbot.wait(300)
    session.view.layout = "grid"
    whole = viewer.screenshot(canvas_only=True, flash=False)
    assert not being_drawn(viewer)
    qtbot.wait(300)
    assert np.array_equal(viewer.screenshot(canvas_only=True, flash=False), whole)


def test_a_window_that_is_closed_before_its_scene_is_built(make_napari_viewer, qtbot, caplog):
    viewer = make_napari_viewer(show=True)
    open_session(viewer).slices.add(twelve())
    assert being_drawn(viewer)
    viewer.close()
    qtbot.wait(100)
    assert not caplog.records


def counted(layer):
    """Count how often a layer sends what it shows."""
    sent = []
    layer.events.set_data.connect(lambda _: sent.append(layer.name))
    return sent


def test_new_cells_show_at_their_first_drawing_what_the_camera_shows(viewer, qtbot):
    session = open_session(viewer)
    session.slices.add(twelve()[:2])
    session.view.layout = "mosaic"
    canvas, widths = viewer.window._qt_viewer.canvas, []
    qtbot.waitUntil(canvas.native.updatesEnabled)
    canvas._scene_canvas.events.draw.connect(
        lambda _: widths.append([view.camera.rect.width for view in canvas.grid_views]),
        position="first",
    )
    session.view.layout = "grid"
    qtbot.waitUntil(lambda: bool(widths) and len(widths[-1]) == 2)
    first = next(each for each in widths if each)
    # Were they narrower, a spot would fill the canvas many times over.
    assert min(first) > 4.0
    assert max(first) < 100.0


def test_slices_that_come_in_turns_are_fitted_before_they_are_seen_and_named_beforehand(
    viewer, qtbot
):
    session = open_session(viewer)
    slices = twelve()
    native = viewer.window._qt_viewer.canvas.native
    session.slices.add(slices[:1], more=True)
    assert not native.updatesEnabled()
    qtbot.waitUntil(native.updatesEnabled)
    height, width = viewer.canvas.size
    assert 4 * viewer.scene.camera.zoom == pytest.approx(min(height, width), rel=0.5)
    for number in range(1, 11):
        session.slices.add(slices[number : number + 1], more=True)
        qtbot.waitUntil(native.updatesEnabled)
    made = viewer.window._qt_viewer.canvas._layer_overlay_to_visual
    spots = [viewer.layers[name] for name in session.slices]
    assert all(layer.name_overlay in made[layer] for layer in spots)
    assert not any(layer.name_overlay.visible for layer in spots)
    session.slices.add(slices[11:])
    spots = [viewer.layers[name] for name in session.slices]
    qtbot.waitUntil(lambda: all(layer.name_overlay.visible for layer in spots))
    qtbot.waitUntil(lambda: not being_drawn(viewer))


def test_a_canvas_that_is_held_is_not_drawn_and_what_lies_over_slices_comes_later(viewer, qtbot):
    session = open_session(viewer)
    session.slices.add(twelve()[:2])
    native = viewer.window._qt_viewer.canvas.native
    qtbot.waitUntil(native.updatesEnabled)
    told = []
    window._open[viewer].tissue.stage.arranged.connect(lambda: told.append(True))
    with session.focus.held_still():
        session.view.layout = "mosaic"
        assert told == []
        qtbot.waitUntil(lambda: told == [True])
        assert not native.updatesEnabled()
        session.view.layout = "grid"
    # What was still to come has come before the drawing.
    assert told == [True, True]
    qtbot.waitUntil(native.updatesEnabled)


def test_layers_that_move_send_nothing_and_those_that_come_back_send_once(viewer):
    moved, back, larger, gone = layers = [viewer.add_points(np.eye(2)) for _ in range(4)]
    back.visible = False
    counts = [counted(layer) for layer in layers]
    with layers_moved(viewer, layers):
        for layer in layers:
            layer.affine = np.diag([2.0, 2.0, 1.0])
            layer.affine = np.diag([3.0, 3.0, 1.0])
        back.visible = True
        larger.scale = (2.0, 2.0)
        gone.visible = False
    assert [len(sent) for sent in counts] == [0, 1, 1, 0]
    assert viewer.dims.range[-1].stop == 6.0
    moved.refresh()
    assert len(counts[0]) == 1


def test_spots_are_drawn_once_for_another_zoom_and_marked_where_some_are_selected(viewer, qtbot):
    session = open_session(viewer)
    session.slices.add(twelve()[:2])
    spots, marks = viewer.layers["slice1"], []
    qtbot.waitUntil(viewer.window._qt_viewer.canvas.native.updatesEnabled)
    qtbot.wait(300)
    spots.events.highlight.connect(lambda _: marks.append(list(spots._highlight_index)))
    before = spots.scale_factor
    viewer.scene.camera.zoom *= 2
    qtbot.waitUntil(lambda: spots.scale_factor == pytest.approx(before / 2))
    assert marks == []
    spots.selected_data = {3}
    qtbot.waitUntil(lambda: bool(marks))
    assert marks[-1] == [3]
    viewer.scene.camera.zoom *= 2
    spots.selected_data = set()
    assert marks[-1] == []


def test_a_layer_that_is_added_elsewhere_makes_the_others_send_nothing(viewer):
    session = open_session(viewer)
    session.slices.add(twelve()[:2])
    plain = viewer.add_points(np.zeros((2, 3)))
    counts = [counted(viewer.layers["slice0"]), counted(plain)]
    viewer.add_points(np.array([[7.0, -500.0, -500.0], [7.0, 900.0, 900.0]]))
    viewer.dims.set_point(0, 7.0)
    assert len(counts[0]) == 0
    assert len(counts[1]) > 0
    assert list(plain._view_indices) == []
    viewer.dims.ndisplay = 3
    assert len(counts[0]) == 1
    viewer.dims.ndisplay = 2
    viewer.dims.order = (0, 2, 1)
    assert len(counts[0]) == 3


def test_a_layer_of_three_dimensions_that_moves_shows_another_part(viewer):
    layer = viewer.add_points(np.array([[0.0, 0.0, 0.0], [5.0, 1.0, 1.0]]))
    viewer.dims.set_point(0, 0.0)
    assert list(layer._view_indices) == [0]
    with layers_moved(viewer, [layer]):
        matrix = np.eye(4)
        matrix[0, 3] = -5.0
        layer.affine = matrix
    assert list(layer._view_indices) == [1]


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


def test_what_still_waits_goes_on_waiting_while_other_things_change(viewer, qtbot):
    session = open_session(viewer)
    session.slices.add(twelve())
    qtbot.waitUntil(lambda: 0 < sum(cells(viewer)) < 12)
    drawn = sum(cells(viewer))
    with scene_built_once(viewer):
        pass
    assert being_drawn(viewer)
    session.view.graph_shown = True
    session.view.graph_shown = False
    assert being_drawn(viewer)
    assert sum(cells(viewer)) == drawn
    qtbot.waitUntil(lambda: not being_drawn(viewer))
    assert all(cells(viewer))


def test_slices_and_layout_chosen_as_one_are_laid_out_once(viewer, qtbot):
    session = open_session(viewer)
    session.slices.add(twelve())
    qtbot.waitUntil(lambda: not being_drawn(viewer))
    canvas, built = viewer.window._qt_viewer.canvas, []
    build = canvas._setup_layer_views_in_grid
    canvas._setup_layer_views_in_grid = lambda: (built.append(viewer.canvas.grid.shape), build())
    with session.view.laid_out_once():
        session.view.layout = "mosaic"
        session.paging.show_only(("slice1", "slice2"))
    assert not viewer.canvas.grid.enabled
    assert built == []
    spots = [layer for layer in viewer.layers if layer.name != "slice names"]
    assert [x.name for x in spots if x.visible] == ["slice1", "slice2"]
    with session.view.laid_out_once():
        session.view.layout = "grid"
        session.paging.show_only(())
    qtbot.waitUntil(lambda: not being_drawn(viewer))
    assert len(built) == 1
    assert all(layer.visible for layer in spots)


def test_the_canvas_is_drawn_after_the_event_loop_has_lived(viewer, qtbot):
    session = open_session(viewer)
    session.slices.add(twelve()[:2])
    qtbot.waitUntil(lambda: viewer.window._qt_viewer.canvas.native.updatesEnabled())
    order = []
    canvas = viewer.window._qt_viewer.canvas
    canvas._scene_canvas.events.draw.connect(lambda _: order.append("drawn"))
    probe = QTimer()
    probe.setSingleShot(True)
    probe.timeout.connect(lambda: order.append("lived"))
    session.view.layout = "mosaic"
    probe.start(0)
    order.clear()
    qtbot.waitUntil(lambda: "drawn" in order)
    assert order[0] == "lived"


def test_a_layer_with_a_third_dimension_shows_no_slider_on_the_way(viewer, qtbot):
    session = open_session(viewer)
    session.slices.add(twelve()[:2])
    qtbot.waitUntil(lambda: viewer.window._qt_viewer.canvas.native.updatesEnabled())
    canvas = viewer.window._qt_viewer.canvas
    sizes, size = [], canvas.native.size()
    canvas._scene_canvas.events.resize.connect(lambda event: sizes.append(event.size))
    with scene_built_once(viewer):
        viewer.add_vectors(np.zeros((1, 2, 3)), ndim=3)
    assert viewer.dims.ndim == 3
    qtbot.wait(200)
    assert sizes == []
    assert canvas.native.size() == size


@pytest.mark.parametrize("enabled", [True, False])
@pytest.mark.parametrize("stride", [1, 2, -2])
@pytest.mark.parametrize("shape", [(-1, -1), (2, -1), (1, 2)])
def test_cells_of_a_grid_hold_what_napari_says(enabled, stride, shape):
    find_cells_once()
    layers = [Points(visible=number not in (1, 4, 5)) for number in range(8)]
    grid = GridCanvas(enabled=enabled, stride=stride, shape=shape)
    found = list(grid.iter_viewboxes(layers))
    places = list(np.ndindex(grid.actual_shape(layers)))
    assert found == [(place, grid.contents_at(place, layers)) for place in places]
    assert sum(len(inside) for _, inside in found) == (5 if enabled else 8)
    assert list(grid.iter_viewboxes([])) == [((0, 0), ())]


def test_variables_of_shaders_are_read_once_and_found_as_vispy_finds_them(viewer):
    from vispy.gloo import Program

    vertex = "uniform float u_a; // uniform float u_b;\nattribute vec2 a_xy; void main() {}"
    first, again = (Program(vertex, "varying vec3 v_c; void main() {}") for _ in range(2))
    assert sorted(first.variables) == [
        ("attribute", "vec2", "a_xy"),
        ("uniform", "float", "u_a"),
        ("varying", "vec3", "v_c"),
    ]
    assert again.variables == first.variables
    again["u_a"] = 2.0
    assert again["u_a"] == 2.0
    assert again._code_variables is not first._code_variables


@pytest.mark.parametrize("layout", ["grid", "mosaic", "stack"])
def test_what_the_camera_shows_is_drawn_once(viewer, qtbot, layout):
    session = open_session(viewer)
    session.slices.add(twelve()[:2])
    session.view.layout = layout
    canvas = viewer.window._qt_viewer.canvas
    native, draws = canvas.native, []
    qtbot.waitUntil(native.updatesEnabled)
    qtbot.wait(400)
    drawn = canvas._scene_canvas.events.draw
    drawn.connect(lambda _: draws.append(viewer.scene.camera.zoom), position="last")
    middle = native.rect().center() / 2

    def drawn_by(act):
        draws.clear()
        act()
        qtbot.waitUntil(lambda: bool(draws))
        qtbot.wait(150)
        return len(draws)

    def zoom():
        viewer.scene.camera.zoom *= 1.5

    def turn_the_wheel():
        at, none = QPointF(middle), Qt.MouseButton.NoButton
        keys, phase = Qt.KeyboardModifier.NoModifier, Qt.ScrollPhase.NoScrollPhase
        turn = QPoint(0, 120)
        event = QWheelEvent(at, at, QPoint(), turn, none, keys, phase, False)
        QApplication.sendEvent(native, event)

    zoomed = viewer.scene.camera.zoom * 1.5
    assert drawn_by(zoom) == 1
    assert drawn_by(turn_the_wheel) == 1
    assert draws[0] == viewer.scene.camera.zoom > zoomed
    assert drawn_by(viewer.reset_view) == 1


def test_letters_are_outlined_before_a_slice_needs_them(viewer, qtbot):
    open_session(viewer)
    info = viewer.window._qt_viewer.canvas._font_info
    letters = info.font_manager.get_font(info.face)._glyphs
    qtbot.waitUntil(lambda: "Z" in letters)
    assert set("0123456789 µm_slice") <= set(letters)


def test_what_follows_a_change_comes_once_the_scene_is_built(viewer, qtbot):
    session = open_session(viewer)
    session.slices.add(twelve()[:2])
    done = []
    after_building(viewer, lambda: done.append("at once"))
    assert done == ["at once"]
    with scene_built_once(viewer, later=True):
        viewer.layers["slice1"].visible = False
        after_building(viewer, lambda: done.append("built"))
    assert done == ["at once"]
    assert being_drawn(viewer)
    qtbot.waitUntil(lambda: done == ["at once", "built"])
    assert not being_drawn(viewer)


SHADERS = """
uniform float one; attribute vec2 two;varying  highp vec4
  three ;
const float four = 1.5; in vec3 five; out vec4 six; // uniform float not_this;
uniform vec2 seven[3]; // a comment // and another
/* uniform vec2 eight; */ float margin (in float nine, out float ten) { return nine; }
uniform float without_an_end"""


def test_the_variables_of_a_program_are_those_that_vispy_finds():
    remember_shaders()
    quick = gloo.Program._parse_variables_from_code
    plain = quick.__wrapped__
    codes = [(SHADERS, "uniform float eleven;\n//uniform float no;"), ("", "void main() {}")]
    for visual in (TextVisual, MarkersVisual, ImageVisual):
        templates = visual._shaders
        codes.append((templates["vertex"], templates["fragment"]))
    found = []
    for vertex, fragment in codes:
        read = []
        for way in (plain, quick, quick):
            program = gloo.Program()
            program._shaders = [SimpleNamespace(code=code) for code in (vertex, fragment)]
            way(program)
            assert program._shaders[0].code == vertex
            read.append(program._code_variables)
        assert read[0] == read[1] == read[2]
        found.append(len(read[0]))
    assert found[0] > 10
    assert found[1] == 0
    assert sum(found) > 30
