"""The picture of all methods on all slices, from integrated slices to a file."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from napari_staligner._errors import InputError
from napari_staligner.core.progress import Progress, Steps
from napari_staligner.report.comparison import compared_methods
from napari_staligner.report.methods_picture import FORMATS, methods_picture
from napari_staligner.report.report import NO_DOMAIN, ReportJob, report_job

if TYPE_CHECKING:
    from pathlib import Path

    from anndata import AnnData

    from napari_staligner.core.evaluation.evaluation import Evaluation


@dataclass(frozen=True)
class PictureJob:
    """What the picture is drawn from, copied.

    Parameters
    ----------
    report
        The slices, their colours and labels.
    evaluation
        Figures and domains of each method.
    form
        ``"png"``, ``"pdf"`` or ``"svg"``.
    """

    report: ReportJob
    evaluation: Evaluation
    form: str

    def steps(self) -> Steps[bytes]:
        """Draw it; returns the file."""
        yield Progress("picture", 0, 1)
        job = self.report
        found = compared_methods(job.compared, self.evaluation, {}, job.parts, job.colors)
        picture = methods_picture(found, job.parts, NO_DOMAIN, self.form)
        yield Progress("picture", 1, 1)
        return picture


def picture_form(target: Path) -> str:
    """Which of the formats a file name asks for.

    Raises
    ------
    InputError
        It is none of them.
    """
    form = target.suffix.lower().removeprefix(".")
    if form not in FORMATS:
        endings = " or ".join(f".{each}" for each in FORMATS)
        raise InputError(f"A picture cannot be written as {target.name!r}: end it with {endings}.")
    return form


def picture_job(adata: AnnData, evaluation: Evaluation, form: str = "png") -> PictureJob:
    """Copy what the picture needs.

    Parameters
    ----------
    adata
        Integrated slices, see :func:`~napari_staligner.report.report.report_job`.
    evaluation
        Figures of the methods.
    form
        See :class:`PictureJob`.
    """
    return PictureJob(report_job(adata, "", evaluation), evaluation, form)
