"""What the demo does with a window: bring docks to the front, press, wait, take pictures."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from napari_staligner._errors import InputError

if TYPE_CHECKING:
    import napari
    from qtpy.QtWidgets import QAbstractButton, QWidget

POLL_MS = 100
"""How often to check whether something is done."""
DRAWN_MS = 800
"""Longest time to wait until a window is drawn."""
OPEN_QT = "from qtpy.QtWidgets import QApplication; QApplication([])"


class ClosedError(Exception):
    """The user has closed napari."""


def require_display() -> None:
    """Try in another process whether Qt can open a window, as Qt ends the process if it cannot.

    Raises
    ------
    InputError
        It cannot: there is no display, no Qt, or a library that Qt needs is missing.
    """
    widgets = sys.modules.get("qtpy.QtWidgets")
    if widgets is not None and widgets.QApplication.instance() is not None:
        return
    tried = subprocess.run(
        [sys.executable, "-c", OPEN_QT],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        errors="replace",
        check=False,
    )
    if tried.returncode:
        raise InputError(no_window(tried.stderr))


def no_window(said: str) -> str:
    """Return a sentence for what Qt or its import wrote to stderr when it failed."""
    if "could not connect to display" in said:
        return (
            "There is no display to open napari on: run this on a desktop, over 'ssh -X', or on a "
            "virtual display with 'xvfb-run -a' before the command; "
            "integrate, register, evaluate and report need no display."
        )
    if "QtBindingsNotFoundError" in said:
        return (
            "napari has no Qt to open a window with: install one, for example with "
            "'pip install \"napari[all]\"'."
        )
    lines = [line.strip() for line in said.splitlines() if line.strip()] or ["it does not say why"]
    # Qt's message begins with the cause, after a prefix; a traceback ends with it.
    cause = lines[-1 if "Traceback" in said else 0].removeprefix("qt.qpa.plugin: ").rstrip(".")
    return f"Qt cannot open a window ({cause}): install or set what it names, and try again."


class DemoCamera:
    """Takes pictures of the window into a folder, or none at all.

    Parameters
    ----------
    folder
        Folder for the pictures; ``None`` takes none.
    """

    def __init__(self, folder: Path | None) -> None:
        self.folder, self.taken = folder, list[Path]()
        if folder is not None:
            try:
                folder.mkdir(parents=True, exist_ok=True)
            except OSError as error:
                raise InputError(
                    f"The folder {str(folder)!r} cannot be made ({error.strerror}): "
                    "choose another for the pictures."
                ) from error

    def take(self, name: str, viewer: napari.Viewer) -> None:
        """Take a picture of the whole window, once it is drawn."""
        if self.folder is None:
            return
        pause(DRAWN_MS)
        path = self.folder / f"{len(self.taken) + 1:02d}-{name}.png"
        viewer.screenshot(str(path), canvas_only=False, flash=False)
        self.taken.append(path)


def bring_forward(widget: QWidget) -> None:
    """Bring the tab of a dock to the front."""
    from napari_staligner.widgets.tabs import raise_dock

    raise_dock(widget)


def press(button: QAbstractButton) -> None:
    """Press a button that starts a computation, and wait until it ends."""
    if button.isEnabled():
        button.click()
        wait(button.isEnabled)


def wait(until: Callable[[], bool]) -> None:
    """Process events of the window until a condition is true."""
    while not until():
        pause(POLL_MS)


def pause(milliseconds: int) -> None:
    """Process events of the window for a while.

    Raises
    ------
    ClosedError
        The window is closed in the meantime.
    """
    import napari
    from qtpy.QtCore import QEventLoop, QTimer

    loop = QEventLoop()
    QTimer.singleShot(milliseconds, loop.quit)
    loop.exec()
    if napari.current_viewer() is None:
        raise ClosedError
