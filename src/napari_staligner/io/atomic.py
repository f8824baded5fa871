"""Files that are first written next to their target, and then moved into place."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from napari_staligner._errors import InputError


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
        raise InputError(
            f"{str(path.parent)!r} cannot be written to ({error.strerror}): choose another place."
        ) from error
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
        folder = Path(tempfile.mkdtemp(prefix=f".{path.stem}-", dir=path.parent))
    except OSError as error:
        raise _unwritable(path, error) from error
    draft = folder / path.name
    try:
        yield draft
        if path.is_dir():
            path.rename(folder / "before")
        os.replace(draft, path)
    except OSError as error:
        raise _unwritable(path, error) from error
    finally:
        shutil.rmtree(folder, ignore_errors=True)


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


def _unwritable(path: Path, error: OSError) -> InputError:
    return InputError(
        f"{str(path)!r} cannot be written ({error.strerror or error}): choose another place."
    )
