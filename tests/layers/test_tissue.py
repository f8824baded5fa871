"""The viewer shows what the session holds, and the session holds what the user opens."""

from __future__ import annotations

import gc
import weakref
from collections import Counter

import numpy as np
import pytest
from fakes import FACTOR, fake_result, fake_session, fake_slice
from napari.components import ViewerModel
from napari.layers import Layer
from spatialdata.models import get_table_keys

from napari_staligner import _keys as K
from napari_staligner.core.palette import to_rgba
from napari_staligner.io.session_file import Content
from napari_staligner.layers import legend, open_session, sample_olfactory_bulb
from napari_staligner.layers.fast_points import FastSpots
from napari_staligner.layers.layer_data import content_layers, slice_layers
from napari_staligner.layers.overlays import attention, graph
from napari_staligner.session import ColorBy, LinkView, Overlay, Spot, StackView, View


def names(viewer):
    return [layer.name for layer in viewer.layers]


def add(viewer, layer_data):
    for one in layer_data:
        viewer.add_layer(Layer.create(*one))


def test_a_viewer_has_one_session(make_napari_viewer_proxy):
    viewer = make_napari_viewer_proxy()
    session = open_session(viewer)
    assert open_session(viewer) is session
    assert open_session(viewer.__wrapped__) is session


def test_session_and_layers_end_with_the_viewer(qtbot):
    viewer = ViewerModel()
    session = open_session(viewer)
    session.add(fake_result()[0])
    session.view.graph_shown = True
    session.view.spot = Spot("slice1", 3)
    kept = [weakref.ref(x) for x in (viewer, session, viewer.layers[0])]
    del viewer, session
    gc.collect()
    assert [ref() for ref in kept] == [None, None, None]


def test_a_slice_is_an_image_and_spots(shown):
    assert names(shown.viewer) == ["slice1 image", "slice1", "slice2 image", "slice2"]
    assert shown.layer("slice1", "image").rgb
    assert len(shown.layer("slice2").data) == shown.slices[1][1].n_obs


@pytest.mark.parametrize("layout", ["grid", "mosaic", "stack"])
def test_spots_sit_on_their_pixels(shown, layout):
    shown.session.view.layout = layout
    for name, adata in shown.slices:
        spots, image = shown.layer(name), shown.layer(name, "image")
        for row in (0, 17):
            x, y = adata.obsm[K.SPATIAL][row]
            pixel = (round(y * FACTOR), round(x * FACTOR))
            assert image.data[pixel].tolist() == [60, 20, 90]
            world = spots.data_to_world(spots.data[row])
            assert world == pytest.approx(image.data_to_world(pixel))
            assert image.world_to_data(world) == pytest.approx(pixel)


def test_spots_nearly_touch_and_cannot_be_moved(shown):
    layer = shown.layer("slice1")
    assert layer.size == pytest.approx(9.5)
    assert not layer.border_width.any()
    assert not layer.editable


def test_slices_without_spatialdata_are_known_to_its_widgets(shown):
    name, adata = shown.slices[0]
    metadata = shown.layer(name).metadata
    table = metadata["adata"]
    assert table.X is adata.X
    region, _, instance = get_table_keys(table)
    assert metadata["name"] == region == name
    assert metadata["_n_indices"] == adata.n_obs
    assert metadata["indices"] == table.obs[instance].to_list() == list(range(adata.n_obs))
    assert adata.obs.columns.to_list() == ["region", "depth"]
    # Given a name of a table, the widgets would look for a SpatialData object.
    assert [metadata[k] for k in ("region_key", "instance_key", "table_names")] == [None] * 3
    assert "spatialdata_attrs" not in adata.uns


def test_a_slice_without_image_has_spots_only(viewer):
    open_session(viewer).add([("bare", fake_slice(30, image=False))])
    assert names(viewer) == ["bare"]


# -- layers that come from files ---------------------------------------------------------------


@pytest.mark.parametrize("opened_first", [True, False])
def test_slices_opened_in_the_viewer_join_the_session(viewer, opened_first):
    slices, _ = fake_result()
    if opened_first:
        session = open_session(viewer)
        add(viewer, slice_layers(slices))
    else:
        add(viewer, slice_layers(slices))
        session = open_session(viewer)
    assert list(session.slices) == ["slice1", "slice2"]
    assert session.slices["slice2"] is slices[1][1]
    assert names(viewer) == ["slice1 image", "slice1", "slice2 image", "slice2"]


def test_a_slice_opened_twice_gets_another_name(shown):
    again = [(name, adata.copy()) for name, adata in shown.slices[:1]]
    add(shown.viewer, slice_layers(again))
    assert list(shown.session.slices) == ["slice1", "slice2", "slice1 (2)"]
    assert names(shown.viewer)[-2:] == ["slice1 (2) image", "slice1 (2)"]
    assert shown.layer("slice1 (2)").metadata[K.LAYER_ADATA] is again[0][1]


def test_a_result_opened_in_the_viewer_becomes_the_result(viewer):
    session = open_session(viewer)
    slices, result = fake_result()
    add(viewer, content_layers(Content(slices, result)))
    assert session.result.adata is result
    assert session.saved
    assert session.domains.names == ("1", "2", "3", "4")
    # The result is held by the session alone: a new one lets it go.
    assert not any(K.LAYER_CONTENT in layer.metadata for layer in viewer.layers)


def test_a_file_is_opened_in_one_call_once_its_last_layer_has_come(viewer):
    session = open_session(viewer)
    told = []
    for part in (session.slices, session.result):
        part.changed.connect(lambda part=part: told.append(type(part).__name__))
    slices, result = fake_result()
    *first, last = content_layers(Content(slices, result))
    add(viewer, first)
    assert not session.slices
    add(viewer, [last])
    assert told == ["Slices", "Result"]
    assert names(viewer) == ["slice1 image", "slice1", "slice2 image", "slice2"]


@pytest.mark.parametrize("kept", [0, 1])
def test_of_a_file_that_lost_a_layer_before_the_session_the_others_are_slices(viewer, kept):
    slices, _ = fake_result()
    add(viewer, slice_layers(slices))
    gone, left = slices[1 - kept], slices[kept]
    viewer.layers.remove(gone[0])
    viewer.layers.remove(f"{gone[0]} image")
    assert list(open_session(viewer).slices.values()) == [left[1]]
    assert names(viewer) == [f"{left[0]} image", left[0]]


def test_files_dropped_one_by_one_are_slices_of_one_session(viewer):
    session = open_session(viewer)
    slices, _ = fake_result()
    for one in slices:
        add(viewer, slice_layers([one]))
    assert list(session.slices.values()) == [adata for _, adata in slices]


def test_layers_are_coloured_before_the_session_as_it_colours_them(viewer):
    before = fake_session()
    before.view.color_by = ColorBy("gene", "gene3")
    content = Content(list(before.slices.items()), before.result.adata, view=before.view.to_json())
    add(viewer, content_layers(content))
    colors = {name: viewer.layers[name].face_color.copy() for name in before.slices}
    session = open_session(viewer)
    assert session.view.color_by == before.view.color_by
    for name, rgba in colors.items():
        assert len(np.unique(rgba, axis=0)) > 3
        np.testing.assert_array_equal(viewer.layers[name].face_color, rgba)


def test_a_result_whose_names_are_taken_is_renamed_throughout(shown):
    slices, result = fake_result(seed=1)
    add(shown.viewer, content_layers(Content(slices, result)))
    expected = ["slice1 (2)", "slice2 (2)"]
    assert shown.session.result.adata is result
    assert list(result.obs[K.SLICE].cat.categories) == expected
    recorded = result.uns[K.STALIGNER]
    assert list(recorded["transforms"]) == list(recorded["slices"]) == expected
    assert recorded["pairs"].tolist() == [expected]
    assert set(result.uns[K.SPATIAL]) == set(expected)


def test_the_view_of_slices_that_were_renamed_is_not_taken_for_that_of_others(shown):
    slices, result = fake_result(seed=1)
    view = View(spot=Spot("slice1", 3), layout="mosaic").to_json()
    add(shown.viewer, content_layers(Content(slices, result, view=view)))
    assert shown.session.result.adata is result
    assert shown.session.view.spot is None


def test_the_copy_of_a_layer_is_no_slice(shown):
    layer = shown.layer("slice1")
    data, options, kind = layer.as_layer_data_tuple()
    shown.viewer.add_layer(Layer.create(data, options | {"name": "copy"}, kind))
    assert list(shown.session.slices) == ["slice1", "slice2"]
    shown.viewer.layers.remove("copy")
    assert list(shown.session.slices) == ["slice1", "slice2"]


def test_the_sample_opens_as_two_slices(viewer, monkeypatch, bulb):
    from napari_staligner import samples

    monkeypatch.setattr(samples, "simulated_olfactory_bulb", lambda: bulb)
    add(viewer, sample_olfactory_bulb())
    assert list(open_session(viewer).slices) == ["Slide-seqV2", "Stereo-seq"]
    assert len(viewer.layers) == 4


# -- layers that go ----------------------------------------------------------------------------


def test_removing_a_slice_removes_its_layers(shown):
    shown.session.view.graph_shown = True
    shown.session.slices.remove("slice1")
    assert names(shown.viewer) == ["slice2 image", "slice2", "slice2 neighbours"]


def test_deleting_the_spots_removes_the_slice(shown, qtbot):
    shown.viewer.layers.remove("slice1")
    assert list(shown.session.slices) == ["slice2"]
    qtbot.waitUntil(lambda: names(shown.viewer) == ["slice2 image", "slice2"])


def test_deleting_all_selected_layers_of_a_slice(shown, qtbot):
    shown.viewer.layers.selection = {shown.layer("slice1"), shown.layer("slice1", "image")}
    shown.viewer.layers.remove_selected()
    assert list(shown.session.slices) == ["slice2"]
    qtbot.waitUntil(lambda: names(shown.viewer) == ["slice2 image", "slice2"])


def test_clearing_the_viewer_empties_the_session(shown):
    shown.session.set_result(shown.result)
    shown.viewer.layers.clear()
    assert not shown.session.slices
    assert shown.session.result.adata is None
    assert not shown.viewer.canvas.grid.enabled


def test_a_deleted_image_stays_away(shown, qtbot):
    shown.viewer.layers.remove("slice1 image")
    shown.session.set_result(shown.result)
    shown.session.view.layout = "mosaic"
    assert list(shown.session.slices) == ["slice1", "slice2"]
    assert "slice1 image" not in names(shown.viewer)


def test_deleted_edges_stay_away_until_asked_for_again(shown, qtbot):
    shown.session.set_result(shown.result)
    shown.session.view.graph_shown = True
    shown.viewer.layers.remove("slice1 neighbours")
    shown.session.view.isolated = ["1"]
    assert "slice1 neighbours" not in names(shown.viewer)
    shown.session.view.graph_shown = False
    shown.session.view.graph_shown = True
    assert len(shown.layer("slice1", "graph").data) > 0


def test_a_slice_that_is_replaced_under_its_name_is_shown_anew(shown):
    shown.session.slices.remove("slice2")
    other = fake_slice(35)
    shown.session.add([("slice2", other)])
    assert len(shown.layer("slice2").data) == 35
    assert names(shown.viewer) == ["slice1 image", "slice1", "slice2 image", "slice2"]


# -- overlays ----------------------------------------------------------------------------------


def test_overlays_are_there_while_they_are_switched_on(shown):
    shown.session.set_result(shown.result)
    before = list(shown.viewer.layers)
    for _ in range(2):
        shown.session.view.graph_shown = True
        made = [layer for layer in shown.viewer.layers if layer not in before]
        assert [layer.name for layer in made] == ["slice1 neighbours", "slice2 neighbours"]
        assert all(layer.visible and len(layer.data) for layer in made)
        shown.session.view.graph_shown = False
        assert list(shown.viewer.layers) == before


def test_an_overlay_that_goes_leaves_selection_and_view_alone(shown):
    shown.session.set_result(shown.result)
    shown.session.view.graph_shown = True
    camera = shown.viewer.scene.camera
    camera.center, camera.zoom = (0, 33.0, 44.0), 5.5
    shown.viewer.layers.selection = {shown.layer("slice1"), shown.layer("slice2", "graph")}
    shown.session.view.graph_shown = False
    assert set(shown.viewer.layers.selection) == {shown.layer("slice1")}
    assert (camera.center, camera.zoom) == ((0, 33.0, 44.0), 5.5)


def test_edges_of_a_result_that_goes_with_a_deleted_slice_are_drawn_no_more(shown, qtbot):
    shown.session.set_result(shown.result)
    shown.session.view.graph_shown = True
    assert len(shown.layer("slice2", "graph").data)
    shown.viewer.layers.remove("slice1")
    qtbot.waitUntil(lambda: len(shown.layer("slice2", "graph").data) == 0)


def test_a_slice_added_later_gets_the_overlays_of_the_others(shown):
    shown.session.set_result(shown.result)
    shown.session.view.graph_shown = True
    shown.session.view.attention = Overlay(shown=True)
    shown.session.add([("slice3", fake_slice(20))])
    assert shown.layer("slice3", "graph").visible
    assert len(shown.layer("slice3", "attention").data) == 0


def test_attention_follows_the_overlay_in_place(shown):
    shown.session.set_result(shown.result)
    shown.session.view.attention = Overlay(shown=True)
    layer = shown.layer("slice1", "attention")
    n_all = len(layer.data)
    shown.session.view.attention = Overlay(shown=True, strongest=1)
    assert shown.layer("slice1", "attention") is layer
    assert len(layer.data) == 60 < n_all
    shown.session.view.attention = Overlay(shown=True, threshold=2.0)
    assert len(layer.data) == 0
    shown.session.view.attention = Overlay(shown=True)
    assert len(layer.data) == n_all == len(layer.edge_color)


def test_isolation_cuts_the_edges_to_the_domain(shown):
    shown.session.set_result(shown.result)
    shown.session.view.graph_shown = True
    layer = shown.layer("slice1", "graph")
    n_all = len(layer.data)
    shown.session.view.isolated = ["2"]
    assert 0 < len(layer.data) < n_all
    shown.session.view.isolated = []
    assert len(layer.data) == n_all


def test_a_new_result_is_drawn_in_the_same_layers(shown):
    shown.session.set_result(shown.result)
    shown.session.view.graph_shown = True
    before = list(shown.viewer.layers)
    _, other = fake_result(seed=5, n_domains=3)
    shown.session.set_result(other)
    assert list(shown.viewer.layers) == before


def test_the_selection_of_layers_is_left_alone(shown):
    spots = shown.layer("slice1")
    shown.viewer.layers.selection = {spots}
    shown.session.set_result(shown.result)
    shown.session.view.graph_shown = True
    shown.session.view.spot = Spot("slice2", 7)
    shown.session.view.layout = "mosaic"
    assert set(shown.viewer.layers.selection) == {spots}


def test_one_size_of_spots_for_all_slices(shown):
    session = shown.session
    before = {name: shown.layer(name).size.copy() for name in session.slices}
    session.view.spot_scale = 0.5
    for name, size in before.items():
        assert shown.layer(name).size == pytest.approx(0.5 * size)
    # A slice that comes later, and the spots in 3-D.
    session.set_result(shown.result)
    session.view.layout, session.view.stack = "stack", StackView(mode="3d")
    assert shown.layer("slice1", "solid").size == pytest.approx(0.5 * before["slice1"])
    session.add([("late", fake_slice(40))])
    assert shown.layer("late").size == pytest.approx(0.5 * before["slice1"][0])
    session.view.spot_scale = 1.0
    assert shown.layer("slice2").size == pytest.approx(before["slice2"])


# -- colours -----------------------------------------------------------------------------------


@pytest.fixture
def redrawn(shown, monkeypatch):
    """All that is drawn, counted: edges that are looked up, and what their layers are told."""
    shown.session.set_result(shown.result)
    shown.session.view.layout = "mosaic"
    shown.session.view.graph_shown = True
    shown.session.view.attention = Overlay(shown=True)
    shown.session.view.links = LinkView(shown=True, color="distance")
    counts = Counter()
    for module, name in ((graph, "graph_edges"), (attention, "drawn_attention")):
        find = getattr(module, name)

        def counted(*args, find=find, name=name):
            counts[name] += 1
            return find(*args)

        monkeypatch.setattr(module, name, counted)
    for role in ("graph", "attention", "links"):
        for layer in shown.layers(role):
            for event in (layer.events.data, layer.events.set_data, layer.events.edge_color):
                event.connect(lambda event, role=role: counts.update([f"{role} drawn"]))
    send = FastSpots.recolor
    monkeypatch.setattr(FastSpots, "recolor", lambda *args: (counts.update(["spots"]), send(*args)))
    return counts


def test_a_new_colour_of_a_domain_redraws_no_edges(shown, redrawn):
    shown.session.domains.recolor("2", "#123456")
    assert redrawn == {"spots": 2}
    codes = shown.result.obs[K.DOMAIN].cat.codes.to_numpy()[shown.session.result.rows("slice2")]
    of_domain = shown.layer("slice2").face_color[codes == 1]
    np.testing.assert_allclose(of_domain, np.tile(to_rgba(["#123456"]), (len(of_domain), 1)))


def test_a_new_name_of_a_domain_redraws_nothing(shown, redrawn):
    shown.session.domains.rename("2", "white matter")
    assert not redrawn
    assert "white matter" in dict(legend(shown.session).entries)


def test_other_domains_redraw_all_of_it(shown, redrawn):
    """So that the counts above can be believed."""
    shown.session.view.isolated = {"2"}
    assert redrawn["graph_edges"] == redrawn["drawn_attention"] == redrawn["spots"] == 2
    assert redrawn["graph drawn"] > 1 < redrawn["attention drawn"]
