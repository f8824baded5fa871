"""Embeddings to compare with: no integration, neighbour means, Harmony and SEDR."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

import numpy as np
from scipy import sparse

from napari_staligner import _keys as K
from napari_staligner._errors import ComputeError, InputError
from napari_staligner.core.evaluation.yardsticks.neighbor_means import neighbor_means
from napari_staligner.core.evaluation.yardsticks.sedr import SedrJob
from napari_staligner.core.evaluation.yardsticks.sedr_input import FEWEST_SPOTS
from napari_staligner.core.prepare.counts import ValueKind, counts_slot, kind_of
from napari_staligner.core.prepare.slices import normalize, normalize_parts
from napari_staligner.core.progress import Progress, Steps, finish, part_of
from napari_staligner.core.result.access import record_of, spots_xy
from napari_staligner.core.result.ownership import claim, written

if TYPE_CHECKING:
    from anndata import AnnData
    from numpy.typing import NDArray

COMPONENTS = 50
AVERAGED = 30
"""Number of principal components for neighbour means."""
TITLES: Mapping[str, str] = MappingProxyType(
    {
        K.PCA: "PCA, not integrated",
        K.NEIGHBOR_MEANS: "Neighbour means",
        K.HARMONY: "Harmony",
        K.NEIGHBOR_MEANS_HARMONY: "Neighbour means + Harmony",
        K.SEDR: "SEDR",
        K.SEDR_HARMONY: "SEDR + Harmony",
        K.EMBEDDING: "STAligner",
    }
)
"""Names for people; other embeddings are named by their key."""
BASES: Mapping[str, str | None] = MappingProxyType(
    {
        K.PCA: None,
        K.NEIGHBOR_MEANS: K.PCA,
        K.HARMONY: K.PCA,
        K.NEIGHBOR_MEANS_HARMONY: K.NEIGHBOR_MEANS,
        K.SEDR: None,
        K.SEDR_HARMONY: K.SEDR,
    }
)
"""Embeddings that are computed here if a file lacks them, and what each is computed from; in the
order of the tables."""
COMPUTED = tuple(BASES)
BY_HARMONY = (K.HARMONY, K.NEIGHBOR_MEANS_HARMONY, K.SEDR_HARMONY)
NO_HARMONY = "Harmony is not installed (pip install 'napari-staligner[harmony]'): it is left out."
NO_SEDR = "SEDR needs counts of genes that all slices have, in 50 spots or more: it is left out."
NO_GRAPH = "The result has no graph of neighbours on the tissue: neighbour means are left out."
_WORK: Mapping[str, int] = MappingProxyType({K.SEDR: 30, K.PCA: 3})
"""Share of the work; 1 for the others."""


def yardsticks() -> tuple[str, ...]:
    """Keys of all that can be computed here; without Harmony's, if it is not installed."""
    from importlib.util import find_spec

    if find_spec("harmonypy") is not None:
        return COMPUTED
    return tuple(key for key in COMPUTED if key not in BY_HARMONY)


def beside_yardsticks(
    adata: AnnData, others: Sequence[str] = ()
) -> tuple[tuple[str, ...], list[str]]:
    """List what is compared at once: the yardsticks, others that are named, and the embedding.

    Parameters
    ----------
    adata
        Integrated slices. What of the yardsticks is there already is taken as it is.
    others
        Keys of ``obsm``.

    Returns
    -------
    Keys, and a sentence on each kind that is left out: Harmony where it is not installed, SEDR
    where there are no counts that it can use, neighbour means without a graph.
    """
    keys, said = list(COMPUTED), []
    here = yardsticks()
    if any(key not in here and key not in adata.obsm for key in BY_HARMONY):
        said.append(NO_HARMONY)
        keys = [key for key in keys if key in here or key in adata.obsm]
    for key, missing, sentence in (
        (K.SEDR, not _can_have_sedr(adata), NO_SEDR),
        (K.NEIGHBOR_MEANS, K.CONNECTIVITIES not in adata.obsp, NO_GRAPH),
    ):
        if missing and key not in adata.obsm:
            said.append(sentence)
            on_it = {key, *(other for other, base in BASES.items() if base == key)}
            keys = [other for other in keys if other not in on_it or other in adata.obsm]
    own = [K.EMBEDDING] if K.EMBEDDING in adata.obsm else []
    keys = [*keys, *(key for key in others if key not in own), *own]
    return tuple(dict.fromkeys(keys)), said


@dataclass(frozen=True)
class EmbeddingJob:
    """Everything that the embeddings to compare with need, copied.

    Parameters
    ----------
    keys
        What is wanted, of :data:`COMPUTED`.
    there
        Existing embeddings that others are computed from, by key: shape (spots, components).
    expression
        Shape (spots, genes), CSR: counts, or values that are already normalised; ``None`` if no
        principal components are needed.
    connectivities
        Shape (spots, spots), CSR: neighbours on the tissue; ``None`` if they are not needed.
    sedr
        What SEDR needs; ``None`` if it is not wanted.
    slice_of
        Shape (spots,): number of the slice of each spot.
    seed
        Of Harmony, of SEDR and of the start of PCA's iteration.
    """

    keys: tuple[str, ...]
    there: Mapping[str, NDArray[np.float32]] = field(repr=False)
    expression: sparse.csr_matrix | None
    connectivities: sparse.csr_matrix | None
    sedr: SedrJob | None
    slice_of: NDArray[np.integer[Any]]
    seed: int = 0

    def steps(self) -> Steps[Embeddings]:
        """Compute them; see :func:`embedding_steps`."""
        return embedding_steps(self)


@dataclass(frozen=True)
class Embeddings:
    """Embeddings by their key in ``obsm``, float32, and what goes to ``uns`` with them."""

    arrays: Mapping[str, NDArray[np.float32]]
    params: Mapping[str, Any] = field(default_factory=dict)


def embedding_job(adata: AnnData, keys: tuple[str, ...] = COMPUTED, seed: int = 0) -> EmbeddingJob:
    """Copy what :func:`embedding_steps` needs from integrated slices.

    Parameters
    ----------
    adata
        Integrated slices; reads ``obs["slice"]`` and, if needed, existing embeddings,
        ``obsm["spatial"]``, ``obsp["spatial_connectivities"]`` and ``X`` or the layer with the
        counts: for principal components the genes in ``var["used_by_staligner"]``, for SEDR those
        that all slices have according to ``varm["in_slice"]``.
    keys
        What is wanted, of :data:`COMPUTED`.
    seed
        See :class:`EmbeddingJob`.

    Raises
    ------
    InputError
        A key cannot be computed here, or what it is computed from is missing.
    """
    for key in keys:
        if key not in COMPUTED:
            raise InputError(
                f"obsm[{key!r}] is not in the file and cannot be computed here: choose one that "
                f"is there ({', '.join(map(repr, adata.obsm)) or 'none'}), "
                f"{', '.join(map(repr, COMPUTED[:-1]))} or {COMPUTED[-1]!r}."
            )
    if set(keys) & set(BY_HARMONY):
        _harmony()
    steps = _in_order(keys, adata.obsm)
    bases = {BASES[key] for key in steps} - set(steps)
    slice_of = adata.obs[K.SLICE].cat.codes.to_numpy()
    return EmbeddingJob(
        keys=keys,
        there={key: np.array(adata.obsm[key], np.float32) for key in bases if key is not None},
        expression=_expression(adata) if K.PCA in steps else None,
        connectivities=_connectivities(adata) if K.NEIGHBOR_MEANS in steps else None,
        sedr=_sedr_job(adata, slice_of, seed) if K.SEDR in steps else None,
        slice_of=slice_of,
        seed=seed,
    )


def _in_order(keys: tuple[str, ...], there: Any) -> list[str]:
    """What to compute for some keys, each after what it is computed from."""
    needed: set[str] = set()
    for key in keys:
        at: str | None = key
        while at is not None and (at == key or at not in there):
            needed.add(at)
            at = BASES[at]
    return [key for key in COMPUTED if key in needed]


def _counts_of(adata: AnnData) -> Any:
    layer = counts_slot(adata)
    return adata.X if layer is None else adata.layers[layer]


def _expression(adata: AnnData) -> sparse.csr_matrix:
    values = _counts_of(adata)
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


def _connectivities(adata: AnnData) -> sparse.csr_matrix:
    if K.CONNECTIVITIES not in adata.obsp:
        raise InputError(
            f"There is no obsp[{K.CONNECTIVITIES!r}] to take neighbour means over: integrate the "
            "slices once more, or leave neighbour means out."
        )
    return sparse.csr_matrix(adata.obsp[K.CONNECTIVITIES], copy=True)


def _shared_genes(adata: AnnData) -> NDArray[np.bool_]:
    there = adata.varm.get(K.IN_SLICE, np.ones((adata.n_vars, 1)))
    return np.asarray(np.asarray(there, dtype=bool).all(axis=1), dtype=bool)


def _can_have_sedr(adata: AnnData) -> bool:
    counts = _counts_of(adata)
    if counts is None or kind_of(counts) is not ValueKind.COUNTS:
        return False
    spots = np.asarray((counts != 0).sum(axis=0)).ravel()
    return int((_shared_genes(adata) & (spots >= FEWEST_SPOTS)).sum()) > 1


def _sedr_job(adata: AnnData, slice_of: NDArray[np.integer[Any]], seed: int) -> SedrJob:
    counts, genes = _counts_of(adata), _shared_genes(adata)
    if counts is None or genes.sum() < 2:
        raise InputError(
            "SEDR needs counts of genes that all slices have, and the file holds none: put counts "
            "in X, or leave SEDR out."
        )
    params = record_of(adata).get("params", {})
    places = spots_xy(adata).copy()
    return SedrJob(counts, genes, places, slice_of, seed, str(params.get("device", "auto")))


def embedding_steps(job: EmbeddingJob) -> Steps[Embeddings]:
    """Compute embeddings to compare with.

    Returns
    -------
    For each key, shape (spots, components), float32; and in ``params`` the parameters of SEDR, for
    ``uns["sedr"]``.

    Raises
    ------
    ComputeError
        Harmony failed.
    InputError
        Principal components or SEDR cannot be computed from the values.
    """
    found, params = dict(job.there), dict[str, Any]()
    wanted = _in_order(job.keys, job.there)
    total = sum(100 * _WORK.get(key, 1) for key in wanted)
    done = 0
    for key in wanted:
        yield Progress(_stage(key), done, total)
        span = 100 * _WORK.get(key, 1)
        base = BASES[key]
        if key == K.PCA:
            found[key] = leading_components(job.expression, job.seed)
        elif key == K.NEIGHBOR_MEANS:
            found[key] = neighbor_means(found[K.PCA][:, :AVERAGED], job.connectivities)
        elif key == K.SEDR and job.sedr is not None:
            made = yield from part_of(job.sedr.steps(), done, span, total)
            found[key], params[K.SEDR_RUN] = made.embedding, made.params
        elif base is not None:
            found[key] = harmonize(found[base], job.slice_of, job.seed)
        done += span
    yield Progress("embeddings", total, total)
    return Embeddings({key: found[key] for key in job.keys}, params)


def _stage(key: str) -> str:
    return "principal components" if key == K.PCA else TITLES[key]


def leading_components(expression: Any, seed: int = 0) -> NDArray[np.float32]:
    """First 50 principal components of log-normalised genes, all slices together.

    Parameters
    ----------
    expression
        Shape (spots, genes), CSR: counts, which are scaled to 10,000 per spot and log1p'd, or
        values that are already normalised. Sparse values are centred implicitly.
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
        # If many components are alike, the iteration may not end.
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
        ``"X_pca"`` (no integration), ``"X_pca_neighbors"`` (averaged over each spot and its
        neighbours), ``"X_pca_harmony"``, ``"X_pca_neighbors_harmony"``, ``"SEDR"`` and
        ``"SEDR_harmony"``, or some of them.
    seed
        Of Harmony, of SEDR and of the start of PCA's iteration.
    copy
        Return a changed copy.

    Returns
    -------
    ``None``, or the copy. Sets ``obsm`` for each wanted key that is missing, and ``uns["sedr"]``
    with ``obsm["SEDR"]``.

    Raises
    ------
    InputError
        There are no genes, or harmonypy is not installed.
    """
    adata = adata.copy() if copy else adata
    lacking = tuple(key for key in keys if key not in adata.obsm)
    if lacking:
        record_embeddings(adata, finish(embedding_job(adata, lacking, seed).steps()))
    return adata if copy else None


def record_embeddings(adata: AnnData, found: Embeddings) -> None:
    """Write embeddings into integrated slices; the input's keys of these names are moved aside.

    Parameters
    ----------
    adata
        Sets ``obsm`` of each key and, with SEDR, ``uns["sedr"]``.
    found
        What was computed.
    """
    for key, params in found.params.items():
        ours = K.SEDR in written(adata)["obsm"]
        if key in adata.uns and not ours:
            adata.uns[f"{key}_of_input"] = adata.uns.pop(key)
        adata.uns[key] = dict(params)
    claim(adata, "obsm", *found.arrays)
    adata.obsm.update(found.arrays)
