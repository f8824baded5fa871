"""What the values of slices are, where their counts are, and what becomes of absent layers."""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise

import anndata as ad
import numpy as np
import pytest
import scanpy as sc
from anndata import AnnData
from scipy import sparse
from tiny import QUICK, tiny_pair, tiny_slice

from napari_staligner import InputError
from napari_staligner.core.integrate import Ready, prepare_steps
from napari_staligner.core.prepare.concatenate import concatenate
from napari_staligner.core.prepare.counts import (
    ValueKind,
    counts_slot,
    kind_of,
    parse_counts_layers,
)
from napari_staligner.core.prepare.slices import normalize
from napari_staligner.core.progress import finish
from napari_staligner.core.result.provenance import options_of, settings_of, source_of
from napari_staligner.io.h5ad import read_slices


def prepared(slices: list[tuple[str, AnnData]], **changes: object) -> tuple[Ready, str]:
    """What would be trained on, and what is said."""
    from dataclasses import replace

    said: list[str] = []
    steps = prepare_steps(slices, replace(QUICK, **changes))
    ready = finish(steps, lambda step: said.append(step.note or ""))
    return ready, "\n".join(said)


def blocks(ready: Ready) -> np.ndarray:
    return sparse.vstack(list(ready.expression)).toarray()


def total(adata: AnnData, target: float | None) -> None:
    sc.pp.normalize_total(adata, target_sum=target)


def scaled(adata: AnnData) -> None:
    adata.X = adata.X.toarray()
    sc.pp.log1p(adata)
    sc.pp.scale(adata)


def log_normalised(adata: AnnData) -> None:
    total(adata, 1e4)
    sc.pp.log1p(adata)


def few_genes_of_cpm(adata: AnnData) -> None:
    total(adata, 1e6)
    adata._inplace_subset_var(adata.var_names[::2])


def few_genes_of_logged(adata: AnnData) -> None:
    log_normalised(adata)
    adata._inplace_subset_var(adata.var_names[::2])


KINDS: dict[str, tuple[ValueKind, Callable[[AnnData], object]]] = {
    "counts": (ValueKind.COUNTS, lambda a: None),
    "CPM": (ValueKind.NORMALISED, lambda a: total(a, 1e6)),
    "TP10k": (ValueKind.NORMALISED, lambda a: total(a, 1e4)),
    "median": (ValueKind.NORMALISED, lambda a: total(a, None)),
    "shares": (ValueKind.NORMALISED, lambda a: total(a, 1.0)),
    "some genes of CPM": (ValueKind.NORMALISED, few_genes_of_cpm),
    "logged": (ValueKind.LOGGED, log_normalised),
    "logged median": (ValueKind.LOGGED, lambda a: (total(a, None), sc.pp.log1p(a))),
    "log1p of counts": (ValueKind.LOGGED, sc.pp.log1p),
    "some genes, logged": (ValueKind.LOGGED, few_genes_of_logged),
    "scaled": (ValueKind.SCALED, scaled),
}


@pytest.mark.parametrize(("kind", "change"), KINDS.values(), ids=KINDS)
@pytest.mark.parametrize("dense", [False, True], ids=["sparse", "dense"])
def test_kinds_of_values(
    kind: ValueKind, change: Callable[[AnnData], object], *, dense: bool
) -> None:
    adata = tiny_slice()
    change(adata)
    matrix = adata.X.toarray() if dense and sparse.issparse(adata.X) else adata.X
    assert kind_of(matrix) is kind


@pytest.mark.parametrize("target", [1e6, 1e4, None, 1.0])
def test_what_is_not_logged_is_logged_as_counts_are(target: float | None) -> None:
    slices = tiny_pair()
    wanted, _ = prepared(tiny_pair())
    total(slices[1][1], target)
    ready, said = prepared(slices)
    np.testing.assert_allclose(blocks(ready), blocks(wanted), rtol=1e-4)
    assert "Slice 'B': X holds normalised values that are not logged" in said
    assert "scaled and logged" in said
    assert ready.log_depth is None  # of these values nobody knows it any more


COUNTS_LIKE = ("counts", "raw_counts", "umi", "anything")


@pytest.mark.parametrize("layer", COUNTS_LIKE)
def test_a_layer_that_holds_counts_is_named(layer: str) -> None:
    slices = tiny_pair()
    for _, adata in slices:
        adata.layers[layer] = adata.X.copy()
        adata.layers["logged"] = adata.X.log1p()
        adata.X = adata.X.log1p()
    _, said = prepared(slices)
    assert f"layers['{layer}'] holds counts: --counts-layer {layer}" in said
    assert "layers['logged']" not in said


def test_raw_is_named_where_x_is_logged_and_can_be_asked_for() -> None:
    slices = tiny_pair()
    for _, adata in slices:
        adata.raw = adata.copy()
        adata.X = adata.X.log1p()
    assert ".raw holds counts: --counts-layer raw" in prepared(slices)[1]
    ready, _ = prepared(slices, counts_layer="raw")
    np.testing.assert_array_equal(blocks(ready), blocks(prepared(tiny_pair())[0]))


@pytest.mark.parametrize("more", [False, True], ids=["same genes", "more genes in .raw"])
def test_raw_is_used_where_x_is_scaled(tmp_path, *, more: bool) -> None:
    slices = []
    for name, adata in tiny_pair():
        whole = adata.copy()
        scaled(adata)
        adata.raw = whole
        adata = adata[:, ::-1].copy() if more else adata
        adata = adata[:, :30].copy() if more else adata
        slices.append((name, adata))
        adata.write_h5ad(tmp_path / f"{name}.h5ad")
    ready, said = prepared(slices)
    assert "X holds negative values, so .raw is used instead" in said
    expected = [(name, adata[:, slices[0][1].var_names].copy()) for name, adata in tiny_pair()]
    np.testing.assert_array_equal(blocks(ready), blocks(prepared(expected)[0]))
    paths = [tmp_path / "A.h5ad", tmp_path / "B.h5ad"]
    on_disk, _ = prepared(read_slices(paths, backed=True))
    np.testing.assert_array_equal(blocks(on_disk), blocks(ready))
    joined, layer = concatenate(ready.slices, ready.genes, ready.layers)
    assert layer == "raw"
    np.testing.assert_array_equal(joined.layers["raw"][:64].toarray(), expected[0][1].X.toarray())


def test_scaled_values_without_raw_are_refused_with_the_layer() -> None:
    slices = tiny_pair()
    slices[1][1].layers["umi"] = slices[1][1].X.copy()
    scaled(slices[1][1])
    with pytest.raises(InputError, match=r"'B': X holds negative.*layers\['umi'\] does"):
        prepared(slices)


# -- slices that have their counts in different places -------------------------------------------


def unlike(b_layer: str = "raw_counts") -> list[tuple[str, AnnData]]:
    """Counts in ``layers["counts"]`` of A, and elsewhere in B; X is logged."""
    (_, a), (_, b) = slices = tiny_pair()
    a.layers["counts"] = a.X.copy()
    b.layers[b_layer] = b.X.copy()
    for _, adata in slices:
        adata.X = adata.X.log1p()
    return slices


def assert_counts_joined(ready: Ready, layer: str) -> None:
    joined, found = concatenate(ready.slices, ready.genes, ready.layers)
    assert found == layer
    expected = np.vstack([adata.X.toarray() for _, adata in tiny_pair()])
    np.testing.assert_array_equal(joined.layers[layer].toarray(), expected)


def test_another_layer_is_taken_where_it_is_certain() -> None:
    ready, said = prepared(unlike(), counts_layer="counts")
    assert ready.layers == ["counts", "raw_counts"]
    assert "'B': it has no layers['counts'], so layers['raw_counts'] is used" in said
    np.testing.assert_array_equal(blocks(ready), blocks(prepared(tiny_pair())[0]))
    assert_counts_joined(ready, "counts")


def test_x_is_taken_where_it_holds_the_counts() -> None:
    slices = unlike()
    slices[1] = tiny_pair()[1]
    ready, said = prepared(slices, counts_layer="counts")
    assert "'B': it has no layers['counts'], so its X is used, which holds counts." in said
    assert_counts_joined(ready, "counts")


def test_what_is_not_certain_is_refused_with_all_that_hold_counts() -> None:
    slices = unlike()
    slices[1][1].layers["umi"] = slices[1][1].layers["raw_counts"].copy()
    with pytest.raises(InputError, match=r"'B' has no layers\['counts'\].*'raw_counts', 'umi'"):
        prepared(slices, counts_layer="counts")


def test_a_layer_for_each_slice() -> None:
    slices = unlike()
    slices[0][1].layers["raw_counts"] = slices[0][1].X.copy()  # of the same name, but no counts
    wanted = {"A": "counts", "B": "raw_counts"}
    ready, said = prepared(slices, counts_layer=wanted)
    assert "layers['counts'] is not in" not in said
    np.testing.assert_array_equal(blocks(ready), blocks(prepared(tiny_pair())[0]))
    assert_counts_joined(ready, "counts")
    with pytest.raises(InputError, match="'A' has no layers"):
        prepared(slices, counts_layer={"A": "cuonts"})


def test_a_layer_for_a_slice_that_is_not_there() -> None:
    from napari_staligner.core.integrate import check_slices

    with pytest.raises(InputError, match="counts_layer names slice 'C'"):
        check_slices(unlike(), QUICK.__class__(counts_layer={"C": "counts"}))


def test_a_layer_that_is_said_with_the_file(tmp_path) -> None:
    for name, adata in unlike():
        adata.write_h5ad(tmp_path / f"{name}.h5ad")
    specs = [f"{tmp_path}/A.h5ad[counts=counts]", f"{tmp_path}/B.h5ad[counts=raw_counts]"]
    slices = read_slices(specs)
    assert [name for name, _ in slices] == ["A", "B"]
    ready, _ = prepared(slices)
    assert ready.layers == ["counts", "raw_counts"]
    ((_, part), _) = read_slices([f"{tmp_path}/A.h5ad[half=left,counts=counts]", specs[1]])
    assert part.n_obs == 32
    assert source_of(part).choices["counts"] == "counts"


def test_layers_are_told_to_the_shell_and_back(tmp_path) -> None:
    result = tiny_slice()
    wanted = {"A": "counts", "B": "x=y"}
    result.uns["staligner"] = {"params": {"counts_layer": wanted, "domains": 2}}
    result.write_h5ad(tmp_path / "out.h5ad")
    settings = settings_of(ad.read_h5ad(tmp_path / "out.h5ad"))
    assert settings.counts_layer == wanted
    options = options_of(settings, ["A", "B"])
    told = [b for a, b in pairwise(options) if a == "--counts-layer"]
    assert told == ["A=counts", "B=x=y"]
    assert parse_counts_layers(["A=counts", "B=raw"]) == {"A": "counts", "B": "raw"}
    assert parse_counts_layers(["counts"]) == "counts"
    assert parse_counts_layers([]) is None
    with pytest.raises(InputError, match="names no slice"):
        parse_counts_layers(["counts", "raw"])


def test_a_layer_that_a_slice_lacks_is_absent_not_zero() -> None:
    ready, said = prepared(unlike("other"))
    joined, layer = concatenate(ready.slices, ready.genes, ready.layers)
    assert layer is None
    assert not joined.layers
    assert "layers['counts'] is not in the result, because slice 'B' lacks it" in said
    joined.uns["staligner"] = {"params": {"counts_layer": "counts"}}
    assert counts_slot(joined) is None


def test_a_slice_without_x_brings_its_counts() -> None:
    slices = tiny_pair()
    b = slices[1][1]
    slices[1] = ("B", AnnData(obs=b.obs, var=b.var, obsm=dict(b.obsm), layers={"umi": b.X}))
    ready, said = prepared(slices)
    assert "'B': it has no X, so layers['umi'] is used" in said
    np.testing.assert_array_equal(blocks(ready), blocks(prepared(tiny_pair())[0]))
    joined, _ = concatenate(ready.slices, ready.genes, ready.layers)
    np.testing.assert_array_equal(joined.X[64:].toarray(), b.X.toarray())


def test_slices_of_different_kinds_are_compared_alike() -> None:
    """What is made of a result later takes logged values of a slice beside counts of another."""
    from napari_staligner.core.prepare.slices import normalize_parts

    (_, a), (_, b) = tiny_pair()
    log_normalised(b)
    order = np.random.default_rng(0).permutation(120)
    of = np.repeat([0, 1], [64, 56])[order]
    found = normalize_parts(sparse.vstack([a.X, b.X]).tocsr()[order], of)
    pair = [normalize(name, adata, None) for name, adata in tiny_pair()]
    expected = sparse.vstack(pair).toarray()[order]
    np.testing.assert_allclose(found.toarray(), expected, rtol=1e-5)
