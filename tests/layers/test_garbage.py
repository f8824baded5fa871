"""Python's search for garbage waits until nobody uses the window."""

import gc
import sys
import weakref
from types import SimpleNamespace

import pytest
from qtpy.QtCore import QObject
from qtpy.QtWidgets import QLineEdit

from napari_staligner.compat import SearchAtRest, garbage


class Held:
    """Kept by itself alone."""

    def __init__(self):
        self.own = self


@pytest.fixture
def rest(qapp, monkeypatch):
    monkeypatch.setattr(garbage, "REST_SECONDS", 0.1)
    monkeypatch.setattr(garbage, "LOOK_MS", 20)
    owner = QObject()
    search = SearchAtRest(owner)
    yield search
    search.end()
    assert gc.get_freeze_count() == 0
    assert search._note not in gc.callbacks


def test_it_ends_with_its_owner_though_nobody_ends_it(qapp, monkeypatch, qtbot):
    monkeypatch.setattr(garbage, "REST_SECONDS", 0.1)
    monkeypatch.setattr(garbage, "LOOK_MS", 20)
    owner = QObject()
    search = SearchAtRest(owner)
    search.due(whole=True)
    qtbot.waitUntil(lambda: gc.get_freeze_count() > 0)
    note, gone = search._note, weakref.ref(search)
    owner.deleteLater()
    with qtbot.waitSignal(owner.destroyed):
        pass
    assert gc.get_freeze_count() == 0
    del search, owner
    gc.collect()
    assert gone() is None
    assert note not in gc.callbacks


def test_garbage_is_found_at_rest_and_what_was_spared_the_next_time(rest, qtbot):
    held, garbage_ = Held(), weakref.ref(Held())
    rest.due(whole=True)
    qtbot.waitUntil(lambda: garbage_() is None)
    qtbot.waitUntil(lambda: gc.get_freeze_count() > 0)
    gone = weakref.ref(held)
    del held
    gc.collect()
    assert gone() is not None
    rest.due(whole=True)
    qtbot.waitUntil(lambda: gone() is None)


def test_no_search_at_rest_while_the_mouse_or_a_key_is_used(rest, qtbot, monkeypatch):
    monkeypatch.setattr(garbage, "REST_SECONDS", 3600.0)
    widget = QLineEdit()
    qtbot.addWidget(widget)
    rest.due(whole=True)
    rest._used = 0.0
    monkeypatch.setattr(garbage, "monotonic", lambda: 5000.0)
    qtbot.keyClick(widget, "a")
    qtbot.wait(100)
    assert gc.get_freeze_count() == 0
    rest._used = 0.0
    qtbot.waitUntil(lambda: gc.get_freeze_count() > 0)


def test_a_long_search_by_python_brings_one_at_rest(rest, qtbot, monkeypatch):
    monkeypatch.setattr(garbage, "LONG_SECONDS", 60.0)
    gc.collect()
    qtbot.wait(200)
    assert gc.get_freeze_count() == 0
    monkeypatch.setattr(garbage, "LONG_SECONDS", 0.0)
    gc.collect()
    monkeypatch.setattr(garbage, "LONG_SECONDS", 60.0)
    qtbot.waitUntil(lambda: gc.get_freeze_count() > 0)


def test_after_a_long_search_only_what_is_new_is_searched(rest, qtbot, monkeypatch):
    monkeypatch.setattr(garbage, "LONG_SECONDS", 60.0)
    held = Held()
    rest.due(whole=True)
    qtbot.waitUntil(lambda: gc.get_freeze_count() > 0)
    old, spared = weakref.ref(held), gc.get_freeze_count()
    del held
    new = weakref.ref(Held())
    monkeypatch.setattr(garbage, "LONG_SECONDS", 0.0)
    gc.collect(1)
    monkeypatch.setattr(garbage, "LONG_SECONDS", 60.0)
    more = Held()
    qtbot.waitUntil(lambda: gc.get_freeze_count() > spared)
    assert new() is None
    assert old() is not None, "all was searched"
    rest.due(whole=True)
    qtbot.waitUntil(lambda: old() is None)
    assert more.own is more


def test_what_came_is_searched_and_not_what_was_spared(rest, qtbot):
    held = Held()
    rest.due(whole=False)
    qtbot.waitUntil(lambda: gc.get_freeze_count() > 0)
    old, spared = weakref.ref(held), gc.get_freeze_count()
    del held
    new, more = weakref.ref(Held()), Held()
    rest.due(whole=False)
    qtbot.waitUntil(lambda: gc.get_freeze_count() > spared)
    assert new() is None
    assert old() is not None, "all was searched"
    assert more.own is more


def test_libraries_are_left_out_unsearched_until_nobody_sits_there(rest, qtbot, monkeypatch):
    monkeypatch.setattr(garbage, "LONG_SECONDS", 60.0)
    garbage_ = weakref.ref(Held())
    loaded = range(len(sys.modules) + garbage.MANY_MODULES + 1)
    monkeypatch.setattr(garbage, "sys", SimpleNamespace(modules=loaded))
    qtbot.waitUntil(lambda: gc.get_freeze_count() > 0)
    qtbot.wait(200)
    assert garbage_() is not None, "all was searched"
    rest._whole_after = 0.1  # instead of ten minutes
    qtbot.waitUntil(lambda: garbage_() is None)


def test_what_comes_is_shown_before_it_is_searched_though_nobody_used_the_window(
    rest, qtbot, monkeypatch
):
    monkeypatch.setattr(garbage, "REST_SECONDS", 3600.0)
    rest.due(whole=False)
    rest._used -= 5000.0
    rest.due(whole=False)
    qtbot.wait(100)
    assert gc.get_freeze_count() == 0
    rest._used -= 5000.0
    qtbot.waitUntil(lambda: gc.get_freeze_count() > 0)
