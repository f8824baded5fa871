"""The menu that hands a result on: in the background, refused in a sentence, cancelled."""

from __future__ import annotations

import anndata as ad
import numpy as np
import pytest
from fakes import fake_result
from qtpy.QtWidgets import QFileDialog
from tiny import tiny_slice

from napari_staligner import _keys as K
from napari_staligner.io.export.targets import TARGETS
from napari_staligner.widgets.slices.dock import SlicesWidget


@pytest.fixture
def dock(open_dock, qtbot):
    dock = open_dock(SlicesWidget)
    yield dock
    runners = (dock._reader, dock._grapher, dock.keeping.export.runner)
    qtbot.waitUntil(lambda: not any(runner.running for runner in runners))


@pytest.fixture
def worked(dock):
    slices, result = fake_result()
    dock.session.add(slices)
    dock.session.set_result(result)
    return dock


def choose(monkeypatch, path):
    asked = []

    def answer(_, title, start, filters):
        asked.append((title, start, filters))
        return str(path), filters

    monkeypatch.setattr(QFileDialog, "getSaveFileName", answer)
    return asked


def test_without_a_result_there_is_nothing_to_export(dock):
    export = dock.keeping.export
    assert not export.isEnabled()
    assert "there is none yet" in export.toolTip()
    slices, result = fake_result()
    dock.session.add(slices)
    assert not export.isEnabled()
    dock.session.set_result(result)
    assert export.isEnabled()
    titles = [action.text() for action in export.menu().actions() if action.text()]
    assert titles == [*(f"{each.title}…" for each in TARGETS.values()), "Cancel the export"]


def test_a_target_is_written_in_the_background_and_said(worked, qtbot, monkeypatch, tmp_path):
    export = worked.keeping.export
    worked.session.domains.rename("1", "first")
    asked = choose(monkeypatch, tmp_path / "out")
    with qtbot.waitSignal(export.runner.ended):
        export.targets["slices"].trigger()
        assert export.runner.running
        assert worked.status.text() == "Exporting to out …"
        assert not export.targets["csv"].isEnabled()
        assert export.cancel.isEnabled()
    assert asked[0][0] == "Export to Slices"
    assert f"2 slices written to {tmp_path / 'out'}." in worked.status.text()
    assert "'slice1' is written as the result holds it" in worked.status.text()
    back = ad.read_h5ad(tmp_path / "out" / "slice1.h5ad")
    assert "first" in back.obs[K.DOMAIN].cat.categories
    assert export.targets["csv"].isEnabled()
    assert not export.cancel.isEnabled()


def test_a_name_without_its_ending_gets_it_and_replaces_nothing(
    worked, qtbot, monkeypatch, tmp_path
):
    (tmp_path / "out.h5ad").write_text("mine")
    choose(monkeypatch, tmp_path / "out")
    worked.keeping.export.targets["tissuumaps"].trigger()
    assert "is there already" in worked.status.text()
    assert (tmp_path / "out.h5ad").read_text() == "mine"
    choose(monkeypatch, "")
    worked.keeping.export.targets["tissuumaps"].trigger()
    assert not worked.keeping.export.runner.running


def test_an_export_is_cancelled_and_leaves_nothing(worked, qtbot, monkeypatch, tmp_path):
    export = worked.keeping.export
    choose(monkeypatch, tmp_path / "out")
    with qtbot.waitSignal(export.runner.ended):
        export.targets["csv"].trigger()
        export.cancel.trigger()
    assert worked.status.text() == "The export was cancelled; nothing was written."
    assert list(tmp_path.iterdir()) == []


def test_a_result_of_another_program_is_opened_and_handed_on(dock, qtbot, monkeypatch, tmp_path):
    """Its own file stays as it is: saving asks where to."""
    slices = [tiny_slice(seed=i) for i in (1, 2)]
    made = ad.concat(slices, label="batch_name", keys=["a", "b"], index_unique="_")
    rng = np.random.default_rng(0)
    made.obsm["STAligner"] = rng.normal(size=(made.n_obs, 6)).astype(np.float32)
    theirs = tmp_path / "theirs.h5ad"
    made.write_h5ad(theirs)
    before = theirs.read_bytes()
    dock._open([theirs])
    taken = "is taken for a finished result of another program"
    qtbot.waitUntil(lambda: taken in dock.status.text() and not dock._reader.running)
    session = dock.session
    assert list(session.slices) == ["a", "b"]
    assert session.result.adata is not None
    assert session.path is None
    asked = choose(monkeypatch, tmp_path / "out")
    export = dock.keeping.export
    with qtbot.waitSignal(export.runner.ended):
        export.targets["slices"].trigger()
    assert asked
    back = ad.read_h5ad(tmp_path / "out" / "b.h5ad")
    assert set(back.obs["batch_name"]) == {"b"}
    assert theirs.read_bytes() == before


def test_aligned_images_are_chosen_from_the_menu_and_reported_tile_by_tile(
    worked, qtbot, monkeypatch, tmp_path
):
    import tifffile

    from napari_staligner.io.export import images

    monkeypatch.setattr(images, "TILE", 16)
    export, steps = worked.keeping.export, []
    choose(monkeypatch, tmp_path / "aligned")
    export.runner.progressed.connect(steps.append)
    with qtbot.waitSignal(export.said, check_params_cb=lambda said, bad: "written" in said):
        export.targets["images"].trigger()
    assert len({step.done for step in steps if step.stage == "image of slice2"}) > 4
    assert tifffile.imread(tmp_path / "aligned" / "slice2.ome.tif").shape[2] == 3
