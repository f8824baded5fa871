"""The folder of a job: what is to be computed, how far it is, and what came out.

::

    JOB/  job.json        slices, settings, where it runs, versions; written first
          state.json      queued, running, done, cancelled or failed, with a sentence
          progress.jsonl  a line for each step; how old it is tells whether the job is alive
          cancel          the wish that it ends; its being there is enough
          checkpoint/     from where it goes on after a stop
          out.h5ad        the result
          log.txt         what its process printed

All of it is text and numbers. Nothing in it is run: a folder that came from somebody else can give
a wrong result, but not a command.
"""

from __future__ import annotations

import json
import logging
import os
import re
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field
from functools import cache
from math import isfinite
from pathlib import Path
from time import time
from typing import TYPE_CHECKING, Any, Literal

from napari_staligner._errors import InputError
from napari_staligner.core.json_text import json_of
from napari_staligner.core.progress import Progress
from napari_staligner.core.settings import Settings
from napari_staligner.io.atomic import write_text

if TYPE_CHECKING:
    from pydantic import TypeAdapter

SESSION_FILE = "slices.h5ad"
"""The slices of a session, in the folder of its job."""

_log = logging.getLogger(__name__)

On = Literal["local", "slurm", "dask", "ssh"]
Condition = Literal["queued", "running", "done", "cancelled", "failed"]

ENDED: tuple[Condition, ...] = ("done", "cancelled", "failed")
HELD = "It is made, but not started: start 'napari-staligner job run' with its folder."
GO_ON = "press Resume in the Jobs dock, or run 'napari-staligner job resume'"
PLAIN_WORD = re.compile(r"[A-Za-z0-9][\w.:@+,/-]*")
"""A word that no program takes for an option, and no shell for more than a word."""
QUEUE_OPTIONS = tuple("account constraint cpus-per-task gpus mem nodes partition qos time".split())
"""What a job may ask of Slurm."""


@dataclass(frozen=True)
class Where:
    """Where a job runs.

    Parameters
    ----------
    on
        ``"local"`` is this machine; ``"slurm"`` and ``"dask"`` see the same files as it does;
        ``"ssh"`` gets them sent.
    address
        The host of ``"ssh"``, or the scheduler of ``"dask"``, as ``tcp://host:8786``.
    ranks
        How many processes compute together; a GPU for each where there are any.
    queue
        Options of Slurm by name, see :data:`QUEUE_OPTIONS`.
    """

    on: On = "local"
    address: str = ""
    ranks: int = 1
    queue: Mapping[str, str] = field(default_factory=dict)

    @classmethod
    def from_text(cls, text: str, queue: Mapping[str, str] | None = None, ranks: int = 1) -> Where:
        """Read ``local``, ``slurm``, ``dask:ADDRESS`` or ``ssh:HOST``.

        Raises
        ------
        InputError
            It is none of these.
        """
        on, _, address = text.partition(":")
        if on not in ("local", "slurm", "dask", "ssh") or (bool(address) != (on in _ADDRESSED)):
            raise InputError(
                f"A job cannot run on {text!r}: choose local, slurm, dask:ADDRESS or ssh:HOST."
            )
        return cls(on, address, ranks, dict(queue or {}))  # type: ignore[arg-type]

    def __post_init__(self) -> None:
        for value in filter(None, (self.address, *self.queue.values())):
            if not PLAIN_WORD.fullmatch(value):
                raise InputError(f"{value!r} is no name of a host or a value for a queue.")
        if self.ranks < 1:
            raise InputError(f"A job has no {self.ranks} ranks: give 1 or more.")
        if self.queue and self.on != "slurm":
            raise InputError(f"{self.on!r} is no queue: ask for {', '.join(self.queue)} of slurm.")
        unknown = [name for name in self.queue if name not in QUEUE_OPTIONS]
        if unknown:
            raise InputError(
                f"Slurm is not asked for {unknown[0]!r}: choose {', '.join(QUEUE_OPTIONS)}."
            )

    def __str__(self) -> str:
        return f"{self.on}:{self.address}" if self.address else self.on


_ADDRESSED = ("dask", "ssh")


@dataclass(frozen=True)
class JobSpec:
    """What a job computes; ``job.json``.

    Parameters
    ----------
    id
        Twelve hexadecimal digits, by which a queue knows it.
    made
        When it was made: UTC, ISO 8601.
    title
        A few words for people.
    slices
        Slices as the shell takes them, or one file of a session. Paths are absolute, or relative
        to the folder.
    settings
        Of the integration.
    where
        Where it runs.
    slice_key
        Column of ``obs`` that names the slices of a file.
    command
        The line of the shell that gives the same result, for people to read; it is never run.
    versions
        Of the packages that the result depends on, where the job was made.
    exclude
        File of the regions to leave out, where the job was made; a copy is in the folder.
    """

    id: str
    made: str
    title: str
    slices: tuple[str, ...]
    settings: Settings
    where: Where = field(default_factory=Where)
    slice_key: str | None = None
    command: str = ""
    versions: Mapping[str, str] = field(default_factory=dict)
    exclude: str | None = None

    def __post_init__(self) -> None:
        if not re.fullmatch(r"[0-9a-f]{12}", self.id):
            raise InputError(f"{self.id!r} is no number of a job.")

    @property
    def regions(self) -> str:
        """Name of the copy of the regions to leave out."""
        return f"exclude{Path(self.exclude or '').suffix}"

    @property
    def queue_name(self) -> str:
        """What a queue calls it."""
        return f"staligner-{self.id}"


@dataclass(frozen=True)
class JobState:
    """How a job is; ``state.json``.

    Parameters
    ----------
    condition
        One of five.
    sentence
        Why it failed, or where the result had to be written.
    host, pid, started
        The process that computes; ``started`` is its start in seconds since 1970.
    """

    condition: Condition
    sentence: str = ""
    host: str = ""
    pid: int = 0
    started: float = 0.0

    @property
    def ended(self) -> bool:
        """Whether nothing more comes."""
        return self.condition in ENDED


@dataclass(frozen=True)
class JobFolder:
    """One job; every attribute is a path within its folder."""

    path: Path

    @property
    def out(self) -> Path:
        """The result."""
        return self.path / "out.h5ad"

    @property
    def log(self) -> Path:
        """What its process printed."""
        return self.path / "log.txt"

    @property
    def checkpoint(self) -> Path:
        """From where it goes on."""
        return self.path / "checkpoint" / "training.npz"

    @property
    def progress(self) -> Path:
        """A line for each step."""
        return self.path / "progress.jsonl"

    @property
    def cancel(self) -> Path:
        """The wish that it ends."""
        return self.path / "cancel"

    def write_spec(self, spec: JobSpec) -> None:
        """Write ``job.json``, the first file of a job."""
        self.path.mkdir(parents=True, exist_ok=True)
        text = _adapter(JobSpec).dump_json(spec, indent=2).decode()
        write_text(text + "\n", self.path / "job.json")
        self.progress.touch()

    def spec(self) -> JobSpec:
        """Read ``job.json``.

        Raises
        ------
        InputError
            The folder is no job's, or another version wrote it.
        """
        found: JobSpec = self._read("job.json", JobSpec)
        return found

    def write_state(self, state: JobState) -> None:
        """Write ``state.json``; what was there is replaced when all is written."""
        write_text(_adapter(JobState).dump_json(state).decode() + "\n", self.path / "state.json")

    def state(self) -> JobState:
        """Read ``state.json``, which may be of a process that is no more; see ``jobs.watch``."""
        if not (self.path / "state.json").exists():
            return JobState("queued", HELD)
        found: JobState = self._read("state.json", JobState)
        return found

    @property
    def age(self) -> float:
        """Seconds since the last sign of life."""
        try:
            return time() - self.progress.stat().st_mtime
        except OSError:
            return float("inf")

    def beat(self) -> None:
        """Give a sign of life."""
        self.progress.touch()

    def tell(self, step: Progress) -> None:
        """Append a step to ``progress.jsonl``; a full disk does not end a training."""
        said = {name: value for name, value in asdict(step).items() if value is not None}
        try:
            with self.progress.open("a", encoding="utf-8") as file:
                file.write(json.dumps({"time": round(time(), 3)} | said) + "\n")
        except OSError:
            _log.exception("A step could not be told")

    def _read(self, name: str, kind: type) -> Any:
        try:
            return _adapter(kind).validate_json((self.path / name).read_bytes())
        except OSError as error:
            raise InputError(
                f"{str(self.path)!r} holds no job ({name}: {error.strerror}): give the folder that "
                "'napari-staligner job start' made."
            ) from error
        except ValueError as error:
            raise InputError(
                f"{name} of the job {str(self.path)!r} cannot be read; another version of "
                "napari-staligner may have written it: start the job again."
            ) from error


class Tail:
    """Reads ``progress.jsonl`` as it grows.

    Parameters
    ----------
    folder
        Of the job.
    """

    def __init__(self, folder: JobFolder) -> None:
        self._path, self._at = folder.progress, 0

    def new(self) -> list[tuple[float, Progress]]:
        """Return the steps since the last call, each with its time in seconds since 1970."""
        try:
            with self._path.open("rb") as file:
                if file.seek(0, os.SEEK_END) < self._at:  # another file by now
                    self._at = 0
                file.seek(self._at)
                whole, _, _ = file.read().rpartition(b"\n")
        except OSError:
            return []
        self._at += len(whole) + bool(whole)
        return list(_steps(whole))


def _steps(lines: bytes) -> Iterator[tuple[float, Progress]]:
    for line in lines.splitlines():
        try:
            said = json_of(line)
            when = float(said.pop("time"))
            # Checked: a text where a number belongs would fail those who count with it.
            step: Progress = _adapter(Progress).validate_python(said)
        except (ValueError, TypeError, KeyError, AttributeError):
            continue  # a machine that went down may leave half a line
        if isfinite(when) and step.done >= 0:
            yield when, step


@cache
def _adapter(kind: type) -> TypeAdapter[Any]:
    from pydantic import TypeAdapter

    return TypeAdapter(kind)
