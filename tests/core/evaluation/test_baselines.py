from __future__ import annotations

import numpy as np
import pytest
from fakes import fake_result

from napari_staligner import _keys as K
from napari_staligner._errors import InputError
from napari_staligner.core.evaluation import baselines as embeddings
from napari_staligner.core.evaluation.baselines import (
    Embeddings,
    add_embeddings,
    beside_yardsticks,
    embedding_job,
    leading_components,
    record_embeddings,
)
from napari_staligner.core.evaluation.yardsticks.sedr import SedrJob


@pytest.fixture
def result():
    _, adata = fake_result((90, 70))
    adata.X = adata.X.astype(np.float32)
    return adata


def test_components_are_those_of_scanpy(result):
    import scanpy as sc

    plain = result.copy()
    sc.pp.normalize_total(plain, target_sum=1e4)
    sc.pp.log1p(plain)
    sc.pp.pca(plain, n_comps=10)
    ours = leading_components(result.X)
    assert ours.dtype == np.float32
    overlap = np.abs((ours[:, :10] * plain.obsm["X_pca"]).sum(axis=0))
    norms = np.linalg.norm(ours[:, :10], axis=0) * np.linalg.norm(plain.obsm["X_pca"], axis=0)
    np.testing.assert_allclose(overlap, norms, rtol=1e-3)


def test_only_genes_that_were_used_count(result):
    result.var[K.USED_GENE] = np.arange(result.n_vars) < 12
    assert embedding_job(result, (K.PCA,)).expression.shape == (result.n_obs, 12)


def test_harmony_mixes_slices_that_are_apart(result):
    pytest.importorskip("harmonypy", reason="harmonypy is not installed (extra 'harmony')")
    rng = np.random.default_rng(0)
    first = (result.obs[K.SLICE] == "slice1").to_numpy()
    kinds = 8 * np.eye(5)[np.arange(result.n_obs) % 3]
    pca = (kinds + rng.normal(scale=0.5, size=kinds.shape)).astype(np.float32)
    pca[first, 4] += 2
    result.obsm[K.PCA] = pca.copy()
    assert add_embeddings(result, (K.HARMONY,)) is None
    np.testing.assert_array_equal(result.obsm[K.PCA], pca)
    mixed = result.obsm[K.HARMONY]
    assert mixed.dtype == np.float32

    def apart(z):
        return np.linalg.norm(z[first].mean(axis=0) - z[~first].mean(axis=0))

    assert apart(mixed) < 0.25 * apart(pca)
    del result.obsm[K.HARMONY]
    again = add_embeddings(result, (K.HARMONY,), copy=True)
    np.testing.assert_array_equal(again.obsm[K.HARMONY], mixed)


def test_what_is_there_is_taken_and_what_others_rest_on_is_computed(result):
    rng = np.random.default_rng(0)
    pca = rng.normal(size=(result.n_obs, 40)).astype(np.float32)
    result.obsm[K.PCA] = pca.copy()
    add_embeddings(result, (K.PCA, K.NEIGHBOR_MEANS))
    np.testing.assert_array_equal(result.obsm[K.PCA], pca)
    near = result.obsp[K.CONNECTIVITIES][0].indices
    wanted = pca[[0, *near], :30].mean(axis=0)
    np.testing.assert_allclose(result.obsm[K.NEIGHBOR_MEANS][0], wanted, rtol=1e-5)
    # Without components, they are computed on the way, and only what is wanted is written.
    bare = result.copy()
    del bare.obsm[K.PCA], bare.obsm[K.NEIGHBOR_MEANS]
    add_embeddings(bare, (K.NEIGHBOR_MEANS,))
    assert K.PCA not in bare.obsm
    assert bare.obsm[K.NEIGHBOR_MEANS].shape == (160, 19)


def test_sedr_is_kept_with_what_it_was_made_with(result, monkeypatch):
    pytest.importorskip("harmonypy", reason="harmonypy is not installed (extra 'harmony')")
    monkeypatch.setattr(embeddings, "SedrJob", lambda *parts: SedrJob(*parts, epochs=3))
    result.uns[K.STALIGNER]["params"] |= {"device": "cpu"}
    result.varm[K.IN_SLICE] = np.ones((result.n_vars, 2), bool)
    result.varm[K.IN_SLICE][:4, 1] = False
    result.uns["sedr"] = "of somebody"
    job = embedding_job(result, (K.SEDR_HARMONY, K.SEDR))
    assert job.expression is None
    assert job.sedr.genes.sum() == 16
    add_embeddings(result, (K.SEDR, K.SEDR_HARMONY), seed=5)
    assert result.obsm[K.SEDR].shape == result.obsm[K.SEDR_HARMONY].shape == (160, 32)
    assert not np.allclose(result.obsm[K.SEDR], result.obsm[K.SEDR_HARMONY])
    assert result.uns["sedr"]["seed"] == 5
    assert len(result.uns["sedr"]["loss"]) == 3
    assert result.uns["sedr_of_input"] == "of somebody"
    # Somebody's own SEDR is what Harmony starts from.
    result.obsm[K.SEDR] = np.eye(160, 32)
    del result.obsm[K.SEDR_HARMONY]
    assert embedding_job(result, (K.SEDR_HARMONY,)).sedr is None


def test_an_embedding_of_the_input_is_never_written_over(result):
    own = np.ones((result.n_obs, 3))
    result.obsm[K.NEIGHBOR_MEANS] = own
    record_embeddings(result, Embeddings({K.NEIGHBOR_MEANS: np.zeros((result.n_obs, 2))}))
    assert result.obsm[K.NEIGHBOR_MEANS].shape[1] == 2
    np.testing.assert_array_equal(result.obsm[K.NEIGHBOR_MEANS + "_of_input"], own)


def test_without_harmonypy_what_needs_it_is_left_out(result, monkeypatch):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    result.obsm["other"] = np.ones((result.n_obs, 3))
    keys, said = beside_yardsticks(result, ("other", K.EMBEDDING))
    assert keys == (K.PCA, K.NEIGHBOR_MEANS, K.SEDR, "other", K.EMBEDDING)
    assert said == [embeddings.NO_HARMONY]
    result.obsm[K.HARMONY] = np.ones((result.n_obs, 3))
    assert K.HARMONY in beside_yardsticks(result)[0]


@pytest.mark.parametrize("what", ["logged", "rare", "none shared"])
def test_sedr_is_left_out_where_it_has_no_counts_to_use(result, what):
    pytest.importorskip("harmonypy", reason="harmonypy is not installed (extra 'harmony')")
    assert beside_yardsticks(result) == ((*embeddings.COMPUTED, K.EMBEDDING), [])
    if what == "logged":
        result.X = np.log1p(result.X.toarray() / 3)
    elif what == "rare":
        result.X = result.X.multiply(np.arange(result.n_obs)[:, None] < 40).tocsr()
    else:
        result.varm[K.IN_SLICE] = np.arange(40).reshape(20, 2) % 2 == 0
    keys, said = beside_yardsticks(result)
    assert keys == (*embeddings.COMPUTED[:4], K.EMBEDDING)
    assert said == [embeddings.NO_SEDR]
    result.obsm[K.SEDR] = np.ones((result.n_obs, 3))
    assert beside_yardsticks(result) == ((*embeddings.COMPUTED, K.EMBEDDING), [])


def test_neighbour_means_are_left_out_without_a_graph(result):
    del result.obsp[K.CONNECTIVITIES]
    keys, said = beside_yardsticks(result)
    assert not {K.NEIGHBOR_MEANS, K.NEIGHBOR_MEANS_HARMONY} & set(keys)
    assert embeddings.NO_GRAPH in said


def test_copy_leaves_the_original(result):
    changed = add_embeddings(result, (K.PCA,), copy=True)
    assert K.PCA not in result.obsm
    assert changed.obsm[K.PCA].shape[0] == result.n_obs


def test_bad_input(result, monkeypatch):
    with pytest.raises(InputError, match="cannot be computed here: choose one that is there"):
        embedding_job(result, ("scVI",))
    empty = result[:, :0].copy()
    with pytest.raises(InputError, match="holds no genes"):
        embedding_job(empty, (K.PCA,))
    del result.obsp[K.CONNECTIVITIES]
    with pytest.raises(InputError, match="neighbour means"):
        embedding_job(result, (K.NEIGHBOR_MEANS_HARMONY,))
    monkeypatch.setitem(__import__("sys").modules, "harmonypy", None)
    with pytest.raises(InputError, match=r"napari-staligner\[harmony\]"):
        embedding_job(result, (K.HARMONY,))


def test_titles_cover_what_is_computed():
    assert set(embeddings.COMPUTED) < set(embeddings.TITLES)
