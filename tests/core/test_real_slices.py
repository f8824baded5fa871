"""Real slices, where they are at hand; briefly trained, since the quality is for benchmarks."""

from __future__ import annotations

import numpy as np
import pytest

from napari_staligner import integrate, read_slices

BRIEF = {"pretrain_epochs": 5, "epochs": 5, "refresh": 5, "hidden": 64, "mnn_k": 20, "seed": 0}


@pytest.mark.parametrize(
    "pattern", ["ST_breast_PASTE_slice*.h5ad", "ST_MOB_Rep*.h5ad", "ST2k_MOB*.h5ad"]
)
def test_slices_of_other_technologies(shared_data, pattern):
    slices = read_slices(sorted(shared_data.glob(pattern)))
    adata = integrate(slices, domains=4, **BRIEF)
    assert adata.n_obs == sum(part.n_obs for _, part in slices)
    assert np.isfinite(adata.obsm["STAligner"]).all()
    losses = adata.uns["staligner"]["loss"]["reconstruction"]
    assert losses[-1] < losses[0]
    neighbours = np.diff(adata.obsp["spatial_connectivities"].indptr)
    assert 5 <= neighbours.mean() <= 10
