"""The checkpoint of a job, as a file of arrays."""

from __future__ import annotations

import zipfile
import zlib
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from napari_staligner._errors import InputError
from napari_staligner.io.atomic import written_beside

if TYPE_CHECKING:
    from napari_staligner.core.training.checkpoint import State

_DAMAGED = (
    *(OSError, ValueError, EOFError, KeyError, RuntimeError, SyntaxError, MemoryError),
    *(TypeError, AttributeError),  # another file of numpy's
    *(zipfile.BadZipFile, zlib.error),
)
"""What numpy and zipfile raise on damaged files; RuntimeError is for an unknown packing."""


class FileKeeper:
    """Keeps the checkpoint in one file, which is replaced when all of the next one is written.

    Parameters
    ----------
    path
        The file, ``.npz``; its folder is made.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self.wanted = False
        """Whether a checkpoint is wanted at the end of this epoch."""
        self.problem = ""
        """Why the last one could not be written; empty if it could."""

    def load(self) -> State | None:
        """Read the checkpoint; ``None`` if there is none.

        Raises
        ------
        InputError
            The file cannot be read.
        """
        if not self._path.exists():
            return None
        try:
            # Nothing but arrays: a file with Python objects in it is refused.
            with self._path.open("rb") as raw, np.load(raw, allow_pickle=False) as file:
                return dict(file)
        except _DAMAGED as error:
            raise InputError(
                f"The checkpoint {str(self._path)!r} cannot be read ({error}): remove it to begin "
                "the job again."
            ) from error

    def save(self, state: State) -> None:
        """Write a checkpoint; if that fails, the training goes on, and :attr:`problem` says why."""
        self.wanted, self.problem = False, ""
        try:
            self._path.parent.mkdir(exist_ok=True)
            with written_beside(self._path) as draft, draft.open("wb") as file:
                np.savez(file, **state)  # type: ignore[arg-type]
        except (InputError, OSError) as error:
            self.problem = f"No checkpoint could be kept: {error}"


class ReadingKeeper(FileKeeper):
    """Goes on from the checkpoint in the file, and leaves it to another process to write."""

    def save(self, state: State) -> None:
        """Write nothing."""
