"""A session as one file: the result, where its slices came from, and what was shown.

The file is the result's ``.h5ad``, which every tool of the field reads; the session is JSON in
``uns["staligner"]["session"]``. Without a result the file holds no spots, only the session.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_staligner import _keys as K
from napari_staligner._errors import InputError
from napari_staligner.core.json_text import json_of
from napari_staligner.core.prepare.coordinates import with_places
from napari_staligner.core.prepare.image_move import move_image, moved_images
from napari_staligner.core.prepare.notes import notes_of
from napari_staligner.core.prepare.on_disk import named_layers
from napari_staligner.core.prepare.storable import storable_slices
from napari_staligner.core.progress import finish
from napari_staligner.core.result.access import record_of, writable_record
from napari_staligner.core.result.provenance import source_of
from napari_staligner.core.result.source import Source
from napari_staligner.io.finished import read_finished
from napari_staligner.io.formats.found import Named
from napari_staligner.io.h5ad import (
    is_result,
    read_slices,
    read_source,
    slices_in,
    slices_of_result,
)
from napari_staligner.io.sources import check_unchanged, parse_source

if TYPE_CHECKING:
    from anndata import AnnData
    from pydantic import TypeAdapter

    from napari_staligner.core.registration.transforms import Matrix
    from napari_staligner.core.result.finished import Finished

NOT_COMPLETE = (
    "Its domains, confidence and registration are not computed yet: press Complete in the "
    "Integrate dock."
)


@dataclass(frozen=True)
class SliceEntry:
    """A slice of a session.

    Parameters
    ----------
    name
        Of the slice.
    source
        Where it came from, if that is known.
    image_moved
        Where its tissue image was moved to, alone: the six numbers of the first two rows of the
        matrix; ``None`` if it has no image, or the file does not say.
    """

    name: str
    source: Source | None = None
    image_moved: tuple[float, float, float, float, float, float] | None = None


@dataclass(frozen=True)
class SessionRecord:
    """What a file says about a session.

    Parameters
    ----------
    slices
        In their order.
    view
        What was shown, JSON.
    """

    slices: tuple[SliceEntry, ...]
    view: str = ""

    def to_json(self) -> str:
        """Return it as JSON."""
        return _adapter().dump_json(self).decode()


@dataclass
class Content:
    """What was read from a file.

    Parameters
    ----------
    slices
        Name and data of each slice.
    result
        Integrated slices, if the file holds them.
    path
        The file, if the session can be saved to it.
    view
        What was shown, JSON; empty if the file does not say.
    problems
        A sentence for each slice that could not be restored.
    notes
        Sentences on what was guessed or left out.
    finished
        The result of a run that had ended when the program was killed; it comes in the place of
        ``result``.
    """

    slices: Named = field(default_factory=list)
    result: AnnData | None = None
    path: Path | None = None
    view: str = ""
    problems: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    finished: AnnData | None = None


def entries(slices: Mapping[str, AnnData]) -> tuple[SliceEntry, ...]:
    """Return the slices of a session as its record names them."""
    return tuple(
        SliceEntry(name, source_of(adata), _six(moved_images(adata)))
        for name, adata in slices.items()
    )


def _six(move: Matrix | None) -> tuple[float, float, float, float, float, float] | None:
    if move is None:
        return None
    a, b, c, d, e, f = map(float, move[:2].ravel())
    return a, b, c, d, e, f


def session_anndata(
    record: SessionRecord, result: AnnData | None, slices: Mapping[str, AnnData]
) -> AnnData:
    """Return the AnnData to write for a session; it shares its arrays with what it is given.

    Parameters
    ----------
    record
        What the file says about the session.
    result
        Integrated slices, or ``None``.
    slices
        All slices of the session. The data of a slice are written if they are neither in a file
        nor in the result.
    """
    from anndata import AnnData

    shown = AnnData() if result is None else shared_copy(result)
    known = set() if result is None else set(map(str, result.obs[K.SLICE].cat.categories))
    kept = writable_record(shown)
    kept[K.SESSION] = record.to_json()
    loose = {
        entry.name: slices[entry.name]
        for entry in record.slices
        if entry.source is None and entry.name not in known
    }
    if loose:
        # Each on its own: they are not joined.
        ready = (storable_slices([(name, adata)])[0][0] for name, adata in loose.items())
        kept[K.KEPT_SLICES] = dict(ready)
    return shown


def open_file(path: Path) -> Content:
    """Read slices, a result, or a session.

    Raises
    ------
    InputError
        The file cannot be read.
    """
    read, left, finished = read_finished(parse_source(str(path)))
    if finished is not None:
        return _finished_content(*finished)
    if left.slice or left.choices or len(read) > 1:
        return _content_of(read_slices([path]))
    ((name, adata),) = read
    record = session_record(adata)
    if record is None and not is_result(adata):
        return _content_of(slices_in(name, adata))
    # A file of another format is never saved to, so it is not the session's file.
    own = path if path.suffix == ".h5ad" else None
    return session_content(adata if is_result(adata) else None, record, adata, own)


def _finished_content(adata: AnnData, found: Finished) -> Content:
    """A finished result of another program; its file stays as it is."""
    from napari_staligner.core.adopt import adopt_steps

    result = finish(adopt_steps(adata, found))
    notes = [*map(str, writable_record(result)["notes"])]
    return Content(slices_of_result(result), result, notes=[*notes, NOT_COMPLETE])


def _content_of(slices: Named) -> Content:
    slices = [(name, with_places(name, adata)) for name, adata in slices]
    return Content(slices, notes=[note for each in slices for note in notes_of(*each)])


def session_record(adata: AnnData) -> SessionRecord | None:
    """Return what a file says about its session; ``None`` if it has none."""
    text = record_of(adata).get(K.SESSION)
    if text is None:
        return None
    return read_record(str(text))


def read_record(text: str) -> SessionRecord | None:
    """Read the JSON of :meth:`SessionRecord.to_json`; ``None`` if it is of another version."""
    try:
        content = json_of(text)
        for entry in content["slices"]:
            _mend_source(entry.get("source") or {})
        return _adapter().validate_python(content)
    except (ValueError, TypeError, KeyError, AttributeError):
        return None


def _mend_source(source: dict[str, Any]) -> None:
    """Bring an old source up to date: it used to be one column with a value."""
    key, value = source.pop("key", ""), source.pop("value", "")
    if key:
        source.setdefault("choices", {})[key] = value


def session_content(
    result: AnnData | None,
    record: SessionRecord | None,
    adata: AnnData | None = None,
    path: Path | None = None,
) -> Content:
    """Restore the slices of a session from its result, its file, or their own files.

    Parameters
    ----------
    result
        Integrated slices.
    record
        What is known of the session.
    adata
        What its file holds.
    path
        The file.
    """
    found = {} if result is None else dict(slices_of_result(result))
    problems = []
    kept = {} if adata is None else writable_record(adata)
    loose = kept.pop(K.KEPT_SLICES, {})
    kept.pop(K.SESSION, None)
    for entry in () if record is None else record.slices:
        if entry.name in found:
            continue
        try:
            held = entry.name in loose
            found[entry.name] = _kept_slice(entry, loose) if held else _read_entry(entry)
        except InputError as error:
            problems.append(str(error))
    for entry in () if record is None else record.slices:
        _move_image(entry, found.get(entry.name), result)
    order = [entry.name for entry in record.slices] if record is not None else []
    names = [name for name in order if name in found] + [n for n in found if n not in order]
    view = "" if record is None else record.view
    return Content([(name, found[name]) for name in names], result, path, view, problems)


def _move_image(entry: SliceEntry, adata: AnnData | None, result: AnnData | None) -> None:
    """Put the image of a slice where it was, in the slice and in the result."""
    if entry.image_moved is None:
        return
    move = np.vstack([np.reshape(entry.image_moved, (2, 3)), (0.0, 0.0, 1.0)])
    for table, name in ((adata, ""), (result, entry.name)):
        if table is not None and moved_images(table, name) is not None:
            move_image(table, move, name)


def _kept_slice(entry: SliceEntry, loose: Mapping[str, Any]) -> AnnData:
    from anndata import AnnData

    if not isinstance(loose[entry.name], AnnData):
        raise InputError(f"Slice {entry.name!r} is damaged in the session's file: add it again.")
    return with_places(entry.name, loose[entry.name])


def _read_entry(entry: SliceEntry) -> AnnData:
    if entry.source is None:
        raise InputError(f"Slice {entry.name!r} came from memory and was not kept: add it again.")
    check_unchanged(entry.name, entry.source)
    return with_places(entry.name, read_source(entry.source))


def shared_copy(adata: AnnData) -> AnnData:
    """Return an AnnData with the same arrays, but with its own tables and dictionaries."""
    from anndata import AnnData

    return AnnData(
        adata.X,
        obs=adata.obs.copy(),
        var=adata.var.copy(),
        obsm=dict(adata.obsm),
        varm=dict(adata.varm),
        obsp=dict(adata.obsp),
        layers=named_layers(adata),
        uns={
            key: value if key == K.SPATIAL else copy.deepcopy(value)
            for key, value in adata.uns.items()
        },
    )


@cache
def _adapter() -> TypeAdapter[Any]:
    from pydantic import TypeAdapter

    return TypeAdapter(SessionRecord)
