"""The button that writes what the canvas shows as a figure for a paper."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from qtpy.QtCore import Signal
from qtpy.QtWidgets import QFileDialog, QPushButton

from napari_staligner._errors import InputError
from napari_staligner.core.annotations.regions import microns_per_unit
from napari_staligner.core.prepare.libraries import own_library
from napari_staligner.core.registration.transforms import apply, scale_of
from napari_staligner.core.result.access import spot_size, spots_xy
from napari_staligner.layers import painting
from napari_staligner.report.figure import FigureJob, FigureLegend, FigurePart
from napari_staligner.report.result_figure import over_tissue
from napari_staligner.session.view import CanvasView, Look
from napari_staligner.worker import Runner

if TYPE_CHECKING:
    from napari_staligner.session import Session


class FigureButton(QPushButton):
    """Asks for a file, and draws the slices that are shown into it.

    Parameters
    ----------
    session
        The session.
    """

    said = Signal(str, bool)
    """A sentence for the status line, and whether it is a problem."""

    def __init__(self, session: Session) -> None:
        super().__init__("Figure…")
        self._session, self._target = session, Path()
        self.runner = Runner(self)
        self.setToolTip(
            "Write the slices that are shown, in their colours, over their images, with names, "
            "scale bar and legend: PNG at 300 dpi, SVG or PDF"
        )
        self.clicked.connect(self._on_clicked)
        self.runner.returned.connect(self._on_runner_returned)
        self.runner.failed.connect(lambda reason: self.said.emit(reason, True))
        self.runner.ended.connect(self.show_session)
        self.show_session()

    def show_session(self) -> None:
        """Allow it where there is something to draw."""
        self.setEnabled(bool(self._session.slices) and not self.runner.running)

    def job(self, form: str) -> FigureJob:
        """Copy what the figure shows: the stack draws slices as they lie in the common frame."""
        colors = painting(self._session)
        # How the layers look now: images and spots may be hidden, or let through.
        self._session.canvas_asked.emit()
        parts = tuple(self._part(name, colors.rgba[name]) for name in self._session.paging.shown)
        legend, ramp = colors.legend, None
        if legend.colormap is not None:
            from napari.utils.colormaps import ensure_colormap

            ramp = ensure_colormap(legend.colormap).map(np.linspace(0, 1, 128))
        return FigureJob(
            parts,
            FigureLegend(legend.title, legend.entries, legend.limits, ramp, legend.unit),
            form,
        )

    def _part(self, name: str, rgba: np.ndarray) -> FigurePart:
        adata, canvas = self._session.slices[name], self._session.view.canvas or CanvasView()
        points, factor, place = spots_xy(adata), 1.0, np.eye(3)
        size = spot_size(points) * self._session.view.spot_scale
        library = own_library(adata)
        known = microns_per_unit(adata, {} if library is None else {library[0]: library[1]})
        moved = self._session.alignment.transforms.get(name)
        if self._session.view.layout == "stack" and moved is not None:
            points, factor, place = apply(moved, points), scale_of(moved), moved
        microns = None if known is None else known[0] / factor
        spots = canvas.spots.get(name, Look())
        rgba = rgba * (1, 1, 1, spots.opacity if spots.visible else 0)
        part = FigurePart(name, points.copy(), rgba, size * factor, microns)
        look = canvas.images.get(name, Look())
        if library is None or not look.visible:
            return part
        return over_tissue(part, library[1], place, look.opacity)

    def teardown(self) -> None:
        """End a run."""
        self.runner.blockSignals(True)
        self.runner.cancel()

    def _on_clicked(self) -> None:
        from napari_staligner.io.atomic import check_target
        from napari_staligner.report.picture import picture_form

        path = self._session.path
        start = "figure.png" if path is None else str(path.with_name(f"{path.stem} figure.png"))
        filters = "Pictures (*.png *.svg *.pdf)"
        chosen, _ = QFileDialog.getSaveFileName(self, "Save figure", start, filters)
        if not chosen:
            return
        try:
            self._target = check_target(Path(chosen))
            self.runner.start(self.job(picture_form(self._target)).steps, "Figure")
        except InputError as error:
            self.said.emit(str(error), True)
            return
        self.said.emit(f"Drawing {self._target.name} …", False)
        self.show_session()

    def _on_runner_returned(self, picture: bytes) -> None:
        from napari_staligner.io.atomic import write_bytes

        try:
            write_bytes(picture, self._target)
        except InputError as error:
            self.said.emit(str(error), True)
        else:
            self.said.emit(f"Figure written to {self._target}.", False)
