"""The Slices dock: load slices, check their spatial graphs, choose how they are shown."""

from __future__ import annotations

import weakref
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from qtpy.QtCore import Qt, QTimer
from qtpy.QtGui import QDragEnterEvent, QDropEvent, QKeySequence, QShortcut
from qtpy.QtWidgets import (
    QButtonGroup,
    QCheckBox,
    QComboBox,
    QFileDialog,
    QFormLayout,
    QGroupBox,
    QLabel,
    QPushButton,
)
from superqt.utils import signals_blocked

from napari_staligner._errors import InputError
from napari_staligner.compat import being_drawn, in_turn, search_whole, unwrapped
from napari_staligner.io.formats.sniff import is_known
from napari_staligner.widgets.parts.choice import LAYOUTS
from napari_staligner.widgets.parts.color_box import ColorBox
from napari_staligner.widgets.parts.dock import Dock
from napari_staligner.widgets.parts.form import narrow, row
from napari_staligner.widgets.parts.saving import RecoveryBar, SessionBar, may_lose, saver_of
from napari_staligner.widgets.slices.card_view import CardView
from napari_staligner.widgets.slices.choices_dialog import ChoicesDialog
from napari_staligner.widgets.slices.fetch_button import FetchButton
from napari_staligner.widgets.slices.figure_button import FigureButton
from napari_staligner.widgets.slices.graph_choice import GraphChoice
from napari_staligner.widgets.slices.image_row import ImageRow
from napari_staligner.widgets.slices.opening import (
    Looked,
    Opened,
    file_steps,
    open_steps,
    remote_steps,
    sample_steps,
    split_steps,
)
from napari_staligner.widgets.slices.outlines_switch import OutlinesSwitch
from napari_staligner.widgets.slices.shown_row import ShownRow
from napari_staligner.widgets.slices.slice_table import SliceTable
from napari_staligner.worker import Runner

if TYPE_CHECKING:
    import napari.viewer
    from anndata import AnnData

    from napari_staligner.core.prepare.graph import SpatialGraph
    from napari_staligner.core.prepare.sections import Sections
    from napari_staligner.core.progress import Progress
    from napari_staligner.core.settings import Settings
    from napari_staligner.io.session_file import Content
    from napari_staligner.io.slice_card import SliceCard

EMPTY = "Drop files or folders of slices here, add them, or open the sample."
_FILTERS = (
    "Slices and results (*.h5ad *.h5 *.gem *.gem.gz *.gef *.xenium *.mtx *.mtx.gz *.tsv *.csv"
    " *.csv.gz *.parquet);;All files (*)"
)
DRAWN_MS = 100
"""How often to look whether all slices are drawn."""
_MOST_PARTS = 60
"""A column with more values than this does not name slices."""
_MOST_SENTENCES = 3
"""In the status line; what comes first are files that could not be read."""


class SlicesWidget(Dock):
    """Slices of the viewer: files, spatial graphs, layout and colours."""

    def __init__(self, viewer: napari.viewer.Viewer) -> None:
        super().__init__(viewer)
        self._viewer = weakref.ref(unwrapped(viewer))
        self.setAcceptDrops(True)
        self._reader = Runner(self)
        self._grapher = Runner(self)
        self._graph_settings: Settings | None = None
        self._graph_problem = ""
        self._make_controls()
        self._lay_out()
        self._connect_all()
        self._refresh()
        self._build_graphs()

    # -- building ---------------------------------------------------------------------------

    def _make_controls(self) -> None:
        self.keeping = SessionBar(self.session, self._open)
        self.recovery = RecoveryBar(self.session)
        self.add = QPushButton("Add…")
        self.add.setToolTip("Open files: slices of any known format, or a saved result")
        self.add_folder = QPushButton("Folder…")
        self.add_folder.setToolTip(
            "Open a folder that the instrument's software wrote, as outs of Visium or Xenium, or a "
            ".zarr store"
        )
        self.sample = QPushButton("Open sample")
        self.sample.setToolTip("Two simulated slices of an olfactory bulb, ready to integrate")
        self.fetch = FetchButton(self)
        self.stop = QPushButton("Cancel")
        self.stop.setToolTip("End the fetching; nothing is kept of a file that is not whole")
        self._fetching = False
        self.remove = QPushButton("Remove")
        self.remove.setToolTip("Remove the selected slices (Del); the files do not change")
        self.table = SliceTable()
        self.shown = ShownRow(self.session)
        self.card = CardView(self.session, self)
        self.image = ImageRow(self.session)
        delete = QShortcut(QKeySequence(Qt.Key.Key_Delete), self.table)
        delete.setContext(Qt.ShortcutContext.WidgetWithChildrenShortcut)
        delete.activated.connect(self._on_remove_clicked)
        self.split = narrow(QComboBox())
        self.split.setToolTip(
            "One file with several slices: select it above, then choose the column of obs that "
            "names the slice of each spot"
        )
        self.split_asked = QPushButton()
        self.split_asked.setToolTip("Make a slice of each section that the file holds")
        self.split_asked.setVisible(False)
        self._sections: list[tuple[AnnData, Sections]] = []
        self._coming: list[tuple[str, AnnData]] = []
        self._noticed: list[str] = []
        self._several = self._torn = False
        self.warning = QLabel()
        self.warning.setWordWrap(True)
        self.warning.setStyleSheet("color: #e8871e;")
        self.graph = GraphChoice(self.session)
        self.graph_shown = QCheckBox("Draw the graph on the tissue")
        self.graph_shown.setToolTip("Lines between neighbouring spots")
        self.color_by = ColorBox(self.session)
        self.outlines = OutlinesSwitch(self.session, self)
        self.figure = FigureButton(self.session)
        self.layouts = QButtonGroup(self)
        self.layout_buttons: dict[str, QPushButton] = {}
        for name, (title, tip) in LAYOUTS.items():
            button = self.layout_buttons[name] = QPushButton(title)
            button.setCheckable(True)
            button.setToolTip(tip)
            self.layouts.addButton(button)

    def _lay_out(self) -> None:
        self.body.addWidget(self.keeping)
        self.body.addWidget(self.recovery)
        self.body.addWidget(row(self.add, self.add_folder, self.sample, self.remove))
        self.real = row(self.fetch, None, self.stop)
        self.body.addWidget(self.real)
        self.body.addWidget(self.table, 1)
        self.body.addWidget(self.shown)
        self.body.addWidget(self.card)
        self.body.addWidget(self.image)
        self.body.addWidget(self.warning)
        split = QFormLayout()
        split.addRow("Split selected by", self.split)
        self.body.addWidget(self.split_asked)
        self.body.addLayout(split)
        graph = QGroupBox("Spatial graph")
        form = QFormLayout(graph)
        form.addRow("Neighbours", self.graph)
        form.addRow(self.graph_shown)
        self.body.addWidget(graph)
        view = QGroupBox("View")
        form = QFormLayout(view)
        form.addRow("Layout", row(*self.layout_buttons.values()))
        form.addRow("Colour by", self.color_by)
        form.addRow("", self.outlines)
        form.addRow("", self.figure)
        self.body.addWidget(view)

    def _connect_all(self) -> None:
        self.add.clicked.connect(self._on_add_clicked)
        self.add_folder.clicked.connect(self._on_add_folder_clicked)
        self.sample.clicked.connect(self._on_sample_clicked)
        self.fetch.wanted.connect(self._on_fetch_wanted)
        self.stop.clicked.connect(self._on_stop_clicked)
        self.remove.clicked.connect(self._on_remove_clicked)
        self.table.ticked.connect(self._on_table_ticked)
        self.table.itemSelectionChanged.connect(self._on_selection_changed)
        self.split.activated.connect(self._on_split_activated)
        self.split_asked.clicked.connect(self._on_split_asked_clicked)
        self.graph_shown.toggled.connect(self._on_graph_shown_toggled)
        self.card.shown.connect(self._on_card_shown)
        self.layouts.buttonClicked.connect(self._on_layout_clicked)
        self._reader.progressed.connect(self._on_reader_progressed)
        self._reader.returned.connect(self._on_reader_returned)
        self._reader.failed.connect(self._on_reader_failed)
        self._reader.ended.connect(self._on_reader_ended)
        self._grapher.returned.connect(self._on_grapher_returned)
        self._grapher.failed.connect(self._on_grapher_failed)
        self._grapher.ended.connect(self._build_graphs)
        session = self.session
        self._connect(session.slices.changed, self._on_session_slices_changed)
        self._connect(session.view.events.settings, self._on_session_settings_changed)
        self._connect(session.slices.graphs_changed, self._show_graphs)
        self._connect(session.view.events.graph_shown, self._show_graphs)
        self._connect(session.view.events.layout, self._show_layout)
        for shown in (session.view.events.only, session.view.events.pinned):
            self._connect(shown, self._show_shown)
        self._connect(session.images.changed, self._on_session_images_changed)
        for followed in (
            *(session.view.events.image_hand, session.images.track.track_changed),
            session.images.pairs_changed,
        ):
            self._connect(followed, self.image.show_session)
        self._connect(session.view.events.color_by, self.color_by.show_set)
        self._connect(session.result.changed, self.color_by.fill)
        self._connect(session.domains.relabelled, self.color_by.fill)
        self._connect(session.view.events.outlines_shown, self.outlines.show_session)
        for changed in (session.saved_changed, session.slices.changed):
            self._connect(changed, self.keeping.show_session)
        self._connect(session.autosave.offer_changed, self.recovery.show_offer)
        self._connect(session.autosave.warning_changed, self.keeping.show_session)
        self._connect(session.autosave.delayed, self.keeping.look_later)
        self._connect(session.result.changed, self.keeping.show_session)
        said = (self.recovery, self.keeping.export, self.figure, self.outlines, saver_of(session))
        self.listen(self.image, *said)

    def teardown(self) -> None:
        """End connections and runs."""
        self._coming, self._torn, self.session.slices.more_follow = [], True, False
        search_whole(True)
        self.card.teardown()
        for runner in (self._reader, self._grapher):
            # A build that ends now must not start the next one.
            runner.blockSignals(True)
            runner.cancel()
        self.recovery.teardown()
        self.keeping.export.teardown()
        self.figure.teardown()
        self.outlines.teardown()
        super().teardown()

    # -- what is shown ----------------------------------------------------------------------

    def _refresh(self) -> None:
        self._show_graphs()
        self._show_card()
        self._show_split()
        self._show_splittable()
        self._show_layout()
        self._show_enabled()
        self.figure.show_session()
        self.outlines.show_session()
        self.shown.show_session()
        self.graph.show_set()
        self.color_by.fill()
        self._show_status()

    def _show_status(self) -> None:
        slices = self.session.slices.values()
        if not slices:
            self.say(EMPTY)
            return
        n = sum(adata.n_obs for adata in slices)
        self.say(f"{len(slices)} slice{'s' * (len(slices) > 1)}, {n:,} spots.")

    def _show_graphs(self) -> None:
        building = self._grapher.running and not self._graph_problem
        self.table.show_session(self.session, building=building)
        with signals_blocked(self.graph_shown):
            self.graph_shown.setChecked(self.session.view.graph_shown)
        sentences = [self._graph_problem] if self._graph_problem else []
        for name, graph in self.session.slices.graphs.items():
            sentences += filter(None, [graph.describe(name)])
        self.warning.setText("\n".join(sentences))
        self.warning.setVisible(bool(sentences))

    def _show_shown(self) -> None:
        self.table.show_ticks(self.session)
        self.shown.show_session()

    def _show_layout(self) -> None:
        self.layout_buttons[self.session.view.layout].setChecked(True)

    def _show_enabled(self) -> None:
        reading = self._reader.running
        self.add.setEnabled(not reading)
        self.add_folder.setEnabled(not reading)
        self.sample.setEnabled(not reading)
        self.fetch.setEnabled(not reading)
        # Only of use to who has no slices yet; the dock has not much room.
        self.real.setVisible(self._fetching or not self.session.slices)
        self.stop.setVisible(self._fetching)
        self.split_asked.setEnabled(not reading)
        self.remove.setEnabled(bool(self.table.chosen) and not reading)
        self.split.setEnabled(self.split.count() > 1 and not reading)

    def _show_split(self) -> None:
        """Offer columns that may name several slices within the selected one."""
        chosen = self.table.chosen
        self.split.clear()
        self.split.addItem("choose a column…" if len(chosen) == 1 else "–")
        if len(chosen) != 1:
            return
        for key, column in self.session.slices[chosen[0]].obs.items():
            if column.dtype.kind == "f":
                continue
            parts = column.nunique()
            if 2 <= parts <= _MOST_PARTS:
                self.split.addItem(f"{key} ({parts} slices)", str(key))
        if self.split.count() == 1:
            self.split.setItemText(0, "no column with few values")

    def _show_card(self) -> None:
        """Show the card of the selected slice; of the newest where not one is selected."""
        chosen = self.table.chosen
        newest = next(reversed(list(self.session.slices)), "")
        self.card.show_slice(chosen[0] if len(chosen) == 1 else newest)

    def _on_card_shown(self, name: str, card: SliceCard | None) -> None:
        why = "" if card is None or card.fit is None else f"It is {card.fit.better}"
        self.image.show_slice(name, None if card is None else card.mend, why)

    def _on_session_images_changed(self) -> None:
        self.image.show_session()
        for name in self.session.images.moves:
            self.card.look_again(name)

    # -- files ------------------------------------------------------------------------------

    def dragEnterEvent(self, event: QDragEnterEvent) -> None:
        """Accept files and folders of known formats."""
        if _dropped(event) and not self._reader.running:
            event.acceptProposedAction()

    def dropEvent(self, event: QDropEvent) -> None:
        """Open the files that were dropped."""
        event.acceptProposedAction()
        self._open(_dropped(event))

    def _on_add_clicked(self) -> None:
        names, _ = QFileDialog.getOpenFileNames(self, "Open slices or a result", "", _FILTERS)
        self._open(map(Path, names))

    def _on_add_folder_clicked(self) -> None:
        name = QFileDialog.getExistingDirectory(self, "Open a folder or a .zarr store")
        self._open([Path(name)] if name else [])

    def _on_sample_clicked(self) -> None:
        self._read(sample_steps, "Open sample")

    def _on_fetch_wanted(self, names: list[str]) -> None:
        if not self._reader.running:
            self._fetching = True
            self._read(lambda: remote_steps(names), "Fetch slices")

    def _on_stop_clicked(self) -> None:
        self._reader.cancel()
        self.say("Cancelled; nothing is kept of a file that is not whole.")

    def _on_reader_ended(self) -> None:
        self._fetching = False
        self._show_enabled()

    def _open(self, paths: Iterable[Path]) -> None:
        if files := list(paths):
            self._read(lambda: open_steps(files), "Open slices")

    def _choose(self, looked: Looked) -> None:
        """Ask for what only a person knows."""
        self.choices = ChoicesDialog(looked, self)
        self.choices.setAttribute(Qt.WidgetAttribute.WA_DeleteOnClose)
        self.choices.accepted.connect(self._on_choices_accepted)
        self.choices.rejected.connect(self._show_status)
        self.choices.open()

    def _on_choices_accepted(self) -> None:
        specs = self.choices.specs()
        self._read(lambda: file_steps(specs), "Open slices")

    def _read(self, make_steps: Any, title: str) -> None:
        try:
            self._reader.start(make_steps, title)
        except InputError as error:
            self.say(str(error), problem=True)
            return
        self.say(f"{title} …")
        self._show_enabled()

    def _on_reader_progressed(self, step: Progress) -> None:
        self.say(f"{step.stage[:1].upper()}{step.stage[1:]} …")

    def _on_reader_failed(self, reason: str) -> None:
        self.say(reason, problem=True)

    def _on_reader_returned(self, opened: Opened | Looked) -> None:
        if isinstance(opened, Looked):
            self._choose(opened)
            return
        problems = [*opened.problems, *opened.notes]
        if opened.replaces is not None:
            self.session.slices.remove(opened.replaces)
        if opened.session is not None:
            problems += self._take_session(opened.session)
        else:
            self._sections += opened.sections
            self._coming += opened.slices
            self._add_next()
        self._noticed = problems if self._coming else []
        if problems:
            self.say(_short(problems), problem=True)

    def _add_next(self) -> None:
        """Add a slice, and the others after a moment: each takes the window some 0.1 s."""
        if not self._coming:
            return
        more = len(self._coming) > 1
        self.session.slices.add([self._coming.pop(0)], more=more)
        if more:
            # A search for garbage in all that is loaded takes 0.5 s: it waits for the end.
            search_whole(False)
            in_turn(self._add_next)

    def _take_session(self, content: Content) -> list[str]:
        """Show a session that was read from a file; it replaces the present one."""
        if not may_lose(self, self.session, "Opening this session"):
            return []
        self._coming = []  # they belong to the session that is replaced
        try:
            self.session.open(content)
        except InputError as error:
            return [str(error)]
        return []

    # -- removing and splitting -------------------------------------------------------------

    def _may_lose(self, doing: str, names: Iterable[str]) -> bool:
        """Ask before an unsaved result is lost with its slices."""
        touched = any(self.session.result.rows(name) is not None for name in names)
        return not touched or may_lose(self, self.session, doing)

    def _on_remove_clicked(self) -> None:
        names = self.table.chosen
        if names and self._may_lose(f"Removing {', '.join(names)}", names):
            for name in names:
                self.session.slices.remove(name)

    def _on_selection_changed(self) -> None:
        self._show_card()
        self._show_split()
        self._show_enabled()

    def _on_split_activated(self, index: int) -> None:
        key = self.split.itemData(index)
        self.split.setCurrentIndex(0)
        if key is None:
            return
        (name,) = self.table.chosen
        self._split(name, key)

    def _split(self, name: str, key: str) -> None:
        if self._may_lose(f"Splitting {name}", [name]):
            copied = self.session.slices[name].copy()
            self._read(lambda: split_steps(name, copied, key), f"Split {name} by {key}")

    def _splittable(self) -> tuple[str, Sections] | None:
        """The first loaded slice that seems to hold several sections, named by a column."""
        for adata, found in self._sections:
            name = next((n for n, each in self.session.slices.items() if each is adata), None)
            if name is not None and found.key:
                return name, found
        return None

    def _show_splittable(self) -> None:
        offer = self._splittable()
        self.split_asked.setVisible(offer is not None)
        if offer is not None:
            name, found = offer
            self.split_asked.setText(f"Split {name} by {found.key} ({len(found.values)} slices)")
            self.split_asked.setToolTip(f"{name} seems to hold several sections: {found.reason}")

    def _on_split_asked_clicked(self) -> None:
        offer = self._splittable()
        if offer is not None:
            self._split(offer[0], offer[1].key)

    # -- graph ------------------------------------------------------------------------------

    @property
    def building(self) -> bool:
        """Whether spatial graphs are being built."""
        return self._grapher.running

    def _rebuild_graphs(self) -> None:
        """Stop a build for old slices or settings; when it ends, the next one starts."""
        self._graph_problem = ""
        self._grapher.cancel()
        self._build_graphs()

    def _build_graphs(self) -> None:
        """Build the missing graphs, unless a build is running."""
        if self._grapher.running:
            return
        job = self.session.slices.graph_job()
        if job.coordinates and not self._graph_problem:
            self._graph_settings = job.settings
            self._grapher.start(job.steps, "Spatial graph")
        self._show_graphs()

    def _on_grapher_returned(self, graphs: dict[str, SpatialGraph]) -> None:
        if self._graph_settings is not None:
            self.session.slices.set_graphs(graphs, self._graph_settings)

    def _on_grapher_failed(self, reason: str) -> None:
        # Remembered until slices or settings change: the same build would fail again.
        self._graph_problem = reason

    def _on_graph_shown_toggled(self, shown: bool) -> None:
        self.session.view.graph_shown = shown

    # -- view and session -------------------------------------------------------------------

    def _on_table_ticked(self, names: list[str]) -> None:
        if names:
            self.session.paging.show_only(names)
        else:
            # Without any slice there would be nothing to see, or to tick again on the canvas.
            self.table.show_ticks(self.session)
            self.say("At least one slice stays shown.")

    def _on_layout_clicked(self, button: QPushButton) -> None:
        (name,) = (key for key, each in self.layout_buttons.items() if each is button)
        self.session.view.layout = name  # type: ignore[assignment]

    def _on_session_slices_changed(self) -> None:
        if self.session.slices.more_follow:
            self._several = True
            if not self._noticed:
                self._show_status()
            return
        if self._several:
            # Laying out many slices takes a while already: let the window live in between.
            self._several = False
            in_turn(self._follow_slices)
        else:
            self._follow_slices()

    def _follow_slices(self) -> None:
        viewer = self._viewer()
        if viewer is not None and being_drawn(viewer) and not self._torn:
            # napari draws the canvas several times for each of its progress bars.
            QTimer.singleShot(DRAWN_MS, self._follow_slices)
        elif not self._torn:
            search_whole(True)
            self._rebuild_graphs()
            self._refresh()
            if self._noticed:
                self.say(_short(self._noticed), problem=True)
                self._noticed = []

    def _on_session_settings_changed(self) -> None:
        self.graph.show_set()
        built_for = self._graph_settings
        now = self.session.view.settings
        if built_for is None or (built_for.radius, built_for.n_neighbors) != (
            now.radius,
            now.n_neighbors,
        ):
            self._rebuild_graphs()


def _short(sentences: list[str]) -> str:
    """The first sentences; the cards have the others."""
    more = len(sentences) - _MOST_SENTENCES
    if more <= 0:
        return " ".join(sentences)
    said = " ".join(sentences[:_MOST_SENTENCES])
    return f"{said} And {more} more: select a slice to see what was noticed about it."


def _dropped(event: QDropEvent) -> list[Path]:
    paths = [Path(url.toLocalFile()) for url in event.mimeData().urls() if url.isLocalFile()]
    return [path for path in paths if is_known(path)]
