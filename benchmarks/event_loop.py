"""How freely the window lives while something is computed behind it.

scripts/with_display.sh --hidden .venv/bin/python -W ignore benchmarks/event_loop.py train
scripts/with_display.sh --hidden .venv/bin/python -W ignore benchmarks/event_loop.py domains

``train`` runs a training by the Integrate dock, with all docks open and the canvas at rest, and
in turns the same training in a process of its own without a window. ``domains`` finds other
domains of a result by the Domains dock. A timer that is due every 10 ms tells how late the event
loop comes to it: the 95th percentile of its delays, and the longest, which is how long the window
was frozen. All of it in milliseconds, less what the thread of the window waited for a core that
other programs had (told by Linux); an epoch in seconds by the clock, and of CPU of all threads.
"""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import typer
from anndata import AnnData
from canvas import DOMAINS, domain_codes, load, one_slice
from qtpy.QtCore import QEventLoop, QObject, Qt, QTimer

from napari_staligner import _keys as K
from napari_staligner.core.progress import Progress
from napari_staligner.core.settings import Settings

DUE_MS, MARKERS = 10, 1200
SETTINGS = Settings(tolerance=0, domains=DOMAINS, device="cpu", precision="float32")
app = typer.Typer(add_completion=False, help=__doc__)


@app.command()
def train(spots: int = 40_000, slices: int = 8, epochs: int = 20, turns: int = 2) -> None:
    """Event loop and epochs while a training runs, against the same training alone."""
    window = Window()
    window.session.add(structured(spots, slices))
    window.session.view.settings = of_length(epochs)
    dock = window.docks["Integrate"]
    window.rest(2)
    window.report("at rest", window.rest(5))
    for turn in range(turns):
        alone = json.loads(
            subprocess.run(
                [
                    sys.executable,
                    "-W",
                    "ignore",
                    __file__,
                    "alone",
                    str(spots),
                    str(slices),
                    str(epochs),
                ],
                check=True,
                capture_output=True,
                text=True,
            ).stdout
        )
        taken, stages = Epochs(), Stages(window.probe)
        dock._runner.progressed.connect(taken.take)
        dock._runner.progressed.connect(stages.take)
        window.probe.start()
        dock.run.click()
        window.live(lambda: dock._runner.running)
        window.live_for(2)
        stages.end()
        dock._runner.progressed.disconnect(taken.take)
        dock._runner.progressed.disconnect(stages.take)
        print(f"turn {turn + 1}: {dock.status.text().splitlines()[0]}")
        for stage, delays in stages.delays.items():
            window.report(stage, delays)
        for what, here, there in zip(
            ("clock", "CPU"), taken.each(), (alone["clock"], alone["cpu"]), strict=True
        ):
            print(f"  epoch, {what}: {here:.3f} s, alone {there:.3f} s: {here / there:.2f} times")
    window.close()


@app.command()
def alone(spots: int, slices: int, epochs: int) -> None:
    """Train without a window, and print what an epoch takes."""
    from napari_staligner.core.integrate import integrate_steps
    from napari_staligner.core.progress import finish

    taken = Epochs()
    finish(integrate_steps(structured(spots, slices), of_length(epochs)), taken.take)
    clock, cpu = taken.each()
    print(json.dumps({"clock": clock, "cpu": cpu}))


@app.command()
def domains(spots: int = 200_000, slices: int = 8, rounds: int = 3) -> None:
    """Event loop while other domains are found, by the mixture and by smoothing over neighbours."""
    window = Window()
    load(window.session, spots // slices, slices)
    embed(window.session.result.adata)
    window.session.result.changed.emit()
    dock = window.docks["Domains"]
    window.rest(25)
    window.report("at rest", window.rest(5))
    said: list[float] = []
    dock._runner.progressed.connect(lambda _: said.extend(window.probe.take()))
    for turn in range(rounds):
        window.probe.start()
        dock.mixture.setChecked(True)
        dock.k.setValue(DOMAINS - 1 - turn)
        start = time.perf_counter()
        window.live(lambda: not dock._runner.running)
        waiting = window.probe.take()
        said.clear()
        window.live(lambda: dock._runner.running)
        window.live_for(2)
        print(f"{dock.k.value()} domains in {time.perf_counter() - start - 2:.1f} s")
        for what, delays in (
            ("start", waiting),
            ("search", said),
            ("result, and shown", window.probe.take()),
        ):
            window.report(what, delays)
    window.close()


def of_length(epochs: int) -> Settings:
    """Settings with so many epochs of each kind."""
    return replace(SETTINGS, pretrain_epochs=epochs, epochs=epochs)


class Window:
    """A viewer with all docks, one in front, and a probe of its event loop."""

    def __init__(self) -> None:
        import napari

        from napari_staligner.layers import open_session
        from napari_staligner.widgets.workbench import open_workbench

        self.viewer = napari.Viewer()
        self.viewer.window.resize(1600, 1000)
        self.docks = open_workbench(self.viewer)
        self.session = open_session(self.viewer)
        self.probe = Probe()

    def live(self, while_true: Callable[[], bool]) -> None:
        """Let the event loop run while something holds."""
        loop, check = QEventLoop(), QTimer()
        check.setInterval(20)
        check.timeout.connect(lambda: None if while_true() else loop.quit())
        check.start()
        loop.exec()
        check.stop()

    def rest(self, seconds: float) -> list[float]:
        """Let the event loop run; returns its delays."""
        self.probe.start()
        self.live_for(seconds)
        return self.probe.take()

    def live_for(self, seconds: float) -> None:
        """Let the event loop run for some time."""
        end = time.perf_counter() + seconds
        self.live(lambda: time.perf_counter() < end)

    @staticmethod
    def report(what: str, delays: list[float]) -> None:
        """Print the delays of one part."""
        p95, longest = (np.percentile(delays, 95), max(delays)) if delays else (0, 0)
        print(f"  {what:<28} p95 {1e3 * p95:6.1f}   longest {1e3 * longest:7.1f}")

    def close(self) -> None:
        """Close without a question."""
        self.session.saved = True
        self.viewer.close()


class Probe(QObject):
    """Delays of a timer."""

    def __init__(self) -> None:
        super().__init__()
        self._timer = QTimer(self)
        self._timer.setTimerType(Qt.TimerType.PreciseTimer)
        self._timer.setInterval(DUE_MS)
        self._timer.timeout.connect(self._on_due)
        self._delays: list[float] = []

    def start(self) -> None:
        """Start over."""
        self._delays, self._last = [], time.perf_counter() - waited_for_a_core()
        self._timer.start()

    def take(self) -> list[float]:
        """Delays in seconds since the last call."""
        delays, self._delays = self._delays, []
        return delays

    def _on_due(self) -> None:
        now = time.perf_counter() - waited_for_a_core()
        self._delays.append(max(0.0, now - self._last - DUE_MS / 1e3))
        self._last = now


def waited_for_a_core() -> float:
    """Seconds that this thread stood ready while others had the cores; 0 where it is not told."""
    try:
        return int(Path("/proc/thread-self/schedstat").read_text().split()[1]) / 1e9
    except (OSError, IndexError):
        return 0.0


class Stages:
    """Delays by what the run was doing."""

    def __init__(self, probe: Probe) -> None:
        self._probe, self._stage = probe, "start, preparing"
        self.delays: dict[str, list[float]] = {}

    def take(self, step: Progress) -> None:
        """A step was made."""
        stage = "training"
        if step.loss is None:
            rest = "domains to result" if "training" in self.delays else self._stage
            stage = "matches" if step.stage.startswith("match") else rest
        if stage != self._stage:
            self.end()
            self._stage = stage

    def end(self) -> None:
        """Take the delays of the stage that ends."""
        self.delays.setdefault(self._stage, []).extend(self._probe.take())


class Epochs:
    """Median of what an epoch takes; those after a search for matches are left out by it."""

    def __init__(self) -> None:
        self._at: list[tuple[float, float]] = []

    def take(self, step: Progress) -> None:
        """A step was made."""
        if step.loss is not None:
            self._at.append((time.perf_counter(), time.process_time()))

    def each(self) -> tuple[float, float]:
        """Seconds by the clock, and of CPU."""
        clock, cpu = np.median(np.diff(self._at, axis=0), axis=0)
        return float(clock), float(cpu)


def structured(spots: int, slices: int) -> list[tuple[str, AnnData]]:
    """Slices some of whose genes tell their domains apart."""
    named = []
    for number in range(slices):
        adata = one_slice(spots // slices, seed=number)
        of_gene = np.where(np.arange(adata.n_vars) < MARKERS, np.arange(adata.n_vars) % DOMAINS, -1)
        rows = np.repeat(domain_codes(adata), np.diff(adata.X.indptr))
        adata.X.data[rows == of_gene[adata.X.indices]] *= 10
        named.append((f"slice{number + 1}", adata))
    return named


def embed(result: Any) -> None:
    """Give a result an embedding in which its domains are clouds, and a spatial graph."""
    from scipy.sparse import block_diag

    from napari_staligner.core.prepare.graph import spatial_graph

    rng = np.random.default_rng(0)
    codes = result.obs[K.DOMAIN].cat.codes.to_numpy()
    centres = rng.normal(size=(DOMAINS, 30)) * 2
    z = centres[codes] + rng.normal(size=(result.n_obs, 30))
    result.obsm[K.EMBEDDING] = z.astype(np.float32)
    names = result.obs[K.SLICE].cat.categories
    graphs = [
        spatial_graph(result.obsm[K.SPATIAL][(result.obs[K.SLICE] == name).to_numpy()], SETTINGS)
        for name in names
    ]
    result.obsp[K.CONNECTIVITIES] = block_diag([g.connectivities for g in graphs], format="csr")


if __name__ == "__main__":
    app()
