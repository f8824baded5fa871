"""The attention as edges from receiving to sending spots."""

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
    set_width,
    vectors_layer,
)

if TYPE_CHECKING:
    from collections.abc import Iterable

    from napari.layers import Vectors
    from numpy.typing import NDArray

    from napari_staligner.layers.stage import Stage
    from napari_staligner.session import Session

ATTENTION_COLORMAP = "plasma"
_WIDTH, _WIDTH_OF_SPOT = 0.12, 0.3
"""Width of edges, as a share of the size of a spot: if all are drawn, or only the chosen spot's."""


class AttentionOverlay(TissueOverlay):
    """Edges of the attention of each slice."""

    role = K.Role.ATTENTION
    order = 20

    def __init__(self, stage: Stage) -> None:
        super().__init__(stage)
        self.session.view.events.spot.connect(self._on_spot_changed)

    def follows(self) -> Iterable[Any]:
        """What is shown, the attention, and the isolated domains."""
        session = self.session
        return (
            session.view.events.attention,
            session.view.events.isolated,
            session.domains.relabelled,
            session.result.changed,
        )

    def _on_spot_changed(self) -> None:
        if self.session.view.attention.of_spot:
            self.due.emit()

    def wanted(self, session: Session) -> bool:
        """Whether the attention is shown."""
        return session.view.attention.shown

    def make(self, name: str) -> Vectors:
        """Make the layer for a slice."""
        return vectors_layer(f"{name} attention", self._width(name))

    def update(self, layer: Any, name: str) -> None:
        """Draw the edges of a slice."""
        edges = drawn_attention(self.session, name)
        set_width(layer, self._width(name))
        set_vectors(layer, edges.vectors, edges.rgba)

    def _width(self, name: str) -> float:
        share = _WIDTH_OF_SPOT if self.session.view.attention.of_spot else _WIDTH
        return share * self.stage.spot_size(name)


def drawn_attention(session: Session, name: str) -> Edges:
    """Edges of the attention of a slice, as the session's overlay says.

    Each is drawn from the centre of the receiving spot half-way to the sender, so that the
    weights of both directions are visible. The colour is the weight, on a scale that all slices
    share. With isolated domains, only edges received by their spots are drawn. If only the chosen
    spot is shown, both halves of its edges are drawn: the near half is what it receives, the far
    half what it sends.
    """
    from napari_staligner.core.result import attention

    rows, result = session.result.rows(name), session.result.adata
    if rows is None or result is None or K.ATTENTION not in result.obsp:
        return no_edges()
    overlay, spot = session.view.attention, session.view.spot
    limits: dict[str, Any] = {"threshold": overlay.threshold, "strongest": overlay.strongest}
    if not overlay.of_spot:
        shown = isolated_spots(session, name)
        wanted = rows if shown is None else rows[shown]
        receivers, senders, weights = attention.attention_edges(result, wanted, **limits)
    elif spot is not None and spot.slice == name:
        receivers, senders, weights = attention.spot_edges(result, rows[spot.row], **limits)
    else:
        return no_edges()
    ends = np.searchsorted(rows, np.stack([receivers, senders]))
    # Weak edges first: strong ones are drawn over them.
    order = np.argsort(weights, kind="stable")
    rgba = weight_rgba(weights[order], attention.top_weight(result))
    return edges_between(spots_xy(session.slices[name]), ends[:, order], 0.5, rgba)


def weight_rgba(weights: NDArray[np.float32], top: float) -> NDArray[np.float32]:
    """Colour of attention weights, 0 to ``top``."""
    from napari.utils.colormaps import ensure_colormap

    if len(weights) == 0:
        return np.empty((0, 4), np.float32)
    return ensure_colormap(ATTENTION_COLORMAP).map(np.clip(weights / top, 0, 1))
