"""Run on…: the same integration as a job, in a process that outlives the window."""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING

from qtpy.QtCore import Signal
from qtpy.QtWidgets import QInputDialog, QMenu, QPushButton, QWidget

from napari_staligner._errors import InputError
from napari_staligner.worker import Runner

if TYPE_CHECKING:
    from napari_staligner.jobs.folder import JobFolder, Where
    from napari_staligner.session import Session

PLACES = {
    "local": ("This machine, as a job", "A process of its own, which goes on if napari is closed"),
    "slurm": ("Slurm…", "The queue of the cluster that this machine belongs to"),
    "dask": ("Dask scheduler…", "The workers of a Dask cluster that see the same files"),
    "ssh": ("Another machine, by ssh…", "A machine that your ssh reaches without a password"),
}
_ASKED = {
    "slurm": "What to ask of Slurm, as time=8:00:00 mem=64G partition=gpu, and ranks=4 for four "
    "processes; may be empty:",
    "dask": "Address of the scheduler, as tcp://host:8786, and ranks=2 for two processes:",
    "ssh": "Host, as ssh takes it, and ranks=2 for two processes; napari-staligner must be "
    "installed there:",
}


class RunOn(QPushButton):
    """A button whose menu starts a job with the settings of the session.

    Parameters
    ----------
    session
        Whose slices and settings are taken.
    parent
        Owner.
    """

    said = Signal(str, bool)
    """A sentence, and whether it tells of a problem."""

    def __init__(self, session: Session, parent: QWidget) -> None:
        super().__init__(parent)
        self._session = session
        self._runner = Runner(self)
        self._last = dict.fromkeys(_ASKED, "")
        self.setText("Run on…")
        self.setToolTip("Integrate in a job that goes on when napari is closed; see the Jobs dock")
        menu = QMenu(self)
        menu.setToolTipsVisible(True)
        self.places = {}
        for on, (title, tip) in PLACES.items():
            action = self.places[on] = menu.addAction(title)
            action.setToolTip(tip)
            action.triggered.connect(lambda _=False, on=on: self._on_place_chosen(on))
        menu.aboutToShow.connect(self._show_places)
        self.setMenu(menu)
        self._runner.returned.connect(self._on_runner_returned)
        self._runner.failed.connect(lambda reason: self.said.emit(reason, True))

    @property
    def running(self) -> bool:
        """Whether a job is being started."""
        return self._runner.running

    def teardown(self) -> None:
        """Stop what is going on; jobs that were started go on."""
        self._runner.blockSignals(True)
        self._runner.cancel()

    def _show_places(self) -> None:
        for on, program in (("slurm", "sbatch"), ("ssh", "ssh")):
            self.places[on].setEnabled(shutil.which(program) is not None)

    def _on_place_chosen(self, on: str) -> None:
        words = ""
        if on in _ASKED:
            words, wanted = QInputDialog.getText(
                self, PLACES[on][0].rstrip("…"), _ASKED[on], text=self._last[on]
            )
            if not wanted:
                return
            self._last[on] = words
        self._start(on, words.strip())

    def _start(self, on: str, words: str) -> None:
        from napari_staligner.jobs.request import JobRequest

        try:
            where = _where(on, words)
            job = self._session.integration_job()
            request = JobRequest(job.slices, job.settings, where, job.aside)
            self._runner.start(request.steps, "Start the job")
        except InputError as error:
            self.said.emit(str(error), True)
            return
        self.said.emit("Starting the job …", False)

    def _on_runner_returned(self, folder: JobFolder) -> None:
        self.said.emit("The job has started: the Jobs dock shows how it is.", False)


def _where(on: str, words: str) -> Where:
    """Read what was asked for: an address or options of a queue, and how many ranks."""
    from napari_staligner.jobs.folder import Where

    said = words.split()
    ranks = [word.removeprefix("ranks=") for word in said if word.startswith("ranks=")]
    rest = [word for word in said if not word.startswith("ranks=")]
    if not all(number.isdecimal() for number in ranks):
        raise InputError(f"{ranks[0]!r} is no number of ranks: give it as ranks=2.")
    queue = {}
    if on == "slurm":
        queue = {name: value for name, _, value in (word.partition("=") for word in rest)}
        rest = []
    address = " ".join(rest)
    return Where.from_text(f"{on}:{address}" if address else on, queue, int((ranks or ["1"])[-1]))
