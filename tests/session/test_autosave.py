"""Edits that are kept from a crash: in the background, and with what a run under way will give."""

from __future__ import annotations

import threading
import time
from contextlib import contextmanager

import anndata as ad
import h5py
import numpy as np
import pytest
from fakes import fake_result

from napari_staligner import _keys as K
from napari_staligner.core.annotations.record import annotations_of
from napari_staligner.io import atomic, newest_task, recovery
from napari_staligner.io.newest_task import NewestTask
from napari_staligner.io.recovery import read_kept
from napari_staligner.io.session_file import open_file
from napari_staligner.session import Session


@pytest.fixture
def file(tmp_path):
    path = tmp_path / "out.h5ad"
    fake_result()[1].write_h5ad(path)
    return path


@pytest.fixture
def crashed(monkeypatch):
    """From now on, the processes that kept something are gone."""
    monkeypatch.setattr(recovery, "alive", lambda *_: False)


def started(path=None):
    session = Session()
    session.autosave.start()
    if path is not None:
        session.open(open_file(path))
    return session


def kept(path):
    return sorted(each.name for each in path.parent.glob(f".{path.name}.*{recovery.SUFFIX}"))


class Stopped:
    """A folder beside a session that does not answer until it is told to."""

    def __init__(self, monkeypatch):
        self.go, self.begun, self.places = threading.Event(), threading.Event(), []
        write = recovery.written_beside

        @contextmanager
        def stopped(place):
            self.begun.set()
            assert self.go.wait(60)
            self.places.append(place)
            with write(place) as draft:
                yield draft

        monkeypatch.setattr(recovery, "written_beside", stopped)
        monkeypatch.setattr(newest_task, "PATIENCE_SECONDS", 0.05)
        monkeypatch.setattr(newest_task, "LAST_PATIENCE_SECONDS", 0.05)


def test_a_folder_that_stops_does_not_hold_the_window_and_the_newest_edit_wins(
    file, crashed, monkeypatch
):
    session = started(file)
    stopped, told = Stopped(monkeypatch), []
    session.autosave.delayed.connect(lambda: told.append("delayed"))
    began = time.monotonic()
    session.domains.rename(session.domains.names[0], "first")
    assert stopped.begun.wait(60)
    for name in ("second", "third"):
        session.domains.rename(session.domains.names[0], name)
    assert time.monotonic() - began < 30
    assert told == ["delayed"] * 3
    monkeypatch.setattr(newest_task, "STUCK_SECONDS", 0.0)
    session.autosave.look()
    assert session.autosave.warning == (
        f"Edits are not kept from a crash: {str(file.parent)!r} does not answer."
    )
    stopped.go.set()
    assert session.autosave._writer.wait(60)
    session.autosave.look()
    assert session.autosave.warning == ""
    assert len(stopped.places) == 2, "the second edit was written too"
    again = started(file)
    assert "third" in read_kept(again.autosave.offer).result.obs[K.DOMAIN].cat.categories


@pytest.mark.parametrize("ending", ["save", "leave"])
def test_what_is_saved_or_left_amid_a_write_leaves_nothing(file, monkeypatch, ending):
    session = started(file)
    stopped = Stopped(monkeypatch)
    session.domains.rename(session.domains.names[0], "first")
    assert stopped.begun.wait(60)
    if ending == "save":
        session.save(file)
    else:
        session.autosave.leave()
    stopped.go.set()
    assert session.autosave._writer.wait(60)
    assert kept(file) == []


def test_a_task_is_waited_for_when_the_next_one_comes(monkeypatch):
    monkeypatch.setattr(newest_task, "PATIENCE_SECONDS", 0.0)
    monkeypatch.setattr(newest_task, "PATIENCE_BEFORE_SECONDS", 60.0)
    done, tasks = [], NewestTask()

    def slow(name):
        time.sleep(0.3)
        done.append(name)

    began = time.monotonic()
    assert not tasks.give(lambda: slow("first"))
    assert time.monotonic() - began < 0.25
    tasks.give(lambda: slow("second"))
    assert done == ["first"]
    assert tasks.wait(60)
    assert done == ["first", "second"]


def test_a_task_that_fails_does_not_end_the_next_one(caplog):
    done, tasks = [], NewestTask()
    tasks.give(lambda: 1 / 0)
    assert tasks.give(lambda: done.append(1))
    assert done == [1]
    assert "ZeroDivisionError" in caplog.text


# --- a run that had ended when the program was killed


def run(session, shift=0.0):
    """Do all that a run does in its thread; the session does not have the result yet."""
    job = session.integration_job()
    session.autosave.await_result(job.kept)
    result = fake_result()[1]
    result.obsm[K.EMBEDDING] = result.obsm[K.EMBEDDING] + np.float32(shift)
    assert recovery.keep_result(result, job.kept) == ""
    return job, result


def unsaved():
    return sorted(path.name for path in recovery.unsaved_folder().iterdir())


def test_a_finished_run_is_offered_before_any_session_had_it(crashed):
    session = started()
    session.add(fake_result()[0])
    job, result = run(session)
    again = started()
    assert again.autosave.offer.finished == job.kept
    assert again.autosave.offer.describe().startswith("A run of slice1, slice2 that ended on ")
    again.autosave.take_offer(read_kept(again.autosave.offer))
    np.testing.assert_array_equal(again.result.adata.obsm[K.EMBEDDING], result.obsm[K.EMBEDDING])
    assert not again.saved
    assert job.kept.is_file()
    assert len(unsaved()) == 2
    # It is offered for good: as the session's own now.
    third = started()
    assert third.autosave.offer.result == job.kept
    third.autosave.discard_offer()
    assert unsaved() == []


def test_what_was_annotated_before_the_run_comes_with_it(crashed):
    session = started()
    session.add(fake_result()[0])
    job, before = run(session)
    session.set_result(before, kept=job.kept)
    session.autosave.await_result(None)
    session.annotations.use_template("Olfactory bulb")
    session.annotations.assign(np.array([1, 2]), "GL", "spot")
    second, result = run(session, 1.0)
    again = started()
    assert (again.autosave.offer.result, again.autosave.offer.finished) == (job.kept, second.kept)
    again.autosave.take_offer(read_kept(again.autosave.offer))
    np.testing.assert_array_equal(again.result.adata.obsm[K.EMBEDDING], result.obsm[K.EMBEDDING])
    assert again.annotations.rows_of("GL").tolist() == [1, 2]
    assert annotations_of(again.result.adata).rows_of("GL").tolist() == [1, 2]
    assert not job.kept.exists(), "the result before it is not needed any more"


def test_a_run_over_a_saved_session_is_offered_only_if_it_had_ended(file, crashed):
    session = started(file)
    session.autosave.await_result(session.integration_job().kept)
    assert len(unsaved()) == 1
    assert started(file).autosave.offer is None
    assert unsaved() == [], "what is of no use is left"
    job, result = run(started(file), 1.0)
    assert started(file).autosave.offer.finished == job.kept
    again = started()
    again.autosave.take_offer(read_kept(again.autosave.offer))
    np.testing.assert_array_equal(again.result.adata.obsm[K.EMBEDDING], result.obsm[K.EMBEDDING])
    assert again.path is None
    assert not np.array_equal(ad.read_h5ad(file).obsm[K.EMBEDDING], result.obsm[K.EMBEDDING])


def test_a_finished_run_whose_slices_are_gone_has_its_own(tmp_path, crashed):
    from napari_staligner import read_slices

    slices = fake_result()[0]
    for name, adata in slices:
        adata.write_h5ad(tmp_path / f"{name}.h5ad")
    session = started()
    session.add(read_slices([tmp_path / f"{name}.h5ad" for name, _ in slices]))
    _, result = run(session)
    (tmp_path / "slice2.h5ad").unlink()
    again = started()
    again.autosave.take_offer(read_kept(again.autosave.offer))
    assert list(again.slices) == ["slice1", "slice2"]
    assert again.result.adata.n_obs == result.n_obs


def test_a_run_that_ends_without_a_result_leaves_nothing(file, crashed):
    session = started(file)
    job, _ = run(session)
    session.autosave.await_result(None)
    assert not job.kept.exists()
    assert unsaved() == []
    assert kept(file) == []


def test_a_file_that_was_sent_names_no_file_of_the_users(file, tmp_path, crashed):
    theirs = tmp_path / "thesis.h5ad"
    fake_result()[1].write_h5ad(theirs)
    session = started(file)
    session.domains.rename(session.domains.names[0], "first")
    with h5py.File(session.autosave.recovery.path, "r+") as edits:
        edits.attrs.update({"result": str(theirs), "awaited": str(theirs), "file": str(theirs)})
    again = started(file)
    offer = again.autosave.offer
    assert (offer.file, offer.result, offer.finished) == (file, None, None)
    again.autosave.take_offer(read_kept(offer))
    again.save(file)
    assert theirs.is_file()
    assert "first" in again.domains.names


def test_drafts_of_edits_of_killed_programs_are_removed_by_the_next_opening(file):
    own = f"..{file.name}.0123456789ab-{atomic._HOST}-{2**22 + 1}-abc"
    other = f"..other{own}"
    for name in (own, other):
        (file.parent / name).mkdir()
    started(file)
    assert not (file.parent / own).exists()
    assert (file.parent / other).exists()
