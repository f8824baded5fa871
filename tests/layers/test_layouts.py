"""Where the slices lie, and what a layout does to the layers."""

from __future__ import annotations

import numpy as np
import pytest
from fakes import FACTOR, fake_slice
from napari.layers import Shapes

from napari_staligner import _keys as K
from napari_staligner.layers.layouts import Footprint, best_columns, placements, to_napari


def footprint(x0, y0, x1, y1, margin=0.0):
    spots = np.array([[x0, y0], [x1, y1]], float)
    return Footprint(spots, spots + np.array([[-margin], [margin]]))


def put(matrix, *points):
    return (np.column_stack([np.array(points, float), np.ones(len(points))]) @ matrix.T)[:, :2]


SMALL, WIDE = footprint(0, 0, 100, 60), footprint(1000, 500, 1140, 560, margin=10)


def test_grid_puts_every_middle_at_the_origin():
    for name, matrix in placements("grid", {"a": SMALL, "b": WIDE}).items():
        middle = {"a": (50, 30), "b": (1070, 530)}[name]
        assert put(matrix, middle)[0] == pytest.approx((0, 0))


def test_slices_keep_their_unit_unless_extents_differ_too_much():
    big = footprint(0, 0, 200, 120)
    near = placements("grid", {"a": SMALL, "b": WIDE})
    assert np.ptp(put(near["b"], (1000, 500), (1140, 500))[:, 0]) == pytest.approx(140)
    far = placements("grid", {"a": SMALL, "b": big})
    assert np.ptp(put(far["a"], (0, 0), (100, 0))[:, 0]) == pytest.approx(100)
    assert np.ptp(put(far["b"], (0, 0), (200, 0))[:, 0]) == pytest.approx(100)


def boxes(matrices, footprints):
    return {n: np.sort(put(m, *footprints[n].all), axis=0) for n, m in matrices.items()}


@pytest.mark.parametrize("n", [1, 2, 3, 5, 12])
def test_mosaic_lays_slices_side_by_side_in_rows(n):
    footprints = {f"s{i}": footprint(i, 0, i + 100 + i, 80, margin=5) for i in range(n)}
    found = list(boxes(placements("mosaic", footprints), footprints).values())
    for i, (low, high) in enumerate(found):
        for other_low, other_high in found[i + 1 :]:
            assert (high <= other_low).any() or (other_high <= low).any()
    rows = len({round(float(box[:, 1].mean())) for box in found})
    assert rows == {1: 1, 2: 2, 3: 2, 5: 3, 12: 4}[n], "wide slices in a square window"


@pytest.mark.parametrize("n", [2, 6, 12])
@pytest.mark.parametrize("aspect", [0.6, 1.0, 2.5])
def test_as_many_columns_as_make_the_slices_largest(n, aspect):
    def shown(columns):
        return min(aspect / (columns * 100), 1 / (-(-n // columns) * 80))

    chosen = best_columns(n, 100, 80, aspect)
    assert shown(chosen) == max(shown(columns) for columns in range(1, n + 1))


def test_stack_uses_the_transforms_and_centres_what_has_none():
    turned = np.array([[0.0, -1.0, 7.0], [1.0, 0.0, 0.0], [0.0, 0.0, 1.0]])
    found = placements("stack", {"a": SMALL, "b": SMALL, "c": WIDE}, {"a": np.eye(3), "b": turned})
    np.testing.assert_allclose(found["b"], turned)
    aligned = np.vstack([put(found[n], *SMALL.spots) for n in "ab"])
    middle = (aligned.min(axis=0) + aligned.max(axis=0)) / 2
    assert put(found["c"], (1070, 530))[0] == pytest.approx(middle)


def test_to_napari_swaps_the_axes():
    matrix = np.array([[1.0, 2.0, 3.0], [4.0, 5.0, 6.0], [0.0, 0.0, 1.0]])
    x, y = put(matrix, (10, 20))[0]
    assert put(to_napari(matrix), (20, 10))[0] == pytest.approx((y, x))


# -- in the viewer -----------------------------------------------------------------------------


def cells(viewer):
    """Names of the layers in each cell of the grid."""
    grid = viewer.canvas.grid
    return [
        [viewer.layers[i].name for i in inside]
        for _, inside in grid.iter_viewboxes(viewer.layers)
        if inside
    ]


def test_layouts_change_neither_layers_nor_colours_nor_selection(shown):
    shown.session.set_result(shown.result)
    before = list(shown.viewer.layers)
    colors = [shown.layer(name).face_color.copy() for name, _ in shown.slices]
    shown.viewer.layers.selection = {before[1]}
    for layout in ("mosaic", "stack", "grid"):
        shown.session.view.layout = layout
        # The mosaic adds names; what was there stays.
        there = [layer for layer in shown.viewer.layers if layer in before]
        assert all(a is b for a, b in zip(there, before, strict=True))
        assert set(shown.viewer.layers.selection) == {before[1]}
        for (name, _), color in zip(shown.slices, colors, strict=True):
            np.testing.assert_array_equal(shown.layer(name).face_color, color)


def test_layers_of_a_slice_share_a_cell(shown):
    shown.session.set_result(shown.result)
    assert cells(shown.viewer) == [["slice1 image", "slice1"], ["slice2 image", "slice2"]]
    shown.session.view.graph_shown = True
    assert cells(shown.viewer)[1] == ["slice2 image", "slice2", "slice2 neighbours"]


def test_cells_hold_when_a_slice_has_no_image(shown, qtbot):
    shown.session.add([("bare", fake_slice(40, image=False)), ("slice4", fake_slice(45))])
    found = cells(shown.viewer)
    assert [cell[-1] for cell in found] == ["slice1", "slice2", "bare", "slice4"]
    assert len(found[2]) == 2
    blank = shown.viewer.layers[found[2][0]]
    assert not np.any(blank.data)
    # Only the grid needs it.
    for layout in ("mosaic", "stack"):
        shown.session.view.layout = layout
        assert not any("blank" in layer.name for layer in shown.viewer.layers)
    shown.session.view.layout = "grid"
    assert [cell[-1] for cell in cells(shown.viewer)] == ["slice1", "slice2", "bare", "slice4"]
    # With the others' images away, it needs none either.
    for name in ("slice1", "slice2", "slice4"):
        shown.viewer.layers.remove(f"{name} image")
    qtbot.waitUntil(lambda: len(shown.viewer.layers) == 4)


def test_cells_hold_when_an_image_is_deleted(shown, qtbot):
    shown.viewer.layers.remove("slice1 image")
    qtbot.waitUntil(lambda: [cell[-1] for cell in cells(shown.viewer)] == ["slice1", "slice2"])


def test_layers_of_the_user_come_after_the_slices(shown):
    shown.viewer.add_layer(Shapes(name="mine"))
    shown.session.add([("slice3", fake_slice(40))])
    assert [cell[-1] for cell in cells(shown.viewer)] == ["slice1", "slice2", "slice3", "mine"]


def test_one_slice_needs_no_grid(shown):
    assert shown.viewer.canvas.grid.enabled
    shown.session.slices.remove("slice2")
    assert not shown.viewer.canvas.grid.enabled


@pytest.mark.parametrize(("layout", "seen"), [("grid", True), ("mosaic", False), ("stack", False)])
def test_cells_of_the_grid_bear_the_names_of_their_slices(shown, layout, seen):
    shown.session.view.layout = layout
    named = {layer.name for layer in shown.viewer.layers if layer.name_overlay.visible}
    assert named == ({"slice1", "slice2"} if seen else set())


def test_the_mosaic_writes_each_name_over_its_slice(shown):
    shown.session.view.layout = "mosaic"
    (titles,) = shown.layers("title")
    shown.viewer.theme = "light"
    assert titles.text.color.constant[:3].max() < 0.3
    # New slices get theirs, and those of before lie elsewhere then.
    shown.session.add([("{slice3}", fake_slice(40))])
    names = ["slice1", "slice2", "{slice3}"]
    assert titles.text.values.tolist() == names
    for name, place in zip(names, titles.data, strict=True):
        corner = shown.layer(name, "image").data_to_world((-0.5, -0.5))
        np.testing.assert_allclose(place, corner, atol=1e-6)
    assert shown.viewer.layers[-1] is titles
    # The other layouts have no use for them.
    for layout in ("grid", "stack"):
        shown.session.view.layout = layout
        assert not shown.layers("title")


def test_only_the_grid_layout_uses_the_grid(shown):
    shown.session.view.layout = "mosaic"
    assert not shown.viewer.canvas.grid.enabled
    shown.session.view.layout = "grid"
    assert shown.viewer.canvas.grid.enabled


def test_the_stack_is_the_aligned_frame(shown):
    shown.session.set_result(shown.result)
    shown.session.view.layout = "stack"
    for name, _ in shown.slices:
        layer, rows = shown.layer(name), shown.session.result.rows(name)
        aligned = shown.result.obsm[K.SPATIAL_ALIGNED][rows]
        world = np.array([layer.data_to_world(point) for point in layer.data])
        np.testing.assert_allclose(world[:, ::-1], aligned)


def test_a_result_that_arrives_in_the_stack_aligns_it(shown):
    shown.session.view.layout = "stack"
    centred = shown.layer("slice2").affine.affine_matrix
    shown.session.set_result(shown.result)
    assert not np.allclose(shown.layer("slice2").affine.affine_matrix, centred)


def test_the_stack_shows_both_and_puts_all_back_afterwards(shown):
    shown.layer("slice1", "image").visible = False
    shown.layer("slice1").opacity = 0.9
    shown.session.view.layout = "stack"
    assert not shown.layer("slice2", "image").visible
    assert 0 < shown.layer("slice2").opacity < 1
    shown.session.view.layout = "grid"
    assert shown.layer("slice2", "image").visible
    assert not shown.layer("slice1", "image").visible
    assert [shown.layer(n).opacity for n in ("slice1", "slice2")] == [0.9, 1.0]


def test_a_layout_fits_the_view(shown):
    camera = shown.viewer.scene.camera
    camera.center = (0, 9999, 9999)
    shown.session.view.layout = "mosaic"
    assert max(map(abs, camera.center)) < 1000


@pytest.mark.parametrize("layout", ["grid", "mosaic", "stack"])
def test_slices_in_other_units_are_drawn_alike(shown, layout):
    tenfold = fake_slice(60)
    tenfold.obsm[K.SPATIAL] *= 10
    tenfold.uns[K.SPATIAL]["library"]["scalefactors"]["tissue_lowres_scalef"] /= 10
    shown.session.add([("tenfold", tenfold)])
    shown.session.view.layout = layout
    spots, image, like = shown.layer("tenfold"), shown.layer("tenfold", "image"), "slice1"
    step = np.subtract(spots.data_to_world(spots.data[1]), spots.data_to_world(spots.data[0]))
    assert step == pytest.approx((0, 10))
    # What napari draws: size times scale, without regard to the affine.
    drawn = [np.median(layer.size) * layer.scale[-1] for layer in (spots, shown.layer(like))]
    assert drawn == pytest.approx([9.5, 9.5])
    pixel = np.round(tenfold.obsm[K.SPATIAL][5, ::-1] * FACTOR / 10)
    assert spots.data_to_world(spots.data[5]) == pytest.approx(image.data_to_world(pixel))
