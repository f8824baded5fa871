"""Saves every edit to disk, in case the program crashes.

There are two files. The edits are small and written anew each time, next to the file of the
result or in the user's folder. The result itself is written if it has no file yet.
"""

from __future__ import annotations

import os
from contextlib import suppress
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from glob import escape
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING, Any
from uuid import uuid4

from napari_staligner import _keys as K
from napari_staligner._errors import InputError
from napari_staligner.core.attempt import log_failure, reason
from napari_staligner.core.prepare.on_disk import named_layers
from napari_staligner.core.result.soundness import make_sound
from napari_staligner.io import user_folder
from napari_staligner.io.anndata import is_result, read_file
from napari_staligner.io.atomic import drop_abandoned, written_beside
from napari_staligner.io.formats.guard import H5_ERRORS, check_own
from napari_staligner.io.processes import alive
from napari_staligner.io.session_file import Content, SessionRecord, read_record, session_content
from napari_staligner.io.unsaved_edits import apply_edits, copied_edits, digest, text_of
from napari_staligner.io.writing import write_anndata

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    import h5py
    import pandas as pd
    from anndata import AnnData

SUFFIX = ".unsaved"


def unsaved_folder() -> Path:
    """Folder for sessions that have no file yet."""
    return user_folder.user_folder() / "unsaved"


@dataclass(frozen=True)
class Kept:
    """A session that was not saved.

    Parameters
    ----------
    path
        File of its edits.
    when
        Of the last edit: UTC, ISO 8601.
    record
        Its slices, and what was shown.
    result
        File of its result, ``None`` if it has none.
    file
        The file that it was opened from or last saved to, if any.
    finished
        File of the result of a run that had ended, but was not shown yet.
    """

    path: Path
    when: str
    record: SessionRecord
    result: Path | None
    file: Path | None
    finished: Path | None = None

    def describe(self) -> str:
        """Describe it in a sentence."""
        names = [entry.name for entry in self.record.slices]
        shown = ", ".join(names[:3]) + (f" and {len(names) - 3} more" if len(names) > 3 else "")
        local = datetime.fromisoformat(self.when).astimezone()
        when = f"{local:%d %b %Y, %H:%M}"
        if self.finished is not None:
            return f"A run of {shown} that ended on {when} was not saved."
        if self.file is not None:
            return f"{self.file.name}: edits of {when} were not saved."
        return f"A session of {shown}, of {when}, was not saved."


@dataclass(frozen=True)
class Wanted:
    """What is to be on the disk: all edits of one moment, copied, or nothing.

    Parameters
    ----------
    place
        File of the edits; ``None`` if nothing is to be kept.
    drop
        Files of results that nobody needs once this is written.
    about
        Attributes of the file.
    spots
        Names of the spots of the result; ``None`` if there is none.
    edits
        Of the result, by slot.
    """

    place: Path | None = None
    drop: frozenset[Path] = frozenset()
    about: Mapping[str, str] = field(default_factory=dict)
    spots: pd.Index[str] | None = None
    edits: Mapping[str, Any] = field(default_factory=dict)


class Recovery:
    """Keeps one session on disk.

    What is wanted is said in the thread that edits; :meth:`write` may be called in another one.
    """

    def __init__(self) -> None:
        self.id = uuid4().hex[:12]
        """Of the session; in the names of its files."""
        self._runs = 0
        self._digest: tuple[object, str] = (None, "")
        self._stale: set[Path] = set()
        self.path: Path | None = None
        """File of the edits, while something is kept."""
        self.result: Path | None = None
        """File of the result, if the user has not saved it."""
        self.awaited: Path | None = None
        """File that a run under way will write its result to, before the session has it."""
        self.problem = ""
        """A sentence on why nothing is kept; empty while all is well."""

    def new_result(self) -> Path:
        """Return a place for the result of a new run."""
        self._runs += 1
        return unsaved_folder() / f"{self.id}-{self._runs}.h5ad"

    def await_result(self, path: Path | None) -> None:
        """Note where a run will write its result; ``None`` if none is under way any more."""
        if self.awaited is not None and self.awaited != path:
            self._stale.add(self.awaited)
        self.awaited = path

    def take_result(self, path: Path | None) -> None:
        """Keep the file with the result of a run; the one before goes with the next write."""
        if self.result is not None and self.result != path:
            self._stale.add(self.result)
        self.result = path
        if path == self.awaited:
            self.awaited = None

    def wanted(
        self,
        result: AnnData | None,
        record: SessionRecord,
        file: Path | None,
        *,
        saved: bool = False,
    ) -> Wanted:
        """Copy all edits.

        Parameters
        ----------
        result
            Integrated slices, if there are any.
        record
            The slices of the session, and what is shown.
        file
            The file that the result came from or was saved to, if any.
        saved
            Whether that file holds all edits: only the run that is awaited could be lost.
        """
        about = {
            "when": datetime.now(UTC).isoformat(timespec="seconds"),
            "file": str(file or ""),
            "result": str(self.result or ""),
            "awaited": str(self.awaited or ""),
            "saved": "yes" if saved else "",
            "record": record.to_json(),
        }
        place, drop = self._place(file), frozenset(self._stale)
        if result is None:
            return Wanted(place, drop, about)
        return Wanted(place, drop, about, result.obs_names, copied_edits(result))

    def nothing(self) -> Wanted:
        """Say that nothing is to be kept any more: it is saved, or not wanted."""
        self.take_result(None)
        self.await_result(None)
        return Wanted(drop=frozenset(self._stale))

    def keep(self, result: AnnData | None, record: SessionRecord, file: Path | None) -> None:
        """Write all edits; see :meth:`wanted` and :meth:`write`."""
        self.write(self.wanted(result, record, file))

    def write(self, wanted: Wanted) -> None:
        """Make the disk hold what is wanted; what was there is replaced when all is written.

        A failure is told by :attr:`problem`, and leaves what was there.
        """
        try:
            if wanted.place is not None:
                wanted.place.parent.mkdir(parents=True, exist_ok=True)
                self._write(wanted.place, wanted)
        except Exception as error:
            log_failure("Edits could not be kept from a crash", error)
            self.problem = f"Edits are not kept from a crash ({reason(error)})."
            return
        before, self.path, self.problem = self.path, wanted.place, ""
        # The edits go before the result that they belong to.
        _remove(path for path in (before, *wanted.drop) if path != wanted.place)
        self._stale.difference_update(wanted.drop)

    def _place(self, file: Path | None) -> Path:
        # A run's result has no file of the user's: what awaits it is offered as such, too.
        if file is not None and self.awaited is None:
            return file.with_name(f".{file.name}.{self.id}{SUFFIX}")
        return unsaved_folder() / f"{self.id}{SUFFIX}"

    def _write(self, place: Path, wanted: Wanted) -> None:
        import h5py
        import psutil
        from anndata.io import write_elem

        # In memory first: it is small, and HDF5 cannot close a file on a full disk.
        content = BytesIO()
        with h5py.File(content, "w") as target:
            target.attrs["pid"] = os.getpid()
            target.attrs["started"] = psutil.Process().create_time()
            target.attrs.update(wanted.about)
            if wanted.spots is not None:
                target.attrs["spots"] = self._digest_of(wanted.spots)
            for slot, elements in wanted.edits.items():
                write_elem(target, slot, elements)
        with written_beside(place) as draft:
            draft.write_bytes(content.getbuffer())

    def _digest_of(self, spots: pd.Index[str]) -> str:
        if self._digest[0] is not spots:
            self._digest = spots, digest(spots)
        return self._digest[1]


def _remove(paths: Iterable[Path | None]) -> None:
    for path in paths:
        if path is not None:
            with suppress(OSError):
                path.unlink(missing_ok=True)


def keep_result(result: AnnData, path: Path) -> str:
    """Write a result that has no file yet; return a sentence if that is not possible."""
    from shutil import disk_usage

    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        if disk_usage(path.parent).free < 2 * _bytes(result):
            return "The disk is nearly full: the result is not kept from a crash until it is saved."
        with written_beside(path) as draft:
            write_anndata(result, draft, compression=None)
    except Exception as error:
        # Any error: the result itself is still in memory.
        log_failure("The result could not be kept from a crash", error)
        return f"The result is not kept from a crash until it is saved ({reason(error)})."
    return ""


def find(file: Path | None = None) -> Kept | None:
    """Return the newest session that was not saved, or ``None``.

    Parameters
    ----------
    file
        Only edits of this file; ``None`` looks for sessions without a file, and for runs that had
        ended.
    """
    drop_abandoned(unsaved_folder())
    kept = filter(None, map(_read_kept, unsaved_folder().glob(f"*{SUFFIX}")))
    if file is None:
        found = [*kept]
    else:
        drop_abandoned(file.parent, f".{file.name}.")
        beside = file.parent.glob(f".{escape(file.name)}.*{SUFFIX}")
        # Files may have been moved together, and a name in one that was sent is not trusted.
        found = [replace(each, file=file) for each in map(_read_kept, beside) if each is not None]
        found += [each for each in kept if each.file and each.file.absolute() == file.absolute()]
    return max(found, key=lambda each: each.when, default=None)


def read_kept(kept: Kept) -> Content:
    """Restore a session that was not saved.

    Returns
    -------
    What it held; ``finished`` is the result of a run that had ended, which comes in its place.

    Raises
    ------
    InputError
        The file of its result is gone, or its spots are not those of the edits.
    """
    finished = _finished_run(kept)
    if finished is None:
        return _read_edited(kept)
    try:
        content = _read_edited(kept)
    except InputError:
        content = Content()
    if not set(finished.obs[K.SLICE].cat.categories) <= {name for name, _ in content.slices}:
        # What was there before is gone; the result of the run has its own slices.
        content = replace(session_content(finished, kept.record), result=None)
    return replace(content, finished=finished)


def _finished_run(kept: Kept) -> AnnData | None:
    if kept.finished is None:
        return None
    with suppress(InputError):
        result = read_file(kept.finished)
        if is_result(result):
            make_sound(kept.finished.name, result)
            return result
    return None


def _read_edited(kept: Kept) -> Content:
    base = kept.result or kept.file
    if base is None:
        return session_content(None, kept.record)
    result = read_file(base)
    if not is_result(result):
        raise InputError(f"{str(base)!r} holds no integrated slices any more: discard the edits.")
    apply_edits(kept.path, result)
    make_sound(kept.path.name, result)
    return session_content(result, kept.record, result, kept.file)


def discard(kept: Kept) -> None:
    """Remove a session that was not saved."""
    for path in (kept.path, kept.result, kept.finished):
        if path is not None:
            path.unlink(missing_ok=True)


def _read_kept(path: Path) -> Kept | None:
    """Read the head of a kept file; ``None`` if it is not ours, or its session is still open."""
    import h5py

    try:
        check_own(path)
        with h5py.File(path, "r") as file:
            if alive(int(file.attrs["pid"]), float(file.attrs["started"])):
                return None
            record = read_record(text_of(file, "record"))
            when, saved = text_of(file, "when"), text_of(file, "saved")
            result, awaited = _own_result(file, "result"), _own_result(file, "awaited")
            of = Path(text) if (text := text_of(file, "file")) else None
        if awaited is not None:
            when = datetime.fromtimestamp(awaited.stat().st_mtime, UTC).isoformat(
                timespec="seconds"
            )
    except H5_ERRORS:  # an InputError is a ValueError
        return None
    if record is None:
        return None
    if saved and awaited is None:
        # Only a run was under way, which is lost.
        _remove([path])
        return None
    return Kept(path, when, record, result, of, awaited)


def _own_result(file: h5py.File, key: str) -> Path | None:
    """A result that a kept file names: one of ours, since it is removed once it is saved."""
    path = Path(text_of(file, key))
    return path if path.parent == unsaved_folder() and path.is_file() else None


def _bytes(adata: AnnData) -> int:
    """Bytes of the matrices of an AnnData, roughly."""
    matrices = [adata.X, *named_layers(adata).values(), *adata.obsp.values(), *adata.obsm.values()]
    return sum(
        sum(part.nbytes for part in (m.data, m.indices, m.indptr))
        if hasattr(m, "indptr")
        else int(getattr(m, "nbytes", 0))
        for m in matrices
        if m is not None
    )
