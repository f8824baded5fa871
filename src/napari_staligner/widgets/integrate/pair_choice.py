"""Which pairs of slices are aligned: all, neighbours in the list, or those that are checked."""

from __future__ import annotations

from collections.abc import Callable
from itertools import combinations, pairwise
from typing import TYPE_CHECKING

from qtpy.QtCore import Qt
from qtpy.QtWidgets import QComboBox, QListWidget, QListWidgetItem, QVBoxLayout, QWidget
from superqt.utils import signals_blocked

from napari_staligner.widgets.parts.form import narrow

if TYPE_CHECKING:
    from napari_staligner.session import Session

Pairs = tuple[tuple[str, str], ...]
ALL, CHAIN, CUSTOM = range(3)
_ROWS_SHOWN = 5


class PairChoice(QWidget):
    """Shows and sets ``pairs`` of the session's settings.

    Parameters
    ----------
    session
        The session with the slices and settings.
    set_pairs
        Called with the chosen pairs; ``None`` for all.
    """

    def __init__(self, session: Session, set_pairs: Callable[[Pairs | None], object]) -> None:
        super().__init__()
        self._session = session
        self._set_pairs = set_pairs
        self._chain = self._chain_now()
        # A custom choice may equal the chain by chance, so remember what the user clicked.
        self._custom = False
        self.how = narrow(QComboBox())
        self.how.addItems(["All pairs", "Chain, in the order of the list", "Custom"])
        self.how.setToolTip(
            "Which slices are searched for matching spots. All pairs for replicates and "
            "conditions; a chain for serial sections or time points."
        )
        self.list = QListWidget()
        self.list.setToolTip("Checked pairs are aligned")
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.addWidget(self.how)
        layout.addWidget(self.list)
        self.how.activated.connect(self._on_how_activated)
        self.list.itemChanged.connect(self._on_item_changed)
        self.show_set()

    def show_set(self) -> None:
        """Show what the session's settings say."""
        pairs = self._session.view.settings.pairs
        names = list(self._session.slices)
        how = ALL if pairs is None else CHAIN if pairs == self._chain_now() else CUSTOM
        if self._custom and pairs is not None:
            how = CUSTOM
        self.how.setCurrentIndex(how)
        # Two slices make one pair: nothing to choose.
        self.how.setEnabled(len(names) > 2)
        self.list.setVisible(how == CUSTOM)
        with signals_blocked(self.list):
            self.list.clear()
            for first, second in combinations(names, 2):
                item = QListWidgetItem(f"{first} – {second}", self.list)
                item.setData(Qt.ItemDataRole.UserRole, (first, second))
                chosen = (first, second) in (pairs or ()) or (second, first) in (pairs or ())
                item.setCheckState(Qt.CheckState.Checked if chosen else Qt.CheckState.Unchecked)
        row = self.list.sizeHintForRow(0) if self.list.count() else 20
        self.list.setFixedHeight(row * min(self.list.count() or 1, _ROWS_SHOWN) + 6)

    def follow_slices(self) -> None:
        """Keep a chain a chain, and drop pairs of slices that are gone."""
        pairs, chain, before = self._session.view.settings.pairs, self._chain_now(), self._chain
        self._chain = chain
        if pairs is not None:
            names = set(self._session.slices)
            kept = tuple(pair for pair in pairs if names.issuperset(pair))
            now = chain if pairs == before and not self._custom else kept
            if len(names) < 3 or not now:
                self._custom = False
                self._set_pairs(None)
            else:
                self._set_pairs(now)
        self.show_set()

    def _chain_now(self) -> Pairs:
        names = list(self._session.slices)
        return tuple(pairwise(names))

    def _on_how_activated(self, how: int) -> None:
        self._custom = how == CUSTOM
        everything = tuple(combinations(self._session.slices, 2))
        self._set_pairs({ALL: None, CHAIN: self._chain_now(), CUSTOM: everything}[how])
        self.show_set()

    def _on_item_changed(self) -> None:
        items = [self.list.item(row) for row in range(self.list.count())]
        self._set_pairs(
            tuple(
                tuple(item.data(Qt.ItemDataRole.UserRole))
                for item in items
                if item.checkState() == Qt.CheckState.Checked
            )
        )
