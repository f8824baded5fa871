"""Jobs on another machine, by the user's own ``ssh`` and ``sftp``; no secret is stored.

The job's folder is copied to ``~/.napari-staligner/jobs/ID`` there, with its slices. What grows
there is copied back at each look, and the result when it is fetched.
"""

from __future__ import annotations

import io
import os
import shlex
import subprocess
import tarfile
import tempfile
from dataclasses import replace
from pathlib import Path
from time import time

from napari_staligner._errors import InputError
from napari_staligner.core.result.provenance import SAMPLE
from napari_staligner.core.result.source import Source
from napari_staligner.io.atomic import written_beside
from napari_staligner.jobs.folder import SESSION_FILE, JobFolder, JobSpec, JobState, Where
from napari_staligner.jobs.watch import LATE_SECONDS, NEVER_BEGAN, seen_state

PROGRAM = "NAPARI_STALIGNER_THERE"
"""Variable with the path of napari-staligner there. Not in the job: a folder names no program."""
QUIET = ("-o", "BatchMode=yes", "-o", "ConnectTimeout=15")


class Ssh:
    """Sends a job, starts it there, and copies back what it says."""

    seconds = 15.0
    """Between two looks at a job."""

    def start(self, folder: JobFolder, spec: JobSpec) -> None:
        """Send a job, unless it is there already, and start it.

        Raises
        ------
        InputError
            The machine does not answer, or has no napari-staligner.
        """
        there, program = _there(spec), shlex.quote(os.environ.get(PROGRAM, "napari-staligner"))
        _ask(spec, f"command -v {program} >/dev/null && mkdir -p {there}/slices")
        _ask(spec, f"rm -f {there}/cancel {there}/state.json")
        if _ask(spec, f"cd {there} && if [ -f job.json ]; then echo sent; fi").strip() != b"sent":
            _send(folder, spec)
        run = f"{{ nohup {program} job run . >>log.txt 2>&1 </dev/null & }}"
        _ask(spec, f"cd {there} && touch progress.jsonl && {run}")

    def look(self, folder: JobFolder, spec: JobSpec, state: JobState) -> JobState:
        """Copy back what the job says, and correct its state by that."""
        if folder.state().ended:
            return state
        _copy_back(folder, spec)
        state = seen_state(folder)
        if state.condition == "queued" and folder.age > LATE_SECONDS:
            return JobState("failed", NEVER_BEGAN)
        return state

    def cancel(self, folder: JobFolder, spec: JobSpec) -> None:
        """Write the wish there, too."""
        _ask(spec, f"touch {_there(spec)}/cancel")

    def fetch(self, folder: JobFolder, spec: JobSpec) -> None:
        """Copy the result here, if there is one."""
        if folder.out.exists():
            return
        if _ask(spec, f"ls {_there(spec)}").split().count(b"out.h5ad"):
            with written_beside(folder.out) as draft:
                _transfer(spec, [f"get {_quoted(f'{_there(spec)}/out.h5ad')} {_quoted(draft)}"])


def _there(spec: JobSpec) -> str:
    """The folder there, below the user's own; an id is hexadecimal digits."""
    return f".napari-staligner/jobs/{spec.id}"


def _send(folder: JobFolder, spec: JobSpec) -> None:
    """Send the slices, and last of all ``job.json``, which says that all is there."""
    there = _there(spec)
    lines, slices = [], []
    for number, text in enumerate(spec.slices, 1):
        source = Source.from_spec(text)
        if source.path.startswith(SAMPLE):
            slices.append(text)
        elif text == SESSION_FILE:
            lines.append(f"put {_quoted(folder.path / text)} {_quoted(f'{there}/{text}')}")
            slices.append(text)
        else:
            path = Path(source.path)
            place = f"slices/{number}"
            lines += [f"-mkdir {there}/{place}"]
            lines += [f"put -r {_quoted(path)} {_quoted(f'{there}/{place}/{path.name}')}"]
            slices.append(replace(source, path=f"{place}/{path.name}").spec())
    if spec.exclude is not None:
        lines.append(
            f"put {_quoted(folder.path / spec.regions)} {_quoted(f'{there}/{spec.regions}')}"
        )
    with tempfile.TemporaryDirectory() as name:
        sent = JobFolder(Path(name))
        sent.write_spec(replace(spec, slices=tuple(slices), where=Where(ranks=spec.where.ranks)))
        lines.append(f"put {_quoted(sent.path / 'job.json')} {_quoted(f'{there}/job.json')}")
        _transfer(spec, lines)


def _copy_back(folder: JobFolder, spec: JobSpec) -> None:
    """Copy what grows there, with its age, whatever the clock there says."""
    names = ("state.json", "progress.jsonl", "log.txt")
    found = " ".join(f"$(ls {name} 2>/dev/null)" for name in names)
    packed = _ask(spec, f"cd {_there(spec)} && date +%s >now && tar cf - now {found}; [ $? -le 1 ]")
    with tarfile.open(fileobj=io.BytesIO(packed)) as archive:
        members = {each.name: each for each in archive if each.isfile()}
        read = {name: archive.extractfile(each) for name, each in members.items()}
        content = {name: file.read() for name, file in read.items() if file is not None}
    ahead = float(content.pop("now", b"0") or 0) - time()
    for name in names:
        if name in content:
            with written_beside(folder.path / name) as draft:
                draft.write_bytes(content[name])
                when = members[name].mtime - ahead
                os.utime(draft, (when, when))


def _quoted(path: object) -> str:
    """A path for sftp, which takes a sign after a backslash as it is.

    Raises
    ------
    InputError
        The path has an end of line, after which sftp would read another command.
    """
    text = str(path)
    if not text.isprintable():
        raise InputError(f"{text!r} has signs in its name that cannot be sent: rename it.")
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'


def _ask(spec: JobSpec, command: str) -> bytes:
    """Run a command of ours there, and return what it prints."""
    return _done(spec, ["ssh", *QUIET, spec.where.address, command], b"")


def _transfer(spec: JobSpec, lines: list[str]) -> None:
    _done(spec, ["sftp", *QUIET, "-b", "-", spec.where.address], "\n".join([*lines, ""]).encode())


def _done(spec: JobSpec, command: list[str], told: bytes) -> bytes:
    host = spec.where.address
    try:
        done = subprocess.run(command, input=told, capture_output=True, check=False)
    except FileNotFoundError as error:
        raise InputError(f"There is no {command[0]} on this machine: install OpenSSH.") from error
    if done.returncode:
        said = done.stderr.decode(errors="replace").strip().splitlines()
        why = said[-1] if said else "napari-staligner is not found there"
        raise InputError(
            f"{host!r} cannot compute the job ({why}): it must let your ssh in without a password, "
            f"and have napari-staligner on its PATH, or where ${PROGRAM} says."
        )
    return done.stdout
