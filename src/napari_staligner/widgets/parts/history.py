"""Undo and redo of what is done to the domains, by whomever."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from qtpy.QtGui import QUndoCommand, QUndoStack

if TYPE_CHECKING:
    from qtpy.QtWidgets import QWidget

    from napari_staligner.session import DomainState, Session


class DomainHistory(QUndoStack):
    """States of a session's domains, as far back as the result goes.

    Parameters
    ----------
    session
        Whose domains these are.
    before_restoring
        Called before a state is put back.
    parent
        Owner.
    """

    def __init__(
        self, session: Session, before_restoring: Callable[[], object], parent: QWidget
    ) -> None:
        super().__init__(parent)
        self._session = session
        self._before_restoring = before_restoring
        self._present = session.domains.state()
        self._restoring = False

    def start_over(self) -> None:
        """Forget all: there is another result."""
        self._present = self._session.domains.state()
        self.clear()

    def record(self) -> bool:
        """Keep what has changed since the last call; say whether anything of the result has."""
        before, after = self._present, self._session.domains.state()
        self._present = after
        if before is None or after is None:
            return False
        text = _difference(before, after)
        if text and not self._restoring:
            self.push(_Edit(self.restore, text, before, after))
        return bool(text)

    def restore(self, state: DomainState) -> None:
        """Put a state back, as undo and redo do."""
        self._before_restoring()
        self._restoring = True
        try:
            self._session.domains.restore(state)
        finally:
            self._restoring = False


class _Edit(QUndoCommand):
    """A change that has already happened when it is pushed."""

    def __init__(
        self,
        restore: Callable[[DomainState], None],
        text: str,
        before: DomainState,
        after: DomainState,
    ) -> None:
        super().__init__(text)
        self._restore, self._before, self._after = restore, before, after
        self._done = True

    def undo(self) -> None:
        self._restore(self._before)

    def redo(self) -> None:
        # QUndoStack.push calls this, too.
        if self._done:
            self._done = False
        else:
            self._restore(self._after)


def _difference(before: DomainState, after: DomainState) -> str:
    """Name what was done between two states, for the undo button; empty for nothing."""
    if not before.same_labels(after):
        return f"finding {len(after.names)} domains"
    for old, new in zip(before.names, after.names, strict=True):
        if old != new:
            return f"renaming {old} to {new}"
    for name, old, new in zip(after.names, before.colors, after.colors, strict=True):
        if old != new:
            return f"colouring {name}"
    return "" if before.params == after.params else "finding the same domains"
