"""Which spots are shown: those of isolated domains, of one region, or of a selection."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING

import numpy as np
from psygnal import Signal

from napari_staligner import _keys as K
from napari_staligner.session.result import no_rows
from napari_staligner.session.view import ColorBy, Region

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

    from napari_staligner.session.result import Result
    from napari_staligner.session.view import View


class Focus:
    """Finds which of all spots are shown.

    Parameters
    ----------
    view
        Holds the isolated domains, the region, and what the spots are coloured by.
    result
        The result of these spots; its selection counts too.
    """

    look_wanted = Signal(object)
    """The canvas should show the spots in some rows of the result as large as it can."""

    held = Signal(bool)
    """The canvas stays as it looks from now on, or is drawn again."""

    def __init__(self, view: View, result: Result) -> None:
        self._view, self._result = view, result

    def mask(self, selection: NDArray[np.intp] | None = None) -> NDArray[np.bool_] | None:
        """Spots that are shown.

        Parameters
        ----------
        selection
            What would be selected; ``None`` for what is.

        Returns
        -------
        Shape (spots of the result,); ``None`` if all are shown.
        """
        adata, view = self._result.adata, self._view
        parts: list[NDArray[np.bool_]] = []
        if adata is None:
            return None
        if view.isolated and K.DOMAIN in adata.obs:
            column = adata.obs[K.DOMAIN].cat
            chosen = [str(name) in view.isolated for name in column.categories]
            parts.append(np.array([*chosen, False])[column.codes.to_numpy()])
        selection = self._result.selection if selection is None else selection
        rows = [selection] if len(selection) else []
        rows += [] if view.region is None else [self._result.rows_of_region(view.region)]
        for some in rows:
            inside = np.zeros(adata.n_obs, dtype=bool)
            inside[some] = True
            parts.append(inside)
        return np.logical_and.reduce(parts) if parts else None

    @contextmanager
    def held_still(self) -> Iterator[None]:
        """Leave the canvas as it looks while what it shows changes in several steps."""
        self.held.emit(True)
        try:
            yield
        finally:
            self.held.emit(False)

    @property
    def alone(self) -> frozenset[str]:
        """Categories, of those that the spots are coloured by, shown alone; empty shows all."""
        by, region = self._view.color_by, self._view.region
        if by == ColorBy("obs", K.DOMAIN):
            return self._view.isolated
        if region is not None and by == ColorBy("obs", region.column):
            return frozenset({region.name})
        return frozenset()

    def toggle_alone(self, name: str) -> None:
        """Show one category of the colours alone, or all again; has no effect on slices."""
        view, column = self._view, self._view.color_by.key
        if column == K.DOMAIN:
            view.isolated = frozenset() if view.isolated == {name} else frozenset({name})
        elif name in self._result.named_columns.get(column, ()):
            region = Region(column, name)
            view.region = None if view.region == region else region

    def show_all(self) -> None:
        """Show all spots: isolate no domain or region, and select nothing."""
        self._view.isolated, self._view.region = frozenset(), None
        self._result.selection = no_rows()
