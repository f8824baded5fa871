"""A region carried to other slices: proposed in the background, trimmed, and accepted."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from qtpy.QtCore import Qt, Signal
from qtpy.QtWidgets import (
    QComboBox,
    QHBoxLayout,
    QLabel,
    QPushButton,
    QSizePolicy,
    QSlider,
    QStackedWidget,
    QVBoxLayout,
    QWidget,
)
from superqt.utils import signals_blocked

from napari_staligner._errors import InputError
from napari_staligner.core.annotations.transfer import Carried
from napari_staligner.worker import Runner

if TYPE_CHECKING:
    from napari_staligner.core.annotations.transfer import Proposal
    from napari_staligner.session import Session

WAYS = {
    Carried.Z: ("By match", "By the matches of the spots in the embedding"),
    Carried.PLACE: ("By place", "To what lies at the same place in the common frame of the slices"),
}


class ProposalBar(QStackedWidget):
    """Offers to compute a proposal, or shows the one in the session.

    Parameters
    ----------
    session
        The session with the proposal.
    parent
        Owner of the computation.
    """

    said = Signal(str, bool)
    """A sentence for the status line, and whether it is a problem."""

    def __init__(self, session: Session, parent: QWidget) -> None:
        super().__init__()
        self._session = session
        self._runner = Runner(parent)
        self.carry = QPushButton("Carry to other slices")
        self.carry.setToolTip(
            "Propose spots of the other slices for the chosen class, by their matches in the "
            "embedding or by place; nothing is assigned before you accept"
        )
        self.source = QComboBox()
        self.source.setToolTip("Slice to take the region from")
        self.summary = QLabel()
        self.summary.setWordWrap(True)
        # A stacked widget does not allow for the height of wrapped text.
        self.summary.setMinimumHeight(4 * self.summary.fontMetrics().lineSpacing() + 4)
        self.way = QComboBox()
        for way, (title, tip) in WAYS.items():
            self.way.addItem(title, way)
            self.way.setItemData(self.way.count() - 1, tip, Qt.ItemDataRole.ToolTipRole)
        self.way.setToolTip(
            "How the region was carried. Orange rims: only one of the two ways proposes the spot; "
            "hollow ones: only the other way"
        )
        self.threshold = QSlider(Qt.Orientation.Horizontal)
        self.threshold.setRange(0, 100)
        self.threshold.setToolTip("Trim: propose only spots with at least this confidence")
        self.accept, self.reject = QPushButton("Accept"), QPushButton("Reject")
        self.accept.setToolTip("Give the proposed spots the class; can be undone")
        self.reject.setToolTip("Drop the proposal; annotations stay as they are")
        self._lay_out()
        self.carry.clicked.connect(self._on_carry_clicked)
        self.way.activated.connect(self._on_way_chosen)
        self.threshold.valueChanged.connect(self._on_threshold_changed)
        self.accept.clicked.connect(self._on_accept_clicked)
        self.reject.clicked.connect(self._on_reject_clicked)
        self._runner.returned.connect(self._on_runner_returned)
        self._runner.failed.connect(lambda reason: self.said.emit(reason, True))
        self._runner.ended.connect(self.refresh)

    def _lay_out(self) -> None:
        ask, decide = QWidget(), QWidget()
        row = QHBoxLayout(ask)
        row.addWidget(self.carry, 1)
        row.addWidget(QLabel("from"))
        row.addWidget(self.source, 1)
        column, buttons = QVBoxLayout(decide), QHBoxLayout()
        column.addWidget(self.summary)
        buttons.addWidget(self.way)
        buttons.addWidget(self.threshold, 1)
        buttons.addWidget(self.accept)
        buttons.addWidget(self.reject)
        column.addLayout(buttons)
        for layout in (row, column):
            layout.setContentsMargins(0, 0, 0, 0)
        self.addWidget(ask)
        self.addWidget(decide)
        self.setSizePolicy(QSizePolicy.Policy.Preferred, QSizePolicy.Policy.Fixed)

    def refresh(self) -> None:
        """Show what can be carried, or what is proposed."""
        proposal, chosen = self._session.annotations.proposal, self._session.annotations.chosen
        self.setCurrentIndex(0 if proposal is None else 1)
        if proposal is not None:
            self._show(proposal)
            return
        before = self.source.currentText()
        self.source.clear()
        counts = self._session.annotations.counts().get(chosen, {})
        self.source.addItems([name for name, n in counts.items() if n])
        self.source.setCurrentIndex(max(0, self.source.findText(before)))
        ready = self.source.count() > 0 and len(counts) > 1 and not self._runner.running
        self.carry.setEnabled(ready)
        self.carry.setText(f"Carry {chosen} to other slices" if chosen else "Carry to other slices")

    def stop(self) -> None:
        """Drop a running computation."""
        self._runner.cancel()

    def _show(self, proposal: Proposal) -> None:
        with signals_blocked(self.threshold):
            self.threshold.setValue(round(100 * proposal.threshold))
        with signals_blocked(self.way):
            self.way.setCurrentIndex(self.way.findData(proposal.way))
        self.way.setVisible(proposal.other is not None)
        by_slice = [
            f"{n:,} in {name}"
            for name in self._session.slices
            if (rows := self._session.result.rows(name)) is not None
            and (n := int(np.isin(proposal.kept, rows).sum()))
        ]
        self.summary.setText(
            f"{proposal.name}, confidence ≥ {proposal.threshold:.2f}: "
            + (", ".join(by_slice) or "no spot")
            + _compared(proposal)
        )
        self.accept.setEnabled(bool(by_slice))

    def _on_carry_clicked(self) -> None:
        name = self._session.annotations.chosen
        try:
            job = self._session.annotations.transfer_job(name, self.source.currentText())
            self._runner.start(job.steps, f"Carry {name}")
        except InputError as error:
            self.said.emit(str(error), True)
        self.carry.setEnabled(False)

    def _on_runner_returned(self, proposal: Proposal) -> None:
        if any(c.name == proposal.name for c in self._session.annotations.classes):
            self._session.annotations.proposal = proposal
        if not len(proposal.kept) and len(proposal.by(Carried.PLACE).kept):
            proposal = proposal.by(Carried.PLACE)
            self._session.annotations.proposal = proposal
        if not len(proposal.rows):
            self._session.annotations.proposal = None
            self.said.emit(f"No spot of another slice looks like {proposal.name}.", True)

    def _on_way_chosen(self) -> None:
        if self._session.annotations.proposal is not None:
            self._session.annotations.proposal = self._session.annotations.proposal.by(
                self.way.currentData()
            )

    def _on_threshold_changed(self, value: int) -> None:
        if self._session.annotations.proposal is not None:
            self._session.annotations.proposal = self._session.annotations.proposal.trimmed(
                value / 100
            )

    def _on_accept_clicked(self) -> None:
        try:
            self._session.annotations.accept_proposal()
        except InputError as error:
            self.said.emit(str(error), True)

    def _on_reject_clicked(self) -> None:
        self._session.annotations.proposal = None


def _compared(proposal: Proposal) -> str:
    """How the two ways differ, in a sentence."""
    if proposal.other is None:
        return ""
    by = set(proposal.kept)
    other = set(proposal.rows[proposal.other >= proposal.threshold])
    this, that = ("match", "place") if proposal.way is Carried.Z else ("place", "match")
    return (
        f". Both ways: {len(by & other):,}; only by {this}: {len(by - other):,}; only by {that}: "
        f"{len(other - by):,} (hollow)."
    )
