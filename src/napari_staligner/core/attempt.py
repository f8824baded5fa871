"""Stages after training: if one fails, only its part of the result is missing."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeVar

import numpy as np

from napari_staligner._errors import ComputeError, ComputeWarning, InputError
from napari_staligner.core.outside import (
    gpu_failure,
    out_of_memory,
    outside_reason,
    outside_sentence,
)
from napari_staligner.core.progress import Progress, Steps
from napari_staligner.core.result.access import writable_record

if TYPE_CHECKING:
    from anndata import AnnData

T = TypeVar("T")

_log = logging.getLogger(__name__)

COMPLETE = (
    "press Complete in the Integrate dock, run 'napari-staligner complete' on its file, or call "
    "napari_staligner.complete"
)


NO_MEMORY = (
    "There is not enough memory: use fewer genes per slice, fewer slices, or another device."
)


GPU_FAILED = "The GPU failed ({why}): start the program again, or set the device to 'cpu'."


@dataclass(frozen=True)
class LaterStage:
    """A part of the result that is computed after training.

    Parameters
    ----------
    name
        In one word.
    opening
        Start of the sentence that says that it is missing.
    again
        How to compute it again.
    """

    name: str
    opening: str
    again: str = COMPLETE

    def sentence(self, error: Exception) -> str:
        """Say that it is missing, why, and how to compute it again."""
        return f"{self.opening} ({reason(error)}): {self.again}."


ATTENTION = LaterStage(
    "attention",
    "The attention between the spots is missing",
    "integrate again if you need it",
)
MATCHES = LaterStage("matches", "The matches between the slices are missing")
RECONSTRUCTION = LaterStage(
    "reconstruction",
    "The reconstruction error of the slices is missing",
    "integrate again if you need it",
)
DISTANCES = LaterStage(
    "distances",
    "The distances between neighbouring spots are missing",
    "integrate again if you need them",
)
CONFIDENCE = LaterStage("confidence", "The confidence of the spots is missing")
DOMAINS = LaterStage("domains", "The domains are missing")
PRESENCE = LaterStage("presence", "The test in which slices the domains are is missing")
REGISTRATION = LaterStage(
    "registration",
    "The registration of the slices is missing",
    "press Register in the Alignment dock, run 'napari-staligner register' on its file, or call "
    "napari_staligner.register",
)
RESIDUALS = LaterStage(
    "residuals", "The residuals of the registration are missing", REGISTRATION.again
)
BENDING = LaterStage(
    "bending", "The smooth displacement of the slices is missing", REGISTRATION.again
)
EXPRESSION = LaterStage(
    "expression",
    "The expression of the genes is missing from the result",
    "free some memory, or give fewer layers, and integrate again if you need it",
)
PROVENANCE = LaterStage(
    "provenance",
    "The record of how the result was made is missing",
    "note the files and the settings yourself",
)
STAGES = (
    ATTENTION,
    MATCHES,
    RECONSTRUCTION,
    DISTANCES,
    CONFIDENCE,
    DOMAINS,
    PRESENCE,
    REGISTRATION,
    RESIDUALS,
    BENDING,
    EXPRESSION,
    PROVENANCE,
)


def drop_notes(adata: AnnData, *stages: LaterStage) -> None:
    """Drop the notes that stages are missing, once they are there.

    Parameters
    ----------
    adata
        Integrated slices; changes ``uns["staligner"]["notes"]``.
    stages
        The stages that are there.
    """
    kept = writable_record(adata)
    notes = [str(note) for note in kept.get("notes", ())]
    openings = tuple(stage.opening for stage in stages)
    left = [note for note in notes if not note.startswith(openings)]
    if left != notes:
        kept["notes"] = np.array(left, dtype=object)


def attempt(make_steps: Callable[[], Steps[T]], stage: LaterStage) -> Steps[T | None]:
    """Compute a stage; if it fails, say so and go on.

    Parameters
    ----------
    make_steps
        Makes the computation.
    stage
        What it computes.

    Returns
    -------
    What the computation returns; ``None`` if it fails for any reason. Then a step's ``lost`` says
    so in a sentence.
    """
    try:
        return (yield from make_steps())
    except Exception as error:
        log_failure(f"The stage {stage.name!r} failed", error)
        yield Progress(stage.name, 1, 1, lost=stage.sentence(error))
        return None


def reason(error: Exception) -> str:
    """Say in a few words why something failed, for the middle of a sentence."""
    if out_of_memory(error):
        return "not enough memory"
    text = next((line.strip() for line in str(error).splitlines() if line.strip()), "")
    text = text[:200].rstrip(".").replace(". ", "; ")
    if isinstance(error, InputError | ComputeError):
        return text
    if outside := outside_reason(error):
        return outside
    if why := gpu_failure(error):
        return f"the GPU failed, {why}"
    return f"an unexpected {type(error).__name__}{f': {text}' if text else ''}; please report it"


def known_failure(error: BaseException) -> str:
    """Say what failed and what helps, if that is no fault of the program; else empty.

    A disk, a network, memory and a GPU are outside of it: nobody needs a report of them.
    """
    if out_of_memory(error):
        return NO_MEMORY
    why = gpu_failure(error)
    return GPU_FAILED.format(why=why) if why else outside_sentence(error)


def log_failure(what: str, error: BaseException) -> None:
    """Log a failure, with a traceback only where somebody could learn from it.

    Parameters
    ----------
    what
        That it failed, without a full stop.
    error
        The failure, which is being handled.
    """
    if known_failure(error):
        _log.info("%s: %s", what, error)
    else:
        _log.exception(what)


def collecting(
    lost: list[str], on_progress: Callable[[Progress], object] | None = None
) -> Callable[[Progress], object]:
    """Collect the sentences on stages that failed, and pass the progress on."""

    def collect(step: Progress) -> None:
        if step.lost:
            lost.append(step.lost)
        if on_progress is not None:
            on_progress(step)

    return collect


def warn_lost(lost: Sequence[str]) -> None:
    """Warn about the stages that failed."""
    for sentence in dict.fromkeys(lost):
        warnings.warn(sentence, ComputeWarning, stacklevel=3)
