"""The box to choose what the spots are coloured by: columns and genes, found by typing."""

from __future__ import annotations

from operator import is_
from typing import TYPE_CHECKING

from qtpy.QtCore import QStringListModel, Qt, QTimer
from qtpy.QtGui import QFocusEvent
from qtpy.QtWidgets import QComboBox, QCompleter, QListView

from napari_staligner import _keys as K
from napari_staligner.layers.spot_values import title_of
from napari_staligner.session import ColorBy, Session

if TYPE_CHECKING:
    from anndata import AnnData
    from pandas import Index

_GENE = "gene: "
_ATTENTION = {
    "self": "attention: self",
    "entropy": "attention: entropy",
    "foreign": "attention: other domains",
}


class ColorBox(QComboBox):
    """Shows and sets ``view.color_by``; typing part of a name finds any column or gene.

    Parameters
    ----------
    session
        The session with the slices and the result.
    """

    def __init__(self, session: Session) -> None:
        super().__init__()
        self._session = session
        # The few columns and components change often; the many genes change only with the slices.
        self._choices: list[ColorBy] = []
        self._indexes: list[Index] = []
        self._genes: list[str] = []
        self.setToolTip(
            "What the spots are coloured by: a column of obs, a component of obsm, or a gene. "
            "Type a part of the name to find it."
        )
        self.setEditable(True)
        self.setInsertPolicy(QComboBox.InsertPolicy.NoInsert)
        self.setMaxVisibleItems(20)
        # With tens of thousands of genes, Qt must not measure every item.
        self.setSizeAdjustPolicy(QComboBox.SizeAdjustPolicy.AdjustToMinimumContentsLengthWithIcon)
        self.setMinimumContentsLength(8)
        view = QListView()
        view.setUniformItemSizes(True)
        self.setView(view)
        self._names = QStringListModel(self)
        self.setModel(self._names)
        self.setCompleter(_part_completer(self._names, self))
        self.activated.connect(self._on_activated)
        self.lineEdit().returnPressed.connect(self._on_return_pressed)
        self.fill()

    def fill(self) -> None:
        """Offer what the slices and the result have, and show the present choice."""
        indexes = [adata.var_names for adata in self._session.slices.values()]
        same = len(indexes) == len(self._indexes) and all(map(is_, indexes, self._indexes))
        choices = _choices(self._session)
        if not same:
            self._indexes, self._genes = indexes, _genes_in(indexes)
        if not same or choices != self._choices:
            self._choices = choices
            titles = [_title(choice) for choice in choices]
            self._names.setStringList(titles + [_GENE + gene for gene in self._genes])
        self.show_set()

    def show_set(self) -> None:
        """Show what the session says."""
        title = _title(self._session.view.color_by)
        self.setCurrentIndex(self.findText(title, Qt.MatchFlag.MatchFixedString))
        self.setEditText(title)

    def focusInEvent(self, event: QFocusEvent) -> None:
        """Select the text, so that typing replaces it."""
        super().focusInEvent(event)
        # Not now: the click that gave the focus will still place the cursor.
        QTimer.singleShot(0, self.lineEdit().selectAll)

    def focusOutEvent(self, event: QFocusEvent) -> None:
        """Discard text that matches nothing."""
        super().focusOutEvent(event)
        if event.reason() != Qt.FocusReason.PopupFocusReason:
            self.show_set()

    def _on_activated(self, index: int) -> None:
        n = len(self._choices)
        self._session.view.color_by = (
            self._choices[index] if index < n else ColorBy("gene", self._genes[index - n])
        )
        self.show_set()

    def _on_return_pressed(self) -> None:
        """Accept the typed text if it matches one choice, in full or in part; else discard it."""
        text = self.currentText()
        for whole in (text, _GENE + text):
            index = self.findText(whole, Qt.MatchFlag.MatchFixedString)
            if index >= 0:
                self._on_activated(index)
                return
        parts = self.model().match(
            self.model().index(0, 0),
            Qt.ItemDataRole.DisplayRole,
            text,
            2,
            Qt.MatchFlag.MatchContains,
        )
        if len(parts) == 1:
            self._on_activated(parts[0].row())
        else:
            self.show_set()


def _part_completer(model: QStringListModel, parent: ColorBox) -> QCompleter:
    completer = QCompleter(model, parent)
    completer.setCaseSensitivity(Qt.CaseSensitivity.CaseInsensitive)
    completer.setFilterMode(Qt.MatchFlag.MatchContains)
    completer.setCompletionMode(QCompleter.CompletionMode.PopupCompletion)
    completer.setMaxVisibleItems(15)
    popup = completer.popup()
    if isinstance(popup, QListView):
        popup.setUniformItemSizes(True)
    return completer


def _choices(session: Session) -> list[ColorBy]:
    """Everything that spots can be coloured by, except genes."""
    columns = {K.SLICE: None}
    if session.result.adata is not None:
        columns |= dict.fromkeys(map(str, session.result.adata.obs))
    arrays = {} if session.result.adata is None else _widths(session.result.adata)
    for adata in session.slices.values():
        arrays = _widths(adata) | arrays
        columns |= dict.fromkeys(map(str, adata.obs))
    choices = [ColorBy("obs", key) for key in columns]
    if session.result.adata is not None and K.ATTENTION in session.result.adata.obsp:
        choices += [ColorBy("attention", key) for key in _ATTENTION]
    return choices + [ColorBy("obsm", key, i) for key, n in arrays.items() for i in range(n)]


def _genes_in(indexes: list[Index]) -> list[str]:
    """Names in any of some indexes, each once; slices mostly have the same genes."""
    found: list[Index] = []
    for index in indexes:
        if not any(index.equals(other) for other in found):
            found.append(index)
    return list(dict.fromkeys(str(name) for index in found for name in index))


def _widths(adata: AnnData) -> dict[str, int]:
    """Components of each array of ``obsm``."""
    return {str(key): array.shape[1] for key, array in adata.obsm.items() if array.ndim == 2}


def _title(choice: ColorBy) -> str:
    if choice.kind == "gene":
        return _GENE + choice.key
    return _ATTENTION[choice.key] if choice.kind == "attention" else title_of(choice)
