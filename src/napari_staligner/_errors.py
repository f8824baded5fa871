"""Errors and warnings that are shown to the user as one sentence."""

from __future__ import annotations


class InputError(ValueError):
    """The input or a setting cannot be used.

    The message is one sentence that names the slice, the slot and the remedy; it is shown
    unchanged, in a dock's status line or on stderr.
    """


class InputWarning(UserWarning):
    """The input is used, but not as the user may expect; one sentence, shown unchanged."""


class ComputeWarning(UserWarning):
    """A part of the result could not be computed; one sentence, shown unchanged."""


class ComputeError(Exception):
    """The computation failed for a reason other than the input, for example memory.

    Deliberately no :class:`RuntimeError`: a generator worker of superqt swallows those.
    """
