"""Edits on the disk as they are made, and what a crash has left."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from psygnal import Signal

from napari_staligner.io import recovery
from napari_staligner.io.recovery import Kept, Recovery
from napari_staligner.io.user_folder import remember_file

if TYPE_CHECKING:
    from napari_staligner.io.session_file import Content, SessionRecord
    from napari_staligner.session.result import Result
    from napari_staligner.session.slices import Slices


class Saveable(Protocol):
    """What of a session is kept, and how it is opened again."""

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
        """Return what a file keeps of it, but for the result."""

    def open(self, content: Content, *, saved: bool, kept: Path | None) -> None:
        """Take what was read from a file."""


class Autosave:
    """Keeps what is not saved where a crash leaves it, and offers what a crash has left.

    Parameters
    ----------
    session
        Whose edits are kept.
    """

    offer_changed = Signal()
    """``offer`` was set."""

    def __init__(self, session: Saveable) -> None:
        self._session = session
        self.recovery = Recovery()
        self.edits = 0
        """How many edits there were; who saves in the background sees by it what came later."""
        self._offer: Kept | None = None
        self._on = False
        self._amid = 0

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
        """Keep edits on the disk from now on; a session that was not saved is offered."""
        if self._on:
            return
        self._on = True
        if not self._session.slices:
            self.offer = recovery.find()
        self.keep()

    def keep(self) -> None:
        """Write what is not saved where a crash leaves it; a no-op amid several changes."""
        self.edits += 1
        if not self._on or self._amid:
            return
        session = self._session
        if not session.slices or (session.result.adata is not None and session.saved):
            self.recovery.forget()
            return
        self.recovery.keep(session.result.adata, session.record(), session.path)

    def leave(self) -> None:
        """Remove what is kept from a crash: the session ends, and nothing is to be kept."""
        self._on = False
        self.recovery.forget()

    def new_result(self) -> Path | None:
        """Return where a run may write its result at once; ``None`` while nothing is kept."""
        return self.recovery.new_result() if self._on else None

    def take_path(self, path: Path | None) -> None:
        """Offer edits of a file that was opened, if there are any that were not saved."""
        if self._on and path is not None:
            remember_file(path)
            self.offer = recovery.find(path) or self.offer

    @contextmanager
    def at_once(self) -> Iterator[None]:
        """Keep several changes as one."""
        self._amid += 1
        try:
            yield
        finally:
            self._amid -= 1
            self.keep()

    # -- the offer ----------------------------------------------------------------------------

    def take_offer(self, content: Content) -> None:
        """Come back to the session that was offered, whose files were read.

        Parameters
        ----------
        content
            What :func:`napari_staligner.io.recovery.read_kept` gave.
        """
        kept = self.offer
        self._session.open(content, saved=False, kept=None if kept is None else kept.result)
        if kept is not None:
            kept.path.unlink(missing_ok=True)
        self.offer = None

    def discard_offer(self) -> None:
        """Remove the session that was offered from the disk."""
        if self.offer is not None:
            recovery.discard(self.offer)
        self.offer = None
