from __future__ import annotations

import numpy as np
import pytest
from fakes import fake_result

from napari_staligner import _keys as K
from napari_staligner._errors import InputError
from napari_staligner.core.evaluation import baselines as embeddings
from napari_staligner.core.evaluation.baselines import (
    add_embeddings,
    embedding_job,
    principal_components,
)


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
    ours = principal_components(result.X)
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
    again = add_embeddings(result, (K.HARMONY,), copy=True)
    np.testing.assert_array_equal(again.obsm[K.HARMONY], mixed)


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
    monkeypatch.setitem(__import__("sys").modules, "harmonypy", None)
    with pytest.raises(InputError, match=r"napari-staligner\[harmony\]"):
        embedding_job(result, (K.HARMONY,))


def test_titles_cover_what_is_computed():
    assert set(embeddings.COMPUTED) < set(embeddings.TITLES)
