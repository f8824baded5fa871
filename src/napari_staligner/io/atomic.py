"""Files that are written beside their target first, and then moved into place."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from napari_staligner._errors import InputError


@contextmanager
def written_beside(path: Path) -> Iterator[Path]:
    """Give a place beside the target; what is written there replaces the target at the end.

    Parameters
    ----------
    path
        A file, or a folder (a zarr store). Whatever is there stays until all is written.

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


def _unwritable(path: Path, error: OSError) -> InputError:
    return InputError(
        f"{str(path)!r} cannot be written ({error.strerror or error}): choose another place."
    )
