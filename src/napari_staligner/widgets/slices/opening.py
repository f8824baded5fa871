"""Reading files, simulating the sample and splitting slices, as steps for the background."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from napari_staligner._errors import InputError
from napari_staligner.core.progress import Progress

if TYPE_CHECKING:
    from anndata import AnnData

    from napari_staligner.core.progress import Steps
    from napari_staligner.io.session_file import Content


@dataclass
class Opened:
    """What was read.

    Parameters
    ----------
    slices
        Name and data of each slice.
    session
        A saved session or result, which takes the place of what is there.
    problems
        A sentence for each file or slice that could not be used.
    replaces
        Name of the slice that was split into these.
    """

    slices: list[tuple[str, AnnData]] = field(default_factory=list)
    session: Content | None = None
    problems: list[str] = field(default_factory=list)
    replaces: str | None = None


def file_steps(paths: list[Path]) -> Steps[Opened]:
    """Read files; those that cannot be used are named, the others are kept."""
    from napari_staligner.core.prepare.slices import check_coordinates
    from napari_staligner.io.session_file import open_file

    opened = Opened()
    for done, path in enumerate(paths):
        yield Progress(f"reading {path.name}", done, len(paths))
        try:
            content = open_file(path)
            for name, adata in content.slices:
                check_coordinates(name, adata)
            if content.path is None:
                opened.slices += content.slices
            elif len(paths) == 1:
                opened.session = content
                opened.problems += content.problems
            else:
                raise InputError(f"{path.name} holds a session: open it alone.")
        except InputError as error:
            opened.problems.append(str(error))
    return opened


def sample_steps() -> Steps[Opened]:
    """Simulate the sample slices."""
    from napari_staligner.samples import sample_slices

    yield Progress("simulating the olfactory bulb", 0, 1)
    return Opened(sample_slices())


def split_steps(name: str, adata: AnnData, key: str) -> Steps[Opened]:
    """Split a slice by a column of ``obs``."""
    from napari_staligner.io.h5ad import split_by

    yield Progress(f"splitting {name}", 0, 1)
    return Opened(split_by(name, adata, key), replaces=name)
