"""Samples that are slow to read are written once as ``.h5ad`` in the user's cache folder."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from napari_staligner._errors import InputError
from napari_staligner.io import user_folder
from napari_staligner.io.atomic import written_beside
from napari_staligner.io.writing import write_anndata

if TYPE_CHECKING:
    from anndata import AnnData

    from napari_staligner.io.formats.found import Found

LARGE = 50_000_000
"""A sample is kept if its files have at least this many bytes."""
MOST = 12
"""How many samples are kept; the least recently used goes first."""
_KINDS = {"visium_hd", "gem", "gef"}
_VERSION = 2
"""Raise it when the same files are read in another way."""


def place_of(found: Found, asked: Mapping[str, str]) -> Path | None:
    """Where a sample is kept; ``None`` if it is quick to read.

    Parameters
    ----------
    found
        What is at the path.
    asked
        What was chosen of its format.

    Returns
    -------
    A path made from the path, sizes and times of the files, and the choice.
    """
    if found.kind not in _KINDS:
        return None
    files = found.read_files(found.chosen(asked)).values()
    told = [(str(file.resolve()), file.stat()) for file in files if file.is_file()]
    if sum(stat.st_size for _, stat in told) < LARGE:
        return None
    # The notes tell of the image at full size, although it is not kept.
    scans = [file for role, file in found.files.items() if role.split()[-1] == "scan"]
    told += [(str(file.resolve()), file.stat()) for file in scans if file.is_file()]
    key = json.dumps(
        [
            *(_VERSION, str(found.path.resolve()), found.name, sorted(asked.items())),
            sorted((name, stat.st_size, stat.st_mtime_ns) for name, stat in told),
        ]
    )
    return user_folder.cache_folder() / f"{hashlib.sha256(key.encode()).hexdigest()[:32]}.h5ad"


def kept(place: Path, *, backed: bool) -> AnnData | None:
    """Return what was kept; ``None`` if there is nothing, or it cannot be read."""
    import anndata as ad

    from napari_staligner.io.anndata import left_on_disk_of

    if not place.is_file():
        return None
    try:
        adata = left_on_disk_of(place) if backed else ad.read_h5ad(place)
        os.utime(place)
    except Exception:  # any error of h5py or anndata on a file that was cut off
        place.unlink(missing_ok=True)
        return None
    return adata


def keep(place: Path, adata: AnnData) -> bool:
    """Keep a sample, and make room for it.

    Returns
    -------
    Whether it could be kept; a failure does no harm.
    """
    try:
        place.parent.mkdir(parents=True, exist_ok=True)
        with written_beside(place) as draft:
            write_anndata(adata, draft, compression="lzf")
        by_use = sorted(place.parent.glob("*.h5ad"), key=lambda file: file.stat().st_mtime)
        for old in by_use[:-MOST]:
            old.unlink(missing_ok=True)
    except (OSError, InputError):
        return False
    return True
