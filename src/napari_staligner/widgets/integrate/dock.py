"""The Integrate dock: settings, the run with its loss curves, and saving the result."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING
from weakref import ref

import numpy as np
from qtpy.QtCore import QTimer
from qtpy.QtWidgets import (
    QHBoxLayout,
    QLabel,
    QProgressBar,
    QPushButton,
)

from napari_staligner._errors import InputError
from napari_staligner.compat import SearchAtRest
from napari_staligner.core.attempt import PRESENCE
from napari_staligner.core.missing_stages import missing_stages
from napari_staligner.core.progress import spoken
from napari_staligner.core.result.access import record_of
from napari_staligner.widgets.integrate.clock import Clock
from napari_staligner.widgets.integrate.loss_plot import LossPlot
from napari_staligner.widgets.integrate.run_on import RunOn
from napari_staligner.widgets.integrate.settings_panel import SettingsPanel
from napari_staligner.widgets.parts.dock import Dock
from napari_staligner.widgets.parts.form import FittingScroll
from napari_staligner.widgets.parts.saving import saver_of
from napari_staligner.worker import Runner

if TYPE_CHECKING:
    import napari.viewer
    from anndata import AnnData

    from napari_staligner.core.attempt import LaterStage
    from napari_staligner.core.progress import Loss, Progress
    from napari_staligner.core.settings import Settings
    from napari_staligner.core.stages import Staged
    from napari_staligner.session import IntegrationJob

NO_SLICE = "Open at least one slice in the Slices dock."
ONE_SLICE = "Only one slice: it is run as a plain autoencoder."
NO_PAIR = "Check at least one pair of slices under Advanced, Pairs."
REDRAW_MS = 1000

_LEIDEN = "Leiden finds many; Which k is stable? in the Domains dock tells which number to choose."


class IntegrateWidget(Dock):
    """Integration of the loaded slices in the background."""

    def __init__(self, viewer: napari.viewer.Viewer) -> None:
        super().__init__(viewer)
        self._viewer = viewer
        self._runner = Runner(self)
        self._garbage = SearchAtRest(self)
        self._saver = saver_of(self.session)
        self._loaded: dict[str, ref[AnnData]] = {}
        self._running_on: dict[str, AnnData] = {}
        self._replaces = False
        self._kept: Path | None = None
        self._step: Progress | None = None
        self._losses: list[Loss] = []
        self._notes: list[str] = []
        self._lost: list[str] = []
        self._completing: tuple[AnnData, Settings] | None = None
        self._clock = Clock()
        self._timer = QTimer(self)
        self._timer.setInterval(REDRAW_MS)
        self.settings = SettingsPanel(self.session)
        self._make_run()
        self.listen(self.settings, self.run_on)
        self._lay_out()
        self._connect_all()
        self._show_result()
        self._show_readiness()

    # -- building ---------------------------------------------------------------------------

    def _make_run(self) -> None:
        self.run = QPushButton("Run")
        self.run.setToolTip("Integrate the slices; napari stays usable during the run")
        self.run_on = RunOn(self.session, self)
        self.cancel = QPushButton("Cancel")
        self.cancel.setToolTip("Stop at the next step; nothing changes")
        self.complete = QPushButton("Complete")
        self.complete.setToolTip("Compute the parts of the result that failed before")
        self.save = QPushButton("Save…")
        self.save.setToolTip("Write the session, with its result, to one .h5ad file")
        self.bar = QProgressBar()
        self.stage = QLabel()
        self.plot = LossPlot(self._viewer)

    def _lay_out(self) -> None:
        self.body.addWidget(FittingScroll(self.settings))
        buttons = QHBoxLayout()
        for button in (self.run, self.run_on, self.cancel, self.complete, self.save):
            buttons.addWidget(button)
        self.body.addLayout(buttons)
        self.body.addWidget(self.bar)
        self.body.addWidget(self.stage)
        self.body.addWidget(self.plot, 1)
        self.body.addStretch()

    def _connect_all(self) -> None:
        self.run.clicked.connect(self._on_run_clicked)
        self.cancel.clicked.connect(self._on_cancel_clicked)
        self.complete.clicked.connect(self._on_complete_clicked)
        self.save.clicked.connect(lambda: self._saver.save_as(self))
        self._timer.timeout.connect(self._show_run)
        self._runner.progressed.connect(self._on_runner_progressed)
        self._runner.returned.connect(self._on_runner_returned)
        self._runner.failed.connect(self._on_runner_failed)
        self._runner.ended.connect(self._on_runner_ended)
        self._saver.said.connect(self._on_saver_said)
        session = self.session
        self._connect(session.slices.changed, self._on_session_slices_changed)
        self._connect(session.view.events.settings, self._on_session_settings_changed)
        self._connect(session.domains.relabelled, self._on_session_domains_changed)
        self._connect(session.alignment.changed, self._show_enabled)
        self._connect(session.result.changed, self._show_result)
        self._viewer.events.theme.connect(self._on_viewer_theme)

    def teardown(self) -> None:
        """End connections and runs."""
        self._garbage.end()
        self._runner.blockSignals(True)
        self._runner.cancel()
        self.session.autosave.recovery.await_result(None)
        self.run_on.teardown()
        self._timer.stop()
        self._viewer.events.theme.disconnect(self._on_viewer_theme)
        super().teardown()

    # -- what is shown ----------------------------------------------------------------------

    def _show_enabled(self) -> None:
        running, ready = self._runner.running, bool(self.session.slices)
        ready = ready and self.session.view.settings.pairs != ()
        self.run.setEnabled(ready and not running)
        self.run_on.setEnabled(ready)
        self.cancel.setEnabled(running)
        self.settings.setEnabled(not running)
        self.complete.setVisible(bool(self._missing()))
        self.complete.setEnabled(not running)
        self.save.setEnabled(self.session.result.adata is not None)
        self.bar.setVisible(running)
        self.stage.setVisible(running)
        self.plot.setVisible(running or not self.plot.empty)

    def _missing(self) -> list[LaterStage]:
        """What the result lacks; the test of the domains counts only if it fails."""
        if self.session.result.adata is None:
            return []
        return [
            stage
            for stage in missing_stages(self.session.result.adata)
            if stage is not PRESENCE or self.session.domains.presence() is None
        ]

    def _show_readiness(self) -> None:
        """Say what is missing for a run; nothing during a run."""
        self._show_enabled()
        if self._runner.running:
            return
        n = len(self.session.slices)
        if n == 0:
            self.say(NO_SLICE)
        elif self.session.view.settings.pairs == ():
            self.say(NO_PAIR, problem=True)
        else:
            self.say(ONE_SLICE if n == 1 else f"Ready: {n} slices.")

    def _show_run(self) -> None:
        """Show stage, time and losses; called once a second, however fast the steps are.

        All at once: without a graphics card Qt takes 30 ms to compose the window for each change.
        """
        if self._step is None:
            return
        self.setUpdatesEnabled(False)
        try:
            self._show_step(self._step)
        finally:
            self.setUpdatesEnabled(True)

    def _show_step(self, step: Progress) -> None:
        elapsed = spoken(self._clock.elapsed)
        self.bar.setRange(0, step.total)
        self.bar.setValue(step.done)
        stage = step.stage[:1].upper() + step.stage[1:]
        epoch = "" if step.loss is None else f", epoch {step.loss.epoch}"
        left = self._clock.left
        rest = "" if left is None else f", about {spoken(left)} left"
        self.stage.setText(f"{stage}{epoch}: {elapsed}{rest}")
        if self._losses:
            self.plot.add(self._losses)
            self._losses = []

    def _show_result(self) -> None:
        """Show the losses of the present result."""
        result = self.session.result.adata
        losses = {} if result is None else record_of(result).get("loss", {})
        if not self._runner.running or losses:
            self.plot.show_all({name: np.asarray(values) for name, values in losses.items()})
        self._show_enabled()

    # -- the run ----------------------------------------------------------------------------

    def _on_run_clicked(self) -> None:
        try:
            job = self.session.integration_job()
            self._runner.start(job.steps, _title(job))
        except InputError as error:
            self.say(str(error), problem=True)
            return
        self._running_on, self._kept = dict(self.session.slices), job.kept
        self.session.autosave.await_result(job.kept)
        self.plot.clear_curves()
        self._show_start()

    def _on_complete_clicked(self) -> None:
        result = self.session.result.adata
        if result is None:
            return
        try:
            job = self.session.completion_job()
            self._runner.start(job.steps, "Complete the result")
        except InputError as error:
            self.say(str(error), problem=True)
            return
        self._completing = result, job.settings
        self._show_start()

    def _show_start(self) -> None:
        self._step, self._losses, self._notes, self._lost = None, [], [], []
        self._replaces = self.session.result.adata is not None
        self._clock.start()
        self._timer.start()
        self.bar.setRange(0, 0)
        self.stage.setText("Starting …")
        self._show_enabled()
        self.say("")

    def _on_cancel_clicked(self) -> None:
        self._runner.cancel()
        self._timer.stop()
        self.cancel.setEnabled(False)
        self.stage.setText("Stopping at the next step …")
        self.say("Cancelled: nothing has changed.")

    def _on_runner_progressed(self, step: Progress) -> None:
        self._step = step
        self._clock.tick(step.done, step.total)
        if step.loss is not None:
            self._losses.append(step.loss)
        for said in (step.note, step.lost):
            if said and said not in self._notes:
                self._notes.append(said)
                self.say("\n".join(self._notes), problem=True)
        if step.lost:
            self._lost.append(step.lost)
        if step.outlook:
            self.say("\n".join([*self._notes, step.outlook]), problem=bool(self._notes))

    def _on_runner_returned(self, result: AnnData | Staged) -> None:
        if self._completing is not None:
            self._on_completed(result, *self._completing)
        else:
            self._on_integrated(result)

    def _on_completed(self, staged: Staged, result: AnnData, settings: Settings) -> None:
        if self.session.result.adata is not result:
            self.say("There is another result now: complete that one.", problem=True)
            return
        self.session.set_completed(staged, settings, self._lost)
        said = [note for note in self._notes if note not in self._lost]
        done = "" if self._lost else f"Completed in {spoken(self._clock.elapsed)}."
        self.say("\n".join(filter(None, [done, *self._lost, *said])), problem=bool(self._lost))

    def _on_integrated(self, result: AnnData) -> None:
        now = self.session.slices
        same = list(now) == list(self._running_on) and all(
            now[name] is adata for name, adata in self._running_on.items()
        )
        if not same:
            self.say(
                "The slices changed during the run, so its result no longer fits: run again.",
                problem=True,
            )
            return
        try:
            self.session.set_result(result, kept=self._kept)
        except InputError as error:
            self.say(str(error), problem=True)
            return
        n, slices = len(self.session.domains.names), len(now)
        found = f"{n} domain{'s' * (n != 1)} over " if n else ""
        done = f"Done in {spoken(self._clock.elapsed)}: {found}{slices} slice{'s' * (slices != 1)}."
        by_leiden = n > 0 and self.session.domains.settings.domains is None
        lines = [done, *self._notes, *[_LEIDEN] * by_leiden]
        self.say("\n".join(lines), problem=bool(self._lost))

    def _on_saver_said(self, text: str, problem: bool) -> None:
        self.say(text, problem=problem)

    def _on_runner_failed(self, reason: str) -> None:
        self.say(reason, problem=True)

    def _on_runner_ended(self) -> None:
        self._timer.stop()
        self._running_on, self._completing = {}, None
        # Taken by now, or of no use.
        self.session.autosave.await_result(None)
        # After a cancel or an error, show the curves of the present result again.
        self._show_result()
        # A search for garbage among all that is there freezes the window for a second.
        self._garbage.due(whole=self._replaces)

    # -- the session and the viewer ---------------------------------------------------------

    def _on_session_slices_changed(self) -> None:
        self.settings.follow_slices()
        self._show_readiness()
        now = self.session.slices
        # What was closed must be found, too.
        closed = any(slice_() is not now.get(name) for name, slice_ in self._loaded.items())
        self._garbage.due(whole=closed)
        self._loaded = {name: ref(adata) for name, adata in now.items()}

    def _on_session_domains_changed(self) -> None:
        self.settings.show_set()
        self._show_enabled()

    def _on_session_settings_changed(self) -> None:
        self.settings.show_set()
        self._show_readiness()

    def _on_viewer_theme(self) -> None:
        self.plot.follow_theme()


def _title(job: IntegrationJob) -> str:
    n = len(job.slices)
    return f"Integrate {n} slice{'s' * (n != 1)}"
