"""What of the slices is looked at, and how."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from psygnal import Signal

from napari_staligner.session.shown import Shown
from napari_staligner.session.values import (
    CanvasView,
    ColorBy,
    Layout,
    LinkView,
    Overlay,
    Region,
    Scale,
    Spot,
    StackView,
    Tool,
    Trust,
)

if TYPE_CHECKING:
    from napari_staligner.core.annotations.transfer import Proposal


class View:
    """The view, as all docks and the canvas show it."""

    color_changed = Signal()
    """``color_by`` or ``scale`` was set, or the values they show are new."""
    isolated_changed = Signal()
    """``isolated`` was set."""
    region_changed = Signal()
    """``region`` was set, or its spots are others."""
    legend_changed = Signal()
    """``legend_shown`` was set."""
    spot_scale_changed = Signal()
    """``spot_scale`` was set."""
    layout_changed = Signal()
    """``layout`` was set."""
    stack_changed = Signal()
    """``stack`` was set."""
    trust_changed = Signal()
    """``trust`` was set."""
    links_changed = Signal()
    """``links`` was set."""
    graphs_changed = Signal()
    """``graphs`` (the spatial graph of each slice) or ``graph_shown`` changed."""
    attention_changed = Signal()
    """``attention`` was set."""
    spot_changed = Signal()
    """``spot`` was set."""
    tool_changed = Signal()
    """``tool`` or ``brush`` was set."""
    proposal_changed = Signal()
    """``proposal`` was set."""
    canvas_changed = Signal()
    """The canvas is to look like ``canvas``."""
    canvas_asked = Signal()
    """Whoever draws is to put how the canvas looks now into :meth:`see_canvas`."""

    color_by = Shown(ColorBy(), "color_changed")
    """What the spots are coloured by."""
    scale = Shown(Scale(), "color_changed")
    """How numbers become colours."""
    region: Shown[Region | None] = Shown(None, "region_changed")
    """The region that is shown alone; ``None`` shows all."""
    legend_shown = Shown(False, "legend_changed")
    """Whether the legend of the colours lies over the canvas."""
    spot_scale = Shown(1.0, "spot_scale_changed")
    """Diameter of the spots of all slices, as a share of that with which they nearly touch."""
    layout: Shown[Layout] = Shown("grid", "layout_changed")
    """How the slices lie: ``"grid"``, ``"mosaic"`` or ``"stack"``."""
    stack = Shown(StackView(), "stack_changed")
    """How slices on top of each other are told apart."""
    trust = Shown(Trust(), "trust_changed")
    """Which spots are shown by their confidence."""
    links = Shown(LinkView(), "links_changed")
    """Which links between slices are drawn."""
    graph_shown = Shown(False, "graphs_changed")
    """Whether the spatial graph is drawn."""
    attention = Shown(Overlay(), "attention_changed")
    """Which edges of the attention are drawn."""
    spot: Shown[Spot | None] = Shown(None, "spot_changed")
    """The spot that is looked at."""
    tool: Shown[Tool] = Shown("", "tool_changed")
    """What the mouse does on the tissue; empty moves the view."""
    brush = Shown(2.0, "tool_changed")
    """Radius of the brush, in spacings of the spots."""
    proposal: Shown[Proposal | None] = Shown(None, "proposal_changed")
    """Spots that may belong to a class, for the user to accept, trim or reject."""

    def __init__(self) -> None:
        self._canvas: CanvasView | None = None
        self._color_by = ColorBy()
        self._isolated: frozenset[str] = frozenset()

    @property
    def isolated(self) -> frozenset[str]:
        """Domains shown alone; empty shows all."""
        return self._isolated

    @isolated.setter
    def isolated(self, value: Iterable[str]) -> None:
        value = frozenset(value)
        if value != self._isolated:
            self._isolated = value
            self.isolated_changed.emit()

    @property
    def canvas(self) -> CanvasView | None:
        """How the canvas looked when it was asked last, or is to look; ``None`` before."""
        return self._canvas

    def see_canvas(self, seen: CanvasView) -> None:
        """Take how the canvas looks now."""
        self._canvas = seen

    def show_canvas(self, wanted: CanvasView) -> None:
        """Let the canvas look like this."""
        self._canvas = wanted
        self.canvas_changed.emit()
