"""Several jobs on the same slices, over seeds or values of other settings.

The folder of an array holds a folder for each job, ``01-seed=0`` and so on. Where nothing else
queues them, on this machine, one process runs them one after the other.
"""

from __future__ import annotations

import signal
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from itertools import product
from pathlib import Path
from typing import TYPE_CHECKING, Any

from napari_staligner._errors import InputError
from napari_staligner.core.settings import Settings, parse_setting
from napari_staligner.jobs.folder import JobFolder, JobState, Where
from napari_staligner.jobs.heartbeat import beating
from napari_staligner.jobs.launch import launcher_of, make_job, start_job
from napari_staligner.jobs.launchers.local import command
from napari_staligner.jobs.listing import job_of, remember_job
from napari_staligner.jobs.watch import seen_state

if TYPE_CHECKING:
    import pandas as pd

    from napari_staligner.core.evaluation.runs import Runs

MOST = 200
WAITS = "It waits for the jobs before it."
STOPPED = 75
"""Exit code of an array that was stopped from outside."""


def parse_varied(texts: Sequence[str]) -> list[dict[str, Any]]:
    """Read ``seed=0..4`` and ``alpha=0.3,0.5``; several are combined.

    Returns
    -------
    The settings of each job that differ from the others'.

    Raises
    ------
    InputError
        There is no such setting, or too many jobs.
    """
    columns = []
    for text in texts:
        name, _, said = text.partition("=")
        low, dots, high = said.partition("..")
        values = said.split(",")
        if dots:
            if not (low.isdecimal() and high.isdecimal() and int(low) < int(high)):
                raise InputError(f"{text!r} is no range: give it as {name}=0..4.")
            values = [str(value) for value in range(int(low), min(int(high), int(low) + MOST) + 1)]
        columns.append([parse_setting(f"{name}={value}") for value in dict.fromkeys(values)])
    found = [dict(each) for each in product(*columns)]
    if not 1 < len(found) <= MOST:
        raise InputError(f"An array of {len(found)} jobs cannot be made: give 2 to {MOST} of them.")
    return found


def make_array(
    slices: Sequence[str],
    settings: Settings,
    varied: Sequence[Mapping[str, Any]],
    where: Where,
    *,
    names: Sequence[str],
    place: Path,
    slice_key: str | None = None,
    exclude: Path | None = None,
) -> list[JobFolder]:
    """Make the folders of several jobs.

    Parameters
    ----------
    slices, settings, where, names, slice_key, exclude
        See :func:`~napari_staligner.jobs.launch.make_job`.
    varied
        What each job has instead of that in ``settings``.
    place
        The folder of all; new or empty.

    Raises
    ------
    InputError
        The place is taken, or a value cannot be used.
    """
    if where.on == "ssh":
        raise InputError("An array runs on local, slurm or dask: over ssh, start it there.")
    chosen = [replace(settings, **changes) for changes in varied]
    if place.exists() and (not place.is_dir() or any(place.iterdir())):
        raise InputError(f"{str(place)!r} is taken: give a folder that is new or empty.")
    made = []
    for number, (changes, own) in enumerate(zip(varied, chosen, strict=True), 1):
        said = ",".join(f"{name}={value}" for name, value in changes.items())
        safe = "".join(sign if sign.isalnum() or sign in "=.,_-" else "_" for sign in said)
        folder = make_job(
            slices,
            own,
            where,
            names=names,
            place=place / f"{number:0{len(str(len(varied)))}d}-{safe}",
            slice_key=slice_key,
            exclude=exclude,
        )
        spec = folder.spec()
        folder.write_spec(replace(spec, title=f"{spec.title}: {said}"))
        made.append(folder)
    return made


def members_of(place: Path) -> list[JobFolder]:
    """Return the jobs of an array, in their order; none if the folder is no array's."""
    return [JobFolder(path.parent) for path in sorted(place.glob("[0-9]*-*=*/job.json"))]


def jobs_of(text: str) -> list[JobFolder]:
    """Return the jobs of an array by its folder, or one job as :func:`job_of` finds it.

    Raises
    ------
    InputError
        There is none.
    """
    return members_of(Path(text)) or [job_of(text)]


def start_array(jobs: Sequence[JobFolder]) -> None:
    """Start the jobs of an array: in a queue all of them, here one after the other.

    Raises
    ------
    InputError
        They cannot run there.
    """
    spec = jobs[0].spec()
    if spec.where.on != "local":
        for folder in jobs:
            start_job(folder)
        return
    for folder in reversed(jobs):
        folder.write_state(JobState("queued", WAITS))
        remember_job(folder)
    launcher_of("local").start(JobFolder(jobs[0].path.parent), spec)


def run_array(jobs: Sequence[JobFolder]) -> int:
    """Run jobs one after the other, each in a process of its own.

    Returns
    -------
    The exit code: that of the last job that failed, 0 if none did.
    """
    code, waiting = 0, list(jobs)
    with beating(waiting), _passing_on() as running:
        for folder in jobs:
            waiting.remove(folder)
            if seen_state(folder).condition != "queued":
                continue
            if running.stopped:
                return STOPPED
            with folder.log.open("ab") as log:
                running.process = subprocess.Popen(
                    command(folder), stdin=subprocess.DEVNULL, stdout=log, stderr=log
                )
                code = running.process.wait() or code
    return code


class _Running:
    process: subprocess.Popen[bytes] | None = None
    stopped = False


@contextmanager
def _passing_on() -> Iterator[_Running]:
    """Pass SIGTERM on to the job that runs, and begin no other."""
    running = _Running()

    def stop(*_: object) -> None:
        running.stopped = True
        if running.process is not None:
            running.process.terminate()

    before = signal.signal(signal.SIGTERM, stop)
    try:
        yield running
    finally:
        signal.signal(signal.SIGTERM, before)


def compare_jobs(jobs: Sequence[JobFolder], labels: str | None = None) -> tuple[Runs, list[str]]:
    """Compare the results of jobs on the same slices.

    Parameters
    ----------
    jobs
        The jobs; those without a result are left out.
    labels
        Column of ``obs`` to compare each with.

    Returns
    -------
    The figures, and a sentence for each job that was left out.

    Raises
    ------
    InputError
        None has a result, or they are not on the same slices.
    """
    from napari_staligner.core.evaluation.runs import compare_runs
    from napari_staligner.io.anndata import read_backed

    done = [folder for folder in jobs if folder.out.exists()]
    runs = ((folder.path.name, read_backed(folder.out)) for folder in done)
    left = [
        f"Job {folder.path.name!r} is {seen_state(folder).condition} and is left out."
        for folder in jobs
        if folder not in done
    ]
    return compare_runs(runs, labels), left


def run_table(found: Runs) -> pd.DataFrame:
    """Return figures, mean, spread and agreement in one table, as a file has it.

    A row for each run, then ``mean`` and ``sd``; the columns are the figures, then the adjusted
    Rand index with each run.
    """
    import pandas as pd

    agreement = found.agreement.add_prefix("ari_with_")
    rows = pd.concat([found.figures, agreement], axis=1)
    return pd.concat([rows, found.spread]).rename_axis("run")
