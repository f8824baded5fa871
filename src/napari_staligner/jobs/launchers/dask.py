"""Jobs on the workers of a Dask scheduler, which see the same files as this machine."""

from __future__ import annotations

import subprocess
from pathlib import Path
from typing import TYPE_CHECKING

from napari_staligner._errors import InputError
from napari_staligner.jobs.folder import JobFolder, JobSpec, JobState
from napari_staligner.jobs.launchers.local import command

if TYPE_CHECKING:
    from distributed import Client

ANSWERS_WITHIN = 10.0
"""Seconds that a scheduler may take to answer."""


class Dask:
    """Hands a job to a worker, which starts a process for it and waits."""

    seconds = 5.0
    """Between two looks at a job."""

    def start(self, folder: JobFolder, spec: JobSpec) -> None:
        """Hand a job to the scheduler.

        Raises
        ------
        InputError
            dask.distributed is not installed, or the scheduler does not answer.
        """
        from contextlib import closing

        with closing(_client(spec.where.address)) as client:
            from distributed import fire_and_forget

            # By name and path: nothing of the job itself is sent.
            task = client.submit(
                run_apart, str(folder.path.resolve()), key=spec.queue_name, pure=False
            )
            fire_and_forget(task)

    def look(self, folder: JobFolder, spec: JobSpec, state: JobState) -> JobState:
        """Nothing is known beyond the folder."""
        return state

    def cancel(self, folder: JobFolder, spec: JobSpec) -> None:
        """Nothing to do: the process sees the file, also if it begins later."""

    def fetch(self, folder: JobFolder, spec: JobSpec) -> None:
        """Nothing to do: the result is here."""


def run_apart(path: str) -> int:
    """Run a job in a process of its own, and return its exit code; a worker calls this."""
    folder = JobFolder(Path(path))
    with folder.log.open("ab") as log:
        done = subprocess.run(
            command(folder), stdin=subprocess.DEVNULL, stdout=log, stderr=log, check=False
        )
    return done.returncode


def _client(address: str) -> Client:
    try:
        from distributed import Client
    except ImportError as error:
        raise InputError(
            "Jobs on Dask need dask.distributed: install napari-staligner[dask]."
        ) from error
    try:
        return Client(address, timeout=ANSWERS_WITHIN, set_as_default=False)
    except (OSError, TimeoutError, ValueError) as error:
        raise InputError(
            f"The Dask scheduler {address!r} does not answer: give the address that "
            "'dask scheduler' prints."
        ) from error
