"""Which stages after training integrated slices lack."""

from __future__ import annotations

from typing import TYPE_CHECKING

from napari_staligner import _keys as K
from napari_staligner.core.attempt import (
    CONFIDENCE,
    DOMAINS,
    MATCHES,
    PRESENCE,
    REGISTRATION,
    LaterStage,
    drop_notes,
)
from napari_staligner.core.domains.presence import recorded_presence
from napari_staligner.core.result.access import record_of

if TYPE_CHECKING:
    from anndata import AnnData


def missing_stages(adata: AnnData) -> tuple[LaterStage, ...]:
    """Which stages integrated slices lack, among those that can be computed again.

    Parameters
    ----------
    adata
        Integrated slices.
    """
    kept = record_of(adata)
    domains = K.DOMAIN in adata.obs and K.DOMAIN_COLORS in adata.uns
    registered = K.SPATIAL_ALIGNED in adata.obsm and "transforms" in kept
    there = {
        MATCHES: K.MUTUAL in adata.obsp,
        CONFIDENCE: K.CONFIDENCE in adata.obs,
        DOMAINS: domains,
        PRESENCE: not domains or recorded_presence(adata) is not None,
        REGISTRATION: registered,
    }
    return tuple(stage for stage, found in there.items() if not found)


def settle_notes(adata: AnnData) -> None:
    """Drop the notes on stages that are no longer missing."""
    again = (MATCHES, CONFIDENCE, DOMAINS, PRESENCE, REGISTRATION)
    drop_notes(adata, *set(again) - set(missing_stages(adata)))
