"""The Jobs dock: integrations that run outside the window."""

from __future__ import annotations

from typing import TYPE_CHECKING

from napari.utils.notifications import show_info, show_warning
from qtpy.QtCore import Qt
from qtpy.QtWidgets import (
    QDialog,
    QLabel,
    QPlainTextEdit,
    QProgressBar,
    QPushButton,
    QTreeWidget,
    QTreeWidgetItem,
    QVBoxLayout,
)

from napari_staligner._errors import InputError
from napari_staligner.core.progress import spoken
from napari_staligner.jobs.folder import JobFolder
from napari_staligner.widgets.integrate.loss_plot import LossPlot
from napari_staligner.widgets.jobs.actions import (
    Brought,
    cancel_steps,
    forget_steps,
    log_steps,
    result_steps,
    resume_steps,
)
from napari_staligner.widgets.jobs.watcher import JobWatcher
from napari_staligner.widgets.parts.dock import Dock
from napari_staligner.widgets.parts.form import row
from napari_staligner.widgets.parts.saving import may_lose
from napari_staligner.worker import Runner

if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    import napari.viewer

    from napari_staligner.core.progress import Steps
    from napari_staligner.jobs.board import JobCard

EMPTY = (
    "No jobs yet: press Run on… in the Integrate dock, or type 'napari-staligner job start'. A job "
    "goes on when napari is closed."
)
COLORS = {"running": "#56b4e9", "failed": "#e8871e", "done": "#2ca02c"}


class JobsWidget(Dock):
    """The jobs that were started here, in this window or another."""

    def __init__(self, viewer: napari.viewer.Viewer) -> None:
        super().__init__(viewer)
        self._viewer = viewer
        self._cards: tuple[JobCard, ...] | None = None
        self._chosen: JobFolder | None = None
        self._drawn: tuple[JobFolder, int] | None = None
        self._runner = Runner(self)
        self._watcher = JobWatcher(self)
        self._make_controls()
        self._lay_out()
        self._connect_all()
        self._show_card()
        self._watcher.look()

    # -- building ---------------------------------------------------------------------------

    def _make_controls(self) -> None:
        self.table = QTreeWidget()
        self.table.setRootIsDecorated(False)
        self.table.setUniformRowHeights(True)
        self.table.setHeaderLabels(["Slices", "On", "State"])
        self.table.setColumnWidth(0, 150)
        self.table.setColumnWidth(1, 60)
        self.bar = QProgressBar()
        self.bar.setRange(0, 1000)
        self.stage = QLabel()
        self.stage.setWordWrap(True)
        self.plot = LossPlot(self._viewer)
        self.open = QPushButton("Open result")
        self.open.setToolTip("Show the result with its slices in this window")
        self.cancel = QPushButton("Cancel")
        self.cancel.setToolTip("Ask the job to end; it does at its next step")
        self.resume = QPushButton("Resume")
        self.resume.setToolTip("Go on from the last checkpoint, with the same result in the end")
        self.log = QPushButton("Log")
        self.log.setToolTip("Show what the job's process printed")
        self.forget = QPushButton("Forget")
        self.forget.setToolTip("Take the job off this list; its folder stays")

    def _lay_out(self) -> None:
        self.body.addWidget(self.table, 1)
        self.body.addWidget(self.bar)
        self.body.addWidget(self.stage)
        self.body.addWidget(self.plot, 1)
        self.body.addWidget(row(self.open, self.cancel, self.resume))
        self.body.addWidget(row(self.log, self.forget))

    def _connect_all(self) -> None:
        self.table.itemSelectionChanged.connect(self._on_selection_changed)
        self.open.clicked.connect(lambda: self._act(result_steps, "Open the result"))
        self.cancel.clicked.connect(lambda: self._act(cancel_steps, "Cancel the job"))
        self.resume.clicked.connect(lambda: self._act(resume_steps, "Resume the job"))
        self.log.clicked.connect(lambda: self._act(log_steps, "Read the log"))
        self.forget.clicked.connect(lambda: self._act(forget_steps, "Forget the job"))
        self._watcher.seen.connect(self._on_watcher_seen)
        self._runner.returned.connect(self._on_runner_returned)
        self._runner.failed.connect(self._on_runner_failed)
        self._runner.ended.connect(self._on_runner_ended)
        self._viewer.events.theme.connect(self._on_viewer_theme)

    def teardown(self) -> None:
        """End connections and runs; the jobs go on."""
        self._watcher.stop()
        self._runner.blockSignals(True)
        self._runner.cancel()
        self._viewer.events.theme.disconnect(self._on_viewer_theme)
        super().teardown()

    @property
    def looking(self) -> bool:
        """Whether a thread looks at the jobs, or acts on one."""
        return self._watcher.looking or self._runner.running

    # -- what is shown ----------------------------------------------------------------------

    def _on_watcher_seen(self, cards: tuple[JobCard, ...]) -> None:
        before = {card.folder: card.state for card in self._cards or ()}
        self._cards = cards
        for card in cards:
            state = before.get(card.folder)
            if state is not None and card.state.ended and not state.ended:
                _notify(card)
        self._show_table()
        self._show_card()

    def _show_table(self) -> None:
        """One row for each job; the chosen one stays, else the newest is."""
        cards = self._cards or ()
        self.table.blockSignals(True)
        while self.table.topLevelItemCount() > len(cards):
            self.table.takeTopLevelItem(len(cards))
        while self.table.topLevelItemCount() < len(cards):
            self.table.addTopLevelItem(QTreeWidgetItem())
        folders = [card.folder for card in cards]
        if self._chosen not in folders:
            self._chosen = folders[0] if folders else None
        for number, card in enumerate(cards):
            self._fill(self.table.topLevelItem(number), card)
        self.table.blockSignals(False)
        if not cards:
            self.say(EMPTY)
        elif self.status.text() == EMPTY:
            self.say("")

    def _fill(self, item: QTreeWidgetItem, card: JobCard) -> None:
        running = card.state.condition == "running"
        state = f"{card.share:.0%}" if running else card.state.condition
        made = card.spec.made.replace("T", " ")[:16]
        for column, text in enumerate((card.spec.title, card.spec.where.on, state)):
            item.setText(column, text)
            item.setToolTip(column, f"{card.spec.title}\nMade {made} UTC\n{card.folder.path}")
        item.setSelected(card.folder == self._chosen)

    def _card(self) -> JobCard | None:
        return next((card for card in self._cards or () if card.folder == self._chosen), None)

    def _show_card(self) -> None:
        """Show the chosen job."""
        card = self._card()
        self._show_buttons(card)
        for part in (self.bar, self.stage, self.plot):
            part.setVisible(card is not None)
        if card is None:
            return
        self.bar.setValue(round(1000 * card.share))
        self.bar.setVisible(not card.state.ended)
        self.stage.setText(_told(card))
        color = COLORS.get(card.state.condition, "")
        self.stage.setStyleSheet(f"color: {color};" if card.state.condition == "failed" else "")
        self.plot.setVisible(bool(card.losses))
        if self._drawn != (card.folder, len(card.losses)):
            self._drawn = card.folder, len(card.losses)
            self.plot.clear_curves()
            self.plot.add(card.losses)

    def _show_buttons(self, card: JobCard | None) -> None:
        free = card is not None and not self._runner.running
        condition = "" if card is None else card.state.condition
        self.open.setEnabled(free and condition == "done")
        self.cancel.setEnabled(free and condition in ("queued", "running"))
        self.resume.setEnabled(free and condition in ("failed", "cancelled"))
        self.log.setEnabled(free)
        self.forget.setEnabled(free and condition not in ("queued", "running"))

    def _on_selection_changed(self) -> None:
        rows = [self.table.indexOfTopLevelItem(item) for item in self.table.selectedItems()]
        if rows and self._cards:
            self._chosen = self._cards[rows[0]].folder
            self._show_card()

    def _on_viewer_theme(self) -> None:
        self.plot.follow_theme()

    # -- what is done -----------------------------------------------------------------------

    def _act(self, steps: Callable[[JobFolder], Steps[Any]], title: str) -> None:
        folder = self._chosen
        if folder is None:
            return
        if steps is result_steps and not may_lose(self, self.session, "Opening this result"):
            return
        try:
            self._runner.start(lambda: steps(folder), title)
        except InputError as error:
            self.say(str(error), problem=True)
            return
        self.say(f"{title} …")
        self._show_buttons(self._card())

    def _on_runner_returned(self, returned: str | Brought) -> None:
        if isinstance(returned, str):
            self.say(returned)
            return
        if returned.log is not None:
            self.say("")
            self._show_log(returned.log)
        elif returned.content is not None:
            try:
                self.session.open(returned.content)
            except InputError as error:
                self.say(str(error), problem=True)
                return
            self.say("The result is open.")

    def _show_log(self, text: str) -> None:
        dialog = QDialog(self)
        dialog.setAttribute(Qt.WidgetAttribute.WA_DeleteOnClose)
        dialog.setWindowTitle("Log of the job")
        dialog.resize(640, 400)
        shown = QPlainTextEdit(text)
        shown.setReadOnly(True)
        QVBoxLayout(dialog).addWidget(shown)
        dialog.open()

    def _on_runner_failed(self, reason: str) -> None:
        self.say(reason, problem=True)

    def _on_runner_ended(self) -> None:
        self._show_buttons(self._card())
        self._watcher.look()


def _told(card: JobCard) -> str:
    """Tell how a job is, in a line or two."""
    state, last = card.state, card.last
    lines = [card.problem, state.sentence]
    if state.condition == "running" and last is not None:
        stage = last.stage[:1].upper() + last.stage[1:]
        epoch = "" if last.loss is None else f", epoch {last.loss.epoch}"
        left = "" if card.left is None else f", about {spoken(card.left)} left"
        lines.append(f"{stage}{epoch}{left}")
    elif not any(lines):
        lines.append(state.condition[:1].upper() + state.condition[1:] + ".")
    return "\n".join(filter(None, [*lines, *card.notes[:3]]))


def _notify(card: JobCard) -> None:
    """Say in napari that a job has ended."""
    said = f"The job on {card.spec.title} is {card.state.condition}"
    if card.state.condition == "failed":
        show_warning(f"{said}: {card.state.sentence}" if card.state.sentence else f"{said}.")
    else:
        show_info(f"{said}.")
