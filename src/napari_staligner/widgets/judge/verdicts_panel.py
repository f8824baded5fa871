"""Verdicts of people: about what, how well aligned, why; and the list of verdicts."""

from __future__ import annotations

from itertools import combinations
from typing import TYPE_CHECKING

from qtpy.QtCore import QSize, Signal
from qtpy.QtGui import QBrush, QColor
from qtpy.QtWidgets import (
    QButtonGroup,
    QComboBox,
    QFormLayout,
    QHeaderView,
    QLineEdit,
    QPushButton,
    QTreeWidget,
    QTreeWidgetItem,
    QVBoxLayout,
    QWidget,
)

from napari_staligner._errors import InputError
from napari_staligner.core.result.verdicts import LEVELS, is_current, login_name
from napari_staligner.layers.preferences import preferences
from napari_staligner.widgets.parts.cells import CellDelegate, CellRole
from napari_staligner.widgets.parts.form import narrow, row

if TYPE_CHECKING:
    from collections.abc import Sequence

    from napari_staligner.core.result.verdicts import Level, Verdict
    from napari_staligner.session import Session

TITLES: dict[Level, str] = {"aligned": "✓ Aligned", "partly": "~ Partly", "not": "✗ Not"}
_COLORS: dict[Level, str] = {"aligned": "#3d9df5", "partly": "#c9a227", "not": "#e8871e"}
_WORDS: dict[Level, str] = {
    "aligned": "aligned",
    "partly": "partly aligned",
    "not": "not aligned",
}
_TIPS: dict[Level, str] = {
    "aligned": "What belongs together is together",
    "partly": "Some of it is: say in the note what is not",
    "not": "What belongs together is apart, or what does not is together",
}
ABOUT, VERDICT, WHO, WHEN = range(4)
_HEADS = ("About", "Verdict", "Who", "When")
_ROW_HEIGHT = 34


class VerdictsPanel(QWidget):
    """Say how well slices or a domain are aligned, and undo it."""

    said = Signal(str, bool)
    """A sentence for the status line, and whether it is a problem."""

    def __init__(self, session: Session, parent: QWidget) -> None:
        super().__init__(parent)
        self._session = session
        self.slices, self.domain = narrow(QComboBox()), narrow(QComboBox())
        for box in (self.slices, self.domain):
            box.setMinimumContentsLength(5)  # side by side in a narrow dock
        self.slices.setToolTip("The slice pair that is judged; a click on a pair's figures sets it")
        self.domain.setToolTip("The domain that is judged; the one shown alone on the tissue")
        self.note, self.who = QLineEdit(), QLineEdit(preferences().name or login_name())
        self.note.setPlaceholderText("Note: why, and where")
        self.note.setToolTip("Goes with the next verdict into the file and the report")
        self.who.setToolTip("Who judges")
        self.who.setPlaceholderText("Who judges")
        self.who.setMaximumWidth(90)
        self.buttons = {level: QPushButton(title) for level, title in TITLES.items()}
        self.undo = QPushButton("Undo")
        self.undo.setToolTip("Undo the last verdict")
        self.list = QTreeWidget()
        self._lay_out()
        self._group = QButtonGroup(self)
        self._group.setExclusive(False)
        for level, button in self.buttons.items():
            button.setToolTip(_TIPS[level])
            self._group.addButton(button, LEVELS.index(level))
        self._group.idClicked.connect(self._on_level_clicked)
        self.undo.clicked.connect(self._on_undo_clicked)

    def _lay_out(self) -> None:
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        form = QFormLayout()
        form.setFieldGrowthPolicy(QFormLayout.FieldGrowthPolicy.AllNonFixedFieldsGrow)
        form.addRow("Verdict on", row(self.slices, self.domain))
        layout.addLayout(form)
        layout.addWidget(row(self.note, self.who, self.undo))
        layout.addWidget(row(*self.buttons.values()))
        layout.addWidget(self.list, 1)
        self.list.setHeaderLabels(_HEADS)
        self.list.setRootIsDecorated(False)
        self.list.setUniformRowHeights(True)
        # The note is on a second line, below what it is about.
        self.list.setItemDelegate(CellDelegate(self.list))
        self.list.setMinimumHeight(100)
        header = self.list.header()
        header.setStretchLastSection(False)
        header.setMinimumSectionSize(40)
        header.setSectionResizeMode(QHeaderView.ResizeMode.Interactive)
        header.setSectionResizeMode(ABOUT, QHeaderView.ResizeMode.Stretch)
        for column, width in {VERDICT: 70, WHO: 50, WHEN: 86}.items():
            header.resizeSection(column, width)

    # -- what is shown ----------------------------------------------------------------------

    def refresh(self) -> None:
        """Offer slices and domains, and list the verdicts."""
        session = self._session
        there = session.result.adata is not None
        names = [name for name in session.slices if session.result.rows(name) is not None]
        pairs = [(f"{a} – {b}", (a, b)) for a, b in combinations(names, 2)]
        _offer(self.slices, [("all slices", None), *pairs])
        _offer(self.domain, [("all domains", None), *((d, d) for d in session.domains.names)])
        for widget in (self.slices, self.domain, self.note, self.who, *self.buttons.values()):
            widget.setEnabled(there)
        self.show_verdicts()

    def show_isolated(self) -> None:
        """Judge the domain that is shown alone, or all domains if none is."""
        isolated = self._session.view.isolated
        alone = next(iter(isolated)) if len(isolated) == 1 else None
        self.domain.setCurrentIndex(max(0, self.domain.findData(alone) if alone else 0))

    def show_pair(self, pair: tuple[str, ...]) -> None:
        """Judge a slice pair, or all slices if there is none."""
        index = self.slices.findText(" – ".join(pair))
        self.slices.setCurrentIndex(max(0, index))

    def show_verdicts(self) -> None:
        """List the verdicts, the last one first."""
        verdicts = self._session.verdicts.given
        self.undo.setEnabled(bool(verdicts))
        self.list.clear()
        for verdict in reversed(verdicts):
            self.list.addTopLevelItem(self._item(verdict))

    def _item(self, verdict: Verdict) -> QTreeWidgetItem:
        """One row of the list."""
        current = is_current(self._session.result.adata, verdict)
        about = verdict.about if current else f"{verdict.about} (before)"
        item = QTreeWidgetItem([about, TITLES[verdict.level], verdict.who, verdict.when[:10]])
        item.setSizeHint(ABOUT, QSize(0, _ROW_HEIGHT))
        item.setData(ABOUT, CellRole.NOTE, verdict.note)
        item.setForeground(VERDICT, QBrush(QColor(_COLORS[verdict.level])))
        tip = "\n".join(filter(None, (verdict.about, verdict.note)))
        item.setToolTip(ABOUT, tip if current else f"{tip}\nThe domains were different then.")
        item.setToolTip(WHO, verdict.who)
        item.setToolTip(WHEN, f"{verdict.when} ({verdict.spots:,} spots)")
        return item

    # -- judging ----------------------------------------------------------------------------

    def _on_level_clicked(self, place: int) -> None:
        level = LEVELS[place]
        try:
            given = self._session.verdicts.give(
                level,
                self.slices.currentData(),
                self.domain.currentData(),
                self.note.text(),
                self.who.text(),
            )
        except InputError as error:
            self.said.emit(str(error), True)
            return
        self.note.clear()
        self.said.emit(f"{given.about}: {_WORDS[level]}. Save the result to keep it.", False)

    def _on_undo_clicked(self) -> None:
        gone = self._session.verdicts.take_back()
        if gone is not None:
            self.said.emit(f"Undone: {gone.about}, {_WORDS[gone.level]}.", False)


def _offer(box: QComboBox, choices: Sequence[tuple[str, object]]) -> None:
    """Fill a box, and keep the choice if it is still there."""
    chosen = box.currentText()
    box.clear()
    for text, data in choices:
        box.addItem(text, data)
    box.setCurrentIndex(max(0, box.findText(chosen)) if choices else -1)
