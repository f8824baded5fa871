"""The outlines of the cells of the loaded slices, once they are read."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import TYPE_CHECKING

from psygnal import Signal

from napari_staligner.io.outlines import outlines_job, shapes_of

if TYPE_CHECKING:
    from anndata import AnnData

    from napari_staligner.io.outlines import Masks, Outlines, OutlinesFound, OutlinesJob
    from napari_staligner.session.slices import Slices


class CellOutlines:
    """Holds the outlines that were read; a slice that is cut or replaced loses its own.

    Parameters
    ----------
    slices
        The loaded slices.
    """

    changed = Signal()
    """Outlines were read."""

    def __init__(self, slices: Slices) -> None:
        self._slices = slices
        self._held: dict[str, tuple[AnnData, Outlines | Masks | None]] = {}
        self._asked: dict[str, AnnData] = {}

    @property
    def available(self) -> list[str]:
        """Names of the slices that came with outlines."""
        return [name for name, adata in self._slices.items() if shapes_of(adata, name) is not None]

    @property
    def held(self) -> Mapping[str, Outlines | Masks]:
        """Outlines that were read, by slice."""
        known = {name: each for name, (_, each) in self._present().items() if each is not None}
        return MappingProxyType(known)

    @property
    def lacking(self) -> list[str]:
        """Names of the slices whose outlines were not read yet, nor could not be read."""
        present = self._present()
        return [name for name in self.available if name not in present]

    def job(self) -> OutlinesJob:
        """Copy what reading those that are lacking needs."""
        self._asked = {name: self._slices[name] for name in self.lacking}
        return outlines_job(self._asked)

    def set(self, found: OutlinesFound) -> None:
        """Store what the job read, also that some could not be read."""
        self._held = self._present()
        self._held |= {name: (of, found.held.get(name)) for name, of in self._asked.items()}
        self._asked = {}
        self.changed.emit()

    def forget(self) -> None:
        """Forget those that could not be read, so that they are tried again."""
        self._held = {name: each for name, each in self._present().items() if each[1] is not None}

    def _present(self) -> dict[str, tuple[AnnData, Outlines | Masks | None]]:
        return {n: each for n, each in self._held.items() if self._slices.get(n) is each[0]}
