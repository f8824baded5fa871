"""A job on the slices of a session."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from napari_staligner.core.progress import Progress, Steps
from napari_staligner.core.settings import Settings
from napari_staligner.jobs.folder import SESSION_FILE, JobFolder, Where

if TYPE_CHECKING:
    from anndata import AnnData


@dataclass(frozen=True)
class JobRequest:
    """What a job is made from.

    Parameters
    ----------
    slices
        Name and table of each slice; they share arrays with the session's, which it never changes.
    settings
        Of the integration.
    where
        Where it is to run.
    """

    slices: tuple[tuple[str, AnnData], ...]
    settings: Settings
    where: Where

    def steps(self) -> Steps[JobFolder]:
        """Write the slices into the folder of a new job, and start it.

        A slice that lies in a file which the job can see is only named.
        """
        from napari_staligner.core.integrate import check_slices
        from napari_staligner.io.h5ad import write_result
        from napari_staligner.io.session_file import SessionRecord, entries, session_anndata
        from napari_staligner.jobs.launch import make_job, start_job

        yield Progress("writing the slices", 0, 2)
        check_slices(self.slices, self.settings)
        names = [name for name, _ in self.slices]
        folder = make_job([SESSION_FILE], self.settings, self.where, names=names)
        named = entries(dict(self.slices))
        if self.where.on == "ssh":
            named = tuple(replace(entry, source=None) for entry in named)
        content = session_anndata(SessionRecord(named), None, dict(self.slices))
        write_result(content, folder.path / SESSION_FILE)
        yield Progress("starting the job", 1, 2)
        start_job(folder)
        return folder
