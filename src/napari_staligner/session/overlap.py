"""Where the slices of a result overlap, for residuals, presence and figures."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from psygnal import Signal

from napari_staligner import _keys as K
from napari_staligner.core.result.overlap import common_spots, overlap_job, record_overlap

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from napari_staligner.core.domains.presence import PresenceTable
    from napari_staligner.core.result.overlap import Overlap, OverlapJob
    from napari_staligner.session.alignment import Alignment
    from napari_staligner.session.result import Result
    from napari_staligner.session.view import View


class Overlapping:
    """The spots that lie on tissue of all slices, if the view asks only for those.

    Parameters
    ----------
    result
        Holds them, in ``obs["slices_overlapping"]``.
    view
        ``view.only_overlap`` asks for them.
    alignment
        When slices are moved, they must be found anew.
    """

    written = Signal()
    """``obs["slices_overlapping"]`` was written."""

    def __init__(self, result: Result, view: View, alignment: Alignment) -> None:
        self._result, self._view = result, view
        self._tested: tuple[bytes, PresenceTable] | None = None
        alignment.changed.connect(self._on_moved)
        result.changed.connect(self._on_moved)

    @property
    def known(self) -> bool:
        """Whether the overlap of the present alignment was found."""
        adata = self._result.adata
        return adata is not None and common_spots(adata) is not None

    @property
    def mask(self) -> NDArray[np.bool_] | None:
        """Spots that count, shape (spots,); ``None`` if the view asks for all."""
        adata = self._result.adata
        if adata is None or not self._view.only_overlap:
            return None
        return common_spots(adata)

    def job(self) -> OverlapJob:
        """Copy what finding the overlap needs.

        Raises
        ------
        InputError
            There is no result, or its slices are not registered.
        """
        return overlap_job(self._result.needed("overlap"))

    def set(self, found: Overlap) -> None:
        """Write what was found, unless slices were moved since, and show only that."""
        adata = self._result.adata
        if adata is None or len(found.on) != adata.n_obs:
            return
        record_overlap(adata, found)
        self.written.emit()
        self._result.values_changed.emit(K.OVERLAPPING)
        self._view.only_overlap = True

    def presence(self) -> PresenceTable | None:
        """Test in which slices the domains are, where slices overlap; nothing is written.

        ``None`` if the view asks for all spots, or without domains.
        """
        from napari_staligner.core.domains.presence import domain_presence

        mask, adata = self.mask, self._result.adata
        if mask is None or adata is None or K.DOMAIN not in adata.obs or not mask.any():
            return None
        key = mask.tobytes() + adata.obs[K.DOMAIN].cat.codes.to_numpy().tobytes()
        key += "\n".join(map(str, adata.obs[K.DOMAIN].cat.categories)).encode()
        if self._tested is None or self._tested[0] != key:
            self._tested = key, domain_presence(adata, mask)
        return self._tested[1]

    def _on_moved(self) -> None:
        if self._view.only_overlap and not self.known:
            self._view.only_overlap = False
