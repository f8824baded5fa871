"""Saves edits to disk as they are made, and recovers them after a crash."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from psygnal import Signal

from napari_staligner.io import recovery
from napari_staligner.io.newest_task import NewestTask
from napari_staligner.io.open_marks import OpenMark
from napari_staligner.io.recovery import Kept, Recovery, Wanted
from napari_staligner.io.user_folder import remember_file

if TYPE_CHECKING:
    from anndata import AnnData

    from napari_staligner.io.session_file import Content, SessionRecord
    from napari_staligner.session.result import Result
    from napari_staligner.session.slices import Slices


class Saveable(Protocol):
    """A session as autosave sees it: what is saved, and how it is opened again."""

    path: Path | None

    @property
    def slices(self) -> Slices:
        """Its slices."""

    @property
    def result(self) -> Result:
        """Its result."""

    @property
    def saved(self) -> bool:
        """Whether a file holds all of it."""

    def record(self) -> SessionRecord:
        """Return what a file stores of it, except for the result."""

    def open(self, content: Content, *, saved: bool, kept: Path | None) -> None:
        """Open what was read from a file."""

    def set_result(self, adata: AnnData, *, kept: Path | None) -> None:
        """Take the result of a run."""


class Autosave:
    """Saves unsaved edits where they survive a crash, and offers to restore them.

    Parameters
    ----------
    session
        The session to save.
    """

    offer_changed = Signal()
    """``offer`` was set."""
    warning_changed = Signal()
    """``warning`` says something else."""
    delayed = Signal()
    """Edits are still being written; :meth:`look` tells later whether they are."""

    def __init__(self, session: Saveable) -> None:
        self._session = session
        self.recovery = Recovery()
        self.edits = 0
        """Number of edits so far; a save in the background uses it to detect later ones."""
        self.warning = ""
        """Sentences on what may be lost: edits that are not kept, a file that others have open."""
        self._mark = OpenMark(self.recovery.id)
        self._others = ""
        self._folder: Path | None = None
        self._writer = NewestTask()
        self._offer: Kept | None = None
        self._on = False
        self._holding = 0

    @property
    def offer(self) -> Kept | None:
        """A session that was not saved, to be restored or discarded."""
        return self._offer

    @offer.setter
    def offer(self, value: Kept | None) -> None:
        if value != self._offer:
            self._offer = value
            self.offer_changed.emit()

    def start(self) -> None:
        """Save edits to disk from now on; offer an unsaved session, if there is one."""
        if self._on:
            return
        self._on = True
        if not self._session.slices:
            self.offer = recovery.find()
        self.keep()

    def keep(self) -> None:
        """Write unsaved edits where they survive a crash; does nothing inside :meth:`at_once`.

        They are copied, and written in a thread of their own: their folder may be on a network.
        """
        self.edits += 1
        if not self._on or self._holding:
            return
        session, saver = self._session, self.recovery
        adata = session.result.adata
        saved = adata is not None and session.saved
        if session.slices and (saver.awaited is not None or not saved):
            wanted = saver.wanted(adata, session.record(), session.path, saved=saved)
        else:
            wanted = saver.nothing()
        self._give(wanted, session.path)

    def _give(self, wanted: Wanted, path: Path | None) -> None:
        place = wanted.place or self.recovery.path
        if place is path is self._mark.path is None and not wanted.drop and not self.waiting:
            return  # there is nothing on the disk, and nothing to write
        self._folder = None if place is None else place.parent
        if not self._writer.give(lambda: self._write(wanted, path)):
            self.delayed.emit()
        self.look()

    def _write(self, wanted: Wanted, path: Path | None) -> None:
        """Write the edits and mark the session's file as open; in a thread."""
        self.recovery.write(wanted)
        self._mark.move(path)
        self._others = "" if path is None else self._mark.others(path)

    @property
    def waiting(self) -> bool:
        """Whether edits are not written yet."""
        return self._writer.busy

    @property
    def problem(self) -> str:
        """A sentence on why edits are not kept; empty while all is well."""
        if self._writer.stuck:
            return f"Edits are not kept from a crash: {str(self._folder)!r} does not answer."
        return self.recovery.problem

    def look(self) -> None:
        """Say what may be lost, as far as it is known by now."""
        warning = " ".join(filter(None, (self.problem, self._others)))
        if warning != self.warning:
            self.warning = warning
            self.warning_changed.emit()

    def leave(self) -> None:
        """Remove the copy on disk: the session ends, and nothing needs to be recovered."""
        self._on = False
        self._give(self.recovery.nothing(), None)
        self._writer.finish()

    def new_result(self) -> Path | None:
        """Return where a run may write its result at once; ``None`` if autosave is off."""
        return self.recovery.new_result() if self._on else None

    def await_result(self, path: Path | None) -> None:
        """Note that a run is under way, so that its result is offered if this process is killed.

        Parameters
        ----------
        path
            What :meth:`new_result` gave; ``None`` once the run has ended, and its result is taken
            or not wanted.
        """
        if path != self.recovery.awaited:
            self.recovery.await_result(path)
            self.keep()

    def take_path(self, path: Path | None) -> None:
        """Offer unsaved edits of a file that was opened, if there are any."""
        if self._on and path is not None:
            remember_file(path)
            self.offer = recovery.find(path) or self.offer

    @contextmanager
    def at_once(self) -> Iterator[None]:
        """Save several changes as one."""
        self._holding += 1
        try:
            yield
        finally:
            self._holding -= 1
            self.keep()

    # -- the offer ----------------------------------------------------------------------------

    def take_offer(self, content: Content) -> None:
        """Restore the session that was offered, once its files have been read.

        Parameters
        ----------
        content
            What :func:`napari_staligner.io.recovery.read_kept` gave.
        """
        offer = self.offer
        with self.at_once():
            self._session.open(content, saved=False, kept=None if offer is None else offer.result)
            if content.finished is not None and offer is not None:
                self._session.set_result(content.finished, kept=offer.finished)
        if offer is not None:
            offer.path.unlink(missing_ok=True)
        self.offer = None

    def discard_offer(self) -> None:
        """Delete the session that was offered from disk."""
        if self.offer is not None:
            recovery.discard(self.offer)
        self.offer = None
