"""Files that are first written next to their target, and then moved into place."""

from __future__ import annotations

import os
import shutil
import socket
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from glob import escape
from pathlib import Path

from psutil import pid_exists

from napari_staligner._errors import InputError
from napari_staligner.core.outside import REMEDIES, system_error

_LONGEST = 100
"""Letters of a name that its draft's folder begins with; 255 bytes is the most of a name."""
_BEFORE = "before"
_HOST = "".join(sign for sign in socket.gethostname() if sign.isalnum())[:20]
"""Drafts in a shared folder may be of another machine."""


def check_target(path: str | os.PathLike[str]) -> Path:
    """Check before long work that a file can be written.

    Raises
    ------
    InputError
        The folder is missing or read-only, or the target is a folder or a read-only file.
    """
    path = Path(path)
    if not path.parent.is_dir():
        raise InputError(f"The folder {str(path.parent)!r} does not exist: make it first.")
    if path.is_dir():
        raise InputError(f"{str(path)!r} is a folder: give the name of a file.")
    try:
        # A real attempt: permission bits say little for root and on network drives.
        handle, probe = tempfile.mkstemp(prefix=".staligner-", dir=path.parent)
    except OSError as error:
        raise not_written(path.parent, error, " to") from error
    os.close(handle)
    Path(probe).unlink()
    if path.exists() and not path.stat().st_mode & 0o200:
        raise InputError(f"{str(path)!r} is read-only: choose another name.")
    return path


@contextmanager
def written_beside(path: Path) -> Iterator[Path]:
    """Give a place next to the target; what is written there replaces the target at the end.

    Parameters
    ----------
    path
        A file, or a folder (a zarr store). An existing one stays until all is written.

    Raises
    ------
    InputError
        The target cannot be written.
    """
    try:
        _drop_abandoned(path)
        folder = Path(tempfile.mkdtemp(prefix=_prefix(path), dir=path.parent))
    except OSError as error:
        raise not_written(path, error) from error
    draft = folder / path.name
    try:
        yield draft
        _move_into_place(draft, path, folder / _BEFORE)
    except InputError:
        raise
    except Exception as error:
        # HDF5 and zarr tell of a full disk by errors of their own.
        if isinstance(error, OSError) or system_error(error) is not None:
            raise not_written(path, error) from error
        raise
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _move_into_place(draft: Path, path: Path, before: Path) -> None:
    if not path.is_dir():
        os.replace(draft, path)
        return
    path.rename(before)
    try:
        os.replace(draft, path)
    except OSError:
        before.rename(path)
        raise


def _prefix(path: Path) -> str:
    """Beginning of the names of folders for drafts of a path, by this process."""
    return f".{path.stem[:_LONGEST]}-{_HOST}-{os.getpid()}-"


def _drop_abandoned(path: Path) -> None:
    """Remove drafts of processes that were killed: they are as large as the file itself."""
    for draft in _abandoned(path.parent, escape(path.stem[:_LONGEST])):
        if (draft / _BEFORE).exists() and not path.exists():
            (draft / _BEFORE).rename(path)
        shutil.rmtree(draft, ignore_errors=True)


def drop_abandoned(folder: Path, start: str = "") -> None:
    """Remove the drafts of files whose names are used only once: no next write would.

    Parameters
    ----------
    folder
        It may not exist.
    start
        What the names of these files begin with.
    """
    for draft in _abandoned(folder, f"{escape(start[:_LONGEST])}*"):
        shutil.rmtree(draft, ignore_errors=True)


def _abandoned(folder: Path, stem: str) -> Iterator[Path]:
    """Drafts of processes of this machine that have ended."""
    for draft in folder.glob(f".{stem}-{_HOST}-*-*"):
        pid = draft.name.split("-")[-2]
        if pid.isdecimal() and not pid_exists(int(pid)):
            yield draft


def write_text(text: str, path: str | os.PathLike[str]) -> Path:
    """Write a text file in UTF-8; an existing one is replaced only when all is written.

    Raises
    ------
    InputError
        The target cannot be written.
    """
    path = check_target(path)
    with written_beside(path) as draft:
        draft.write_text(text, encoding="utf-8")
    return path


def write_bytes(content: bytes, path: str | os.PathLike[str]) -> Path:
    """Write a file, as a picture; an existing one is replaced only when all is written.

    Raises
    ------
    InputError
        The target cannot be written.
    """
    path = check_target(path)
    with written_beside(path) as draft:
        draft.write_bytes(content)
    return path


def not_written(path: Path, error: BaseException, to: str = "") -> InputError:
    """Return the sentence on a path that cannot be written.

    Parameters
    ----------
    path
        The file, or the folder.
    error
        Of the system, or of a library that passes it on.
    to
        ``" to"`` for a folder.
    """
    number = system_error(error)
    why = str(error).rstrip(".") if number is None else os.strerror(number)
    remedy = REMEDIES.get(number or 0, "choose another place")
    return InputError(f"{str(path)!r} cannot be written{to} ({why}): {remedy}.")
