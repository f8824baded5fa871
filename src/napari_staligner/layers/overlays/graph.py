"""The spatial graph as edges between spots."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from napari_staligner import _keys as K
from napari_staligner.core.result.access import spots_xy
from napari_staligner.layers.colors import isolated_spots
from napari_staligner.layers.overlays.overlay import TissueOverlay
from napari_staligner.layers.overlays.vectors import (
    Edges,
    edges_between,
    no_edges,
    set_vectors,
    vectors_layer,
)

if TYPE_CHECKING:
    from collections.abc import Iterable

    from napari.layers import Vectors
    from scipy.sparse import csr_matrix

    from napari_staligner.session import Session

GRAPH_RGBA = (1.0, 1.0, 1.0, 0.8)
_WIDTH = 0.05
"""Width of an edge, as a share of the size of a spot."""


class GraphOverlay(TissueOverlay):
    """Edges of the spatial graph of each slice."""

    role = K.Role.GRAPH
    order = 10

    def follows(self) -> Iterable[Any]:
        """What is shown, the graphs, and the isolated domains."""
        session = self.session
        return (
            session.view.events.graph_shown,
            session.slices.graphs_changed,
            session.view.events.isolated,
            session.domains.relabelled,
            session.result.changed,
        )

    def wanted(self, session: Session) -> bool:
        """Whether the graph is shown."""
        return session.view.graph_shown

    def make(self, name: str) -> Vectors:
        """Make the layer for a slice."""
        return vectors_layer(f"{name} neighbours", _WIDTH * self.stage.spot_size(name))

    def update(self, layer: Any, name: str) -> None:
        """Draw the edges of a slice."""
        edges = graph_edges(self.session, name)
        set_vectors(layer, edges.vectors, edges.rgba)


def graph_edges(session: Session, name: str) -> Edges:
    """Edges of the spatial graph of a slice, each drawn once, from centre to centre.

    The graph is the session's for the present settings, or else the result's. With isolated
    domains, only edges inside them.
    """
    graph = _graph(session, name)
    if graph is None:
        return no_edges()
    coo = graph.tocoo()
    once = coo.row < coo.col
    ends = np.stack([coo.row[once], coo.col[once]]).astype(np.intp)
    shown = isolated_spots(session, name)
    if shown is not None:
        ends = ends[:, shown[ends].all(axis=0)]
    rgba = np.tile(np.array(GRAPH_RGBA, np.float32), (ends.shape[1], 1))
    return edges_between(spots_xy(session.slices[name]), ends, 1.0, rgba)


def _graph(session: Session, name: str) -> csr_matrix | None:
    if name in session.slices.graphs:
        return session.slices.graphs[name].connectivities
    rows, result = session.result.rows(name), session.result.adata
    if rows is None or result is None or K.CONNECTIVITIES not in result.obsp:
        return None
    return result.obsp[K.CONNECTIVITIES].tocsr()[rows][:, rows]
