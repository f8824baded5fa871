from __future__ import annotations

import gc
import weakref
from dataclasses import replace
from threading import Event

import anndata as ad
import numpy as np
import pytest
from fakes import fake_result, fake_slice
from qtpy.QtCore import Qt, QThreadPool
from qtpy.QtWidgets import QFileDialog

from napari_staligner import _keys as K
from napari_staligner._errors import InputError
from napari_staligner.compat import garbage
from napari_staligner.core import integrate as core
from napari_staligner.core.fields import described
from napari_staligner.core.progress import Loss, Progress, spoken
from napari_staligner.core.settings import PRESETS, SETTINGS, Settings
from napari_staligner.io.recovery import unsaved_folder
from napari_staligner.widgets.integrate import dock as module
from napari_staligner.widgets.integrate.clock import Clock
from napari_staligner.widgets.integrate.loss_plot import LossPlot

LEFT = Qt.MouseButton.LeftButton


@pytest.fixture
def dock(open_dock, qtbot):
    dock = open_dock(module.IntegrateWidget)
    yield dock
    dock._runner.cancel()
    ended(qtbot, dock)


@pytest.fixture
def loaded(dock):
    """The dock with two slices, and the result that the engine will give."""
    slices, result = fake_result((30, 25))
    dock.session.add(slices)
    return dock, result


class Engine:
    """Stands in for ``integrate_steps``: six steps, each let through by ``go`` if it is held."""

    def __init__(self, result, *, held=False, error=None):
        self.result, self.error = result, error
        self.jobs = []
        self.go = Event()
        if not held:
            self.go.set()

    def __call__(self, slices, settings):
        self.jobs.append((slices, settings))
        yield Progress("check", 0, 6, note="Slice 'slice1' has few spots.")
        for epoch in range(1, 5):
            loss = Loss(epoch, 1 / epoch, None if epoch < 3 else 2 / epoch)
            yield Progress("pretrain" if epoch < 3 else "align", epoch, 6, loss=loss)
            assert self.go.wait(10)
        if self.error is not None:
            raise self.error
        return self.result


@pytest.fixture
def engine(loaded, monkeypatch):
    engine = Engine(loaded[1])
    monkeypatch.setattr(core, "integrate_steps", engine)
    yield engine
    engine.go.set()


def ended(qtbot, dock):
    qtbot.waitUntil(lambda: not (dock._runner.running or dock._saver.running))


def choose(qtbot, box, text):
    index = box.findText(text, Qt.MatchFlag.MatchStartsWith)
    assert index >= 0, [box.itemText(i) for i in range(box.count())]
    box.showPopup()
    box.view().setCurrentIndex(box.model().index(index, 0))
    qtbot.keyClick(box.view(), Qt.Key.Key_Return)


def type_into(qtbot, box, text):
    box.selectAll()
    qtbot.keyClicks(box, text)
    qtbot.keyClick(box, Qt.Key.Key_Return)


# -- readiness and settings -----------------------------------------------------------------


def test_no_slice_is_said_and_run_disabled(dock):
    assert dock.status.text() == module.NO_SLICE
    assert not dock.run.isEnabled()
    assert not dock.save.isEnabled()
    assert not dock.plot.isVisibleTo(dock)
    assert dock.minimumSizeHint().width() <= 380


def test_one_slice_is_said_and_runs(dock):
    dock.session.add([("a", fake_slice(20))])
    assert dock.status.text() == module.ONE_SLICE
    assert dock.run.isEnabled()
    dock.session.add([("b", fake_slice(20))])
    assert dock.status.text() == "Ready: 2 slices."


def test_every_control_explains_itself(dock):
    panel = dock.settings
    boxes = [panel.preset, panel.method, panel.domains, panel.resolution, panel.seed]
    boxes += [panel.pairs.how, *panel.controls.values()]
    boxes += [dock.run, dock.cancel, dock.save]
    assert all(len(box.toolTip()) > 10 for box in boxes)


def test_every_setting_has_one_control_or_a_reason_why_it_has_none(dock):
    panel = dock.settings
    top = {"domains": panel.domains, "resolution": panel.resolution, "seed": panel.seed}
    assert not top.keys() & panel.controls.keys()
    boxes = top | panel.controls
    for name, field in described(Settings).items():
        assert (name in boxes) != bool(field.setting.no_control)
    for name, box in panel.controls.items():
        label = box.parentWidget().layout().labelForField(box)
        said = described(Settings)[name].setting
        assert (label.text(), label.toolTip(), box.toolTip()) == (said.label, said.tip, said.tip)


def test_controls_show_and_set_the_sessions_settings(dock, qtbot):
    panel, session = dock.settings, dock.session
    type_into(qtbot, panel.controls["epochs"], "120")
    type_into(qtbot, panel.controls["margin"], "2.5")
    type_into(qtbot, panel.controls["learning_rate"], "0.0005")
    type_into(qtbot, panel.seed, "7")
    choose(qtbot, panel.controls["positives"], "Nearest")
    choose(qtbot, panel.controls["device"], "CPU")
    assert session.view.settings == Settings(
        epochs=120, margin=2.5, learning_rate=5e-4, seed=7, positives="nearest", device="cpu"
    )
    session.view.settings = replace(session.view.settings, alpha=0.2, hidden=64, domains=9)
    assert panel.controls["alpha"].value() == pytest.approx(0.2)
    assert panel.controls["hidden"].value() == 64
    assert panel.domains.value() == 9
    assert panel.amount.currentWidget() is panel.domains


def test_refused_value_is_said_and_the_old_one_comes_back(dock, qtbot):
    dock.session.view.settings = replace(dock.session.view.settings, pretrain_epochs=0)
    type_into(qtbot, dock.settings.controls["epochs"], "0")
    assert "train for at least 1 epoch" in dock.status.text()
    assert dock.settings.controls["epochs"].value() == Settings().epochs
    assert dock.session.view.settings.epochs == Settings().epochs


def test_number_or_leiden(dock, qtbot):
    panel = dock.settings
    assert panel.amount.currentWidget() is panel.resolution
    choose(qtbot, panel.method, "Number")
    assert dock.session.view.settings.domains == 7
    type_into(qtbot, panel.domains, "5")
    assert dock.session.view.settings.domains == 5
    choose(qtbot, panel.method, "Leiden")
    assert dock.session.view.settings.domains is None


def test_ours_or_the_papers_settings(dock, qtbot):
    panel, session = dock.settings, dock.session
    type_into(qtbot, panel.seed, "7")
    assert panel.named.currentText() == "Default"
    choose(qtbot, panel.named, "Published")
    assert session.view.settings == replace(SETTINGS["published"], seed=7)
    assert panel.controls["epochs"].value() == 500
    type_into(qtbot, panel.controls["epochs"], "400")
    assert panel.named.currentText() == "Custom"
    choose(qtbot, panel.named, "Default")
    assert session.view.settings == replace(SETTINGS["default"], seed=7)


def test_presets(dock, qtbot):
    panel, session = dock.settings, dock.session
    # The defaults are those of two presets, and say nothing of the technology.
    assert panel.preset.currentText() == "None"
    choose(qtbot, panel.preset, "Imaging")
    assert session.view.settings == Settings().with_preset("imaging")
    assert panel.preset.toolTip() == PRESETS["imaging"].reason
    # The genes of the imaging preset do not stay behind.
    choose(qtbot, panel.preset, "Visium")
    assert session.view.settings == Settings().with_preset("visium")
    choose(qtbot, panel.preset, "None")
    assert session.view.settings == Settings()
    type_into(qtbot, panel.controls["mnn_k"], "33")
    assert panel.preset.currentText() == "Custom"
    for name, preset in PRESETS.items():
        choose(qtbot, panel.preset, preset.title)
        assert panel.preset.currentData() == name


def test_counts_layer_offers_what_all_slices_have(dock, qtbot):
    both, one = fake_slice(20), fake_slice(20)
    for adata in (both, one):
        adata.layers["counts"] = adata.X.copy()
    one.layers["raw"] = one.X.copy()
    dock.session.add([("a", both), ("b", one)])
    box = dock.settings.controls["counts_layer"]
    assert [box.itemText(i) for i in range(box.count())] == ["X", "counts"]
    choose(qtbot, box, "counts")
    assert dock.session.view.settings.counts_layer == "counts"
    dock.session.add([("c", fake_slice(20))])
    assert dock.session.view.settings.counts_layer is None


def test_pairs(dock, qtbot):
    pairs, session = dock.settings.pairs, dock.session
    session.add([(name, fake_slice(20)) for name in "abcd"])
    choose(qtbot, pairs.how, "Chain")
    assert session.view.settings.pairs == (("a", "b"), ("b", "c"), ("c", "d"))
    session.slices.remove("b")
    assert session.view.settings.pairs == (("a", "c"), ("c", "d"))
    choose(qtbot, pairs.how, "Custom")
    assert len(session.view.settings.pairs) == 3
    item = pairs.list.item(0)
    item.setCheckState(Qt.CheckState.Unchecked)
    assert session.view.settings.pairs == (("a", "d"), ("c", "d"))
    for row in range(pairs.list.count()):
        pairs.list.item(row).setCheckState(Qt.CheckState.Unchecked)
    assert dock.status.text() == module.NO_PAIR
    assert not dock.run.isEnabled()
    choose(qtbot, pairs.how, "All")
    assert session.view.settings.pairs is None
    assert dock.run.isEnabled()


# -- the run --------------------------------------------------------------------------------


def test_run_gives_the_session_its_result(loaded, engine, qtbot):
    dock, result = loaded
    qtbot.mouseClick(dock.run, LEFT)
    assert not dock.run.isEnabled()
    assert dock.cancel.isEnabled()
    assert dock.bar.isVisibleTo(dock)
    qtbot.waitUntil(lambda: dock.session.result.adata is not None)
    ended(qtbot, dock)
    assert dock.session.result.adata is result
    assert not dock.session.saved
    assert dock.status.text().startswith("Done in ")
    assert "4 domains over 2 slices.\nSlice 'slice1' has few spots." in dock.status.text()
    # The number of domains was left to Leiden.
    assert "Which k is stable?" in dock.status.text()
    assert dock.run.isEnabled()
    assert dock.save.isEnabled()
    assert not dock.bar.isVisibleTo(dock)


def test_run_works_on_copies(loaded, engine, qtbot):
    dock, _ = loaded
    qtbot.mouseClick(dock.run, LEFT)
    ended(qtbot, dock)
    ((slices, settings),) = engine.jobs
    assert settings == dock.session.view.settings
    assert [name for name, _ in slices] == ["slice1", "slice2"]
    assert not any(adata is dock.session.slices[name] for name, adata in slices)


def test_time_and_curves_are_shown_during_the_run(loaded, engine, qtbot):
    dock, _ = loaded
    engine.go.clear()
    qtbot.mouseClick(dock.run, LEFT)
    qtbot.waitUntil(lambda: "epoch 1" in dock.stage.text())
    assert dock.stage.text().startswith("Pretrain, epoch 1: ")
    epochs, _ = dock.plot.curves["reconstruction"].getData()
    assert list(epochs) == [1]
    engine.go.set()
    ended(qtbot, dock)


def test_what_a_run_takes_is_said_and_is_no_warning(dock):
    outlook = Progress("estimate", 0, 6, outlook="This takes up to about 3 s.")
    dock._runner.progressed.emit(outlook)
    assert dock.status.text() == "This takes up to about 3 s."
    assert dock.status.styleSheet() == ""
    dock._runner.progressed.emit(Progress("check", 0, 6, note="Slice 'a' has few spots."))
    assert dock.status.styleSheet() != ""
    dock._runner.progressed.emit(outlook)
    assert dock.status.text() == "Slice 'a' has few spots.\nThis takes up to about 3 s."
    assert dock.status.styleSheet() != ""


def test_only_one_run_at_a_time(loaded, engine, qtbot):
    dock, _ = loaded
    engine.go.clear()
    qtbot.mouseClick(dock.run, LEFT)
    qtbot.mouseClick(dock.run, LEFT)
    with pytest.raises(InputError, match="still running"):
        dock._runner.start(lambda: None, "Second")
    engine.go.set()
    ended(qtbot, dock)
    assert len(engine.jobs) == 1


def test_cancel_leaves_all_as_it_was_and_run_works_again(loaded, engine, qtbot):
    dock, result = loaded
    earlier = fake_result((30, 25), n_domains=2)[1]
    dock.session.set_result(earlier, saved=True)
    shown = dock.plot.curves["reconstruction"].getData()[1].copy()
    engine.go.clear()
    qtbot.mouseClick(dock.run, LEFT)
    qtbot.waitUntil(lambda: dock._step is not None)
    qtbot.mouseClick(dock.cancel, LEFT)
    assert not dock.cancel.isEnabled()
    engine.go.set()
    ended(qtbot, dock)
    assert dock.session.result.adata is earlier
    assert dock.session.saved
    assert dock.status.text() == "Cancelled: nothing has changed."
    assert not [*unsaved_folder().glob("*")], "the run is still awaited"
    np.testing.assert_array_equal(dock.plot.curves["reconstruction"].getData()[1], shown)
    qtbot.mouseClick(dock.run, LEFT)
    ended(qtbot, dock)
    assert dock.session.result.adata is result


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (InputError("Slice 'slice1' is empty."), "Slice 'slice1' is empty."),
        (RuntimeError("bad shape"), "RuntimeError (bad shape)"),
    ],
)
def test_failure_is_said_and_run_works_again(loaded, engine, qtbot, error, said):
    dock, result = loaded
    engine.error = error
    qtbot.mouseClick(dock.run, LEFT)
    ended(qtbot, dock)
    assert said in dock.status.text()
    assert dock.session.result.adata is None
    engine.error = None
    qtbot.mouseClick(dock.run, LEFT)
    ended(qtbot, dock)
    assert dock.session.result.adata is result


def test_result_is_dropped_if_the_slices_changed(loaded, engine, qtbot):
    dock, _ = loaded
    engine.go.clear()
    qtbot.mouseClick(dock.run, LEFT)
    qtbot.waitUntil(lambda: dock._step is not None)
    dock.session.slices.remove("slice2")
    dock.session.add([("slice2", fake_slice(25))])
    engine.go.set()
    ended(qtbot, dock)
    assert dock.session.result.adata is None
    assert dock.status.text().startswith("The slices changed during the run")


def test_closing_the_dock_stops_the_run(make_napari_viewer_proxy, qtbot, monkeypatch):
    viewer = make_napari_viewer_proxy()
    dock = module.IntegrateWidget(viewer)
    wrapper = viewer.window.add_dock_widget(dock, name="Integrate")
    slices, result = fake_result((30, 25))
    session = dock.session
    session.add(slices)
    engine = Engine(result, held=True)
    monkeypatch.setattr(core, "integrate_steps", engine)
    qtbot.mouseClick(dock.run, LEFT)
    qtbot.waitUntil(lambda: dock._step is not None)
    cancelled = dock._runner._cancelled
    wrapper.destroyOnClose()
    qtbot.waitUntil(cancelled.is_set)
    engine.go.set()
    assert QThreadPool.globalInstance().waitForDone(10_000)
    qtbot.wait(10)
    assert session.result.adata is None


def test_libraries_of_a_run_are_spared_and_what_was_closed_is_found(
    loaded, engine, qtbot, monkeypatch
):
    monkeypatch.setattr(garbage, "REST_SECONDS", 0.1)
    dock, _ = loaded
    held = fake_slice(20)
    held.uns["itself"] = held
    gone = weakref.ref(held)
    qtbot.mouseClick(dock.run, LEFT)
    ended(qtbot, dock)
    qtbot.waitUntil(lambda: gc.get_freeze_count() > 0 and not dock._garbage._new)
    del held
    gc.collect()
    assert gone() is not None
    dock.session.slices.remove(next(iter(dock.session.slices)))
    qtbot.waitUntil(lambda: gone() is None)
    assert gc.get_freeze_count() > 0


# -- result and saving ----------------------------------------------------------------------


def test_losses_of_an_opened_result_are_shown(loaded):
    dock, result = loaded
    dock.session.set_result(result, saved=True)
    assert dock.plot.isVisibleTo(dock)
    for name, curve in dock.plot.curves.items():
        np.testing.assert_allclose(curve.getData()[1], result.uns[K.STALIGNER]["loss"][name])
    dock.session.slices.remove("slice1")
    assert not dock.plot.isVisibleTo(dock)


def test_save(loaded, qtbot, monkeypatch, tmp_path):
    dock, result = loaded
    dock.session.set_result(result)
    monkeypatch.setattr(
        QFileDialog, "getSaveFileName", lambda *_: (str(tmp_path / "mine"), "AnnData (*.h5ad)")
    )
    qtbot.mouseClick(dock.save, LEFT)
    ended(qtbot, dock)
    assert dock.session.saved
    assert dock.status.text() == f"Saved as {tmp_path / 'mine.h5ad'}."
    assert ad.read_h5ad(tmp_path / "mine.h5ad").n_obs == 55


def test_edit_during_saving_stays_unsaved(loaded, qtbot, monkeypatch, tmp_path):
    dock, result = loaded
    dock.session.set_result(result)
    monkeypatch.setattr(QFileDialog, "getSaveFileName", lambda *_: (str(tmp_path / "a.h5ad"), ""))
    qtbot.mouseClick(dock.save, LEFT)
    dock.session.domains.rename("1", "glomerular")
    ended(qtbot, dock)
    assert not dock.session.saved
    assert "1" in ad.read_h5ad(tmp_path / "a.h5ad").obs["domain"].cat.categories


def test_place_that_cannot_be_written_is_said(loaded, qtbot, monkeypatch, tmp_path):
    dock, result = loaded
    dock.session.set_result(result)
    target = tmp_path / "missing" / "a.h5ad"
    monkeypatch.setattr(QFileDialog, "getSaveFileName", lambda *_: (str(target), ""))
    qtbot.mouseClick(dock.save, LEFT)
    ended(qtbot, dock)
    assert "does not exist" in dock.status.text()
    assert not dock.session.saved


# -- parts ----------------------------------------------------------------------------------


def test_plot_follows_the_theme(make_napari_viewer_proxy):
    viewer = make_napari_viewer_proxy()
    dock = module.IntegrateWidget(viewer)
    viewer.window.add_dock_widget(dock, name="Integrate")
    viewer.theme = "dark"
    dark = dock.plot.backgroundBrush().color().lightness()
    viewer.theme = "light"
    assert dark < 100 < 200 < dock.plot.backgroundBrush().color().lightness()


def test_plot_leaves_out_epochs_without_triplets(make_napari_viewer_proxy, qtbot):
    plot = LossPlot(make_napari_viewer_proxy())
    qtbot.addWidget(plot)
    assert plot.empty
    plot.add([Loss(1, 3.0), Loss(2, 2.0, 0.5)])
    assert not plot.empty
    np.testing.assert_array_equal(plot.curves["triplet"].getData()[1], [np.nan, 0.5])
    plot.clear_curves()
    assert plot.empty


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0.4, "0 s"), (59.6, "1 min"), (130, "2 min 10 s"), (3600, "1 h"), (7380, "2 h 3 min")],
)
def test_spoken(seconds, text):
    assert spoken(seconds) == text


def test_clock_tells_what_is_left_by_the_latest_pace(monkeypatch):
    now = [0.0]
    monkeypatch.setattr("napari_staligner.widgets.integrate.clock.monotonic", lambda: now[0])
    clock = Clock()
    clock.start()
    clock.tick(0, 200)
    assert clock.left is None
    now[0] = 100.0  # a slow beginning that does not come again
    for step in range(1, 101):
        now[0] += 0.5
        clock.tick(step, 200)
    assert clock.elapsed == pytest.approx(150)
    assert clock.left == pytest.approx(50)


def test_real_engine_from_click_to_domains(dock, qtbot, bulb):
    dock.session.add(zip(("Slide-seqV2", "Stereo-seq"), bulb, strict=True))
    dock.session.view.settings = replace(
        dock.session.view.settings,
        pretrain_epochs=4,
        epochs=4,
        refresh=2,
        hidden=32,
        mnn_k=20,
        domains=5,
        device="cpu",
    )
    before = {name: adata.copy() for name, adata in dock.session.slices.items()}
    qtbot.mouseClick(dock.run, LEFT)
    qtbot.waitUntil(lambda: not dock._runner.running)
    result = dock.session.result.adata
    assert result is not None, dock.status.text()
    assert result.obsm[K.EMBEDDING].shape == (1100, 30)
    assert len(dock.session.domains.names) == 5
    assert "5 domains over 2 slices" in dock.status.text()
    recovery = dock.session.autosave.recovery
    assert recovery.awaited is None
    assert [*unsaved_folder().glob("*.h5ad")] == [recovery.result]
    epochs, _ = dock.plot.curves["triplet"].getData()
    assert list(epochs) == list(range(1, 9))
    for name, adata in dock.session.slices.items():
        assert list(adata.obs) == list(before[name].obs)
        assert (adata.X != before[name].X).nnz == 0
