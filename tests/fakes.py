"""Small made-up slices and a made-up result of an integration, quick and without torch."""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np

from napari_staligner import _keys as K

if TYPE_CHECKING:
    from anndata import AnnData

    from napari_staligner.session import Session

COLORS = ("#0072b2", "#e69f00", "#009e73", "#d55e00", "#cc79a7", "#56b4e9", "#f0e442", "#96002d")
FACTOR = 0.5
"""Pixels of a tissue image per unit of the coordinates."""


def fake_slice(n: int, *, seed: int = 0, image: bool = True, n_genes: int = 20) -> AnnData:
    """Spots on a square grid, 10 apart, with counts, a column of names and one of numbers."""
    import pandas as pd
    from anndata import AnnData
    from scipy.sparse import csr_matrix

    rng = np.random.default_rng(seed)
    width = int(np.ceil(np.sqrt(n)))
    xy = np.stack(np.divmod(np.arange(n), width)[::-1], axis=1) * 10.0 + 20.0
    rank = np.arange(n) / n
    obs = pd.DataFrame(
        {
            "region": pd.Categorical(np.where(rank < 0.5, "upper", "lower"), ["upper", "lower"]),
            "depth": rank * 100,
        },
        index=[f"spot{i}" for i in range(n)],
    )
    adata = AnnData(
        csr_matrix(rng.poisson(2.0, (n, n_genes)).astype(np.float32)),
        obs=obs,
        var=pd.DataFrame(index=[f"gene{i}" for i in range(n_genes)]),
        obsm={K.SPATIAL: xy},
    )
    if image:
        adata.uns[K.SPATIAL] = {"library": _fake_library(xy)}
    return adata


def _fake_library(xy: np.ndarray) -> dict:
    """A pale image with a dark pixel under every spot."""
    columns, rows = np.round(xy * FACTOR).astype(int).T
    pixels = np.full((rows.max() + 10, columns.max() + 10, 3), 230, dtype=np.uint8)
    pixels[rows, columns] = (60, 20, 90)
    factors = {"tissue_lowres_scalef": FACTOR, "spot_diameter_fullres": 8.0}
    return {"images": {"lowres": pixels}, "scalefactors": factors}


def fake_result(
    n: tuple[int, ...] = (60, 50), n_domains: int = 4, seed: int = 0
) -> tuple[list[tuple[str, AnnData]], AnnData]:
    """Slices and what an integration of them could have returned, all slots filled.

    Domains are bands along y; every slice but the first is turned by 90° against the first.
    """
    import anndata

    slices = [(f"slice{i + 1}", fake_slice(size, seed=seed + i)) for i, size in enumerate(n)]
    result = anndata.concat(dict(slices), label=K.SLICE, index_unique="-", merge="same")
    rng = np.random.default_rng(seed)
    _add_domains(result, n_domains, rng)
    _add_alignment(result, slices)
    _add_matrices(result, slices, rng)
    result.uns[K.SPATIAL] = {
        name: next(iter(adata.uns[K.SPATIAL].values())) for name, adata in slices
    }
    return slices, result


def fake_session(n: tuple[int, ...] = (60, 50), n_domains: int = 4, seed: int = 0) -> Session:
    """A session that holds a fake result."""
    from napari_staligner.session import Session

    slices, result = fake_result(n, n_domains, seed)
    session = Session()
    session.add(slices)
    session.set_result(result, saved=True)
    return session


def _add_domains(result: AnnData, n_domains: int, rng: np.random.Generator) -> None:
    import pandas as pd

    depth = result.obs["depth"].to_numpy()
    codes = np.minimum((depth / 100 * n_domains).astype(int), n_domains - 1)
    names = [str(i + 1) for i in range(n_domains)]
    result.obs[K.DOMAIN] = pd.Categorical.from_codes(codes, names)
    result.uns[K.DOMAIN_COLORS] = [COLORS[i % len(COLORS)] for i in range(n_domains)]
    z = rng.normal(scale=0.2, size=(result.n_obs, 30)) + codes[:, None]
    result.obsm[K.EMBEDDING] = z.astype(np.float32)
    result.obs[K.CONFIDENCE] = rng.uniform(0.2, 1.0, result.n_obs).astype(np.float32)


def _add_alignment(result: AnnData, slices: list[tuple[str, AnnData]]) -> None:
    turned = np.array([[0.0, -1.0, 0.0], [1.0, 0.0, 0.0], [0.0, 0.0, 1.0]])
    transforms, aligned = {}, []
    for i, (name, adata) in enumerate(slices):
        transforms[name] = np.eye(3) if i == 0 else turned
        xy = np.column_stack([adata.obsm[K.SPATIAL], np.ones(adata.n_obs)])
        aligned.append((xy @ transforms[name].T)[:, :2])
    result.obsm[K.SPATIAL_ALIGNED] = np.vstack(aligned)
    names = [name for name, _ in slices]
    epochs = np.arange(20)
    result.uns[K.STALIGNER] = {
        "params": {"seed": 666},
        "version": "0.1.0",
        "loss": {
            "reconstruction": np.exp(-epochs / 5) + 0.1,
            "triplet": np.where(epochs < 10, np.nan, np.exp(-epochs / 8)),
        },
        "transforms": transforms,
        "slices": np.array(names, dtype=object),
        "pairs": np.array(list(pairwise(names)), dtype=object).reshape(-1, 2),
        "notes": [],
    }


def _add_matrices(
    result: AnnData, slices: list[tuple[str, AnnData]], rng: np.random.Generator
) -> None:
    """Spatial graph (4 neighbours), attention and mutual nearest neighbours."""
    from scipy.sparse import block_diag, csr_matrix, diags, identity
    from scipy.spatial import KDTree

    blocks = [
        KDTree(a.obsm[K.SPATIAL]).sparse_distance_matrix(
            KDTree(a.obsm[K.SPATIAL]), 10.5, output_type="coo_matrix"
        )
        for _, a in slices
    ]
    distances = csr_matrix(block_diag(blocks))
    distances.eliminate_zeros()
    connectivities = distances.copy()
    connectivities.data = np.ones_like(connectivities.data, dtype=np.float32)
    weights = (connectivities + 3 * identity(result.n_obs)).tocsr().astype(np.float32)
    weights.data *= rng.uniform(0.5, 1.5, len(weights.data)).astype(np.float32)
    sums = np.asarray(weights.sum(axis=1)).ravel()
    result.obsp[K.CONNECTIVITIES] = connectivities.astype(np.float32)
    result.obsp[K.DISTANCES] = distances
    result.obsp[K.ATTENTION] = csr_matrix(diags(1 / sums) @ weights).astype(np.float32)
    result.obsp[K.MUTUAL] = _mutual(result, [a.n_obs for _, a in slices])


def _mutual(result: AnnData, sizes: list[int]) -> object:
    from scipy.sparse import csr_matrix

    first, second = np.arange(min(sizes[:2])), sizes[0] + np.arange(min(sizes[:2]))
    if len(sizes) < 2:
        return csr_matrix((result.n_obs, result.n_obs), dtype=np.float32)
    rows, columns = np.concatenate([first, second]), np.concatenate([second, first])
    values = np.ones(len(rows), dtype=np.float32)
    return csr_matrix((values, (rows, columns)), shape=(result.n_obs, result.n_obs))
