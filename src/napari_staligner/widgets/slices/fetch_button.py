"""The button of an empty session: real slices, which are fetched once somebody agrees."""

from __future__ import annotations

from html import escape
from typing import TYPE_CHECKING

from qtpy.QtCore import Qt, Signal
from qtpy.QtWidgets import QMenu, QMessageBox, QToolButton

from napari_staligner.io.fetching import is_fetched, samples_folder
from napari_staligner.io.remote_samples import SAMPLES, SETS, samples_named

if TYPE_CHECKING:
    from qtpy.QtWidgets import QWidget

_TITLES = {
    "bulbs": "Both olfactory bulbs",
    "dlpfc": "Human cortex (DLPFC), four sections, Visium",
}


class FetchButton(QToolButton):
    """Offers real slices; says their size and licence before they are fetched.

    Parameters
    ----------
    parent
        Owner.
    """

    wanted = Signal(list)
    """Names of samples that are to be opened, and fetched if need be."""

    def __init__(self, parent: QWidget) -> None:
        super().__init__(parent)
        self.setText("Fetch real slices")
        self.setToolTip("Olfactory bulbs and cortex, from where they were published")
        self.setPopupMode(QToolButton.ToolButtonPopupMode.InstantPopup)
        self.question: QMessageBox | None = None
        menu = QMenu(self)
        for name in (*SETS, *SAMPLES):
            title = _TITLES[name] if name in SETS else SAMPLES[name].title
            action = menu.addAction(title)
            action.setObjectName(name)
            action.triggered.connect(lambda _=False, name=name: self.ask(name))
        self.setMenu(menu)

    def ask(self, name: str) -> None:
        """Open samples that are there; ask before others are fetched.

        Parameters
        ----------
        name
            Of a sample or of a set.
        """
        samples = samples_named([name])
        missing = [each for each in samples if not is_fetched(each)]
        names = [each.name for each in samples]
        if not missing:
            self.wanted.emit(names)
            return
        told = "".join(f"<p>{escape(each.told)}</p>" for each in missing)
        box = self.question = QMessageBox(self)
        box.setAttribute(Qt.WidgetAttribute.WA_DeleteOnClose)
        box.setWindowTitle("Fetch real slices")
        box.setTextFormat(Qt.TextFormat.RichText)
        box.setText(told + f"<p>To {escape(str(samples_folder()))}</p>")
        fetch = box.addButton("Fetch", QMessageBox.ButtonRole.AcceptRole)
        box.addButton(QMessageBox.StandardButton.Cancel)
        fetch.clicked.connect(lambda: self.wanted.emit(names))
        box.open()
