"""Marker genes of some spots against others: scanpy's rank_genes_groups, in batches of genes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_staligner import _keys as K
from napari_staligner._errors import InputError
from napari_staligner.core.progress import Progress

if TYPE_CHECKING:
    import pandas as pd
    from anndata import AnnData
    from numpy.typing import NDArray
    from scipy.sparse import csr_matrix

    from napari_staligner.core.progress import Steps

FEWEST_SPOTS = 3
_GENES_AT_ONCE = 1000


@dataclass(frozen=True)
class MarkerJob:
    """All that finding markers needs, copied.

    Parameters
    ----------
    expression
        Counts, or values that are already normalised, CSR, shape (spots, genes); the first
        ``n_inside`` spots are those to find markers for.
    genes
        Names of the genes.
    n_inside
        Number of spots to find markers for; the rest is what they are compared with.
    slice_of
        Number of the slice of each spot; ``None`` if all are of one slice.
    """

    expression: csr_matrix
    genes: NDArray[np.object_]
    n_inside: int
    slice_of: NDArray[np.integer[Any]] | None = None

    def steps(self) -> Steps[pd.DataFrame]:
        """Rank the genes; see :func:`marker_steps`."""
        return marker_steps(self)


def marker_job(
    result: AnnData,
    inside: NDArray[np.integer[Any]],
    against: NDArray[np.integer[Any]],
    *,
    layer: str | None = None,
) -> MarkerJob:
    """Copy what is needed to compare spots of integrated slices.

    Genes that a slice among the spots did not measure are left out: their zeros would be taken
    for absence of expression.

    Parameters
    ----------
    result
        Integrated slices: reads ``X`` or the layer, ``varm["in_slice"]`` and ``obs["slice"]``.
    inside, against
        Rows of the spots to find markers for, and of those they are compared with.
    layer
        Layer to read instead of ``X``.

    Raises
    ------
    InputError
        Either holds fewer than 3 spots, they overlap, or there is no expression or no gene that
        all their slices have.
    """
    from scipy.sparse import csr_matrix

    for name, rows in (("to be marked", inside), ("to compare with", against)):
        if len(rows) < FEWEST_SPOTS:
            raise InputError(
                f"There are {len(rows)} spots {name}, at least {FEWEST_SPOTS} are needed: "
                "choose others."
            )
    if np.intersect1d(inside, against).size:
        raise InputError("The spots to be marked and those to compare with overlap: separate them.")
    matrix = result.layers.get(layer) if layer else result.X
    if matrix is None:
        where = f"layers[{layer!r}]" if layer else "X"
        raise InputError(f"The result holds no {where}: integrate slices that have it.")
    rows = np.concatenate([inside, against])
    measured = _measured(result, rows)
    if not measured.any():
        raise InputError("The slices of these spots have no gene in common: compare within one.")
    part = csr_matrix(matrix[rows], dtype=np.float32)
    if not measured.all():
        part = part[:, measured]
    genes = np.array(result.var_names[measured], dtype=object)
    slice_of = result.obs[K.SLICE].cat.codes.to_numpy()[rows] if K.SLICE in result.obs else None
    return MarkerJob(part, genes, len(inside), slice_of)


def marker_steps(job: MarkerJob) -> Steps[pd.DataFrame]:
    """Rank genes by the Wilcoxon test, corrected for ties, on log-normalised expression.

    Returns
    -------
    One row per gene that any of the spots expresses, highest score first: ``gene``, ``score``,
    ``log2_fold_change``, ``p`` adjusted for all genes tested (Benjamini and Hochberg), and
    ``inside`` and ``against``, the shares of spots, 0..1, that express the gene.
    """
    import pandas as pd
    from scipy.stats import false_discovery_control

    from napari_staligner.core.prepare.slices import normalize_parts

    columns = job.expression.tocsc()
    expressed = np.asarray((columns != 0).sum(axis=0)).ravel() > 0
    genes, n = job.genes[expressed], int(expressed.sum())
    yield Progress("Markers: normalising", 0, n)
    of_one = np.zeros(job.expression.shape[0], dtype=int)
    slice_of = of_one if job.slice_of is None else job.slice_of
    columns = normalize_parts(job.expression, slice_of).tocsc()[:, expressed]
    parts = []
    for start in range(0, n, _GENES_AT_ONCE):
        yield Progress("Markers: testing genes", start, n)
        chosen = slice(start, start + _GENES_AT_ONCE)
        parts.append(_rank(columns[:, chosen], genes[chosen], job.n_inside))
    table = pd.concat(parts).loc[genes]
    table["inside"] = _share_expressed(columns[: job.n_inside])
    table["against"] = _share_expressed(columns[job.n_inside :])
    table["p"] = false_discovery_control(table["p"].to_numpy())
    table = table.rename_axis("gene").reset_index()
    return table.sort_values("score", ascending=False, ignore_index=True)


def _rank(columns: Any, genes: NDArray[np.object_], n_inside: int) -> pd.DataFrame:
    """Score, fold change and unadjusted p value of some genes."""
    import pandas as pd
    import scanpy as sc
    from anndata import AnnData

    is_inside = np.arange(columns.shape[0]) < n_inside
    groups = pd.Categorical(np.where(is_inside, "inside", "against"), ["inside", "against"])
    index = [str(i) for i in range(len(groups))]
    adata = AnnData(
        columns.tocsr(),
        obs=pd.DataFrame({"group": groups}, index=index),
        var=pd.DataFrame(index=pd.Index(genes)),
    )
    # Normalised to the same base: scanpy computes the fold change from the inverse.
    adata.uns["log1p"] = {"base": None}
    sc.tl.rank_genes_groups(
        adata,
        "group",
        groups=["inside"],
        reference="against",
        method="wilcoxon",
        tie_correct=True,
        use_raw=False,
    )
    ranked = adata.uns["rank_genes_groups"]
    columns_of = {"score": "scores", "log2_fold_change": "logfoldchanges", "p": "pvals"}
    return pd.DataFrame(
        {name: ranked[theirs]["inside"] for name, theirs in columns_of.items()},
        index=pd.Index(ranked["names"]["inside"]),
    )


def _share_expressed(columns: Any) -> NDArray[np.float64]:
    return np.asarray((columns != 0).mean(axis=0), dtype=np.float64).ravel()


def _measured(result: AnnData, rows: NDArray[np.integer[Any]]) -> NDArray[np.bool_]:
    """Genes that all slices among the rows have."""
    if K.IN_SLICE not in result.varm:
        return np.ones(result.n_vars, dtype=bool)
    slices = np.unique(result.obs[K.SLICE].cat.codes.to_numpy()[rows])
    of_slices = np.asarray(result.varm[K.IN_SLICE])[:, slices]
    return np.asarray(of_slices.astype(bool).all(axis=1))
