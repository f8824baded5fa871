"""The scene of napari's canvas, built once for several changes."""

from __future__ import annotations

import logging
import weakref
from contextlib import contextmanager, suppress
from math import inf
from time import monotonic
from types import MethodType
from typing import TYPE_CHECKING, Any

from napari_staligner.compat.drawing import draw_again, drawn_later, hold_drawing
from napari_staligner.compat.turns import DRAWN_TOGETHER, Turns, in_turn
from napari_staligner.compat.viewer import MISSING, grid_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    import napari
    from napari.layers import Layer

TURN_SECONDS = 0.1
"""For so long the window waits for a part of a change."""
_log = logging.getLogger(__name__)


@contextmanager
def scene_built_once(viewer: napari.Viewer, *, later: bool = False) -> Iterator[None]:
    """Let napari build the scene of its canvas once for several changes of its layers.

    napari (0.9) builds it after each layer that is added, removed, moved in the list, shown or
    hidden, and after each property of the grid; each time it places all names of layers once for
    each layer. With 24 layers in a grid that is 0.1 s for each change. Can go when napari builds it
    once before it draws. With many layers it is built, its cells first, after the event loop has
    lived, since that alone takes as long as all other changes. What lies elsewhere in the scene
    afterwards is drawn in turns, see :class:`~napari_staligner.compat.turns.Turns`, and not before
    the event loop has lived, see :func:`~napari_staligner.compat.drawing.drawn_later`.

    Parameters
    ----------
    viewer
        The viewer. Nothing inside, and nothing right afterwards, may ask where the canvas shows
        something.
    later
        Whether it is built after the event loop has lived with few layers, too.
    """
    scene = _scene_of(viewer)
    if scene is not None and scene.waits:
        with _kept_in_size(viewer):
            yield
    elif scene is None or scene.paused:  # by napari, or by another of these
        yield
    else:
        # What was to be drawn before all this waits, too.
        drawn_later(viewer)
        scene.hold()
        done = False
        try:
            with _kept_in_size(viewer):
                yield
            done = True
        finally:
            many = sum(layer.visible for layer in viewer.layers) > DRAWN_TOGETHER
            if done and (later or many):
                scene.build_later()
            else:
                scene.build()


def when_built(viewer: napari.Viewer, act: Callable[[], object]) -> None:
    """Do something that only the scene needs: where that is built in turns, in turns before it."""
    scene = _scene_of(viewer)
    if scene is not None and scene.held:
        scene.acts.append(act)
    else:
        act()


def after_building(viewer: napari.Viewer, act: Callable[[], object]) -> None:
    """Do something once the scene is built, where it is being changed; at once where it is not."""
    scene = _scene_of(viewer)
    if scene is not None and scene.held:
        scene.followers.append(act)
    else:
        act()


def being_drawn(viewer: napari.Viewer) -> bool:
    """Whether parts of the canvas still wait to be built, or to be drawn for the first time."""
    try:
        return not _scenes[viewer.window._qt_viewer.canvas].whole
    except MISSING:
        return False


def make_overlays(viewer: napari.Viewer, layers: Iterable[Layer]) -> None:
    """Let napari make the visible overlays of layers now, though their scene is built later.

    It takes 40 ms for each, which add up where the scene is built. Can go when that is quick.
    """
    with suppress(*MISSING):  # no window, or another version of napari: they are made later
        canvas = viewer.window._qt_viewer.canvas
        for layer in layers:
            canvas._update_layer_overlays(layer)


class _Scene:
    """The scene of a canvas, and what of it waits.

    Parameters
    ----------
    canvas
        napari's canvas, held weakly.
    """

    def __init__(self, canvas: Any) -> None:
        self._canvas = weakref.ref(canvas)
        self._turns = Turns(canvas, self._keep_pictures_whole)
        self._before: dict[Layer, Any] = {}
        self.acts: list[Callable[[], object]] = []
        """What is to be done before it is built."""
        self.followers: list[Callable[[], object]] = []
        """What is to be done after it."""
        self.held = False
        """Whether it is changed by us, and not yet built."""
        self.waits = False
        """Whether the changes are over, and it is to be built."""
        self.due = False
        """Whether napari asked for it to be built."""

    @property
    def paused(self) -> bool:
        """Whether changes do not build the scene at present."""
        return bool(self._canvas()._pause_scene_graph)  # type: ignore[union-attr]

    @property
    def whole(self) -> bool:
        """Whether all of it is built and shown."""
        return not self.waits and self._turns.over

    def hold(self) -> None:
        """Build nothing until one of the following is called."""
        canvas: Any = self._canvas()
        self._before = self._turns.parents()
        # Methods, since napari finds what it connects to events by its name.
        canvas._update_overlay_canvas_positions = MethodType(_placed_later, canvas)
        canvas._resume_scene_graph_update = MethodType(_cleaned, canvas)
        canvas._update_scenegraph = MethodType(_built_later, canvas)
        self.due, canvas._pause_scene_graph = False, True
        self.held = True

    def build(self) -> None:
        """Build what is due."""
        canvas: Any = self._canvas()
        try:
            self._make_cells(canvas)
            self._act(inf)
        finally:
            self.held = canvas._pause_scene_graph = False
            del canvas._resume_scene_graph_update, canvas._update_scenegraph
        # Drawing does it.
        canvas.on_draw = _drawn_next
        try:
            if self.due:
                canvas._update_scenegraph()
                _aim(canvas)
            self._turns.take(canvas.viewer, self._before)
        finally:
            del canvas.on_draw, canvas._update_overlay_canvas_positions
            self._before = {}
            canvas._defer_canvas_overlay_position_update()
            self._keep_pictures_whole()
            followers, self.followers = self.followers, []
            for follow in followers:
                follow()

    def build_later(self) -> None:
        """Build what is due in turns of the event loop, and draw nothing until then."""
        canvas: Any = self._canvas()
        self.waits = True
        hold_drawing(canvas.native)
        self._keep_pictures_whole()
        in_turn(self._build_next)

    def _build_next(self) -> None:
        canvas: Any = self._canvas()
        if canvas is None or not self.waits:
            return
        try:
            canvas.native.isVisible()
        except RuntimeError:  # the window was closed
            return
        more = False
        try:
            more = self._make_cells(canvas) or self._act(TURN_SECONDS)
        finally:
            if more:
                in_turn(self._build_next)
            else:
                self.finish()

    def _act(self, seconds: float) -> bool:
        """Do some of what is to be done, with cells in place; says whether there was anything."""
        start, some = monotonic(), bool(self.acts)
        # Each is taken off before it is done: one that fails is not done again.
        while self.acts and monotonic() - start < seconds:
            self.acts.pop(0)()
        return some

    def _make_cells(self, canvas: Any) -> bool:
        """Make the cells of another grid, if one is wanted; says whether it did."""
        grid, layers = grid_of(canvas.viewer), canvas.viewer.layers
        try:
            if not grid.enabled or canvas.grid.grid_size == grid.actual_shape(layers):
                return False
            canvas._init_or_update_grid()
        except MISSING:  # another version of napari, which makes them elsewhere
            return False
        return True

    def finish(self) -> None:
        """Build what waits."""
        if self.waits:
            canvas: Any = self._canvas()
            self.waits = False
            try:
                self.build()
            finally:
                draw_again(canvas.native)

    def end(self) -> None:
        """Build and show all that waits."""
        self.finish()
        self._turns.end()

    def _keep_pictures_whole(self) -> None:
        """Let the canvas give a picture of itself only once all of it is shown."""
        canvas: Any = self._canvas()
        if self.whole:
            vars(canvas).pop("screenshot", None)
        else:
            canvas.screenshot = MethodType(_whole, canvas)


def _aim(canvas: Any) -> None:
    """Let new cells of a grid show what the camera shows.

    napari (0.9) aims them after they were drawn once, at one unit of the world: a single spot fills
    the canvas many times over there, and without a GPU such a drawing takes up to a minute.
    """
    try:
        canvas.grid._prepare_draw(None)
        for camera in canvas.grid_cameras:
            camera.on_draw(None)
    except MISSING as error:  # another version of napari, or of vispy
        _log.info("New cells are aimed after their first drawing: %s", error)


_NEEDED = (
    "_update_scenegraph",
    "_defer_canvas_overlay_position_update",
    "_pause_scene_graph",
    "viewer",
)
_scenes: weakref.WeakKeyDictionary[Any, _Scene] = weakref.WeakKeyDictionary()


def _scene_of(viewer: napari.Viewer) -> _Scene | None:
    """The scene of a viewer; ``None`` without a window, or in another version of napari."""
    try:
        canvas = viewer.window._qt_viewer.canvas
    except MISSING:
        return None
    if not all(hasattr(canvas, name) for name in _NEEDED):
        return None
    return _scenes.setdefault(canvas, _Scene(canvas))


@contextmanager
def _kept_in_size(viewer: napari.Viewer) -> Iterator[None]:
    """Leave the room of the canvas as it is until the event loop lives again.

    A layer with a third dimension makes napari (0.9) show a slider before it finds that there is
    nothing to slide, and Qt draws the canvas for its room with it, and again without. Can go when
    napari knows the range of a new dimension first.
    """
    try:
        layout = viewer.window._qt_viewer.dims.parentWidget().layout()
        layout.setEnabled(False)
    except MISSING:
        yield
        return
    try:
        yield
    finally:
        layout.setEnabled(True)
        layout.update()


def _placed_later(canvas: Any, event: object = None) -> None:
    """Leave the places of the names for the next drawing."""


_placed_later.__name__ = "_update_overlay_canvas_positions"


def _built_later(canvas: Any, event: object = None) -> None:
    """Note that the scene is to be built."""
    _scenes[canvas].due = True


_built_later.__name__ = "_update_scenegraph"


def _cleaned(canvas: Any) -> None:
    """Tidy up after layers that were removed; the scene is built later."""
    canvas._clean_and_update_scenegraph()


_cleaned.__name__ = "_resume_scene_graph_update"


def _drawn_next(event: object = None) -> None:
    """Leave what comes before a drawing to the drawing."""


def _whole(canvas: Any) -> Any:
    """Take a picture of a canvas once all of it is shown.

    New cells of a grid know their size, and so what they show, once they are drawn.
    """
    _scenes[canvas].end()
    canvas.native.grabFramebuffer()
    return canvas.screenshot()
