"""Where the spots of a slice are: reads coordinates in all forms that files have."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from napari_staligner import _keys as K
from napari_staligner._errors import InputError
from napari_staligner.core.prepare.notes import add_notes
from napari_staligner.core.prepare.on_disk import with_slots

if TYPE_CHECKING:
    from anndata import AnnData
    from numpy.typing import NDArray

PAIRS: tuple[tuple[str, str], ...] = (
    ("pxl_col_in_fullres", "pxl_row_in_fullres"),
    ("imagecol", "imagerow"),
    ("x", "y"),
    ("x_centroid", "y_centroid"),
    ("center_x", "center_y"),
    ("centerx_global_px", "centery_global_px"),
    ("x_global_px", "y_global_px"),
    ("x_slide_mm", "y_slide_mm"),
    ("x_location", "y_location"),
    ("x_coord", "y_coord"),
    ("xcoord", "ycoord"),
    ("coord_x", "coord_y"),
    ("x_position", "y_position"),
    ("pos_x", "pos_y"),
    ("spatial_x", "spatial_y"),
    ("pixel_x", "pixel_y"),
    ("x_pixel", "y_pixel"),
    ("x_um", "y_um"),
    ("spatial1", "spatial2"),
    ("spatial_1", "spatial_2"),
    ("array_col", "array_row"),
    ("col", "row"),
)
"""Names of the columns that hold x and y, in lower case, the surest first; the last two pairs are
array positions."""

SLOTS = ("X_spatial", "spatial_fullres", "spatial_coords", "coords", "coordinates", "X_xy", "xy")
"""Keys of ``obsm`` that hold coordinates if there is no ``obsm["spatial"]``."""

FEWEST_AT_PLACE, SHARE_AT_PLACE = 5, 0.01
"""With at least this many spots, and this share of them, at one place, it is not a real place."""


@dataclass
class _Read:
    """Coordinates x and y as they were found: the slot, and notes on them."""

    xy: NDArray[Any]
    slot: str
    notes: list[str] = field(default_factory=list)


def with_places(name: str, adata: AnnData) -> AnnData:
    """Return a slice with x and y in ``obsm["spatial"]``, and without spots that have none.

    Coordinates are taken from ``obsm["spatial"]`` (an array or a table, x and y, with a constant
    third coordinate, or the columns of ``tissue_positions``), from another slot of ``obsm``, or
    from two columns of ``obs``. Spots without numbers, at (-1, -1), or at a place that many share
    are left out. The notes of the slice say whatever is not obvious.

    Parameters
    ----------
    name
        Of the slice, for the messages.
    adata
        The slice; it is not changed.

    Returns
    -------
    The slice itself if nothing had to be done.

    Raises
    ------
    InputError
        There are no coordinates, or they cannot be read as x and y.
    """
    found = _found(name, adata)
    placed, notes = _placed(name, found)
    kept = adata.obsm.get(K.SPATIAL)
    notes = [*found.notes, *notes, *_of_shape(found.xy[placed])]
    if kept is not found.xy:
        adata = with_slots(adata, obsm={**dict(adata.obsm), K.SPATIAL: found.xy})
    if not placed.all():
        adata = adata[placed].copy()
    if notes:
        adata = adata if kept is not found.xy or not placed.all() else with_slots(adata)
        add_notes(adata, notes)
    return adata


def xy_of_slice(name: str, adata: AnnData) -> NDArray[Any]:
    """Return x and y of all spots of a slice, shape (spots, 2); see :func:`with_places`.

    They may be NaN for spots without a place.
    """
    return _found(name, adata).xy


def _found(name: str, adata: AnnData) -> _Read:
    slots = [key for key in (K.SPATIAL, *SLOTS) if key in adata.obsm]
    slots += [key for key in adata.obsm if key not in slots and key.lower() == K.SPATIAL]
    if slots:
        key = slots[0]
        found = _of_slot(name, f"obsm[{key!r}]", adata.obsm[key])
        if key != K.SPATIAL:
            found.notes.insert(0, f"coordinates are taken from {found.slot}.")
        return found
    pair = _pair_in(adata.obs.columns)
    if pair is None:
        raise InputError(
            f"Slice {name!r} has no obsm[{K.SPATIAL!r}]: put the spots' coordinates there, "
            "one row per spot."
        )
    slot = " and ".join(f"obs[{key!r}]" for key in pair)
    read = _of_table(name, slot, adata.obs[list(pair)])
    note = f"coordinates are taken from {slot}, as there is no obsm[{K.SPATIAL!r}]."
    return _Read(read.xy, slot, [note, *read.notes])


def _of_slot(name: str, slot: str, value: Any) -> _Read:
    if isinstance(value, np.ndarray) and value.dtype.names:
        value = pd.DataFrame(value)
    if isinstance(value, pd.DataFrame):
        return _of_table(name, slot, value)
    values = np.asarray(value.toarray() if hasattr(value, "toarray") else value)
    if values.ndim != 2 or values.shape[1] < 2 or values.dtype.kind not in "fiuOSU":
        raise _unreadable(name, slot, values)
    if values.shape[1] == 2 and _plain(values):
        return _Read(values, slot)
    numbers, notes = _numbers(name, slot, values)
    found = _of_columns(name, slot, numbers)
    return _Read(found.xy, slot, [*notes, *found.notes])


def _of_table(name: str, slot: str, table: pd.DataFrame) -> _Read:
    """Read a table by the names of its columns, or by their order if the names do not help."""
    pair = _pair_in(table.columns)
    if pair is None:
        found = _of_slot(name, slot, table.to_numpy())
        if table.shape[1] == 2:
            x, y = table.columns
            found.notes.insert(0, f"the columns {x!r} and {y!r} of {slot} are taken as x and y.")
        return found
    xy, notes = _numbers(name, slot, table[list(pair)].to_numpy())
    if list(pair) != list(table.columns):
        notes.insert(0, f"x and y of {slot} are its columns {pair[0]!r} and {pair[1]!r}.")
    if pair in (_as_named(table.columns, grid) for grid in PAIRS[-2:]):
        xy, note = _of_grid(xy)
        notes.append(note)
    return _Read(xy, slot, notes)


def _of_grid(xy: NDArray[np.float64]) -> tuple[NDArray[np.float64], str]:
    """Place the rows and columns of an array as on the slide, with columns one apart."""
    with np.errstate(invalid="ignore"):
        odd, odd_row = np.abs(xy.sum(axis=1)) % 2, np.abs(xy[:, 1]) % 2
    if np.nanmin(odd) == np.nanmax(odd) and np.nanmax(odd_row) == 1:
        # Every second column of a row is empty: the hexagonal array of Visium.
        return xy * [1.0, np.sqrt(3)], "they are rows and columns of a hexagonal array."
    return xy, "they are rows and columns of an array, not distances."


def _of_columns(name: str, slot: str, values: NDArray[np.float64]) -> _Read:
    """Find x and y among three columns or more."""
    # Columns without a number, such as barcodes, are none; where there are no others, two are left.
    numbers = ~np.isnan(values).all(axis=0)
    values = values[:, numbers] if numbers.sum() >= 2 else values[:, :2]
    n = values.shape[1]
    if n == 2:
        return _Read(values, slot)
    if all(np.ptp(_finite(column)) == 0 for column in values[:, 2:].T):
        return _Read(values[:, :2], slot, [f"the constant third coordinate of {slot} is not used."])
    positions = {5: values, 4: np.c_[np.ones(len(values)), values]}.get(n)
    if positions is not None and _is_positions(positions, sure=n == 5):
        columns = "in_tissue, array_row, array_col, pxl_row, pxl_col".split(", ")[5 - n :]
        return _Read(
            values[:, [n - 1, n - 2]],
            slot,
            [
                f"{slot} has the columns of tissue_positions ({', '.join(columns)}); "
                "x is pxl_col and y is pxl_row."
            ],
        )
    raise InputError(
        f"Slice {name!r}: {slot} has {n} dimensions; a slice is "
        "flat, so keep x and y and make one slice of each depth."
    )


def _is_positions(values: NDArray[np.float64], *, sure: bool) -> bool:
    """Whether columns are those of Space Ranger's ``tissue_positions``."""
    values = values[np.isfinite(values).all(axis=1)]
    grid, pixels = values[:, 1:3], values[:, 3:5]
    whole = len(values) > 0 and bool((grid == np.round(grid)).all() and (grid >= 0).all())
    if not whole or not set(np.unique(values[:, 0])) <= {0.0, 1.0}:
        return False
    # Without the first column, which says much, the array must be much coarser than the pixels.
    return sure or bool((np.ptp(grid, axis=0) * 5 < np.ptp(pixels, axis=0)).all())


def _numbers(name: str, slot: str, values: NDArray[Any]) -> tuple[NDArray[np.float64], list[str]]:
    """Read numbers, or numbers written as text; anything else becomes NaN."""
    if values.dtype.kind in "fiu":
        return values.astype(np.float64), []
    table = pd.DataFrame(values)
    text = table.map(lambda v: v.decode(errors="replace") if isinstance(v, bytes) else v)
    numbers = text.apply(pd.to_numeric, errors="coerce").to_numpy(np.float64)
    if np.isnan(numbers).all():
        raise _unreadable(name, slot, values)
    spelled = bool(text.map(lambda v: isinstance(v, str)).to_numpy().any())
    return numbers, [f"the coordinates of {slot} are text, read as numbers."] if spelled else []


def _placed(name: str, found: _Read) -> tuple[NDArray[np.bool_], list[str]]:
    """Which spots have a place of their own, and notes on the others."""
    xy = np.asarray(found.xy, dtype=np.float64)
    finite = np.asarray(np.isfinite(xy).all(axis=1))
    placed, notes = finite.copy(), []
    if not finite.all():
        what = f"whose coordinates in {found.slot} are not finite"
        notes.append(_left_out(int((~finite).sum()), what))
    places, at, counts = unique_places(xy[finite])
    if len(xy) > 1 and len(places) == 1:
        raise InputError(
            f"Slice {name!r}: all spots lie at one place, {_place(places[0])}, in {found.slot}; "
            "give each spot its own coordinates."
        )
    rows = np.flatnonzero(finite)
    for number in np.flatnonzero(_shared_by_many(places, counts)):
        here = rows[at == number]
        placed[here] = False
        what = f"at {_place(places[number])} in {found.slot}, which is no place of their own,"
        notes.append(_left_out(len(here), what))
    if len(xy) and placed.sum() <= len(xy) / 2:
        raise InputError(
            f"Slice {name!r}: {found.slot} gives a finite place of its own to {int(placed.sum())} "
            f"of {len(xy)} spots only; drop the others or give them coordinates."
        )
    return placed, notes


def unique_places(
    xy: NDArray[np.float64],
) -> tuple[NDArray[np.float64], NDArray[np.intp], NDArray[np.intp]]:
    """Find the distinct places of spots.

    Parameters
    ----------
    xy
        Shape (spots, 2), finite.

    Returns
    -------
    The places, shape (places, 2); the number of the place of each spot; how many spots each place
    has.
    """
    # NumPy sorts complex numbers as pairs, many times faster than rows of an array.
    pairs = xy[:, 0] + 1j * xy[:, 1]
    places, at, counts = np.unique(pairs, return_inverse=True, return_counts=True)
    return np.c_[places.real, places.imag], at.reshape(-1), counts


def _shared_by_many(
    places: NDArray[np.float64], counts: NDArray[np.integer[Any]]
) -> NDArray[np.bool_]:
    """Which places stand for "nowhere": (-1, -1), the origin, or one that many spots share."""
    if not len(counts):
        return np.zeros(0, dtype=bool)
    n, usual = int(counts.sum()), float(np.median(counts))
    many = counts >= max(FEWEST_AT_PLACE, SHARE_AT_PLACE * n, FEWEST_AT_PLACE * usual)
    outside = (places == -1).all(axis=1)
    if outside.any() and (places[~outside] < 0).any():
        outside[:] = False
    origin = (places == 0).all(axis=1) & (counts >= 3 * usual)
    return np.asarray(many | outside | origin)


def _of_shape(xy: NDArray[Any]) -> list[str]:
    """Say if all spots are on one line, because no tissue is."""
    if len(xy) > 2 and np.ptp(np.asarray(xy, dtype=np.float64), axis=0).min() == 0:
        return ["all spots lie on one line; look whether these are x and y."]
    return []


def _pair_in(columns: Iterable[Any]) -> tuple[Any, Any] | None:
    """Columns that hold x and y, by their names; ``None`` if there are no such two."""
    columns = list(columns)
    return next(filter(None, (_as_named(columns, pair) for pair in PAIRS)), None)


def _as_named(columns: Iterable[Any], pair: tuple[str, str]) -> tuple[Any, Any] | None:
    small = {str(column).strip().lower(): column for column in columns}
    return (small[pair[0]], small[pair[1]]) if pair[0] in small and pair[1] in small else None


def _plain(values: NDArray[Any]) -> bool:
    """Whether values are numbers of a usual type."""
    return values.dtype.kind in "iu" or (values.dtype.kind == "f" and values.dtype.itemsize >= 4)


def _finite(values: NDArray[np.float64]) -> NDArray[np.float64]:
    finite = values[np.isfinite(values)]
    return finite if len(finite) else np.zeros(1)


def _left_out(n: int, what: str) -> str:
    return f"{n:,} spots {what} were left out." if n != 1 else f"1 spot {what} was left out."


def _place(xy: Sequence[float] | NDArray[np.float64]) -> str:
    return "({:g}, {:g})".format(*xy)


def _unreadable(name: str, slot: str, values: NDArray[Any]) -> InputError:
    return InputError(
        f"Slice {name!r}: {slot} has shape {values.shape} and type {values.dtype}; "
        "put numeric x and y there, one row per spot."
    )
