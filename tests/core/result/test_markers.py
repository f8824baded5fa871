"""Genes that mark some spots against others."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from fakes import fake_result
from scipy.sparse import csr_matrix
from scipy.stats import false_discovery_control

from napari_staligner import _keys as K
from napari_staligner._errors import InputError
from napari_staligner.core.progress import finish
from napari_staligner.core.result import markers
from napari_staligner.core.result.markers import marker_job, marker_steps


@pytest.fixture
def result():
    """Two slices; gene4 is high in domain 2, gene7 in domain 2 of the second slice only."""
    _, result = fake_result((200, 180))
    counts = result.X.toarray()
    marked = (result.obs[K.DOMAIN] == "2").to_numpy()
    counts[marked, 4] += 6
    counts[marked & (result.obs[K.SLICE] == "slice2").to_numpy(), 7] += 6
    result.X = csr_matrix(counts)
    return result


def rows(result, domain, name=None):
    chosen = (result.obs[K.DOMAIN] == domain).to_numpy()
    if name is not None:
        chosen = chosen & (result.obs[K.SLICE] == name).to_numpy()
    return np.flatnonzero(chosen)


def test_the_gene_that_marks_a_domain_comes_first(result, monkeypatch):
    monkeypatch.setattr(markers, "_GENES_AT_ONCE", 6)
    inside = rows(result, "2")
    rest = np.setdiff1d(np.arange(result.n_obs), inside)
    steps = []
    table = finish(marker_steps(marker_job(result, inside, rest)), steps.append)
    assert table["gene"].tolist()[:2] == ["gene4", "gene7"]
    first = table.iloc[0]
    assert first["p"] < 1e-10
    assert first["log2_fold_change"] > 1.5
    expressed = result.X[:, 4].toarray().ravel() > 0
    assert first["inside"] == pytest.approx(expressed[inside].mean())
    assert first["against"] == pytest.approx(expressed[rest].mean())
    assert len(table) == 20
    assert [step.done for step in steps] == [0, 0, 6, 12, 18]


def test_tests_are_adjusted_over_all_genes_and_not_by_parts(result, monkeypatch):
    import scanpy as sc

    inside = rows(result, "2")
    rest = np.setdiff1d(np.arange(result.n_obs), inside)
    job = marker_job(result, inside, rest)
    at_once = finish(marker_steps(job))
    monkeypatch.setattr(markers, "_GENES_AT_ONCE", 7)
    by_parts = finish(marker_steps(job))
    np.testing.assert_allclose(by_parts["p"], at_once["p"])
    # scanpy's own way through
    sc.pp.normalize_total(result, target_sum=1e4)
    sc.pp.log1p(result)
    result.obs["is"] = np.isin(np.arange(result.n_obs), inside).astype(str)
    result.obs["is"] = result.obs["is"].astype("category")
    sc.tl.rank_genes_groups(
        result, "is", groups=["True"], reference="False", method="wilcoxon", tie_correct=True
    )
    ranked = result.uns["rank_genes_groups"]
    theirs = pd.DataFrame(
        {name: ranked[name]["True"] for name in ("scores", "logfoldchanges", "pvals")},
        index=ranked["names"]["True"],
    )
    theirs = theirs.loc[at_once["gene"]]
    # Single precision, in another order, makes and breaks a few ties.
    np.testing.assert_allclose(at_once["score"], theirs["scores"], atol=0.01)
    np.testing.assert_allclose(at_once["log2_fold_change"], theirs["logfoldchanges"], atol=1e-3)
    adjusted = false_discovery_control(theirs["pvals"])
    np.testing.assert_allclose(at_once["p"], adjusted, atol=0.01, rtol=0.05)


def test_one_slice_against_the_other(result):
    job = marker_job(result, rows(result, "2", "slice2"), rows(result, "2", "slice1"))
    table = finish(marker_steps(job))
    assert table["gene"].iloc[0] == "gene7"
    assert abs(table.set_index("gene").loc["gene4", "log2_fold_change"]) < 0.7


def test_genes_that_one_slice_did_not_measure_are_left_out(result):
    result.varm[K.IN_SLICE] = np.ones((20, 2), dtype=bool)
    result.varm[K.IN_SLICE][7, 0] = False
    first, second = rows(result, "2", "slice1"), rows(result, "2", "slice2")
    assert "gene7" not in marker_job(result, second, first).genes
    within = marker_job(result, second, rows(result, "1", "slice2"))
    assert "gene7" in within.genes
    assert within.expression.shape == (len(second) + len(rows(result, "1", "slice2")), 20)


def test_a_gene_that_none_of_the_spots_expresses_is_left_out(result):
    counts = result.X.toarray()
    counts[:, 9] = 0
    result.X = csr_matrix(counts)
    table = finish(marker_steps(marker_job(result, rows(result, "1"), rows(result, "2"))))
    assert len(table) == 19
    assert "gene9" not in set(table["gene"])


@pytest.mark.parametrize(
    ("inside", "against", "said"),
    [
        (np.arange(2), np.arange(5, 50), "There are 2 spots to be marked, at least 3"),
        (np.arange(9), np.arange(0), "There are 0 spots to compare with, at least 3"),
        (np.arange(9), np.arange(8, 20), "overlap"),
    ],
)
def test_what_cannot_be_compared(result, inside, against, said):
    with pytest.raises(InputError, match=said):
        marker_job(result, inside, against)


def test_nothing_to_compare(result):
    result.X = None
    with pytest.raises(InputError, match="holds no X"):
        marker_job(result, np.arange(9), np.arange(9, 30))
