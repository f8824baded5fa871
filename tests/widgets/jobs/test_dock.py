"""The Jobs dock, and Run on… in Integrate."""

from __future__ import annotations

import os
import socket
import threading
from dataclasses import replace

import psutil
import pytest
from docks import LEFT
from fakes import fake_result
from qtpy.QtWidgets import QApplication, QDialog, QInputDialog, QPlainTextEdit
from tiny import QUICK

from napari_staligner.core.progress import Loss, Progress
from napari_staligner.io.h5ad import write_result
from napari_staligner.jobs.folder import JobState, Where
from napari_staligner.jobs.launch import make_job
from napari_staligner.jobs.launchers.local import Local
from napari_staligner.jobs.listing import known_jobs, remember_job
from napari_staligner.jobs.run import slices_of_job
from napari_staligner.jobs.watch import GONE
from napari_staligner.widgets.integrate.dock import IntegrateWidget
from napari_staligner.widgets.jobs import dock as module


@pytest.fixture
def open_jobs(open_dock, qtbot):
    opened = []

    def open_jobs():
        opened.append(open_dock(module.JobsWidget))
        qtbot.waitUntil(lambda: opened[-1]._cards is not None)
        return opened[-1]

    yield open_jobs
    for dock in opened:
        qtbot.waitUntil(lambda dock=dock: not dock.looking)


def a_job(title: str, state: JobState, epochs: int = 0):
    folder = make_job(["x.h5ad"], QUICK, Where(), names=[title])
    folder.write_state(state)
    for epoch in range(1, epochs + 1):
        loss = Loss(epoch, 1 / epoch, 2 / epoch if epoch > 3 else None)
        folder.tell(Progress("align", epoch, 20, loss=loss))
    remember_job(folder)
    return folder


def here() -> JobState:
    own = psutil.Process()
    return JobState("running", "", socket.gethostname(), own.pid, own.create_time())


def rows(dock):
    table = dock.table
    items = [table.topLevelItem(i) for i in range(table.topLevelItemCount())]
    return [[item.text(column) for column in range(3)] for item in items]


def test_without_a_job_it_says_how_to_start_one(open_jobs):
    dock = open_jobs()
    assert dock.status.text() == module.EMPTY
    assert not any(b.isEnabled() for b in (dock.open, dock.cancel, dock.resume, dock.log))


def test_jobs_are_found_again_and_followed(open_jobs, qtbot, monkeypatch):
    said = []
    for name in ("show_info", "show_warning"):
        monkeypatch.setattr(module, name, said.append)
    slices, result = fake_result((30, 25))
    failed = a_job("old", JobState("failed", "A file is gone."), epochs=2)
    folder = a_job("A, B", here(), epochs=8)
    dock = open_jobs()
    qtbot.waitUntil(lambda: rows(dock) == [["A, B", "local", "40%"], ["old", "local", "failed"]])
    assert dock.cancel.isEnabled()
    assert not dock.open.isEnabled()
    assert dock.stage.text().startswith("Align, epoch 8, about ")
    assert list(dock.plot.curves["reconstruction"].getData()[0]) == list(range(1, 9))

    folder.tell(Progress("align", 10, 20, loss=Loss(9, 0.1, 0.2), note="A note."))
    qtbot.waitUntil(lambda: rows(dock)[0][2] == "50%")
    assert len(dock.plot.curves["triplet"].getData()[0]) == 9
    assert "A note." in dock.stage.text()
    qtbot.mouseClick(dock.cancel, LEFT)
    qtbot.waitUntil(folder.cancel.exists)

    write_result(result, folder.out)
    folder.write_state(JobState("done"))
    qtbot.waitUntil(lambda: rows(dock)[0][2] == "done")
    assert said == ["The job on A, B is done."]
    qtbot.waitUntil(dock.open.isEnabled)
    qtbot.mouseClick(dock.open, LEFT)
    qtbot.waitUntil(lambda: dock.session.result.adata is not None)
    assert list(dock.session.slices) == [name for name, _ in slices]
    qtbot.waitUntil(dock.log.isEnabled)

    dock.table.setCurrentItem(dock.table.topLevelItem(1))
    assert dock.stage.text() == "A file is gone."
    assert dock.resume.isEnabled()
    assert not dock.cancel.isEnabled()
    failed.log.write_text("what happened")
    qtbot.mouseClick(dock.log, LEFT)
    qtbot.waitUntil(lambda: dock.findChild(QDialog) is not None)
    dialog = dock.findChild(QDialog)
    assert dialog.findChild(QPlainTextEdit).toPlainText() == "what happened"
    dialog.close()
    qtbot.waitUntil(dock.forget.isEnabled)
    qtbot.mouseClick(dock.forget, LEFT)
    qtbot.waitUntil(lambda: len(rows(dock)) == 1)
    assert failed.log.exists()


def test_a_killed_job_is_told_and_the_window_does_not_wait(open_jobs, qtbot, monkeypatch):
    said = []
    monkeypatch.setattr(module, "show_warning", said.append)
    folder = a_job("A", replace(here(), host="another"), epochs=1)
    dock = open_jobs()
    qtbot.waitUntil(lambda: rows(dock) == [["A", "local", "5%"]])
    began, looked = threading.Event(), threading.Event()

    # A folder on a slow disk: the look waits, and the window goes on.
    def look_slowly(board):
        began.set()
        assert looked.wait(60)

    with monkeypatch.context() as patch:
        patch.setattr("napari_staligner.widgets.jobs.watcher._look", look_slowly)
        qtbot.waitUntil(began.is_set)
    QApplication.processEvents()
    assert dock._watcher.looking
    looked.set()
    os.utime(folder.progress, (1, 1))
    qtbot.waitUntil(lambda: rows(dock) == [["A", "local", "failed"]])
    assert said == [f"The job on A is failed: {GONE}"]
    assert dock.stage.text() == GONE


def test_run_on_starts_a_job_with_the_slices_of_the_session(open_dock, qtbot, monkeypatch):
    started = []
    monkeypatch.setattr(Local, "start", lambda self, folder, spec: started.append(folder))
    dock = open_dock(IntegrateWidget)
    assert not dock.run_on.isEnabled()
    slices, _ = fake_result((30, 25))
    slices[0][1].obs["region"] = "here"
    dock.session.add(slices)
    dock.session.view.settings = replace(QUICK, seed=5)
    assert dock.run_on.isEnabled()
    dock.run_on.places["local"].trigger()
    qtbot.waitUntil(lambda: not dock.run_on.running)
    assert known_jobs() == started
    spec = started[0].spec()
    assert (spec.settings, spec.title) == (dock.session.view.settings, "slice1, slice2")
    read = slices_of_job(started[0], spec)
    assert [(name, adata.n_obs) for name, adata in read] == [("slice1", 30), ("slice2", 25)]
    assert set(read[0][1].obs["region"]) == {"here"}
    assert "Jobs dock" in dock.status.text()

    answers = ["prolog=x", "tcp://nowhere here", "mem=64G ranks=x", "mem=64G ranks=0"]
    monkeypatch.setattr(QInputDialog, "getText", lambda *_, **__: (answers.pop(0), True))
    for on, expected in (
        ("slurm", "not asked for 'prolog'"),
        ("dask", "no name of a host"),
        ("slurm", "'x' is no number of ranks"),
        ("slurm", "A job has no 0 ranks"),
    ):
        dock.run_on.places[on].trigger()
        assert expected in dock.status.text()
    assert len(known_jobs()) == 1
