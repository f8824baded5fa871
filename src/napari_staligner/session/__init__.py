"""What one viewer holds and shows, in parts that each signal their own changes.

The session is the one state that all docks show and set. It knows neither Qt nor napari. ``view``
is what is shown and how, ``slices`` what is loaded, ``result`` the output of a run. Domains,
alignment, annotations, verdicts and figures belong to the result and follow it.
"""

from napari_staligner.session.domains import DomainJob, DomainState
from napari_staligner.session.session import IntegrationJob, Session
from napari_staligner.session.slices import GraphJob
from napari_staligner.session.view import (
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
    View,
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
    "View",
]
