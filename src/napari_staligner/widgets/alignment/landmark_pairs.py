"""Pairs of spots, clicked on two slices, that should coincide."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from qtpy.QtCore import Signal
from qtpy.QtGui import QKeyEvent, QKeySequence
from qtpy.QtWidgets import QHBoxLayout, QLabel, QListWidget, QPushButton, QVBoxLayout, QWidget

from napari_staligner.core.registration.choice import Model
from napari_staligner.core.registration.transforms import apply, fit_points
from napari_staligner.core.result.access import spots_xy

if TYPE_CHECKING:
    from napari_staligner.core.registration.transforms import Matrix
    from napari_staligner.session import Session, Spot

FEWEST = 3


class LandmarkPairs(QWidget):
    """Collects pairs while the session has a slice in hand: one spot on it, one on another.

    Parameters
    ----------
    session
        Holds the spot that was clicked.
    """

    wanted = Signal()
    """The slice in hand should be moved to fit the pairs."""

    def __init__(self, session: Session) -> None:
        super().__init__()
        self._session = session
        self._half: Spot | None = None
        self.pairs: list[tuple[Spot, Spot]] = []
        self.collect = QPushButton("Click pairs")
        self.collect.setCheckable(True)
        self.collect.setToolTip(
            "Click a spot of the slice, then the matching spot of another slice; three pairs or "
            "more. The mosaic shows both side by side."
        )
        self.fit = QPushButton("Fit")
        self.fit.setToolTip("Move the slice so that the pairs are as close as possible")
        self.list = QListWidget()
        self.list.setToolTip("Delete removes the chosen pair")
        self.list.setMaximumHeight(76)
        self.hint = QLabel()
        self.hint.setWordWrap(True)
        row = QHBoxLayout()
        row.addWidget(self.collect)
        row.addWidget(self.fit)
        row.addWidget(self.hint, 1)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.addLayout(row)
        layout.addWidget(self.list)
        self.collect.toggled.connect(self._on_collect_toggled)
        self.fit.clicked.connect(self.wanted)
        self.show_pairs()

    def start_over(self) -> None:
        """Forget all pairs."""
        self.pairs, self._half = [], None
        self.collect.setChecked(False)
        self.show_pairs()

    def take(self, spot: Spot | None) -> None:
        """Take a spot that was clicked."""
        hand = self._session.view.hand
        if spot is None or not self.collect.isChecked() or not hand:
            return
        if spot.slice == hand:
            self._half = spot
        elif self._half is not None and self._session.result.rows(spot.slice) is not None:
            self.pairs.append((self._half, spot))
            self._half = None
        self.show_pairs()

    def matrix(self, model: Model) -> Matrix:
        """Transform of the slice in hand to the frame that best fits the pairs.

        Parameters
        ----------
        model
            Kind of transform.
        """
        session = self._session
        own = np.array([spots_xy(session.slices[a.slice])[a.row] for a, _ in self.pairs])
        there = np.array(
            [
                apply(
                    session.alignment.transforms[b.slice],
                    spots_xy(session.slices[b.slice])[[b.row]],
                )[0]
                for _, b in self.pairs
            ]
        )
        return fit_points(own, there, model)

    def keyPressEvent(self, event: QKeyEvent) -> None:
        """Delete removes the chosen pair."""
        if event.matches(QKeySequence.StandardKey.Delete) and self.list.currentRow() >= 0:
            del self.pairs[self.list.currentRow()]
            self.show_pairs()
        else:
            super().keyPressEvent(event)

    def show_pairs(self) -> None:
        """Show the pairs, and what to click next."""
        names = {name: adata.obs_names for name, adata in self._session.slices.items()}
        self.list.clear()
        for pair in self.pairs:
            self.list.addItem(" → ".join(f"{s.slice} {names[s.slice][s.row]}" for s in pair))
        collecting = self.collect.isChecked()
        self.list.setVisible(bool(self.pairs))
        self.fit.setEnabled(len(self.pairs) >= FEWEST)
        hand, half = self._session.view.hand, self._half
        if not collecting:
            text = ""
        elif half is None:
            text = f"Pair {len(self.pairs) + 1}: click a spot of {hand}."
        else:
            text = f"Now click where {names[half.slice][half.row]} belongs, on another slice."
        self.hint.setText(text)

    def _on_collect_toggled(self, collecting: bool) -> None:
        self._half = None
        self.show_pairs()
