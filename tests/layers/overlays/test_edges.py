"""Edges of graph and attention, from where to where."""

from __future__ import annotations

import numpy as np
from fakes import fake_result, fake_session

from napari_staligner import _keys as K
from napari_staligner.core.prepare.graph import graph_steps
from napari_staligner.core.progress import finish
from napari_staligner.core.settings import Settings
from napari_staligner.layers.overlays.attention import drawn_attention
from napari_staligner.layers.overlays.graph import graph_edges
from napari_staligner.session import Overlay, Session, Spot, StackView


def ends(edges, length=1.0):
    """Pairs of points ((y, x), (y, x))."""
    start = edges.vectors[:, 0]
    return np.stack([start, start + edges.vectors[:, 1] / length], axis=1)


def test_each_edge_of_the_graph_is_drawn_once_between_neighbours():
    session = fake_session()
    edges = graph_edges(session, "slice1")
    rows = session.result.rows("slice1")
    matrix = session.result.adata.obsp[K.CONNECTIVITIES][rows][:, rows]
    assert len(edges.vectors) == matrix.nnz / 2
    np.testing.assert_allclose(np.linalg.norm(edges.vectors[:, 1], axis=1), 10.0)
    points = {tuple(p) for p in session.slices["slice1"].obsm[K.SPATIAL][:, ::-1]}
    assert {tuple(p) for p in ends(edges).reshape(-1, 2)} <= points


def test_the_graph_of_the_present_settings_goes_before_that_of_the_result():
    session = fake_session()
    session.view.settings = settings = Settings(radius=15.0)
    job = session.slices.graph_job()
    session.slices.set_graphs(finish(graph_steps(job.coordinates, settings)), settings)
    assert (
        len(graph_edges(session, "slice1").vectors)
        > session.result.adata.obsp[K.CONNECTIVITIES].nnz / 4
    )
    longest = np.linalg.norm(graph_edges(session, "slice1").vectors[:, 1], axis=1).max()
    assert longest > 14


def test_no_graph_no_edges():
    session = Session()
    session.add(fake_result()[0])
    assert graph_edges(session, "slice1").vectors.shape == (0, 2, 2)
    assert drawn_attention(session, "slice1").vectors.shape == (0, 2, 2)


def test_attention_goes_half_way_from_receiver_to_sender():
    session = fake_session()
    session.view.attention = Overlay(shown=True, strongest=1)
    rows = session.result.rows("slice2")
    found = ends(drawn_attention(session, "slice2"), length=0.5)
    xy = session.slices["slice2"].obsm[K.SPATIAL]
    weights = session.result.adata.obsp[K.ATTENTION][rows][:, rows].toarray()
    np.fill_diagonal(weights, 0)
    strongest = {
        tuple(xy[i, ::-1]): tuple(xy[j, ::-1]) for i, j in enumerate(weights.argmax(axis=1))
    }
    assert {tuple(a): tuple(b) for a, b in found} == strongest


def test_strong_attention_is_drawn_last():
    session = fake_session()
    session.view.attention = Overlay(shown=True)
    rgba = drawn_attention(session, "slice1").rgba
    # plasma grows lighter
    assert rgba[0, :3].sum() < rgba[-1, :3].sum()
    assert len(np.unique(rgba, axis=0)) > 10


def test_isolation_keeps_what_the_domain_receives():
    session = fake_session()
    session.view.attention = Overlay(shown=True)
    session.view.isolated = ["2"]
    domains = session.result.adata.obs[K.DOMAIN].iloc[session.result.rows("slice1")].to_numpy()
    inside = session.slices["slice1"].obsm[K.SPATIAL][domains == "2", ::-1]
    starts = drawn_attention(session, "slice1").vectors[:, 0]
    assert {tuple(p) for p in starts} == {tuple(p) for p in inside}
    both = ends(graph_edges(session, "slice1")).reshape(-1, 2)
    assert {tuple(p) for p in both} <= {tuple(p) for p in inside}


def test_fewer_edges_than_before_are_drawn_on_a_layer_that_is_hidden(shown):
    """napari draws colours by what it saw last of a layer, and it sees none that is hidden."""
    session = shown.session
    session.set_result(shown.result)
    session.view.stack = StackView(mode="flicker")
    session.view.layout = "stack"
    session.view.attention = Overlay(shown=True)
    layer = shown.layer("slice2", "attention")
    assert not layer.visible
    many = len(layer.data)
    drawn = []
    # As a canvas does: it draws when it hears of colours or data.
    for event in (layer.events.edge_color, layer.events.set_data):
        event.connect(lambda event: drawn.append(len(layer._view_face_color)))
    session.view.spot = Spot("slice2", 30)
    session.view.attention = Overlay(shown=True, of_spot=True)
    session.view.stack = StackView(mode="flicker", front=1)
    assert layer.visible
    assert 0 < len(layer.data) < many
    # A line has two triangles.
    assert drawn[-1] == 2 * len(layer.data)
