"""What takes the window long is done in turns of the event loop."""

import time

import pytest
from qtpy.QtCore import QEventLoop, QTimer
from qtpy.QtWidgets import QWidget

from napari_staligner.compat import in_turn


@pytest.fixture
def beats(qapp):
    """How often the event loop came to a timer."""
    seen = []
    timer = QTimer()
    timer.setInterval(1)
    timer.timeout.connect(lambda: seen.append(True))
    timer.start()
    yield seen
    timer.stop()


def test_acts_that_take_long_are_never_one_turn(qtbot, beats):
    done = []

    def act():
        time.sleep(0.06)  # longer than any interval between two acts
        done.append(len(beats))

    def act_and_ask_for_more():
        act()
        in_turn(act)

    in_turn(act_and_ask_for_more)
    in_turn(act)
    assert done == []
    qtbot.waitUntil(lambda: len(done) == 3)
    assert done[0] < done[1] < done[2]


def test_one_that_fails_or_opens_a_dialog_keeps_none_waiting(qtbot):
    done, loop = [], QEventLoop()

    def fail():
        raise ZeroDivisionError

    def open_dialog():
        loop.exec()
        done.append("closed")

    def close_dialog():
        done.append("in it")
        loop.quit()

    with qtbot.captureExceptions() as failed:
        for act in (fail, open_dialog, close_dialog):
            in_turn(act)
        qtbot.waitUntil(lambda: len(done) == 2)
    assert [kind for kind, *_ in failed] == [ZeroDivisionError]
    assert done == ["in it", "closed"]


def test_what_a_deleted_widget_wanted_is_dropped(qtbot):
    done = []

    class Dock(QWidget):
        def act(self):
            done.append("deleted")

    dock = Dock()
    in_turn(dock.act)
    in_turn(lambda: done.append("after it"))
    dock.deleteLater()
    dock.destroyed.connect(lambda: done.append("destroyed"))
    qtbot.waitUntil(lambda: done[-1:] == ["after it"])
    assert done == ["destroyed", "after it"]
