"""Embeddings to compare with: principal components without integration, and Harmony."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

import numpy as np
from scipy import sparse

from napari_staligner import _keys as K
from napari_staligner._errors import ComputeError, InputError
from napari_staligner.core.prepare.counts import ValueKind, counts_slot, kind_of
from napari_staligner.core.prepare.slices import normalize, normalize_parts
from napari_staligner.core.progress import Progress, Steps, finish
from napari_staligner.core.result.ownership import claim

if TYPE_CHECKING:
    from anndata import AnnData
    from numpy.typing import NDArray

COMPONENTS = 50
TITLES: Mapping[str, str] = MappingProxyType(
    {
        K.PCA: "PCA, not integrated",
        K.HARMONY: "Harmony",
        K.EMBEDDING: "STAligner",
    }
)
"""Names for people; another embedding goes by its key."""
COMPUTED = (K.PCA, K.HARMONY)
"""Embeddings that are computed here where a file lacks them."""


@dataclass(frozen=True)
class EmbeddingJob:
    """All that the embeddings to compare with need, copied.

    Parameters
    ----------
    keys
        What is wanted: ``"X_pca"``, ``"X_pca_harmony"`` or both.
    expression
        Shape (spots, genes), CSR: counts, or values that are normalised already; ``None`` where
        ``pca`` is given.
    pca
        Shape (spots, components): principal components that are there already.
    slice_of
        Shape (spots,): number of the slice of each spot.
    seed
        Of Harmony and of the start of PCA's iteration.
    """

    keys: tuple[str, ...]
    expression: sparse.csr_matrix | None
    pca: NDArray[np.float32] | None
    slice_of: NDArray[np.integer[Any]]
    seed: int = 0


def embedding_job(adata: AnnData, keys: tuple[str, ...] = COMPUTED, seed: int = 0) -> EmbeddingJob:
    """Copy what :func:`embedding_steps` needs of integrated slices.

    Parameters
    ----------
    adata
        Integrated slices; reads ``obs["slice"]``, ``obsm["X_pca"]`` if it is there, else the genes
        in ``var["used_by_staligner"]`` of ``X`` or of the layer that held the counts.
    keys
        What is wanted.
    seed
        See :class:`EmbeddingJob`.

    Raises
    ------
    InputError
        A key is not one that is computed here, or there are no genes to compute from.
    """
    for key in keys:
        if key not in COMPUTED:
            raise InputError(
                f"obsm[{key!r}] is not in the file and cannot be computed here: choose one that "
                f"is there ({', '.join(map(repr, adata.obsm)) or 'none'}), "
                f"{' or '.join(map(repr, COMPUTED))}."
            )
    if K.HARMONY in keys:
        _harmony()
    slice_of = adata.obs[K.SLICE].cat.codes.to_numpy()
    if K.PCA in adata.obsm:
        return EmbeddingJob(keys, None, np.array(adata.obsm[K.PCA], np.float32), slice_of, seed)
    return EmbeddingJob(keys, _expression(adata), None, slice_of, seed)


def _expression(adata: AnnData) -> sparse.csr_matrix:
    layer = counts_slot(adata)
    values = adata.X if layer is None else adata.layers[layer]
    used = adata.var[K.USED_GENE].to_numpy(bool) if K.USED_GENE in adata.var else slice(None)
    if values is None or adata[:, used].n_vars < 2:
        raise InputError(
            f"The file holds no genes to compute obsm[{K.PCA!r}] from: put counts in X, "
            f"or another program's principal components in obsm[{K.PCA!r}]."
        )
    expression = sparse.csr_matrix(values[:, used], dtype=np.float32)
    if kind_of(expression) is ValueKind.COUNTS:
        return expression
    return normalize_parts(expression, adata.obs[K.SLICE].cat.codes.to_numpy())


def embedding_steps(job: EmbeddingJob) -> Steps[dict[str, NDArray[np.float32]]]:
    """Compute embeddings to compare with.

    Returns
    -------
    Of each key, shape (spots, components), float32.

    Raises
    ------
    ComputeError
        Harmony failed.
    """
    total = 2
    pca = job.pca
    if pca is None:
        yield Progress("principal components", 0, total)
        pca = principal_components(job.expression, job.seed)
    found = {K.PCA: pca}
    if K.HARMONY in job.keys:
        yield Progress("Harmony", 1, total)
        found[K.HARMONY] = harmonize(pca, job.slice_of, job.seed)
    yield Progress("embeddings", total, total)
    return {key: found[key] for key in job.keys}


def principal_components(expression: Any, seed: int = 0) -> NDArray[np.float32]:
    """First 50 principal components of log-normalised genes, all slices together.

    Parameters
    ----------
    expression
        Shape (spots, genes), CSR: counts, which are scaled to 10,000 a spot and log1p'd, or values
        that are normalised already. Sparse values are centred implicitly.
    seed
        Of the start of the iteration.

    Raises
    ------
    InputError
        All spots are the same.
    """
    from anndata import AnnData
    from scipy.sparse.linalg import ArpackError
    from sklearn.decomposition import PCA

    values = normalize("all slices", AnnData(expression), None).astype(np.float64)
    if not (values.max(axis=0) - values.min(axis=0)).nnz:
        raise InputError(
            f"The genes of the file are the same in all spots, so there is no obsm[{K.PCA!r}] to "
            "compute: put counts in X."
        )
    n = min(COMPONENTS, min(values.shape) - 1)
    try:
        pca = PCA(n, svd_solver="arpack", random_state=seed).fit_transform(values)
    except ArpackError:
        # Where many components are alike, the iteration may not end.
        pca = PCA(n, svd_solver="covariance_eigh").fit_transform(values)
    return np.asarray(pca, dtype=np.float32)


def harmonize(
    pca: NDArray[np.floating[Any]], slice_of: NDArray[np.integer[Any]], seed: int = 0
) -> NDArray[np.float32]:
    """Harmony (Korsunsky et al. 2019) with its own defaults, slices as batches.

    Parameters
    ----------
    pca
        Shape (spots, components).
    slice_of
        Shape (spots,).
    seed
        Of Harmony.

    Raises
    ------
    InputError
        harmonypy is not installed.
    ComputeError
        Harmony failed.
    """
    import pandas as pd

    harmony = _harmony()
    if len(np.unique(slice_of)) < 2:
        return np.array(pca, dtype=np.float32)
    batches = pd.DataFrame({"slice": slice_of.astype(str)})
    try:
        run = harmony.run_harmony(
            np.asarray(pca, np.float64), batches, "slice", random_state=seed, verbose=False
        )
    except (RuntimeError, ValueError) as error:
        raise ComputeError(f"Harmony failed ({error}).") from error
    corrected = np.asarray(run.Z_corr, dtype=np.float32)
    # harmonypy before 2 gives components × spots.
    return corrected if corrected.shape == pca.shape else np.ascontiguousarray(corrected.T)


def _harmony() -> Any:
    try:
        import harmonypy
    except ImportError as error:
        raise InputError(
            "Harmony needs the package harmonypy: pip install 'napari-staligner[harmony]'."
        ) from error
    return harmonypy


def add_embeddings(
    adata: AnnData, keys: tuple[str, ...] = COMPUTED, *, seed: int = 0, copy: bool = False
) -> AnnData | None:
    """Compute embeddings to compare with.

    Parameters
    ----------
    adata
        Integrated slices, see :func:`embedding_job`.
    keys
        ``"X_pca"`` (no integration), ``"X_pca_harmony"`` or both.
    seed
        Of Harmony and of the start of PCA's iteration.
    copy
        Return a changed copy.

    Returns
    -------
    ``None``, or the copy. Sets ``obsm["X_pca"]`` and ``obsm["X_pca_harmony"]`` as wanted.

    Raises
    ------
    InputError
        There are no genes, or harmonypy is not installed.
    """
    adata = adata.copy() if copy else adata
    found = finish(embedding_steps(embedding_job(adata, keys, seed)))
    if K.PCA in adata.obsm:
        # It was used as it is.
        found.pop(K.PCA, None)
    claim(adata, "obsm", *found)
    adata.obsm.update(found)
    return adata if copy else None
