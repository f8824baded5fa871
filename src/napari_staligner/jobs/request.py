"""A job on the slices of a session."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from napari_staligner import _keys as K
from napari_staligner.core.prepare.excluded import whole_slices
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
    aside
        Spots that the last run left out, by slice, to be put back among the others.
    """

    slices: tuple[tuple[str, AnnData], ...]
    settings: Settings
    where: Where
    aside: Mapping[str, AnnData] = field(default_factory=dict)

    def steps(self) -> Steps[JobFolder]:
        """Write the slices into the folder of a new job, and start it.

        A slice that lies in a file which the job can see is only named, if none of its spots is
        excluded.
        """
        from napari_staligner.core.integrate import check_slices
        from napari_staligner.io.h5ad import write_result
        from napari_staligner.io.session_file import SessionRecord, entries, session_anndata
        from napari_staligner.jobs.launch import make_job, start_job

        yield Progress("writing the slices", 0, 2)
        slices = dict(whole_slices(dict(self.slices), self.aside))
        check_slices([*slices.items()], self.settings)
        names = [*slices]
        folder = make_job([SESSION_FILE], self.settings, self.where, names=names)
        # A file does not know what was excluded since.
        sent = {n for n, adata in slices.items() if K.EXCLUDED_BY_FILE in adata.uns}
        sent |= {*names} if self.where.on == "ssh" else set()
        named = tuple(
            replace(entry, source=None) if entry.name in sent else entry
            for entry in entries(slices)
        )
        content = session_anndata(SessionRecord(named), None, slices)
        write_result(content, folder.path / SESSION_FILE)
        yield Progress("starting the job", 1, 2)
        start_job(folder)
        return folder
