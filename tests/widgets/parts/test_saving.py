"""Save, Save as, recent files, the offer after a crash, and the question on closing."""

from __future__ import annotations

import gc
import weakref

import anndata as ad
import pytest
from fakes import fake_result
from qtpy.QtCore import QEventLoop, Qt, QTimer
from qtpy.QtWidgets import QFileDialog, QMainWindow, QMessageBox

from napari_staligner.compat import camera_of
from napari_staligner.io import recovery
from napari_staligner.io.open_marks import OpenMark
from napari_staligner.layers import open_session
from napari_staligner.session import Session
from napari_staligner.widgets.annotate.dock import AnnotateWidget
from napari_staligner.widgets.parts import saving as keeping
from napari_staligner.widgets.slices.dock import SlicesWidget

LEFT = Qt.MouseButton.LeftButton
Buttons = QMessageBox.StandardButton


@pytest.fixture
def viewer(make_napari_viewer_proxy):
    return make_napari_viewer_proxy(show=True)


@pytest.fixture
def dock(viewer, qtbot):
    dock = SlicesWidget(viewer)
    viewer.window.add_dock_widget(dock, name="Slices")
    yield dock
    settle(qtbot, dock)


@pytest.fixture
def worked(dock, qtbot):
    """A dock whose session has a result that is not saved, in napari's window."""
    return work_in(dock, qtbot)


@pytest.fixture
def alone(open_dock, qtbot):
    """As ``worked``, without napari's window: what the dock itself does needs none."""
    dock = work_in(open_dock(SlicesWidget), qtbot)
    yield dock
    settle(qtbot, dock)


def work_in(dock, qtbot):
    slices, result = fake_result()
    dock.session.add(slices)
    dock.session.set_result(result)
    settle(qtbot, dock)
    return dock


def settle(qtbot, dock):
    saver = keeping.saver_of(dock.session)
    runners = (dock._reader, dock._grapher, dock.recovery._runner, saver)
    qtbot.waitUntil(lambda: not any(r.running for r in runners))


def choose_file(monkeypatch, path):
    monkeypatch.setattr(QFileDialog, "getSaveFileName", lambda *_: (str(path), ""))


# --- the file


def test_save_as_then_save(alone, qtbot, monkeypatch, tmp_path):
    bar = alone.keeping
    assert bar.name.text() == "● not saved yet"
    choose_file(monkeypatch, tmp_path / "mine.h5ad")
    qtbot.mouseClick(bar.save, LEFT)
    qtbot.waitUntil(lambda: alone.session.saved)
    assert bar.name.text() == "mine.h5ad"
    assert not bar.save.isEnabled()
    alone.session.domains.rename("1", "first")
    assert bar.name.text() == "● mine.h5ad"
    monkeypatch.setattr(QFileDialog, "getSaveFileName", None)
    qtbot.mouseClick(bar.save, LEFT)
    qtbot.waitUntil(lambda: alone.session.saved)
    assert "first" in ad.read_h5ad(tmp_path / "mine.h5ad").obs["domain"].cat.categories
    assert [p.name for p in tmp_path.iterdir() if p.suffix != ".open"] == ["mine.h5ad"]


def test_no_file_chosen_is_nothing_done(alone, qtbot, monkeypatch):
    choose_file(monkeypatch, "")
    qtbot.mouseClick(alone.keeping.save_as, LEFT)
    assert not alone.session.saved
    assert alone.session.path is None


def test_recent_files_are_opened(alone, qtbot, tmp_path):
    session = alone.session
    session.domains.recolor("1", "#123456")
    session.save(tmp_path / "one.h5ad")
    session.slices.clear()
    menu = alone.keeping.recent.menu()
    menu.aboutToShow.emit()
    assert [action.text() for action in menu.actions()] == ["one.h5ad"]
    menu.actions()[0].trigger()
    qtbot.waitUntil(lambda: session.result.adata is not None)
    settle(qtbot, alone)
    assert session.domains.colors["1"] == "#123456"
    assert session.path == tmp_path / "one.h5ad"


def test_the_camera_and_hidden_layers_come_back(worked, viewer, qtbot, tmp_path):
    session = worked.session
    session.view.layout = "mosaic"
    viewer.layers["slice1 image"].visible = False
    viewer.layers["slice2"].opacity = 0.5
    camera_of(viewer).center, camera_of(viewer).zoom = (0, 50, 60), 7.0
    session.save(tmp_path / "one.h5ad")
    session.slices.clear()
    camera_of(viewer).zoom = 1.0
    worked._open([tmp_path / "one.h5ad"])
    qtbot.waitUntil(lambda: camera_of(viewer).zoom == pytest.approx(7.0))
    settle(qtbot, worked)
    assert tuple(camera_of(viewer).center)[-2:] == pytest.approx((50, 60))
    assert not viewer.layers["slice1 image"].visible
    assert viewer.layers["slice1"].visible
    assert viewer.layers["slice2"].opacity == 0.5
    assert session.view.layout == "mosaic"


def test_a_file_dropped_on_the_canvas_brings_the_view_too(worked, viewer, qtbot, tmp_path):
    session = worked.session
    session.view.layout = "stack"
    camera_of(viewer).zoom = 7.0
    session.save(tmp_path / "one.h5ad")
    session.slices.clear()
    viewer.open(str(tmp_path / "one.h5ad"), plugin="napari-staligner")
    assert session.view.layout == "stack"
    qtbot.waitUntil(lambda: camera_of(viewer).zoom == pytest.approx(7.0))


def test_the_menu_saves(worked, viewer, qtbot, monkeypatch, tmp_path):
    choose_file(monkeypatch, tmp_path / "menu.h5ad")
    keeping.save_session(viewer)
    qtbot.waitUntil(lambda: worked.session.saved)
    assert (tmp_path / "menu.h5ad").is_file()


@pytest.mark.usefixtures("qapp")
def test_a_session_that_is_closed_is_gone_with_its_slices():
    slices, result = fake_result()
    session = Session()
    session.add(slices)
    session.set_result(result)
    keeping.saver_of(session)
    gone = weakref.ref(session)
    del session, slices, result
    gc.collect()
    assert gone() is None


def test_that_another_program_has_the_file_open_is_said_below_its_name(alone, qtbot, tmp_path):
    path = tmp_path / "<b>one.h5ad"
    alone.session.save(path)
    assert not alone.keeping.warning.isVisible()
    other = OpenMark("f" * 12)
    other.move(path)
    alone.session.domains.recolor(alone.session.domains.names[0], "#123456")
    assert alone.keeping.warning.isVisible()
    assert alone.keeping.warning.text().startswith("'<b>one.h5ad' is also open in another w")
    assert alone.keeping.warning.textFormat() == Qt.TextFormat.PlainText
    other.move(None)
    alone.session.domains.recolor(alone.session.domains.names[0], "#654321")
    assert not alone.keeping.warning.isVisible()


# --- a crash


@pytest.fixture
def crashed(monkeypatch):
    monkeypatch.setattr(recovery, "alive", lambda *_: False)


def left_behind():
    """Leave what a session that ended unasked leaves behind."""
    from napari_staligner.session import Session

    session = Session()
    session.autosave.start()
    slices, result = fake_result()
    session.add(slices)
    kept = session.autosave.recovery.new_result()
    assert recovery.keep_result(result, kept) == ""
    session.set_result(result, kept=kept)
    session.domains.rename("1", "first")
    return session


def test_what_a_crash_left_is_restored_by_a_click(crashed, viewer, qtbot):
    left_behind()
    dock = SlicesWidget(viewer)
    viewer.window.add_dock_widget(dock, name="Slices")
    assert dock.recovery.isVisibleTo(dock)
    assert "A session of slice1, slice2" in dock.recovery.text.text()
    qtbot.mouseClick(dock.recovery.restore, LEFT)
    qtbot.waitUntil(lambda: dock.session.result.adata is not None)
    settle(qtbot, dock)
    assert not dock.recovery.isVisibleTo(dock)
    assert "first" in dock.session.domains.names
    assert "slice2" in viewer.layers
    assert dock.keeping.name.text() == "● not saved yet"


def test_it_is_offered_in_the_annotate_dock_and_discarded(crashed, viewer, qtbot):
    left_behind()
    dock = AnnotateWidget(viewer)
    viewer.window.add_dock_widget(dock, name="Annotate")
    assert dock.recovery.isVisibleTo(dock)
    qtbot.mouseClick(dock.recovery.discard, LEFT)
    assert not dock.recovery.isVisibleTo(dock)
    assert recovery.find() is None


# --- closing


class Asked:
    """Stands in for the question, and counts."""

    def __init__(self, monkeypatch, answer):
        self.times, self.answer = 0, answer
        monkeypatch.setattr(QMessageBox, "question", self)

    def __call__(self, *_):
        self.times += 1
        return self.answer


def close_by_hand(window):
    """Close as a click in the menu does: from within the loop of events."""
    loop = QEventLoop()
    QTimer.singleShot(0, window.close)
    QTimer.singleShot(50, loop.quit)
    loop.exec()


@pytest.fixture
def guarded(qtbot):
    """A window of Qt's own, which may close amid a test, with a session that is not saved."""
    session = left_behind()
    window = QMainWindow()
    qtbot.addWidget(window)
    keeping.ClosingGuard(window, session)
    window.show()
    return window, session


def test_cancel_keeps_the_window(worked, monkeypatch):
    asked = Asked(monkeypatch, Buttons.Cancel)
    close_by_hand(worked.window())
    assert asked.times == 1
    assert worked.window().isVisible()
    assert not worked.session.saved


def test_discard_closes_and_leaves_nothing(guarded, monkeypatch):
    window, session = guarded
    kept = session.autosave.recovery.path, session.autosave.recovery.result
    assert all(path.is_file() for path in kept)
    Asked(monkeypatch, Buttons.Discard)
    close_by_hand(window)
    assert not window.isVisible()
    assert not any(path.exists() for path in kept)


def test_save_writes_and_then_closes(guarded, monkeypatch, qtbot, tmp_path):
    window, session = guarded
    choose_file(monkeypatch, tmp_path / "closing.h5ad")
    asked = Asked(monkeypatch, Buttons.Save)
    close_by_hand(window)
    qtbot.waitUntil(lambda: not window.isVisible())
    assert asked.times == 1
    assert (tmp_path / "closing.h5ad").is_file()
    assert session.saved


def test_save_without_a_file_keeps_the_window(guarded, monkeypatch):
    window, _ = guarded
    choose_file(monkeypatch, "")
    Asked(monkeypatch, Buttons.Save)
    close_by_hand(window)
    assert window.isVisible()


def test_a_saved_session_closes_unasked(guarded, monkeypatch, tmp_path):
    window, session = guarded
    session.save(tmp_path / "one.h5ad")
    asked = Asked(monkeypatch, Buttons.Cancel)
    close_by_hand(window)
    assert asked.times == 0
    assert not window.isVisible()


def test_a_script_is_not_asked_and_loses_nothing(guarded, monkeypatch):
    window, session = guarded
    asked = Asked(monkeypatch, Buttons.Cancel)
    window.close()
    assert asked.times == 0
    assert not window.isVisible()
    assert session.autosave.recovery.path.is_file()


def test_there_is_one_guard_for_all_docks(worked, viewer):
    viewer.window.add_dock_widget(AnnotateWidget(viewer), name="Annotate")
    assert len(worked.window().findChildren(keeping.ClosingGuard)) == 1
    assert open_session(viewer) is worked.session
