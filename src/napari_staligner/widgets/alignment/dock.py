"""The Alignment dock: register slices, judge the residuals, correct by hand, undo."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from qtpy.QtCore import Qt
from qtpy.QtGui import QColor, QIcon, QPixmap
from qtpy.QtWidgets import (
    QCheckBox,
    QComboBox,
    QFormLayout,
    QGroupBox,
    QLabel,
    QListView,
    QListWidget,
    QListWidgetItem,
    QProgressBar,
    QPushButton,
    QVBoxLayout,
    QWidget,
)
from superqt.utils import signals_blocked

from napari_staligner import _keys as K
from napari_staligner._errors import InputError
from napari_staligner.core.registration import Choice, Model
from napari_staligner.session import ColorBy
from napari_staligner.session.alignment import Step
from napari_staligner.widgets.alignment.bending_row import BendingRow
from napari_staligner.widgets.alignment.landmark_pairs import LandmarkPairs
from napari_staligner.widgets.parts.dock import Dock
from napari_staligner.widgets.parts.form import narrow, row
from napari_staligner.widgets.parts.overlap_switch import OverlapSwitch
from napari_staligner.worker import Runner

if TYPE_CHECKING:
    import napari.viewer
    from numpy.typing import NDArray

    from napari_staligner.core.progress import Progress
    from napari_staligner.core.registration import Registered
    from napari_staligner.session.alignment import AlignmentState

_MODELS = {
    Model.RIGID: ("Rigid", "Move, turn and mirror; slices in other units are scaled too"),
    Model.SIMILARITY: ("Similarity", "Also scale"),
    Model.AFFINE: ("Affine", "Also scale and shear, each direction independently"),
}
_BY_HAND = (
    "Drag moves the slice, Ctrl+drag turns it. With the mouse on the canvas, arrow keys move it by "
    "half a spacing, [ and ] turn it by 1°, M mirrors it."
)
_NO_RESULT = "There is nothing to align yet: integrate the slices first."
_ONE_SLICE = "There is only one slice: nothing to align it with."
_UNREGISTERED = "The slices of this result are not registered: press Register."


MOST_SHOWN = 4
"""Doubtful pairs that are named."""
TRUST = (
    "For each pair of slices: whether they fit another way about as well (p of a test over blocks "
    "of tissue), and how far from the place in the series the pair alone would lay them. Look at "
    "doubtful pairs in the stack."
)


class AlignmentWidget(Dock):
    """Alignment of the slices in their common frame: find it, judge it, correct it."""

    def __init__(self, viewer: napari.viewer.Viewer) -> None:
        super().__init__(viewer)
        self._runner = Runner(self)
        self._measurer = Runner(self)
        self._choice = Choice()
        self._notes: list[str] = []
        # Places that the residuals were last measured for, and whether slices moved since.
        self._measured: NDArray[np.float64] | None = None
        self._moved = False
        self._make_choice()
        self._make_run()
        self._make_residuals()
        self._make_hand()
        self._make_history()
        self._lay_out()
        self._connect_all()
        self._refresh()

    # -- building ---------------------------------------------------------------------------

    def _make_choice(self) -> None:
        self.landmarks = QListWidget()
        self.landmarks.setFlow(QListView.Flow.LeftToRight)
        self.landmarks.setWrapping(True)
        self.landmarks.setResizeMode(QListView.ResizeMode.Adjust)
        self.landmarks.setMaximumHeight(60)
        self.landmarks.setToolTip("Click domains to compare only their spots; none compares all")
        self.model = narrow(QComboBox())
        self.model.setToolTip("What may change of a slice besides its place")
        for model, (title, tip) in _MODELS.items():
            self.model.addItem(title, model)
            self.model.setItemData(self.model.count() - 1, tip, Qt.ItemDataRole.ToolTipRole)
        self.reference = narrow(QComboBox())
        self.reference.setToolTip("The slice that stays in place; the others are aligned to it")
        self.nonrigid = QCheckBox("Smooth displacement as a last step")
        self.nonrigid.setToolTip(
            "A thin-plate spline on top; it moves the spots in obsm['spatial_aligned'], while the "
            "stack shows the slices as the transforms place them"
        )

    def _make_run(self) -> None:
        self.register = QPushButton("Register")
        self.register.setToolTip("Find the transforms by the embedding; napari stays usable")
        self.cancel = QPushButton("Cancel")
        self.cancel.setToolTip("Stop; everything stays as it is")
        self.accept = QPushButton("Accept")
        self.accept.setToolTip("Accept the new alignment")
        self.reject = QPushButton("Reject")
        self.reject.setToolTip("Put the slices back where they were")
        self.bar = QProgressBar()

    def _make_residuals(self) -> None:
        self.residuals = QLabel()
        self.residuals.setTextFormat(Qt.TextFormat.RichText)
        self.residuals.setToolTip(
            "Distance from spots to their counterparts in the other slices, in spot spacings"
        )
        self.trust = QLabel()
        self.trust.setWordWrap(True)
        self.trust.setToolTip(TRUST)
        self.only_overlap = OverlapSwitch(self.session, self)
        self.listen(self.only_overlap)
        self.arrows = QCheckBox("Arrows")
        self.arrows.setToolTip("From each spot to its counterpart")
        self.map = QPushButton("Colour by residual")
        self.map.setToolTip("Colour the spots by the length of the residual")
        self.bending = BendingRow(self.session)

    def _make_hand(self) -> None:
        self.hand = narrow(QComboBox())
        self.hand.setToolTip("Slice that mouse and keys move in the stack")
        self.hand_help = QLabel(_BY_HAND)
        self.hand_help.setWordWrap(True)
        self.mirror = QPushButton("Mirror")
        self.mirror.setToolTip("Turn the slice over (M)")
        self.pairs = LandmarkPairs(self.session)

    def _make_history(self) -> None:
        self.undo, self.redo = QPushButton("Undo"), QPushButton("Redo")
        self.steps = QListWidget()
        self.steps.setToolTip("Click a step to go back to it, or forward")
        self.steps.setMinimumHeight(70)

    def _lay_out(self) -> None:
        form = QFormLayout()
        form.addRow("Landmarks", self.landmarks)
        form.addRow("Model", self.model)
        form.addRow("Reference", self.reference)
        form.addRow("", self.nonrigid)
        self.body.addLayout(form)
        self.body.addWidget(row(self.register, self.cancel, self.accept, self.reject, None))
        self.body.addWidget(self.bar)
        self.residual_box = _box(
            *("Residuals", self.residuals, self.trust, self.only_overlap),
            *(row(self.arrows, self.map, None), self.bending, self.bending.text),
        )
        self.hand_box = _box(
            "By hand",
            row(QLabel("Slice"), self.hand, self.mirror, None),
            self.hand_help,
            self.pairs,
        )
        self.history_box = _box("Steps", self.steps, row(self.undo, self.redo, None))
        for box in (self.residual_box, self.hand_box, self.history_box):
            self.body.addWidget(box, int(box is self.history_box))

    def _connect_all(self) -> None:
        self.register.clicked.connect(self._on_register_clicked)
        self.cancel.clicked.connect(self._on_cancel_clicked)
        self.accept.clicked.connect(self._on_accept_clicked)
        self.reject.clicked.connect(self._on_reject_clicked)
        self._runner.progressed.connect(self._on_runner_progressed)
        self._runner.returned.connect(self._on_runner_returned)
        self._runner.failed.connect(self._on_runner_failed)
        self._runner.ended.connect(self._show_enabled)
        self._measurer.returned.connect(self._on_measurer_returned)
        self._measurer.failed.connect(self._on_runner_failed)
        self._measurer.ended.connect(self._on_measurer_ended)
        self.landmarks.itemClicked.connect(self._on_landmark_clicked)
        self.arrows.toggled.connect(self._on_arrows_toggled)
        self.map.clicked.connect(self._on_map_clicked)
        self.hand.activated.connect(self._on_hand_activated)
        self.mirror.clicked.connect(self._on_mirror_clicked)
        self.pairs.wanted.connect(self._on_pairs_wanted)
        self.undo.clicked.connect(self.session.alignment.track.undo)
        self.redo.clicked.connect(self.session.alignment.track.redo)
        self.steps.currentRowChanged.connect(self._on_step_chosen)
        session = self.session
        self._connect(session.result.changed, self._on_session_result_changed)
        for changed in (
            session.domains.relabelled,
            session.domains.renamed,
            session.domains.recolored,
        ):
            self._connect(changed, self._show_landmarks)
        self._connect(session.view.events.spot, self._on_session_spot_changed)
        self._connect(session.alignment.changed, self._on_alignment_changed)
        self._connect(session.alignment.track.track_changed, self._show_steps)
        self._connect(session.alignment.proposed_changed, self._show_enabled)
        self._connect(session.view.events.arrows, self._show_view)
        self._connect(session.view.events.only_overlap, self._show_residuals)
        self._connect(session.view.events.hand, self._show_view)
        self.listen(self.bending)
        for followed in (
            *(session.bending.changed, session.alignment.changed, session.result.changed),
            *(session.view.events.bending_shown, session.view.events.color_by),
        ):
            self._connect(followed, self.bending.show_bending)

    def teardown(self) -> None:
        """End connections and runs."""
        for runner in (self._runner, self._measurer):
            runner.blockSignals(True)
            runner.cancel()
        self.only_overlap.stop()
        self.bending.teardown()
        super().teardown()

    # -- what is shown ----------------------------------------------------------------------

    @property
    def _names(self) -> list[str]:
        """Slices of the result."""
        result = self.session.result.adata
        return [] if result is None else list(map(str, result.obs[K.SLICE].cat.categories))

    def _refresh(self) -> None:
        names = self._names
        with signals_blocked(self.reference):
            self.reference.clear()
            self.reference.addItems(names)
        with signals_blocked(self.hand):
            self.hand.clear()
            self.hand.addItem("none")
            self.hand.addItems(names)
        state = self.session.alignment.state
        if state is not None:
            self.model.setCurrentIndex(list(_MODELS).index(state.choice.model))
            self.nonrigid.setChecked(state.choice.nonrigid)
            self.reference.setCurrentText(state.choice.reference or names[0])
        self._show_landmarks()
        self._show_residuals()
        self.bending.show_bending()
        self._show_view()
        self._show_steps()
        self.say(self._missing())

    def _missing(self) -> str:
        if self.session.result.adata is None:
            return _NO_RESULT
        if len(self._names) < 2:
            return _ONE_SLICE
        return "" if self.session.alignment.state is not None else _UNREGISTERED

    def _show_landmarks(self) -> None:
        """List the domains; chosen ones stay chosen."""
        chosen = set(self._landmarks())
        self.landmarks.clear()
        for domain, color in self.session.domains.colors.items():
            pixmap = QPixmap(12, 12)
            pixmap.fill(QColor(color))
            item = QListWidgetItem(QIcon(pixmap), domain, self.landmarks)
            item.setFlags(Qt.ItemFlag.ItemIsEnabled | Qt.ItemFlag.ItemIsUserCheckable)
            checked = Qt.CheckState.Checked if domain in chosen else Qt.CheckState.Unchecked
            item.setCheckState(checked)

    def _landmarks(self) -> tuple[str, ...]:
        items = [self.landmarks.item(i) for i in range(self.landmarks.count())]
        return tuple(i.text() for i in items if i.checkState() == Qt.CheckState.Checked)

    def _show_residuals(self) -> None:
        """Median and 90th percentile of each slice."""
        self.only_overlap.refresh()
        state, rows = self.session.alignment.state, []
        common = self.session.overlap.mask
        for name in self._names:
            index = self.session.result.rows(name)
            if state is None or index is None:
                continue
            index = index if common is None else index[common[index]]
            values = state.registered.residual[index]
            rows.append(f"<tr><td>{_escaped(name)}&nbsp;&nbsp;</td>{_figures(values)}</tr>")
        titles = "</td><td>".join(("", "median&nbsp;&nbsp;", "90 %&nbsp;&nbsp;", "compared"))
        head = f"<tr><td>{titles}</td></tr>"
        self.residuals.setText(f"<table>{head}{''.join(rows)}</table>" if rows else "")
        text, doubtful = _trusted(state)
        self.trust.setText(text)
        self.trust.setStyleSheet("color: #e8871e;" if doubtful else "")
        self.trust.setVisible(bool(text))

    def _show_view(self) -> None:
        view = self.session.view
        with signals_blocked(self.arrows):
            self.arrows.setChecked(view.arrows)
        with signals_blocked(self.hand):
            self.hand.setCurrentText(view.hand or "none")
        self.hand_help.setVisible(bool(view.hand))
        self.mirror.setEnabled(bool(view.hand))
        self.pairs.setVisible(bool(view.hand))
        if not view.hand:
            self.pairs.start_over()
        self.pairs.show_pairs()

    def _show_enabled(self) -> None:
        running, ready = self._runner.running, len(self._names) > 1
        for control in (self.landmarks, self.model, self.reference, self.nonrigid):
            control.setEnabled(ready and not running)
        self.register.setEnabled(ready and not running)
        self.register.setVisible(not self.session.alignment.proposed)
        self.cancel.setVisible(running)
        self.bar.setVisible(running)
        self.accept.setVisible(self.session.alignment.proposed)
        self.reject.setVisible(self.session.alignment.proposed)
        placed = self.session.alignment.state is not None
        for box in (self.residual_box, self.hand_box, self.history_box):
            box.setEnabled(ready and placed and not running)
        track = self.session.alignment.track
        self.undo.setEnabled(bool(track.undo_text))
        self.undo.setToolTip(f"Undo {track.undo_text}")
        self.redo.setEnabled(bool(track.redo_text))
        self.redo.setToolTip(f"Redo {track.redo_text}")

    def _show_steps(self) -> None:
        """List every alignment so far; the present one is chosen."""
        track = self.session.alignment.track
        with signals_blocked(self.steps):
            self.steps.clear()
            self.steps.addItems(["As it came", *track.texts])
            self.steps.setCurrentRow(track.position)
        self._show_enabled()

    # -- registration -----------------------------------------------------------------------

    def _on_register_clicked(self) -> None:
        self._choice = Choice(
            self.model.currentData(),
            self._landmarks(),
            self.reference.currentText() or None,
            self.nonrigid.isChecked(),
            self.session.view.settings.seed,
        )
        try:
            job = self.session.alignment.job(self._choice)
            self._runner.start(job.steps, f"Register {len(job.coordinates)} slices")
        except InputError as error:
            self.say(str(error), problem=True)
            return
        self._notes = []
        self.bar.setRange(0, 0)
        self.say("")
        self._show_enabled()

    def _on_cancel_clicked(self) -> None:
        self._runner.cancel()
        self.say("Cancelled: the slices have not moved.")

    def _on_runner_progressed(self, step: Progress) -> None:
        self.bar.setRange(0, step.total)
        self.bar.setValue(step.done)
        self.bar.setFormat(step.stage)
        for said in (step.note, step.lost):
            if said and said not in self._notes:
                self._notes.append(said)

    def _on_runner_returned(self, registered: Registered) -> None:
        choice = self._choice
        what = ", ".join(choice.landmarks) if choice.landmarks else "all spots"
        title = f"Register by {what} ({_MODELS[choice.model][0].lower()})"
        first = self.session.alignment.state is None
        # One edit with the layout that shows it: what is kept from a crash has both.
        with self.session.autosave.at_once():
            moves = self.session.alignment.propose(title, registered, choice)
            self.session.view.layout = "stack"
        said = "Accept this, or reject it." if moves else "The slices are already in place."
        if first:
            said = "The slices are registered."
        self.say("\n".join([said, *self._notes]))

    def _on_runner_failed(self, reason: str) -> None:
        self.say(reason, problem=True)

    def _on_accept_clicked(self) -> None:
        self.session.alignment.accept()
        self.say("Accepted.")

    def _on_reject_clicked(self) -> None:
        self.session.alignment.reject()
        self.say("Rejected: the slices are back where they were.")

    # -- residuals --------------------------------------------------------------------------

    def _on_arrows_toggled(self, shown: bool) -> None:
        self.session.view.arrows = shown

    def _on_map_clicked(self) -> None:
        self.session.view.color_by = ColorBy("obs", K.RESIDUAL)

    def _on_alignment_changed(self) -> None:
        self._show_residuals()
        self._show_enabled()
        self._measure()

    def _measure(self) -> None:
        """Measure residuals that are not known yet."""
        state = self.session.alignment.state
        job = self.session.alignment.residual_job()
        if state is None or job is None or self._measured is state.registered.aligned:
            return
        if self._measurer.running:
            self._measurer.cancel()
            self._moved = True
            return
        self._measurer.start(job.steps, "Residuals")

    def _on_measurer_returned(self, measured: Registered) -> None:
        state = self.session.alignment.state
        # Perhaps no spot has a counterpart: that counts as measured too.
        self._measured = None if state is None else state.registered.aligned
        self.session.alignment.set_residuals(measured)

    def _on_measurer_ended(self) -> None:
        if self._moved:
            self._moved = False
            self._measure()

    # -- by hand ----------------------------------------------------------------------------

    def _on_landmark_clicked(self, item: QListWidgetItem) -> None:
        self.say("" if self._landmarks() else "All spots are compared.")

    def _on_hand_activated(self, at: int) -> None:
        self.pairs.start_over()
        self.session.view.hand = "" if at == 0 else self.hand.currentText()
        if at:
            self.session.view.layout = "stack"

    def _on_step_chosen(self, position: int) -> None:
        self.session.alignment.track.go_to(position)

    def _on_mirror_clicked(self) -> None:
        self.session.alignment.turn(self.session.view.hand, mirrored=True)

    def _on_pairs_wanted(self) -> None:
        name, n = self.session.view.hand, len(self.pairs.pairs)
        try:
            matrix = self.pairs.matrix(self.model.currentData())
        except InputError as error:
            self.say(str(error), problem=True)
            return
        self.say("")
        self.session.alignment.move(name, matrix, f"Fit {name} by {n} pairs", Step.FITTED)
        self.session.view.layout = "stack"

    def _on_session_spot_changed(self) -> None:
        self.pairs.take(self.session.view.spot)

    def _on_session_result_changed(self) -> None:
        self._runner.cancel()
        self._measurer.cancel()
        self._refresh()


def _figures(values: NDArray[np.float64]) -> str:
    found = values[np.isfinite(values)]
    if not len(found):
        return "<td>–</td><td>–</td><td>–</td>"
    middle, high = np.percentile(found, [50, 90])
    share = len(found) / len(values)
    return f"<td>{middle:.2f}</td><td>{high:.2f}</td><td>{share:.0%}</td>"


def _trusted(state: AlignmentState | None) -> tuple[str, bool]:
    """Which pairs are not to be trusted, and whether there are any."""
    known = None if state is None else state.registered
    if known is None or len(known.trust) != len(known.pairs) or not known.pairs:
        return "", False
    doubtful = [
        f"{first} – {second} ({trust.doubt})"
        for (first, second), trust in zip(known.pairs, known.trust, strict=True)
        if trust.doubt
    ]
    count = len(known.pairs)
    if not doubtful:
        return f"Nothing speaks against any of the {count} pairs." if count > 1 else "", False
    more = len(doubtful) - MOST_SHOWN
    said = "; ".join(doubtful[:MOST_SHOWN]) + (f"; and {more} more" if more > 0 else "")
    return f"Not to be trusted, {len(doubtful)} of {count}: {said}.", True


def _escaped(text: str) -> str:
    from html import escape

    return escape(text)


def _box(title: str, *contents: QWidget) -> QGroupBox:
    box = QGroupBox(title)
    layout = QVBoxLayout(box)
    layout.setContentsMargins(6, 4, 6, 4)
    for content in contents:
        layout.addWidget(content)
    return box
