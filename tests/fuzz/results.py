"""Integrated slices as other programs and people leave them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd
from anndata import AnnData
from scipy import sparse

RESULT_TWISTS: dict[str, Callable[[AnnData, np.random.Generator, str, Any], AnnData]] = {}


def twist(change: Callable[..., object]) -> Callable[..., object]:
    """Add a change to the twists; what it returns, or else what it changed, goes on."""

    def changed(adata: AnnData, rng: np.random.Generator, text: str, value: Any) -> AnnData:
        after = change(adata, rng, text, value)
        return after if isinstance(after, AnnData) else adata

    RESULT_TWISTS[change.__name__] = changed
    return change


def _one(rng: np.random.Generator, keys: Any) -> Any:
    there = sorted(keys)
    return there[int(rng.integers(len(there)))] if there else None


def _wrong(value: Any, text: str, rng: np.random.Generator) -> Any:
    """Anything that a slot of uns may hold by mistake."""
    all_ = [value, text, None, 1.5, np.nan, {}, {"a": value}, [], np.array([]), np.array([text])]
    all_ += [np.float16(1), True, np.array([[1.0, np.nan]]), {"a/b": 1}, pd.DataFrame({"a": [1]})]
    return all_[int(rng.integers(len(all_)))]


@twist
def a_record_is_wrong(adata, rng, text, value):
    kept = adata.uns["staligner"]
    kept[_one(rng, kept)] = _wrong(value, text, rng)


@twist
def a_record_inside_is_wrong(adata, rng, text, value):
    kept = adata.uns["staligner"]
    inner = [k for k in kept if isinstance(kept[k], dict) and kept[k]]
    if inner:
        part = kept[_one(rng, inner)]
        part[_one(rng, part)] = _wrong(value, text, rng)


@twist
def a_record_is_gone(adata, rng, text, value):
    kept = adata.uns["staligner"]
    del kept[_one(rng, kept)]


@twist
def all_records_are_wrong(adata, rng, text, value):
    adata.uns["staligner"] = _wrong(value, text, rng)


@twist
def a_uns_is_wrong(adata, rng, text, value):
    adata.uns[_one(rng, adata.uns)] = _wrong(value, text, rng)


@twist
def a_slot_is_gone(adata, rng, text, value):
    slot = [adata.obs, adata.obsm, adata.obsp, adata.uns, adata.var, adata.varm, adata.layers]
    part = slot[int(rng.integers(len(slot)))]
    key = _one(rng, list(part))
    if key is not None:
        del part[key]


@twist
def a_column_is_wrong(adata, rng, text, value):
    n, key = adata.n_obs, _one(rng, list(adata.obs))
    if key is None:
        return
    column = adata.obs[key]
    ways = [
        lambda: np.arange(n),
        lambda: np.full(n, np.nan),
        lambda: [text] * n,
        lambda: pd.Categorical([text if k % 2 else None for k in range(n)]),
        lambda: pd.Categorical(np.arange(n) % 3),
        lambda: column.astype(str).to_numpy(),
        lambda: column.to_numpy()[rng.permutation(n)],
        lambda: pd.Categorical(np.arange(n).astype(str)),
        lambda: rng.random(n) < 0.5,
        lambda: pd.Categorical(["x"] * n, ["x", "y", text or "z"]),
        lambda: np.where(rng.random(n) < 0.3, np.inf, rng.random(n)),
        lambda: rng.random(n).astype("float16"),
    ]
    adata.obs[key] = ways[int(rng.integers(len(ways)))]()


@twist
def an_array_is_wrong(adata, rng, text, value):
    n, key = adata.n_obs, _one(rng, list(adata.obsm))
    if key is None:
        return
    x = np.asarray(adata.obsm[key])
    ways = [
        lambda: np.where(rng.random(x.shape) < 0.1, np.nan, x),
        lambda: np.full(x.shape, np.nan),
        lambda: np.full(x.shape, np.inf),
        lambda: np.zeros_like(x),
        lambda: x[:, :1],
        lambda: x[:, :0],
        lambda: x.astype("float16"),
        lambda: x * 1e38,
        lambda: x.astype(str),
        lambda: pd.DataFrame(x, adata.obs_names).rename(columns=str),
        lambda: sparse.csr_matrix(x),
        lambda: x.astype(complex),
        lambda: x > 0,
        lambda: np.repeat(x[:1], n, axis=0),
        lambda: x.astype(int),
        lambda: np.asfortranarray(x[::-1]),
    ]
    adata.obsm[key] = ways[int(rng.integers(len(ways)))]()


@twist
def a_graph_is_wrong(adata, rng, text, value):
    n, key = adata.n_obs, _one(rng, list(adata.obsp))
    if key is None:
        return
    ways = [
        lambda: sparse.csr_matrix((n, n), dtype="float32"),
        lambda: np.zeros((n, n)),
        lambda: sparse.eye(n, format="csr") * np.nan,
        lambda: sparse.csc_matrix(adata.obsp[key]),
        lambda: sparse.csr_matrix(rng.random((n, n))),
        lambda: sparse.random(n, n, 0.05, format="csr", rng=rng) * -1,
        lambda: sparse.eye(n, format="csr", dtype=bool),
        lambda: sparse.coo_matrix(adata.obsp[key]).tocsr().astype("int8"),
    ]
    adata.obsp[key] = ways[int(rng.integers(len(ways)))]()


@twist
def the_matrix_is_wrong(adata, rng, text, value):
    ways = [
        lambda: None,
        lambda: np.full(adata.shape, np.nan, "float32"),
        lambda: np.zeros(adata.shape, "float32"),
        lambda: sparse.csc_matrix(adata.X),
        lambda: rng.normal(size=adata.shape),
        lambda: np.full(adata.shape, 1e30),
        lambda: sparse.csr_matrix(adata.X).astype(bool),
    ]
    adata.X = ways[int(rng.integers(len(ways)))]()


@twist
def some_spots(adata, rng, text, value):
    return adata[rng.random(adata.n_obs) < rng.choice([0.05, 0.5, 0.9])].copy()


@twist
def one_spot(adata, rng, text, value):
    return adata[:1].copy()


@twist
def no_spot(adata, rng, text, value):
    return adata[:0].copy()


@twist
def one_slice(adata, rng, text, value):
    return adata[adata.obs["slice"] == adata.obs["slice"].iloc[-1]].copy()


@twist
def mixed_spots(adata, rng, text, value):
    return adata[rng.permutation(adata.n_obs)].copy()


@twist
def some_genes(adata, rng, text, value):
    return adata[:, rng.random(adata.n_vars) < rng.choice([0.0, 0.1, 0.5])].copy()


@twist
def a_slice_is_renamed(adata, rng, text, value):
    names = adata.obs["slice"]
    if isinstance(names.dtype, pd.CategoricalDtype) and text not in names.cat.categories:
        adata.obs["slice"] = names.cat.rename_categories({names.cat.categories[0]: text})


@twist
def domains_are_renamed(adata, rng, text, value):
    names = adata.obs.get("domain")
    categorical = names is not None and isinstance(names.dtype, pd.CategoricalDtype)
    if categorical and len(names.cat.categories) and text not in names.cat.categories:
        adata.obs["domain"] = names.cat.rename_categories({names.cat.categories[0]: text})


@twist
def doubled_names(adata, rng, text, value):
    if rng.random() < 0.5:
        adata.obs_names = [text or "x"] * adata.n_obs
    else:
        adata.var_names = [text or "x"] * adata.n_vars


@twist
def joined_to_itself(adata, rng, text, value):
    import anndata as ad

    return ad.concat([adata, adata], uns_merge="first")


@twist
def an_annotation(adata, rng, text, value):
    kinds = [[text] * adata.n_obs, np.arange(adata.n_obs), np.full(adata.n_obs, np.nan)]
    key = "annotation" + ["", "_by_x", f"_by_{text}"][int(rng.integers(3))]
    adata.obs[key] = kinds[int(rng.integers(3))]
    adata.uns[f"{key}_colors"] = _wrong(value, text, rng)


@twist
def colors_are_wrong(adata, rng, text, value):
    adata.uns["domain_colors"] = [text, "#12", value]


@twist
def libraries(adata, rng, text, value):
    from fuzz.tables import TWISTS

    return TWISTS["libraries"](adata, rng, text, value)
