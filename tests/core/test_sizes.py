"""Slices of very different size that show the same; benchmarks/sizes.py has larger ones."""

from __future__ import annotations

import numpy as np
from anndata import AnnData
from scipy import sparse
from sklearn.metrics import adjusted_rand_score

from napari_staligner import integrate


def test_a_slice_of_few_spots_beside_one_of_many_finds_the_same_domains():
    slices, layers = [], []
    for seed, side in enumerate((10, 55)):
        row, column = np.divmod(np.arange(side * side), side)
        layer = row * 4 // side
        means = np.where(layer[:, None] == np.arange(60) % 4, 6, 0.5)
        counts = np.random.default_rng(seed).poisson(means).astype(np.float32)
        places = np.stack([column, row], axis=1).astype(float)
        slices.append(AnnData(sparse.csr_matrix(counts), obsm={"spatial": places}))
        layers.append(layer)
    found = integrate(slices, domains=4, seed=0, pretrain_epochs=20, epochs=20, hidden=32)
    few, many = np.split(found.obs["domain"].to_numpy(), [100])
    assert adjusted_rand_score(layers[0], few) > 0.9
    assert adjusted_rand_score(layers[1], many) > 0.9
    assert set(found.uns["staligner"]["presence"]["verdict"]) == {"shared"}
    assert (found.obs["alignment_confidence"] < 0.5).mean() < 0.02
