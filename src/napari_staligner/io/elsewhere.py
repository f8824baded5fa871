"""A result that took long to compute, written wherever it can be."""

from __future__ import annotations

import logging
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from napari_staligner._errors import InputError
from napari_staligner.core.attempt import reason
from napari_staligner.io import user_folder
from napari_staligner.io.h5ad import write_result

if TYPE_CHECKING:
    from anndata import AnnData

_log = logging.getLogger(__name__)


def write_somewhere(adata: AnnData, path: Path) -> tuple[Path, str]:
    """Write integrated slices, in another place if the wanted one fails.

    Parameters
    ----------
    adata
        Integrated slices.
    path
        Where to write them.

    Returns
    -------
    path
        Where they are: as wanted, next to it under a name with a number, in the user's folder, or
        in the folder of temporary files.
    problem
        A sentence if that is not the wanted place; else empty.

    Raises
    ------
    InputError
        They cannot be written anywhere.
    """
    problem = ""
    for place in _places(path):
        try:
            place.parent.mkdir(parents=True, exist_ok=True)
            written = write_result(adata, place)
        except Exception as error:
            _log.exception("%s could not be written", place)
            problem = problem or reason(error)
            continue
        if place == path:
            return written, ""
        return written, (
            f"The result had to be written to {str(written)!r} ({problem}): move it to where you "
            "want it."
        )
    raise InputError(f"The result could not be written anywhere ({problem}): free some space.")


def _places(path: Path) -> Iterator[Path]:
    yield path
    for folder in (path.parent, user_folder.user_folder(), Path(tempfile.gettempdir())):
        place, number = folder / path.name, 2
        while place == path or place.exists():
            place, number = folder / f"{path.stem} ({number}){path.suffix}", number + 1
        yield place
