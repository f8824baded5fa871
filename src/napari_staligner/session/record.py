"""What was looked at, as JSON, and back."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING

from napari_staligner.core.settings import Settings
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
    Trust,
)

if TYPE_CHECKING:
    from pydantic import TypeAdapter


@dataclass(frozen=True)
class ViewRecord:
    """All of the view that comes back with a session; see :class:`~session.view.View`."""

    settings: Settings
    color_by: ColorBy
    scale: Scale
    legend_shown: bool
    layout: Layout
    stack: StackView
    trust: Trust
    links: LinkView
    graph_shown: bool
    attention: Overlay
    isolated: tuple[str, ...]
    spot: Spot | None
    arrows: bool
    canvas: CanvasView | None
    region: Region | None = None
    spot_scale: float = 1.0

    def to_json(self) -> str:
        """Return it as JSON."""
        return _adapter().dump_json(self).decode()


def read_view(text: str) -> ViewRecord | None:
    """Read what :meth:`ViewRecord.to_json` gave; ``None`` if it is of another version."""
    try:
        return _adapter().validate_json(text)
    except ValueError:  # of pydantic, and of settings that are none any more
        return None


@cache
def _adapter() -> TypeAdapter[ViewRecord]:
    from pydantic import TypeAdapter

    return TypeAdapter(ViewRecord)
