"""The whole work of a person, by clicks, keys and drops, in a process of its own.

    python whole_path.py walk FOLDER [FILE...]    all of it; without files on the embedded sample
    python whole_path.py reopen SESSION OUT.json  what a saved session shows
    python whole_path.py crash FOLDER N           the short path, killed N times at random

Each prints nothing and writes what it saw as JSON.
"""

from __future__ import annotations

import hashlib
import json
import os
import random
import shutil
import signal
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from importlib import import_module
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
from killed_jobs import killed_jobs

from napari_staligner.io import newest_task

WINDOW = (1500, 950)
REDRAW_MS = 5000
"""How often a run shows how far it is, which nobody looks at here."""


class Walk:
    """A person at the docks.

    Parameters
    ----------
    quick
        Settings that train in a second, for files that are small.
    """

    def __init__(self, *, quick: bool = False) -> None:
        import napari

        from napari_staligner import worker
        from napari_staligner.compat import process
        from napari_staligner.widgets.integrate import dock
        from napari_staligner.widgets.workbench import open_workbench

        # Without a graphics card each change composes the whole window again, which takes longer
        # than the training.
        dock.REDRAW_MS, worker.BAR_SECONDS = REDRAW_MS, REDRAW_MS / 1000
        process.SPINNER_SPEED = 1
        self.quick = quick
        self.viewer = napari.Viewer(show=True)
        self.viewer.window.resize(*WINDOW)
        self.docks = open_workbench(self.viewer)
        self.session = self.docks["Slices"].session

    # -- a hand, and patience ---------------------------------------------------------------

    def front(self, name: str) -> Any:
        dock = self.docks[name].parentWidget()
        while not hasattr(dock, "toggleViewAction"):
            dock = dock.parentWidget()
        dock.raise_()
        self.pause(50)
        return self.docks[name]

    def click(self, button: Any) -> None:
        from qtpy.QtCore import Qt
        from qtpy.QtTest import QTest

        assert button.isEnabled(), button.text()
        QTest.mouseClick(button, Qt.MouseButton.LeftButton)

    def pause(self, milliseconds: int) -> None:
        from qtpy.QtTest import QTest

        QTest.qWait(milliseconds)

    def wait(self, until: Callable[[], object], seconds: float = 700) -> None:
        end = time.monotonic() + seconds
        while not until():
            if time.monotonic() > end:
                raise TimeoutError([w.status.text() for w in self.docks.values()])
            self.pause(20)

    # -- the steps --------------------------------------------------------------------------

    def drop(self, *files: Path) -> None:
        """Drop files on the Slices dock."""
        from qtpy.QtCore import QMimeData, QPointF, Qt, QUrl
        from qtpy.QtGui import QDropEvent

        dock, before = self.front("Slices"), len(self.session.slices)
        mime = QMimeData()
        mime.setUrls([QUrl.fromLocalFile(str(file)) for file in files])
        left, none = Qt.MouseButton.LeftButton, Qt.KeyboardModifier.NoModifier
        dock.dropEvent(QDropEvent(QPointF(5, 5), Qt.DropAction.CopyAction, mime, left, none))
        self.wait(lambda: len(self.session.slices) == before + len(files))
        self.wait(lambda: len(self.session.slices.graphs) == len(self.session.slices))

    def sample(self) -> None:
        """Open the embedded sample, with half of its spots: it trains in half the time."""
        from napari_staligner import samples

        samples.simulated_olfactory_bulb = partial(  # type: ignore[assignment]
            samples.simulated_olfactory_bulb, n_slide_seq=3000, n_stereo_seq=2500, n_genes=1000
        )
        self.click(self.front("Slices").sample)
        self.wait(lambda: len(self.session.slices.graphs) == 2)

    def settings(self) -> None:
        from dataclasses import replace

        from tiny import QUICK

        settings = self.session.view.settings
        self.session.view.settings = QUICK if self.quick else replace(settings, domains=9, seed=0)

    def integrate(self) -> None:
        dock = self.front("Integrate")
        self.click(dock.run)
        self.wait(lambda: dock.run.isEnabled())
        assert self.session.result.adata is not None, dock.status.text()

    def rename(self) -> None:
        """Double-click a domain in the legend, and type."""
        from qtpy.QtCore import Qt
        from qtpy.QtTest import QTest
        from qtpy.QtWidgets import QLineEdit

        from napari_staligner.widgets.parts.legend import NAME

        table = self.front("Domains").table
        first = self.session.domains.names[0]
        place = table.visualRect(table.cell(first, NAME)).center()
        for event in (QTest.mouseClick, QTest.mouseDClick):
            event(table.viewport(), Qt.MouseButton.LeftButton, pos=place)
        (editor,) = (e for e in table.findChildren(QLineEdit) if e.isVisible())
        editor.clear()
        QTest.keyClicks(editor, "first")
        QTest.keyClick(editor, Qt.Key.Key_Return)
        self.wait(lambda: "first" in self.session.domains.names)

    def recolor(self) -> None:
        self.session.domains.recolor(self.session.domains.names[-1], "#123456")

    def lone(self) -> str:
        """The domain that one slice alone has and most of whose spots are granular AOB."""
        presence = self.session.domains.presence()
        found = {} if presence is None else presence.specific()
        result = self.session.result.adata
        best = ("", -1.0)
        for domain in found:
            spots = result.obs["region"][result.obs["domain"] == domain]
            best = max(best, (domain, float((spots == "AOBgr").mean())), key=lambda x: x[1])
        return best[0]

    def markers(self) -> list[str]:
        """Find the genes of the domain of one slice, and colour by the first."""
        panel = self.front("Explore").markers
        panel.region.setCurrentIndex(panel.region.findData(self.lone()))
        self.click(panel.run.button)
        self.wait(lambda: panel.run.button.isEnabled())
        panel.table.selectRow(0)
        assert self.session.view.color_by.kind == "gene"
        model = panel.table.model()
        return [str(model.index(i, 0).data()) for i in range(10)]

    def template(self) -> None:
        menu = self.front("Annotate").template.menu()
        (action,) = (a for a in menu.actions() if a.text() == "Olfactory bulb")
        action.trigger()

    def piece(self, name: str, domain: str, row: int | None = None) -> None:
        """Choose a class, pick the tool for connected pieces, and click on the tissue."""
        from mouse import Mouse
        from qtpy.QtCore import Qt
        from qtpy.QtTest import QTest

        from napari_staligner.widgets.parts.legend import NAME

        dock = self.front("Annotate")
        if self.session.view.layout != "mosaic":
            self.session.view.layout = "mosaic"
        table = dock.table
        place = table.visualRect(table.cell(name, NAME)).center()
        QTest.mouseClick(table.viewport(), Qt.MouseButton.LeftButton, pos=place)
        assert self.session.annotations.chosen == name
        self.click(dock.tools.buttons["piece"])
        self.pause(400)
        spot = self.session.result.spot_of_row(self.spot_amid(domain) if row is None else row)
        layer = self.viewer.layers[spot.slice]
        mouse = Mouse(self.viewer, QTest)
        mouse.click(mouse.pixel(layer.data_to_world(layer.data[spot.row])[-2:]))
        self.wait(lambda: len(self.session.annotations.rows_of(name)) > 0, 30)
        self.click(dock.tools.buttons["piece"])

    def spot_amid(self, domain: str) -> int:
        """Row of a spot of a domain with all its neighbours in the domain too."""
        result = self.session.result.adata
        inside = (result.obs["domain"] == domain).to_numpy()
        graph = result.obsp["spatial_connectivities"]
        share = (graph @ inside) / np.maximum(np.asarray(graph.sum(axis=1)).ravel(), 1)
        twice = (graph @ (share * inside)) * inside
        return int(np.argmax(twice))

    def judge(self) -> None:
        panel = self.front("Judge")
        panel.tabs.setCurrentWidget(panel.verdicts)
        self.click(panel.verdicts.buttons["aligned"])
        self.wait(lambda: len(self.session.verdicts.given) > 0)

    def register(self) -> None:
        dock = self.front("Alignment")
        dock.model.setCurrentIndex(1)
        self.click(dock.register)
        # The button alone does not tell: it is enabled before the run starts, too.
        self.wait(lambda: not dock._runner.running)
        if self.session.alignment.proposed:
            self.click(dock.accept)

    def save(self, path: Path) -> None:
        from qtpy.QtWidgets import QFileDialog

        from napari_staligner.widgets.parts.saving import saver_of

        # The one dialog that is the system's own.
        QFileDialog.getSaveFileName = staticmethod(lambda *_: (str(path), ""))
        dock = self.front("Slices")
        self.click(dock.keeping.save_as)
        self.wait(lambda: self.session.saved and not saver_of(self.session).running)

    # -- what there is ----------------------------------------------------------------------

    def seen(self, picture: Path | None = None) -> dict[str, Any]:
        """Say all that a person would miss."""
        found = state(self.session)
        self.session.canvas_asked.emit()
        canvas = self.session.view.canvas
        found["camera"] = [*np.round(canvas.center, 6).tolist(), round(canvas.zoom, 6)]
        found["colors on the canvas"] = {
            name: checksum(self.viewer.layers[name].face_color) for name in self.session.slices
        }
        if picture is not None:
            self.pause(500)
            # The canvas is as wide as the docks leave it; the picture is not.
            self.viewer.screenshot(str(picture), size=(700, 900), flash=False)
        return found

    def recluster(self, k: int = 3) -> None:
        """Find another number of domains."""
        dock = self.front("Domains")
        dock.k.setValue(k)
        self.wait(lambda: len(self.session.domains.names) == k and not dock.cancel.isVisible())

    def export(self, path: Path) -> None:
        """Export tables."""
        from qtpy.QtWidgets import QFileDialog

        QFileDialog.getSaveFileName = staticmethod(lambda *_: (str(path), ""))
        button = self.front("Slices").keeping.export
        button.targets["csv"].trigger()
        self.wait(lambda: not button.runner.running)
        assert path.is_dir()

    def close(self) -> None:
        from napari.qt.threading import WorkerBase

        self.viewer.close()
        WorkerBase.await_workers()


def state(session: Any) -> dict[str, Any]:
    """Say what a session holds, so that two of them can be compared."""
    result = session.result.adata
    found: dict[str, Any] = {
        "slices": {name: adata.n_obs for name, adata in session.slices.items()},
        "settings": repr(session.view.settings),
        "layout": session.view.layout,
        "color_by": repr(session.view.color_by),
        "result": None if result is None else checksum(result.obsm["STAligner"]),
    }
    if result is not None:
        names = [c.name for c in session.annotations.classes]
        found |= {
            "domains": session.domains.colors,
            "labels": checksum(result.obs["domain"].cat.codes.to_numpy()),
            "verdicts": [(v.level, v.domain, v.note) for v in session.verdicts.given],
            "classes": names,
            "annotations": {n: session.annotations.rows_of(n).tolist() for n in names},
            "transforms": {
                n: np.round(m, 9).tolist() for n, m in session.alignment.transforms.items()
            },
            "aligned": checksum(result.obsm["spatial_aligned"]),
        }
    return found


def checksum(array: Any) -> str:
    return hashlib.sha256(np.ascontiguousarray(array).tobytes()).hexdigest()[:16]


# -- the three ------------------------------------------------------------------------------


def walk(folder: Path, files: list[Path]) -> None:
    """Load, integrate, find the AOB, its markers, annotate AOBgr, register, save."""
    person = Walk()
    if files:
        person.drop(*files)
    else:
        person.sample()
    person.settings()
    person.integrate()
    domain = person.lone()
    genes = person.markers()
    person.template()
    person.piece("AOBgr", domain)
    person.judge()
    person.register()
    person.save(folder / "session.h5ad")
    seen = person.seen(folder / "saved.png")
    result = person.session.result.adata
    granular = (result.obs["region"] == "AOBgr").to_numpy()
    bulb = result.obs["region"].isin(["AOB", "AOBgr"]).to_numpy()
    truth = set(np.flatnonzero(granular))
    # Within its own slice: another technology catches another share of all genes.
    own = (result.obs["slice"] == result.obs["slice"].iloc[min(truth)]).to_numpy()
    counts = result[:, genes].X.toarray()

    def folds(spots: Any) -> Any:
        return counts[spots].mean(axis=0) / counts[own & ~spots].mean(axis=0)

    told = {
        "domain": domain,
        "flagged": {d: p.slice for d, p in person.session.domains.presence().specific().items()},
        "share of AOBgr": len(truth & set(seen["annotations"]["AOBgr"])) / len(truth),
        # The domain is the whole accessory bulb, or only its granular layer.
        "fold of the first marker": float(folds(bulb)[0]),
        "best fold of a marker in AOBgr": float(folds(granular).max()),
        "state": seen,
    }
    (folder / "walk.json").write_text(json.dumps(told))
    person.close()


def reopen(session: Path, target: Path) -> None:
    """Open a saved session as the shell's ``view`` does."""
    from napari_staligner.demo.run import view_files

    def look() -> None:
        import napari

        from napari_staligner.layers import open_session

        person = Walk.__new__(Walk)
        person.viewer = napari.current_viewer()
        person.viewer.window.resize(*WINDOW)
        person.session = open_session(person.viewer)
        person.pause(500)
        target.write_text(json.dumps(person.seen(target.with_name("reopened.png"))))
        person.close()

    view_files([session], stay=look)


SAVED, EXPORTED = "saved session.h5ad", "exported"
IMPORTED = (
    "napari.qt napari._qt.qt_main_window napari._vispy scanpy squidpy spatialdata pyqtgraph "
    "skimage.registration matplotlib.pyplot mouse "
    "napari_staligner.core.domains.domains napari_staligner.core.evaluation.comparison "
    "napari_staligner.core.integrate napari_staligner.core.registration "
    "napari_staligner.core.stages napari_staligner.core.training.train "
    "napari_staligner.io.export.targets napari_staligner.io.formats.store "
    "napari_staligner.jobs.launch napari_staligner.layers.tools.keys "
    "napari_staligner.report.figure napari_staligner.widgets.workbench"
).split()
"""What all processes that are killed would import."""


def short_path(person: Walk, files: list[Path]) -> list[Callable[[], object]]:
    """Steps of one edit each."""
    session, folder = person.session, files[0].parent
    steps = [lambda file=file: person.drop(file) for file in files]
    return [
        *steps,
        person.settings,
        person.integrate,
        person.recluster,
        person.rename,
        person.recolor,
        lambda: person.save(folder / SAVED),
        person.judge,
        person.template,
        lambda: person.piece("GL", session.domains.names[0], 0),
        lambda: person.piece("EPL", session.domains.names[1], session.result.adata.n_obs - 1),
        person.register,
        lambda: person.save(folder / SAVED),
        lambda: person.export(folder / EXPORTED),
        lambda: session.domains.recolor(session.domains.names[0], "#654321"),
    ]


def _clear(folder: Path) -> None:
    """Remove what the last walk saved, and its edits."""
    for path in (folder / SAVED, *folder.glob(f".{SAVED}*")):
        shutil.rmtree(path) if path.is_dir() else path.unlink(missing_ok=True)
    shutil.rmtree(folder / EXPORTED, ignore_errors=True)


def crash(folder: Path, times: int) -> None:
    """Walk the short path once to its end, then kill it at random and look what is left."""
    for module in IMPORTED:
        import_module(module)
    files = sorted(folder.glob("[AB].h5ad"))
    log = folder / "log"
    os.waitpid(_forked(lambda: _logged(files, log, stay=False)), 0)
    expected = _lines(log)
    took = [expected[0]["after"], *(b["after"] - a["after"] for a, b in pairwise(expected)), 0.2]
    kills, left = [], folder / "left.json"
    for seed in range(times):
        log.unlink()
        _clear(folder)
        child = _forked(lambda: _logged(files, log, stay=True))
        # After so many steps, amid the next.
        chance = random.Random(seed)
        steps = chance.randint(1, len(expected))
        while len(_lines(log)) < steps:
            time.sleep(0.01)
        time.sleep(chance.random() * took[steps])
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
        done = len(_lines(log))
        left.unlink(missing_ok=True)
        # Once by a click; what a window costs is more than all the rest.
        os.waitpid(_forked(partial(restore if seed else _restore, left, folder / SAVED)), 0)
        kills.append({"done": done, "left": json.loads(left.read_text())})
        kills[-1]["drafts"] = _drafts_left(folder)
    told = {"steps": [line["state"] for line in expected], "kills": kills}
    told["jobs"] = killed_jobs(folder, max(1, times // 4))
    (folder / "crash.json").write_text(json.dumps(told))
    lost = [n for n, each in enumerate(kills) if not kept(each, told["steps"])]
    if lost:
        raise SystemExit(f"more than a step is lost, see crash.json: kills {lost}")


def kept(kill: dict[str, Any], steps: list[dict[str, Any]]) -> bool:
    """Whether what is left is the state before or after the step that was under way."""
    # The step that was under way may be there already.
    return kill["left"] in steps[kill["done"] - 1 : kill["done"] + 1]


def _forked(work: Callable[[], object]) -> int:
    """Run something in a process that starts with all imports done."""
    child = os.fork()
    if child:
        return child
    code = 1
    try:
        work()
        code = 0
    except BaseException:
        import traceback

        traceback.print_exc()
    finally:
        sys.stderr.flush()
        os._exit(code)


def _logged(files: list[Path], log: Path, *, stay: bool) -> None:
    """Walk the short path; a line in the log says that a step is done, and what there is then."""
    started = time.monotonic()
    person = Walk(quick=True)
    with log.open("w") as target:
        for step in short_path(person, files):
            step()
            line = {"after": time.monotonic() - started, "state": state(person.session)}
            target.write(json.dumps(line) + "\n")
            target.flush()
            os.fsync(target.fileno())
        while stay:
            person.pause(50)
    person.session.autosave.leave()


def _restore(target: Path, saved: Path) -> None:
    """Open the docks, and take what they offer; else open what was saved, and what that offers."""
    from napari_staligner.io.session_file import open_file

    person = Walk(quick=True)
    session, bar = person.session, person.front("Slices").recovery
    if session.autosave.offer is None and saved.exists():
        session.open(open_file(saved))
    if session.autosave.offer is not None:
        person.click(bar.restore)
        person.wait(lambda: session.autosave.offer is None)
    target.write_text(json.dumps(state(person.session)))
    person.session.autosave.leave()


def restore(target: Path, saved: Path) -> None:
    """Do the same without a window."""
    from napari_staligner.io.recovery import read_kept
    from napari_staligner.io.session_file import open_file
    from napari_staligner.session.session import Session

    session = Session()
    session.autosave.start()
    if session.autosave.offer is None and saved.exists():
        session.open(open_file(saved))
    if session.autosave.offer is not None:
        session.autosave.take_offer(read_kept(session.autosave.offer))
    target.write_text(json.dumps(state(session)))
    session.autosave.leave()


def _drafts_left(folder: Path) -> list[str]:
    """Drafts that are still there when the next session is saved and exported."""
    from napari_staligner.io.atomic import written_beside

    for path in (folder / SAVED, folder / EXPORTED):
        with suppress(KeyError), written_beside(path):
            raise KeyError
    return [path.name for path in folder.iterdir() if path.is_dir() and path.name[0] == "."]


def _lines(log: Path) -> list[dict[str, Any]]:
    if not log.is_file():
        return []
    return [json.loads(line) for line in log.read_text().splitlines() if line.endswith("}")]


if __name__ == "__main__":
    # How long a busy machine may take for an edit is not what is tried here.
    newest_task.PATIENCE_SECONDS = 60.0
    task, place, *rest = sys.argv[1:]
    if task == "walk":
        walk(Path(place), [Path(file) for file in rest])
    elif task == "reopen":
        reopen(Path(place), Path(rest[0]))
    else:
        crash(Path(place), int(rest[0]))
