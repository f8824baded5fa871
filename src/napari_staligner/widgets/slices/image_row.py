"""Move the tissue image of a slice alone, where its spots do not lie on it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from qtpy.QtCore import Signal
from qtpy.QtWidgets import QLabel, QPushButton, QVBoxLayout, QWidget
from superqt.utils import signals_blocked

from napari_staligner._errors import InputError
from napari_staligner.core.registration.transforms import about, turned
from napari_staligner.session.images import FEWEST
from napari_staligner.widgets.parts.form import row

if TYPE_CHECKING:
    from napari_staligner.core.registration.transforms import Matrix
    from napari_staligner.session import Session

HELP = (
    "Drag moves the image, Ctrl+drag turns it; the spots stay. With the mouse on the canvas, arrow "
    "keys move it by half a spacing, [ and ] turn it by 1°, M mirrors it."
)
MEND = "Move the image as its card proposes; can be undone"


class ImageRow(QWidget):
    """Buttons under the card of a slice with an image.

    Parameters
    ----------
    session
        Whose images they are.
    """

    said = Signal(str, bool)
    """A sentence for the status line, and whether it is a problem."""

    def __init__(self, session: Session) -> None:
        super().__init__()
        self._session = session
        self._name = ""
        self._mend: Matrix | None = None
        self._make_buttons()
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.addWidget(row(self.move_image, self.mend, None))
        self.tools = QWidget()
        tools = QVBoxLayout(self.tools)
        tools.setContentsMargins(0, 0, 0, 0)
        tools.addWidget(self.help)
        tools.addWidget(row(self.mirror, self.back, self.undo, self.redo, None))
        tools.addWidget(row(self.collect, self.fit, self.drop, None))
        tools.addWidget(self.hint)
        layout.addWidget(self.tools)
        self._connect_all()
        self.show_slice("", None)

    def _make_buttons(self) -> None:
        self.move_image = QPushButton("Move the image")
        self.move_image.setCheckable(True)
        self.move_image.setToolTip(
            "Mouse and keys on the canvas move the tissue image of this slice, not its spots. The "
            "image itself stays as it is: the session, the result and all exports keep where it "
            "lies"
        )
        self.mend = QPushButton("Move it so")
        self.mend.setToolTip(MEND)
        self.help = QLabel(HELP)
        self.help.setWordWrap(True)
        self.mirror = QPushButton("Mirror")
        self.mirror.setToolTip("Turn the image over, left to right (M)")
        self.back = QPushButton("As it came")
        self.back.setToolTip("Put the image where its scale factor says")
        self.undo, self.redo = QPushButton("Undo"), QPushButton("Redo")
        self.collect = QPushButton("Click pairs")
        self.collect.setCheckable(True)
        self.collect.setToolTip(
            "Click a place on the image, then the place on the spots where it belongs; "
            f"{FEWEST} pairs or more"
        )
        self.fit = QPushButton("Fit")
        self.fit.setToolTip(
            "Move, turn, mirror and scale the image so that the pairs are as close as possible"
        )
        self.drop = QPushButton("Drop the last")
        self.drop.setToolTip("Forget the last pair")
        self.hint = QLabel()
        self.hint.setWordWrap(True)

    def _connect_all(self) -> None:
        images = self._session.images
        self.move_image.toggled.connect(self._on_move_toggled)
        self.mend.clicked.connect(self._on_mend_clicked)
        self.mirror.clicked.connect(self._on_mirror_clicked)
        self.back.clicked.connect(self._on_back_clicked)
        self.undo.clicked.connect(images.track.undo)
        self.redo.clicked.connect(images.track.redo)
        self.collect.toggled.connect(self._on_collect_toggled)
        self.fit.clicked.connect(self._on_fit_clicked)
        self.drop.clicked.connect(self._on_drop_clicked)

    def show_slice(self, name: str, mend: Matrix | None, why: str = "") -> None:
        """Show the buttons for a slice.

        Parameters
        ----------
        name
            The slice; nothing is shown if it has no image, or is empty.
        mend
            Where its image should be moved to; ``None`` if it lies well.
        why
            A sentence on what that does.
        """
        self._name, self._mend = name, mend
        self.mend.setVisible(mend is not None)
        self.mend.setToolTip(why or MEND)
        hand = self._session.view.image_hand
        if hand and hand != name:
            self._session.view.image_hand = ""
        self.show_session()

    def show_session(self) -> None:
        """Show what is in hand, and what can be undone."""
        session, images = self._session, self._session.images
        known = self._name in images.moves
        held = known and session.view.image_hand == self._name
        self.setVisible(known)
        for button, checked in ((self.move_image, held), (self.collect, images.collecting)):
            with signals_blocked(button):
                button.setChecked(checked)
        self.tools.setVisible(held)
        self.back.setEnabled(known and not np.array_equal(images.moves[self._name], np.eye(3)))
        for button, text, doing in (
            (self.undo, images.track.undo_text, "Undo"),
            (self.redo, images.track.redo_text, "Redo"),
        ):
            button.setEnabled(bool(text))
            button.setToolTip(f"{doing} {text}")
        self._show_pairs()

    def _show_pairs(self) -> None:
        images = self._session.images
        n = len(images.pairs)
        self.fit.setEnabled(n >= FEWEST)
        self.drop.setEnabled(n > 0)
        said = f"{n} pair{'s' * (n != 1)}. " if n else ""
        if images.collecting and images.half is None:
            said += "Click a place on the image that you also know among the spots."
        elif images.collecting:
            said += "Now click where that place belongs."
        self.hint.setText(said)
        self.hint.setVisible(bool(said))

    # -- what is clicked --------------------------------------------------------------------

    def _on_move_toggled(self, held: bool) -> None:
        self._session.view.image_hand = self._name if held else ""

    def _on_mend_clicked(self) -> None:
        if self._mend is not None:
            self._session.images.move(self._name, self._mend, f"Move the image of {self._name}")
            self.said.emit(
                f"The image of {self._name} was moved: look whether it lies right, or undo it.",
                False,
            )
            self._session.view.image_hand = self._name

    def _on_mirror_clicked(self) -> None:
        middle = self._session.images.middle(self._name)
        move = about(middle, turned(0.0, mirrored=True)) @ self._session.images.moves[self._name]
        self._session.images.move(self._name, move, f"Mirror the image of {self._name}")

    def _on_back_clicked(self) -> None:
        self._session.images.move(self._name, np.eye(3), f"Image of {self._name} as it came")

    def _on_collect_toggled(self, collecting: bool) -> None:
        self._session.images.collecting = collecting

    def _on_fit_clicked(self) -> None:
        try:
            self._session.images.fit()
        except InputError as error:
            self.said.emit(str(error), True)

    def _on_drop_clicked(self) -> None:
        self._session.images.drop_pair(len(self._session.images.pairs) - 1)
