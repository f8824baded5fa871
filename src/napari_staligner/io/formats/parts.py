"""Makes a slice from counts and a table of positions, with notes about it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from napari_staligner import _keys as K
from napari_staligner._errors import InputError
from napari_staligner.core.prepare.notes import add_notes
from napari_staligner.io.formats.full_size import add_full_size
from napari_staligner.io.formats.tables import numbers
from napari_staligner.io.outlines import outlines_metadata

if TYPE_CHECKING:
    from anndata import AnnData
    from numpy.typing import NDArray

    from napari_staligner.io.formats.found import Found
    from napari_staligner.io.formats.matrices import Counts

IN_TISSUE = ("in_tissue", "selected")
"""Columns of ``obs`` in Space Ranger and Spatial Transcriptomics that are 0 off the tissue."""


@dataclass
class Places:
    """Where spots are.

    Parameters
    ----------
    table
        One row per spot, with its name as index; other columns go to ``obs``.
    xy
        Columns of x and y.
    path
        The file, for messages.
    """

    table: pd.DataFrame
    xy: tuple[str, str]
    path: Path


@dataclass
class Library:
    """What goes to ``uns["spatial"]``, in squidpy's layout.

    Parameters
    ----------
    images
        ``hires`` and ``lowres``, shape (height, width, 3 or 4).
    scalefactors
        As Space Ranger writes them; ``microns_per_pixel`` is the size of the unit of the
        coordinates in µm, for every format where it is known.
    metadata
        ``source_image_path`` and ``source_image_matrix``, of the image at full size; see
        :mod:`~napari_staligner.io.formats.full_size`.
    scan
        That image, and its place: float64, shape (3, 3), from (column, row, 1) of its pixels to
        (x, y, 1) of the spots; ``None`` if there is none.
    """

    images: dict[str, Any] = field(default_factory=dict)
    scalefactors: dict[str, float] = field(default_factory=dict)
    metadata: dict[str, Any] = field(default_factory=dict)
    scan: tuple[Path, NDArray[np.float64]] | None = None

    def to_uns(self) -> dict[str, Any]:
        """Return it as it is stored under a name in ``uns["spatial"]``."""
        return {
            "images": self.images,
            "scalefactors": self.scalefactors,
            "metadata": self.metadata,
        }


def make_slice(
    name: str, what: str, counts: Counts, places: Places, library: Library
) -> tuple[str, AnnData]:
    """Join counts and positions by the names of the spots.

    Parameters
    ----------
    name
        Of the slice.
    what
        The format and the choices, for the first note.
    counts, places, library
        Its parts.

    Returns
    -------
    Name and slice: counts in ``X``, coordinates in ``obsm["spatial"]``, image and scale in
    ``uns["spatial"]``, and how the files were understood in ``uns["staligner_notes"]``.

    Raises
    ------
    InputError
        Names occur twice, no spot has a position, or a coordinate is not a number.
    """
    _check_names(counts.spots, counts.path)
    _check_names(places.table.index, places.path)
    table, rows, notes = _matched(counts, places)
    xy = numbers(table, places.xy, places.path)
    obs = table.drop(columns=list(places.xy))
    adata = _anndata(counts, rows, obs)
    adata.obsm[K.SPATIAL] = xy
    of_images = _about_images(xy, library)
    if library.scan is not None:
        of_images += add_full_size(library, *library.scan, xy)
    adata.uns[K.SPATIAL] = {name: library.to_uns()}
    shown = ", ".join(library.images) or "none"
    first = f"{what}, {adata.n_obs:,} spots × {adata.n_vars:,} genes, image: {shown}"
    said = [*counts.notes, *notes, *_about_spots(adata), *_about_genes(counts)]
    note(adata, [first, *said, *of_images])
    return name, adata


def without_places(name: str, what: str, counts: Counts) -> tuple[str, AnnData]:
    """Make a slice whose spots have no coordinates; it can be looked at, not integrated."""
    _check_names(counts.spots, counts.path)
    adata = _anndata(counts, np.arange(len(counts.spots)), pd.DataFrame(index=counts.spots))
    first = (
        f"{what}, {adata.n_obs:,} spots × {adata.n_vars:,} genes; there is no table of positions "
        f"next to {counts.path.name!r}, so they have no coordinates"
    )
    note(adata, [first, *counts.notes, *_about_spots(adata), *_about_genes(counts)])
    return name, adata


def note(adata: AnnData, notes: Sequence[str]) -> None:
    """Add notes to a slice: one sentence each, without a full stop."""
    add_notes(adata, [f"{each}." for each in notes])


def need(files: Mapping[str, Path], role: str, folder: Path, names: str) -> Path:
    """Return the file of a role.

    Raises
    ------
    InputError
        It is missing.
    """
    if role not in files:
        raise InputError(f"{str(folder)!r} has no {names}: put it there, as it was written.")
    return files[role]


def cells_of_files(found: Found) -> dict[str, Any]:
    """Return what ``metadata`` of a library tells of outlines of cells; empty without any."""
    return outlines_metadata(found.files["outlines"]) if "outlines" in found.files else {}


def _matched(counts: Counts, places: Places) -> tuple[pd.DataFrame, np.ndarray, list[str]]:
    """Rows of the positions that match the counts, and of the counts that have a position."""
    notes = []
    spots = counts.spots
    rows = places.table.index.get_indexer(spots)
    if (rows < 0).all():
        # "-1", the number of the GEM well, is often missing in one of the two.
        bare = places.table.index.str.replace(r"-\d+$", "", regex=True)
        if bare.is_unique:
            rows = bare.get_indexer(spots.str.replace(r"-\d+$", "", regex=True))
            if (rows >= 0).any():
                notes.append("spots were matched without the '-1' at the end of their names")
    there = np.flatnonzero(rows >= 0)
    if not len(there):
        raise InputError(
            f"No spot of {str(counts.path)!r} ({_some(spots)}) has a position in "
            f"{str(places.path)!r} ({_some(places.table.index)}): give both files of one sample."
        )
    if len(there) < len(spots):
        notes.append(
            f"{len(spots) - len(there):,} of {len(spots):,} spots in {counts.path.name!r} have no "
            f"position in {places.path.name!r} and are left out"
        )
    table = places.table.iloc[rows[there]]
    table.index = spots[there]
    return table, there, notes


def _anndata(counts: Counts, rows: np.ndarray, obs: pd.DataFrame) -> AnnData:
    from anndata import AnnData

    genes = _unique(counts.genes)
    matrix = counts.matrix if len(rows) == counts.matrix.shape[0] else counts.matrix[rows]
    obs = obs.rename_axis(None)
    return AnnData(matrix, obs=obs, var=pd.DataFrame(counts.var, index=genes))


def _unique(genes: pd.Index) -> pd.Index:
    """Number the names that occur again, as anndata does, without its warning."""
    from anndata.utils import make_index_unique

    genes = genes.astype(str)
    return genes if genes.is_unique else make_index_unique(genes)


def _about_spots(adata: AnnData) -> list[str]:
    notes = []
    for column in set(IN_TISSUE) & set(adata.obs):
        off = int((pd.to_numeric(adata.obs[column], errors="coerce") == 0).sum())
        if off:
            notes.append(
                f"{off:,} of {adata.n_obs:,} spots lie off the tissue (obs[{column!r}] is 0) and "
                f"are kept; [{column}=1] after the path leaves them out"
            )
    empty = int((np.diff(adata.X.indptr) == 0).sum())
    if empty:
        notes.append(f"{empty:,} of {adata.n_obs:,} spots have no counts and are kept")
    return notes


def _about_genes(counts: Counts) -> list[str]:
    again = int(counts.genes.duplicated().sum())
    return [f"{again:,} names of genes occur again and were numbered"] if again else []


def _about_images(xy: np.ndarray, library: Library) -> list[str]:
    """Whether the image is of these spots; an array may reach a little beyond the image."""
    for role, image in list(library.images.items())[:1]:
        at = xy * library.scalefactors[f"tissue_{role}_scalef"]
        off = int((~((at >= 0) & (at <= image.shape[1::-1])).all(axis=1)).sum())
        if 2 * off > len(xy):
            return [
                f"{off:,} of {len(xy):,} spots lie outside the image {role}: it is of another "
                "sample, or was cut"
            ]
    return []


def _check_names(names: pd.Index, path: Path) -> None:
    if not len(names):
        raise InputError(f"{str(path)!r} holds no spots: give a file that does.")
    again = names[names.duplicated()]
    if len(again):
        raise InputError(
            f"{str(path)!r} names {len(again):,} spots more than once (the first is {again[0]!r}): "
            "give each sample's own file."
        )


def _some(names: pd.Index) -> str:
    return ", ".join(map(repr, names[:2])) + ", …" * (len(names) > 2)
