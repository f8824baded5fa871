"""Rings around the chosen spot and its matches, which are in no list of layers."""

from __future__ import annotations

import numpy as np
import pytest
from fakes import fake_session, fake_slice
from napari.layers import Points

from napari_staligner import _keys as K
from napari_staligner.layers.overlays.rings import marked_spots
from napari_staligner.session import LinkView, Spot, StackView


def rows(session):
    """Rows of the chosen spot and of its matches, by slice."""
    found = marked_spots(session).items()
    return {name: (marked.chosen.tolist(), marked.matches.tolist()) for name, marked in found}


def test_the_chosen_spot_has_a_ring():
    session = fake_session()
    assert rows(session) == {}
    session.view.spot = Spot("slice2", 7)
    assert rows(session) == {"slice2": ([7], [])}


def test_with_links_its_matches_have_rings_too():
    session = fake_session()
    session.view.spot = Spot("slice1", 12)
    session.view.links = LinkView(shown=True)
    assert rows(session) == {"slice1": ([12], []), "slice2": ([], [12])}
    session.view.links = LinkView()
    assert rows(session) == {"slice1": ([12], [])}


def test_rings_are_no_layers_and_go_with_their_spot(canvas):
    shown, _ = canvas
    before = list(shown.viewer.layers)
    for name, other in (("slice2", "slice1"), ("slice1", "slice2")):
        shown.session.view.spot = Spot(name, 7)
        (rings,) = shown.marks(name)
        assert not shown.marks(other)
        places = np.asarray(rings._data["a_position"])[:, :2]
        # Two for the chosen spot: a white one on a black one.
        np.testing.assert_array_equal(places, dict(shown.slices)[name].obsm[K.SPATIAL][[7, 7]])
    shown.session.view.spot = None
    assert not shown.marks("slice1")
    assert list(shown.viewer.layers) == before


def width(viewer, qtbot):
    """Width in pixels of what is white on the canvas."""
    white = (viewer.screenshot(canvas_only=True, flash=False)[..., :3] > 250).all(axis=2)
    columns = np.flatnonzero(white.any(axis=0))
    return int(np.ptp(columns)) if len(columns) else 0


@pytest.mark.parametrize("layout", ["mosaic", "stack"])
def test_a_ring_is_as_wide_as_napari_would_draw_it(canvas, qtbot, layout):
    """Also on a slice in other units, which is scaled to the others."""
    shown, _ = canvas
    tenfold = fake_slice(60, image=False)
    tenfold.obsm[K.SPATIAL] *= 10
    shown.session.add([("tenfold", tenfold)])
    shown.session.view.layout = layout
    for layer in shown.viewer.layers:
        layer.opacity = 0 if layer.metadata[K.LAYER_ROLE] == "image" else 0.2
    for layer in shown.layers("title"):
        layer.opacity = 0
    spots = shown.layer("tenfold")
    shown.session.view.spot = Spot("tenfold", 33)
    found = width(shown.viewer, qtbot)
    shown.session.view.spot = None
    assert width(shown.viewer, qtbot) == 0
    like = Points(
        spots.data[[33]],
        size=1.7 * np.median(spots.size),
        face_color="transparent",
        border_color="white",
        border_width=0.08,
        scale=spots.scale,
        affine=spots.affine,
        canvas_size_limits=(16, 10000),
    )
    shown.viewer.add_layer(like)
    expected = width(shown.viewer, qtbot)
    assert expected >= 12
    assert abs(found - expected) <= 2


def test_rings_are_seen_where_their_slice_is(canvas):
    shown, _ = canvas
    shown.session.view.spot = Spot("slice2", 7)

    def seen():
        (rings,) = shown.marks("slice2")
        return rings.visible

    assert seen()
    shown.layer("slice2").visible = False
    assert not seen()
    shown.layer("slice2").visible = True
    shown.session.view.layout = "stack"
    shown.session.view.stack = StackView(mode="flicker")
    assert not seen()
    # The image alone, too.
    shown.session.view.stack = StackView(mode="flicker", part="image", front=1)
    assert not shown.layer("slice2").visible
    assert seen()
    shown.session.view.stack = StackView(mode="3d")
    assert not seen()


def test_rings_move_with_their_spots_from_cell_to_cell(canvas, qtbot):
    shown, _ = canvas
    shown.session.view.spot = Spot("slice2", 7)
    (rings,) = shown.marks("slice2")
    before = rings.parent
    # napari leaves out cells of which nothing is visible.
    for role in ("spots", "image"):
        shown.layer("slice1", role).visible = False
    qtbot.waitUntil(lambda: rings.parent is not before)
    assert shown.marks("slice2") == [rings]
    shown.session.view.layout = "mosaic"
    assert shown.marks("slice2") == [rings]


def test_rings_lie_above_the_slices_of_a_stack(canvas, qtbot):
    shown, _ = canvas
    shown.result.uns[K.STALIGNER]["transforms"].clear()
    shown.session.set_result(shown.result)
    shown.session.view.layout = "stack"
    for layer in shown.viewer.layers:
        layer.opacity = 0.5
    before = width(shown.viewer, qtbot)
    shown.session.view.spot = Spot("slice1", 27)
    assert before == 0 < width(shown.viewer, qtbot)
