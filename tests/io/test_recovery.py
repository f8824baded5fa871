"""A session as one file, and its edits on the disk for the case of a crash."""

from __future__ import annotations

from dataclasses import replace

import anndata as ad
import numpy as np
import pandas as pd
import pytest
from fakes import fake_result, fake_slice

from napari_staligner import InputError, Settings, read_slices
from napari_staligner import _keys as K
from napari_staligner.io import recovery
from napari_staligner.io.recovery import read_kept
from napari_staligner.io.session_file import open_file, session_record
from napari_staligner.io.user_folder import recent_files
from napari_staligner.session import CanvasView, ColorBy, LinkView, Session, Spot, StackView


@pytest.fixture
def crashed(monkeypatch):
    """From now on, the processes that kept something are gone."""
    monkeypatch.setattr(recovery, "alive", lambda *_: False)


def new_session(*, path=None):
    session = Session()
    session.autosave.start()
    slices, result = fake_result()
    session.add(slices)
    session.set_result(result, saved=path is not None, path=path)
    return session


def reopened(path):
    session = Session()
    session.autosave.start()
    session.open(open_file(path))
    return session


@pytest.fixture
def file(tmp_path):
    path = tmp_path / "out.h5ad"
    fake_result()[1].write_h5ad(path)
    return path


def beside(file):
    """Edits beside a file; that somebody has it open is another matter."""
    names = [path.name for path in file.parent.iterdir() if path != file]
    return [name for name in names if not name.endswith(".open")]


# --- one file


def test_a_saved_session_comes_back_with_all_that_was_looked_at(tmp_path):
    session = new_session()
    session.domains.rename("2", "ONL")
    session.domains.recolor("ONL", "#123456")
    session.annotations.use_template("Cortex")
    session.annotations.assign(np.array([3, 4]), "WM", "spot")
    session.verdicts.give("partly", domain="ONL", note="the rim", who="Ann")
    session.view.settings = Settings(domains=4, alpha=0.3)
    session.view.color_by = ColorBy("gene", "gene3")
    session.view.layout = "stack"
    session.view.stack = StackView("swipe", ("slice2", "slice1"), opacities={"slice1": 0.25})
    session.view.links = LinkView(shown=True, most=77)
    session.view.isolated = {"ONL"}
    session.view.spot = Spot("slice2", 5)
    session.see_canvas(CanvasView((0, 10, 20), 3.5))
    assert not session.saved
    path = tmp_path / "session.h5ad"
    session.save(path)
    assert session.saved

    again = reopened(path)
    assert again.saved
    assert again.path == path
    assert list(again.slices) == ["slice1", "slice2"]
    assert again.domains.colors == session.domains.colors
    assert again.verdicts.given == session.verdicts.given
    assert again.annotations.rows_of("WM").tolist() == [3, 4]
    for key in (
        *("settings", "color_by", "scale", "layout", "stack", "links", "isolated", "spot"),
        *("trust", "attention", "graph_shown", "legend_shown", "canvas"),
    ):
        assert getattr(again.view, key) == getattr(session.view, key), key
    assert recent_files() == [path]


def test_other_tools_read_the_file_and_the_record_is_not_in_the_result(tmp_path):
    session = new_session()
    path = tmp_path / "session.h5ad"
    session.save(path)
    assert session_record(ad.read_h5ad(path)).slices[0].name == "slice1"
    assert K.SESSION not in session.result.adata.uns[K.STALIGNER]
    assert K.SESSION not in reopened(path).result.adata.uns[K.STALIGNER]


def test_slices_beside_the_result_come_from_their_files_or_are_kept(tmp_path):
    fake_slice(30, seed=5).write_h5ad(tmp_path / "late.h5ad")
    session = new_session()
    session.add(read_slices([tmp_path / "late.h5ad"]))
    session.add([("loose", fake_slice(20, seed=6))])
    # What no file can hold as it is.
    session.slices["loose"].obs["mixed"] = ["a", 1] * 10
    session.save(tmp_path / "session.h5ad")
    again = reopened(tmp_path / "session.h5ad")
    assert list(again.slices) == ["slice1", "slice2", "late", "loose"]
    assert again.slices["loose"].obs["mixed"].tolist() == ["a", "1"] * 10
    stored = ad.read_h5ad(tmp_path / "session.h5ad").uns[K.STALIGNER]
    assert list(stored[K.KEPT_SLICES]) == ["loose"], "what has a file is not written again"
    # The file is another one now.
    fake_slice(31, seed=7).write_h5ad(tmp_path / "late.h5ad")
    content = open_file(tmp_path / "session.h5ad")
    assert [name for name, _ in content.slices] == ["slice1", "slice2", "loose"]
    assert "The file of slice 'late' has changed" in content.problems[0]


def test_a_session_without_a_result_is_one_file_too(tmp_path):
    for i in range(2):
        fake_slice(30 + i, seed=i).write_h5ad(tmp_path / f"s{i}.h5ad")
    session = Session()
    session.add(read_slices([tmp_path / "s1.h5ad", tmp_path / "s0.h5ad"]))
    session.view.layout = "mosaic"
    session.save(tmp_path / "session.h5ad")
    again = reopened(tmp_path / "session.h5ad")
    assert list(again.slices) == ["s1", "s0"]
    assert again.view.layout == "mosaic"
    assert again.result.adata is None
    assert (tmp_path / "session.h5ad").stat().st_size < 100_000


def test_colours_of_what_is_not_there_any_more_are_left_out(tmp_path):
    session = new_session()
    session.view.color_by = ColorBy("obsm", "X_gone")
    session.save(tmp_path / "session.h5ad")
    assert reopened(tmp_path / "session.h5ad").color_by == ColorBy("obs", K.DOMAIN)


def test_a_record_of_another_version_is_no_harm(file):
    adata = ad.read_h5ad(file)
    adata.uns[K.STALIGNER][K.SESSION] = '{"slices": 7}'
    adata.write_h5ad(file)
    assert list(reopened(file).slices) == ["slice1", "slice2"]


# --- a crash


def test_every_edit_is_on_the_disk_at_once_and_offered_again(file, crashed):
    session = reopened(file)
    session.annotations.use_template("Olfactory bulb")
    session.annotations.assign(np.array([1, 2]), "GL", "spot")
    session.domains.rename("1", "first")
    session.domains.recolor("first", "#abcdef")
    session.verdicts.give("aligned", domain="first", who="Ann")
    session.view.layout = "mosaic"
    session.verdicts.give("not", who="Ann")
    # The process ends here; a new one opens the file.
    again = reopened(file)
    assert again.autosave.offer is not None
    assert "out.h5ad: edits of" in again.autosave.offer.describe()
    assert again.annotations.edits == []
    again.autosave.take_offer(read_kept(again.autosave.offer))
    assert again.annotations.rows_of("GL").tolist() == [1, 2]
    assert again.result.adata.obs[K.ANNOTATION].notna().sum() == 2
    assert again.domains.colors == session.domains.colors
    assert again.verdicts.given == session.verdicts.given
    assert again.view.layout == "mosaic"
    assert again.path == file
    assert not again.saved
    assert again.autosave.offer is None
    # What was restored is kept in turn.
    assert len(beside(file)) == 1
    third = reopened(file)
    third.autosave.take_offer(read_kept(third.autosave.offer))
    assert third.annotations.rows_of("GL").tolist() == [1, 2]


@pytest.mark.parametrize(
    "theirs",
    [
        np.arange(110) % 3,
        pd.Categorical(["x", "y"] * 55),
        pd.array([1, None] * 55, dtype="Int64"),
        pd.Series(["x", None] * 55, dtype=object).to_numpy(),
    ],
)
def test_annotations_of_the_input_outlive_a_crash(file, crashed, theirs):
    adata = ad.read_h5ad(file)
    adata.obs[K.ANNOTATION] = theirs
    adata.write_h5ad(file)
    given = ad.read_h5ad(file).obs[K.ANNOTATION].astype(str).to_numpy()
    session = reopened(file)
    session.annotations.use_template("Olfactory bulb")
    session.annotations.assign(np.array([1, 2]), "GL", "spot")
    again = reopened(file)
    again.autosave.take_offer(read_kept(again.autosave.offer))
    kept = again.result.adata.obs["annotation_of_input"].astype(str).to_numpy()
    assert (kept == given).all()
    assert again.result.adata.obs[K.ANNOTATION].iloc[[1, 2]].tolist() == ["GL", "GL"]
    again.save(file)
    back = np.concatenate([s.obs[K.ANNOTATION].astype(str) for _, s in read_slices([file])])
    assert (back == given).all()


def test_a_result_without_a_file_is_kept_with_its_slices(tmp_path, crashed):
    slices, result = fake_result()
    for name, adata in slices:
        adata.write_h5ad(tmp_path / f"{name}.h5ad")
    session = Session()
    session.autosave.start()
    session.add(read_slices([tmp_path / f"{name}.h5ad" for name, _ in slices]))
    started = Session()
    started.autosave.start()
    assert [entry.name for entry in started.autosave.offer.record.slices] == ["slice1", "slice2"]
    assert len(read_kept(started.autosave.offer).slices) == 2

    job = session.integration_job()
    assert recovery.keep_result(result, job.kept) == ""
    session.set_result(result, kept=job.kept)
    session.domains.rename("1", "first")
    later = Session()
    later.autosave.start()
    later.autosave.take_offer(read_kept(later.autosave.offer))
    assert "first" in later.domains.names
    np.testing.assert_array_equal(later.result.adata.obsm[K.EMBEDDING], result.obsm[K.EMBEDDING])
    assert later.path is None
    later.save(tmp_path / "out.h5ad")
    empty = Session()
    empty.autosave.start()
    assert empty.autosave.offer is None
    assert not list(recovery.unsaved_folder().iterdir())


def test_what_is_discarded_is_gone(file, crashed):
    before = reopened(file)
    before.annotations.use_template("Cortex")
    again = reopened(file)
    assert again.autosave.offer is not None
    again.autosave.discard_offer()
    assert reopened(file).autosave.offer is None
    assert beside(file) == []


def test_saving_leaves_nothing_to_offer_but_what_waits(file, crashed):
    session = reopened(file)
    session.annotations.use_template("Cortex")
    other = reopened(file)
    session.save(file)
    assert beside(file) == []
    again = reopened(file)
    assert again.autosave.offer is None
    assert len(again.annotations.classes) == 7
    again.domains.rename("1", "first")
    waits = reopened(file)
    waits.save(file)
    assert reopened(file).autosave.offer is not None
    assert other.autosave.offer is not None


def test_a_session_that_is_still_open_is_not_offered(file):
    before = reopened(file)
    before.annotations.use_template("Cortex")
    assert before.autosave.recovery.path.is_file()
    assert reopened(file).autosave.offer is None


def test_edits_while_something_is_offered_lose_neither(file, crashed):
    reopened(file).domains.rename("1", "first")
    again = reopened(file)
    again.domains.rename("2", "second")
    assert len(beside(file)) == 2
    assert again.autosave.offer.record.slices[0].name == "slice1"
    content = read_kept(again.autosave.offer)
    assert "first" in content.result.obs[K.DOMAIN].cat.categories


def test_edits_of_other_spots_are_refused(file, crashed):
    reopened(file).domains.rename("1", "first")
    fake_result((61, 50))[1].write_h5ad(file)
    session = reopened(file)
    with pytest.raises(InputError, match="belong to other spots than the result has"):
        read_kept(session.autosave.offer)


def test_annotations_outlive_a_new_run():
    session = new_session()
    session.annotations.use_template("Cortex")
    session.annotations.assign(np.array([7]), "WM", "spot")
    result = fake_result()[1]
    session.set_result(result)
    assert result.obs[K.ANNOTATION].iloc[7] == "WM"


def test_a_file_that_is_not_ours_is_not_offered(file, crashed):
    file.with_name(".out.h5ad.x.unsaved").write_text("something")
    assert reopened(file).autosave.offer is None


def test_a_folder_that_cannot_be_written_is_said_and_annotating_goes_on(file, monkeypatch):
    session = reopened(file)

    def refuse(*_, **__):
        raise OSError(30, "Read-only file system")

    monkeypatch.setattr("napari_staligner.io.atomic.tempfile.mkdtemp", refuse)
    session.annotations.use_template("Cortex")
    assert len(session.annotations.classes) == 7
    assert "Read-only file system" in session.autosave.recovery.problem


def test_a_session_without_a_window_keeps_nothing(file):
    session = Session()
    session.open(open_file(file))
    session.domains.rename("1", "first")
    assert beside(file) == []
    assert replace(session.view.settings) == session.view.settings
