"""A full disk, a folder that is read-only, one that stops: a sentence, and nothing is lost."""

from __future__ import annotations

import errno
import io
import os
import threading
import time
from pathlib import Path

import numpy as np
import pytest
from fakes import fake_result, fake_session
from scarce import (
    FILLER,
    full,
    may_mount,
    may_ration,
    may_stop,
    rationed_folder,
    read_only,
    small_disk,
    stopped_folder,
    used_up,
)
from tiny import QUICK, tiny_pair

from napari_staligner import InputError, integrate, read_slices
from napari_staligner.core.annotations.record import annotations_of, write_annotations
from napari_staligner.core.outside import outside_sentence
from napari_staligner.core.progress import Progress, finish
from napari_staligner.io import newest_task, user_folder
from napari_staligner.io.annotations.formats import export_annotations
from napari_staligner.io.atomic import write_bytes, write_text, written_beside
from napari_staligner.io.elsewhere import write_somewhere
from napari_staligner.io.export import vitessce_page
from napari_staligner.io.export.targets import TARGETS, export_steps
from napari_staligner.io.h5ad import read_any, write_result
from napari_staligner.io.recovery import Recovery, keep_result
from napari_staligner.io.session_file import open_file
from napari_staligner.jobs.folder import JobFolder, JobState, Tail
from napari_staligner.jobs.keeper import FileKeeper
from napari_staligner.jobs.listing import remember_job
from napari_staligner.session import Session

pytestmark = pytest.mark.filterwarnings("ignore:Writing zarr v2 data will no longer")
mounts = pytest.mark.skipif(not may_mount(), reason="no small disk can be mounted here")
FULL = r"No space left on device.*: free some space, or choose another place\.$"


@pytest.fixture
def disk(tmp_path):
    """A disk of a few MB."""
    with small_disk(tmp_path / "disk") as folder:
        yield folder


@pytest.fixture(scope="module")
def result():
    """Two slices, some of whose spots are annotated."""
    made = fake_result()[1]
    annotations = annotations_of(made)
    annotations.use_template("Olfactory bulb")
    annotations.assign(np.arange(12), "GL", "lasso")
    write_annotations(made, annotations)
    return made


def _annotated(suffix):
    def write(result, folder):
        export_annotations(result, annotations_of(result), folder / f"out{suffix}")

    return write


def _exported(to):
    def write(result, folder):
        path = folder / f"out{TARGETS[to].suffix}"
        finish(export_steps(result, to, path, overwrite=True))

    return write


@pytest.fixture
def backed(tmp_path):
    """Two slices whose counts are still in their files."""
    for name, adata in tiny_pair():
        adata.write_h5ad(tmp_path / f"{name.lower()}.h5ad")
    return read_slices([tmp_path / "a.h5ad", tmp_path / "b.h5ad"], backed=True)


WRITERS = {
    "result": lambda result, folder: write_result(result, folder / "out.h5ad"),
    "session": lambda result, folder: fake_session().save(folder / "out.h5ad"),
    "report": lambda result, folder: write_text("x" * 100_000, folder / "out.html"),
    "picture": lambda result, folder: write_bytes(bytes(100_000), folder / "out.png"),
    "annotations as GeoJSON": _annotated(".geojson"),
    "annotations as CSV": _annotated(".csv"),
    **{f"export to {to}": _exported(to) for to in TARGETS},
}


def content(folder: Path) -> dict[str, bytes]:
    """All files below a folder."""
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file() and path.name != FILLER
    }


@mounts
@pytest.mark.parametrize("name", WRITERS)
def test_a_full_or_read_only_disk_keeps_the_old_file_and_takes_the_next(
    result, disk, name, monkeypatch
):
    monkeypatch.setattr(vitessce_page.shutil, "which", lambda _: None)
    write = WRITERS[name]
    write(result, disk)
    before = content(disk)
    # With some room, so that the draft is begun, and with none at all.
    for left in (8192, 0) if sum(map(len, before.values())) > 20_000 else (0,):
        with full(disk, left), pytest.raises(InputError, match=FULL) as told:
            write(result, disk)
        assert str(disk) in str(told.value)
        assert content(disk) == before
        assert len([*disk.iterdir()]) == 1, "a draft is left"
    with read_only(disk), pytest.raises(InputError, match=r"Read-only file system\): choose anot"):
        write(result, disk)
    assert content(disk) == before
    write(result, disk)
    assert sorted(content(disk)) == sorted(before)


QUOTA = r"Disk quota exceeded\): free some of your quota, or choose another place\.$"


class Quota(io.FileIO):
    """A file of a user whose quota is used up after a few bytes, or told of at the end only."""

    room, late = 3000, False

    def write(self, data):
        if not self.late and self.tell() + len(data) > self.room:
            raise OSError(errno.EDQUOT, os.strerror(errno.EDQUOT))
        return super().write(data)

    def close(self):
        full = not self.closed and self.late and self.writable()
        super().close()
        if full:  # a network folder tells of it when all is sent
            raise OSError(errno.EDQUOT, os.strerror(errno.EDQUOT))


@pytest.mark.parametrize("late", [False, True])
@pytest.mark.parametrize("name", ["result", "session", "report", "picture"])
def test_a_quota_that_is_used_up_is_named_and_keeps_the_old_file(
    result, tmp_path, name, late, monkeypatch
):
    write, opened = WRITERS[name], Path.open
    write(result, tmp_path)
    before = content(tmp_path)

    def limited(path, mode="r", buffering=-1, *rest, **named):
        if not set(mode) & set("wa+") or tmp_path not in path.parents:
            return opened(path, mode, buffering, *rest, **named)
        raw = Quota(path, mode.replace("b", "").replace("t", ""))
        raw.late = late
        if buffering == 0:
            return raw
        binary = io.BufferedWriter(raw)
        return binary if "b" in mode else io.TextIOWrapper(binary, encoding="utf-8")

    with monkeypatch.context() as patch:
        patch.setattr(Path, "open", limited)
        with pytest.raises(InputError, match=QUOTA) as told:
            write(result, tmp_path)
    assert str(tmp_path) in str(told.value)
    assert content(tmp_path) == before
    assert len([*tmp_path.iterdir()]) == 1, "a draft is left"
    write(result, tmp_path)


@pytest.mark.parametrize(
    "name", ["result", "session", "report", "picture", "export to spatialdata"]
)
def test_a_real_quota_keeps_the_old_file_and_takes_the_next(result, tmp_path, name):
    # Asked here: it takes a moment, which a collection of the tests need not wait.
    if not may_ration():
        pytest.skip("no disk with a quota can be made here (btrfs)")
    write = WRITERS[name]
    with rationed_folder(tmp_path / "disk") as folder:
        write(result, folder)
        before = content(folder)
        for left in (sum(map(len, before.values())) // 2, 0):
            with used_up(folder, left), pytest.raises(InputError, match=QUOTA) as told:
                write(result, folder)
            assert str(folder) in str(told.value)
            assert content(folder) == before
            assert len([*folder.iterdir()]) == 1, "a draft is left"
        write(result, folder)
        assert sorted(content(folder)) == sorted(before)


@mounts
def test_a_crash_is_not_provided_for_on_a_full_disk_and_that_is_said(result, disk, monkeypatch):
    monkeypatch.setattr(user_folder, "user_folder", lambda: disk / "home")
    recovery, session = Recovery(), fake_session()
    recovery.keep(result, session.record(), None)
    (kept,) = content(disk / "home").values()
    with full(disk, 0):
        recovery.keep(result, session.record(), None)
        assert "No space left" in recovery.problem
        assert keep_result(result, disk / "home" / "r.h5ad").startswith("The disk is nearly full")
        user_folder.remember_file(disk / "x.h5ad")  # does no harm
        with pytest.raises(InputError, match=FULL):
            remember_job(JobFolder(disk / "job"))
    assert [*content(disk / "home").values()] == [kept], "what was kept before is lost"
    recovery.keep(result, session.record(), None)
    assert not recovery.problem


@mounts
def test_the_folder_of_a_job_on_a_full_disk_keeps_what_it_has(result, disk, tmp_path, monkeypatch):
    monkeypatch.setattr(user_folder, "user_folder", lambda: tmp_path / "home")
    job, keeper = JobFolder(disk), FileKeeper(disk / "checkpoint" / "training.npz")
    job.write_state(JobState("running"))
    job.tell(Progress("align", 1, 9))
    keeper.save({"a": np.arange(9)})
    with full(disk, 0):
        job.tell(Progress("align", 2, 9))
        job.beat()
        keeper.save({"a": np.arange(100_000)})
        assert "No space left" in keeper.problem
        written, problem = write_somewhere(result, job.out)
        assert written.parent == tmp_path / "home"
        assert "No space left" in problem
        with pytest.raises(InputError, match=FULL):
            job.write_state(JobState("done", "x" * 9000))
    assert job.state() == JobState("running")
    assert keeper.load()["a"].tolist() == [*range(9)]
    assert read_any(written)[0] == "result"
    assert next(step.done for _, step in Tail(job).new()) == 1


def test_a_file_that_goes_while_a_run_reads_it_is_named(backed, tmp_path):
    (tmp_path / "a.h5ad").write_bytes(b"another file by now")
    with pytest.raises(InputError, match=r"'a\.h5ad': X cannot be read any more .*load the slice"):
        integrate(backed, settings=QUICK)


def test_a_file_that_goes_after_the_training_costs_the_counts_alone(backed, tmp_path):
    trained = integrate(backed, settings=QUICK)
    (tmp_path / "a.h5ad").unlink()
    written, said = write_somewhere(trained, tmp_path / "out.h5ad")
    kind, again = read_any(written)
    assert (kind, written) == ("result", tmp_path / "out.h5ad")
    assert said.startswith("The expression of the genes is missing from the result (")
    assert said in [*again.uns["staligner"]["notes"]]
    assert again.X is None
    np.testing.assert_array_equal(again.obsm["STAligner"], trained.obsm["STAligner"])


@pytest.mark.skipif(not may_stop(), reason="no folder that stops can be mounted here")
def test_a_folder_that_does_not_answer_holds_nobody_else(tmp_path, monkeypatch):
    monkeypatch.setattr(user_folder, "user_folder", lambda: tmp_path / "home")
    monkeypatch.setattr(user_folder, "PATIENCE_SECONDS", 0.2)
    here, told = tmp_path / "here.h5ad", []
    here.touch()

    def read():
        try:
            read_slices([tmp_path / "gone" / "a.h5ad"])
        except InputError as error:
            told.append(str(error))

    with stopped_folder(tmp_path / "gone"):
        user_folder.remember_file(tmp_path / "gone" / "a.h5ad")
        user_folder.remember_file(here)
        reading = threading.Thread(target=read)
        reading.start()
        assert user_folder.recent_files() == [here]
        assert reading.is_alive()
    reading.join(60)
    # Either that nobody answers, or, once it is unmounted, that nothing is there.
    assert "a.h5ad" in told[0]


@pytest.mark.skipif(not may_stop(), reason="no folder that stops can be mounted here")
def test_edits_beside_a_session_wait_for_a_folder_that_stops_and_the_session_does_not(
    result, tmp_path, monkeypatch
):
    monkeypatch.setattr(newest_task, "PATIENCE_SECONDS", 0.1)
    folder = tmp_path / "network"
    folder.mkdir()
    write_result(result, folder / "out.h5ad")
    session = Session()
    session.autosave.start()
    session.open(open_file(folder / "out.h5ad"))
    assert session.autosave._writer.wait(60)
    with stopped_folder(folder):
        began = time.monotonic()
        for color in ("#111111", "#222222"):
            session.domains.recolor(session.domains.names[0], color)
        assert time.monotonic() - began < 30
        assert session.autosave.waiting
    assert session.autosave._writer.wait(60)
    session.domains.recolor(session.domains.names[0], "#333333")
    assert session.autosave._writer.wait(60)
    assert session.autosave.problem == ""
    assert session.autosave.recovery.path.parent == folder
    assert session.autosave.recovery.path.is_file()
    session.autosave.leave()


@pytest.mark.parametrize("name", ["a.h5ad", "a.gem", "a.zarr", "session.h5ad"])
def test_a_pipe_is_not_waited_for(tmp_path, name):
    os.mkfifo(tmp_path / name)
    with pytest.raises(InputError, match="is a pipe or a device"):
        open_file(tmp_path / name)


@mounts
def test_hdf5_closes_a_file_that_it_could_not_write_to_its_end(disk, tmp_path):
    big = fake_result()[1]
    big.obsm["noise"] = np.random.default_rng(0).random((big.n_obs, 6000))
    handles = len([*Path("/proc/self/fd").iterdir()])
    # Room for the beginning, but not for the whole.
    with full(disk, 1 << 20), pytest.raises(InputError, match=FULL):
        write_result(big, disk / "out.h5ad")
    assert not [*disk.iterdir()]
    assert len([*Path("/proc/self/fd").iterdir()]) == handles


# -- drafts of processes that were killed ---------------------------------------------------------


def test_drafts_of_killed_processes_are_removed_by_the_next_write(tmp_path):
    path = tmp_path / "out.txt"
    with written_beside(path) as draft:
        draft.write_text("new")
        ours = draft.parent.name
    parts = ours.split("-")
    (tmp_path / "-".join([*parts[:-2], str(2**22 + 1), parts[-1]])).mkdir()
    other = tmp_path / ".out-elsewhere-1-abc"
    other.mkdir()
    write_text("newer", path)
    assert sorted(each.name for each in tmp_path.iterdir()) == [other.name, "out.txt"]


def test_a_folder_that_a_killed_process_had_moved_away_comes_back(tmp_path):
    path = tmp_path / "out"
    with written_beside(path) as draft:
        draft.mkdir()
        (draft / "a").write_text("old")
        parts = draft.parent.name.split("-")
    dead = tmp_path / "-".join([*parts[:-2], str(2**22 + 1), parts[-1]])
    dead.mkdir()
    path.rename(dead / "before")
    with pytest.raises(RuntimeError), written_beside(path):
        raise RuntimeError
    assert (path / "a").read_text() == "old"
    assert [*tmp_path.iterdir()] == [path]


# -- sentences --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("error", "says"),
    [
        (OSError(28, "No space left on device", "/a/b"), "('/a/b': No space left on device): free"),
        (RuntimeError("x (file write failed: errno = 28, error message = 'No sp')"), "free some"),
        (PermissionError(13, "Permission denied", "/a"), "check its permissions"),
        (OSError(116, "Stale file handle"), "check the disk or the network"),
        (OSError(errno.EDQUOT, "Disk quota exceeded", "/a"), "free some of your quota"),
        (RuntimeError(f"x (file write failed: errno = {errno.EDQUOT}, x)"), "some of your quota"),
        (OSError(24, "Too many open files"), "ulimit -n"),
        (OSError("of a library"), None),
        (KeyError("x"), None),
    ],
)
def test_what_fails_outside_gets_a_remedy(error, says):
    said = outside_sentence(error)
    assert (says in said) if says else not said
