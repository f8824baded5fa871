"""What a viewer holds: slices, settings, and the result of a run."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

import numpy as np
from psygnal import Signal

from napari_staligner import _keys as K
from napari_staligner._errors import InputError
from napari_staligner.core.annotations.record import is_annotation
from napari_staligner.core.settings import Settings
from napari_staligner.io.h5ad import free_name
from napari_staligner.session.shown import Shown
from napari_staligner.session.values import ColorBy, Region, Spot
from napari_staligner.session.view import View

if TYPE_CHECKING:
    from anndata import AnnData
    from numpy.typing import NDArray

    from napari_staligner.core.prepare.graph import SpatialGraph

MOST_NAMES = 60
"""A column of more names is none of regions."""


class Holdings(View):
    """Slices, their spatial graphs, settings, result, and which of its spots are selected."""

    slices_changed = Signal()
    """A slice came or went."""
    settings_changed = Signal()
    """``settings`` was set."""
    result_changed = Signal()
    """There is a new result, or none any more."""
    domains_changed = Signal()
    """Labels, names or colours of the domains changed."""
    umap_changed = Signal()
    """The result got a UMAP."""
    selection_changed = Signal()
    """``selection`` was set."""
    saved_changed = Signal()
    """``saved`` or ``path`` was set."""

    path: Shown[Path | None] = Shown(None, "saved_changed")
    """File of the session; ``None`` if it was never saved."""
    saved = Shown(True, "saved_changed")
    """Whether that file has all of it."""

    def __init__(self) -> None:
        super().__init__()
        self._slices: dict[str, AnnData] = {}
        self._rows: dict[str, NDArray[np.intp]] = {}
        self._graphs: dict[str, SpatialGraph] = {}
        self._result: AnnData | None = None
        self._settings = Settings()
        self._selection: NDArray[np.intp] = no_rows()

    # -- slices ---------------------------------------------------------------------------

    @property
    def slices(self) -> Mapping[str, AnnData]:
        """The loaded slices by name, in the order of loading."""
        return MappingProxyType(self._slices)

    def add(self, slices: Iterable[tuple[str, AnnData]]) -> list[str]:
        """Add slices; a name that is taken gets a number. Returns the names as they became."""
        names = []
        for name, adata in slices:
            free = free_name(name, self._slices)
            self._slices[free] = adata
            names.append(free)
        if names:
            self.slices_changed.emit()
        return names

    def remove(self, name: str) -> None:
        """Remove a slice; a result that holds it goes with it."""
        if name not in self._slices:
            return
        del self._slices[name]
        self._graphs.pop(name, None)
        if name in self._rows:
            self._drop_result()
        if self.spot is not None and self.spot.slice == name:
            self.spot = None
        self.slices_changed.emit()

    def clear(self) -> None:
        """Remove all slices and the result."""
        self._slices.clear()
        self._graphs.clear()
        self._drop_result()
        self.spot = None
        self.slices_changed.emit()

    @property
    def graphs(self) -> Mapping[str, SpatialGraph]:
        """Spatial graph of each slice, as far as they are built for the present settings."""
        return MappingProxyType(self._graphs)

    def set_graphs(self, graphs: Mapping[str, SpatialGraph], settings: Settings) -> None:
        """Take graphs that were built with ``settings``; dropped if those are no longer set."""
        if (settings.radius, settings.n_neighbors) != (
            self._settings.radius,
            self._settings.n_neighbors,
        ):
            return
        self._graphs.update({n: g for n, g in graphs.items() if n in self._slices})
        self.graphs_changed.emit()

    @property
    def stack_pair(self) -> tuple[str, str] | None:
        """The two slices that are compared; ``None`` with fewer than two slices."""
        pair, names = self.stack.pair, list(self._slices)
        if pair is not None and pair[0] != pair[1] and set(pair) <= set(names):
            return pair
        return (names[0], names[1]) if len(names) > 1 else None

    # -- settings and selection ------------------------------------------------------------

    @property
    def settings(self) -> Settings:
        """Settings of the next run."""
        return self._settings

    @settings.setter
    def settings(self, value: Settings) -> None:
        if value == self._settings:
            return
        old, self._settings = self._settings, value
        if (old.radius, old.n_neighbors) != (value.radius, value.n_neighbors):
            self._graphs.clear()
            self.graphs_changed.emit()
        self.settings_changed.emit()

    @property
    def selection(self) -> NDArray[np.intp]:
        """Rows of the result that are selected, sorted, read-only; empty where none is."""
        return self._selection

    @selection.setter
    def selection(self, value: NDArray[np.integer[Any]]) -> None:
        rows = np.unique(np.asarray(value, dtype=np.intp))
        rows = rows if self._result is not None else no_rows()
        if not np.array_equal(rows, self._selection):
            rows.flags.writeable = False
            self._selection = rows
            self.selection_changed.emit()

    @property
    def named_columns(self) -> dict[str, tuple[str, ...]]:
        """Columns of the result that name regions, with their names; not slices and domains."""
        found = {}
        for column in () if self._result is None else map(str, self._result.obs):
            if column in (K.SLICE, K.DOMAIN):
                continue
            values = self._result.obs[column]  # type: ignore[union-attr]
            if hasattr(values, "cat") and 0 < len(values.cat.categories) <= MOST_NAMES:
                found[column] = tuple(map(str, values.cat.categories))
        return found

    def rows_of_region(self, region: Region) -> NDArray[np.intp]:
        """Rows of the result in a region, sorted; none if there is no such column or name."""
        names = self.named_columns.get(region.column, ())
        if self._result is None or region.name not in names:
            return no_rows()
        codes = self._result.obs[region.column].cat.codes.to_numpy()
        return np.flatnonzero(codes == names.index(region.name))

    def focus(self) -> NDArray[np.bool_] | None:
        """Spots that are shown: of the isolated domains, the region and the selection.

        Returns
        -------
        Shape (spots of the result,); ``None`` where all are shown.
        """
        result, parts = self._result, []
        if result is None:
            return None
        if self._isolated and K.DOMAIN in result.obs:
            column = result.obs[K.DOMAIN].cat
            chosen = [str(name) in self._isolated for name in column.categories]
            parts.append(np.array([*chosen, False])[column.codes.to_numpy()])
        rows = [self._selection] if len(self._selection) else []
        rows += [] if self.region is None else [self.rows_of_region(self.region)]
        for some in rows:
            inside = np.zeros(result.n_obs, dtype=bool)
            inside[some] = True
            parts.append(inside)
        return np.logical_and.reduce(parts) if parts else None

    @property
    def alone(self) -> frozenset[str]:
        """Categories of what is coloured by that are shown alone; empty shows all."""
        if self._color_by == ColorBy("obs", K.DOMAIN):
            return self._isolated
        region, by = self.region, self._color_by
        known = region is not None and by == ColorBy("obs", region.column)
        return frozenset({region.name}) if region is not None and known else frozenset()

    def toggle_alone(self, name: str) -> None:
        """Show a category of what is coloured by alone, or all again; slices stay as they are."""
        column = self._color_by.key
        if column == K.DOMAIN:
            self.isolated = () if self._isolated == {name} else {name}
        elif name in self.named_columns.get(column, ()):
            region = Region(column, name)
            self.region = None if self.region == region else region

    def show_all(self) -> None:
        """Show all spots: no domain and no region alone, and nothing selected."""
        self.isolated, self.region, self.selection = (), None, no_rows()

    # -- result ---------------------------------------------------------------------------

    @property
    def result(self) -> AnnData | None:
        """The concatenated AnnData of the last run, or of the opened file."""
        return self._result

    def set_result(self, result: AnnData, *, saved: bool = False, path: Path | None = None) -> None:
        """Take a result; its slices must be loaded.

        Annotations that it brings replace those of before; without any, those of the same spots
        are kept.

        Parameters
        ----------
        result
            Integrated slices.
        saved
            Whether a file holds it.
        path
            That file.

        Raises
        ------
        InputError
            A slice of the result is not loaded, or has another number of spots.
        """
        labels = result.obs[K.SLICE]
        rows = {
            str(name): np.flatnonzero((labels == name).to_numpy()) for name in labels.cat.categories
        }
        for name, index in rows.items():
            if name not in self._slices or self._slices[name].n_obs != len(index):
                raise InputError(
                    f"Slice {name!r} of the result is not the one that is loaded: "
                    "load the slices again and run once more."
                )
        self._result, self._rows, self.path = result, rows, path
        self._follow_result()
        self.saved = saved
        self._isolated = frozenset()
        self.selection = no_rows()
        self._color_by = ColorBy("obs", K.DOMAIN if K.DOMAIN in result.obs else K.SLICE)
        self.result_changed.emit()
        self.domains_changed.emit()
        self.color_changed.emit()

    def rows(self, name: str) -> NDArray[np.intp] | None:
        """Rows of the result that belong to a slice; ``None`` if the result lacks it."""
        return self._rows.get(name)

    def spot_of_row(self, row: int) -> Spot:
        """Spot that stands in a row of the result."""
        for name, rows in self._rows.items():
            at = int(np.searchsorted(rows, row))
            if at < len(rows) and rows[at] == row:
                return Spot(name, at)
        raise IndexError(row)

    def _drop_result(self) -> None:
        if self._result is None:
            return
        self._result, self._rows, self.path = None, {}, None
        self._follow_result()
        self.saved = True
        self._isolated = frozenset()
        self.selection, self.tool = no_rows(), ""
        computed = self._color_by.key == K.DOMAIN or is_annotation(self._color_by.key)
        if self._color_by.kind in ("attention", "obsm") or computed:
            self._color_by = ColorBy()
        self.result_changed.emit()
        self.domains_changed.emit()
        self.color_changed.emit()

    def _params(self) -> dict[str, Any]:
        """Parameters of the result, as it records them."""
        if self._result is None:
            return {}
        return dict(self._result.uns.get(K.STALIGNER, {}).get("params", {}))

    def _follow_result(self) -> None:
        """Let go of what belongs to the result of before; each part of the session adds its own."""
        self.proposal = None
        self.region = None


def no_rows() -> NDArray[np.intp]:
    """Return an empty selection."""
    return np.empty(0, dtype=np.intp)
