"""A result that took long to compute, written wherever it can be."""

from __future__ import annotations

import logging
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from napari_staligner._errors import InputError
from napari_staligner.core.attempt import EXPRESSION, reason
from napari_staligner.core.prepare.on_disk import named_layers, on_disk, with_slots
from napari_staligner.core.result.access import writable_record
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
        A sentence if that is not the wanted place, or if counts are missing because their own file
        cannot be read any more; else empty.

    Raises
    ------
    InputError
        They cannot be written anywhere.
    """
    try:
        return _written(adata, path)
    except InputError as error:
        matrices = {"X": adata.X, **named_layers(adata)}
        if not any(map(on_disk, matrices.values())):
            raise
        # The counts come from files of the user's, which may be gone after a long training.
        lost = EXPRESSION.sentence(error)
    lean = with_slots(
        adata,
        X=None if on_disk(adata.X) else adata.X,
        layers={key: each for key, each in named_layers(adata).items() if not on_disk(each)},
    )
    kept = writable_record(lean)
    kept["notes"] = np.array([*map(str, kept.get("notes", ())), lost], dtype=object)
    written, problem = _written(lean, path)
    return written, f"{lost} {problem}".rstrip()


def _written(adata: AnnData, path: Path) -> tuple[Path, str]:
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
