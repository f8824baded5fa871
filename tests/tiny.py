"""A slice of a few dozen spots with two halves, and settings that train in a second."""

from __future__ import annotations

import numpy as np
import pandas as pd
from anndata import AnnData
from scipy import sparse

from napari_staligner.core.settings import Settings

QUICK = Settings(
    pretrain_epochs=4,
    epochs=4,
    refresh=2,
    hidden=16,
    latent=6,
    mnn_k=10,
    seed=0,
    domains=2,
    # The same on every processor.
    precision="float32",
)


def tiny_slice(
    side: int = 8, n_genes: int = 40, seed: int = 0, spots: int | None = None
) -> AnnData:
    """A square grid; the left half expresses the first genes, the right half the others."""
    rng = np.random.default_rng(seed)
    x, y = np.meshgrid(np.arange(side, dtype=float), np.arange(side, dtype=float))
    points = np.stack([x.ravel(), y.ravel()], axis=1)[:spots]
    left = points[:, 0] < side / 2
    rate = np.where(left[:, None] == (np.arange(n_genes) < n_genes / 2), 6.0, 1.0)
    return AnnData(
        sparse.csr_matrix(rng.poisson(rate).astype(np.float32)),
        obs=pd.DataFrame(
            {"half": pd.Categorical(np.where(left, "left", "right"))},
            index=[f"spot{i}" for i in range(len(points))],
        ),
        var=pd.DataFrame(index=[f"gene{i}" for i in range(n_genes)]),
        obsm={"spatial": points * 10},
    )


def tiny_pair() -> list[tuple[str, AnnData]]:
    """Two such slices."""
    return [("A", tiny_slice(seed=1)), ("B", tiny_slice(side=8, seed=2, spots=56))]
