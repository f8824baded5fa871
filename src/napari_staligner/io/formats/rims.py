"""Outlines of cells as instruments and SpatialData stores write them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from napari_staligner._errors import InputError
from napari_staligner.core.outside import pass_on_memory
from napari_staligner.io.formats.guard import check_file, check_inside, opened, opened_h5
from napari_staligner.io.formats.tables import names_as_text, need_columns, separator

if TYPE_CHECKING:
    from numpy.typing import NDArray

_NAMES = (("cell_id",), ("EntityID",), ("fov", "cellID"), ("fov", "cell_ID"))
"""Columns that name the cell of a corner or of an outline: Xenium, MERSCOPE, CosMx."""
_CORNERS = (("vertex_x", "vertex_y"), ("x_global_px", "y_global_px"))
"""Columns of the corners: Xenium, CosMx."""
_GEOMETRY = ("Geometry", "geometry")
_PLANE = "ZIndex"
STORE_FILE = "shapes.parquet"
"""File of the shapes of an element of a SpatialData store."""


@dataclass(frozen=True)
class CellRims:
    """Rims of cells, each a closed line; a cell may have several.

    Parameters
    ----------
    names
        Name of the cell of each rim, texts, shape (rims,).
    corners
        (x, y) of all corners, float64, shape (corners, 2).
    starts
        Where each rim begins, and the end of the last one, shape (rims + 1,).
    """

    names: NDArray[np.object_]
    corners: NDArray[np.float64]
    starts: NDArray[np.intp]


def read_rims(path: Path) -> CellRims:
    """Read outlines of cells.

    Parameters
    ----------
    path
        ``cell_boundaries`` of Xenium or MERSCOPE, ``…polygons.csv`` of CosMx, or shapes of a
        SpatialData store.

    Raises
    ------
    InputError
        It cannot be read, or holds no outlines.
    """
    with _readable(path):
        if path.is_dir():
            return _of_store(path) if (path / STORE_FILE).is_file() else _of_folder(path)
        names = _columns(path)
        if any(name in names for name in _GEOMETRY):
            return _of_geometry(path, names)
        return _of_corners(path, names)


def count_rims(path: Path) -> int:
    """Count the cells that have an outline; as little as possible is read.

    Raises
    ------
    InputError
        It cannot be read.
    """
    with _readable(path):
        if (path / STORE_FILE).is_file():
            import pyarrow.parquet as pq

            return int(pq.ParquetFile(path / STORE_FILE).metadata.num_rows)
        if path.is_dir():
            return sum(len(file["featuredata"]) for file in _feature_files(path))
        of_cell = _chosen(path, _columns(path), _NAMES, "names of cells")
        return len(_read(path, of_cell).drop_duplicates())


@contextmanager
def _readable(path: Path) -> Iterator[None]:
    """Turn any error of a reader into a sentence."""
    try:
        yield
    except InputError:
        raise
    except Exception as error:  # any error of pyarrow, pandas, h5py or shapely
        pass_on_memory(error)
        line = (str(error).strip().splitlines() or [""])[0].rstrip(".")
        raise InputError(
            f"The outlines in {str(path)!r} cannot be read ({type(error).__name__}: {line}): copy "
            "the file again, or go on without them."
        ) from error


# -- tables --------------------------------------------------------------------------------------


def _columns(path: Path) -> list[str]:
    check_file(path)
    if path.suffix == ".parquet":
        import pyarrow.parquet as pq

        return list(pq.read_schema(path).names)
    with opened(path) as stream:
        return list(pd.read_csv(stream, sep=separator(path), nrows=0).columns)


def _read(path: Path, columns: Sequence[str]) -> pd.DataFrame:
    if path.suffix == ".parquet":
        return pd.read_parquet(path, columns=list(columns))
    text = {name: str for of_cell in _NAMES for name in of_cell}
    with opened(path) as stream:
        return pd.read_csv(stream, sep=separator(path), usecols=list(columns), dtype=text)


def _chosen(
    path: Path, there: Sequence[str], choices: Sequence[tuple[str, ...]], what: str
) -> tuple[str, ...]:
    """The first of several sets of columns that is there."""
    for columns in choices:
        if set(columns) <= set(there):
            return columns
    need_columns(pd.DataFrame(columns=list(there)), choices[0], path, f"a table with {what}")
    raise AssertionError(choices)


def _of_corners(path: Path, there: Sequence[str]) -> CellRims:
    """A row for each corner; those of a cell follow each other."""
    of_cell = _chosen(path, there, _NAMES, "names of cells")
    xy = _chosen(path, there, _CORNERS, "corners")
    # Xenium tells the parts of a cell apart.
    parts = [name for name in ("label_id",) if name in there]
    frame = _read(path, [*of_cell, *xy, *parts])
    codes = frame.groupby([*of_cell, *parts], sort=False).ngroup().to_numpy()
    first = np.flatnonzero(np.diff(codes, prepend=-1))
    names = _joined(frame.iloc[first], of_cell)
    return CellRims(names, frame[list(xy)].to_numpy(float), np.append(first, len(frame)))


def _joined(frame: pd.DataFrame, of_cell: Sequence[str]) -> NDArray[np.object_]:
    columns = [names_as_text(frame[name]).astype(object) for name in of_cell]
    whole = columns[0]
    for column in columns[1:]:
        whole = whole + "_" + column
    return whole.to_numpy(dtype=object)


def _of_geometry(path: Path, there: Sequence[str]) -> CellRims:
    """A row for each cell and plane: the middle plane of a cell is taken."""
    import shapely

    column = next(name for name in _GEOMETRY if name in there)
    (name,) = _chosen(path, there, (("EntityID",), ("cell_id",)), "names of cells")
    planes = [_PLANE] if _PLANE in there else []
    frame = _read(path, [name, column, *planes]).dropna(subset=[column])
    if planes:
        frame = frame.sort_values([name, _PLANE], kind="stable")
        group = frame.groupby(name, sort=False)
        frame = frame[group.cumcount() == group[name].transform("size") // 2]
    return _of_shapes(names_as_text(frame[name]), shapely.from_wkb(frame[column].to_numpy()))


def _of_shapes(names: pd.Series | pd.Index, shapes: NDArray[Any]) -> CellRims:
    import shapely

    parts, of_part = shapely.get_parts(shapes, return_index=True)
    rings, of_ring = shapely.get_rings(parts, return_index=True)
    corners, of_corner = shapely.get_coordinates(rings, return_index=True)
    starts = np.searchsorted(of_corner, np.arange(len(rings) + 1))
    called = np.asarray(names, dtype=object)[of_part[of_ring]]
    return CellRims(called, corners, starts.astype(np.intp))


# -- folders -------------------------------------------------------------------------------------


def _of_store(path: Path) -> CellRims:
    """Shapes of a SpatialData store, in coordinates of their own."""
    import shapely

    check_inside(path)
    frame = pd.read_parquet(path / STORE_FILE)
    return _of_shapes(frame.index.map(str), shapely.from_wkb(frame["geometry"].to_numpy()))


def _feature_files(path: Path) -> Iterator[Any]:
    """The open files of MERSCOPE's first software: one for each field of view."""
    files = sorted(path.glob("*.hdf5"))
    if not files:
        raise InputError(
            f"{str(path)!r} holds no feature_data_….hdf5 with outlines of cells: put them there, "
            "as they were written."
        )
    for file in files:
        with opened_h5(file) as group:
            if "featuredata" in group:
                yield group


def _of_folder(path: Path) -> CellRims:
    names: list[str] = []
    rims: list[NDArray[np.float64]] = []
    for file in _feature_files(path):
        for name, cell in file["featuredata"].items():
            planes = [cell[key] for key in sorted(cell) if key.startswith("zIndex") and cell[key]]
            # The middle plane, as of the images.
            for part in planes[len(planes) // 2].values() if planes else ():
                rims.append(np.asarray(part["coordinates"], dtype=float).reshape(-1, 2))
                names.append(str(name))
    corners = np.concatenate(rims) if rims else np.empty((0, 2))
    starts = np.cumsum([0, *map(len, rims)])
    return CellRims(np.array(names, dtype=object), corners, starts.astype(np.intp))
