"""Every alignment of a result so far, to go back to any of them."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from qtpy.QtGui import QUndoCommand, QUndoStack

if TYPE_CHECKING:
    from qtpy.QtWidgets import QWidget

    from napari_staligner.session.alignment import Alignment, AlignmentState

_MERGED = ("Nudge", "Turn")
"""Steps that join the one before them if that did the same to the same slice."""


class AlignmentHistory(QUndoStack):
    """States of a session's alignment, as far back as the result goes.

    Parameters
    ----------
    alignment
        Whose states these are.
    parent
        Owner.
    """

    def __init__(self, alignment: Alignment, parent: QWidget) -> None:
        super().__init__(parent)
        self._alignment = alignment
        self._present = alignment.state
        self._restoring = False

    def start_over(self) -> None:
        """Forget all: there is another result."""
        self._present = self._alignment.state
        self.clear()

    def record(self) -> bool:
        """Keep what has changed since the last call; say whether slices have moved."""
        before, after = self._present, self._alignment.state
        self._present = after
        if before is None or after is None:
            return False
        if before.same_places(after):
            self._amend(before, after)
            return False
        if not self._restoring:
            self.push(_Step(self._restore, before, after))
        return True

    def _amend(self, before: AlignmentState, after: AlignmentState) -> None:
        """Keep residuals that were measured after a step with that step."""
        for i in range(self.count()):
            step = self.command(i)
            if isinstance(step, _Step):
                step.before = after if step.before is before else step.before
                step.after = after if step.after is before else step.after

    def _restore(self, state: AlignmentState) -> None:
        self._restoring = True
        try:
            self._alignment.set(state)
        finally:
            self._restoring = False


class _Step(QUndoCommand):
    """A change that has already happened when it is pushed."""

    def __init__(
        self,
        restore: Callable[[AlignmentState], None],
        before: AlignmentState,
        after: AlignmentState,
    ) -> None:
        super().__init__(after.title)
        self._restore, self.before, self.after = restore, before, after
        self._done = True

    def undo(self) -> None:
        self._restore(self.before)

    def redo(self) -> None:
        # QUndoStack.push calls this, too.
        if self._done:
            self._done = False
        else:
            self._restore(self.after)

    def id(self) -> int:
        return 1 if self.text().startswith(_MERGED) else -1

    def mergeWith(self, other: QUndoCommand) -> bool:
        """Take a step of the same kind that follows at once."""
        if not isinstance(other, _Step) or other.text() != self.text():
            return False
        self.after = other.after
        return True
