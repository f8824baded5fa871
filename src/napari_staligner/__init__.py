"""Integrate slices of spatial transcriptomics with STAligner and judge the result on the tissue.

Importing the package loads neither torch nor Qt; each public name loads what it needs when it is
first used.
"""

from __future__ import annotations

from importlib import import_module
from importlib.metadata import version
from logging import NullHandler, getLogger
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from napari_staligner._errors import ComputeWarning as ComputeWarning
    from napari_staligner._errors import InputError as InputError
    from napari_staligner.core.domains.domains import find_domains as find_domains
    from napari_staligner.core.evaluation.evaluation import evaluate as evaluate
    from napari_staligner.core.evaluation.runs import compare_runs as compare_runs
    from napari_staligner.core.integrate import integrate as integrate
    from napari_staligner.core.prepare.image_move import move_image as move_image
    from napari_staligner.core.registration.anndata import register as register
    from napari_staligner.core.registration.bending import area_change as area_change
    from napari_staligner.core.registration.deformation import deformation_of as deformation_of
    from napari_staligner.core.result.axis import Axis as Axis
    from napari_staligner.core.result.methods_text import methods_text as methods_text
    from napari_staligner.core.result.overlap import overlap as overlap
    from napari_staligner.core.result.profiles import profiles as profiles
    from napari_staligner.core.result.suspects import find_suspects as find_suspects
    from napari_staligner.core.settings import Settings as Settings
    from napari_staligner.core.stages import complete as complete
    from napari_staligner.demo.notebook import edited as edited
    from napari_staligner.demo.notebook import view as view
    from napari_staligner.io.excluded import exclude as exclude
    from napari_staligner.io.export.images import write_aligned_images as write_aligned_images
    from napari_staligner.io.h5ad import read_slices as read_slices
    from napari_staligner.io.h5ad import write_result as write_result
    from napari_staligner.io.outlines import read_outlines as read_outlines
    from napari_staligner.report.result_figure import result_figure as result_figure
    from napari_staligner.report.summary import summary as summary
    from napari_staligner.samples import simulated_olfactory_bulb as simulated_olfactory_bulb

# Tracebacks are only for readers of the log: without this, Python would print them to the terminal.
getLogger(__name__).addHandler(NullHandler())

_WHERE = {
    "Axis": "core.result.axis",
    "ComputeWarning": "_errors",
    "InputError": "_errors",
    "Settings": "core.settings",
    "area_change": "core.registration.bending",
    "compare_runs": "core.evaluation.runs",
    "complete": "core.stages",
    "deformation_of": "core.registration.deformation",
    "edited": "demo.notebook",
    "exclude": "io.excluded",
    "move_image": "core.prepare.image_move",
    "evaluate": "core.evaluation.evaluation",
    "find_domains": "core.domains.domains",
    "find_suspects": "core.result.suspects",
    "integrate": "core.integrate",
    "methods_text": "core.result.methods_text",
    "overlap": "core.result.overlap",
    "profiles": "core.result.profiles",
    "read_outlines": "io.outlines",
    "read_slices": "io.h5ad",
    "register": "core.registration.anndata",
    "result_figure": "report.result_figure",
    "simulated_olfactory_bulb": "samples",
    "summary": "report.summary",
    "view": "demo.notebook",
    "write_aligned_images": "io.export.images",
    "write_result": "io.h5ad",
}

__all__ = [*_WHERE, "__version__"]  # noqa: PLE0604


def __getattr__(name: str) -> Any:
    if name == "__version__":
        return version("napari-staligner")
    if name in _WHERE:
        return getattr(import_module(f"{__name__}.{_WHERE[name]}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted(__all__)
