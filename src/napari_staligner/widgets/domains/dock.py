"""The Domains dock: find domains again, and the legend that names, colours and isolates them."""

from __future__ import annotations

from contextlib import ExitStack
from dataclasses import replace
from typing import TYPE_CHECKING

from qtpy.QtCore import QEvent, QObject, Qt, QTimer
from qtpy.QtGui import QKeyEvent, QKeySequence, QShortcut
from qtpy.QtWidgets import (
    QButtonGroup,
    QCheckBox,
    QColorDialog,
    QDoubleSpinBox,
    QGridLayout,
    QLabel,
    QProgressBar,
    QPushButton,
    QRadioButton,
    QSizePolicy,
    QSpinBox,
    QStackedWidget,
)
from superqt.utils import signals_blocked

from napari_staligner import _keys as K
from napari_staligner._errors import InputError
from napari_staligner.session import ColorBy
from napari_staligner.widgets.domains.number_panel import NumberPanel
from napari_staligner.widgets.parts.color_dialog import ask_color
from napari_staligner.widgets.parts.dock import Dock
from napari_staligner.widgets.parts.form import row
from napari_staligner.widgets.parts.legend import LegendRow, LegendTable
from napari_staligner.worker import Runner

if TYPE_CHECKING:
    import napari.viewer

    from napari_staligner.core.domains.domains import FoundDomains
    from napari_staligner.core.progress import Progress
    from napari_staligner.core.settings import Settings

# Longer than the repeats of a held spin button (about 50 ms) and the pauses of someone typing.
DEBOUNCE_MS = 500
STABILITY = (
    "Agreement (adjusted Rand index) of these domains with others that fit the embedding equally "
    "well; 1 if there are no others. If it is low, another number of domains may be better."
)
K_TIP = (
    "Number of domains: groups of spots that are alike in the embedding, the same in all slices. A "
    "structure whose spots vary can take two of them, and structures that are alike share one, so "
    "k need not be the number of structures that you know."
)


class DomainsWidget(Dock):
    """Domains of the integrated slices: how they are found, and their legend."""

    def __init__(self, viewer: napari.viewer.Viewer) -> None:
        super().__init__(viewer)
        self._before_click: frozenset[str] = frozenset()
        self._finding: Settings | None = None
        self._lost = ""
        # Whether settings were chosen while another computation was stopping.
        self._waiting = False
        self._runner = Runner(self)
        self._debounce = QTimer(self)
        self._debounce.setSingleShot(True)
        self._debounce.setInterval(DEBOUNCE_MS)
        self.color_dialog: QColorDialog | None = None
        self._make_controls()
        self._make_summary()
        self.table = LegendTable(self)
        self._lay_out()
        self._connect_all()
        self._refresh()

    # -- building ---------------------------------------------------------------------------

    def _make_controls(self) -> None:
        self.mixture = QRadioButton("Gaussian mixture, k =")
        self.leiden = QRadioButton("Leiden, resolution")
        self.mixture.setToolTip("As many domains as you say, over all slices")
        self.leiden.setToolTip("As many domains as there are at this resolution; higher finds more")
        self._method = QButtonGroup(self)
        self._method.addButton(self.mixture)
        self._method.addButton(self.leiden)
        self.k = QSpinBox()
        self.k.setRange(2, 60)
        self.k.setToolTip(K_TIP)
        self.resolution = QDoubleSpinBox()
        self.resolution.setRange(0.05, 5.0)
        self.resolution.setSingleStep(0.05)
        self.resolution.setToolTip("Higher finds more domains")
        self.numbers = NumberPanel(self.session, self)
        self.smooth = QCheckBox("Smooth over neighbours")
        self.smooth.setToolTip("Each spot takes the domain that most of its neighbours have")
        for box in (self.k, self.resolution):
            # Otherwise the boxes would use Ctrl+Z for their own text.
            box.installEventFilter(self)

    def _make_summary(self) -> None:
        self.summary = QLabel()
        self.show_all = QPushButton("Show all")
        self.show_all.setToolTip("Show all domains on the tissue (Esc)")
        self.undo, self.redo = QPushButton("Undo"), QPushButton("Redo")
        for keys, slot in (
            ("Esc", self._on_show_all_clicked),
            ("Ctrl+Z", self.session.domains.track.undo),
            ("Ctrl+Shift+Z", self.session.domains.track.redo),
        ):
            shortcut = QShortcut(QKeySequence(keys), self)
            shortcut.setContext(Qt.ShortcutContext.WidgetWithChildrenShortcut)
            shortcut.activated.connect(slot)
        self.bar = QProgressBar()
        self.cancel = QPushButton("Cancel")
        self.cancel.setToolTip("Stop; everything stays as it is")

    def _lay_out(self) -> None:
        found = QGridLayout()
        found.addWidget(self.mixture, 0, 0)
        found.addWidget(self.k, 0, 1)
        found.addWidget(self.leiden, 1, 0)
        found.addWidget(self.resolution, 1, 1)
        found.addWidget(self.smooth, 2, 0, 1, 2)
        found.setColumnStretch(2, 1)
        self.body.addLayout(found)
        self.body.addWidget(self.numbers)
        # Summary and progress share a place, so that the table does not move during a run.
        self._place = QStackedWidget()
        self._place.addWidget(row(self.summary, None, self.show_all, self.undo, self.redo))
        self._place.addWidget(row(self.bar, self.cancel))
        self._place.setSizePolicy(QSizePolicy.Policy.Preferred, QSizePolicy.Policy.Fixed)
        self.body.addWidget(self._place)
        self.body.addWidget(self.table, 1)

    def _connect_all(self) -> None:
        session = self.session
        self.k.valueChanged.connect(self._on_choice_changed)
        self.resolution.valueChanged.connect(self._on_choice_changed)
        self.mixture.toggled.connect(self._on_choice_changed)
        self.smooth.toggled.connect(self._on_choice_changed)
        self._debounce.timeout.connect(self._find)
        self.numbers.chosen.connect(self._on_number_chosen)
        self.listen(self.numbers)
        self.cancel.clicked.connect(self._on_cancel_clicked)
        self._runner.progressed.connect(self._on_runner_progressed)
        self._runner.returned.connect(self._on_runner_returned)
        self._runner.failed.connect(self._on_runner_failed)
        self._runner.ended.connect(self._on_runner_ended)
        self.undo.clicked.connect(session.domains.track.undo)
        self.redo.clicked.connect(session.domains.track.redo)
        self._connect(session.domains.track.track_changed, self._show_history)
        self._connect(session.domains.track.restoring, self._stop)
        self.show_all.clicked.connect(self._on_show_all_clicked)
        self.table.chosen.connect(self._on_row_chosen)
        self.table.rename_started.connect(self._on_rename_started)
        self.table.color_wanted.connect(self._on_color_wanted)
        self.table.legend.renamed.connect(self._on_name_edited)
        self._connect(self.session.result.changed, self._on_session_result_changed)
        for changed in (
            session.domains.relabelled,
            session.domains.renamed,
            session.domains.recolored,
        ):
            self._connect(changed, self._on_session_domains_changed)
        self._connect(self.session.view.events.isolated, self._on_session_isolated_changed)

    def eventFilter(self, watched: QObject, event: QEvent) -> bool:
        """Leave undo and redo to the dock while a number box has the focus."""
        if event.type() == QEvent.Type.ShortcutOverride and isinstance(event, QKeyEvent):
            standard = QKeySequence.StandardKey
            if event.matches(standard.Undo) or event.matches(standard.Redo):
                event.ignore()
                return True
        return bool(super().eventFilter(watched, event))

    # -- what is shown ----------------------------------------------------------------------

    @property
    def _ready(self) -> bool:
        result = self.session.result.adata
        if result is None:
            return False
        return K.EMBEDDING in result.obsm and K.CONNECTIVITIES in result.obsp

    def _refresh(self) -> None:
        self._show_choice()
        self._show_history()
        self._show_legend()
        self._show_status()

    def _show_choice(self) -> None:
        """Set the controls to the options that the present domains were found with."""
        controls = (self.mixture, self.leiden, self.k, self.resolution, self.smooth)
        chosen = self.session.domains.settings
        with ExitStack() as stack:
            for control in controls:
                stack.enter_context(signals_blocked(control))
            (self.leiden if chosen.domains is None else self.mixture).setChecked(True)
            if chosen.domains is not None:
                self.k.setValue(chosen.domains)
            self.resolution.setValue(chosen.resolution)
            self.smooth.setChecked(chosen.smooth)
        self._enable()

    def _enable(self) -> None:
        for control in (self.mixture, self.leiden, self.smooth):
            control.setEnabled(self._ready)
        self.k.setEnabled(self._ready and self.mixture.isChecked())
        self.resolution.setEnabled(self._ready and self.leiden.isChecked())
        self.numbers.allow(self._ready)
        self.table.setEnabled(bool(self.session.domains.names))

    def _show_history(self) -> None:
        track = self.session.domains.track
        self.undo.setEnabled(bool(track.undo_text))
        self.undo.setToolTip(f"Undo {track.undo_text} (Ctrl+Z)")
        self.redo.setEnabled(bool(track.redo_text))
        self.redo.setToolTip(f"Redo {track.redo_text} (Ctrl+Shift+Z)")

    def _show_legend(self) -> None:
        counts, colors = self.session.domains.counts(), self.session.domains.colors
        isolated, presence = self.session.view.isolated, self.session.domains.presence()
        specific = {} if presence is None else presence.specific()
        slices = list(next(iter(counts.values()), {}))
        rows = [
            LegendRow(
                name=domain,
                color=colors[domain],
                counts=tuple(by_slice.values()),
                specific=specific.get(domain),
                dimmed=bool(isolated) and domain not in isolated,
            )
            for domain, by_slice in counts.items()
        ]
        sizes = [self.session.slices[name].n_obs for name in slices]
        self.table.legend.show(slices, sizes, rows)
        self.show_all.setVisible(bool(isolated))
        self.numbers.show_present()
        stability = self.session.domains.stability
        self.summary.setText(_summary(counts, sum(sizes), stability))
        self.summary.setToolTip(STABILITY if stability is not None else "")

    def _show_status(self) -> None:
        """Say what is missing, or which domains are shown."""
        domains, isolated = self.session.domains.names, self.session.view.isolated
        if self.session.result.adata is None:
            self.say("There are no domains yet: integrate the slices first.")
        elif not self._ready:
            self.say("This result lacks its embedding or its graph: integrate the slices again.")
        elif not domains:
            self.say(
                "This result has no domains: press Complete in the Integrate dock, or choose here "
                "how to find them.",
                problem=True,
            )
        elif isolated:
            counts = self.session.domains.counts()
            n = sum(sum(counts[domain].values()) for domain in isolated)
            names = ", ".join(domain for domain in domains if domain in isolated)
            self.say(f"Shown alone: {names} ({n:,} spots). Esc shows all.")
        else:
            self.say("")

    # -- finding domains --------------------------------------------------------------------

    def _chosen(self) -> Settings:
        return replace(
            self.session.view.settings,
            domains=self.k.value() if self.mixture.isChecked() else None,
            resolution=round(self.resolution.value(), 2),
            smooth=self.smooth.isChecked(),
            averaged=self.session.domains.settings.averaged,
        )

    def _find(self) -> None:
        """Find domains as chosen, unless these are the present ones."""
        if self._runner.running:
            self._runner.cancel()
            self._waiting = True
            return
        settings = self._chosen()
        same = bool(self.session.domains.names) and _same_choice(
            settings, self.session.domains.settings
        )
        if not self._ready or same:
            return
        job = self.session.domains.job(settings)
        self._finding, self._lost = settings, ""
        self._show_running()
        self._runner.start(job.steps, "Finding domains")

    def _show_running(self) -> None:
        self.bar.setRange(0, 0)
        self.bar.setFormat("")
        self._place.setCurrentIndex(1)

    def _stop(self) -> None:
        self._debounce.stop()
        self._runner.cancel()
        self._finding, self._waiting = None, False

    def _on_choice_changed(self) -> None:
        self._enable()
        self._debounce.start()

    def _on_number_chosen(self, k: int) -> None:
        self.mixture.setChecked(True)
        self.k.setValue(k)

    def _on_cancel_clicked(self) -> None:
        self._stop()
        self._place.setCurrentIndex(0)
        self._show_choice()
        self.say("Cancelled: the domains have not changed.")

    def _on_runner_progressed(self, step: Progress) -> None:
        self.bar.setRange(0, step.total)
        self.bar.setValue(step.done)
        self.bar.setFormat(step.stage)
        self._lost = step.lost or self._lost

    def _on_runner_returned(self, found: FoundDomains) -> None:
        if self._finding is not None:
            self.session.domains.relabel(
                found.labels, self._finding, found.stability, found.presence
            )
            if self._lost:
                self.say(self._lost, problem=True)

    def _on_runner_failed(self, reason: str) -> None:
        self._show_choice()
        self.say(reason, problem=True)

    def _on_runner_ended(self) -> None:
        self._finding = None
        self._place.setCurrentIndex(0)
        if self._waiting:
            self._waiting = False
            self._find()

    # -- the legend -------------------------------------------------------------------------

    def _color_tissue(self) -> None:
        if self.session.domains.names:
            self.session.view.color_by = ColorBy("obs", K.DOMAIN)

    def _on_row_chosen(self, domain: str, ctrl: bool) -> None:
        isolated = self._before_click = self.session.view.isolated
        if ctrl:
            self.session.view.isolated = isolated ^ frozenset({domain})
        else:
            self.session.view.isolated = (
                frozenset() if isolated == {domain} else frozenset({domain})
            )
        self._color_tissue()

    def _on_rename_started(self) -> None:
        # The first click of the double-click has isolated the domain: undo that.
        self.session.view.isolated = self._before_click

    def _on_show_all_clicked(self) -> None:
        self.session.view.isolated = frozenset()

    def _on_name_edited(self, old: str, new: str) -> None:
        try:
            self.session.domains.rename(old, new)
        except InputError as error:
            self.say(str(error), problem=True)

    def _on_color_wanted(self, domain: str) -> None:
        domains = self.session.domains
        self.color_dialog = ask_color(
            self,
            f"Colour of domain {domain}",
            domains.colors[domain],
            lambda color: domains.recolor(domain, color),
        )
        self.color_dialog.finished.connect(self._on_color_dialog_finished)

    def _on_color_dialog_finished(self) -> None:
        self.color_dialog = None

    # -- the session ------------------------------------------------------------------------

    def _on_session_result_changed(self) -> None:
        self._stop()
        self.numbers.forget()
        self._refresh()

    def _on_session_domains_changed(self) -> None:
        self._color_tissue()
        if self._finding is None and not self._debounce.isActive():
            self._show_choice()
        self._show_legend()
        self._show_status()

    def _on_session_isolated_changed(self) -> None:
        self._show_legend()
        self._show_status()


def _same_choice(a: Settings, b: Settings) -> bool:
    if (a.domains, a.smooth, a.averaged) != (b.domains, b.smooth, b.averaged):
        return False
    return a.domains is not None or a.resolution == b.resolution


def _summary(counts: dict[str, dict[str, int]], n_spots: int, stability: float | None) -> str:
    if not counts:
        return ""
    without = n_spots - sum(sum(by_slice.values()) for by_slice in counts.values())
    text = f"{len(counts)} domains, {n_spots:,} spots"
    if without:
        text += f" ({without:,} without domain)"
    return text if stability is None else f"{text}, stability {stability:.2f}"
