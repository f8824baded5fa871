"""The outcome of reading annotations from a file."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Imported:
    """The outcome of reading annotations from a file.

    Parameters
    ----------
    n_changed
        Spots whose class changed.
    notes
        What was left out or guessed, a sentence each.
    """

    n_changed: int
    notes: tuple[str, ...] = ()
