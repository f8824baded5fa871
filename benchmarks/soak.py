"""Long use in minutes: the workbench opened and closed, runs cancelled, layouts changed.

    python benchmarks/soak.py [--open 100] [--cancel 50] [--layout 100] [--bare 0] [--json FILE]

After each tenth of a part it counts what must not grow: memory, threads, open files, widgets,
layers, sessions and docks that are still alive, connections of the session's signals. At the end it
prints the growth since the first tenth. Memory is counted twice: as the system sees it, and without
what the C library keeps for later (Linux). ``--bare`` opens and closes as many viewers of napari
without a plugin, to compare with. It needs a screen: scripts/with_display.sh --hidden.
"""

from __future__ import annotations

import argparse
import ctypes
import gc
import json
import random
import sys
import threading
import time
import warnings
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import psutil

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests"))

MOST = {"threads": 2, "files": 4, "widgets": 5, "layers": 0, "sessions": 1, "docks": 0, "slots": 0}
"""Growth after the first tenth that is no leak: a pool's threads, a font that is loaded late."""
MOST_MB = 60.0


def parts(viewer: Any) -> dict[str, Callable[[], object]]:
    """What is counted."""
    from qtpy.QtWidgets import QApplication

    from napari_staligner.session.session import Session
    from napari_staligner.widgets.parts.dock import Dock

    def alive(kind: type) -> int:
        return sum(isinstance(each, kind) for each in gc.get_objects())

    process = psutil.Process()

    def held() -> float:
        with suppress(OSError, AttributeError):  # another C library
            ctypes.CDLL("libc.so.6").malloc_trim(0)
        return megabytes()

    def megabytes() -> float:
        return round(process.memory_info().rss / 2**20, 1)

    return {
        "MB": megabytes,
        "MB held": held,
        "threads": threading.active_count,
        "files": process.num_fds,
        "widgets": lambda: len(QApplication.allWidgets()),
        "layers": lambda: len(viewer.layers) if viewer is not None else 0,
        "sessions": lambda: alive(Session),
        "docks": lambda: alive(Dock),
        "slots": lambda: sum(map(slots, (o for o in gc.get_objects() if isinstance(o, Session)))),
    }


def slots(session: Any) -> int:
    """Connections of the signals of a session and its parts."""
    from psygnal import SignalInstance

    found = 0
    for part in (session, *vars(session).values()):
        for name in dir(type(part)):
            signal = getattr(part, name, None) if not name.startswith("_") else None
            found += len(signal) if isinstance(signal, SignalInstance) else 0
    return found


def settle() -> None:
    """Let Qt delete what is to be deleted, and Python collect."""
    from qtpy.QtCore import QEvent, QEventLoop
    from qtpy.QtWidgets import QApplication

    for _ in range(3):
        QApplication.processEvents(QEventLoop.ProcessEventsFlag.AllEvents, 50)
        QApplication.sendPostedEvents(None, QEvent.Type.DeferredDelete)
        gc.collect()


def counted(name: str, rounds: Iterator[Any], times: int) -> list[dict[str, float]]:
    """Do so many rounds and count after each tenth of them."""
    found: list[dict[str, float]] = []
    step, began = max(1, times // 10), time.monotonic()
    for number in range(1, times + 1):
        viewer = next(rounds)
        if number % step == 0:
            settle()
            found.append({"round": number, **{k: f() for k, f in parts(viewer).items()}})
            told = "  ".join(f"{key} {value:g}" for key, value in found[-1].items())
            print(f"{name}: {told}  ({time.monotonic() - began:.0f} s)", flush=True)
    return found


def opened_and_closed() -> Iterator[None]:
    """Open a viewer with all docks and a result, and close it."""
    import napari
    from fakes import fake_result

    from napari_staligner.layers import open_session
    from napari_staligner.widgets.workbench import open_workbench

    while True:
        viewer = napari.Viewer(show=True)
        open_workbench(viewer)
        session = open_session(viewer)
        slices, result = fake_result()
        session.add(slices)
        session.set_result(result)
        settle()
        session.autosave.leave()
        del session, slices, result
        viewer.close()
        del viewer
        settle()
        yield None


def bare() -> Iterator[None]:
    """Open a viewer without a plugin, with as many points, and close it."""
    import napari
    from fakes import fake_result

    while True:
        viewer = napari.Viewer(show=True)
        for name, adata in fake_result()[0]:
            viewer.add_points(adata.obsm["spatial"][:, ::-1].copy(), name=name)
        settle()
        viewer.close()
        del viewer
        settle()
        yield None


def cancelled(seed: int = 0) -> Iterator[Any]:
    """Start a run, and cancel it after a time that chance gives."""
    import napari
    from qtpy.QtTest import QTest
    from tiny import QUICK, tiny_pair

    from napari_staligner.layers import open_session
    from napari_staligner.widgets.workbench import open_workbench

    viewer, chance = napari.Viewer(show=True), random.Random(seed)
    dock = open_workbench(viewer)["Integrate"]
    session = open_session(viewer)
    session.add(tiny_pair())
    session.view.settings = replace(QUICK, pretrain_epochs=100_000, tolerance=0.0)
    while True:
        assert dock.run.isEnabled(), dock.status.text()
        dock.run.click()
        QTest.qWait(chance.randint(0, 2000))
        dock.cancel.click()
        while not dock.run.isEnabled():
            QTest.qWait(20)
        yield viewer


def laid_out() -> Iterator[Any]:
    """Change the layout of twelve slices."""
    import napari
    from fakes import fake_result

    from napari_staligner.layers import open_session
    from napari_staligner.widgets.workbench import open_workbench

    viewer = napari.Viewer(show=True)
    open_workbench(viewer)
    session = open_session(viewer)
    slices, result = fake_result((60,) * 12)
    session.add(slices)
    session.set_result(result)
    while True:
        for layout in ("mosaic", "stack", "grid"):
            session.view.layout = layout
            settle()
            yield viewer


def growth(counts: list[dict[str, float]]) -> dict[str, float]:
    """How much each count grew since the first tenth."""
    if len(counts) < 2:
        return {}
    return {key: round(counts[-1][key] - counts[0][key], 1) for key in counts[0] if key != "round"}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--open", type=int, default=100)
    parser.add_argument("--cancel", type=int, default=50)
    parser.add_argument("--layout", type=int, default=100)
    parser.add_argument("--bare", type=int, default=0)
    parser.add_argument("--json", type=Path)
    asked = parser.parse_args()
    warnings.simplefilter("ignore")
    told, grown = {}, []
    for name, rounds, times in (
        ("open and close", opened_and_closed(), asked.open),
        ("cancelled runs", cancelled(), asked.cancel),
        ("layouts", laid_out(), asked.layout),
        ("napari alone", bare(), asked.bare),
    ):
        if not times:
            continue
        told[name] = counts = counted(name, rounds, times)
        more = growth(counts)
        print(f"{name}: growth after the first tenth {more}", flush=True)
        over = [key for key, most in MOST.items() if more.get(key, 0) > most]
        grown += [f"{name}: {key}" for key in over]
        grown += [f"{name}: memory"] if more.get("MB", 0) > MOST_MB else []
    if asked.json:
        asked.json.write_text(json.dumps(told, indent=1))
    print("no growth" if not grown else f"grown: {', '.join(grown)}")
    return bool(grown)


if __name__ == "__main__":
    sys.exit(main())
