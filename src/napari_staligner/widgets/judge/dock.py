"""The Judge dock: figures before and after, domains by slice, verdicts, and the report."""

from __future__ import annotations

import weakref
from pathlib import Path
from typing import TYPE_CHECKING

from qtpy.QtCore import Qt
from qtpy.QtGui import QKeySequence, QShortcut
from qtpy.QtWidgets import QFileDialog, QSplitter, QTabWidget

from napari_staligner._errors import InputError
from napari_staligner.compat import unwrapped
from napari_staligner.widgets.judge.figures_panel import FiguresPanel
from napari_staligner.widgets.judge.pictures_panel import PicturesPanel
from napari_staligner.widgets.judge.presence_panel import PresencePanel
from napari_staligner.widgets.judge.queue_panel import QueuePanel
from napari_staligner.widgets.judge.verdicts_panel import VerdictsPanel
from napari_staligner.widgets.parts.dock import Dock
from napari_staligner.widgets.parts.overlap_switch import OverlapSwitch
from napari_staligner.widgets.parts.run_row import RunRow

if TYPE_CHECKING:
    import napari.viewer


class JudgeWidget(Dock):
    """Whether the alignment is right, where it is wrong, and what only one slice has."""

    def __init__(self, viewer: napari.viewer.Viewer) -> None:
        super().__init__(viewer)
        self._viewer = weakref.ref(unwrapped(viewer))
        self.figures = FiguresPanel(self.session, self)
        self.pictures = PicturesPanel(self.session, self)
        self.presence = PresencePanel(self.session, self)
        self.queue = QueuePanel(self.session, viewer, self)
        self.only_overlap = OverlapSwitch(self.session, self)
        self.verdicts = VerdictsPanel(self.session, self)
        self.report = RunRow(
            "Report…",
            "Write verdicts, pictures and figures as one HTML file, which opens without napari",
            "no report was written",
            self,
        )
        self._target = Path()
        self._lay_out()
        self._connect_all()
        self._refresh()

    def _lay_out(self) -> None:
        self.tabs = QTabWidget()
        self.tabs.addTab(self.presence, "Domain by slice")
        self.tabs.addTab(self.figures, "Figures")
        self.tabs.addTab(self.pictures, "Side by side")
        self.tabs.addTab(self.queue, "Pairs")
        parts = QSplitter(Qt.Orientation.Vertical)
        parts.setChildrenCollapsible(False)
        parts.addWidget(self.tabs)
        parts.addWidget(self.verdicts)
        parts.setStretchFactor(0, 2)
        parts.setStretchFactor(1, 1)
        self.body.addWidget(self.only_overlap)
        self.body.addWidget(parts, 1)
        self.body.addWidget(self.report)

    def _connect_all(self) -> None:
        self.listen(self.figures, self.pictures, self.queue, self.verdicts, self.report)
        self.listen(self.only_overlap)
        self.figures.pair_chosen.connect(self.verdicts.show_pair)
        self.queue.pair_chosen.connect(self.verdicts.show_pair)
        self.tabs.currentChanged.connect(self._on_tab_changed)
        self.figures.compared.connect(self._on_figures_compared)
        self.pictures.described.connect(self._on_spot_described)
        self.report.clicked.connect(self._on_report_clicked)
        self.report.returned.connect(self._on_report_returned)
        escape = QShortcut(QKeySequence("Esc"), self)
        escape.setContext(Qt.ShortcutContext.WidgetWithChildrenShortcut)
        escape.activated.connect(self.session.focus.show_all)
        session = self.session
        self._connect(session.result.changed, self._on_session_result_changed)
        self._connect(session.domains.relabelled, self._refresh)
        self._connect(session.domains.renamed, self._on_session_domains_renamed)
        self._connect(session.domains.recolored, self._on_session_domains_recolored)
        self._connect(session.view.events.isolated, self._on_session_isolated_changed)
        self._connect(session.view.events.only_overlap, self._on_session_only_overlap)
        self._connect(session.alignment.changed, self.only_overlap.refresh)
        self._connect(session.figures.changed, self._on_session_evaluation_changed)
        self._connect(session.figures.umap_changed, self.pictures.refresh)
        self._connect(session.view.events.region, self.pictures.show_colors)
        self._connect(session.result.selection_changed, self.pictures.show_colors)
        self._connect(session.view.events.spot, self.pictures.show_spot)
        self._connect(session.verdicts.changed, self.verdicts.show_verdicts)
        self._connect(session.pairs.changed, self.queue.refresh)
        for seen in (session.pairs.seen_changed, session.verdicts.changed):
            self._connect(seen, self.queue.show_seen)

    def _come_to_sight(self) -> None:
        self.pictures.show_if_stale()
        self._on_tab_changed()

    def _go_out_of_sight(self) -> None:
        self.queue.take_keys(seen=False)

    def teardown(self) -> None:
        """End connections, and give the keys back."""
        self.queue.take_keys(seen=False)
        self.only_overlap.stop()
        super().teardown()

    def _on_tab_changed(self) -> None:
        self.queue.take_keys(seen=self.seen and self.tabs.currentWidget() is self.queue)

    # -- what is shown ----------------------------------------------------------------------

    def _refresh(self) -> None:
        self.only_overlap.refresh()
        self.figures.refresh()
        self.pictures.refresh()
        self.presence.refresh()
        self.queue.refresh()
        self.verdicts.refresh()
        self.verdicts.show_isolated()
        self.report.allow(self.session.result.adata is not None)
        if self.session.result.adata is None:
            self.say("There is nothing to judge yet: integrate the slices first.")
        else:
            self.say(self._summary())

    def _summary(self) -> str:
        table = self.session.overlap.presence() or self.session.domains.presence()
        if table is None:
            what = (
                "It is not known which slices have the domains"
                if self.session.domains.names
                else "This result has no domains"
            )
            return f"{what}: press Complete in the Integrate dock."
        lone, unclear = table.specific(), table.unclear()
        where = ", ".join(f"{name} ({row.slice})" for name, row in lone.items())
        said = f"In one slice only: {where}." if lone else "No domain lies in one slice only."
        if self.session.view.only_overlap:
            said = f"Where slices overlap: {said[:1].lower()}{said[1:]}"
        return f"{said} Unclear: {', '.join(unclear)}." if unclear else said

    # -- the session ------------------------------------------------------------------------

    def _on_session_result_changed(self) -> None:
        self.figures.stop()
        self.pictures.stop()
        self.queue.run.stop()
        self.report.stop()
        self._refresh()

    def _on_session_domains_renamed(self) -> None:
        self.presence.refresh()
        self.verdicts.refresh()
        self.say(self._summary())

    def _on_session_domains_recolored(self) -> None:
        self.presence.refresh()
        self.pictures.refresh()

    def _on_session_only_overlap(self) -> None:
        self.only_overlap.refresh()
        self.presence.refresh()
        if self.session.result.adata is not None:
            self.say(self._summary())

    def _on_session_isolated_changed(self) -> None:
        self.presence.table.dim()
        self.pictures.show_colors()
        self.verdicts.show_isolated()

    def _on_session_evaluation_changed(self) -> None:
        self.figures.refresh()
        self.pictures.refresh()

    def _on_figures_compared(self) -> None:
        self.tabs.setCurrentWidget(self.pictures)

    def _on_spot_described(self, text: str) -> None:
        viewer = self._viewer()
        if viewer is not None:
            viewer.status = text

    # -- the report -------------------------------------------------------------------------

    def _on_report_clicked(self) -> None:
        path, result = self.session.path, self.session.result.adata
        start = "report.html" if path is None else str(path.with_suffix(".html"))
        name, _ = QFileDialog.getSaveFileName(self, "Save report", start, "Web page (*.html)")
        if not name or result is None:
            return
        from napari_staligner.io.atomic import check_target
        from napari_staligner.report.report import report_job

        self.session.domains.presence()
        try:
            self._target = check_target(Path(name).with_suffix(".html"))
            figures = self.session.figures.evaluation or self.session.figures.job(
                self.figures.label(), self.figures.chosen()
            )
            job = report_job(result, path.name if path else ", ".join(self.session.slices), figures)
        except InputError as error:
            self.say(str(error), problem=True)
            return

        self.report.start(job.steps, "Writing report")

    def _on_report_returned(self, page: str) -> None:
        from napari_staligner.io.atomic import write_text

        try:
            write_text(page, self._target)
        except InputError as error:
            self.say(str(error), problem=True)
        else:
            self.say(f"Report written to {self._target}.")
