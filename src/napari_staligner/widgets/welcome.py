"""Six balloons that show a newcomer the way through the docks."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from qtpy.QtCore import QEvent, QObject, QPoint, Qt, QTimer
from qtpy.QtGui import QPainter, QPalette, QPolygon
from qtpy.QtWidgets import QFrame, QHBoxLayout, QLabel, QPushButton, QVBoxLayout, QWidget

from napari_staligner.layers import open_session
from napari_staligner.layers.preferences import preferences, without_tour
from napari_staligner.widgets.tabs import raise_dock
from napari_staligner.widgets.workbench import open_workbench

if TYPE_CHECKING:
    from collections.abc import Mapping

    import napari
    from qtpy.QtGui import QKeyEvent, QPaintEvent


class Stop(NamedTuple):
    """One balloon: the dock that it points at, its heading and what it says."""

    dock: str
    title: str
    text: str


STOPS = (
    Stop(
        "Slices",
        "Bring in your slices",
        "Drop the folder that the instrument wrote, or a file, on this dock, or press <b>Add…</b> "
        "The card below the table says what it was taken for. Without data of your own, press "
        "<b>Open sample</b>, or fetch real slices.",
    ),
    Stop(
        "Integrate",
        "Train in the background",
        "Choose what your spots are, and press <b>Run</b>. You can go on looking meanwhile; "
        "<b>Run on…</b> sends long runs to a cluster.",
    ),
    Stop(
        "Domains",
        "See what was found",
        "Domains are the same in all slices. A click on one shows it alone on the tissue; a "
        "double-click on its name renames it.",
    ),
    Stop(
        "Compare",
        "Lay slices on each other",
        "In the stack, flicker, swipe or checkerboard show whether structures lie where they "
        "should. <b>Alignment</b> moves a slice by hand or by landmarks.",
    ),
    Stop(
        "Judge",
        "Say how well they are aligned",
        "Figures tell how slices mix and where they do not; <b>Pairs</b> leads you through them, "
        "the worst first. Your verdicts go into the file and the report.",
    ),
    Stop(
        "Annotate",
        "Annotate what one slice shows",
        "Draw a structure on one slice and carry it over to the others. Where another slice does "
        "not have it, you are told.",
    ),
)
WIDTH, ARROW, GAP = 320, 12, 6


class Balloon(QFrame):
    """The balloon of one stop after another, beside the dock that each is about.

    Parameters
    ----------
    window
        napari's main window, over which it lies.
    docks
        The docks by name.
    """

    def __init__(self, window: QWidget, docks: Mapping[str, QWidget]) -> None:
        super().__init__(window)
        self._docks = docks
        self._at = 0
        self.setAttribute(Qt.WidgetAttribute.WA_DeleteOnClose)
        self.setFixedWidth(WIDTH)
        self.setStyleSheet("Balloon { background: transparent; }")
        self.title, self.text, self.count = QLabel(), QLabel(), QLabel()
        self.leave, self.back, self.next = (QPushButton(t) for t in ("Leave", "Back", "Next"))
        self.leave.setToolTip("End the tour; it is in the menu Layers ▸ Register, too")
        self.back.setToolTip("The step before")
        self.next.setToolTip("The next step")
        self._lay_out()
        self.leave.clicked.connect(self.close)
        self.back.clicked.connect(lambda: self.show_stop(self._at - 1))
        self.next.clicked.connect(self._on_next_clicked)
        window.installEventFilter(self)
        # A dock has its place once the event loop has laid it out.
        self._laid_out = QTimer(self)
        self._laid_out.setSingleShot(True)
        self._laid_out.timeout.connect(self._place)
        self.show_stop(0)

    def _lay_out(self) -> None:
        for label in (self.title, self.text):
            label.setWordWrap(True)
        font = self.title.font()
        font.setBold(True)
        font.setPointSizeF(font.pointSizeF() * 1.2)
        self.title.setFont(font)
        buttons = QHBoxLayout()
        buttons.addWidget(self.count)
        buttons.addStretch(1)
        for button in (self.leave, self.back, self.next):
            buttons.addWidget(button)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(14, 12, 14 + ARROW, 12)
        layout.addWidget(self.title)
        layout.addWidget(self.text)
        layout.addLayout(buttons)

    @property
    def stop(self) -> Stop:
        """The present stop."""
        return STOPS[self._at]

    def show_stop(self, at: int) -> None:
        """Show a stop, and bring its dock to the front."""
        self._at = at
        self.title.setText(self.stop.title)
        self.text.setText(self.stop.text)
        self.count.setText(f"{at + 1} of {len(STOPS)}")
        self.back.setEnabled(at > 0)
        self.next.setText("Done" if at == len(STOPS) - 1 else "Next")
        raise_dock(self._docks[self.stop.dock])
        self._laid_out.start()

    def _place(self) -> None:
        """Show the balloon on the left of the dock, inside the window."""
        window, dock = self.parentWidget(), self._docks[self.stop.dock]
        self.resize(WIDTH, self.heightForWidth(WIDTH))
        corner = dock.mapTo(window, QPoint(0, 0))
        left = max(0, corner.x() - self.width() - GAP)
        top = max(0, min(corner.y() + 40, window.height() - self.height()))
        self.move(left, top)
        self.show()
        self.raise_()
        self.next.setFocus()

    def _on_next_clicked(self) -> None:
        if self._at == len(STOPS) - 1:
            self.close()
        else:
            self.show_stop(self._at + 1)

    def eventFilter(self, watched: QObject, event: QEvent) -> bool:  # Qt's name
        """Keep the place when the window changes its size."""
        if watched is self.parentWidget() and event.type() == QEvent.Type.Resize:
            self._place()
        return False

    def keyPressEvent(self, event: QKeyEvent) -> None:  # Qt's name
        """Leave with Esc."""
        if event.key() == Qt.Key.Key_Escape:
            self.close()
        else:
            super().keyPressEvent(event)

    def paintEvent(self, event: QPaintEvent) -> None:  # Qt's name
        """Draw the balloon, whose tip points to the dock."""
        painter = QPainter(self)
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        painter.setPen(self.palette().color(QPalette.ColorRole.Highlight))
        painter.setBrush(self.palette().color(QPalette.ColorRole.Window))
        right, middle = self.width() - ARROW, 36
        painter.drawRoundedRect(1, 1, right - 2, self.height() - 3, 8, 8)
        tip = [QPoint(right - 2, middle - 10), QPoint(self.width() - 1, middle)]
        painter.drawPolygon(QPolygon([*tip, QPoint(right - 2, middle + 10)]))


def start_tour(viewer: napari.Viewer) -> Balloon:
    """Open the docks and show the first balloon; another tour of the same window ends."""
    docks = open_workbench(viewer)
    window = docks["Slices"].window()
    for old in window.findChildren(Balloon):
        old.close()
    return Balloon(window, docks)


def welcome(viewer: napari.Viewer) -> None:
    """Open the docks; on the first time, while nothing is loaded, with the tour."""
    if preferences().tour and not open_session(viewer).slices:
        without_tour()
        start_tour(viewer)
    else:
        open_workbench(viewer)
