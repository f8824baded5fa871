"""The window's part of ``first_use.sh``: from opening napari to a written report, by clicks.

Prints when each step ended, in seconds since the interpreter started, and the clicks up to there.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any
from unittest.mock import patch

import psutil
from qtpy.QtCore import QEventLoop, Qt, QTimer
from qtpy.QtTest import QTest
from qtpy.QtWidgets import QFileDialog, QTabBar

STARTED = psutil.Process().create_time()
MENUS = ("Layers", "Register", "open workbench")


class Newcomer:
    """Clicks, and tells how many it took."""

    def __init__(self, viewer: Any) -> None:
        self.viewer, self.clicks = viewer, 0

    def press(self, button: Any) -> None:
        """Click a button."""
        QTest.mouseClick(button, Qt.MouseButton.LeftButton)
        self.clicks += 1

    def choose(self, *path: str) -> None:
        """Click through menus to an entry."""
        menus = [self.viewer.window._qt_window.menuBar()]
        for title in path:
            actions = [
                a for a in menus[-1].actions() if title.lower() in a.text().replace("&", "").lower()
            ]
            self.clicks += 1
            if actions[0].menu() is None:
                actions[0].trigger()
                return
            actions[0].menu().aboutToShow.emit()
            menus.append(actions[0].menu())

    def tab(self, name: str) -> None:
        """Click the tab of a dock."""
        for bar in self.viewer.window._qt_window.findChildren(QTabBar):
            for number in range(bar.count()):
                if bar.tabText(number) == name:
                    at = bar.tabRect(number).center()
                    QTest.mouseClick(bar, Qt.MouseButton.LeftButton, pos=at)
                    self.clicks += 1
                    return
        raise SystemExit(f"There is no tab {name!r}.")

    def wait(self, until: Callable[[], bool], what: str) -> None:
        """Let the window live until something is there, and say so."""
        loop, check = QEventLoop(), QTimer()
        check.timeout.connect(lambda: loop.quit() if until() else None)
        check.start(50)
        loop.exec()
        print(f"{what:<46} {time.time() - STARTED:6.1f} s, {self.clicks} clicks", flush=True)


def main() -> None:
    """Open, integrate, judge, and write a report."""
    import napari

    from napari_staligner.layers import open_session

    viewer = napari.Viewer()
    viewer.window.resize(1400, 900)
    new = Newcomer(viewer)
    new.wait(lambda: viewer.window._qt_window.isVisible(), "napari is open")
    new.choose(*MENUS)
    session = open_session(viewer)
    docks = {}

    def opened() -> bool:
        docks.update({n.split(" (")[0]: w for n, w in viewer.window.dock_widgets.items()})
        return {"Slices", "Integrate", "Judge"} <= set(docks)

    new.wait(opened, "the workbench is open")
    new.press(docks["Slices"].sample)
    new.wait(lambda: len(session.slices.graphs) == 2, "the sample is on the tissue")
    new.tab("Integrate")
    new.press(docks["Integrate"].run)
    new.wait(
        lambda: session.result.adata is not None and not docks["Integrate"]._runner.running,
        "domains are on the tissue",
    )
    new.tab("Judge")
    judge = docks["Judge"]
    with TemporaryDirectory() as folder:
        page = Path(folder) / "report.html"
        with patch.object(QFileDialog, "getSaveFileName", lambda *_: (str(page), "")):
            new.press(judge.report.button)
        new.clicks += 1  # Save, in the dialog
        new.wait(page.exists, "the report is written")
    session.saved = True
    viewer.close()


if __name__ == "__main__":
    main()
