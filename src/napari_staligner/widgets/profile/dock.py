"""The Profile dock: what the spots are coloured by, against their distance on an axis."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from qtpy.QtCore import Qt, QTimer
from qtpy.QtWidgets import QFileDialog, QFormLayout, QPushButton, QSplitter
from superqt.utils import signals_blocked

from napari_staligner import _keys as K
from napari_staligner._errors import InputError
from napari_staligner.core.palette import hex_color
from napari_staligner.layers.colors import category_colors
from napari_staligner.widgets.parts.color_box import ColorBox
from napari_staligner.widgets.parts.dock import Dock
from napari_staligner.widgets.parts.form import DecimalBox, row
from napari_staligner.widgets.profile.axis_choice import AxisChoice, is_ready
from napari_staligner.widgets.profile.curves_plot import CurvesPlot
from napari_staligner.widgets.profile.peak_table import PeakTable
from napari_staligner.worker import Runner

if TYPE_CHECKING:
    import napari.viewer

    from napari_staligner.core.result.profiles import Profiles

_NO_RESULT = "There is nothing to draw a profile of yet: integrate the slices first."
_NO_LINE = "Drag a line on the tissue, or click its corners and double-click the last one."
_NO_REGION = "Choose a region, or annotate one."
WAIT_MS = 150
"""Changes that follow each other sooner are shown together."""


class ProfileWidget(Dock):
    """Layers of aligned slices must peak at the same depth: curves of all slices over an axis."""

    def __init__(self, viewer: napari.viewer.Viewer) -> None:
        super().__init__(viewer)
        self._stale = True
        self._waiting = False
        self._runner = Runner(self)
        self._pause = QTimer(self)
        self._pause.setSingleShot(True)
        self._pause.setInterval(WAIT_MS)
        self._make_controls()
        self._lay_out()
        self._connect_all()
        self._refresh()

    # -- building ---------------------------------------------------------------------------

    def _make_controls(self) -> None:
        self.color_by = ColorBox(self.session)
        self.axis = AxisChoice(self.session)
        self.smoothing = DecimalBox()
        self.smoothing.setRange(0, 50)
        self.smoothing.setSingleStep(0.5)
        self.smoothing.setSpecialValueText("auto")
        self.smoothing.setToolTip(
            "Standard deviation of the average along the axis, in spots; auto spans neighbours"
        )
        self.plot = CurvesPlot(self)
        self.peaks = PeakTable(self)
        self.table = QPushButton("CSV…")
        self.table.setToolTip("Write the curves with their bands, and the peaks, as two tables")
        self.picture = QPushButton("Picture…")
        self.picture.setToolTip("Write the plot as PNG, PDF or SVG")
        self.keep = QPushButton("Into the report")
        self.keep.setToolTip("Show this profile in the report of the Judge dock")
        self.keep_none = QPushButton("None")
        self.keep_none.setToolTip("Show no profile in the report")

    def _lay_out(self) -> None:
        form = QFormLayout()
        form.addRow("Profile of", self.color_by)
        self.body.addLayout(form)
        self.body.addWidget(self.axis)
        smooth = QFormLayout()
        smooth.addRow("Smooth over", row(self.smoothing, None))
        self.body.addLayout(smooth)
        parts = QSplitter(Qt.Orientation.Vertical)
        parts.setChildrenCollapsible(False)
        parts.addWidget(self.plot)
        parts.addWidget(self.peaks)
        parts.setStretchFactor(0, 3)
        parts.setStretchFactor(1, 2)
        parts.setSizes([360, 240])
        self.body.addWidget(parts, 1)
        self.body.addWidget(row(self.table, self.picture, self.keep, self.keep_none))

    def _connect_all(self) -> None:
        session, view = self.session, self.session.view.events
        self._runner.returned.connect(self._on_runner_returned)
        self._runner.failed.connect(self._on_runner_failed)
        self._runner.ended.connect(self._on_runner_ended)
        self._pause.timeout.connect(self._compute)
        self.smoothing.valueChanged.connect(self._compute_soon)
        self.peaks.value_chosen.connect(self._show_curves)
        self.table.clicked.connect(self._on_table_clicked)
        self.picture.clicked.connect(self._on_picture_clicked)
        self.keep.clicked.connect(self._on_keep_clicked)
        self.keep_none.clicked.connect(session.profile.keep_none)
        self._connect(session.result.changed, self._refresh)
        self._connect(session.domains.renamed, self._refresh)
        self._connect(session.domains.relabelled, self._refresh)
        self._connect(session.domains.recolored, self._show_found)
        self._connect(session.annotations.changed, self._on_annotations_changed)
        self._connect(session.alignment.changed, self._compute_soon)
        self._connect(session.profile.changed, self._show_found)
        self._connect(session.profile.kept_changed, self._show_kept)
        self._connect(view.color_by, self._on_color_by_changed)
        self._connect(view.axis, self._on_axis_changed)
        for changed in (view.tool, view.axis_shown):
            self._connect(changed, self.axis.show_set)

    def teardown(self) -> None:
        """End connections and a run."""
        self._pause.stop()
        self._runner.blockSignals(True)
        self._runner.cancel()
        super().teardown()

    def _come_to_sight(self) -> None:
        if self._stale:
            self._compute()

    # -- computing --------------------------------------------------------------------------

    def _refresh(self) -> None:
        self.color_by.fill()
        self.axis.fill()
        self._show_found()
        self._show_kept()
        self._compute_soon()

    def _compute_soon(self) -> None:
        self._pause.start()

    def _compute(self) -> None:
        """Compute the profile now, or once the dock is visible."""
        self._stale = not self.seen
        if self._stale:
            return
        if self._runner.running:
            self._runner.cancel()
            self._waiting = True
            return
        missing = self._missing()
        if missing:
            self.session.profile.found = None
            self.say(missing)
            return
        smoothing = self.smoothing.value()
        try:
            job = self.session.profile.job(smoothing if smoothing > 0 else None)
            self._runner.start(job.steps, "Profile")
        except InputError as error:
            self._on_runner_failed(str(error))

    def _missing(self) -> str:
        axis = self.session.view.axis
        if self.session.result.adata is None:
            return _NO_RESULT
        if is_ready(axis):
            return ""
        return _NO_LINE if axis.drawn else _NO_REGION

    def _on_runner_returned(self, found: Profiles) -> None:
        self.session.profile.found = found
        few = [name for name, n in found.spots.items() if n == 0]
        text = f"{sum(found.spots.values()):,} spots on the axis."
        if few:
            text += f" None of {', '.join(few)}."
        self.say(text, problem=bool(few))

    def _on_runner_failed(self, reason: str) -> None:
        self.session.profile.found = None
        self.say(reason, problem=True)

    def _on_runner_ended(self) -> None:
        if self._waiting:
            self._waiting = False
            self._compute()

    # -- what is shown ----------------------------------------------------------------------

    def _slice_colors(self) -> dict[str, str]:
        names = list(self.session.slices)
        rgba = category_colors(self.session, K.SLICE, names)
        return {name: hex_color(rgba[name]) for name in names}

    def _value_colors(self, found: Profiles) -> dict[str, str]:
        if len(found.curves) < 2:
            return {}
        rgba = category_colors(self.session, found.of.key, list(found.curves))
        return {name: hex_color(rgba[name]) for name in found.curves}

    def _show_found(self) -> None:
        found = self.session.profile.found
        for button in (self.table, self.picture, self.keep):
            button.setEnabled(found is not None)
        values = {} if found is None else self._value_colors(found)
        self.peaks.show_profiles(found, values, self._slice_colors())
        self._show_curves()

    def _show_curves(self) -> None:
        found = self.session.profile.found
        if found is None:
            self.plot.clear_curves()
            return
        chosen = self.peaks.chosen
        names = [chosen] if chosen else list(found.curves)
        by_value = len(names) > 1
        colors = self._value_colors(found) if by_value else self._slice_colors()
        self.plot.show_profiles(found, names, colors, by_value=by_value)
        self.peaks.show_profiles(found, self._value_colors(found), self._slice_colors())

    def _show_kept(self) -> None:
        n = len(self.session.profile.kept)
        self.keep.setText(f"Into the report ({n})" if n else "Into the report")
        self.keep_none.setVisible(n > 0)

    # -- the session ------------------------------------------------------------------------

    def _on_color_by_changed(self) -> None:
        self.color_by.show_set()
        self._compute_soon()

    def _on_axis_changed(self) -> None:
        self.axis.show_set()
        if is_ready(self.session.view.axis):
            self.session.view.axis_shown = True
        self._compute_soon()

    def _on_annotations_changed(self) -> None:
        with signals_blocked(self.axis):
            self.axis.fill()
        self._compute_soon()

    # -- files and the report -----------------------------------------------------------------

    def _ask(self, title: str, name: str, filters: str) -> Path | None:
        start = self.session.path
        at = Path(name) if start is None else start.with_name(f"{start.stem} {name}")
        chosen, _ = QFileDialog.getSaveFileName(self, title, str(at), filters)
        return Path(chosen) if chosen else None

    def _on_table_clicked(self) -> None:
        from napari_staligner.io.atomic import write_text

        found = self.session.profile.found
        path = self._ask("Save profile", "profile.csv", "Tables (*.csv)")
        if path is None or found is None:
            return
        path = path.with_suffix(".csv")
        peaks = path.with_name(f"{path.stem}_peaks.csv")
        try:
            write_text(found.to_frame().to_csv(index=False), path)
            write_text(found.peaks_frame().to_csv(index=False), peaks)
        except InputError as error:
            self.say(str(error), problem=True)
        else:
            self.say(f"Curves written to {path}, peaks to {peaks.name}.")

    def _on_picture_clicked(self) -> None:
        from napari_staligner.io.atomic import write_bytes
        from napari_staligner.report.picture import picture_form
        from napari_staligner.report.profile_picture import profile_picture

        found = self.session.profile.found
        path = self._ask("Save picture", "profile.png", "Pictures (*.png *.pdf *.svg)")
        if path is None or found is None:
            return
        chosen = self.peaks.chosen
        names = [chosen] if chosen else list(found.curves)
        colors = self._value_colors(found) if len(names) > 1 else self._slice_colors()
        try:
            form = picture_form(path)
            write_bytes(profile_picture(found, names, colors, form), path)
        except InputError as error:
            self.say(str(error), problem=True)
        else:
            self.say(f"Picture written to {path}.")

    def _on_keep_clicked(self) -> None:
        if self.session.profile.keep():
            self.say("The report shows this profile. Save the result to keep it.")
        else:
            self.say("The report shows this profile already.")
