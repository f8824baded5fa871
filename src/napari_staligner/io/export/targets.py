"""The programs and formats that a result can be exported to."""

from __future__ import annotations

import json
import os
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from importlib import import_module
from importlib.metadata import version
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from napari_staligner._errors import InputError
from napari_staligner.core.progress import Progress
from napari_staligner.io.atomic import not_written, written_beside

if TYPE_CHECKING:
    from anndata import AnnData

    from napari_staligner.core.progress import Steps

MARK = "export.json"
"""File that marks a folder as exported from here."""


@dataclass(frozen=True)
class Target:
    """A program or a format that a result can be exported to.

    Parameters
    ----------
    title
        Its usual name.
    tip
        What is written, in a few words.
    suffix
        End of the file name; empty for a folder.
    module, function
        What writes it: ``function(adata, draft)`` yields its progress, and returns what was
        written, in a few words.
    """

    title: str
    tip: str
    suffix: str
    module: str
    function: str

    @property
    def is_folder(self) -> bool:
        """Whether it is a folder."""
        return self.suffix in ("", ".zarr")


TARGETS: Mapping[str, Target] = MappingProxyType(
    {
        "spatialdata": Target(
            "SpatialData",
            "one .zarr: spots, images, regions and a table of each slice",
            ".zarr",
            "io.export.spatialdata",
            "store_steps",
        ),
        "tissuumaps": Target(
            "TissUUmaps",
            "one .h5ad that TissUUmaps opens, slices side by side",
            ".h5ad",
            "io.export.tissuumaps",
            "tissuumaps_steps",
        ),
        "vitessce": Target(
            "Vitessce",
            "a folder whose index.html shows tissue, embedding and domains in any browser",
            "",
            "io.export.vitessce",
            "vitessce_steps",
        ),
        "images": Target(
            "Aligned images",
            "a folder: the tissue image of each slice in the common frame, a pyramid of OME-TIFF",
            "",
            "io.export.images",
            "image_steps",
        ),
        "deformation": Target(
            "Deformation",
            "a folder: how each slice is moved and bent, and back, as .csv and as OME-NGFF",
            "",
            "io.export.deformation",
            "deformation_steps",
        ),
        "slices": Target(
            "Slices",
            "a folder: each slice as its own .h5ad, with the columns added",
            "",
            "io.export.slices",
            "slice_steps",
        ),
        "csv": Target(
            "CSV",
            "a folder: a table of the spots of each slice, and its counts as matrix.mtx",
            "",
            "io.export.tables",
            "table_steps",
        ),
    }
)
"""The targets by their names on the command line."""


def export_steps(
    adata: AnnData, to: str, path: Path, *, overwrite: bool = False, **options: Any
) -> Steps[str]:
    """Export integrated slices.

    Parameters
    ----------
    adata
        Integrated slices; they are not changed.
    to
        A key of :data:`TARGETS`.
    path
        File or folder to write; it is first written next to it, then moved into place.
    overwrite
        Whether an existing file, or a folder that was exported before, may be replaced.
    options
        Of the target's function.

    Returns
    -------
    What was written, in a few words. The ``note`` of a step says what was left out or guessed.

    Raises
    ------
    InputError
        The target cannot be written, or is there already.
    """
    target = check_export(to, path, overwrite=overwrite)
    steps = getattr(import_module(f"napari_staligner.{target.module}"), target.function)
    yield Progress(f"exporting to {target.title}", 0, 1)
    with written_beside(path) as draft:
        if not target.suffix:
            draft.mkdir()
        said: str = yield from steps(adata, draft, **options)
        if not target.suffix:
            made = {"made_by": "napari-staligner", "version": version("napari-staligner"), "to": to}
            (draft / MARK).write_text(json.dumps(made, indent=2) + "\n", encoding="utf-8")
    return said


def check_export(to: str, path: Path, *, overwrite: bool = False) -> Target:
    """Check before long work that a target can be written; see :func:`export_steps`.

    Returns
    -------
    The target.

    Raises
    ------
    InputError
        It cannot.
    """
    if to not in TARGETS:
        raise InputError(f"There is no target {to!r}: choose one of {', '.join(TARGETS)}.")
    target = TARGETS[to]
    if target.suffix and path.suffix != target.suffix:
        raise InputError(
            f"{str(path)!r} does not end in {target.suffix}, which {target.title} needs: "
            f"call it {path.stem + target.suffix!r}."
        )
    _check_folder(path.resolve().parent)
    if os.path.lexists(path):
        _check_present(path, target, overwrite)
    return target


def _check_folder(folder: Path) -> None:
    if not folder.is_dir():
        raise InputError(f"The folder {str(folder)!r} does not exist: make it first.")
    try:
        # A real attempt, as for results.
        Path(tempfile.mkdtemp(prefix=".staligner-", dir=folder)).rmdir()
    except OSError as error:
        raise not_written(folder, error, " to") from error


def _check_present(path: Path, target: Target, overwrite: bool) -> None:
    if path.is_dir() != target.is_folder:
        what = "folder" if path.is_dir() else "file"
        raise InputError(f"{str(path)!r} is a {what} already: choose another name.")
    if not overwrite:
        raise InputError(
            f"{str(path)!r} is there already: choose another name, or say that it may be replaced "
            "(--overwrite)."
        )
    # Replacing a folder deletes all that is in it.
    known = {MARK} if not target.suffix else {"zarr.json", ".zgroup"}
    inside = {part.name for part in path.iterdir()} if path.is_dir() else known
    if inside and not inside & known:
        raise InputError(
            f"{str(path)!r} holds files that were not exported from here, so it is kept: choose "
            "another name."
        )
