"""Outlines and masks of cells on the tissue."""

from __future__ import annotations

import made_formats as made
import numpy as np
import pytest

from napari_staligner import _keys as K
from napari_staligner import read_slices
from napari_staligner.compat import node_of
from napari_staligner.core.progress import finish
from napari_staligner.layers import open_session
from napari_staligner.layers.overlays.outlines import closed_lines
from napari_staligner.session import ColorBy, StackView

pytestmark = pytest.mark.filterwarnings("ignore:Writing zarr v2 data will no longer")


def lines_of(viewer, session, name):
    """Lines that vispy draws at the spots of a slice."""
    window = viewer.__wrapped__
    (spots,) = [
        layer
        for layer in viewer.layers
        if layer.metadata.get(K.LAYER_ROLE) == "spots" and layer.metadata[K.LAYER_SLICE] == name
    ]
    node = node_of(window, spots)
    return [
        each
        for each in node.parent.children
        if each is not node and each.transform is node.transform and hasattr(each, "connect")
    ]


def show(session):
    session.view.outlines_shown = True
    session.outlines.set(finish(session.outlines.job().steps()))


def test_each_line_is_closed():
    pairs = closed_lines(np.array([0, 3, 7]))
    assert pairs.tolist() == [[0, 1], [1, 2], [2, 0], [3, 4], [4, 5], [5, 6], [6, 3]]


def test_outlines_lie_in_every_layout_with_their_spots(make_napari_viewer_proxy, qtbot, tmp_path):
    for name in ("A", "B"):
        made.make_xenium(tmp_path / name)
        made.put_xenium_rims(tmp_path / name)
    viewer = make_napari_viewer_proxy(show=True)
    session = open_session(viewer)
    session.add(read_slices([tmp_path / "A", tmp_path / "B"]))
    assert session.outlines.available == ["A", "B"]
    show(session)
    session.view.color_by = ColorBy("gene", made.GENES[0])
    for layout in ("grid", "mosaic", "stack"):
        session.view.layout = layout
        for name in session.slices:
            (lines,) = lines_of(viewer, session, name)
            outlines = session.outlines.held[name]
            np.testing.assert_array_equal(lines.pos, outlines.corners)
            rgba = next(x for x in viewer.layers if x.name == name).face_color
            np.testing.assert_allclose(lines.color, rgba[np.repeat(outlines.rows, 5)], atol=1e-6)
    session.view.stack = StackView(mode="3d")
    assert not lines_of(viewer, session, "A")
    session.view.layout, session.view.outlines_shown = "grid", False
    assert not lines_of(viewer, session, "A")


def test_masks_have_the_colours_of_their_spots_and_their_place(viewer, tmp_path):
    made.make_cell_store(tmp_path / "A.zarr", polygons=False)
    made.make_xenium(tmp_path / "B")
    session = open_session(viewer)
    session.add(read_slices([tmp_path / "A.zarr", tmp_path / "B"]))
    session.view.layout = "mosaic"
    session.view.color_by = ColorBy("gene", made.GENES[0])
    show(session)
    layer, empty = (x for x in viewer.layers if x.metadata.get(K.LAYER_ROLE) == K.Role.MASKS)
    assert empty.data.shape == (1, 1)
    (spots,) = [x for x in viewer.layers if x.name == "A"]
    numbers = session.outlines.held["A"].numbers
    for number, rgba in zip(numbers, spots.face_color, strict=True):
        np.testing.assert_allclose(layer.colormap.color_dict[number], rgba, atol=1 / 31)
    # The middle of the pixels of a cell lies where its spot does, but for half a pixel.
    for number, place in zip(numbers, spots.data, strict=True):
        middle = np.argwhere(number == made.MASKED).mean(axis=0)
        shift = np.array(layer.data_to_world(middle)) - spots.data_to_world(place)
        np.testing.assert_allclose(np.abs(shift), 0.5, atol=1e-6)
    session.view.outlines_shown = False
    assert not [x for x in viewer.layers if x.metadata.get(K.LAYER_ROLE) == K.Role.MASKS]
