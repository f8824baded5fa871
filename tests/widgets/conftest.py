"""Docks on the screen, with a result or without."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from docks import delete
from fakes import fake_result
from napari.components import ViewerModel

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator


@pytest.fixture
def open_dock(qtbot) -> Iterator[Callable[..., Any]]:
    """Return what shows a dock. Its viewer has no window, which is quicker."""
    opened = []

    def open_dock(kind: type, width: int = 380, height: int = 800) -> Any:
        viewer = ViewerModel()
        dock = kind(viewer)
        dock.viewer = viewer  # kept: dock and session hold it weakly
        opened.append(dock)
        dock.resize(width, height)
        with qtbot.waitExposed(dock):
            dock.show()
        return dock

    yield open_dock
    for dock in opened:
        delete(dock)


@pytest.fixture
def dock(empty_dock: Any) -> Any:
    """Give the module's ``empty_dock`` a result of two slices and four domains."""
    slices, result = fake_result()
    empty_dock.session.add(slices)
    empty_dock.session.set_result(result, saved=True)
    return empty_dock
