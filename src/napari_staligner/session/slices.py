"""The slices of a session, and their spatial graphs."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import TYPE_CHECKING

import numpy as np
from psygnal import Signal

from napari_staligner.core.progress import Steps
from napari_staligner.core.result.access import spots_xy
from napari_staligner.core.settings import Settings
from napari_staligner.io.h5ad import free_name

if TYPE_CHECKING:
    from anndata import AnnData
    from numpy.typing import NDArray

    from napari_staligner.core.prepare.graph import SpatialGraph
    from napari_staligner.session.view import View


@dataclass(frozen=True)
class GraphJob:
    """Everything that building spatial graphs needs, copied.

    Parameters
    ----------
    coordinates
        Name of each slice and its spots (x, y), float64, shape (spots, 2).
    settings
        Which spots are neighbours.
    """

    coordinates: tuple[tuple[str, NDArray[np.float64]], ...]
    settings: Settings

    def steps(self) -> Steps[dict[str, SpatialGraph]]:
        """Build them."""
        from napari_staligner.core.prepare.graph import graph_steps

        return graph_steps(self.coordinates, self.settings)


class Slices(Mapping[str, "AnnData"]):
    """The loaded slices by name, in the order of loading.

    Parameters
    ----------
    view
        Holds the settings that the graphs are built with.
    """

    changed = Signal()
    """A slice was added, removed, or cut to fewer spots."""
    graphs_changed = Signal()
    """``graphs`` changed."""

    def __init__(self, view: View) -> None:
        self._view = view
        self._held: dict[str, AnnData] = {}
        self._graphs: dict[str, SpatialGraph] = {}
        self._cut = False
        self.more_follow = False
        """Whether slices that were opened together are still being added."""
        view.events.settings.connect(self._on_settings_changed)

    def __getitem__(self, name: str) -> AnnData:
        return self._held[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._held)

    def __len__(self) -> int:
        return len(self._held)

    # Mappings compare by content, but AnnData objects cannot be compared.
    __eq__ = object.__eq__
    __hash__ = object.__hash__

    def add(self, slices: Iterable[tuple[str, AnnData]], *, more: bool = False) -> list[str]:
        """Add slices; a name that is taken gets a number. Returns the names in the session.

        Parameters
        ----------
        slices
            Names and tables.
        more
            Whether others follow at once: what takes long waits for the last.
        """
        self.more_follow = more
        names = []
        for name, adata in slices:
            free = free_name(name, self._held)
            self._held[free] = adata
            names.append(free)
        if names:
            self.changed.emit()
        return names

    def cut(self, slices: Mapping[str, AnnData]) -> None:
        """Replace slices by ones with fewer spots; :meth:`tell_cut` signals it later.

        Parameters
        ----------
        slices
            New slices by the names of the loaded ones.
        """
        self._held |= slices
        for name in slices:
            self._graphs.pop(name, None)
        self._cut = self._cut or bool(slices)

    def tell_cut(self) -> None:
        """Signal that slices were cut, once everything about their spots has followed."""
        if self._cut:
            self._cut = False
            self.changed.emit()

    def remove(self, name: str) -> None:
        """Remove a slice, and the result if it contains the slice."""
        if self._held.pop(name, None) is None:
            return
        self._graphs.pop(name, None)
        self.changed.emit()

    def clear(self) -> None:
        """Remove all slices and the result."""
        self._held.clear()
        self._graphs.clear()
        self.changed.emit()

    @property
    def pair(self) -> tuple[str, str] | None:
        """The two slices that are compared; ``None`` with fewer than two slices."""
        pair, names = self._view.stack.pair, list(self._held)
        if pair is not None and pair[0] != pair[1] and set(pair) <= set(names):
            return pair
        return (names[0], names[1]) if len(names) > 1 else None

    # -- graphs -----------------------------------------------------------------------------

    @property
    def graphs(self) -> Mapping[str, SpatialGraph]:
        """Spatial graphs by slice, if already built for the present settings."""
        return MappingProxyType(self._graphs)

    def graph_job(self) -> GraphJob:
        """Copy what building the missing spatial graphs needs."""
        missing = [name for name in self._held if name not in self._graphs]
        places = tuple((name, spots_xy(self._held[name]).copy()) for name in missing)
        return GraphJob(places, self._view.settings)

    def set_graphs(self, graphs: Mapping[str, SpatialGraph], settings: Settings) -> None:
        """Store graphs built with ``settings``; dropped if the settings have changed since."""
        if _neighbors(settings) != _neighbors(self._view.settings):
            return
        self._graphs.update({n: g for n, g in graphs.items() if n in self._held})
        self.graphs_changed.emit()

    def _on_settings_changed(self, new: Settings, old: Settings) -> None:
        if _neighbors(new) != _neighbors(old):
            self._graphs.clear()
            self.graphs_changed.emit()


def _neighbors(settings: Settings) -> tuple[float | None, int | None]:
    return settings.radius, settings.n_neighbors
