"""What the workers get: copies, so that they see nothing of the user's."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_staligner import _keys as K
from napari_staligner._errors import InputError
from napari_staligner.core.prepare.on_disk import sharing
from napari_staligner.core.settings import Settings
from napari_staligner.session.keeping import Keeping

if TYPE_CHECKING:
    from anndata import AnnData
    from numpy.typing import NDArray

    from napari_staligner.core.domains.slice_specific import Tissue
    from napari_staligner.core.evaluation.umap import Umap, UmapJob
    from napari_staligner.core.result.markers import MarkerJob


@dataclass(frozen=True)
class IntegrationJob:
    """All that a run needs: tables of its own, whose arrays are still the user's.

    Copying the counts of 200,000 spots takes a second, for which the window would be frozen: the
    worker does that first, by :meth:`own_slices`, and reads the arrays only for that.
    """

    slices: tuple[tuple[str, AnnData], ...]
    settings: Settings
    kept: Path | None = None
    """Where the result is written at once, so that a crash does not lose it."""

    def own_slices(self) -> list[tuple[str, AnnData]]:
        """Copy the arrays too."""
        return [(name, adata.copy()) for name, adata in self.slices]


@dataclass(frozen=True)
class GraphJob:
    """All that building the spatial graphs needs, copied."""

    coordinates: tuple[tuple[str, NDArray[np.float64]], ...]
    settings: Settings


@dataclass(frozen=True)
class DomainJob:
    """All that finding domains needs, copied."""

    embedding: NDArray[np.float32]
    connectivities: Any
    settings: Settings
    tissue: Tissue | None = None


class Session(Keeping):
    """All that one viewer holds and shows, and the jobs that work on it."""

    def umap_job(self) -> UmapJob:
        """Copy what computing a UMAP needs.

        Raises
        ------
        InputError
            There is no result yet.
        """
        from scipy.sparse import csr_matrix, hstack

        from napari_staligner.core.evaluation.umap import UmapJob

        result = self._result
        if result is None or K.EMBEDDING not in result.obsm:
            raise InputError("There is no embedding to lay out: integrate first.")
        matrix = self._expression(result)
        if matrix is not None:
            used = np.ones(result.n_vars, dtype=bool)
            if K.USED_GENE in result.var:
                used = result.var[K.USED_GENE].to_numpy(dtype=bool)
            others = csr_matrix(matrix.sum(axis=1)) - csr_matrix(matrix[:, used].sum(axis=1))
            matrix = hstack([csr_matrix(matrix[:, used]), others], format="csr")
        return UmapJob(
            {K.UMAP: np.array(result.obsm[K.EMBEDDING], dtype=np.float32)},
            matrix,
            tuple(self._rows.values()),
            int(self._params().get("seed", 0)),
        )

    def umaps_job(self, keys: Iterable[str]) -> UmapJob:
        """Copy what computing the UMAPs of embeddings needs.

        Parameters
        ----------
        keys
            Of ``obsm``; those that are not there are left out.

        Raises
        ------
        InputError
            There is no result yet.
        """
        from napari_staligner.core.evaluation.umap import UmapJob, umap_key

        result = self._result
        if result is None:
            raise InputError("There is no embedding to lay out: integrate first.")
        arrays = {
            umap_key(key): np.array(result.obsm[key], dtype=np.float32)
            for key in keys
            if key in result.obsm
        }
        return UmapJob(arrays, None, tuple(self._rows.values()), int(self._params().get("seed", 0)))

    def marker_job(
        self, inside: NDArray[np.integer[Any]], against: NDArray[np.integer[Any]]
    ) -> MarkerJob:
        """Copy what finding genes that mark rows of the result, against others, needs.

        Raises
        ------
        InputError
            There is no result, or these rows cannot be compared.
        """
        from napari_staligner.core.result.markers import marker_job

        if self._result is None:
            raise InputError("There are no integrated slices to compare: integrate first.")
        layer = self._params().get("counts_layer") or None
        return marker_job(self._result, inside, against, layer=layer)

    def _expression(self, result: AnnData) -> Any:
        """Matrix that the result was integrated from; ``None`` if it lacks that."""
        layer = self._params().get("counts_layer") or None
        return result.layers.get(layer) if layer else result.X

    def set_umap(self, umap: Umap) -> None:
        """Take UMAPs: ``obsm["X_umap"]``, ``obsm["X_umap_unintegrated"]``, and their parameters."""
        if self._result is None:
            return
        for key, array in umap.arrays.items():
            self._result.obsm[key] = array
            self._result.uns[key] = {"params": dict(umap.params)}
        self.saved = False
        self.umap_changed.emit()

    def integration_job(self) -> IntegrationJob:
        """Copy what a run needs.

        Raises
        ------
        InputError
            There is no slice.
        """
        if not self._slices:
            raise InputError("There is no slice to integrate: open one or several .h5ad files.")
        tables = tuple((name, sharing(adata, adata.X)) for name, adata in self._slices.items())
        kept = self.recovery.new_result() if self._keeping else None
        return IntegrationJob(tables, self._settings, kept)

    def graph_job(self) -> GraphJob:
        """Copy what building the missing spatial graphs needs."""
        missing = [name for name in self._slices if name not in self._graphs]
        return GraphJob(
            tuple(
                (name, np.array(self._slices[name].obsm[K.SPATIAL], dtype=np.float64))
                for name in missing
            ),
            self._settings,
        )

    def domain_job(self, settings: Settings) -> DomainJob:
        """Copy what finding domains needs.

        Raises
        ------
        InputError
            There is no result yet.
        """
        if self._result is None:
            raise InputError("There is no embedding to find domains in: integrate first.")
        from napari_staligner.core.domains.slice_specific import tissue_of

        return DomainJob(
            np.array(self._result.obsm[K.EMBEDDING]),
            self._result.obsp[K.CONNECTIVITIES].copy(),
            settings,
            tissue_of(self._result),
        )
