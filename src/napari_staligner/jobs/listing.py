"""Which jobs there are: a list of folders, which outlives napari."""

from __future__ import annotations

import json
from pathlib import Path

from napari_staligner._errors import InputError
from napari_staligner.core.json_text import json_of
from napari_staligner.io import user_folder
from napari_staligner.io.atomic import write_text
from napari_staligner.jobs.folder import JobFolder


def new_job_folder(id: str) -> JobFolder:
    """Return the folder of a job that is given no other place."""
    return JobFolder(user_folder.user_folder() / "jobs" / id)


def known_jobs() -> list[JobFolder]:
    """Return the jobs that were started or opened here and are still there, the newest first."""
    return [JobFolder(path) for path in _listed() if (path / "job.json").is_file()]


def remember_job(folder: JobFolder) -> None:
    """Put a job first in the list."""
    path = folder.path.resolve()
    _write([path, *(other for other in _listed() if other != path)])


def forget_job(folder: JobFolder) -> None:
    """Take a job off the list; its folder stays."""
    path = folder.path.resolve()
    _write([other for other in _listed() if other != path])


def job_of(text: str) -> JobFolder:
    """Return the job with a folder, or with an id or the beginning of one.

    Raises
    ------
    InputError
        There is none.
    """
    if (Path(text) / "job.json").is_file():
        return JobFolder(Path(text))
    found = [each for each in known_jobs() if text and _id_of(each).startswith(text)]
    if len(found) == 1:
        return found[0]
    few = "several jobs" if found else "no job"
    raise InputError(
        f"There is {few} {text!r}: give the folder, or an id that 'napari-staligner job list' "
        "shows."
    )


def _id_of(folder: JobFolder) -> str:
    """The id of a job; empty if its folder is damaged, which must not hide the others."""
    try:
        return folder.spec().id
    except InputError:
        return ""


def _listed() -> list[Path]:
    try:
        return [Path(each) for each in json_of(_file().read_text(encoding="utf-8"))]
    except (OSError, ValueError, TypeError):
        return []


def _write(paths: list[Path]) -> None:
    _file().parent.mkdir(parents=True, exist_ok=True)
    write_text(json.dumps([str(path) for path in paths], indent=0), _file())


def _file() -> Path:
    return user_folder.user_folder() / "jobs.json"
