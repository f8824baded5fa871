"""The main job in a window, done by clicking in the docks, with pictures on request."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from napari_staligner._errors import ComputeError
from napari_staligner.core.settings import Settings
from napari_staligner.demo.window import (
    ClosedError,
    DemoCamera,
    bring_forward,
    require_display,
    wait,
)

if TYPE_CHECKING:
    import napari
    from qtpy.QtWidgets import QWidget

    from napari_staligner.io.session_file import Content


WINDOW = (1600, 1000)
DEMO = Settings(domains=9, seed=0)
"""The default settings, with as many domains as the bulb has regions."""


def view_files(files: Sequence[Path], stay: Callable[[], object] | None = None) -> None:
    """Open slices or a session in napari with the docks, and wait until it is closed.

    Parameters
    ----------
    files
        ``.h5ad`` files.
    stay
        What to do once they are open, instead of staying open.

    Raises
    ------
    InputError
        A file cannot be read, or there is no display.
    """
    require_display()
    from napari_staligner.layers.reader import read_layers

    layers = read_layers([str(path) for path in files])
    viewer, _ = open_viewer()
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
        Slices to use instead of the simulated olfactory bulb, or one file with a result.
    settings
        Settings of the run.

    Returns
    -------
    The pictures; fewer if napari is closed during the demo.

    Raises
    ------
    InputError
        A file cannot be read, the folder cannot be made, or there is no display.
    ComputeError
        The spatial graphs cannot be built, or the run failed.
    """
    require_display()
    camera = DemoCamera(screenshots)
    viewer, docks = open_viewer()
    try:
        _load(viewer, files)
        _integrate(viewer, docks, settings, camera)
        _look_around(viewer, docks, camera)
    except ClosedError:
        return camera.taken
    except BaseException:
        _close(viewer)
        raise
    if screenshots is None:
        _stay()
    else:
        _close(viewer)
    return camera.taken


def open_viewer() -> tuple[napari.Viewer, dict[str, QWidget]]:
    """Open napari with all docks; return the viewer, and the docks' widgets by name."""
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
    viewer: napari.Viewer, docks: dict[str, QWidget], settings: Settings, camera: DemoCamera
) -> None:
    """Show the slices and their graph, run, and take a picture during the run.

    A file with a result needs no run.
    """
    slices, integrate = docks["Slices"], docks["Integrate"]
    session = integrate.session
    bring_forward(slices)
    session.view.settings = settings
    wait(lambda: not slices.building)
    if len(session.slices.graphs) < len(session.slices):
        raise ComputeError(slices.warning.text())
    camera.take("slices", viewer)
    if session.result.adata is not None:
        return
    bring_forward(integrate)
    integrate.run.click()
    if camera.folder is not None:
        bar = integrate.bar
        wait(lambda: bar.value() > 0.7 * bar.maximum() > 0 or integrate.run.isEnabled())
        camera.take("running", viewer)
    wait(integrate.run.isEnabled)
    if session.result.adata is None:
        raise ComputeError(integrate.status.text())
    camera.take("integrated", viewer)


def _look_around(viewer: napari.Viewer, docks: dict[str, QWidget], camera: DemoCamera) -> None:
    """Show domains in the three layouts, and attention; for pictures, the other docks too."""
    domains, attention = docks["Domains"], docks["Attention"]
    session = domains.session
    bring_forward(domains)
    for layout in ("grid", "mosaic", "stack"):
        session.view.layout = layout
        camera.take(f"domains-{layout}", viewer)
    session.view.layout = "grid"
    presence = session.domains.presence()
    alone = {} if presence is None else presence.specific()
    if alone:
        session.view.isolated = frozenset(alone)
        camera.take("domains-of-one-slice", viewer)
        session.view.isolated = ()
    bring_forward(attention)
    session.view.attention = replace(session.view.attention, shown=True, strongest=3)
    camera.take("attention", viewer)
    session.view.attention = replace(session.view.attention, shown=False)
    if camera.folder is not None:
        from napari_staligner.demo.tour import take_tour

        take_tour(viewer, docks, camera)
    bring_forward(domains)


def _add_layer(viewer: napari.Viewer, data: tuple) -> None:
    from napari.layers import Layer

    viewer.add_layer(Layer.create(*data))


def add_content(viewer: napari.Viewer, content: Content) -> None:
    """Add the layers of slices and of a result, if there is one, to a viewer."""
    from napari_staligner.layers.layer_data import content_layers

    for data in content_layers(content):
        _add_layer(viewer, data)


def _close(viewer: napari.Viewer) -> None:
    """Close napari and wait for its threads, as ``napari.run`` would do at its end."""
    from napari.qt.threading import WorkerBase

    viewer.close()
    WorkerBase.await_workers()


def _stay() -> None:
    import napari

    napari.run()
