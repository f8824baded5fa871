"""Links between slices: where the lines go in each layout, and their colours."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from fakes import fake_result, fake_session, fake_slice

from napari_staligner import _keys as K
from napari_staligner.core.palette import to_rgba
from napari_staligner.layers.overlays.links import PARTED, Ahead, drawn_links, link_lines
from napari_staligner.session import LinkView, Overlay, Spot, StackView


def flat(name, xy):
    """A world in which all slices lie as they came."""
    return np.column_stack([np.zeros(len(xy)), xy[:, ::-1]])


@pytest.fixture
def linked(shown):
    """Two integrated slices, side by side, with their links."""
    shown.session.set_result(shown.result)
    shown.session.view.layout = "mosaic"
    shown.session.view.links = LinkView(shown=True)
    return shown


def ends(layer):
    """Pairs of ends in the world, (links, 2, 3)."""
    return np.stack([layer.data[:, 0], layer.data.sum(axis=1)], axis=1)


def links(shown):
    (layer,) = shown.layers("links")
    return layer


def check_ends(shown):
    """Each line joins a spot of the first slice and its match, where these are drawn."""
    layer = links(shown)
    role = "solid" if shown.viewer.dims.ndisplay == 3 else "spots"
    first, second = (shown.layer(name, role) for name in ("slice1", "slice2"))
    expected = set()
    for i in range(50):
        pair = [np.round(x.data_to_world(x.data[i]), 6) for x in (first, second)]
        expected.add(tuple(tuple(np.r_[np.zeros(3 - len(p)), p]) for p in pair))
    found = {tuple(tuple(p) for p in pair) for pair in np.round(ends(layer), 6) + 0.0}
    assert found == expected


@pytest.mark.parametrize("layout", ["mosaic", "stack"])
def test_lines_join_matches_wherever_the_slices_are(linked, layout):
    linked.session.view.layout = layout
    assert links(linked).visible
    check_ends(linked)


def test_lines_join_matches_in_3d(linked):
    linked.session.view.stack = StackView(mode="3d", spacing=0.5)
    linked.session.view.layout = "stack"
    check_ends(linked)
    assert np.ptp(ends(links(linked))[..., 0]) > 0
    linked.session.view.stack = StackView(mode="3d", spacing=0.2)
    check_ends(linked)
    linked.session.view.stack = StackView()
    check_ends(linked)


def test_the_grid_has_no_links(linked):
    linked.session.view.layout = "grid"
    assert not linked.layers("links")
    grid = linked.viewer.canvas.grid
    assert grid.stride == len(linked.viewer.layers) / 2
    assert sorted(grid.actual_shape(linked.viewer.layers)) == [1, 2], "rows by the window's shape"


def test_without_a_link_to_draw_napari_offers_no_depth(linked):
    linked.session.view.layout = "mosaic"
    assert len(links(linked).data)
    linked.session.view.links = LinkView(shown=True, of_spot=True)
    assert not linked.layers("links")
    assert linked.viewer.dims.ndim == 2
    linked.session.view.spot = Spot("slice1", 3)
    assert len(links(linked).data) == 1


def test_links_are_one_layer_above_all_slices(linked):
    linked.session.add([("slice3", fake_slice(40))])
    linked.session.view.attention = Overlay(shown=True)
    linked.session.view.links = LinkView(shown=True)
    for layout in ("stack", "grid", "mosaic"):
        linked.session.view.layout = layout
    assert linked.viewer.layers.index(links(linked)) == 9
    linked.session.view.links = LinkView()
    assert not linked.layers("links")


def test_without_links_in_the_result_there_is_no_layer(shown):
    del shown.result.obsp[K.MUTUAL]
    shown.session.set_result(shown.result)
    shown.session.view.layout, shown.session.view.links = "stack", LinkView(shown=True)
    assert not shown.layers("links")


def test_another_colour_of_a_domain_moves_no_line(linked):
    layer, moved = links(linked), []
    before = layer.edge_color.copy()
    layer.events.data.connect(moved.append)
    linked.session.domains.recolor("1", "#123456")
    assert not moved
    changed = (layer.edge_color != before).any(axis=1)
    np.testing.assert_allclose(
        layer.edge_color[changed], np.tile(to_rgba(["#123456"]), (changed.sum(), 1))
    )
    assert 0 < changed.sum() < len(changed)


def test_links_have_the_domain_of_both_ends():
    session = fake_session()
    lines, drawn = link_lines(session, flat), drawn_links(session)
    codes = session.result.adata.obs[K.DOMAIN].cat.codes.to_numpy()
    table = to_rgba(list(session.domains.colors.values()))
    order = np.lexsort((-drawn.links.distance, drawn.of_spot))
    first, second = codes[drawn.links.first[order]], codes[drawn.links.second[order]]
    same = first == second
    assert 0 < same.sum() < len(same)
    np.testing.assert_allclose(lines.rgba[same], table[first[same]])
    np.testing.assert_allclose(lines.rgba[~same], np.tile(PARTED, ((~same).sum(), 1)))
    assert drawn.parted == (~same).mean()


def test_new_labels_give_new_colours():
    session = fake_session()
    before = drawn_links(session).parted
    assert before > 0
    from napari_staligner.core.settings import Settings

    session.domains.relabel(np.zeros(session.result.adata.n_obs, dtype=int), Settings(domains=2))
    assert drawn_links(session).parted == 0


def test_the_same_question_is_answered_once():
    session = fake_session()
    assert drawn_links(session) is drawn_links(session)
    session.view.links = replace(session.view.links, most=10)
    assert len(drawn_links(session).links) <= 10


def test_links_found_ahead_are_those_shown_later():
    session = fake_session((60, 50, 40))
    rows = session.result.by_slice["slice1"][:20]
    now = drawn_links(session)
    ahead = drawn_links(session, Ahead(frozenset({"slice1", "slice2"}), rows))
    assert 0 < ahead.exist < now.exist
    assert set(ahead.links.first) <= set(rows)
    assert drawn_links(session) is now
    session.paging.show_only(("slice1", "slice2"))
    session.result.selection = rows
    assert drawn_links(session) is ahead


def test_links_of_an_earlier_result_are_not_shown():
    session = fake_session()
    before = drawn_links(session)
    other = session.result.adata.copy()
    other.obsp[K.MUTUAL] = other.obsp[K.MUTUAL].copy()
    other.obsp[K.MUTUAL].data *= 2
    session.set_result(other, saved=True)
    np.testing.assert_allclose(
        np.sort(drawn_links(session).links.distance), 2 * np.sort(before.links.distance)
    )


def test_links_of_the_spot_stand_out():
    session = fake_session()
    session.view.spot = Spot("slice2", 30)
    lines, drawn = link_lines(session, flat), drawn_links(session)
    assert len(drawn.links) == 50
    assert drawn.of_spot.sum() == 1
    assert lines.rgba[-1, 3] == 1
    assert (lines.rgba[:-1, 3] < 0.5).all()
    np.testing.assert_allclose(
        lines.vectors[-1, 0, 1:], session.slices["slice1"].obsm[K.SPATIAL][30, ::-1]
    )


def test_the_spots_links_are_drawn_even_if_thinning_leaves_them_out():
    session = fake_session()
    session.view.links = LinkView(shown=True, most=1)
    for row in (3, 30):
        session.view.spot = Spot("slice1", row)
        drawn = drawn_links(session)
        assert drawn.links.first[drawn.of_spot] == [row]
        assert len(drawn.links) <= 2


def test_only_links_of_the_two_slices_that_are_compared():
    session = fake_session((40, 40, 40))
    assert drawn_links(session).exist == 40
    session.view.stack = StackView(mode="swipe", pair=("slice1", "slice3"))
    assert drawn_links(session).exist == 40
    session.view.layout = "stack"
    assert drawn_links(session).exist == 0


def test_no_links_no_lines():
    session = fake_session()
    del session.result.adata.obsp[K.MUTUAL]
    assert drawn_links(session) is None
    assert link_lines(session, flat).vectors.shape == (0, 2, 3)


def test_a_click_shows_the_matches(canvas):
    shown, mouse = canvas
    shown.session.view.layout = "mosaic"
    shown.session.view.links = LinkView(shown=True, of_spot=True)
    layer = shown.layer("slice1")
    mouse.click(mouse.pixel(layer.data_to_world(layer.data[23])))
    assert shown.session.view.spot == Spot("slice1", 23)
    (line,) = ends(links(shown))
    other = shown.layer("slice2")
    np.testing.assert_allclose(line[1, 1:], other.data_to_world(other.data[23]))


def test_links_go_with_their_slices(linked, qtbot):
    linked.session.slices.remove("slice2")
    assert not linked.layers("links")
    slices, result = fake_result()
    linked.session.slices.clear()
    linked.session.add(slices)
    linked.session.set_result(result)
    linked.session.view.links = LinkView()
    linked.session.view.links = LinkView(shown=True)
    assert len(links(linked).data) == 50
