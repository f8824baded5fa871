from __future__ import annotations

import importlib
import logging
import os
import subprocess
import sys
import threading
import warnings

import pytest
from napari.utils import progress as napari_progress
from napari.utils.notifications import notification_manager
from qtpy.QtCore import QObject, QThreadPool
from qtpy.QtWidgets import QApplication, QLabel
from scarce import short_memory

from napari_staligner._errors import ComputeError, InputError
from napari_staligner.core.progress import Progress
from napari_staligner.worker import Runner


class Told:
    """All that a runner says, in order."""

    def __init__(self, runner):
        self.said = []
        runner.progressed.connect(lambda step: self.said.append(("progressed", step)))
        runner.returned.connect(lambda value: self.said.append(("returned", value)))
        runner.failed.connect(lambda text: self.said.append(("failed", text)))
        runner.ended.connect(lambda: self.said.append(("ended", None)))

    @property
    def kinds(self):
        return [kind for kind, _ in self.said]

    def text(self):
        return dict(self.said)["failed"]


@pytest.fixture
def runner(qtbot):
    runner = Runner()
    yield runner
    runner.cancel()
    qtbot.waitUntil(lambda: not runner.running)


@pytest.fixture
def told(runner):
    return Told(runner)


@pytest.fixture
def notifications():
    before = len(notification_manager.records)
    yield lambda: notification_manager.records[before:]
    del notification_manager.records[before:]


def run(qtbot, runner, make_steps, title="Test"):
    with qtbot.waitSignal(runner.ended):
        runner.start(make_steps, title)


def count_to(n):
    def steps():
        for i in range(n):
            yield Progress("counting", i, n)
        return n

    return steps


def failing(error):
    def steps():
        yield Progress("trying", 0, 1)
        raise error

    return steps


def waiting(step, go, log=None):
    """Yield once for each ``go``, and say in ``log`` when closed."""

    def steps():
        try:
            i = 0
            while True:
                step.set()
                assert go.wait(10)
                go.clear()
                yield Progress("waiting", i, 0)
                i += 1
        finally:
            if log is not None:
                log.append(threading.current_thread())

    return steps


def test_result_and_steps_come_in_order(qtbot, runner, told):
    run(qtbot, runner, count_to(3))
    assert told.kinds == ["progressed"] * 3 + ["returned", "ended"]
    assert [step.done for kind, step in told.said if kind == "progressed"] == [0, 1, 2]
    assert told.said[3] == ("returned", 3)
    assert not runner.running


def test_steps_run_off_the_gui_thread_and_signals_on_it(qtbot, runner):
    where = {}

    def steps():
        where["body"] = threading.current_thread()
        yield Progress("a", 0, 1)

    def make():
        where["make"] = threading.current_thread()
        return steps()

    runner.progressed.connect(lambda _: where.update(signal=threading.current_thread()))
    run(qtbot, runner, make)
    assert where["signal"] is threading.main_thread()
    assert where["make"] is where["body"] is not threading.main_thread()


@pytest.mark.parametrize("error", [InputError("Slice 'a' is empty."), ComputeError("No room.")])
def test_own_errors_are_said_as_they_are(qtbot, runner, told, notifications, error):
    run(qtbot, runner, failing(error))
    assert told.kinds == ["progressed", "failed", "ended"]
    assert told.text() == str(error)
    assert notifications() == []


def test_runtime_error_ends_the_run_with_a_sentence_and_a_log(
    qtbot, runner, told, notifications, caplog
):
    with caplog.at_level(logging.ERROR):
        run(qtbot, runner, failing(RuntimeError("shapes (3, 4) differ\nsecond line")))
    assert told.kinds[-2:] == ["failed", "ended"]
    assert "RuntimeError (shapes (3, 4) differ)" in told.text()
    assert "please report" in told.text()
    assert "second line" not in told.text()
    assert "Traceback" in caplog.text
    assert notifications() == []
    assert not runner.running


def test_error_of_torch(qtbot, runner, told):
    def steps():
        import torch

        yield Progress("a", 0, 1)
        return torch.zeros(2, 3) @ torch.zeros(2, 3)

    run(qtbot, runner, steps)
    assert "mat1 and mat2" in told.text()


@pytest.mark.parametrize(
    "error",
    [
        MemoryError(),
        RuntimeError(
            "[enforce fail at alloc_cpu.cpp:117] DefaultCPUAllocator: can't allocate memory"
        ),
        RuntimeError("CUDA out of memory. Tried to allocate 20.00 GiB."),
    ],
)
def test_lack_of_memory_is_said_with_a_remedy(qtbot, runner, told, error):
    run(qtbot, runner, failing(error))
    assert told.text().startswith("There is not enough memory: use fewer genes")


@pytest.mark.skipif(os.name == "nt", reason="Windows has no such limit")
@pytest.mark.parametrize("library", ["numpy", "torch"])
def test_memory_that_runs_out_is_a_sentence_and_the_next_run_works(
    qtbot, runner, told, notifications, library
):
    def steps():
        yield Progress("a", 0, 1)
        return len(importlib.import_module(library).ones(1 << 28))

    with short_memory(512 << 20):
        run(qtbot, runner, steps)
    assert told.text().startswith("There is not enough memory: use fewer genes")
    assert notifications() == []
    told.said.clear()
    run(qtbot, runner, count_to(1))
    assert told.kinds == ["progressed", "returned", "ended"]


def test_error_before_the_first_step(qtbot, runner, told):
    def make():
        raise InputError("There is nothing.")

    run(qtbot, runner, make)
    assert told.said == [("failed", "There is nothing."), ("ended", None)]


def test_second_start_is_refused_and_the_first_goes_on(qtbot, runner, told):
    step, go = threading.Event(), threading.Event()

    def steps():
        yield from ()
        step.set()
        assert go.wait(10)
        return "first"

    runner.start(steps, "First run")
    with pytest.raises(InputError, match="'First run' is still running"):
        runner.start(count_to(1), "Second run")
    with qtbot.waitSignal(runner.ended):
        go.set()
    assert told.said == [("returned", "first"), ("ended", None)]


def test_cancel_stops_at_the_next_step_and_closes_the_generator(qtbot, runner, told):
    step, go, closed = threading.Event(), threading.Event(), []
    runner.start(waiting(step, go, closed), "Test")
    with qtbot.waitSignal(runner.progressed):
        go.set()
    runner.cancel()
    assert runner.running
    with qtbot.waitSignal(runner.ended):
        go.set()
    assert told.kinds == ["progressed", "ended"]
    assert len(closed) == 1
    assert closed[0] is not threading.main_thread()
    run(qtbot, runner, count_to(1))
    assert told.kinds[-2:] == ["returned", "ended"]


def test_answer_that_comes_after_cancel_is_dropped(qtbot, runner, told):
    runner.start(count_to(3), "Test")
    # The thread is done, and all that it said waits for the event loop.
    assert QThreadPool.globalInstance().waitForDone(10_000)
    runner.cancel()
    qtbot.waitUntil(lambda: not runner.running)
    assert told.said == [("ended", None)]


def test_late_answer_is_known_by_its_number(qtbot, runner, told):
    from napari_staligner.worker import _Outcome

    runner._generation = 5
    runner._on_worker_returned(_Outcome(4, "late"))
    runner._on_worker_yielded((4, Progress("late", 0, 1)))
    runner._on_worker_finished()
    assert told.said == [("ended", None)]
    runner._on_worker_returned(_Outcome(5, "now"))
    runner._on_worker_finished()
    assert told.said[1:] == [("returned", "now"), ("ended", None)]


def test_a_run_may_follow_as_soon_as_the_result_is_there(qtbot, runner, told):
    """Who answers a question at once, however fast, is not refused."""

    def on_returned(value):
        if value < 3:
            runner.start(count_to(value + 1), "Next run")

    runner.returned.connect(on_returned)
    with qtbot.waitSignal(runner.ended):
        runner.start(count_to(1), "First run")
    assert not runner.running
    assert [said for said in told.said if said[0] != "progressed"] == [
        ("returned", 1),
        ("returned", 2),
        ("returned", 3),
        ("ended", None),
    ]


@pytest.mark.parametrize("make_steps", [count_to(2), failing(ValueError("no"))])
def test_bar_in_the_activity_dock_is_closed(qtbot, runner, make_steps, capfd):
    bars = []
    runner.progressed.connect(lambda _: bars.extend(b.desc for b in napari_progress._all_instances))
    run(qtbot, runner, make_steps, "Integrate")
    assert all(text.startswith("Integrate") for text in bars)
    assert bars
    assert len(napari_progress._all_instances) == 0
    assert "Integrate" not in capfd.readouterr().out


def test_events_that_napari_processes_amid_drawing_the_bar(
    qtbot, make_napari_viewer_proxy, monkeypatch
):
    make_napari_viewer_proxy()
    monkeypatch.setattr("napari_staligner.worker.BAR_SECONDS", 0)
    runner = Runner()
    told = Told(runner)
    run(qtbot, runner, count_to(200), "Integrate")
    assert told.kinds == ["progressed"] * 200 + ["returned", "ended"]
    assert [step.done for kind, step in told.said[:200]] == list(range(200))
    assert len(napari_progress._all_instances) == 0


def test_the_sign_of_activity_does_not_draw_the_window_all_the_time(
    qtbot, runner, make_napari_viewer_proxy
):
    make_napari_viewer_proxy(show=True)
    step, go = threading.Event(), threading.Event()
    runner.start(waiting(step, go), "Test")
    (spinner,) = (
        label.movie()
        for window in QApplication.topLevelWidgets()
        for label in window.findChildren(QLabel)
        if label.movie() is not None
    )
    pictures = []
    spinner.frameChanged.connect(pictures.append)
    qtbot.waitUntil(lambda: len(pictures) >= 2)
    # A tenth of its speed: 300 ms a picture, of which some may have passed.
    assert spinner.nextFrameDelay() >= 250
    with qtbot.waitSignal(runner.ended):
        runner.cancel()
        go.set()


def test_warning_of_a_library_is_logged_not_shown(qtbot, runner, told, notifications, caplog):
    def steps():
        yield Progress("a", 0, 1)
        warnings.warn("old thing", DeprecationWarning, stacklevel=1)

    with caplog.at_level(logging.INFO):
        run(qtbot, runner, steps)
    assert "old thing" in caplog.text
    assert notifications() == []


def test_deleting_the_owner_stops_the_run(qtbot):
    owner = QObject()
    runner = Runner(owner)
    step, go, closed = threading.Event(), threading.Event(), []
    runner.start(waiting(step, go, closed), "Test")
    qtbot.waitUntil(step.is_set)
    owner.deleteLater()
    with qtbot.waitSignal(owner.destroyed):
        pass
    go.set()
    qtbot.waitUntil(lambda: len(closed) == 1)
    assert len(napari_progress._all_instances) == 0


CLOSE_DURING_RUN = """
import time
import napari
from qtpy.QtCore import QTimer
from napari_staligner.core.progress import Progress
from napari_staligner.worker import Runner

def steps():
    for i in range(10_000):
        time.sleep(0.02)
        yield Progress("training", i, 10_000)

viewer = napari.Viewer()
viewer.add_points([[0, 0]])
runner = Runner(viewer.window._qt_window)
runner.progressed.connect(lambda s: s.done == 3 and QTimer.singleShot(0, {close}))
runner.start(steps, "Integrate")
napari.run()
print("closed")
"""


@pytest.mark.parametrize("close", ["viewer.close", "napari.qt.get_qapp().quit"])
def test_closing_napari_during_a_run_ends_cleanly(close, tmp_path):
    code = CLOSE_DURING_RUN.replace("{close}", close)
    done = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
        env=os.environ | {"NAPARI_CONFIG": str(tmp_path / "settings.yaml")},
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.endswith("closed\n")
    assert "Traceback" not in done.stderr
    assert "RuntimeWarning" not in done.stderr
    assert "Integrate" not in done.stderr
