"""The result of a session: integrated slices, their rows, and the selected rows."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
from psygnal import Signal

from napari_staligner import _keys as K
from napari_staligner._errors import InputError
from napari_staligner.core.prepare.counts import counts_slot
from napari_staligner.core.prepare.slices import with_unique_names
from napari_staligner.core.result.access import record_of

if TYPE_CHECKING:
    from anndata import AnnData
    from numpy.typing import NDArray

    from napari_staligner.core.result.markers import MarkerJob
    from napari_staligner.session.view import Region, Spot

MOST_NAMES = 60
"""A column with more names than this is not one of regions."""


class Result:
    """The concatenated AnnData of the last run or of the opened file, if there is one.

    What is computed from it or added by people belongs to the other parts of the session, which
    follow :attr:`changed`.
    """

    changed = Signal()
    """There is a new result, or it is gone; the other parts have already followed."""
    values_changed = Signal(str)
    """The values of a column of ``obs`` changed; carries its name."""
    selection_changed = Signal()
    """``selection`` was set."""

    def __init__(self) -> None:
        self._adata: AnnData | None = None
        self._rows: dict[str, NDArray[np.intp]] = {}
        self._selection: NDArray[np.intp] = no_rows()

    @property
    def adata(self) -> AnnData | None:
        """Integrated slices; ``None`` before the first run."""
        return self._adata

    def needed(self, doing: str) -> AnnData:
        """Return the integrated slices.

        Parameters
        ----------
        doing
            What they are needed for, as in "There are no integrated slices to *judge*".

        Raises
        ------
        InputError
            There are none.
        """
        if self._adata is None:
            raise InputError(f"There are no integrated slices to {doing}: integrate first.")
        return self._adata

    def cut_slices(self, adata: AnnData, slices: Mapping[str, AnnData]) -> dict[str, AnnData]:
        """Return the slices with more spots than the result, cut to the spots of the result.

        Raises
        ------
        InputError
            A slice of the result is not loaded, or lacks spots of it.
        """
        rows = _rows_by_slice(adata)
        cut = {name: _cut(name, slices.get(name), adata, rows[name]) for name in rows}
        return {name: part for name, part in cut.items() if part is not slices[name]}

    def set(self, adata: AnnData | None) -> None:
        """Set the result, or remove it; the parts that belong to it follow."""
        self._adata = adata
        self._rows = {} if adata is None else _rows_by_slice(adata)
        self.selection = no_rows()
        self.changed.emit()

    # -- rows -------------------------------------------------------------------------------

    @property
    def by_slice(self) -> Mapping[str, NDArray[np.intp]]:
        """Rows of the result by slice."""
        return self._rows

    def rows(self, name: str) -> NDArray[np.intp] | None:
        """Rows of the result that belong to a slice; ``None`` if the result lacks it."""
        return self._rows.get(name)

    def spot_of_row(self, row: int) -> Spot:
        """Return the spot in a row of the result."""
        from napari_staligner.session.view import Spot

        for name, rows in self._rows.items():
            at = int(np.searchsorted(rows, row))
            if at < len(rows) and rows[at] == row:
                return Spot(name, at)
        raise IndexError(row)

    @property
    def selection(self) -> NDArray[np.intp]:
        """Selected rows, sorted, read-only; empty if there are none."""
        return self._selection

    @selection.setter
    def selection(self, value: NDArray[np.integer[Any]]) -> None:
        rows = np.unique(np.asarray(value, dtype=np.intp))
        rows = rows if self._adata is not None else no_rows()
        if not np.array_equal(rows, self._selection):
            rows.flags.writeable = False
            self._selection = rows
            self.selection_changed.emit()

    # -- columns that name regions ------------------------------------------------------------

    @property
    def named_columns(self) -> dict[str, tuple[str, ...]]:
        """Columns that name regions, with the names in them; not slices or domains."""
        found: dict[str, tuple[str, ...]] = {}
        if self._adata is None:
            return found
        for column in map(str, self._adata.obs):
            values = self._adata.obs[column]
            named = column not in (K.SLICE, K.DOMAIN) and hasattr(values, "cat")
            if named and 0 < len(values.cat.categories) <= MOST_NAMES:
                found[column] = tuple(map(str, values.cat.categories))
        return found

    def has_region(self, region: Region) -> bool:
        """Whether the column exists and contains the name."""
        return region.name in self.named_columns.get(region.column, ())

    def rows_of_region(self, region: Region) -> NDArray[np.intp]:
        """Rows in a region, sorted; none if there is no such column or name."""
        if self._adata is None or not self.has_region(region):
            return no_rows()
        column = self._adata.obs[region.column].cat
        names = list(map(str, column.categories))
        return np.flatnonzero(column.codes.to_numpy() == names.index(region.name))

    # -- what it was made with ------------------------------------------------------------------

    @property
    def params(self) -> dict[str, Any]:
        """Parameters of the run, as recorded in the result."""
        if self._adata is None:
            return {}
        return dict(record_of(self._adata).get("params", {}))

    @property
    def expression(self) -> Any:
        """Matrix that the result was integrated from; ``None`` if it is missing."""
        if self._adata is None:
            return None
        layer = counts_slot(self._adata)
        return self._adata.layers[layer] if layer else self._adata.X

    def marker_job(
        self, inside: NDArray[np.integer[Any]], against: NDArray[np.integer[Any]]
    ) -> MarkerJob:
        """Copy what is needed to find genes that mark some rows of the result against others.

        Raises
        ------
        InputError
            There is no result, or these rows cannot be compared.
        """
        from napari_staligner.core.result.markers import marker_job

        adata = self.needed("compare")
        return marker_job(adata, inside, against, layer=counts_slot(adata))


def no_rows() -> NDArray[np.intp]:
    """Return an empty selection."""
    return np.empty(0, dtype=np.intp)


def _cut(name: str, adata: AnnData | None, result: AnnData, rows: NDArray[np.intp]) -> AnnData:
    """A loaded slice cut to its spots in the result; unchanged if the result has all."""
    if adata is not None and adata.n_obs == len(rows):
        return adata
    spots = result.obs_names[rows].str.removesuffix(f"_{name}")
    names = spots[:0] if adata is None else with_unique_names(name, adata)[0].obs_names
    if adata is None or not spots.isin(names).all():
        raise InputError(
            f"Slice {name!r} of the result is not the one that is loaded: "
            "load and integrate the slices again."
        )
    return adata[names.isin(spots)].copy()


def _rows_by_slice(adata: AnnData) -> dict[str, NDArray[np.intp]]:
    labels = adata.obs[K.SLICE]
    return {
        str(name): np.flatnonzero((labels == name).to_numpy()) for name in labels.cat.categories
    }
