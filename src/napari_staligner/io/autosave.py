"""Annotations kept on the disk at every edit, for the case that the program ends unasked."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import TYPE_CHECKING, Any

from napari_staligner._errors import InputError
from napari_staligner.core.annotation_record import from_record, to_record
from napari_staligner.core.annotations import Annotations
from napari_staligner.io.beside import written_beside

if TYPE_CHECKING:
    import pandas as pd

SUFFIX = ".annotations"


def autosave_path(result: Path | None, spots: pd.Index[str]) -> Path:
    """Where the annotations of some spots are kept: beside their file, if they have one.

    Parameters
    ----------
    result
        File of the result; ``None`` if it was never saved.
    spots
        Names of the spots.
    """
    if result is not None:
        return result.with_name(f".{result.name}{SUFFIX}")
    return unsaved_folder() / f"{_digest(spots)[:24]}{SUFFIX}"


def unsaved_folder() -> Path:
    """Where annotations of results are kept that have no file yet."""
    from platformdirs import user_data_path

    return user_data_path("napari-staligner") / "unsaved"


def keep(annotations: Annotations, path: Path) -> None:
    """Write all edits; what was there is replaced when all is written.

    Raises
    ------
    InputError
        The file cannot be written.
    """
    import h5py
    from anndata.io import write_elem

    assert annotations.spots is not None
    path.parent.mkdir(parents=True, exist_ok=True)
    with written_beside(path) as draft, h5py.File(draft, "w") as file:
        file.attrs["spots"] = _digest(annotations.spots)
        write_elem(file, "annotations", to_record(annotations))


def find(path: Path, spots: pd.Index[str]) -> dict[str, Any] | None:
    """Return the record of a kept file, or ``None`` if there is none for these spots."""
    import h5py
    from anndata.io import read_elem

    if not path.is_file():
        return None
    try:
        with h5py.File(path, "r") as file:
            if file.attrs.get("spots") != _digest(spots):
                return None
            record: dict[str, Any] = read_elem(file["annotations"])
            from_record(record)
    except (OSError, KeyError, ValueError, TypeError):
        return None  # not one of ours
    return record


def _digest(spots: pd.Index[str]) -> str:
    return hashlib.sha256("\n".join(map(str, spots)).encode()).hexdigest()


class Autosave:
    """Keeps annotations on the disk, and offers what was kept when they were not saved.

    Parameters
    ----------
    annotations
        Which; every change of them is to be followed by :meth:`keep`.
    """

    def __init__(self, annotations: Annotations) -> None:
        self._annotations = annotations
        self.path: Path | None = None
        self.offer: dict[str, Any] | None = None
        """Record that was kept and differs from what the file has; to be taken or discarded."""
        self.problem = ""
        """Why nothing is kept, in a sentence; empty while all is well."""

    def follow(self, result: Path | None) -> None:
        """Keep the annotations from now on beside a file, and look for what was kept there."""
        spots = self._annotations.spots
        self.path = self.offer = None
        if spots is None:
            return
        self.path = autosave_path(result, spots)
        found = find(self.path, spots)
        if found is not None and not _same(found, to_record(self._annotations)):
            self.offer = found

    def pause(self) -> None:
        """Keep nothing until :meth:`follow` is called."""
        self.path = self.offer = None

    def keep(self) -> None:
        """Write the annotations, unless something that was kept before waits to be taken."""
        if self.path is None or self.offer is not None:
            return
        try:
            keep(self._annotations, self.path)
            self.problem = ""
        except (InputError, OSError) as error:
            self.problem = f"Annotations are not kept from a crash: {error}"

    def take(self) -> None:
        """Restore what was kept."""
        record, self.offer = self.offer, None
        if record is not None and self._annotations.spots is not None:
            self._annotations.annotator = str(record["annotator"])
            self._annotations.start(self._annotations.spots, *from_record(record))

    def forget(self) -> None:
        """Remove what is kept, as it is not wanted."""
        self.offer = None
        if self.path is not None:
            self.path.unlink(missing_ok=True)

    def saved_to(self, result: Path) -> None:
        """All was saved: remove what is kept, but not what waits to be taken."""
        if self.offer is None and self._annotations.spots is not None:
            self.forget()
            self.path = autosave_path(result, self._annotations.spots)
            self.forget()


def _same(a: dict[str, Any], b: dict[str, Any]) -> bool:
    """Whether two records hold the same edits."""
    return int(a["position"]) == int(b["position"]) and all(
        [str(x) for x in a["edits"][key]] == [str(x) for x in b["edits"][key]]
        for key in ("what", "when", "who", "spots")
    )
