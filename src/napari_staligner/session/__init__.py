"""What one viewer holds: slices, settings, result, palette, and what is looked at.

The session is the one state that all docks show and set. It knows neither Qt nor napari; it says
what changed by signals, and every change goes through its methods. It is built up in storeys, each
knowing those below: the view, the holdings, their domains, judging, annotating, and the jobs.
"""

from napari_staligner.session.domains import DomainState
from napari_staligner.session.jobs import DomainJob, GraphJob, IntegrationJob, Session
from napari_staligner.session.values import (
    OPACITY,
    PAIRWISE,
    CanvasView,
    ColorBy,
    Layout,
    LinkView,
    Look,
    Overlay,
    Part,
    Region,
    Scale,
    Spot,
    StackMode,
    StackView,
    Tool,
    Trust,
)

__all__ = [
    "OPACITY",
    "PAIRWISE",
    "CanvasView",
    "ColorBy",
    "DomainJob",
    "DomainState",
    "GraphJob",
    "IntegrationJob",
    "Layout",
    "LinkView",
    "Look",
    "Overlay",
    "Part",
    "Region",
    "Scale",
    "Session",
    "Spot",
    "StackMode",
    "StackView",
    "Tool",
    "Trust",
]
