"""Python's search for garbage: among all that torch, scanpy and napari hold, it takes 0.5 s."""

from __future__ import annotations

import gc
import sys
import weakref
from collections.abc import Iterator
from contextlib import contextmanager
from math import inf
from time import monotonic
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from qtpy.QtCore import QObject

REST_SECONDS = 3.0
"""Without a key or the mouse for so long, the window is at rest."""
AWAY_SECONDS = 600.0
"""And for so long, nobody sits there."""
MANY_MODULES = 200
"""Libraries that are worth leaving out have more."""
LONG_SECONDS = 0.1
"""A search by Python itself that takes longer is worth one at rest."""
LOOK_MS = 1000
_NEVER = 1_000_000
_usual: list[tuple[int, int, int]] = []


@contextmanager
def only_new_garbage() -> Iterator[None]:
    """Let what is called inside search among new objects only, though it asks for all.

    Not by ``gc.freeze``: after it, Python holds little of what there is for old, and soon searches
    all of it once more. Can go when nothing called inside asks for a whole search, see
    :func:`~napari_staligner.compat.layers_removed`.
    """
    whole = gc.collect

    def collect(generation: int = 1) -> int:
        return whole(min(generation, 1))

    gc.collect = collect
    try:
        yield
    finally:
        gc.collect = whole


def search_whole(wanted: bool) -> None:
    """Let Python search all objects now and then, as usual, or not before this is called again."""
    if wanted and _usual:
        gc.set_threshold(*_usual.pop())
    elif not wanted and not _usual:
        _usual.append(gc.get_threshold())
        gc.set_threshold(*_usual[0][:2], _NEVER)


class SearchAtRest:
    """Searches for garbage while nobody uses the window; what is in use is left out of later ones.

    For when much that is new is there: other slices, a result. The search takes as long as one of
    Python's own, which freezes the window at any step. After a long search by Python only what is
    new since is searched, and left out as well. Libraries that were loaded meanwhile, most of all
    there is, are left out without a search. What is left out and becomes garbage in a circle later,
    as layers do, keeps its memory until :meth:`due` is called for all, or nobody has used the
    window for so long that nobody sits there. Can go when Python's searches take no longer than a
    drawing.

    Parameters
    ----------
    owner
        It ends with this, whether :meth:`end` is called or not.
    """

    def __init__(self, owner: QObject) -> None:
        from qtpy.QtCore import QEvent, QObject, QTimer

        used = (
            *(QEvent.Type.MouseMove, QEvent.Type.MouseButtonPress, QEvent.Type.MouseButtonRelease),
            *(QEvent.Type.Wheel, QEvent.Type.KeyPress),
        )
        held = weakref.ref(self)

        class Inputs(QObject):
            def eventFilter(self, watched: QObject, event: QEvent) -> bool:
                rest = held()
                if rest is not None and event.type() in used:
                    rest._used = monotonic()
                return False

        def note(phase: str, told: dict[str, int]) -> None:
            rest = held()
            if rest is not None:
                rest._on_search(phase)

        self._inputs, self._note = Inputs(owner), note
        self._waits = self._new = self._slow = False
        # Seconds of rest after which all is searched.
        self._whole_after = inf
        self._modules = len(sys.modules)
        self._began = self._used = monotonic()
        self._timer = QTimer(owner)
        self._timer.setInterval(LOOK_MS)
        self._timer.timeout.connect(self._look)
        self._timer.start()
        gc.callbacks.append(note)
        self._forget = weakref.finalize(self, gc.callbacks.remove, note)
        owner.destroyed.connect(gc.unfreeze)

    def due(self, *, whole: bool) -> None:
        """Search the next time that the window is at rest.

        Parameters
        ----------
        whole
            Whether to search what earlier searches left out, too, since some of it is gone.
        """
        self._new = True
        if whole:
            self._whole_after = REST_SECONDS
        self._wait()

    def end(self) -> None:
        """Search no more, and spare nothing."""
        self._forget()
        self._timer.stop()
        self._leave()
        gc.unfreeze()

    def _on_search(self, phase: str) -> None:
        """Note a search that froze the window; in any thread."""
        if phase == "start":
            self._began = monotonic()
        elif monotonic() - self._began > LONG_SECONDS:
            self._slow = True

    def _look(self) -> None:
        if not gc.isenabled():
            return
        if self._slow:
            self._slow, self._new = False, True
            self._wait()
        if len(sys.modules) - self._modules > MANY_MODULES:
            self._modules = len(sys.modules)
            gc.freeze()
            self._whole_after = min(self._whole_after, AWAY_SECONDS)
            self._wait()
        rest = monotonic() - self._used if self._waits else 0.0
        if rest > self._whole_after:
            gc.unfreeze()
            self._whole_after = inf
            self._search()
        elif self._new and rest > REST_SECONDS:
            self._search()

    def _search(self) -> None:
        gc.collect()
        gc.freeze()
        # Its own length is no reason for another.
        self._new = self._slow = False
        if self._whole_after == inf:
            self._leave()

    def _wait(self) -> None:
        from qtpy.QtWidgets import QApplication

        # What has just come is shown first.
        self._used = monotonic()
        app = QApplication.instance()
        if app is not None and not self._waits:
            self._waits = True
            app.installEventFilter(self._inputs)

    def _leave(self) -> None:
        from qtpy.QtWidgets import QApplication

        app = QApplication.instance()
        if app is not None and self._waits:
            app.removeEventFilter(self._inputs)
        self._waits = False
