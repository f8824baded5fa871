"""Who annotates, and how well two annotators agree."""

from __future__ import annotations

from itertools import combinations
from typing import TYPE_CHECKING

from qtpy.QtCore import Signal
from qtpy.QtWidgets import QComboBox, QHBoxLayout, QLabel, QPushButton, QVBoxLayout, QWidget
from superqt.utils import signals_blocked

from napari_staligner import _keys as K
from napari_staligner._errors import InputError
from napari_staligner.core.annotations.agreement import agreement
from napari_staligner.session import ColorBy

if TYPE_CHECKING:
    from napari_staligner.session import Session


class Annotators(QWidget):
    """Shows and sets the annotator; with two or more, their agreement.

    Parameters
    ----------
    session
        The session with the annotations.
    """

    said = Signal(str, bool)
    """A sentence for the status line, and whether it is a problem."""

    def __init__(self, session: Session) -> None:
        super().__init__()
        self._session = session
        self.who = QComboBox()
        self.who.setEditable(True)
        self.who.setInsertPolicy(QComboBox.InsertPolicy.NoInsert)
        self.who.setToolTip("Who annotates; a new name starts a second, separate annotation")
        self.pair = QComboBox()
        self.pair.setToolTip("Two annotators to compare")
        self.kappa = QLabel()
        self.kappa.setWordWrap(True)
        self.map = QPushButton("Map")
        self.map.setToolTip("Colour the spots by where the two agree")
        first, second = QHBoxLayout(), QHBoxLayout()
        first.addWidget(QLabel("Annotator"))
        first.addWidget(self.who, 1)
        self._compared = QWidget()
        second.setContentsMargins(0, 0, 0, 0)
        second.addWidget(self.pair)
        second.addWidget(self.kappa, 1)
        second.addWidget(self.map)
        self._compared.setLayout(second)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.addLayout(first)
        layout.addWidget(self._compared)
        self.who.activated.connect(self._on_named)
        self.who.lineEdit().editingFinished.connect(self._on_named)
        self.pair.activated.connect(self._show_agreement)
        self.map.clicked.connect(self._on_map_clicked)

    def refresh(self) -> None:
        """Show the annotators."""
        annotations = self._session.annotations
        with signals_blocked(self.who):
            self.who.clear()
            self.who.addItems(annotations.annotators)
            self.who.setCurrentText(annotations.annotator)
        pairs = list(combinations(annotations.annotators, 2))
        before = self.pair.currentText()
        self.pair.clear()
        for pair in pairs:
            self.pair.addItem(" – ".join(pair), pair)
        self.pair.setCurrentIndex(max(0, self.pair.findText(before)))
        self._compared.setVisible(bool(pairs))
        self._show_agreement()

    def _show_agreement(self) -> None:
        pair = self.pair.currentData()
        if pair is None:
            return
        found = agreement(self._session.annotations, *pair)
        kappa = f"κ = {found.kappa:.2f}" if found.kappa == found.kappa else "κ not defined"
        self.kappa.setText(f"{kappa}, {found.n_same:,} of {found.n_both:,} common spots agree")

    def _on_named(self) -> None:
        try:
            self._session.annotations.annotate_as(self.who.currentText())
        except InputError as error:
            self.refresh()
            self.said.emit(str(error), True)

    def _on_map_clicked(self) -> None:
        pair = self.pair.currentData()
        if pair is not None and self._session.annotations.map_disagreement(*pair):
            self._session.view.color_by = ColorBy("obs", K.DISAGREEMENT)
