"""The main job in a window, through the docks that a user clicks; with pictures if wanted."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from napari_staligner import _keys as K
from napari_staligner._errors import ComputeError, InputError
from napari_staligner.core.settings import Settings

if TYPE_CHECKING:
    import napari
    from qtpy.QtWidgets import QAbstractButton, QWidget

WINDOW = (1600, 1000)
POLL_MS = 100
DEMO = Settings(domains=9, seed=0)
"""The default settings, with as many domains as the bulb has regions."""


def view_files(files: Sequence[Path], stay: Callable[[], object] | None = None) -> None:
    """Open slices or a session in napari with the docks, and stay until it is closed.

    Parameters
    ----------
    files
        ``.h5ad`` files.
    stay
        What to do once they are open, instead of staying.

    Raises
    ------
    InputError
        A file cannot be read.
    """
    from napari_staligner.io.reader import read_layers

    layers = read_layers([str(path) for path in files])
    viewer, _ = _open_workbench()
    for data in layers:
        _add_layer(viewer, data)
    (stay or _stay)()


def run_demo(
    screenshots: Path | None = None,
    *,
    files: Sequence[Path] = (),
    settings: Settings = DEMO,
) -> list[Path]:
    """Load slices, integrate them and show the result, all through the docks.

    Parameters
    ----------
    screenshots
        Folder for pictures of each step; napari is closed at the end. Without it napari stays
        open.
    files
        Slices to take instead of the simulated olfactory bulb.
    settings
        Of the run.

    Returns
    -------
    The pictures; fewer if napari is closed on the way.

    Raises
    ------
    InputError
        A file cannot be read, or the folder cannot be made.
    ComputeError
        The spatial graphs cannot be built, or the run failed.
    """
    camera = _Camera(screenshots)
    viewer, docks = _open_workbench()
    try:
        _load(viewer, files)
        _integrate(viewer, docks, settings, camera)
        _look_around(viewer, docks, camera)
    except _ClosedError:
        return camera.taken
    except BaseException:
        _close(viewer)
        raise
    if screenshots is None:
        _stay()
    else:
        _close(viewer)
    return camera.taken


class _ClosedError(Exception):
    """The user has closed napari."""


class _Camera:
    """Takes pictures of the window into a folder, or none at all."""

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
        _pause(800)
        path = self.folder / f"{len(self.taken) + 1:02d}-{name}.png"
        viewer.screenshot(str(path), canvas_only=False, flash=False)
        self.taken.append(path)


def _open_workbench() -> tuple[napari.Viewer, dict[str, QWidget]]:
    import napari

    from napari_staligner.widgets.workbench import open_workbench

    viewer = napari.Viewer(title="napari-staligner")
    viewer.window.resize(*WINDOW)
    return viewer, open_workbench(viewer)


def _load(viewer: napari.Viewer, files: Sequence[Path]) -> None:
    if files:
        viewer.open([str(path) for path in files], plugin="napari-staligner")
    else:
        viewer.open_sample("napari-staligner", "olfactory_bulb")


def _integrate(
    viewer: napari.Viewer, docks: dict[str, QWidget], settings: Settings, camera: _Camera
) -> None:
    """Show the slices and their graph, run, and take a picture amid the run."""
    slices, integrate = docks["Slices"], docks["Integrate"]
    session = integrate.session
    _raise(slices)
    session.settings = settings
    _wait(lambda: not slices.building)
    if len(session.graphs) < len(session.slices):
        raise ComputeError(slices.warning.text())
    camera.take("slices", viewer)
    _raise(integrate)
    integrate.run.click()
    if camera.folder is not None:
        bar = integrate.bar
        _wait(lambda: bar.value() > 0.7 * bar.maximum() > 0 or integrate.run.isEnabled())
        camera.take("running", viewer)
    _wait(integrate.run.isEnabled)
    if session.result is None:
        raise ComputeError(integrate.status.text())
    camera.take("integrated", viewer)


def _look_around(viewer: napari.Viewer, docks: dict[str, QWidget], camera: _Camera) -> None:
    """Domains in the three layouts, and attention; for pictures, the other docks too."""
    domains, attention, explore = docks["Domains"], docks["Attention"], docks["Explore"]
    session = domains.session
    _raise(domains)
    for layout in ("grid", "mosaic", "stack"):
        session.layout = layout
        camera.take(f"domains-{layout}", viewer)
    session.layout = "grid"
    presence = session.presence()
    alone = {} if presence is None else presence.specific()
    if alone:
        session.isolated = alone
        camera.take("domains-of-one-slice", viewer)
        session.isolated = ()
    _raise(attention)
    session.attention = replace(session.attention, shown=True, strongest=3)
    camera.take("attention", viewer)
    session.attention = replace(session.attention, shown=False)
    if camera.folder is not None:
        _align(viewer, docks["Alignment"], camera)
        _explore(viewer, explore, camera)
        _compare(viewer, docks, camera)
        _judge(viewer, docks["Judge"], camera)
        _annotate(viewer, docks["Annotate"], camera)
        _raise(docks["Slices"])
        camera.take("keeping", viewer)
    _raise(domains)


def _align(viewer: napari.Viewer, alignment: QWidget, camera: _Camera) -> None:
    """Register once more, and show the residuals."""
    session, before = alignment.session, (alignment.session.layout, alignment.session.color_by)
    if len(session.slices) < 2:
        return
    _raise(alignment)
    _press(alignment.register)
    alignment.accept.click()
    alignment.map.click()
    session.alignment.arrows = True
    camera.take("alignment", viewer)
    session.alignment.arrows = False
    session.layout, session.color_by = before


def _explore(viewer: napari.Viewer, explore: QWidget, camera: _Camera) -> None:
    """The UMAP before and after integration, and the gene that marks a domain best."""
    from napari_staligner.session import ColorBy

    session, umap, markers = explore.session, explore.umap, explore.markers
    _raise(explore)
    session.legend_shown = True
    _press(umap.compute)
    session.color_by = ColorBy("obs", K.SLICE)
    camera.take("explore-slices", viewer)
    markers.region.setCurrentIndex(markers.region.findData(session.domains[-1]))
    _press(markers.find)
    markers.table.selectRow(0)
    camera.take("explore-markers", viewer)
    session.legend_shown = False
    session.color_by = ColorBy("obs", K.DOMAIN)


def _compare(viewer: napari.Viewer, docks: dict[str, QWidget], camera: _Camera) -> None:
    """The stack in its modes, and the links between the slices; then all as before."""
    session = docks["Compare"].session
    before = session.layout, session.stack, session.links
    _raise(docks["Compare"])
    session.layout = "stack"
    for mode, part in (("checkerboard", "spots"), ("swipe", "image"), ("3d", "both")):
        session.stack = replace(session.stack, mode=mode, part=part)
        camera.take(f"compare-{mode}", viewer)
    _raise(docks["Links"])
    session.layout, session.links = "mosaic", replace(session.links, shown=True)
    camera.take("links", viewer)
    session.layout, session.stack, session.links = before
    viewer.reset_view()


def _judge(viewer: napari.Viewer, judge: QWidget, camera: _Camera) -> None:
    """Which slice has which domain, and figures before and after integration."""
    figures = judge.figures
    _raise(judge)
    camera.take("judge-domains", viewer)
    judge.tabs.setCurrentWidget(figures)
    _press(figures.run.button)
    camera.take("judge-figures", viewer)


def _annotate(viewer: napari.Viewer, annotate: QWidget, camera: _Camera) -> None:
    """Name a connected piece of a domain, by a click on the tissue, as one slice alone has it."""
    from napari_staligner.core.regions import largest_piece
    from napari_staligner.session import ColorBy

    session = annotate.session
    presence = session.presence()
    alone = {} if presence is None else presence.specific()
    domain = [*session.domains, *alone][-1]
    _raise(annotate)
    session.layout = "mosaic"
    session.annotations.use_template("Olfactory bulb")
    session.annotations.choose("AOBgr")
    annotate.tools.buttons["piece"].click()
    session.take(largest_piece(session.result, domain), "piece")
    annotate.tools.buttons["piece"].click()
    session.color_by = ColorBy("obs", K.ANNOTATION)
    annotate.card.ask.click()
    _wait(annotate.card.ask.isEnabled)
    camera.take("annotate", viewer)


def _add_layer(viewer: napari.Viewer, data: tuple) -> None:
    from napari.layers import Layer

    viewer.add_layer(Layer.create(*data))


def _raise(widget: QWidget) -> None:
    """Bring the tab of a dock to the front."""
    dock = widget.parentWidget()
    while dock is not None and not hasattr(dock, "toggleViewAction"):
        dock = dock.parentWidget()
    if dock is not None:
        dock.raise_()


def _press(button: QAbstractButton) -> None:
    """Press a button that starts a computation, and wait for its end."""
    if button.isEnabled():
        button.click()
        _wait(button.isEnabled)


def _wait(until: Callable[[], bool]) -> None:
    """Let the window live until something is true."""
    while not until():
        _pause(POLL_MS)


def _pause(milliseconds: int) -> None:
    import napari
    from qtpy.QtCore import QEventLoop, QTimer

    loop = QEventLoop()
    QTimer.singleShot(milliseconds, loop.quit)
    loop.exec()
    if napari.current_viewer() is None:
        raise _ClosedError


def _close(viewer: napari.Viewer) -> None:
    """Close napari and wait for its threads, which ``napari.run`` would wait for at its end."""
    from napari.qt.threading import WorkerBase

    viewer.close()
    WorkerBase.await_workers()


def _stay() -> None:
    import napari

    napari.run()
