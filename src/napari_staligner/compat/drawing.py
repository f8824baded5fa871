"""When the canvas is drawn, and what vispy does before."""

from __future__ import annotations

import re
import weakref
from collections import defaultdict
from contextlib import suppress
from functools import cache, wraps
from string import ascii_letters, digits
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_staligner.compat.viewer import MISSING

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    import napari
    from napari.layers import Layer

_MOST_SHADERS = 200
_KINDS = re.compile(r"(uniform|attribute|varying|const|in|out)\s")
_LETTERS = f"ÅÉÑŐ{digits} ._-µm{ascii_letters}"  # vispy measures any text by the first four
_LETTER_MS = 30


def draw_after_removals(viewer: napari.Viewer) -> None:
    """Make sure that what is drawn after layers are removed reaches the canvas.

    When layers are removed, napari (0.9) sends everything pending to the graphics card in the
    current OpenGL context, which may be the wrong one or none. Then new colours of points are lost,
    and drawing the points again crashes the process. This makes the canvas's own context current
    first. Can go when napari does that.
    """
    held = weakref.ref(viewer)

    def use_context(_: object = None) -> None:
        with suppress(AttributeError):
            held().window._qt_viewer.canvas.native.makeCurrent()  # type: ignore[union-attr]

    for event in (viewer.layers.events.removed, viewer.layers.events.end_batch):
        event.connect(use_context, position="first")


@cache
def remember_shaders() -> None:
    """Let vispy read the code of shaders once that it builds for each visual anew, and quickly.

    vispy (0.16) searches the code of each program for its variables, 10 ms in Python for points and
    80 for a text: the time grows with the square of the length of a line. The programs of twelve
    slices have the same code. Can go when vispy remembers what it found, and finds it quickly.
    """
    from vispy.gloo.program import Program

    read = getattr(Program, "_parse_variables_from_code", None)
    if read is None:  # another version of vispy
        return
    known: dict[tuple[str, ...], dict[str, Any]] = {}

    @wraps(read)
    def read_once(self: Any, update_variables: bool = True) -> None:
        shaders = self._shaders
        code = tuple(shader.code for shader in shaders)
        if code not in known:
            self._shaders = [SimpleNamespace(code="\n".join(_declarations(code)))]
            try:
                read(self, update_variables=False)
            finally:
                self._shaders = shaders
            if len(known) == _MOST_SHADERS:
                known.clear()
            known[code] = self._code_variables
        self._code_variables = dict(known[code])
        if update_variables:
            self._process_pending_variables()

    Program._parse_variables_from_code = read_once


def _declarations(code: Sequence[str]) -> Iterator[str]:
    """Yield the statements of a program, without comments, that can declare a variable."""
    for shader in code:
        # Of two comments in a line, vispy drops the last.
        lines = (line.rpartition("//")[0] if "//" in line else line for line in shader.split("\n"))
        for statement in "\n".join(lines).split(";")[:-1]:
            if _KINDS.search(statement):
                yield f"{statement};"


def outline_letters(viewer: napari.Viewer) -> None:
    """Let napari outline letters while the window waits for its first slices.

    napari (0.9) does so in Python when a text of a canvas first shows them, some 12 ms each: the
    name and the scale of a first slice made its first drawing a third longer. Can go when napari
    outlines them quickly.

    Parameters
    ----------
    viewer
        The viewer.
    """
    from qtpy.QtCore import QTimer

    try:
        canvas = viewer.window._qt_viewer.canvas
        font = canvas._font_info.font_manager.get_font(canvas._font_info.face)
        timer = QTimer(canvas.native)
    except MISSING:  # no window, or another version of napari
        return
    left = list(reversed(_LETTERS))

    def outline_next() -> None:
        if not left:
            timer.stop()
        elif timer.parent().isVisible():
            font[left.pop()]

    timer.timeout.connect(outline_next)
    timer.start(_LETTER_MS)


@cache
def find_cells_once() -> None:
    """Let napari find which layers lie in which cell of its grid once for all cells.

    napari (0.9) asks each layer for each cell, and each time all layers whether they are visible:
    60 ms for twelve slices with their images, three times when a scene is built and once before
    most drawings. Can go when napari asks once.
    """
    try:
        from napari.components.grid import GridCanvas
    except ImportError:  # another version of napari
        return
    needed = ("iter_viewboxes", "position", "actual_shape")
    if not all(hasattr(GridCanvas, name) for name in needed):
        return

    def iter_viewboxes(self: Any, layers: Sequence[Layer]) -> Iterator[tuple[Any, Any]]:
        layers, cells = list(layers), defaultdict(list)
        for index in range(len(layers)):
            cells[self.position(index, layers)].append(index)
        for place in np.ndindex(self.actual_shape(layers)):
            yield place, tuple(cells[place])

    GridCanvas.iter_viewboxes = iter_viewboxes


def prepare_before_drawing(viewer: napari.Viewer) -> None:
    """Let napari take over what the mouse did, and place names and scale, before it draws.

    napari (0.9) does so once the canvas is drawn, so that each turn of the wheel, each drag and
    each flight draws all layers a second time: half a second for twelve slices without a GPU. Can
    go when napari does it before.

    Parameters
    ----------
    viewer
        The viewer; called once for each.
    """
    try:
        canvas = viewer.window._qt_viewer.canvas
        drawn = canvas._scene_canvas.events.draw
        ready = _knows_its_size(canvas)
    except MISSING:  # no window, or another version of napari
        return
    held = weakref.ref(canvas)

    def prepare(event: object) -> None:
        nonlocal ready
        canvas: Any = held()
        ready = _knows_its_size(canvas)
        if ready:
            canvas.on_draw(event)

    def follow(event: object) -> None:
        canvas: Any = held()
        if not (ready and _knows_its_size(canvas)):
            canvas.on_draw(event)

    drawn.disconnect(canvas.on_draw)
    drawn.connect(prepare, position="first")
    drawn.connect(follow, position="last")


def _knows_its_size(canvas: Any) -> bool:
    """Whether a canvas was drawn since it has its size; what it shows is known only then."""
    return bool(np.allclose(canvas._last_viewbox_size, canvas._current_viewbox_size))


def hold_canvas(viewer: napari.Viewer, held: bool) -> None:
    """Leave the canvas as it looks, or let it be drawn again; each hold is ended once.

    For a change that takes several turns of the event loop: without a GPU each drawing in between
    takes as long as a turn. Can go when all drawing is done by graphics cards.
    """
    with suppress(*MISSING):
        native = viewer.window._qt_viewer.canvas.native
        if held:
            hold_drawing(native)
        else:
            draw_again(native)


def drawn_later(viewer: napari.Viewer) -> None:
    """Draw the canvas not before the event loop has lived once.

    Qt draws what changed before it looks at a timer, a key or the mouse. Without a GPU a drawing
    takes as long as the change that made it due, so that both together freeze the window for twice
    as long. Can go when all drawing is done by graphics cards.
    """
    try:
        native = viewer.window._qt_viewer.canvas.native
    except MISSING:
        return
    if native not in _due:
        from qtpy.QtCore import QTimer

        _due.add(native)
        hold_drawing(native)
        # Not 0 ms: Qt does not take that for a timer.
        QTimer.singleShot(1, lambda: _draw(native))


def _draw(native: Any) -> None:
    _due.discard(native)
    draw_again(native)


def hold_drawing(native: Any) -> None:
    """Leave a canvas as it looks until :func:`draw_again` was called as often as this."""
    _held[native] = _held.get(native, 0) + 1
    native.setUpdatesEnabled(False)


def draw_again(native: Any) -> None:
    """Let a canvas be drawn that was held, unless others hold it, too."""
    _held[native] -= 1
    if not _held[native]:
        with suppress(RuntimeError):  # the window was closed
            native.setUpdatesEnabled(True)


_due: weakref.WeakSet[Any] = weakref.WeakSet()
_held: weakref.WeakKeyDictionary[Any, int] = weakref.WeakKeyDictionary()
