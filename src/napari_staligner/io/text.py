"""Text files, written beside the target and moved into place."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

from napari_staligner._errors import InputError
from napari_staligner.io.h5ad import check_target


def write_text(text: str, path: str | os.PathLike[str]) -> Path:
    """Write a text file in UTF-8; one that is there is replaced only when all is written.

    Raises
    ------
    InputError
        The target cannot be written.
    """
    path = check_target(path)
    handle, draft = tempfile.mkstemp(suffix=path.suffix, prefix=f".{path.stem}-", dir=path.parent)
    try:
        with os.fdopen(handle, "w", encoding="utf-8") as file:
            file.write(text)
        mask = os.umask(0)
        os.umask(mask)
        os.chmod(draft, 0o666 & ~mask)
        os.replace(draft, path)
    except OSError as error:
        raise InputError(
            f"{str(path)!r} cannot be written ({error.strerror or error}): choose another place."
        ) from error
    finally:
        Path(draft).unlink(missing_ok=True)
    return path
