"""Saves edits to disk as they are made, and recovers them after a crash."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from psygnal import Signal

from napari_staligner.io import recovery
from napari_staligner.io.open_marks import OpenMark
from napari_staligner.io.recovery import Kept, Recovery
from napari_staligner.io.user_folder import remember_file

if TYPE_CHECKING:
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

    def __init__(self, session: Saveable) -> None:
        self._session = session
        self.recovery = Recovery()
        self.edits = 0
        """Number of edits so far; a save in the background uses it to detect later ones."""
        self.warning = ""
        """Sentences on what may be lost: edits that are not kept, a file that others have open."""
        self._mark = OpenMark(self.recovery.id)
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
        """Write unsaved edits where they survive a crash; does nothing inside :meth:`at_once`."""
        self.edits += 1
        if not self._on or self._holding:
            return
        session = self._session
        if not session.slices or (session.result.adata is not None and session.saved):
            self.recovery.forget()
        else:
            self.recovery.keep(session.result.adata, session.record(), session.path)
        self._warn(session.path)

    def _warn(self, path: Path | None) -> None:
        """Mark the session's file as open, and say what may be lost."""
        self._mark.move(path)
        others = "" if path is None else self._mark.others(path)
        warning = " ".join(filter(None, (self.recovery.problem, others)))
        if warning != self.warning:
            self.warning = warning
            self.warning_changed.emit()

    def leave(self) -> None:
        """Remove the copy on disk: the session ends, and nothing needs to be recovered."""
        self._on = False
        self.recovery.forget()
        self._mark.move(None)

    def new_result(self) -> Path | None:
        """Return where a run may write its result at once; ``None`` if autosave is off."""
        return self.recovery.new_result() if self._on else None

    def take_path(self, path: Path | None) -> None:
        """Offer unsaved edits of a file that was opened, if there are any."""
        if self._on and path is not None:
            remember_file(path)
            self.offer = recovery.find(path) or self.offer
            self._warn(path)

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
        self._session.open(content, saved=False, kept=None if offer is None else offer.result)
        if offer is not None:
            offer.path.unlink(missing_ok=True)
        self.offer = None

    def discard_offer(self) -> None:
        """Delete the session that was offered from disk."""
        if self.offer is not None:
            recovery.discard(self.offer)
        self.offer = None
