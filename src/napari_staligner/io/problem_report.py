"""A file about an unexpected error, to attach to a report: no data, no values of variables."""

from __future__ import annotations

import platform
import traceback
from collections.abc import Iterator
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from napari_staligner._errors import InputError
from napari_staligner.core.result.provenance import PACKAGES
from napari_staligner.io import user_folder
from napari_staligner.io.atomic import write_text

MOST_KEPT = 10
_WINDOW = ("napari", "PyQt6", "PyQt5", "PySide6", "vispy")


def problems_folder() -> Path:
    """Folder of these files; it may not exist yet."""
    return user_folder.user_folder() / "problems"


def keep_problem(error: BaseException, doing: str) -> str:
    """Write a file about an unexpected error.

    Parameters
    ----------
    error
        The error.
    doing
        What failed: a command, or the title of a computation.

    Returns
    -------
    A sentence that names the file; empty if it cannot be written. The ten newest files are kept.
    """
    now = datetime.now(UTC)
    path = problems_folder() / f"problem-{now:%Y%m%d-%H%M%S-%f}.txt"
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        write_text(problem_text(error, doing, now), path)
        for old in sorted(path.parent.glob("problem-*.txt"))[:-MOST_KEPT]:
            old.unlink(missing_ok=True)
    except (OSError, InputError):
        return ""  # the error itself is said all the same
    return f"What to attach to a report is in {str(path)!r}; it holds none of your data."


def problem_text(error: BaseException, doing: str, when: datetime) -> str:
    """Return the text: versions, what failed, and the traceback; the home folder is ``~``.

    Parameters
    ----------
    error, doing
        As for :func:`keep_problem`.
    when
        The time, UTC.
    """
    raised = "".join(traceback.format_exception(error))
    lines = [
        "A problem of napari-staligner. It holds no data; read it before you send it.",
        "",
        f"when: {when.isoformat(timespec='seconds')}",
        f"doing: {doing}",
        f"machine: {platform.system()} {platform.release()} {platform.machine()}",
        f"python: {platform.python_version()}",
        *_versions(),
        "",
        raised,
    ]
    return "\n".join(lines).replace(str(Path.home()), "~")


def _versions() -> Iterator[str]:
    for name in ("napari-staligner", *PACKAGES, *_WINDOW):
        try:
            yield f"{name}: {version(name)}"
        except PackageNotFoundError:
            continue
