"""What a person prefers in every window: napari's Preferences ▸ STAligner."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any, Literal

from pydantic import BaseModel

if TYPE_CHECKING:
    from napari_staligner.session import Session

PLUGIN = "napari-staligner"


class Preferences(BaseModel):
    """The fields of the manifest's ``configurations``, with their defaults."""

    tour: bool = True
    """Whether an empty workbench begins with the tour."""
    name: str = ""
    """Who annotates and judges; empty for the login name, and for ``"me"`` in annotations."""
    layout: Literal["grid", "mosaic", "stack"] = "grid"
    """How slices lie at first."""
    colormap: Literal["viridis", "magma", "inferno", "plasma", "cividis", "gray"] = "viridis"
    """How numbers are coloured at first."""


def kept_by_napari() -> Any:
    """Return napari's settings of the plugin; ``None`` where napari has none (before 0.9)."""
    try:
        from napari.settings import get_plugin_settings
    except ImportError:
        return None
    try:
        return get_plugin_settings(PLUGIN).workbench
    except (KeyError, AttributeError):  # the plugin is not installed, or its manifest is older
        return None


def preferences() -> Preferences:
    """Return what the person prefers; the defaults where nothing is said."""
    kept = kept_by_napari()
    if kept is None:
        return Preferences()
    given = {name: getattr(kept, name) for name in Preferences.model_fields if hasattr(kept, name)}
    return Preferences(**given)


def without_tour() -> None:
    """Do not begin with the tour again."""
    kept = kept_by_napari()
    if kept is not None:
        kept.tour = False


def prefer(session: Session) -> None:
    """Let a new session begin as the person prefers; a file that is opened has its own look."""
    wanted = preferences()
    session.view.layout = wanted.layout
    session.view.scale = replace(session.view.scale, colormap=wanted.colormap)
    if wanted.name.strip() and "/" not in wanted.name:
        session.annotations.annotate_as(wanted.name.strip())
