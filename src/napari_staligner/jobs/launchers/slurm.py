"""Jobs on a cluster with Slurm, which sees the same files as this machine."""

from __future__ import annotations

import shlex
import shutil
import subprocess
from getpass import getuser

from napari_staligner._errors import InputError
from napari_staligner.io.atomic import write_text
from napari_staligner.jobs.folder import JobFolder, JobSpec, JobState
from napari_staligner.jobs.launchers.local import command

SCRIPT = """#!/bin/bash
#SBATCH --job-name={name}
#SBATCH --output={log}
#SBATCH --open-mode=append
#SBATCH --ntasks={ranks}
#SBATCH --signal=TERM@60
{options}
# A minute before the time limit the job is told to keep a checkpoint; 'job resume' goes on from it.
# srun no longer takes the number of processors over from sbatch by itself.
export SRUN_CPUS_PER_TASK=${{SLURM_CPUS_PER_TASK:-1}}
# The first of several ranks runs where this script does.
export MASTER_ADDR=$(hostname)
srun {command}
"""


class Slurm:
    """Hands a generated script to ``sbatch``, and asks ``squeue`` by the name of the job."""

    seconds = 10.0
    """Between two looks at a job."""

    def start(self, folder: JobFolder, spec: JobSpec) -> None:
        """Queue a job.

        Raises
        ------
        InputError
            There is no Slurm here, or it refuses the job.
        """
        script = write_text(script_of(folder, spec), folder.path / "job.sh")
        _ask("sbatch", str(script))

    def look(self, folder: JobFolder, spec: JobSpec, state: JobState) -> JobState:
        """Correct the state of a job by what the queue says."""
        if state.ended:
            return state
        known = _ask("squeue", "--noheader", f"--name={spec.queue_name}", "--format=%T %r")
        condition, _, why = known.partition("\n")[0].strip().partition(" ")
        if state.condition == "queued":
            if not condition:
                again = folder.state()
                return again if again.condition != "queued" else JobState("failed", LOST)
            return JobState("queued", f"Slurm: {why}." if condition == "PENDING" else "")
        return state

    def cancel(self, folder: JobFolder, spec: JobSpec) -> None:
        """Take a job out of the queue; one that runs sees the file."""
        _ask("scancel", f"--user={getuser()}", "--state=PENDING", f"--name={spec.queue_name}")

    def fetch(self, folder: JobFolder, spec: JobSpec) -> None:
        """Nothing to do: the result is here."""


LOST = "Slurm no longer knows the job, and it never began: see log.txt in its folder."


def script_of(folder: JobFolder, spec: JobSpec) -> str:
    """Return the script for ``sbatch``."""
    asked = {"nodes": "1"} | dict(spec.where.queue)
    options = [f"#SBATCH --{name}={value}" for name, value in sorted(asked.items())]
    return SCRIPT.format(
        name=spec.queue_name,
        ranks=spec.where.ranks,
        log=_pattern(folder.log.resolve()),
        options="\n".join([*options, ""]),
        command=shlex.join(command(folder)),
    )


def _pattern(path: object) -> str:
    """A path as sbatch takes it: in quotes, with its signs for numbers of jobs escaped."""
    text = str(path).replace("\\", "\\\\").replace("%", "%%").replace('"', '\\"')
    return f'"{text}"'


def _ask(program: str, *arguments: str) -> str:
    if shutil.which(program) is None:
        raise InputError(
            f"There is no {program} on this machine: run this where Slurm is, or choose another "
            "place with --on."
        )
    done = subprocess.run(
        [program, *arguments], capture_output=True, text=True, timeout=120, check=False
    )
    if done.returncode:
        said = next(iter(done.stderr.strip().splitlines()), f"exit code {done.returncode}")
        raise InputError(f"Slurm refused ({said}): ask for what its partitions offer.")
    return done.stdout
