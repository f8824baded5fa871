"""Edges between spots as vectors: the spatial graph and the attention."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_staligner import _keys as K
from napari_staligner.core.result.access import spots_xy
from napari_staligner.layers.colors import isolated_spots

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from scipy.sparse import csr_matrix

    from napari_staligner.session import Session

GRAPH_RGBA = (1.0, 1.0, 1.0, 0.8)
ATTENTION_COLORMAP = "plasma"


@dataclass(frozen=True)
class Edges:
    """Edges of one slice.

    Parameters
    ----------
    vectors
        Start and direction in (y, x), float64, shape (edges, 2, 2): napari's vectors.
    rgba
        Colour of each, float32, shape (edges, 4).
    """

    vectors: NDArray[np.float64]
    rgba: NDArray[np.float32]


def graph_edges(session: Session, name: str) -> Edges:
    """Edges of the spatial graph of a slice, each drawn once, from centre to centre.

    The graph is the session's for the present settings, or else the one of the result. With
    isolated domains, only edges inside those.
    """
    xy = spots_xy(session.slices[name])
    graph = _graph(session, name)
    if graph is None:
        return _nothing(xy)
    coo = graph.tocoo()
    once = coo.row < coo.col
    ends = np.stack([coo.row[once], coo.col[once]]).astype(np.intp)
    shown = isolated_spots(session, name)
    if shown is not None:
        ends = ends[:, shown[ends].all(axis=0)]
    rgba = np.tile(np.array(GRAPH_RGBA, np.float32), (ends.shape[1], 1))
    return _drawn(xy, ends, 1.0, rgba)


def attention_edges(session: Session, name: str) -> Edges:
    """Edges of the attention of a slice, as the session's overlay says.

    Each is drawn from the centre of the receiving spot half-way to the sender, so that the
    weights of both directions are seen; the colour is the weight on a scale that all slices
    share. With isolated domains, only what their spots receive; of the chosen spot alone, both
    halves of its edges: the near one is what it takes, the far one what it gives.
    """
    from napari_staligner.core.result import attention

    xy, rows, result = (
        spots_xy(session.slices[name]),
        session.result.rows(name),
        session.result.adata,
    )
    if rows is None or result is None or K.ATTENTION not in result.obsp:
        return _nothing(xy)
    overlay, spot = session.view.attention, session.view.spot
    limits: dict[str, Any] = {"threshold": overlay.threshold, "strongest": overlay.strongest}
    if not overlay.of_spot:
        shown = isolated_spots(session, name)
        wanted = rows if shown is None else rows[shown]
        receivers, senders, weights = attention.attention_edges(result, wanted, **limits)
    elif spot is not None and spot.slice == name:
        receivers, senders, weights = attention.spot_edges(result, rows[spot.row], **limits)
    else:
        return _nothing(xy)
    ends = np.searchsorted(rows, np.stack([receivers, senders]))
    # Weak edges first: strong ones are drawn over them.
    order = np.argsort(weights, kind="stable")
    rgba = weight_rgba(weights[order], attention.top_weight(result))
    return _drawn(xy, ends[:, order], 0.5, rgba)


def weight_rgba(weights: NDArray[np.float32], top: float) -> NDArray[np.float32]:
    """Colour of attention weights, 0 to ``top``."""
    from napari.utils.colormaps import ensure_colormap

    if len(weights) == 0:
        return np.empty((0, 4), np.float32)
    return ensure_colormap(ATTENTION_COLORMAP).map(np.clip(weights / top, 0, 1))


def _graph(session: Session, name: str) -> csr_matrix | None:
    if name in session.slices.graphs:
        return session.slices.graphs[name].connectivities
    rows = session.result.rows(name)
    if (
        rows is None
        or session.result.adata is None
        or K.CONNECTIVITIES not in session.result.adata.obsp
    ):
        return None
    return session.result.adata.obsp[K.CONNECTIVITIES].tocsr()[rows][:, rows]


def _nothing(xy: NDArray[np.float64]) -> Edges:
    return _drawn(xy, np.empty((2, 0), dtype=np.intp), 1.0, np.empty((0, 4), np.float32))


def _drawn(
    xy: NDArray[np.float64], ends: NDArray[np.intp], length: float, rgba: NDArray[np.float32]
) -> Edges:
    start = xy[ends[0], ::-1]
    return Edges(np.stack([start, length * (xy[ends[1], ::-1] - start)], axis=1), rgba)
