"""All docks open: Run, a stage that fails, what is said and shown, and Complete."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from qtpy.QtCore import Qt
from tiny import QUICK, tiny_pair

from napari_staligner import _keys as K
from napari_staligner.core import integrate as core
from napari_staligner.core import registration
from napari_staligner.core.attempt import (
    CONFIDENCE,
    DOMAINS,
    EXPRESSION,
    PRESENCE,
    REGISTRATION,
)
from napari_staligner.core.domains import domains, presence
from napari_staligner.core.missing_stages import missing_stages
from napari_staligner.core.result import confidence
from napari_staligner.io import recovery
from napari_staligner.session import ColorBy
from napari_staligner.widgets.workbench import open_workbench


def fails(*_, **__):
    raise FloatingPointError("went wrong")


@pytest.fixture
def bench(make_napari_viewer_proxy, qtbot):
    """All docks with two slices."""
    docks = open_workbench(make_napari_viewer_proxy(show=True))
    session = docks["Integrate"].session
    session.add(tiny_pair())
    session.view.settings = replace(QUICK, device="cpu")
    yield docks
    for dock in docks.values():
        settle(qtbot, dock)


def settle(qtbot, dock) -> None:
    for name in ("_runner", "_measurer"):
        runner = getattr(dock, name, None)
        if runner is not None:
            qtbot.waitUntil(lambda runner=runner: not runner.running)


def click(qtbot, bench, button) -> None:
    dock = bench["Integrate"]
    assert button.isEnabled()
    qtbot.mouseClick(button, Qt.MouseButton.LeftButton)
    settle(qtbot, dock)


def look_everywhere(session) -> None:
    """Show what reads the slots of a result."""
    for layout in ("mosaic", "stack", "grid"):
        session.view.layout = layout
    for key in (
        K.SLICE,
        "half",
        *(k for k in (K.DOMAIN, K.CONFIDENCE) if k in session.result.adata.obs),
    ):
        session.view.color_by = ColorBy("obs", key)
    session.view.color_by = ColorBy("gene", "gene3")
    session.view.links = replace(session.view.links, shown=True)
    session.view.trust = replace(session.view.trust, least=0.5)
    session.view.trust = replace(session.view.trust, least=0.0)
    session.view.links = replace(session.view.links, shown=False)


SAID = {
    CONFIDENCE: {"Compare": None},
    DOMAINS: {"Domains": "This result has no domains", "Judge": "This result has no domains"},
    PRESENCE: {"Judge": "It is not known which slices"},
    REGISTRATION: {"Alignment": "are not registered: press Register"},
}
PATCHES = {
    CONFIDENCE: [(confidence, "confidence_steps")],
    DOMAINS: [(domains, "domain_steps")],
    PRESENCE: [(domains, "presence"), (presence, "presence")],
    REGISTRATION: [(registration, "register_steps")],
}


def test_a_stage_that_fails_is_said_and_completed(bench, qtbot, monkeypatch):
    dock, session = bench["Integrate"], bench["Integrate"].session
    assert not dock.complete.isVisibleTo(dock)
    for stage, patches in PATCHES.items():
        with monkeypatch.context() as patch:
            for module, name in patches:
                patch.setattr(module, name, fails)
            click(qtbot, bench, dock.run)
            text = dock.status.text()
            assert session.result.adata is not None, text
            assert "Done in " in text
            assert f"{stage.opening} (an unexpected FloatingPointError: went wrong" in text
            assert text.count(stage.opening) == 1
            assert dock.status.styleSheet() != ""
            assert dock.complete.isVisibleTo(dock)
            look_everywhere(session)
            for name, said in SAID[stage].items():
                if said:
                    assert said in bench[name].status.text()
            if stage is CONFIDENCE:
                assert bench["Compare"].trusted.text().startswith("This result has none")
            # It fails once more, and costs nothing once more.
            click(qtbot, bench, dock.complete)
            assert stage.opening in dock.status.text()
            assert dock.complete.isVisibleTo(dock)
        click(qtbot, bench, dock.complete)
        assert dock.status.text().startswith("Completed in ")
        assert not dock.complete.isVisibleTo(dock)
        assert missing_stages(session.result.adata) == ()
        assert not any("missing" in str(n) for n in session.result.adata.uns[K.STALIGNER]["notes"])
        assert len(session.domains.names) == 2
        assert session.alignment.state is not None
        assert not session.saved
        look_everywhere(session)
        for name, said in SAID[stage].items():
            assert not said or said not in bench[name].status.text()


def test_register_and_domains_of_their_own_docks(bench, qtbot, monkeypatch):
    dock, session = bench["Integrate"], bench["Integrate"].session
    with monkeypatch.context() as patch:
        for stage in (DOMAINS, REGISTRATION):
            for module, name in PATCHES[stage]:
                patch.setattr(module, name, fails)
        click(qtbot, bench, dock.run)
    found, aligned = bench["Domains"], bench["Alignment"]
    qtbot.mouseClick(aligned.register, Qt.MouseButton.LeftButton)
    qtbot.waitUntil(lambda: session.alignment.state is not None)
    settle(qtbot, aligned)
    assert aligned.status.text().startswith("The slices are registered.")
    found.k.setValue(3)
    qtbot.waitUntil(lambda: len(session.domains.names) == 3)
    settle(qtbot, found)
    assert not dock.complete.isVisibleTo(dock)
    assert not any("missing" in str(n) for n in session.result.adata.uns[K.STALIGNER]["notes"])


def test_a_result_without_expression_is_shown(bench, qtbot, monkeypatch):
    dock, session = bench["Integrate"], bench["Integrate"].session
    join = core.concatenate

    def concatenate(slices, genes, *counts):
        if slices[0][1].n_obs > 2 and slices[0][1].X.nnz:
            raise MemoryError
        return join(slices, genes, *counts)

    monkeypatch.setattr(core, "concatenate", concatenate)
    click(qtbot, bench, dock.run)
    assert session.result.adata is not None, dock.status.text()
    assert session.result.adata.X is None
    assert f"{EXPRESSION.opening} (not enough memory)" in dock.status.text()
    look_everywhere(session)


def test_a_copy_that_cannot_be_kept_costs_nothing(bench, qtbot, monkeypatch):
    dock, session = bench["Integrate"], bench["Integrate"].session
    monkeypatch.setattr(recovery, "written_beside", fails)
    click(qtbot, bench, dock.run)
    assert session.result.adata is not None
    assert "not kept from a crash until it is saved" in dock.status.text()
    assert np.isfinite(session.result.adata.obsm[K.EMBEDDING]).all()


def test_a_cancel_in_a_stage_leaves_all_as_it_was(bench, qtbot, monkeypatch):
    dock, session = bench["Integrate"], bench["Integrate"].session
    steps = confidence.confidence_steps

    def cancelled(*args, **kwargs):
        dock._runner._cancelled.set()
        dock._runner._generation += 1
        return (yield from steps(*args, **kwargs))

    monkeypatch.setattr(confidence, "confidence_steps", cancelled)
    click(qtbot, bench, dock.run)
    assert session.result.adata is None
