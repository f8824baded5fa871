"""Undo and redo of changes to a result: one history for all of them, owned by the session.

A change is of one kind: domains, alignment, annotations, verdicts or images. The kinds do not share
state, so each has its own track, which can go back while the others stay. The history knows the
order of the steps of all tracks.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from enum import StrEnum
from typing import TYPE_CHECKING, Generic, Protocol, TypeVar

from psygnal import Signal

if TYPE_CHECKING:
    from psygnal import SignalInstance

S = TypeVar("S")


class Kind(StrEnum):
    """What a step changed."""

    DOMAINS = "domains"
    ALIGNMENT = "alignment"
    ANNOTATIONS = "annotations"
    VERDICTS = "verdicts"
    IMAGES = "images"


class Track(Protocol):
    """Steps of one kind; the first ``position`` of them are done, the others undone."""

    @property
    def track_changed(self) -> SignalInstance:
        """Signal: a step was added, undone or redone."""

    @property
    def texts(self) -> tuple[str, ...]:
        """What each step did, the oldest first; those after :attr:`position` are undone."""

    @property
    def position(self) -> int:
        """How many steps are done."""

    def undo(self) -> None:
        """Undo the last step, if there is one."""

    def redo(self) -> None:
        """Redo the last undone step, if there is one."""


class StateTrack(Generic[S]):
    """Steps between states, stored as copies.

    Parameters
    ----------
    state
        Copies the present state; ``None`` where there is none.
    restore
        Restores a state.
    describe
        Says what was done between two states; an empty text means no step.
    merges
        Whether a step from one state to the next continues the step before.
    """

    track_changed = Signal()
    """There is another step, or another number of them is done."""
    restoring = Signal()
    """A state is about to be restored: computations in progress are no longer valid."""

    def __init__(
        self,
        state: Callable[[], S | None],
        restore: Callable[[S], None],
        describe: Callable[[S, S], str],
        merges: Callable[[S, S], bool] = lambda before, after: False,
    ) -> None:
        self._state, self._restore = state, restore
        self._describe, self._merges = describe, merges
        # States before and after each step; each text describes the step between two.
        self._states: list[S] = []
        self._texts: list[str] = []
        self._at = 0
        self._busy = False

    @property
    def texts(self) -> tuple[str, ...]:
        """What each step did, the oldest first; those after :attr:`position` are undone."""
        return tuple(self._texts)

    @property
    def position(self) -> int:
        """How many steps are done."""
        return self._at

    @property
    def undo_text(self) -> str:
        """What :meth:`undo` takes back; empty if there is nothing."""
        return self._texts[self._at - 1] if self._at else ""

    @property
    def redo_text(self) -> str:
        """What :meth:`redo` does again; empty if there is nothing."""
        return self._texts[self._at] if self._at < len(self._texts) else ""

    def start_over(self) -> None:
        """Forget all steps: there is another result."""
        present = self._state()
        self._states = [] if present is None else [present]
        self._texts, self._at = [], 0
        self.track_changed.emit()

    def record(self) -> bool:
        """Store what changed since the last call; says whether that is a step."""
        present = self._state()
        if self._busy or present is None:
            return False
        if not self._states:
            self._states = [present]
            return False
        before = self._states[self._at]
        text = self._describe(before, present)
        if not text:
            self._states[self._at] = present
            return False
        del self._states[self._at + 1 :], self._texts[self._at :]
        if self._at and self._merges(before, present):
            self._states[self._at], self._texts[-1] = present, text
        else:
            self._states.append(present)
            self._texts.append(text)
            self._at += 1
        self.track_changed.emit()
        return True

    def change(self, change: Callable[[S], S]) -> None:
        """Change all stored states, for example when a name in them was replaced."""
        self._states = [change(state) for state in self._states]

    def undo(self) -> None:
        """Undo the last step, if there is one."""
        self.go_to(self._at - 1)

    def redo(self) -> None:
        """Redo the last undone step, if there is one."""
        self.go_to(self._at + 1)

    def go_to(self, position: int) -> None:
        """Go back or forward until ``position`` steps are done."""
        if not 0 <= position <= len(self._texts) or position == self._at:
            return
        self.restoring.emit()
        self._busy, self._at = True, position
        try:
            self._restore(self._states[position])
        finally:
            self._busy = False
        self.track_changed.emit()


class History:
    """All steps of a session, in the order in which they were done.

    Parameters
    ----------
    tracks
        Tracks by kind.
    """

    changed = Signal()
    """There is another step, or another number of them is done."""

    def __init__(self, tracks: Mapping[Kind, Track]) -> None:
        self._tracks = dict(tracks)
        self._done: list[Kind] = []
        self._undone: list[Kind] = []
        self._known = {kind: track.position for kind, track in tracks.items()}
        for kind, track in tracks.items():
            track.track_changed.connect(_follower(self, kind))

    def __getitem__(self, kind: Kind) -> Track:
        return self._tracks[kind]

    def start_over(self) -> None:
        """Forget the order: there is another result."""
        self._done, self._undone = [], []
        self._known = {kind: track.position for kind, track in self._tracks.items()}
        self.changed.emit()

    @property
    def undo_text(self) -> str:
        """What :meth:`undo` takes back; empty if there is nothing."""
        if not self._done:
            return ""
        track = self._tracks[self._done[-1]]
        return track.texts[track.position - 1]

    @property
    def redo_text(self) -> str:
        """What :meth:`redo` does again; empty if there is nothing."""
        if not self._undone:
            return ""
        track = self._tracks[self._undone[-1]]
        return track.texts[track.position]

    def undo(self) -> None:
        """Undo the last step of any kind."""
        if self._done:
            self._tracks[self._done[-1]].undo()

    def redo(self) -> None:
        """Redo the last undone step of any kind."""
        if self._undone:
            self._tracks[self._undone[-1]].redo()

    def _follow(self, kind: Kind) -> None:
        track, before = self._tracks[kind], self._known[kind]
        self._known[kind] = track.position
        for _ in range(before - track.position):
            _take_last(self._done, kind)
            self._undone.append(kind)
        for _ in range(track.position - before):
            _take_last(self._undone, kind)
            self._done.append(kind)
        # A new step discards those that were undone.
        ahead = len(track.texts) - track.position
        while self._undone.count(kind) > ahead:
            self._undone.remove(kind)
        self.changed.emit()


def _follower(history: History, kind: Kind) -> Callable[[], None]:
    return lambda: history._follow(kind)


def _take_last(kinds: list[Kind], kind: Kind) -> None:
    """Remove the last entry of a kind, if there is one."""
    for at in range(len(kinds) - 1, -1, -1):
        if kinds[at] is kind:
            del kinds[at]
            return
