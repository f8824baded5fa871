"""Slices as the command line names them, and the files that they come from."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Mapping
from pathlib import Path

from napari_staligner._errors import InputError
from napari_staligner.core.result.provenance import SAMPLE
from napari_staligner.core.result.source import Source
from napari_staligner.io.formats.sniff import sniff


def parse_source(text: str) -> Source:
    """Read ``FILE``, ``FILE[SLICE]``, ``FILE[COLUMN=VALUE]`` or ``sample:SLICE``.

    Returns
    -------
    The source, without a checksum; :meth:`Source.spec` is the way back. A file whose name looks
    like one with brackets is taken as it is.

    Raises
    ------
    InputError
        The brackets name two slices, or choose one thing twice.
    """
    return Source(text) if os.path.lexists(text) else Source.from_spec(text)


def file_source(path: Path) -> Source:
    """Return a file as a source: its absolute path, and what it holds now."""
    return Source(str(path.resolve()), checksum(path))


def checksum(path: Path, choices: Mapping[str, str] | None = None) -> str:
    """Return the SHA-256, in hexadecimal, of what is read at a path.

    Parameters
    ----------
    path
        A file; a folder, where all names and files count; or a sample of several files, where
        only those count that are read with the given choices.
    choices
        What was chosen of its format.

    Raises
    ------
    InputError
        A folder holds no known format.
    """
    if path.is_file() and path.suffix == ".h5ad":
        return _of_file(path)
    found = sniff(path)
    files = found.read_files(found.chosen(choices or {}))
    if set(files) == {"file"}:
        return _of_folder(found.path) if found.path.is_dir() else _of_file(found.path)
    whole = hashlib.sha256()
    for role, file in sorted(files.items()):
        whole.update(f"{role} {_of_file(file)}\n".encode())
    return whole.hexdigest()


def _of_folder(path: Path) -> str:
    whole = hashlib.sha256()
    for part in sorted(part for part in path.rglob("*") if part.is_file()):
        whole.update(f"{part.relative_to(path).as_posix()} {_of_file(part)}\n".encode())
    return whole.hexdigest()


def _of_file(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def check_unchanged(name: str, source: Source) -> None:
    """Check that a slice's file is still there and has not changed.

    Raises
    ------
    InputError
        The file is gone, or its checksum has changed.
    """
    if source.path.startswith(SAMPLE):
        return
    path = Path(source.path)
    if not path.exists():
        raise InputError(
            f"The file of slice {name!r} is gone ({source.path!r}): put it back, or add the slice "
            "from where it is now."
        )
    if source.sha256 and checksum(path, source.choices) != source.sha256:
        raise InputError(
            f"The file of slice {name!r} has changed since ({source.path!r}): it is another slice "
            "now; add it if that is what you want."
        )
