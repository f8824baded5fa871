"""The queue of slice pairs, with the events of a person."""

from __future__ import annotations

import pytest
from docks import LEFT
from fakes import fake_result
from qtpy.QtCore import Qt

from napari_staligner.widgets.judge.dock import JudgeWidget


@pytest.fixture
def queue(open_dock, qtbot):
    """Return the panel of a dock with three slices, in front, its pairs measured."""
    dock = open_dock(JudgeWidget)
    slices, result = fake_result((60, 50, 40))
    dock.session.add(slices)
    dock.session.set_result(result, saved=True)
    dock.tabs.setCurrentWidget(dock.queue)
    qtbot.mouseClick(dock.queue.run.button, LEFT)
    qtbot.waitUntil(lambda: bool(dock.session.pairs.found))
    dock.queue.dock = dock
    with qtbot.waitActive(dock):
        dock.activateWindow()
    return dock.queue


def test_next_goes_from_the_worst_pair_to_the_best_and_keys_judge(queue, qtbot):
    session = queue.dock.session
    assert len(session.pairs.found) == 3
    order = [each.pair for each in session.pairs.ordered("confidence")]
    assert queue.next.text() == "Next (3 left)"
    qtbot.mouseClick(queue.next, LEFT)
    assert session.view.only == frozenset(order[0])
    assert session.view.layout == "mosaic"
    patch = session.pairs.of(order[0]).patch
    qtbot.waitUntil(lambda: session.view.links.shown)
    assert session.result.selection.tolist() == sorted(patch)
    qtbot.keyClick(queue.next, Qt.Key.Key_3)
    (given,) = session.verdicts.given
    assert (given.pair, given.level) == (order[0], "not")
    assert order[0] in session.pairs.seen
    qtbot.keyClick(queue.next, Qt.Key.Key_N)
    assert session.view.only == frozenset(order[1])
    qtbot.keyClick(queue.next, Qt.Key.Key_N)
    qtbot.keyClick(queue.next, Qt.Key.Key_N)
    assert queue.dock.status.text() == "All pairs were seen."
    assert queue.next.text() == "Next (0 left)"
    assert queue.dock.verdicts.slices.currentData() == order[2]
    qtbot.mouseClick(queue.leave, LEFT)
    # A verdict that is given now is no longer one on the last pair.
    assert queue.dock.verdicts.slices.currentData() is None
    qtbot.waitUntil(lambda: session.view.only == frozenset() and len(session.result.selection) == 0)
    # Layout and links are again as they were before the first pair.
    assert session.view.layout == "grid"
    assert not session.view.links.shown


def test_links_of_the_next_pair_are_found_while_one_looks_at_the_present_one(
    queue, qtbot, monkeypatch
):
    from napari_staligner.layers.overlays import links

    found, find = [], links.all_links
    monkeypatch.setattr(links, "all_links", lambda *asked: found.append(asked[1]) or find(*asked))
    session = queue.dock.session
    order = [frozenset(each.pair) for each in session.pairs.ordered("confidence")]
    qtbot.mouseClick(queue.next, LEFT)
    qtbot.waitUntil(lambda: order[1] in found)
    assert session.view.only == order[0]
    found.clear()
    qtbot.mouseClick(queue.next, LEFT)
    assert session.view.only == order[1]
    assert found == []


def test_the_canvas_stays_as_it_is_until_a_pair_is_shown(queue, qtbot):
    session, held, looks = queue.dock.session, [], []
    session.focus.held.connect(held.append)
    session.focus.look_wanted.connect(lambda _: looks.append(list(held)))
    qtbot.mouseClick(queue.next, LEFT)
    assert held == [True]
    qtbot.waitUntil(lambda: held == [True, False])
    assert looks == [[True]]
    # Another pair before this one is shown, and no pair at all.
    qtbot.mouseClick(queue.next, LEFT)
    qtbot.mouseClick(queue.next, LEFT)
    assert held == [True, False] * 2 + [True]
    session.slices.remove("slice1")
    qtbot.waitUntil(lambda: held == [True, False] * 3)
    assert len(looks) == 1
    told = []
    session.result.selection_changed.connect(lambda: told.append(True))
    session.result.selection_changed.emit()
    assert told


def test_a_click_on_the_matrix_goes_to_that_pair(queue, qtbot):
    session = queue.dock.session
    pair = ("slice2", "slice3")
    qtbot.mouseClick(queue.matrix, LEFT, pos=queue.matrix.cell(pair).center().toPoint())
    assert session.view.only == frozenset(pair)
    assert queue.dock.verdicts.slices.currentData() == pair
    assert pair[0] in queue.about.text()


def test_keys_of_the_canvas_are_given_back(queue):
    viewer, dock = queue.dock.viewer, queue.dock
    assert {"1", "N"} <= {str(key) for key in viewer.keymap}
    dock.tabs.setCurrentWidget(dock.presence)
    assert not {"1", "N"} & {str(key) for key in viewer.keymap}
