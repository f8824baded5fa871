"""Visium, Visium HD and Xenium, as Space Ranger and Xenium's software write them."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from napari_staligner._errors import InputError
from napari_staligner.core.annotations.regions import VISIUM_PITCH_UM
from napari_staligner.io.formats.matrices import Counts, read_h5, read_mtx
from napari_staligner.io.formats.parts import Library, Places, cells_of_files, make_slice, need
from napari_staligner.io.formats.pictures import read_image, read_json, read_scalefactors
from napari_staligner.io.formats.tables import need_columns, numbers, read_table

if TYPE_CHECKING:
    from anndata import AnnData
    from numpy.typing import NDArray

    from napari_staligner.io.formats.found import Found, Named

COLUMNS = (
    "barcode",
    "in_tissue",
    "array_row",
    "array_col",
    "pxl_row_in_fullres",
    "pxl_col_in_fullres",
)
"""Columns of Space Ranger's table of positions; version 1 writes no heading."""
XENIUM_PIXEL_UM = 0.2125
"""Size of a pixel of Xenium's images, where ``experiment.xenium`` does not tell it."""


def read_visium(found: Found, chosen: Mapping[str, str]) -> Named:
    """Read Visium; if a folder holds several samples with prefixes, all are read."""
    samples = found.choices.get("sample", ())
    if not samples:
        return [_visium(found.name, found.files, found.path, found.title)]
    return [
        _visium(sample, found.read_files({"sample": sample}), found.path, found.title)
        for sample in wanted(found, "sample", chosen)
    ]


def read_visium_hd(found: Found, chosen: Mapping[str, str]) -> Named:
    """Read Visium HD at one bin size."""
    bins = found.choices["bin"]
    if not bins:
        raise InputError(
            f"{str(found.path)!r} has no folder binned_outputs/square_…um: put it there."
        )
    size = found.chosen(chosen)["bin"]
    if size not in bins:
        raise InputError(
            f"{str(found.path)!r} has no bins of {chosen.get('bin')!r}: choose one of "
            f"{', '.join(bins)}."
        )
    others = [f"[bin={other}]" for other in bins if other != size]
    what = f"{found.title}, bins of {int(size[:3])} µm"
    if "bin" not in chosen and others:
        what += f" by default (there is also {', '.join(others)})"
    files = found.read_files({"bin": size}) | _scan(found)
    return [_visium(found.name, files, found.path, what, square=True)]


def wanted(found: Found, choice: str, chosen: Mapping[str, str]) -> tuple[str, ...]:
    """Return the one that was chosen, or all.

    Raises
    ------
    InputError
        It is not there.
    """
    there = found.choices[choice]
    if choice not in chosen:
        return there
    if chosen[choice] not in there:
        raise InputError(
            f"{str(found.path)!r} has no {choice} {chosen[choice]!r}: choose one of "
            f"{', '.join(there)}."
        )
    return (chosen[choice],)


def _scan(found: Found) -> dict[str, Path]:
    """The whole image, which belongs to all bin sizes."""
    scans = [file for role, file in found.files.items() if role.split()[-1] == "scan"]
    return {"scan": scans[0]} if scans else {}


def read_counts(files: Mapping[str, Path], folder: Path, names: str) -> Counts:
    """Read counts from one ``.h5`` or from three files."""
    matrix = need(files, "matrix", folder, names)
    if ".mtx" in matrix.name:
        return read_mtx(matrix, files.get("barcodes"), files.get("features"))
    return read_h5(matrix)


def _visium(
    name: str, files: Mapping[str, Path], folder: Path, what: str, *, square: bool = False
) -> tuple[str, AnnData]:
    counts = read_counts(
        files, folder, "filtered_feature_bc_matrix.h5 (or the folder of that name)"
    )
    positions = read_positions(need(files, "positions", folder, "spatial/tissue_positions.csv"))
    library, notes = _library(files, positions, square=square)
    counts.notes += notes
    if counts.path.name.startswith("raw") or counts.path.parent.name.startswith("raw"):
        counts.notes.append(
            "counts are the raw ones, of all spots: the filtered ones are not there"
        )
    return make_slice(name, what, counts, positions, library)


def read_positions(path: Path) -> Places:
    """Read Space Ranger's table of positions, of any version.

    Raises
    ------
    InputError
        It cannot be read, or lacks a column.
    """
    frame = read_table(path, ids=("barcode",))
    if "barcode" not in frame and len(frame.columns) == len(COLUMNS):
        frame = read_table(path, ids=("barcode",), names=COLUMNS)
    need_columns(frame, COLUMNS, path, "Space Ranger's table of positions")
    frame = frame.set_index("barcode")
    return Places(frame, ("pxl_col_in_fullres", "pxl_row_in_fullres"), path)


def _library(
    files: Mapping[str, Path], positions: Places, *, square: bool
) -> tuple[Library, list[str]]:
    """Image and scale; for square bins the scale is known only if Space Ranger gives it."""
    notes = []
    factors = read_scalefactors(files["scalefactors"]) if "scalefactors" in files else {}
    images = {}
    for role in ("hires", "lowres"):
        if role not in files:
            continue
        if f"tissue_{role}_scalef" in factors:
            images[role] = read_image(files[role])
        else:
            notes.append(
                f"{files[role].name!r} is not shown, because no scalefactors_json.json with "
                f"tissue_{role}_scalef is there"
            )
    if "microns_per_pixel" not in factors and "bin_size_um" not in factors and not square:
        factors |= _microns_per_pixel(positions)
    scan = (files["scan"], np.eye(3)) if "scan" in files else None
    return Library(images, factors, scan=scan), notes


def _microns_per_pixel(positions: Places) -> dict[str, float]:
    """Size of a pixel from Visium's hexagonal array, whose rows are offset by half a pitch."""
    table = positions.table.drop_duplicates(["array_row", "array_col"])
    if len(table) < 3:
        return {}
    array = numbers(table, ("array_col", "array_row"), positions.path)
    pixels = numbers(table, positions.xy, positions.path)
    microns = array * (VISIUM_PITCH_UM / 2, VISIUM_PITCH_UM * np.sqrt(3) / 2)
    design = np.column_stack([microns, np.ones(len(microns))])
    fit, _, rank, _ = np.linalg.lstsq(design, pixels, rcond=None)
    size = np.sqrt(abs(np.linalg.det(fit[:2]))) if rank == 3 else 0.0
    return {"microns_per_pixel": float(1 / size)} if size > 0 else {}


def read_xenium(found: Found, chosen: Mapping[str, str]) -> Named:
    """Read the cells of Xenium, at their centroids in µm."""
    counts = read_counts(found.files, found.path, "cell_feature_matrix.h5 (or the folder)")
    path = need(found.files, "cells", found.path, "cells.parquet or cells.csv.gz")
    table = read_table(path, ids=("cell_id",))
    need_columns(table, ("cell_id", "x_centroid", "y_centroid"), path, "Xenium's table of cells")
    table = table.set_index("cell_id")
    table = table.drop(columns=[c for c in table if c == "" or c.startswith("Unnamed:")])
    library = Library(scalefactors={"microns_per_pixel": 1.0}, scan=_morphology(found))
    library.metadata.update(cells_of_files(found))
    places = Places(table, ("x_centroid", "y_centroid"), path)
    return [make_slice(found.name, f"{found.title}, cells in µm", counts, places, library)]


def _morphology(found: Found) -> tuple[Path, NDArray[np.float64]] | None:
    """Xenium's image, and its place in µm."""
    if "experiment" not in found.files:
        return None
    path = found.files["experiment"]
    told = read_json(path)
    size = told.get("pixel_size")
    if isinstance(size, bool) or not isinstance(size, int | float) or not 0 < size < np.inf:
        size = XENIUM_PIXEL_UM
    images = told.get("images")
    for key in ("morphology_focus_filepath", "morphology_mip_filepath", "morphology_filepath"):
        name = images.get(key) if isinstance(images, dict) else None
        if isinstance(name, str) and _inside(path.parent, name):
            return path.parent / name, np.diag([size, size, 1.0])
    return None


def _inside(folder: Path, name: str) -> bool:
    """Whether a name in a file leads to a file in the same folder."""
    place = (folder / name).resolve()
    return place.is_file() and place.is_relative_to(folder.resolve())
