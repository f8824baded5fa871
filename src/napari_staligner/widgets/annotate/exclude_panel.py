"""Folds and tears: what the next run leaves out, and suspects to accept or decline."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from qtpy.QtCore import Qt, Signal
from qtpy.QtWidgets import (
    QHeaderView,
    QLabel,
    QMenu,
    QPushButton,
    QToolButton,
    QTreeWidget,
    QTreeWidgetItem,
    QVBoxLayout,
    QWidget,
)

from napari_staligner import _keys as K
from napari_staligner._errors import InputError
from napari_staligner.core.annotations.classes import EXCLUDE
from napari_staligner.widgets.parts.form import row
from napari_staligner.widgets.parts.run_row import RunRow

if TYPE_CHECKING:
    from napari_staligner.core.result.suspects import Sign, Suspect
    from napari_staligner.session import Session

WORDS: Mapping[Sign, str] = {
    "density": "spots lie densely",
    "many": "many counts",
    "few": "few counts",
    "residual": "far from their counterparts",
    "home": "no like in other slices",
}
SLICE, SPOTS, WHY, STATE = range(4)
_HELP = "Exclude it, or decline: then the next one is shown."


class ExcludePanel(QWidget):
    """What is left out of the next run, what was left out of the last one, and suspects.

    Parameters
    ----------
    session
        The session.
    parent
        Owner.
    """

    said = Signal(str, bool)
    """A sentence for the status line, and whether it is a problem."""

    def __init__(self, session: Session, parent: QWidget) -> None:
        super().__init__(parent)
        self._session = session
        self._make_controls()
        self._lay_out()
        self.open.toggled.connect(self._on_open_toggled)
        self.find.clicked.connect(self._on_find_clicked)
        self.find.returned.connect(self._on_find_returned)
        self.find.said.connect(self.said)
        self.back.menu().aboutToShow.connect(self._fill_back)
        self.suspects.itemClicked.connect(self._on_suspect_clicked)
        self.accept.clicked.connect(lambda: self._judge(True))
        self.decline.clicked.connect(lambda: self._judge(False))
        self.refresh()

    def _make_controls(self) -> None:
        self.open = QToolButton()
        self.open.setCheckable(True)
        self.open.setAutoRaise(True)
        self.open.setArrowType(Qt.ArrowType.RightArrow)
        self.open.setToolButtonStyle(Qt.ToolButtonStyle.ToolButtonTextBesideIcon)
        self.open.setToolTip("What a run leaves out, and where folds and tears may be")
        self.about = QLabel()
        self.about.setWordWrap(True)
        self.about.setTextFormat(Qt.TextFormat.PlainText)
        self.find = RunRow(
            "Find suspects",
            "Search for patches with unusual density, counts, residual or confidence; nothing is "
            "excluded before you say so",
            "nothing was found",
            self,
        )
        self.back = QPushButton("Take back")
        self.back.setToolTip("Let the next run use spots again that the last one left out")
        self.back.setMenu(QMenu(self.back))
        self.accept, self.decline = QPushButton("Exclude"), QPushButton("Decline")
        self.accept.setToolTip("Give its spots the class exclude; can be undone")
        self.decline.setToolTip("It is good tissue; nothing changes")
        self.judging = row(self.accept, self.decline, None)
        self.suspects = QTreeWidget()
        self.suspects.setHeaderLabels(["Slice", "Spots", "Why", ""])
        self.suspects.setRootIsDecorated(False)
        self.suspects.setUniformRowHeights(True)
        self.suspects.setFixedHeight(130)
        header = self.suspects.header()
        header.setStretchLastSection(False)
        for column in (SLICE, SPOTS, STATE):
            header.setSectionResizeMode(column, QHeaderView.ResizeMode.ResizeToContents)
        header.setSectionResizeMode(WHY, QHeaderView.ResizeMode.Stretch)

    def _lay_out(self) -> None:
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        self.content = QWidget()
        inner = QVBoxLayout(self.content)
        inner.setContentsMargins(0, 0, 0, 0)
        inner.addWidget(self.about)
        inner.addWidget(row(self.find, self.back, None))
        inner.addWidget(self.suspects)
        inner.addWidget(self.judging)
        layout.addWidget(self.open)
        layout.addWidget(self.content)
        self.content.hide()

    def stop(self) -> None:
        """Drop a running search."""
        self.find.stop()

    # -- what is shown ----------------------------------------------------------------------

    def refresh(self) -> None:
        """Show what is left out, and the suspects."""
        exclusions = self._session.exclusions
        ready = self._session.result.adata is not None
        n = sum(exclusions.counts().values())
        was = sum(part.n_obs for part in exclusions.left_out.values())
        told = [f"{n:,} to leave out"] if n else []
        told += [f"{was:,} left out"] if was else []
        self.open.setText(f"Folds and tears{': ' if told else ''}{', '.join(told)}")
        self.open.setEnabled(ready)
        self.about.setText(self._told())
        self.find.allow(ready)
        self.back.setEnabled(was > 0)
        self._show_suspects()

    def _told(self) -> str:
        exclusions = self._session.exclusions
        drawn = _by_slice(exclusions.counts())
        kept = {name: int(part.obs[K.EXCLUDED].sum()) for name, part in exclusions.left_out.items()}
        again = {name: part.n_obs - kept[name] for name, part in exclusions.left_out.items()}
        said = [f"The next run leaves out spots of the class {EXCLUDE}: {drawn}."] if drawn else []
        if _by_slice(kept):
            said.append(
                f"Left out of this result, without a domain: {_by_slice(kept)} (grey crosses)."
            )
        if _by_slice(again):
            said.append(f"The next run uses again: {_by_slice(again)} (white crosses).")
        nothing = (
            f"Give spots of folds and tears the class {EXCLUDE}, by any tool: the next run leaves "
            "them out of graph, matches, domains and registration."
        )
        return " ".join(said) or nothing

    def _show_suspects(self) -> None:
        exclusions = self._session.exclusions
        for part in (self.suspects, self.judging):
            part.setVisible(bool(exclusions.found))
        self.suspects.clear()
        states = self._states()
        for number, suspect in enumerate(exclusions.found):
            item = QTreeWidgetItem(
                [suspect.slice, f"{len(suspect.rows):,}", _why(suspect), states[number]]
            )
            item.setTextAlignment(SPOTS, Qt.AlignmentFlag.AlignRight)
            item.setToolTip(WHY, _tip(suspect))
            self.suspects.addTopLevelItem(item)
        self.show_chosen()

    def show_chosen(self) -> None:
        """Mark the suspect that is looked at."""
        number = self._session.exclusions.shown
        chosen = None if number is None else self.suspects.topLevelItem(number)
        self.suspects.setCurrentItem(chosen)
        for button in (self.accept, self.decline):
            button.setEnabled(number is not None)

    def _states(self) -> list[str]:
        """What was said of each suspect; empty where nothing was."""
        exclusions = self._session.exclusions
        accepted, declined = exclusions.accepted, exclusions.declined
        return [
            "excluded" if number in accepted else "declined" if number in declined else ""
            for number in range(len(exclusions.found))
        ]

    # -- what the user does -----------------------------------------------------------------

    def _on_open_toggled(self, opened: bool) -> None:
        self.open.setArrowType(Qt.ArrowType.DownArrow if opened else Qt.ArrowType.RightArrow)
        self.content.setVisible(opened)

    def _on_find_clicked(self) -> None:
        try:
            self.find.start(self._session.exclusions.suspects_job().steps, "Folds and tears")
        except InputError as error:
            self.said.emit(str(error), True)

    def _on_find_returned(self, found: tuple[Suspect, ...]) -> None:
        self._session.exclusions.found = found
        n = len(found)
        if n:
            self.said.emit(f"{n} suspect{'s' * (n != 1)}: click one to see it.", False)
        else:
            self.said.emit("No patch looks like a fold or a tear.", False)

    def _on_suspect_clicked(self, item: QTreeWidgetItem) -> None:
        self._show(self.suspects.indexOfTopLevelItem(item))

    def _show(self, number: int) -> None:
        """Show a suspect on the tissue, to be excluded or declined."""
        exclusions = self._session.exclusions
        exclusions.shown = number
        self._session.focus.look_wanted.emit(exclusions.found[number].rows)
        self.said.emit(f"{_tip(exclusions.found[number])} {_HELP}", False)

    def _judge(self, excluded: bool) -> None:
        """Exclude or decline the suspect that is shown, and go on to the next one."""
        exclusions, number = self._session.exclusions, self._session.exclusions.shown
        if number is None:
            return
        try:
            if excluded:
                exclusions.accept(number)
            else:
                exclusions.decline(number)
        except InputError as error:
            self.said.emit(str(error), True)
            return
        order = [*range(number + 1, len(exclusions.found)), *range(number)]
        states = self._states()
        left = [n for n in order if not states[n]]
        if left:
            self._show(left[0])
        else:
            exclusions.shown = None
            self.said.emit("All suspects are judged. Undo takes an exclusion back.", False)

    def _fill_back(self) -> None:
        """Offer to take back what was left out, slice by slice."""
        menu, exclusions = self.back.menu(), self._session.exclusions
        menu.clear()
        for name, part in exclusions.left_out.items():
            action = menu.addAction(f"{name}: {part.n_obs:,} spots")
            action.setCheckable(True)
            action.setChecked(not part.obs[K.EXCLUDED].any())
            action.triggered.connect(
                lambda checked, name=name: exclusions.take_back(name, back=checked)
            )


def _by_slice(counts: Mapping[str, int]) -> str:
    return ", ".join(f"{n:,} in {name}" for name, n in counts.items() if n)


def _why(suspect: Suspect) -> str:
    return ", ".join(WORDS[sign] for sign, _ in suspect.signs)


def _tip(suspect: Suspect) -> str:
    """What is unusual, with figures."""
    told = ", ".join(f"{WORDS[sign]} ({value:.1f} SD)" for sign, value in suspect.signs)
    said = f"{suspect.slice}, {len(suspect.rows):,} spots: {told}, compared with their domain."
    if suspect.signs[0][0] == "home":
        said += " It may as well be a structure of this slice alone."
    return said
