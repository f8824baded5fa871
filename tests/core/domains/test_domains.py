from __future__ import annotations

import numpy as np
import pytest
import scanpy as sc
from anndata import AnnData
from scipy import sparse
from sklearn.cluster import KMeans
from sklearn.metrics import adjusted_rand_score

from napari_staligner import InputError, Settings, find_domains
from napari_staligner.core.domains import leiden
from napari_staligner.core.domains.domains import (
    colors_like,
    domain_steps,
    record_domains,
    smooth_labels,
    twins,
)
from napari_staligner.core.progress import finish


def stretched_groups(sizes=(200, 150, 100, 60), seed=0):
    """Groups that share one long covariance: k-means cuts them across, the mixture does not."""
    rng = np.random.default_rng(seed)
    labels = np.repeat(np.arange(len(sizes)), sizes)
    z = rng.normal(size=(len(labels), 4)) * [5, 1, 1, 1]
    z[:, 1] += 7 * labels
    return z.astype(np.float32), labels


def as_adata(z: np.ndarray) -> AnnData:
    n = len(z)
    chain = sparse.diags([np.ones(n - 1)] * 2, [1, -1], format="csr")
    return AnnData(shape=(n, 0), obsm={"STAligner": z}, obsp={"spatial_connectivities": chain})


def test_the_mixture_finds_groups_of_one_covariance():
    z, truth = stretched_groups()
    k_means = KMeans(4, n_init=5, random_state=0).fit(z).labels_
    assert adjusted_rand_score(truth, k_means) < 0.5
    adata = as_adata(z)
    assert find_domains(adata, 4, seed=0) is None
    assert adjusted_rand_score(truth, adata.obs["domain"]) > 0.98
    assert list(adata.obs["domain"].cat.categories) == ["1", "2", "3", "4"]
    assert adata.obs["domain"].value_counts().index[0] == "1"
    assert len(set(adata.uns["domain_colors"])) == 4


def test_labels_follow_the_seed_only():
    z, _ = stretched_groups()
    one, same = (
        finish(domain_steps(z, None, Settings(domains=5, seed=3))).labels for _ in range(2)
    )
    np.testing.assert_array_equal(one, same)


def test_leiden_takes_more_domains_at_a_higher_resolution():
    z, _ = stretched_groups()
    few, many = (
        finish(domain_steps(z, None, Settings(resolution=r, seed=0))).labels.max()
        for r in (0.2, 3.0)
    )
    assert few < many


def test_leiden_finds_groups_and_about_the_same_with_nearly_all_neighbours(monkeypatch):
    z, truth = stretched_groups()
    labels = [finish(leiden.leiden_steps(z, 0.1, 0)) for _ in range(2)]
    np.testing.assert_array_equal(*labels)
    assert adjusted_rand_score(truth, labels[0]) > 0.9
    monkeypatch.setattr(leiden, "MOST_EXACT", 0)
    assert adjusted_rand_score(labels[0], finish(leiden.leiden_steps(z, 0.1, 0))) > 0.9


def test_edges_weigh_as_scanpy_has_them():
    z, _ = stretched_groups((40, 30))
    slim = AnnData(shape=(len(z), 0), obsm={"z": z.astype(np.float32)})
    sc.pp.neighbors(slim, n_neighbors=15, use_rep="z", method="gauss", transformer="sklearn")
    pairs, weights = leiden._edges(slim.obsm["z"], leiden._nearest(slim.obsm["z"]))
    theirs = slim.obsp["connectivities"]
    assert 2 * len(pairs) == theirs.nnz
    np.testing.assert_allclose(theirs[pairs[:, 0], pairs[:, 1]].A1, weights, rtol=1e-3)


def test_spots_at_one_place_have_communities():
    assert len(finish(leiden.leiden_steps(np.ones((30, 3)), 1.0, 0))) == 30


def test_more_domains_than_spots():
    z, _ = stretched_groups((3, 2))
    assert finish(domain_steps(z, None, Settings(domains=9))).labels.max() <= 4


def test_copy_leaves_the_original():
    adata = as_adata(stretched_groups()[0])
    changed = find_domains(adata, 3, copy=True)
    assert "domain" not in adata.obs
    assert "domain" in changed.obs


def test_without_embedding():
    with pytest.raises(InputError, match="integrate the slices first"):
        find_domains(AnnData(shape=(3, 0)), 2)


def test_smoothing_is_a_majority_and_keeps_ties():
    labels = np.array([0, 0, 1, 0, 0, 1, 1])
    line = sparse.diags([np.ones(6)] * 2, [1, -1], format="csr")
    # A lone spot is outvoted; at the border own and neighbour's votes hold the line.
    assert smooth_labels(labels, line).tolist() == [0, 0, 0, 0, 0, 1, 1]


def test_domains_that_match_keep_name_and_colour():
    adata = as_adata(stretched_groups()[0])
    truth = stretched_groups()[1]
    record_domains(adata, truth, Settings(domains=4))
    adata.obs["domain"] = adata.obs["domain"].cat.rename_categories({"3": "granular"})
    adata.uns["domain_colors"][2] = "#123456"
    colors = dict(zip(adata.obs["domain"].cat.categories, adata.uns["domain_colors"], strict=True))
    shuffled = np.array([3, 1, 0, 2])[truth]
    shuffled[:20] = 4
    record_domains(adata, shuffled, Settings(domains=5))
    after = dict(zip(adata.obs["domain"].cat.categories, adata.uns["domain_colors"], strict=True))
    assert (adata.obs["domain"][truth == 2] == "granular").all()
    assert {name: after[name] for name in colors} == colors
    assert len(after) == 5
    assert len(set(after.values())) == 5
    assert adata.uns["staligner"]["params"]["domains"] == 5


def test_labels_take_the_colours_of_those_that_they_share_most_spots_with():
    reference = np.repeat([0, 1, 2], [50, 30, 20])
    # The same domains under other numbers, a few spots astray, and one more of its own.
    labels = np.repeat([2, 0, 1, 3], [48, 32, 15, 5])
    np.testing.assert_array_equal(twins(labels, reference), [1, 2, 0, -1])
    colors = ["#0072b2", "#e69f00", "#009e73"]
    found = colors_like(labels, reference, colors)
    assert found[:3] == ["#e69f00", "#009e73", "#0072b2"]
    assert found[3] not in colors
    # Spots without a domain say nothing.
    assert twins(np.array([0, 0, -1]), np.array([-1, 1, 0])).tolist() == [1]
