"""Twelve slices judged from end to end in the window, and how long each step froze it.

scripts/with_display.sh --hidden .venv/bin/python -W ignore benchmarks/twelve_slices.py

Each of the four cortex slices is taken three times, with counts thinned anew and some spots more,
turned or mirrored: twelve slices, 50,000 spots, each with its histology. They are opened as files,
integrated, measured pair by pair, all 66 pairs are gone through by *Next*, two suspects are
excluded, a profile is drawn, and a figure and a session are written; all by presses of the docks'
buttons. A timer tells how late the event loop comes to it, as in ``event_loop.py``: the longest
delay of a step is how long it froze the window. Milliseconds, less what the window's thread waited
for a core.

As a measure of the machine, the same layers are shown at the end by napari alone, without our
docks: added one by one, all but two of its slices hidden, all shown again, and drawn once more.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any
from unittest.mock import patch

import anndata as ad
import napari
import numpy as np
import typer
from event_loop import Window
from napari.layers import Image, Layer, Points
from qtpy.QtCore import Qt
from qtpy.QtTest import QTest
from qtpy.QtWidgets import QFileDialog
from scipy import sparse
from slices import load

from napari_staligner import _keys as K
from napari_staligner.session import ColorBy
from napari_staligner.widgets.tabs import raise_dock

LEFT = Qt.MouseButton.LeftButton
COPIES, SPOTS = 3, 50_000
FIRST, OTHERS = "Next, the first pair", "Next, the other pairs"
ADDED = "napari alone, a layer added"


class Walk:
    """Steps of a window, each with its longest freeze."""

    def __init__(self, window: Window) -> None:
        self.window = window
        self.longest: dict[str, float] = {}

    def step(
        self, what: str, act: Callable[[], None], until: Callable[[], bool] = lambda: True
    ) -> None:
        """Act, and let the event loop run until something holds, and a moment longer."""
        start = time.perf_counter()
        self.window.probe.start()
        act()
        self.window.live(lambda: not until())
        seconds = time.perf_counter() - start
        self.window.live_for(0.3)
        delays = self.window.probe.take()
        self.longest[what] = max(self.longest.get(what, 0.0), max(delays, default=0.0))
        if what not in (FIRST, OTHERS, ADDED):
            self.window.report(f"{what} ({seconds:.1f} s)", delays)

    def press(self, what: str, button: Any, until: Callable[[], bool] = lambda: True) -> None:
        """Click a button."""
        self.step(what, lambda: QTest.mouseClick(button, LEFT), until)


def main(epochs: int = 60, pairs: int = 66) -> None:
    """Walk through it; epochs of each kind, which do not change what a step freezes."""
    with TemporaryDirectory() as folder:
        files = twelve_files(Path(folder))
        window = Window()
        docks, session, walk = window.docks, window.session, Walk(window)
        settings = session.view.settings
        session.view.settings = replace(settings, epochs=epochs, pretrain_epochs=epochs)
        window.rest(2)
        window.report("at rest", window.rest(3))
        _open(walk, docks["Slices"], files)
        integrate = docks["Integrate"]
        raise_dock(integrate)
        walk.press(
            "Integrate",
            integrate.run,
            lambda: session.result.adata is not None and not integrate._runner.running,
        )
        _queue(walk, docks["Judge"], pairs)
        _exclude(walk, docks["Annotate"])
        _profile(walk, docks["Profile"])
        _write(walk, docks["Slices"], Path(folder))
        frozen = {what: s for what, s in walk.longest.items() if s > 0.5}
        print(f"longest of all: {1e3 * max(walk.longest.values()):.0f} ms; over 500 ms: {frozen}")
        spots = [window.viewer.layers[name] for name in session.slices]
        images = [layer for layer in window.viewer.layers if isinstance(layer, Image)]
        layers = [layer.as_layer_data_tuple() for layer in (*images, *spots)]
        window.close()
        _napari_alone(window, layers)


def twelve_files(folder: Path) -> list[Path]:
    """Write twelve slices made of four."""
    four, rng, paths = load("dlpfc"), np.random.default_rng(0), []
    if not four:
        raise SystemExit("The cortex slices are not there: set $STALIGNER_DATA.")
    extra = SPOTS / (COPIES * sum(adata.n_obs for _, adata in four)) - 1
    for copy in range(COPIES):
        for name, adata in four:
            more = rng.choice(adata.n_obs, round(extra * adata.n_obs), replace=False)
            rows = np.concatenate([np.arange(adata.n_obs), more])
            made = adata[rows].copy()
            counts = sparse.csr_matrix(made.X)
            counts.data = rng.binomial(counts.data.astype(int), 0.8).astype(np.float32)
            counts.eliminate_zeros()
            xy = np.array(made.obsm[K.SPATIAL], dtype=np.float64)
            # The spots more lie between others.
            xy[adata.n_obs :] += 0.5 * np.median(np.diff(np.unique(xy[:, 0].round())))
            made = ad.AnnData(counts, obs=made.obs, var=made.var, uns=made.uns)
            made.obs_names = [f"{spot}-{number}" for number, spot in enumerate(made.obs_names)]
            made.obsm[K.SPATIAL] = xy
            paths.append(folder / f"{name}_{copy + 1}.h5ad")
            made.write_h5ad(paths[-1])
    return paths


def _open(walk: Walk, slices: Any, files: list[Path]) -> None:
    raise_dock(slices)
    chosen = [str(file) for file in files]
    with patch.object(QFileDialog, "getOpenFileNames", lambda *_: (chosen, "")):
        walk.press(
            "Load twelve files",
            slices.add,
            lambda: len(slices.session.slices.graphs) == len(files),
        )
    spots = sum(adata.n_obs for adata in slices.session.slices.values())
    print(f"  {len(slices.session.slices)} slices, {spots:,} spots")


def _queue(walk: Walk, judge: Any, pairs: int) -> None:
    queue = judge.queue
    walk.step("open Judge", lambda: raise_dock(judge))
    walk.step("open its queue", lambda: judge.tabs.setCurrentWidget(queue))
    session = judge.session
    walk.press("Measure all pairs", queue.run.button, lambda: bool(session.pairs.found))
    for number in range(pairs):
        walk.press(FIRST if number == 0 else OTHERS, queue.next, lambda: not queue.going)
    for what in (FIRST, OTHERS):
        print(f"  {what:<28} longest {1e3 * walk.longest[what]:7.1f}")
    walk.press("All slices", queue.leave, lambda: not queue.going)


def _exclude(walk: Walk, annotate: Any) -> None:
    panel = annotate.exclude
    walk.step("open Annotate", lambda: raise_dock(annotate))
    walk.press("open Folds and tears", panel.open)
    session = annotate.session
    walk.press("Find suspects", panel.find.button, lambda: not panel.find.running)
    for number in range(min(2, len(session.exclusions.found))):
        item = panel.suspects.topLevelItem(number)
        at = panel.suspects.visualItemRect(item).center()
        view = panel.suspects.viewport()
        walk.step(
            "look at a suspect", lambda at=at, view=view: QTest.mouseClick(view, LEFT, pos=at)
        )
        walk.press("Exclude", panel.accept)
    print(f"  {sum(session.exclusions.counts().values()):,} spots to leave out")


def _profile(walk: Walk, profile: Any) -> None:
    session = profile.session
    session.color_by = ColorBy("obs", K.CONFIDENCE)
    walk.step(
        "Profile from the border",
        lambda: raise_dock(profile),
        lambda: session.profile.found is not None,
    )


def _write(walk: Walk, slices: Any, folder: Path) -> None:
    raise_dock(slices)
    for name, button, done in (
        ("Figure", slices.figure, "figure.png"),
        ("Save", slices.keeping.save_as, "session.h5ad"),
    ):
        target = folder / done
        with patch.object(QFileDialog, "getSaveFileName", lambda *_, t=target: (str(t), "")):
            walk.press(name, button, target.exists)


def _napari_alone(window: Window, layers: list[Any]) -> None:
    viewer, walk = napari.Viewer(), Walk(window)
    viewer.window.resize(1600, 1000)
    for layer in layers:
        walk.step(ADDED, lambda layer=layer: viewer.add_layer(Layer.create(*layer)))

    def show(names: set[str]) -> None:
        for layer in viewer.layers:
            layer.visible = layer.name in names

    points = [layer for layer in viewer.layers if isinstance(layer, Points)]
    two = {layer.name for layer in points[:2]}
    walk.step("napari alone, two slices", lambda: show(two))
    walk.step("napari alone, all", lambda: show({layer.name for layer in viewer.layers}))
    for part, factor in (("zoomed in", 1.05), ("zoomed out", 1 / 1.05)):
        zoom = viewer.camera.zoom * factor
        walk.step(f"napari alone, {part}", lambda zoom=zoom: setattr(viewer.camera, "zoom", zoom))
    print(f"  {ADDED:<28} longest {1e3 * walk.longest[ADDED]:7.1f}")
    viewer.close()


if __name__ == "__main__":
    typer.run(main)
