from __future__ import annotations

from dataclasses import replace

import anndata as ad
import numpy as np
import pandas as pd
import pytest
from scipy import sparse

from napari_staligner import Settings
from napari_staligner.core.integrate import prepare_steps
from napari_staligner.core.prepare.ranking import best_ranked, variability
from napari_staligner.core.progress import finish

GENES = [f"g{i:02d}" for i in range(80)]
STRONG = GENES[::4]


def slice_with(strong: list[str], seed: int, kind: str = "counts") -> ad.AnnData:
    """300 spots in two halves, in which some genes differ."""
    rng = np.random.default_rng(seed)
    half = np.arange(300)[:, None] < 150
    # All have about the same mean, which is what their variance is compared for.
    base = np.linspace(2.5, 3.5, len(GENES))
    means = np.where(np.isin(GENES, strong), np.where(half, 1.8, 0.2), 1) * base
    counts = rng.poisson(means).astype(np.float32)
    values = np.log1p(counts) if kind == "logarithms" else counts
    return ad.AnnData(
        sparse.csr_matrix(values),
        var=pd.DataFrame(index=GENES),
        obsm={"spatial": np.stack(np.divmod(np.arange(300.0), 20), axis=1)},
    )


# Of logarithms, bins of a few genes each say less; by chance there would be 5.
@pytest.mark.parametrize(("kind", "least"), [("counts", 20), ("logarithms", 12)])
def test_genes_that_differ_over_the_tissue_rank_first(kind, least):
    found = variability("A", slice_with(STRONG, 0, kind), None)
    assert len(set(found.sort_values().index[-20:]) & set(STRONG)) >= least


def test_a_gene_that_one_slice_ranks_low_is_not_lost_and_one_slice_alone_decides_nothing():
    of_each = [
        pd.Series([5.0, 4.0, 3.0, 2.0, 1.0], list("abcde")),
        pd.Series([5.0, 4.0, 3.0, 2.0, 1.0], list("abcde")),
        pd.Series([0.0, 4.0, 3.0, 2.0, 9.0], list("abcde")),
    ]
    assert best_ranked(["e", "d", "b", "a"], of_each, 2) == ["b", "a"]
    assert best_ranked(["b", "a"], of_each, 5) == ["b", "a"]


def test_the_number_of_genes_does_not_shrink_with_the_number_of_slices():
    # Of the genes that vary in each slice, one drops out in each, by chance or by its tissue.
    slices = [
        (f"s{n}", slice_with([g for i, g in enumerate(STRONG) if i != n], n)) for n in range(12)
    ]
    settings = replace(Settings(), n_top_genes=20)
    ranked = finish(prepare_steps(slices, settings))
    assert set(ranked.genes) == set(STRONG)
    assert ranked.expression.n_genes == 20


def test_genes_of_each_slice_are_those_of_the_published_settings():
    assert Settings().genes_wanted == 2000
    assert Settings().as_named("published").genes_wanted == 5000
    assert Settings(n_top_genes=7).as_named("published").genes_wanted == 7
    slices = [("A", slice_with(STRONG, 0)), ("B", slice_with(STRONG[5:] + GENES[1:20:4], 1))]
    settings = Settings(n_top_genes=20).as_named("published")
    with pytest.raises(Exception, match="15 genes"):
        finish(prepare_steps(slices, settings))


def test_few_spots_give_an_order_too():
    adata = slice_with(STRONG, 0)[:4].copy()
    found = variability("A", adata, None)
    assert np.isfinite(found.to_numpy()).sum() >= 20
