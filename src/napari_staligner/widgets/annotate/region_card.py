"""The card of the chosen class: its size on each slice, and the genes that mark it."""

from __future__ import annotations

from html import escape
from typing import TYPE_CHECKING

from qtpy.QtCore import Qt, Signal
from qtpy.QtWidgets import QLabel, QPushButton, QVBoxLayout, QWidget

from napari_staligner._errors import InputError
from napari_staligner.worker import Runner

if TYPE_CHECKING:
    from napari_staligner.core.annotations.card import RegionCard
    from napari_staligner.core.annotations.regions import Extent
    from napari_staligner.core.domains.presence import Presence
    from napari_staligner.session import Session


class CardPanel(QWidget):
    """The card of the chosen class, and the button that computes it.

    Parameters
    ----------
    session
        The session with the annotations.
    parent
        Owner of the computation.
    """

    said = Signal(str, bool)
    """A sentence for the status line, and whether it is a problem."""

    def __init__(self, session: Session, parent: QWidget) -> None:
        super().__init__()
        self._session = session
        self._runner = Runner(parent)
        self._card: RegionCard | None = None
        self.ask = QPushButton()
        self.ask.setToolTip("Spots, area and confidence on each slice, and the genes that mark it")
        self.text = QLabel()
        self.text.setWordWrap(True)
        self.text.setTextFormat(Qt.TextFormat.RichText)
        self.text.setTextInteractionFlags(Qt.TextInteractionFlag.TextSelectableByMouse)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.addWidget(self.ask)
        layout.addWidget(self.text)
        layout.addStretch(1)
        self.ask.clicked.connect(self._on_ask_clicked)
        self._runner.returned.connect(self._on_runner_returned)
        self._runner.failed.connect(lambda reason: self.said.emit(reason, True))
        self._runner.ended.connect(self.refresh)
        self.refresh()

    def refresh(self) -> None:
        """Offer the card of the chosen class; remove a card of other spots."""
        chosen = self._session.annotations.chosen
        if self._card is not None and not self._fits(self._card):
            self._card = None
        self.text.setVisible(self._card is not None)
        self.ask.setText(f"Describe {chosen}" if chosen else "Describe a class")
        self.ask.setVisible(self._card is None)
        spots = sum(self._session.annotations.counts().get(chosen, {}).values())
        self.ask.setEnabled(spots > 0 and not self._runner.running)

    def _fits(self, card: RegionCard) -> bool:
        counts = self._session.annotations.counts().get(self._session.annotations.chosen)
        return card.name == self._session.annotations.chosen and counts == {
            name: extent.n_spots for name, extent in card.extents.items()
        }

    def _on_ask_clicked(self) -> None:
        try:
            job = self._session.annotations.card_job(self._session.annotations.chosen)
            self._runner.start(job.steps, f"Describe {job.name}")
        except InputError as error:
            self.said.emit(str(error), True)
        self.ask.setEnabled(False)

    def _on_runner_returned(self, card: RegionCard) -> None:
        self._card = card
        self.text.setText(card_html(card))
        self.refresh()


def card_html(card: RegionCard) -> str:
    """Return a card as rich text."""
    rows = "".join(
        _row(name, extent, "absent" if name in card.annotated else "not annotated")
        for name, extent in card.extents.items()
    )
    heads = "".join(f"<th align='right'>&nbsp;{head}</th>" for head in _HEADS)
    tested = [f"{escape(row.slice)}: {_verdict(row)}" for row in card.presence.values()]
    lines = [
        f"<b>{escape(card.name)}</b>",
        f"<table cellspacing='2'><tr><th></th>{heads}</tr>{rows}</table>",
        f"Area in {_units(card)}; conf. is the mean confidence of the alignment.",
        f"<b>By slice</b>, tested over blocks of tissue: {'; '.join(tested) or _ONE_SLICE}",
        f"<b>Markers</b> against the rest: {_genes(card.markers)}",
        *(
            f"in {escape(name)} against elsewhere: {_genes(genes)}"
            for name, genes in card.elsewhere.items()
        ),
    ]
    return "<br>".join(lines).replace("</table><br>", "</table>")


_ONE_SLICE = "nothing to compare, as only one slice is annotated"
_HEADS = ("spots", "share", "pieces", "area", "conf.")


def _row(name: str, extent: Extent, without: str) -> str:
    if extent.n_spots == 0:
        return f"<tr><td>{escape(name)}</td><td colspan='5' align='center'>{without}</td></tr>"
    cells = (
        f"{extent.n_spots:,}",
        f"{extent.share:.1%}",
        f"{extent.n_pieces}",
        f"{extent.area:,.0f}",
        f"{extent.confidence:.2f}",
    )
    return (
        f"<tr><td>{escape(name)}</td>"
        + "".join(f"<td align='right'>&nbsp;{cell}</td>" for cell in cells)
        + "</tr>"
    )


def _verdict(row: Presence) -> str:
    return f"{row.verdict} (q = {row.q:.2g})"


def _units(card: RegionCard) -> str:
    """Name the unit of the areas, per slice if they differ."""
    units = {name: extent.unit for name, extent in card.extents.items()}
    if len(set(units.values())) == 1:
        return next(iter(units.values()))
    return escape(", ".join(f"{unit} ({name})" for name, unit in units.items()))


def _genes(genes: tuple[str, ...] | str) -> str:
    if isinstance(genes, str):
        return escape(genes)
    return f"<i>{escape(', '.join(genes))}</i>" if genes else "none"
