"""Which slices are shown: all, one after the other, and one that stays beside them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from qtpy.QtWidgets import QComboBox, QHBoxLayout, QLabel, QPushButton, QWidget
from superqt.utils import signals_blocked

from napari_staligner.widgets.parts.form import narrow

if TYPE_CHECKING:
    from napari_staligner.session import Session


class ShownRow(QWidget):
    """Shows and sets ``view.only`` and ``view.pinned``; only there with several slices.

    Parameters
    ----------
    session
        The session.
    """

    def __init__(self, session: Session) -> None:
        super().__init__()
        self._session = session
        self.all = QPushButton("All")
        self.all.setToolTip("Show all slices; a tick above shows or hides one")
        self.back, self.on = QPushButton("◀"), QPushButton("▶")
        self.back.setToolTip("Show the slice before, alone (arrow key on the canvas)")
        self.on.setToolTip("Show the next slice, alone (arrow key on the canvas)")
        self.pinned = narrow(QComboBox())
        self.pinned.setToolTip("A slice that stays shown beside the one that you page to")
        layout = QHBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        for button in (self.all, self.back, self.on):
            layout.addWidget(button)
        layout.addWidget(QLabel("Pinned"))
        layout.addWidget(self.pinned, 1)
        self.all.clicked.connect(lambda: session.paging.show_only(()))
        self.back.clicked.connect(lambda: session.paging.page(-1))
        self.on.clicked.connect(lambda: session.paging.page(1))
        self.pinned.activated.connect(self._on_pinned_activated)
        self.show_session()

    def show_session(self) -> None:
        """Offer the slices, and show which one is pinned."""
        names = list(self._session.slices)
        with signals_blocked(self.pinned):
            self.pinned.clear()
            self.pinned.addItem("none", "")
            for name in names:
                self.pinned.addItem(name, name)
            self.pinned.setCurrentIndex(max(0, self.pinned.findData(self._session.view.pinned)))
        self.all.setEnabled(bool(self._session.view.only))
        self.setVisible(len(names) > 1)

    def _on_pinned_activated(self) -> None:
        session, name = self._session, self.pinned.currentData()
        session.view.pinned = name
        if name and session.view.only:
            session.paging.show_only(session.view.only | {name})
