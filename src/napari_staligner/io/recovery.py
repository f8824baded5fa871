"""Saves every edit to disk, in case the program crashes.

There are two files. The edits are small and written anew each time, next to the file of the
result or in the user's folder. The result itself is written if it has no file yet.
"""

from __future__ import annotations

import hashlib
import logging
import os
from dataclasses import dataclass
from datetime import UTC, datetime
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING, Any
from uuid import uuid4

import numpy as np

from napari_staligner import _keys as K
from napari_staligner._errors import InputError
from napari_staligner.core.annotations.record import is_annotation
from napari_staligner.core.attempt import reason
from napari_staligner.core.prepare.on_disk import named_layers
from napari_staligner.core.result.ownership import moved
from napari_staligner.core.result.soundness import make_sound
from napari_staligner.io import user_folder
from napari_staligner.io.anndata import is_result, read_file
from napari_staligner.io.atomic import written_beside
from napari_staligner.io.formats.guard import H5_ERRORS
from napari_staligner.io.formats.heaps import check_heaps
from napari_staligner.io.processes import alive
from napari_staligner.io.session_file import Content, SessionRecord, read_record, session_content
from napari_staligner.io.writing import write_anndata

if TYPE_CHECKING:
    import h5py
    import pandas as pd
    from anndata import AnnData

_log = logging.getLogger(__name__)

SUFFIX = ".unsaved"

_OBS = (K.DOMAIN, K.CONFIDENCE, K.RESIDUAL, K.DISAGREEMENT)
_OBSM = (K.SPATIAL_ALIGNED, K.SHIFT, K.UMAP, K.UMAP_BEFORE)
_UNS = (K.DOMAIN_COLORS, f"{K.DISAGREEMENT}_colors", K.UMAP, K.UMAP_BEFORE, K.STALIGNER)


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
    """

    path: Path
    when: str
    record: SessionRecord
    result: Path | None
    file: Path | None

    def describe(self) -> str:
        """Describe it in a sentence."""
        names = [entry.name for entry in self.record.slices]
        shown = ", ".join(names[:3]) + (f" and {len(names) - 3} more" if len(names) > 3 else "")
        local = datetime.fromisoformat(self.when).astimezone()
        when = f"{local:%d %b %Y, %H:%M}"
        if self.file is not None:
            return f"{self.file.name}: edits of {when} were not saved."
        return f"A session of {shown}, of {when}, was not saved."


class Recovery:
    """Keeps one session on disk."""

    def __init__(self) -> None:
        self.id = uuid4().hex[:12]
        """Of the session; in the names of its files."""
        self._runs = 0
        self._digest: tuple[object, str] = (None, "")
        self.path: Path | None = None
        """File of the edits, while something is kept."""
        self.result: Path | None = None
        """File of the result, if the user has not saved it."""
        self.problem = ""
        """A sentence on why nothing is kept; empty while all is well."""

    def new_result(self) -> Path:
        """Return a place for the result of a new run."""
        self._runs += 1
        return unsaved_folder() / f"{self.id}-{self._runs}.h5ad"

    def take_result(self, path: Path | None) -> None:
        """Keep the file with the result of a run, instead of the one before."""
        if self.result is not None and self.result != path:
            self.result.unlink(missing_ok=True)
        self.result = path

    def keep(self, result: AnnData | None, record: SessionRecord, file: Path | None) -> None:
        """Write all edits; what was there is replaced when all is written.

        Parameters
        ----------
        result
            Integrated slices, if there are any.
        record
            The slices of the session, and what is shown.
        file
            The file that the result came from or was saved to, if any.
        """
        place = self._place(file)
        try:
            place.parent.mkdir(parents=True, exist_ok=True)
            self._write(place, result, record, file)
        except Exception as error:
            _log.exception("Edits could not be kept from a crash")
            self.problem = f"Edits are not kept from a crash ({reason(error)})."
            return
        if self.path is not None and self.path != place:
            self.path.unlink(missing_ok=True)
        self.path, self.problem = place, ""

    def forget(self) -> None:
        """Remove what is kept: it is saved, or not wanted."""
        if self.path is not None:
            self.path.unlink(missing_ok=True)
        self.take_result(None)
        self.path = None

    def _place(self, file: Path | None) -> Path:
        if file is not None:
            return file.with_name(f".{file.name}.{self.id}{SUFFIX}")
        return unsaved_folder() / f"{self.id}{SUFFIX}"

    def _write(
        self, place: Path, result: AnnData | None, record: SessionRecord, file: Path | None
    ) -> None:
        import h5py
        import psutil
        from anndata.io import write_elem

        # In memory first: it is small, and HDF5 cannot close a file on a full disk.
        content = BytesIO()
        with h5py.File(content, "w") as target:
            target.attrs["pid"] = os.getpid()
            target.attrs["started"] = psutil.Process().create_time()
            target.attrs["when"] = datetime.now(UTC).isoformat(timespec="seconds")
            target.attrs["file"] = str(file or "")
            target.attrs["result"] = str(self.result or "")
            target.attrs["record"] = record.to_json()
            if result is not None:
                target.attrs["spots"] = self._digest_of(result)
                for slot, elements in _edits(result).items():
                    write_elem(target, slot, elements)
        with written_beside(place) as draft:
            draft.write_bytes(content.getbuffer())

    def _digest_of(self, result: AnnData) -> str:
        if self._digest[0] is not result.obs_names:
            self._digest = result.obs_names, digest(result.obs_names)
        return self._digest[1]


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
        _log.exception("The result could not be kept from a crash")
        return f"The result is not kept from a crash until it is saved ({reason(error)})."
    return ""


def find(file: Path | None = None) -> Kept | None:
    """Return the newest session that was not saved, or ``None``.

    Parameters
    ----------
    file
        Only edits of this file; ``None`` looks for sessions without a file.
    """
    if file is None:
        places = unsaved_folder().glob(f"*{SUFFIX}")
    else:
        places = file.parent.glob(f".{_escaped(file.name)}.*{SUFFIX}")
    found = [kept for kept in map(_read_kept, places) if kept is not None]
    return max(found, key=lambda kept: kept.when, default=None)


def read_kept(kept: Kept) -> Content:
    """Restore a session that was not saved.

    Raises
    ------
    InputError
        The file of its result is gone, or its spots are not those of the edits.
    """
    base = kept.result or kept.file
    if base is None:
        return session_content(None, kept.record)
    result = read_file(base)
    if not is_result(result):
        raise InputError(f"{str(base)!r} holds no integrated slices any more: discard the edits.")
    _apply(kept.path, result)
    make_sound(kept.path.name, result)
    content = session_content(result, kept.record, result, kept.file)
    return content


def discard(kept: Kept) -> None:
    """Remove a session that was not saved."""
    kept.path.unlink(missing_ok=True)
    if kept.result is not None:
        kept.result.unlink(missing_ok=True)


def digest(spots: pd.Index[str]) -> str:
    """Return a checksum of the names of the spots."""
    return hashlib.sha256("\n".join(map(str, spots)).encode()).hexdigest()


def _edits(result: AnnData) -> dict[str, dict[str, Any]]:
    """What people and later computations change in a result, by slot."""
    aside = moved(result)
    columns = [key for key in result.obs if key in _OBS or key in aside["obs"]]
    columns += [key for key in result.obs if is_annotation(key)]
    recorded = {
        key: value
        for key, value in result.uns.items()
        if key in _UNS or is_annotation(_base(key)) or _base(key) in aside["obs"]
    }
    return {
        "obs": {key: _column(result.obs[key]) for key in columns},
        "obsm": {key: result.obsm[key] for key in (*_OBSM, *aside["obsm"]) if key in result.obsm},
        "uns": recorded,
    }


def _column(column: pd.Series) -> Any:
    if column.dtype == object:
        # Text with missing values; HDF5 can hold that as categories.
        column = column.astype("category")
    return column.to_numpy() if isinstance(column.dtype, np.dtype) else column.array


def _base(key: str) -> str:
    return key.removesuffix("_colors")


def _apply(path: Path, result: AnnData) -> None:
    """Replace what the result has by the edits that were kept."""
    import h5py
    from anndata.io import read_elem

    try:
        with h5py.File(path, "r") as file:
            same = _said(file, "spots") == digest(result.obs_names)
            edits = {slot: read_elem(file[slot]) for slot in ("obs", "obsm", "uns")} if same else {}
    except Exception as error:  # anndata passes on any error of h5py, zlib or its own readers
        raise InputError(f"The edits in {str(path)!r} cannot be read ({error}).") from error
    if not same:
        raise InputError(
            f"The edits in {str(path)!r} belong to other spots than the result has: discard them."
        )
    for slot, now in _edits(result).items():
        for key in now:
            del getattr(result, slot)[key]
    for slot, kept in edits.items():
        for key, value in kept.items():
            getattr(result, slot)[key] = value


def _read_kept(path: Path) -> Kept | None:
    """Read the head of a kept file; ``None`` if it is not ours, or its session is still open."""
    import h5py

    try:
        check_heaps(path)
        with h5py.File(path, "r") as file:
            if alive(int(file.attrs["pid"]), float(file.attrs["started"])):
                return None
            record = read_record(_said(file, "record"))
            when, result, of = (_said(file, key) for key in ("when", "result", "file"))
    except H5_ERRORS:
        return None
    if record is None:
        return None
    return Kept(path, when, record, Path(result) if result else None, Path(of) if of else None)


def _said(file: h5py.File, key: str) -> str:
    return str(file.attrs.get(key, ""))


def _escaped(name: str) -> str:
    from glob import escape

    return escape(name)


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
