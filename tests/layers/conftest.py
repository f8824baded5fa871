"""Viewers with slices, and a mouse over their canvas."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pytest
from fakes import fake_result
from mouse import Mouse
from napari.components import ViewerModel

from napari_staligner import _keys as K
from napari_staligner.compat import node_of
from napari_staligner.layers import open_session

if TYPE_CHECKING:
    from anndata import AnnData
    from napari.layers import Layer

    from napari_staligner.session import Session


@dataclass
class Shown:
    """A viewer, its session with two slices, and their integration."""

    viewer: ViewerModel
    session: Session
    slices: list[tuple[str, AnnData]]
    result: AnnData

    def layer(self, name: str, role: str = "spots") -> Layer:
        (found,) = [x for x in self.layers(role) if x.metadata.get(K.LAYER_SLICE) == name]
        return found

    def layers(self, role: str) -> list[Layer]:
        return [x for x in self.viewer.layers if x.metadata.get(K.LAYER_ROLE) == role]

    def marks(self, name: str) -> list[Any]:
        """Find what vispy draws at the spots of a slice, in their cell, and is no layer."""
        node = node_of(getattr(self.viewer, "__wrapped__", self.viewer), self.layer(name))
        beside = node.parent.children
        return [x for x in beside if x is not node and x.transform is node.transform]


@pytest.fixture
def viewer(qapp) -> ViewerModel:
    """Return a viewer without a window, quick to make; the event loop is there."""
    return ViewerModel()


@pytest.fixture
def shown(viewer) -> Shown:
    """Return a viewer that shows two slices, not integrated yet; it has no window."""
    slices, result = fake_result()
    session = open_session(viewer)
    session.add(slices)
    return Shown(viewer, session, slices, result)


@pytest.fixture
def canvas(make_napari_viewer_proxy, qtbot) -> tuple[Shown, Mouse]:
    """Return a visible viewer with two integrated slices, and its mouse."""
    viewer = make_napari_viewer_proxy(show=True)
    slices, result = fake_result()
    session = open_session(viewer)
    session.add(slices)
    session.set_result(result)
    qtbot.waitUntil(lambda: viewer.__wrapped__.window._qt_viewer.canvas.native.isVisible())
    return Shown(viewer, session, slices, result), Mouse(viewer, qtbot)
