"""Spots that are proposed for a class."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from napari.layers import Points

from napari_staligner import _keys as K
from napari_staligner.core.palette import to_rgba
from napari_staligner.core.result.access import spots_xy
from napari_staligner.layers.overlays.overlay import TissueOverlay

if TYPE_CHECKING:
    from collections.abc import Iterable

    from napari_staligner.session import Session

AGREED, CONTESTED = "#ffffff", "#e8871e"
"""Rims of spots that both ways propose, and of those that one of them does."""


class ProposalOverlay(TissueOverlay):
    """Proposed spots in the colour of the class, paler where less certain.

    A region is carried in two ways. Where the other way does not agree, the rim is orange; a spot
    that only the other way proposes is hollow.
    """

    role = K.Role.PROPOSAL
    order = 40

    def follows(self) -> Iterable[Any]:
        """The proposal."""
        return (self.session.annotations.proposal_changed,)

    def wanted(self, session: Session) -> bool:
        """Whether there is one."""
        return session.annotations.proposal is not None

    def make(self, name: str) -> Points:
        """Make the layer for a slice."""
        size = 1.15 * self.stage.spot_size(name)
        layer = Points(np.zeros((0, 2)), name=f"{name} proposal", size=size, border_color="white")
        layer.editable = False
        return layer

    def update(self, layer: Any, name: str) -> None:
        """Draw the proposed spots of a slice."""
        annotations, rows = self.session.annotations, self.session.result.rows(name)
        proposal = annotations.proposal
        if proposal is None or rows is None:
            layer.data = np.empty((0, 2))
            return
        by = proposal.confidence >= proposal.threshold
        other = by if proposal.other is None else proposal.other >= proposal.threshold
        here = np.isin(proposal.rows, rows) & (by | other)
        spots = np.searchsorted(rows, proposal.rows[here])
        layer.data = spots_xy(self.session.slices[name])[spots, ::-1]
        if len(spots) == 0:
            return
        rgba = np.tile(to_rgba([annotations.named(proposal.name).color]), (len(spots), 1))
        rgba[:, 3] = np.where(by[here], 0.15 + 0.85 * proposal.confidence[here], 0)
        layer.face_color = rgba
        layer.border_width = 0.12
        agreed = (by & other)[here]
        layer.border_color = np.where(agreed[:, None], to_rgba([AGREED]), to_rgba([CONTESTED]))
