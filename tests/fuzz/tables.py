"""Slices as people have them: what a sound one is turned into."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from anndata import AnnData
from scipy import sparse
from tiny import tiny_slice

if TYPE_CHECKING:
    from fuzz.cases import Table

MATRICES: dict[str, Callable[[np.ndarray], Any]] = {
    "csr": sparse.csr_matrix,
    "csc": sparse.csc_matrix,
    "csr_array": sparse.csr_array,
    "csc_array": sparse.csc_array,
    "dense": np.ascontiguousarray,
    "fortran": np.asfortranarray,
    "unsorted": lambda x: _unsorted(x),
    "doubled": lambda x: _doubled(x),
    "zeros stored": lambda x: _zeros_stored(x),
    "long indices": lambda x: _long(x),
    "masked": lambda x: np.ma.masked_equal(x, 1),
}
DTYPES = "float64 int32 int64 uint8 uint16 float16 bool int8 complex64 >f4 object".split()


def made(table: Table) -> AnnData | None:
    """Return the slice of a recipe; ``None`` if numpy, scipy or anndata does not let it be."""
    try:
        return _made(table)
    except Exception:  # any of theirs
        return None


def _made(table: Table) -> AnnData:
    rng = np.random.default_rng(table.seed)
    adata = tiny_slice(side=table.side, n_genes=table.genes, seed=table.seed)
    counts = adata.X.toarray()
    dtype = "float32" if table.matrix != "dense" and table.dtype in ("object",) else table.dtype
    with np.errstate(all="ignore"):
        counts = counts.astype(dtype)
    matrix = "dense" if table.dtype == "float16" else table.matrix
    adata.X = MATRICES[matrix](counts)
    for name in table.twists:
        adata = TWISTS[name](adata, rng, table.text, table.value)
    return adata


def _unsorted(x: np.ndarray) -> Any:
    csr = sparse.csr_matrix(x)
    for a, b in zip(csr.indptr[:-1], csr.indptr[1:], strict=True):
        csr.indices[a:b], csr.data[a:b] = csr.indices[a:b][::-1].copy(), csr.data[a:b][::-1].copy()
    csr.has_sorted_indices = False
    return csr


def _doubled(x: np.ndarray) -> Any:
    coo = sparse.coo_matrix(x)
    two = np.concatenate
    csr = sparse.csr_matrix(x.shape, dtype=x.dtype)
    order = np.argsort(two([coo.row, coo.row]), kind="stable")
    csr.indices = two([coo.col, coo.col])[order].astype(np.int32)
    csr.data = two([coo.data, coo.data])[order]
    csr.indptr = np.searchsorted(two([coo.row, coo.row])[order], np.arange(x.shape[0] + 1)).astype(
        np.int32
    )
    return csr


def _zeros_stored(x: np.ndarray) -> Any:
    csr = sparse.csr_matrix(np.ones(x.shape, x.dtype))
    csr.data[:] = x.ravel()
    return csr


def _long(x: np.ndarray) -> Any:
    csr = sparse.csr_matrix(x)
    csr.indices, csr.indptr = csr.indices.astype(np.int64), csr.indptr.astype(np.int64)
    return csr


# --- twists: AnnData, chance, a text, a value -> AnnData

Twist = Callable[[AnnData, np.random.Generator, str, Any], AnnData]
TWISTS: dict[str, Twist] = {}


def twist(change: Callable[..., object]) -> Callable[..., object]:
    """Add a change to the twists; what it returns, or else what it changed, goes on."""

    def changed(adata: AnnData, rng: np.random.Generator, text: str, value: Any) -> AnnData:
        after = change(adata, rng, text, value)
        return after if isinstance(after, AnnData) else adata

    TWISTS[change.__name__] = changed
    return change


def _put(adata: AnnData, rng: Any, number: Any, share: float = 0.05) -> None:
    """Set some counts."""
    x = adata.X.toarray() if sparse.issparse(adata.X) else np.array(adata.X)
    if x.dtype.kind not in "fc":
        x = x.astype("float32")
    x[rng.random(x.shape) < share] = number
    adata.X = sparse.csr_matrix(x) if sparse.issparse(adata.X) else x


for _name, _number, _share in (
    ("one_nan", np.nan, 0.01),
    ("infinities", np.inf, 0.02),
    ("negative", -1.0, 0.05),
    ("huge", 1e30, 0.01),
    ("big", 1e14, 0.01),
    ("subnormal", 1e-40, 0.3),
    ("all_zero", 0.0, 1.1),
    ("all_one", 1.0, 1.1),
    ("nearly_all_zero", 0.0, 0.98),
    ("half", 0.5, 0.3),
):
    TWISTS[_name] = lambda adata, rng, text, value, n=_number, s=_share: (
        _put(adata, rng, n, s),
        adata,
    )[1]


@twist
def constant_genes(adata, rng, text, value):
    x = adata.X.toarray() if sparse.issparse(adata.X) else np.array(adata.X)
    x[:, : x.shape[1] - int(rng.integers(0, 25))] = 3
    adata.X = sparse.csr_matrix(x) if rng.random() < 0.5 and x.dtype != object else x


@twist
def empty_spots(adata, rng, text, value):
    x = adata.X.toarray() if sparse.issparse(adata.X) else np.array(adata.X)
    x[rng.random(len(x)) < 0.7] = 0
    adata.X = sparse.csr_matrix(x.astype("float32"))


@twist
def no_x(adata, rng, text, value):
    del adata.X


@twist
def no_spots(adata, rng, text, value):
    return adata[:0].copy()


@twist
def no_genes(adata, rng, text, value):
    return adata[:, :0].copy()


@twist
def logged(adata, rng, text, value):
    x = adata.X
    adata.X = x.log1p() if hasattr(x, "log1p") else np.log1p(np.asarray(x, float))


@twist
def counts_in_a_layer(adata, rng, text, value):
    adata.layers["counts"] = adata.X.copy()
    adata.X = np.zeros(adata.shape, "float32")


@twist
def raw_beside(adata, rng, text, value):
    adata.raw = adata
    adata.X = np.asarray(rng.normal(size=adata.shape), "float32")


@twist
def same_spot_names(adata, rng, text, value):
    adata.obs_names = [text or "spot"] * adata.n_obs


@twist
def same_gene_names(adata, rng, text, value):
    adata.var_names = [text or "gene"] * adata.n_vars


@twist
def some_gene_names_twice(adata, rng, text, value):
    adata.var_names = [f"gene{k // 2}" for k in range(adata.n_vars)]


@twist
def numbered_names(adata, rng, text, value):
    adata.var_names = [str(k) for k in range(adata.n_vars)]
    adata.obs_names = [str(k) for k in range(adata.n_obs)]


@twist
def ensembl_names(adata, rng, text, value):
    adata.var_names = [f"ENSMUSG{k:011d}.{k % 9}" for k in range(adata.n_vars)]


@twist
def odd_gene(adata, rng, text, value):
    adata.var_names = [text, *adata.var_names[1:]]


@twist
def odd_spot(adata, rng, text, value):
    adata.obs_names = [text, *adata.obs_names[1:]]


@twist
def odd_column(adata, rng, text, value):
    adata.obs[text or "x"] = rng.integers(0, 3, adata.n_obs)


@twist
def our_columns(adata, rng, text, value):
    for key in ("domain", "slice", "library_id", "alignment_confidence", "annotation"):
        if rng.random() < 0.5:
            adata.obs[key] = [text] * adata.n_obs


@twist
def columns_of_all_kinds(adata, rng, text, value):
    n = adata.n_obs
    adata.obs["int"] = pd.array([None, *range(n - 1)][:n], dtype="Int64")
    adata.obs["bool"] = pd.array([None, *[True] * (n - 1)][:n], dtype="boolean")
    adata.obs["cat"] = pd.Categorical([np.nan, *[text] * (n - 1)][:n])
    adata.obs["num cat"] = pd.Categorical(np.arange(n) % 3)
    adata.obs["mixed"] = pd.Series(
        [text if k % 2 else k for k in range(n)], adata.obs_names, dtype=object
    )
    adata.obs["date"] = pd.date_range("2020", periods=n)
    adata.obs["delta"] = pd.to_timedelta(np.arange(n), unit="s")
    adata.obs["complex"] = np.ones(n, complex)


@twist
def sections(adata, rng, text, value):
    names = [text or "s1", "s2", None]
    adata.obs["sample"] = [names[k % int(rng.integers(1, 4))] for k in range(adata.n_obs)]


@twist
def in_tissue(adata, rng, text, value):
    wrong = [0, 1, np.nan, "1", text, True, 2.5]
    adata.obs["in_tissue"] = pd.Series(
        [wrong[k % int(rng.integers(1, 8))] for k in range(adata.n_obs)],
        adata.obs_names,
        dtype=object,
    )


@twist
def array_places(adata, rng, text, value):
    adata.obs["array_row"] = rng.choice([0.0, 1.0, np.nan, -1e9], adata.n_obs)
    adata.obs["array_col"] = [text] * adata.n_obs if rng.random() < 0.5 else 1


@twist
def no_coordinates(adata, rng, text, value):
    del adata.obsm["spatial"]


@twist
def coordinates(adata, rng, text, value):
    n, xy = adata.n_obs, np.asarray(adata.obsm["spatial"], float)
    ways = [
        lambda: xy.astype(object),
        lambda: xy.astype(str),
        lambda: np.where(rng.random(xy.shape) < 0.2, np.nan, xy),
        lambda: np.full_like(xy, np.nan),
        lambda: np.where(rng.random(xy.shape) < 0.1, np.inf, xy),
        lambda: np.zeros_like(xy),
        lambda: xy[:, :1],
        lambda: np.column_stack([xy, rng.normal(size=n)]),
        lambda: np.column_stack([xy, xy, xy]),
        lambda: pd.DataFrame(xy, adata.obs_names, ["x", "y"]),
        lambda: pd.DataFrame({"x": [text] * n, "y": xy[:, 1]}, adata.obs_names),
        lambda: sparse.csr_matrix(xy),
        lambda: xy * 1e300,
        lambda: xy * 1e-300,
        lambda: xy + 1e17,
        lambda: np.column_stack([xy[:, 0], np.zeros(n)]),
        lambda: np.repeat(xy[:1], n, axis=0),
        lambda: xy.astype("float16"),
        lambda: xy.astype("uint8"),
        lambda: xy.astype(bool),
        lambda: xy.astype(complex),
        lambda: xy[::-1, ::-1],
        lambda: np.zeros((n, 0)),
    ]
    adata.obsm["spatial"] = ways[int(rng.integers(len(ways)))]()


@twist
def embeddings(adata, rng, text, value):
    n = adata.n_obs
    adata.obsm["X_pca"] = rng.normal(size=(n, 3))
    adata.obsm["STAligner"] = rng.choice([0.0, np.nan, 1.0], (n, 3))
    adata.obsm[text.strip() or "x"] = pd.DataFrame({text: [value is None] * n}, adata.obs_names)


@twist
def graphs(adata, rng, text, value):
    adata.obsp["spatial_connectivities"] = sparse.eye(adata.n_obs, format="csr")
    adata.obsp["x"] = np.ones((adata.n_obs, adata.n_obs))


@twist
def layers(adata, rng, text, value):
    adata.layers["counts"] = sparse.csr_matrix(adata.shape, dtype="float32")
    adata.layers[text or "x"] = np.full(adata.shape, np.nan)


@twist
def uns_value(adata, rng, text, value):
    adata.uns[text or "x"] = value


@twist
def our_uns(adata, rng, text, value):
    key = ["staligner", "staligner_notes", "staligner_source", "spatial", "domain_colors"]
    adata.uns[key[int(rng.integers(5))]] = value


@twist
def libraries(adata, rng, text, value):
    image = np.zeros((6, 8, 3), "uint8")
    wrong = [
        image,
        image.astype(float),
        image[..., 0],
        image[:0],
        np.full((6, 8, 3), np.nan),
        image[None],
        "x",
        value,
        np.zeros((6, 8, 4), "uint16"),
    ]
    factors = [0.5, "0.5", text, np.nan, 0.0, -1.0, np.inf, None, 1e-30, 1e30, value, [1.0]]
    some = {
        "images": {"hires": wrong[int(rng.integers(len(wrong)))]},
        "scalefactors": {
            "tissue_hires_scalef": factors[int(rng.integers(len(factors)))],
            "spot_diameter_fullres": factors[int(rng.integers(len(factors)))],
        },
        "metadata": value,
    }
    for key in list(some):
        if rng.random() < 0.2:
            some[key] = [value, None, text, {}][int(rng.integers(4))]
    adata.uns["spatial"] = {text: some} if rng.random() < 0.7 else {text: some, "other": value}


@twist
def view_of(adata, rng, text, value):
    return adata[rng.permutation(adata.n_obs)]


@twist
def var_columns(adata, rng, text, value):
    adata.var["highly_variable"] = rng.choice([True, False], adata.n_vars)
    adata.var["used_by_staligner"] = text
    adata.var[text or "x"] = np.nan
    adata.varm["in_slice"] = rng.normal(size=(adata.n_vars, 2))
    adata.varm["PCs"] = rng.normal(size=(adata.n_vars, 2))


@twist
def index_names(adata, rng, text, value):
    adata.obs.index.name = adata.var.index.name = text or "domain"
