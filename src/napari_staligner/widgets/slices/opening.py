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
    from napari_staligner.io.formats.found import Found
    from napari_staligner.io.session_file import Content


@dataclass
class Looked:
    """What lies at some paths, before any of it is read.

    Parameters
    ----------
    found
        What was recognised; ``None`` where only reading tells what a path is.
    specs
        The paths, as the shell is told of them; one for each of ``found``.
    several
        Whether a folder holds several samples.
    """

    found: list[Found | None] = field(default_factory=list)
    specs: list[str] = field(default_factory=list)
    several: bool = False

    @property
    def open_choices(self) -> bool:
        """Whether there is something to choose: of a format, or which of several samples."""
        return self.several or any(each is not None and each.open_choices for each in self.found)


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


def open_steps(paths: list[Path]) -> Steps[Looked | Opened]:
    """Read files; if there is something to choose first, only tell what lies there."""
    looked = yield from look_steps(paths)
    if looked.open_choices:
        return looked
    return (yield from file_steps(looked.specs))


def look_steps(paths: list[Path]) -> Steps[Looked]:
    """Tell what lies at paths; a folder of several samples gives all of them."""
    from napari_staligner.core.result.source import Source
    from napari_staligner.io.formats.layouts import SeveralSamples
    from napari_staligner.io.formats.sniff import sniff

    looked = Looked()
    for done, path in enumerate(paths):
        yield Progress(f"looking at {path.name}", done, len(paths))
        try:
            samples: tuple[Found | None, ...] = (sniff(path),)
        except SeveralSamples as error:
            looked.several |= len(error.samples) > 1
            samples = error.samples or (None,)
        except InputError:
            # Reading says what is wrong with it.
            samples = (None,)
        for each in samples:
            of = path if each is None or len(samples) == 1 else each.path
            looked.found.append(each)
            looked.specs.append(Source(str(of)).spec())
    return looked


def file_steps(specs: list[str]) -> Steps[Opened]:
    """Read files; those that cannot be used are reported, the others are opened.

    Parameters
    ----------
    specs
        Paths, with what was chosen in brackets behind them.
    """
    from napari_staligner.compat import load_units
    from napari_staligner.core.prepare.sections import sections_of
    from napari_staligner.io.images import read_first_look
    from napari_staligner.io.session_file import open_file
    from napari_staligner.io.sources import parse_source

    opened = Opened()
    load_units()
    for done, spec in enumerate(specs):
        name = Path(parse_source(spec).path).name
        yield Progress(f"reading {name}", done, len(specs))
        try:
            content = open_file(Path(spec))
            for _, adata in content.slices:
                read_first_look(adata)
            if content.path is None and content.result is None:
                opened.slices += content.slices
                opened.notes += content.notes
                found = ((adata, sections_of(adata)) for _, adata in content.slices)
                opened.sections += [(a, sections) for a, sections in found if sections]
            elif len(specs) == 1:
                opened.session = content
                opened.problems += content.problems
                opened.notes += content.notes
            else:
                raise InputError(f"{name} holds a session: open it alone.")
        except InputError as error:
            opened.problems.append(str(error))
    return opened


def sample_steps() -> Steps[Opened]:
    """Simulate the sample slices."""
    from napari_staligner.samples import sample_slices

    yield Progress("simulating the olfactory bulb", 0, 1)
    return Opened(sample_slices())


def remote_steps(names: list[str]) -> Steps[Opened]:
    """Open real slices, and fetch those that are not there yet.

    Parameters
    ----------
    names
        Of samples that can be fetched.
    """
    from napari_staligner.core.result.source import Source
    from napari_staligner.io.fetching import fetch_steps
    from napari_staligner.io.remote_samples import samples_named

    fetched = yield from fetch_steps(samples_named(names))
    opened = yield from file_steps([Source(str(one.path)).spec() for one in fetched])
    opened.notes[:0] = [note for one in fetched for note in one.notes]
    return opened


def split_steps(name: str, adata: AnnData, key: str) -> Steps[Opened]:
    """Split a slice by a column of ``obs``."""
    from napari_staligner.core.prepare.notes import new_notes
    from napari_staligner.core.prepare.sections import split_by

    yield Progress(f"splitting {name}", 0, 1)
    slices = split_by(name, adata, key)
    notes = [note for each, part in slices for note in new_notes(each, part, adata)]
    return Opened(slices, notes=notes, replaces=name)
