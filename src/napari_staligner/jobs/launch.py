"""Starts jobs, asks after them, and ends them, wherever they run."""

from __future__ import annotations

import shlex
import shutil
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Protocol
from uuid import uuid4

from napari_staligner._errors import InputError
from napari_staligner.core.settings import Settings
from napari_staligner.jobs.folder import HELD, JobFolder, JobSpec, JobState, On, Where
from napari_staligner.jobs.listing import new_job_folder, remember_job
from napari_staligner.jobs.watch import running, seen_state


class Launcher(Protocol):
    """One place where jobs can run."""

    @property
    def seconds(self) -> float:
        """Seconds between two looks at a job."""

    def start(self, folder: JobFolder, spec: JobSpec) -> None:
        """Start a job, or put it into a queue."""

    def look(self, folder: JobFolder, spec: JobSpec, state: JobState) -> JobState:
        """Correct a state by what is known there."""

    def cancel(self, folder: JobFolder, spec: JobSpec) -> None:
        """End a job whose process may not see the file ``cancel``."""

    def fetch(self, folder: JobFolder, spec: JobSpec) -> None:
        """Bring the result here."""


def launcher_of(on: On) -> Launcher:
    """Return the launcher of a place."""
    from napari_staligner.jobs.launchers.dask import Dask
    from napari_staligner.jobs.launchers.local import Local
    from napari_staligner.jobs.launchers.slurm import Slurm
    from napari_staligner.jobs.launchers.ssh import Ssh

    found: dict[str, Launcher] = {
        "local": Local(),
        "slurm": Slurm(),
        "dask": Dask(),
        "ssh": Ssh(),
    }
    return found[on]


def make_job(
    slices: Sequence[str],
    settings: Settings,
    where: Where,
    *,
    names: Sequence[str],
    place: Path | None = None,
    slice_key: str | None = None,
    exclude: Path | None = None,
) -> JobFolder:
    """Make the folder of a job.

    Parameters
    ----------
    slices
        As :class:`~napari_staligner.jobs.folder.JobSpec` has them.
    settings
        Of the integration.
    where
        Where it is to run.
    names
        Of the slices.
    place
        The folder, which must not exist or be empty; ``None`` makes one among the user's own.
    slice_key
        Column of ``obs`` that names the slices of a file.
    exclude
        Regions to leave out, which are copied into the folder.

    Raises
    ------
    InputError
        The place is taken.
    """
    from napari_staligner.core.result.provenance import options_of, package_versions

    id = uuid4().hex[:12]
    folder = new_job_folder(id) if place is None else JobFolder(place)
    if folder.path.exists() and (not folder.path.is_dir() or any(folder.path.iterdir())):
        raise InputError(f"{str(folder.path)!r} is taken: give a folder that is new or empty.")
    words = [*slices, "-o", folder.out.name, *options_of(settings, names)]
    words += ["--slice-key", slice_key] if slice_key else []
    words += ["--exclude", str(exclude.resolve())] if exclude else []
    spec = JobSpec(
        id,
        datetime.now(UTC).isoformat(timespec="seconds"),
        ", ".join(names[:3]) + (f" and {len(names) - 3} more" if names[3:] else ""),
        tuple(slices),
        settings,
        where,
        slice_key,
        shlex.join(["napari-staligner", "integrate", *words]),
        package_versions(),
        None if exclude is None else str(exclude.resolve()),
    )
    folder.write_spec(spec)
    if exclude is not None:
        shutil.copyfile(exclude, folder.path / spec.regions)
    return folder


def start_job(folder: JobFolder) -> None:
    """Start a job that was made, and put it on the list.

    Raises
    ------
    InputError
        It cannot run there. Then its folder says so, too.
    """
    spec = folder.spec()
    folder.write_state(JobState("queued"))
    remember_job(folder)
    try:
        launcher_of(spec.where.on).start(folder, spec)
    except InputError as error:
        folder.write_state(JobState("failed", str(error)))
        raise


def resume_job(folder: JobFolder) -> None:
    """Start a job again that ended without a result; it goes on from its checkpoint.

    Raises
    ------
    InputError
        It runs, waits, or is done.
    """
    state = look_at(folder)
    if state.condition == "done":
        raise InputError(f"The job {str(folder.path)!r} is done: there is nothing to go on with.")
    if not state.ended:
        raise InputError(f"The job {str(folder.path)!r} is {state.condition} already.")
    folder.cancel.unlink(missing_ok=True)
    folder.beat()
    start_job(folder)


def look_at(folder: JobFolder) -> JobState:
    """Return how a job is, as far as its folder, its process and its queue tell.

    Raises
    ------
    InputError
        The folder is no job's, or its place does not answer.
    """
    spec, state = folder.spec(), seen_state(folder)
    if state.sentence == HELD:
        return state
    return launcher_of(spec.where.on).look(folder, spec, state)


def cancel_job(folder: JobFolder) -> None:
    """Ask a job to end; it does at its next step.

    Raises
    ------
    InputError
        It has ended already.
    """
    state = look_at(folder)
    if state.ended:
        raise InputError(f"The job {str(folder.path)!r} is {state.condition} already.")
    folder.cancel.touch()
    spec = folder.spec()
    if state.sentence != HELD:
        launcher_of(spec.where.on).cancel(folder, spec)
    if state.condition == "queued" and not running(folder):
        folder.write_state(JobState("cancelled"))


def fetch_result(folder: JobFolder, target: Path | None = None) -> Path:
    """Bring the result of a job here, and copy it to a target.

    Raises
    ------
    InputError
        The job has no result yet, or the target cannot be written.
    """
    from napari_staligner.io.atomic import written_beside
    from napari_staligner.io.h5ad import check_result_target

    spec, state = folder.spec(), look_at(folder)
    launcher_of(spec.where.on).fetch(folder, spec)
    if not folder.out.exists():
        why = f" ({state.sentence})" if state.sentence else ""
        raise InputError(f"The job {str(folder.path)!r} is {state.condition}{why}, without result.")
    if target is None:
        return folder.out
    with written_beside(check_result_target(target)) as draft:
        shutil.copyfile(folder.out, draft)
    return target
