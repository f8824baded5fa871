"""Saving the session, restoring one, and the question before unsaved work is lost."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING
from weakref import WeakKeyDictionary, ref

from qtpy.QtCore import QEvent, QObject, Qt, QThread, QTimer, Signal
from qtpy.QtWidgets import (
    QFileDialog,
    QHBoxLayout,
    QLabel,
    QMainWindow,
    QMenu,
    QMessageBox,
    QPushButton,
    QToolButton,
    QVBoxLayout,
    QWidget,
)
from superqt import QElidingLabel

from napari_staligner._errors import InputError
from napari_staligner.core.progress import Progress
from napari_staligner.io.user_folder import recent_files
from napari_staligner.layers import open_session
from napari_staligner.widgets.parts.exporting import ExportButton
from napari_staligner.worker import Runner

if TYPE_CHECKING:
    from collections.abc import Callable

    import napari.viewer
    from anndata import AnnData

    from napari_staligner.core.progress import Steps
    from napari_staligner.io.recovery import Kept
    from napari_staligner.io.session_file import Content
    from napari_staligner.session import Session

FILTER = "AnnData (*.h5ad)"
LOOK_MS = 1000
Buttons = QMessageBox.StandardButton


class Saver(QObject):
    """Writes one session in the background.

    Parameters
    ----------
    session
        The session.
    """

    said = Signal(str, bool)
    """A sentence, and whether it is a problem."""
    ended = Signal(bool)
    """Writing the file has succeeded or failed; the thread is free again."""

    def __init__(self, session: Session) -> None:
        super().__init__()
        # The savers are kept by their sessions: none of them would ever end.
        self._ref = ref(session)
        self._target, self._edits, self._written = Path(), 0, False
        self._runner = Runner(self)
        self._runner.returned.connect(self._on_returned)
        self._runner.failed.connect(lambda reason: self.said.emit(reason, True))
        self._runner.ended.connect(lambda: self.ended.emit(self._written))

    @property
    def _session(self) -> Session:
        session = self._ref()
        assert session is not None, "a dock that saves holds its session"
        return session

    @property
    def running(self) -> bool:
        """Whether a file is being written."""
        return self._runner.running

    def save(self, asking: QWidget | None) -> bool:
        """Write to the session's file, or ask for one; says whether writing began."""
        path = self._session.path
        return self.save_as(asking) if path is None else self.write(path)

    def save_as(self, asking: QWidget | None) -> bool:
        """Ask for a file and write to it; says whether writing began."""
        start = str(self._session.path or "integrated.h5ad")
        name, _ = QFileDialog.getSaveFileName(asking, "Save session", start, FILTER)
        return bool(name) and self.write(Path(name).with_suffix(".h5ad"))

    def write(self, path: Path) -> bool:
        """Write to a file; says whether writing began."""
        session = self._session
        content = session.to_write()
        try:
            self._runner.start(lambda: _write(content, path), "Save session")
        except InputError as error:
            self.said.emit(str(error), True)
            return False
        self._target, self._edits, self._written = path, session.autosave.edits, False
        self.said.emit(f"Saving {path.name} …", False)
        return True

    def _on_returned(self) -> None:
        session = self._ref()
        if session is None:  # its viewer was closed meanwhile
            return
        if session.autosave.edits == self._edits:
            session.saved_to(self._target)
        else:
            # Edits made during the save are not in the file.
            session.path = self._target
        self._written = True
        self.said.emit(f"Saved as {self._target}.", False)


_savers: WeakKeyDictionary[Session, Saver] = WeakKeyDictionary()


def saver_of(session: Session) -> Saver:
    """Return the saver of a session, made on the first call."""
    if session not in _savers:
        _savers[session] = Saver(session)
    return _savers[session]


def save_session(viewer: napari.viewer.Viewer) -> None:
    """Save the session of a viewer to its file; for the menu."""
    saver_of(open_session(viewer)).save(None)


def save_session_as(viewer: napari.viewer.Viewer) -> None:
    """Save the session of a viewer to another file; for the menu."""
    saver_of(open_session(viewer)).save_as(None)


class SessionBar(QWidget):
    """The file of the session, with Save, Save as, Export and the files used last.

    Parameters
    ----------
    session
        The session.
    open_files
        Called with a file to open.
    """

    def __init__(self, session: Session, open_files: Callable[[list[Path]], object]) -> None:
        super().__init__()
        self._session, self._open = session, open_files
        self.name = QElidingLabel()
        self.save, self.save_as = QPushButton("Save"), QPushButton("Save as…")
        self.save.setToolTip(
            "Write the session to one .h5ad file: result, colours, annotations, verdicts, view"
        )
        self.save_as.setToolTip("Write the session to another file")
        self.recent = QToolButton()
        self.recent.setText("Recent")
        self.recent.setToolTip("Sessions opened or saved recently")
        self.recent.setPopupMode(QToolButton.ToolButtonPopupMode.InstantPopup)
        menu = QMenu(self.recent)
        menu.aboutToShow.connect(self._fill)
        self.recent.setMenu(menu)
        self.warning = QLabel()
        self.warning.setWordWrap(True)
        self.warning.setTextFormat(Qt.TextFormat.PlainText)  # names are the user's
        self.warning.setStyleSheet("color: #e8871e;")
        column = QVBoxLayout(self)
        column.setContentsMargins(0, 0, 0, 0)
        row = QHBoxLayout()
        column.addLayout(row)
        column.addWidget(self.warning)
        row.addWidget(self.name, 1)
        self.export = ExportButton(session)
        for button in (self.save, self.save_as, self.export, self.recent):
            row.addWidget(button)
        saver = saver_of(session)
        self.save.clicked.connect(lambda: saver.save(self))
        self.save_as.clicked.connect(lambda: saver.save_as(self))
        saver.ended.connect(self.show_session)
        self._later = QTimer(self)
        self._later.setSingleShot(True)
        self._later.setInterval(LOOK_MS)
        self._later.timeout.connect(self._on_later)
        self.show_session()

    def show_session(self) -> None:
        """Show the file, and whether it has all changes."""
        session = self._session
        name = "not saved yet" if session.path is None else session.path.name
        self.name.setText(name if session.saved else f"● {name}")
        self.name.setToolTip(
            str(session.path or "")
            + ("" if session.saved else "\nThere are changes that are not saved.")
        )
        self.export.show_session()
        self.warning.setText(session.autosave.warning)
        self.warning.setVisible(bool(session.autosave.warning))
        there = bool(session.slices)
        self.save.setEnabled(there and not (session.saved and session.path is not None))
        self.save_as.setEnabled(there)

    def look_later(self) -> None:
        """Look again whether edits are kept: their folder has not answered yet."""
        self._later.start()

    def _on_later(self) -> None:
        self._session.autosave.look()
        if self._session.autosave.waiting:
            self._later.start()

    def _fill(self) -> None:
        menu = self.recent.menu()
        menu.clear()
        files = recent_files()
        for path in files:
            action = menu.addAction(path.name, lambda path=path: self._open([path]))
            action.setToolTip(str(path))
        if not files:
            menu.addAction("none yet").setEnabled(False)


class RecoveryBar(QWidget):
    """Offers to restore an unsaved session; hidden if there is none.

    Parameters
    ----------
    session
        The session that takes its place.
    """

    said = Signal(str, bool)
    """A sentence for the status line, and whether it is a problem."""

    def __init__(self, session: Session) -> None:
        super().__init__()
        self._session = session
        self._runner = Runner(self)
        self.text = QLabel()
        self.text.setWordWrap(True)
        self.restore, self.discard = QPushButton("Restore"), QPushButton("Discard")
        self.restore.setToolTip("Open what was not saved, in place of what is open")
        self.discard.setToolTip("Delete what was not saved; files stay as they are")
        column = QVBoxLayout(self)
        column.setContentsMargins(0, 0, 0, 0)
        column.addWidget(self.text)
        row = QHBoxLayout()
        row.addWidget(self.restore)
        row.addWidget(self.discard)
        row.addStretch()
        column.addLayout(row)
        self.restore.clicked.connect(self._on_restore_clicked)
        self.discard.clicked.connect(session.autosave.discard_offer)
        self._runner.returned.connect(self._on_returned)
        self._runner.failed.connect(lambda reason: self.said.emit(reason, True))
        self._runner.ended.connect(self.show_offer)
        self.show_offer()

    def show_offer(self) -> None:
        """Show the offer."""
        offer = self._session.autosave.offer
        self.setVisible(offer is not None)
        self.text.setText("" if offer is None else offer.describe())
        for button in (self.restore, self.discard):
            button.setEnabled(not self._runner.running)

    def teardown(self) -> None:
        """End a run."""
        self._runner.blockSignals(True)
        self._runner.cancel()

    def _on_restore_clicked(self) -> None:
        offer = self._session.autosave.offer
        if offer is None or not may_lose(self, self._session, "Restoring"):
            return
        self._runner.start(lambda: _restore(offer), "Restore session")
        self.show_offer()

    def _on_returned(self, content: Content) -> None:
        try:
            self._session.autosave.take_offer(content)
        except InputError as error:
            self.said.emit(str(error), True)
            return
        if content.problems:
            self.said.emit(" ".join(content.problems), True)


def may_lose(asking: QWidget, session: Session, doing: str) -> bool:
    """Ask before an unsaved result is lost; true if there is none or the user agrees."""
    if session.result.adata is None or session.saved:
        return True
    answer = QMessageBox.question(
        asking,
        "Unsaved session",
        f"{doing} discards the unsaved result and all edits of it. Continue?",
        Buttons.Yes | Buttons.Cancel,
        Buttons.Cancel,
    )
    return bool(answer == Buttons.Yes)


class ClosingGuard(QObject):
    """Asks before a window with unsaved work is closed.

    A script that closes its viewer is not asked: its work is offered at the next start.

    Parameters
    ----------
    window
        The window, which owns the guard.
    session
        Its session.
    """

    def __init__(self, window: QMainWindow, session: Session) -> None:
        super().__init__(window)
        self.setObjectName("staligner closing guard")
        self._session = session
        window.installEventFilter(self)

    def eventFilter(self, watched: QObject, event: QEvent) -> bool:
        """Intercept the closing of the window."""
        if event.type() != QEvent.Type.Close:
            return False
        session = self._session
        unsaved = session.result.adata is not None and not session.saved
        # A click on × comes from the window system; a click in the menu, from an event loop.
        by_hand = event.spontaneous() or QThread.currentThread().loopLevel() > 0
        answer = self._ask() if unsaved and by_hand else Buttons.NoButton
        if answer in (Buttons.Cancel, Buttons.Save):
            if answer == Buttons.Save:
                self._save()
            event.ignore()
            return True
        # Let the window answer itself: it may ask its own question, and stay open.
        watched.event(event)
        if event.isAccepted() and (answer == Buttons.Discard or not unsaved):
            session.autosave.leave()
        return True

    def _ask(self) -> QMessageBox.StandardButton:
        return QMessageBox.question(
            self.parent(),
            "Unsaved session",
            "The result and the edits of it are not saved.",
            Buttons.Save | Buttons.Discard | Buttons.Cancel,
            Buttons.Save,
        )

    def _save(self) -> None:
        """Save, then close."""
        saver = saver_of(self._session)
        if saver.save(self.parent()):
            saver.ended.connect(self._on_saver_ended)

    def _on_saver_ended(self, written: bool) -> None:
        saver_of(self._session).ended.disconnect(self._on_saver_ended)
        if written:
            self.parent().close()


def guard(dock: QWidget, session: Session) -> None:
    """Guard the window that a dock is in, once."""
    window = dock.parentWidget()
    while window is not None and not isinstance(window, QMainWindow):
        window = window.parentWidget()
    if window is not None and not window.findChild(ClosingGuard):
        ClosingGuard(window, session)


def _write(content: AnnData, path: Path) -> Steps[Path]:
    from napari_staligner.io.h5ad import write_result

    yield Progress(f"writing {path.name}", 0, 1)
    return write_result(content, path)


def _restore(kept: Kept) -> Steps[Content]:
    from napari_staligner.io.recovery import read_kept

    yield Progress("reading the unsaved session", 0, 1)
    return read_kept(kept)
