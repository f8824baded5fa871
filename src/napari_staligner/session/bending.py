"""How the slices of a result are bent by the smooth last step of their registration."""

from __future__ import annotations

from typing import TYPE_CHECKING

from psygnal import Signal

from napari_staligner import _keys as K
from napari_staligner.core.registration.bending import bending_job, record_area

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from napari_staligner.core.registration.bending import Bending, BendingJob
    from napari_staligner.session.alignment import Alignment
    from napari_staligner.session.result import Result


class AlignmentBending:
    """The bending of the present alignment, once it is found.

    Parameters
    ----------
    result
        The integrated slices.
    alignment
        Where they lie.
    """

    changed = Signal()
    """``found`` was set, or is gone as slices were moved."""

    def __init__(self, result: Result, alignment: Alignment) -> None:
        self._result, self._alignment = result, alignment
        self._found: Bending | None = None
        # Where the spots were when it was asked for, and when it was found.
        self._asked: NDArray[np.float64] | None = None
        self._places: NDArray[np.float64] | None = None
        result.changed.connect(self._follow)
        alignment.changed.connect(self._follow)

    @property
    def found(self) -> Bending | None:
        """The bending; ``None`` if it is not known of the present alignment."""
        return self._found

    @property
    def bent(self) -> tuple[str, ...]:
        """Names of the slices that the registration has bent."""
        state = self._alignment.state
        return () if state is None else tuple(state.registered.bending)

    def job(self) -> BendingJob:
        """Copy what finding it needs.

        Raises
        ------
        InputError
            There is no result, or its slices are not registered.
        """
        self._asked = self._present()
        return bending_job(self._result.needed("show the bending of"))

    def set(self, found: Bending) -> None:
        """Store what a job found and write ``obs["area_change"]``, unless slices have moved."""
        adata = self._result.adata
        if adata is None or self._asked is not self._present():
            return
        self._found, self._places = found, self._asked
        record_area(adata, found)
        self._result.values_changed.emit(K.AREA_CHANGE)
        self.changed.emit()

    def _present(self) -> NDArray[np.float64] | None:
        state = self._alignment.state
        return None if state is None else state.registered.aligned

    def _follow(self) -> None:
        if self._found is not None and self._places is not self._present():
            self._found = None
            self._result.values_changed.emit(K.AREA_CHANGE)
            self.changed.emit()
