"""What the demo does with a window: bring docks to the front, press, wait, take pictures."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from napari_staligner._errors import InputError

if TYPE_CHECKING:
    import napari
    from qtpy.QtWidgets import QAbstractButton, QWidget

POLL_MS = 100
"""How often it is looked whether something is done."""
DRAWN_MS = 800
"""How long a window takes at most to be drawn."""


class ClosedError(Exception):
    """The user has closed napari."""


class Camera:
    """Takes pictures of the window into a folder, or none at all.

    Parameters
    ----------
    folder
        Where they go; ``None`` takes none.
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


def raise_dock(widget: QWidget) -> None:
    """Bring the tab of a dock to the front."""
    dock = widget.parentWidget()
    while dock is not None and not hasattr(dock, "toggleViewAction"):
        dock = dock.parentWidget()
    if dock is not None:
        dock.raise_()


def press(button: QAbstractButton) -> None:
    """Press a button that starts a computation, and wait for its end."""
    if button.isEnabled():
        button.click()
        wait(button.isEnabled)


def wait(until: Callable[[], bool]) -> None:
    """Let the window live until something is true."""
    while not until():
        pause(POLL_MS)


def pause(milliseconds: int) -> None:
    """Let the window live for a while.

    Raises
    ------
    ClosedError
        It is closed meanwhile.
    """
    import napari
    from qtpy.QtCore import QEventLoop, QTimer

    loop = QEventLoop()
    QTimer.singleShot(milliseconds, loop.quit)
    loop.exec()
    if napari.current_viewer() is None:
        raise ClosedError
