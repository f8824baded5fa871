"""The card of a slice: what it was taken for, and what looks wrong with it."""

from __future__ import annotations

from html import escape
from typing import TYPE_CHECKING

from qtpy.QtCore import Qt, Signal
from qtpy.QtWidgets import QLabel

from napari_staligner.io.slice_card import slice_card_job
from napari_staligner.worker import Runner

if TYPE_CHECKING:
    from anndata import AnnData
    from qtpy.QtWidgets import QWidget

    from napari_staligner.io.slice_card import SliceCard
    from napari_staligner.session import Session


class CardView(QLabel):
    """Shows the card of one slice of a session; cards are made in the background.

    Parameters
    ----------
    session
        Whose slices they are.
    parent
        Owner of the background's runner.
    """

    shown = Signal(str, object)
    """Another card is shown: name of the slice, and the card; ``None`` while it is made."""

    def __init__(self, session: Session, parent: QWidget) -> None:
        super().__init__()
        self._session = session
        self._cards: dict[str, tuple[AnnData, SliceCard]] = {}
        self._wanted = ""
        self._looked_at: tuple[str, AnnData] | None = None
        self.runner = Runner(parent)
        self.runner.returned.connect(self._on_returned)
        self.runner.failed.connect(self._on_failed)
        self.runner.ended.connect(self._look)
        self.setWordWrap(True)
        self.setTextFormat(Qt.TextFormat.RichText)
        self.setTextInteractionFlags(Qt.TextInteractionFlag.TextSelectableByMouse)
        self.setVisible(False)

    def show_slice(self, name: str) -> None:
        """Show the card of a slice, once it is made; an empty name shows none."""
        self._wanted = name if name in self._session.slices else ""
        self._cards = {n: each for n, each in self._cards.items() if self._is_now(n, each[0])}
        self._show()
        self._look()

    def look_again(self, name: str) -> None:
        """Make the card of a slice again: its image lies elsewhere."""
        self._cards.pop(name, None)
        if self._looked_at is not None and self._looked_at[0] == name and self.runner.running:
            self._looked_at = None
        self._look()

    def teardown(self) -> None:
        """End what runs."""
        self.runner.blockSignals(True)
        self.runner.cancel()

    def _is_now(self, name: str, adata: AnnData) -> bool:
        return self._session.slices.get(name) is adata

    def _look(self) -> None:
        if not self._wanted or self._wanted in self._cards or self.runner.running:
            return
        adata = self._session.slices.get(self._wanted)
        if adata is not None:
            self._looked_at = self._wanted, adata
            self.runner.start(slice_card_job(self._wanted, adata).steps, "Look at a slice")

    def _on_returned(self, card: SliceCard) -> None:
        if self._looked_at is not None and self._is_now(*self._looked_at):
            self._cards[self._looked_at[0]] = self._looked_at[1], card
        self._show()

    def _on_failed(self, reason: str) -> None:
        # The table tells of the slice, too; integrating it says what is wrong.
        self._wanted = ""
        self._show()

    def _show(self) -> None:
        card = self._cards.get(self._wanted)
        self.setText("" if card is None else slice_card_html(card[1]))
        self.setVisible(card is not None)
        self.shown.emit(self._wanted, None if card is None else card[1])


def slice_card_html(card: SliceCard) -> str:
    """Return a card as rich text."""
    rows = "".join(
        f"<tr><td>{escape(key)}&nbsp;&nbsp;</td><td>{escape(text)}</td></tr>"
        for key, text in card.facts.items()
    )
    problems = "".join(
        f"<br><span style='color: #e8871e'>⚠ {escape(text)}</span>" for text in card.problems
    )
    notes = "".join(f"<br>{escape(note[:1].upper() + note[1:])}" for note in card.notes)
    return f"<b>{escape(card.name)}</b><table>{rows}</table>{problems}{notes}".replace(
        "</table><br>", "</table>"
    )
