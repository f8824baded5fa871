"""Reading files, simulating the sample and splitting slices, as steps for the background."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from napari_staligner._errors import InputError
from napari_staligner.core.progress import Progress

if TYPE_CHECKING:
    from anndata import AnnData

    from napari_staligner.core.prepare.sections import Sections
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
        A saved session or result, which replaces the present one.
    problems
        A sentence for each file or slice that could not be used.
    notes
        Sentences about what was guessed or left out.
    replaces
        Name of the slice that was split into these.
    sections
        Slices that seem to hold several sections, and what was noticed.
    """

    slices: list[tuple[str, AnnData]] = field(default_factory=list)
    session: Content | None = None
    problems: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    replaces: str | None = None
    sections: list[tuple[AnnData, Sections]] = field(default_factory=list)


def file_steps(paths: list[Path]) -> Steps[Opened]:
    """Read files; those that cannot be used are reported, the others are opened."""
    from napari_staligner.core.prepare.sections import sections_of
    from napari_staligner.io.session_file import open_file

    opened = Opened()
    for done, path in enumerate(paths):
        yield Progress(f"reading {path.name}", done, len(paths))
        try:
            content = open_file(path)
            if content.path is None and content.result is None:
                opened.slices += content.slices
                opened.notes += content.notes
                found = ((adata, sections_of(adata)) for _, adata in content.slices)
                opened.sections += [(a, sections) for a, sections in found if sections]
            elif len(paths) == 1:
                opened.session = content
                opened.problems += content.problems
                opened.notes += content.notes
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
    from napari_staligner.core.prepare.notes import new_notes
    from napari_staligner.core.prepare.sections import split_by

    yield Progress(f"splitting {name}", 0, 1)
    slices = split_by(name, adata, key)
    notes = [note for each, part in slices for note in new_notes(each, part, adata)]
    return Opened(slices, notes=notes, replaces=name)
