"""The menu that hands the result on to other programs."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from qtpy.QtCore import Signal
from qtpy.QtWidgets import QFileDialog, QMenu, QToolButton

from napari_staligner._errors import InputError
from napari_staligner.io.export.targets import TARGETS, check_export, export_steps
from napari_staligner.worker import Runner

if TYPE_CHECKING:
    from napari_staligner.core.progress import Progress
    from napari_staligner.session import Session


class ExportButton(QToolButton):
    """Export, with a menu of the targets; while one is written, it can be cancelled there.

    Parameters
    ----------
    session
        Whose result is handed on.
    """

    said = Signal(str, bool)
    """A sentence for the status line, and whether it is a problem."""

    def __init__(self, session: Session) -> None:
        super().__init__()
        self._session = session
        self._notes: list[str] = []
        self._path = Path()
        self.runner = Runner(self)
        self.setText("Export")
        self.setPopupMode(QToolButton.ToolButtonPopupMode.InstantPopup)
        menu = QMenu(self)
        menu.setToolTipsVisible(True)
        self.targets = {}
        for to, target in TARGETS.items():
            action = menu.addAction(f"{target.title}…", lambda to=to: self._on_target_chosen(to))
            action.setToolTip(f"{target.tip[:1].upper()}{target.tip[1:]}")
            self.targets[to] = action
        menu.addSeparator()
        self.cancel = menu.addAction("Cancel the export", self._on_cancel_chosen)
        self.setMenu(menu)
        self.runner.progressed.connect(self._on_runner_progressed)
        self.runner.returned.connect(self._on_runner_returned)
        self.runner.failed.connect(lambda reason: self.said.emit(reason, True))
        self.runner.ended.connect(self.show_session)
        self.show_session()

    def show_session(self) -> None:
        """Show whether there is something to hand on, and whether that goes on."""
        there, running = self._session.result.adata is not None, self.runner.running
        self.setEnabled(there)
        self.setToolTip(
            "Hand the result on: other programs, tables, the slices' own files"
            if there
            else "Hand a result on; there is none yet"
        )
        for action in self.targets.values():
            action.setEnabled(there and not running)
        self.cancel.setEnabled(running)

    def export(self, to: str, path: Path, *, overwrite: bool = False) -> None:
        """Write a target in the background.

        Parameters
        ----------
        to
            Which, a key of :data:`~napari_staligner.io.export.targets.TARGETS`.
        path
            File or folder.
        overwrite
            Whether what was exported there before may be replaced.
        """
        try:
            check_export(to, path, overwrite=overwrite)
            content = self._session.to_write()
            self.runner.start(
                lambda: export_steps(content, to, path, overwrite=overwrite),
                f"Export to {TARGETS[to].title}",
            )
        except InputError as error:
            self.said.emit(str(error), True)
            return
        self._path, self._notes = path, []
        self.said.emit(f"Exporting to {path.name} …", False)
        self.show_session()

    def teardown(self) -> None:
        """End a run."""
        self.runner.blockSignals(True)
        self.runner.cancel()

    def _on_target_chosen(self, to: str) -> None:
        target = TARGETS[to]
        start = self._session.path
        name = f"{'integrated' if start is None else start.stem} for {target.title}{target.suffix}"
        start = (Path() if start is None else start.parent) / name
        filters = f"{target.title} (*{target.suffix})" if target.suffix else "Folders (*)"
        chosen, _ = QFileDialog.getSaveFileName(
            self, f"Export to {target.title}", str(start), filters
        )
        if chosen:
            path = Path(chosen)
            if target.suffix and path.suffix != target.suffix:
                path = path.with_name(f"{path.name}{target.suffix}")
                # The dialog asked about another name.
                self.export(to, path)
                return
            # The dialog has asked whether what is there may be replaced.
            self.export(to, path, overwrite=True)

    def _on_cancel_chosen(self) -> None:
        self.runner.cancel()
        self.said.emit("The export was cancelled; nothing was written.", False)

    def _on_runner_progressed(self, step: Progress) -> None:
        if step.note:
            self._notes.append(step.note)

    def _on_runner_returned(self, said: str) -> None:
        self.said.emit(" ".join([f"{said} written to {self._path}.", *self._notes]), False)
