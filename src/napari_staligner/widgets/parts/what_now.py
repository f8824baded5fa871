"""One line in each dock that says what to do next, by what there is so far."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from napari_staligner.session import Session

_OPEN = "open slices in the Slices dock, or its sample."
_RUN = "choose technology and number of domains in the Integrate dock, and press Run."

# Of each dock: without slices, with slices, with a result.
_STEPS = {
    "Slices": (
        "drop or add .h5ad, .zarr, or what Visium, Visium HD, Xenium, MERSCOPE, CosMx, Slide-seq "
        "or Stereo-seq wrote, or press Open sample.",
        "5 to 10 neighbours for each spot are right; then go on to Integrate.",
        "Save keeps all of it in one file; Export hands the result on.",
    ),
    "Integrate": (
        _OPEN,
        "choose your technology and the number of domains, and press Run.",
        "look at Domains, then at Judge: is it right?",
    ),
    "Jobs": (
        "choose where a run computes beside Run in the Integrate dock; it is listed here.",
        "choose where a run computes beside Run in the Integrate dock, and press Run.",
        "Open result shows what a job made; closing napari stops none of them.",
    ),
    "Domains": (
        _OPEN,
        _RUN,
        "click a row to see a domain alone: does it lie in the same place in all slices?",
    ),
    "Alignment": (
        _OPEN,
        _RUN,
        "press Register, look at the stack, accept or reject; long arrows show where it is off.",
    ),
    "Attention": (
        _OPEN,
        _RUN,
        "draw the weights, and click a spot to see which neighbours it listens to.",
    ),
    "Explore": (
        _OPEN,
        _RUN,
        "colour by slice and compute the UMAP: slices should share its bands. A lasso selects.",
    ),
    "Compare": (
        _OPEN,
        _RUN,
        "let two slices alternate or part them: layers should go on across the border.",
    ),
    "Profile": (
        _OPEN,
        _RUN,
        "draw a line across the layers: curves of two slices should peak at the same depth.",
    ),
    "Links": (
        _OPEN,
        _RUN,
        "draw the links of one domain: they should end in the same tissue.",
    ),
    "Judge": (
        _OPEN,
        _RUN,
        "click a domain of one slice only, compare methods, give verdicts, write the report.",
    ),
    "Annotate": (
        _OPEN,
        _RUN,
        "take a template or add a class, press its key, and draw, or click a piece of a domain.",
    ),
}


def what_now(dock: str, session: Session) -> str:
    """Return the next step in a dock, as a sentence; empty for a dock that is not known.

    Parameters
    ----------
    dock
        Its name, as its tab has it.
    session
        What there is so far.
    """
    if dock not in _STEPS:
        return ""
    state = 2 if session.result.adata is not None else min(1, len(session.slices))
    return f"What now? {_STEPS[dock][state][:1].upper()}{_STEPS[dock][state][1:]}"
