"""What is drawn on the slices besides images and spots: one class per file, all listed here."""

from napari_staligner.layers.overlays.arrows import ArrowsOverlay
from napari_staligner.layers.overlays.attention import AttentionOverlay
from napari_staligner.layers.overlays.axis import AxisMark
from napari_staligner.layers.overlays.bending import BendingOverlay
from napari_staligner.layers.overlays.excluded import ExcludedMark, SuspectMark
from napari_staligner.layers.overlays.graph import GraphOverlay
from napari_staligner.layers.overlays.image_pairs import ImagePairsMark
from napari_staligner.layers.overlays.links import LinksOverlay
from napari_staligner.layers.overlays.outlines import MasksOverlay, OutlinesMark
from napari_staligner.layers.overlays.overlay import SpotMark, TissueOverlay
from napari_staligner.layers.overlays.proposal import ProposalOverlay
from napari_staligner.layers.overlays.rings import SpotRings
from napari_staligner.layers.overlays.sketch import SketchMark
from napari_staligner.layers.overlays.solid import SolidOverlay
from napari_staligner.layers.overlays.titles import TitlesOverlay

OVERLAYS: tuple[type[TissueOverlay], ...] = tuple(
    sorted(
        (
            *(SolidOverlay, GraphOverlay, AttentionOverlay, ArrowsOverlay, ProposalOverlay),
            *(BendingOverlay, LinksOverlay, TitlesOverlay, MasksOverlay),
        ),
        key=lambda overlay: overlay.order,
    )
)
"""Overlays that are layers, from the lowest to the topmost."""
MARKS: tuple[type[SpotMark], ...] = (
    *(OutlinesMark, ExcludedMark, SuspectMark),
    *(SpotRings, SketchMark, AxisMark, ImagePairsMark),
)
"""What is drawn over the spots without a layer."""

__all__ = ["MARKS", "OVERLAYS"]
