"""Figures and UMAPs of embeddings: how good they are, and how they look in two dimensions."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

import numpy as np
from psygnal import Signal

from napari_staligner import _keys as K
from napari_staligner._errors import InputError
from napari_staligner.core.result.ownership import claim

if TYPE_CHECKING:
    from napari_staligner.core.evaluation.comparison import Method
    from napari_staligner.core.evaluation.evaluation import Evaluation, EvaluationJob
    from napari_staligner.core.evaluation.umap import Umap, UmapJob
    from napari_staligner.session.domains import Domains
    from napari_staligner.session.result import Result
    from napari_staligner.session.view import View


class EmbeddingFigures:
    """Figures and UMAPs of the embeddings of a result.

    Parameters
    ----------
    result
        The result with the embeddings.
    domains
        The figures are valid for these domains only.
    view
        Whether they are only about spots where slices overlap.
    """

    changed = Signal()
    """There are new figures, or they are gone."""
    umap_changed = Signal()
    """The result got a UMAP."""
    written = Signal()
    """Something computed was added to the result."""

    def __init__(self, result: Result, domains: Domains, view: View) -> None:
        self._result, self._domains, self._view = result, domains, view
        self._evaluation: Evaluation | None = None
        result.changed.connect(self._on_result_changed)
        domains.relabelled.connect(self._on_domains_relabelled)
        view.events.only_overlap.connect(self._on_view_only_overlap)

    def _on_result_changed(self) -> None:
        # No signal: docks that show figures refresh for a new result anyway.
        self._evaluation = None

    def _on_domains_relabelled(self) -> None:
        if self._evaluation is not None and not self._of_these_domains(self._evaluation):
            self._evaluation = None
            self.changed.emit()

    def _on_view_only_overlap(self) -> None:
        """Drop figures of other spots."""
        if self._evaluation is not None:
            self._evaluation = None
            self.changed.emit()

    # -- figures ----------------------------------------------------------------------------

    @property
    def evaluation(self) -> Evaluation | None:
        """Figures of embeddings; ``None`` until they are computed for the present domains."""
        return self._evaluation

    def job(self, labels: str | None, embeddings: Iterable[str]) -> EvaluationJob:
        """Copy what figures of embeddings need; see :func:`core.evaluation.evaluation_job`.

        Raises
        ------
        InputError
            There is no result, or a column or an embedding cannot be used.
        """
        from napari_staligner.core.evaluation.evaluation import evaluation_job

        return evaluation_job(
            self._result.needed("judge"),
            labels,
            tuple(embeddings),
            only_overlap=self._view.only_overlap,
        )

    def beside_yardsticks(self, others: Iterable[str] = ()) -> tuple[tuple[str, ...], list[str]]:
        """List what is compared at once, and sentences on what is left out.

        See :func:`core.evaluation.baselines.beside_yardsticks`.

        Raises
        ------
        InputError
            There is no result yet.
        """
        from napari_staligner.core.evaluation.baselines import beside_yardsticks

        return beside_yardsticks(self._result.needed("judge"), tuple(others))

    def set(self, evaluation: Evaluation) -> None:
        """Take figures, and write embeddings that were computed for them to ``obsm``."""
        from napari_staligner.core.evaluation.baselines import Embeddings, record_embeddings

        adata = self._result.adata
        if adata is None or not self._of_these_domains(evaluation):
            return
        record_embeddings(adata, Embeddings(evaluation.computed, evaluation.params))
        self._evaluation = evaluation
        if evaluation.computed:
            self.written.emit()
        self.changed.emit()

    def methods(self) -> tuple[Method, ...]:
        """List the methods with figures, for a view side by side.

        See :mod:`napari_staligner.core.evaluation.comparison`.
        """
        from napari_staligner.core.evaluation.comparison import methods
        from napari_staligner.core.evaluation.missing import label_codes
        from napari_staligner.core.evaluation.umap import umap_key

        adata, evaluation = self._result.adata, self._evaluation
        if adata is None or evaluation is None:
            return ()
        reference = np.full(adata.n_obs, -1)
        if self._domains.names:
            reference = adata.obs[K.DOMAIN].cat.codes.to_numpy()
        labels = None
        if evaluation.labels in adata.obs:
            labels, _, _ = label_codes(adata.obs[evaluation.labels])
        keys = {key: umap_key(key) for key in evaluation.figures}
        umaps = {key: adata.obsm[place] for key, place in keys.items() if place in adata.obsm}
        return methods(evaluation, reference, list(self._domains.colors.values()), labels, umaps)

    def _of_these_domains(self, evaluation: Evaluation) -> bool:
        import pandas as pd

        figures, adata = evaluation.figures.get(K.EMBEDDING), self._result.adata
        if figures is None or adata is None or K.DOMAIN not in adata.obs:
            return True
        return np.array_equal(figures.domains, pd.factorize(adata.obs[K.DOMAIN])[0])

    # -- UMAPs --------------------------------------------------------------------------------

    def umap_job(self) -> UmapJob:
        """Copy what UMAPs of the embedding, and of the genes before integration, need.

        Raises
        ------
        InputError
            There is no result yet.
        """
        from scipy.sparse import csr_matrix, hstack

        from napari_staligner.core.evaluation.umap import UmapJob

        adata = self._result.adata
        if adata is None or K.EMBEDDING not in adata.obsm:
            raise InputError("There is no embedding to lay out: integrate first.")
        matrix = self._result.expression
        if matrix is not None:
            used = np.ones(adata.n_vars, dtype=bool)
            if K.USED_GENE in adata.var:
                used = adata.var[K.USED_GENE].to_numpy(dtype=bool)
            others = csr_matrix(matrix.sum(axis=1)) - csr_matrix(matrix[:, used].sum(axis=1))
            matrix = hstack([csr_matrix(matrix[:, used]), others], format="csr")
        embedding = np.array(adata.obsm[K.EMBEDDING], dtype=np.float32)
        return UmapJob({K.UMAP: embedding}, matrix, self._rows(), self._seed())

    def umaps_job(self, keys: Iterable[str]) -> UmapJob:
        """Copy what computing the UMAPs of embeddings needs.

        Parameters
        ----------
        keys
            Keys of ``obsm``; missing ones are left out.

        Raises
        ------
        InputError
            There is no result yet.
        """
        from napari_staligner.core.evaluation.umap import UmapJob, umap_key

        adata = self._result.adata
        if adata is None:
            raise InputError("There is no embedding to lay out: integrate first.")
        arrays = {
            umap_key(key): np.array(adata.obsm[key], dtype=np.float32)
            for key in keys
            if key in adata.obsm
        }
        return UmapJob(arrays, None, self._rows(), self._seed())

    def set_umap(self, umap: Umap) -> None:
        """Store UMAPs: ``obsm["X_umap"]``, ``obsm["X_umap_unintegrated"]``, with parameters."""
        adata = self._result.adata
        if adata is None:
            return
        for key, array in umap.arrays.items():
            claim(adata, "obsm", key)
            adata.obsm[key] = array
            adata.uns[key] = {"params": dict(umap.params)}
        self.written.emit()
        self.umap_changed.emit()

    def _rows(self) -> tuple[np.ndarray, ...]:
        return tuple(self._result.by_slice.values())

    def _seed(self) -> int:
        return int(self._result.params.get("seed", 0))
