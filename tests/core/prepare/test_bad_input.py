"""What cannot be used is refused in one sentence that names slice, slot and remedy."""

from __future__ import annotations

import re
from collections.abc import Callable

import numpy as np
import pytest
from anndata import AnnData
from scipy import sparse
from tiny import QUICK, tiny_pair, tiny_slice

from napari_staligner import InputError, Settings, integrate


def no_spatial(adata: AnnData) -> None:
    del adata.obsm["spatial"]


def nan_coordinates(adata: AnnData) -> None:
    adata.obsm["spatial"][3:] = np.nan


def deep_coordinates(adata: AnnData) -> None:
    depth = np.arange(adata.n_obs, dtype=float)[:, None]
    adata.obsm["spatial"] = np.hstack([adata.obsm["spatial"], depth])


def negative_counts(adata: AnnData) -> None:
    adata.X.data[0] = -1


def infinite_counts(adata: AnnData) -> None:
    adata.X.data[0] = np.inf


def zeros(adata: AnnData) -> None:
    adata.X = adata.X * 0


def other_genes(adata: AnnData) -> None:
    adata.var_names = [f"other{i}" for i in range(adata.n_vars)]


def few_shared_genes(adata: AnnData) -> None:
    adata.var_names = [*adata.var_names[:19], *(f"other{i}" for i in range(adata.n_vars - 19))]


def no_counts(adata: AnnData) -> None:
    adata.X = sparse.csr_matrix(adata.shape, dtype=np.float32)


def counts_of_two_spots(adata: AnnData) -> None:
    adata.X = (sparse.diags((np.arange(adata.n_obs) < 2).astype("f4")) @ adata.X).tocsr()


def the_same_in_all_spots(adata: AnnData) -> None:
    adata.X = np.tile(np.arange(adata.n_vars, dtype=np.float32), (adata.n_obs, 1))


def counts_of_one_gene(adata: AnnData) -> None:
    adata.X = (adata.X @ sparse.diags((np.arange(adata.n_vars) < 1).astype("f4"))).tocsr()


def one_single_count(adata: AnnData) -> None:
    adata.X = sparse.csr_matrix(([1e9], ([3], [4])), shape=adata.shape)


def one_gene_that_varies(adata: AnnData) -> None:
    the_same_in_all_spots(adata)
    adata.X[3, 4] = 7


def too_large_values(adata: AnnData) -> None:
    adata.X = adata.X.astype(np.float64)
    adata.X.data[0] = 1e200


def complex_values(adata: AnnData) -> None:
    adata.X = adata.X.astype(np.complex64)


REFUSED = {
    no_spatial: "obsm['spatial']",
    nan_coordinates: "obsm['spatial']",
    deep_coordinates: "obsm['spatial']",
    negative_counts: "X",
    infinite_counts: "X",
    zeros: "X",
    other_genes: "var_names",
    few_shared_genes: "var_names",
    no_counts: "X holds no count at all",
    counts_of_two_spots: "X holds counts of 2 of 56 spots",
    the_same_in_all_spots: "0 of 40 genes of X vary",
    counts_of_one_gene: "1 of 40 genes of X vary",
    one_gene_that_varies: "1 of 40 genes of X vary",
    one_single_count: "X holds counts of 1 of 56 spots",
    too_large_values: "X holds values above 1e+15",
    complex_values: "X holds values of type complex64",
}


def assert_one_sentence(message: str) -> None:
    assert message.endswith(".")
    assert "\n" not in message
    assert not re.search(r"\.\s+[A-Z]", message), "more than one sentence"


@pytest.mark.parametrize(
    ("spoil", "slot"), REFUSED.items(), ids=lambda p: getattr(p, "__name__", p)
)
def test_refused(spoil: Callable[[AnnData], None], slot: str) -> None:
    slices = tiny_pair()
    spoil(slices[1][1])
    with pytest.raises(InputError) as caught:
        # Fewer than there are, so that the genes are ranked.
        integrate(slices, settings=QUICK, n_top_genes=30)
    message = str(caught.value)
    assert_one_sentence(message)
    assert "'B'" in message or "'A'" in message
    assert slot in message


@pytest.mark.parametrize("spots", [0, 2])
def test_a_slice_without_spots_is_refused(spots: int) -> None:
    with pytest.raises(InputError, match=f"Slice 'B' holds {spots} spots: leave it out"):
        integrate([tiny_pair()[0], ("B", tiny_slice(spots=spots))], settings=QUICK)


def test_no_slice_is_refused() -> None:
    with pytest.raises(InputError, match="no slice"):
        integrate([], settings=QUICK)


def test_a_name_twice_is_refused() -> None:
    a = tiny_slice()
    with pytest.raises(InputError, match="Two slices are named 'A'"):
        integrate([("A", a), ("A", a)], settings=QUICK)


def test_radius_in_another_unit_is_refused() -> None:
    with pytest.raises(InputError, match=r"'A'.*radius 0.5.*another unit.*found from the spacing"):
        integrate(tiny_pair(), settings=QUICK, radius=0.5)


def test_missing_counts_layer_is_refused() -> None:
    with pytest.raises(InputError, match=r"Slice 'A' has no layers\['raw'\]"):
        integrate(tiny_pair(), settings=QUICK, counts_layer="raw")


def test_unknown_pair_is_refused_before_the_training() -> None:
    with pytest.raises(InputError, match="names slice 'C'"):
        integrate(tiny_pair(), settings=QUICK, pairs=(("A", "C"),))


def test_unknown_setting_is_refused() -> None:
    with pytest.raises(InputError, match="no setting 'domain'"):
        integrate(tiny_pair(), settings=QUICK, domain=3)


def test_cuda_without_a_gpu_is_refused() -> None:
    import torch

    if torch.cuda.is_available():
        pytest.skip("this machine has a GPU")
    with pytest.raises(InputError, match="choose 'cpu'"):
        integrate(tiny_pair(), settings=QUICK, device="cuda")


@pytest.mark.parametrize(
    "change",
    [
        {"alpha": 1.5},
        {"margin": -1.0},
        {"mnn_k": 0},
        {"epochs": -1},
        {"epochs": 0, "pretrain_epochs": 0},
        {"radius": 0.0},
        {"radius": 1.0, "n_neighbors": 3},
        {"domains": 1},
        {"learning_rate": 0.0},
        {"positives": "first"},
        {"device": "tpu"},
        {"seed": -1},
    ],
    ids=str,
)
def test_settings_are_checked(change: dict) -> None:
    with pytest.raises(InputError) as caught:
        Settings(**change)
    assert_one_sentence(str(caught.value))


# -- used, and said so -----------------------------------------------------------------------


def test_shared_genes_that_one_slice_does_not_express_are_refused() -> None:
    slices = tiny_pair()
    for _, adata in slices:
        adata.var_names = [f"{'own' if i < 20 else 'gene'}{i}" for i in range(40)]
    slices[1][1].var_names = [*(f"other{i}" for i in range(20)), *slices[1][1].var_names[20:]]
    slices[1][1].X = (slices[1][1].X @ sparse.diags((np.arange(40) < 25).astype("f4"))).tocsr()
    with pytest.raises(InputError, match=r"'B': of the 20 variable genes .* share, 5 vary") as said:
        integrate(slices, settings=QUICK)
    assert_one_sentence(str(said.value))


def notes_of(slices: list[tuple[str, AnnData]], **changes: object) -> tuple[AnnData, str]:
    result = integrate(slices, settings=QUICK, **changes)
    return result, " ".join(result.uns["staligner"]["notes"])


def test_a_single_slice_runs_as_an_autoencoder() -> None:
    result, notes = notes_of(tiny_pair()[:1])
    assert "One slice only" in notes
    assert np.isnan(result.uns["staligner"]["loss"]["triplet"]).all()
    assert result.obsm["STAligner"].shape == (64, 6)
    assert result.obsp["mutual_neighbors"].nnz == 0


def test_a_slice_of_ten_spots() -> None:
    result, notes = notes_of([tiny_pair()[0], ("B", tiny_slice(spots=10))])
    assert "'B' has only 10 spots" in notes
    assert result.n_obs == 74


@pytest.mark.parametrize("spots", [3, 4, 5])
def test_a_slice_with_counts_of_few_spots(spots: int) -> None:
    slices = tiny_pair()
    expressed = (np.arange(56) < spots).astype(np.float32)
    slices[1][1].X = (sparse.diags(expressed) @ slices[1][1].X).tocsr()
    result, notes = notes_of(slices, n_top_genes=39)
    assert f"'B': spots without counts: {56 - spots}, which were left out" in notes
    assert f"'B' has only {spots} spots" in notes
    assert np.isfinite(result.obsm["STAligner"]).all()


@pytest.mark.parametrize("huge", [1e9, 1e14])
@pytest.mark.parametrize("logarithms", [False, True])
def test_a_gene_with_one_huge_value(huge: float, logarithms: bool) -> None:
    slices = tiny_pair()
    for _, adata in slices:
        adata.X = adata.X.log1p() if logarithms else adata.X
    slices[1][1].X.data[5] = huge
    result, _ = notes_of(slices, n_top_genes=39)
    assert np.isfinite(result.obsm["STAligner"]).all()


@pytest.mark.filterwarnings("ignore:.*names are not unique:UserWarning")
def test_names_that_are_not_unique_get_numbers() -> None:
    slices = tiny_pair()
    spots, genes = slices[0][1].obs_names.tolist(), slices[0][1].var_names.tolist()
    slices[0][1].obs_names = ["spot0", *spots[:-1]]
    slices[1][1].var_names = ["gene1", *genes[1:]]
    before = slices[0][1].obs_names.tolist()
    result, notes = notes_of(slices)
    assert result.obs_names.is_unique
    assert result.var_names.is_unique
    assert "'A': obs_names were not unique" in notes
    assert "'B': var_names were not unique" in notes
    assert slices[0][1].obs_names.tolist() == before


def test_normalised_values_are_used_as_they_are() -> None:
    slices = tiny_pair()
    for _, adata in slices:
        adata.layers["counts"] = adata.X.copy()
        adata.X = adata.X.log1p()
    _, notes = notes_of(slices)
    assert "'A': X holds normalised values" in notes
    assert "'counts'" in notes
    result, notes = notes_of(slices, counts_layer="counts")
    assert "normalised" not in notes
    same = integrate(tiny_pair(), settings=QUICK)
    np.testing.assert_array_equal(result.obsm["STAligner"], same.obsm["STAligner"])


def test_few_genes_are_used_with_a_warning() -> None:
    assert "share only 40 variable genes" in notes_of(tiny_pair())[1]


def test_a_constant_third_coordinate_is_not_used() -> None:
    slices = tiny_pair()
    points = slices[1][1].obsm["spatial"]
    slices[1][1].obsm["spatial"] = np.hstack([points, np.full((len(points), 1), 5.0)])
    result, notes = notes_of(slices)
    assert "'B': the constant third coordinate" in notes
    assert result.obsm["spatial"].shape == (120, 2)


def test_a_radius_that_leaves_spots_alone() -> None:
    slices = tiny_pair()
    slices[1][1].obsm["spatial"][::2] *= 1000
    result, notes = notes_of(slices, radius=15.0)
    assert "'B'" in notes
    assert "larger radius" in notes
    assert np.isfinite(result.obsm["STAligner"]).all()


def test_k_above_the_slice_is_cut() -> None:
    result = integrate(tiny_pair(), settings=QUICK, mnn_k=10_000, n_neighbors=10_000)
    first, second = np.arange(64), np.arange(64, 120)
    assert result.obsp["mutual_neighbors"][first][:, second].nnz == 64 * 56
    assert result.obsp["spatial_connectivities"][first][:, first].nnz == 64 * 63


def test_dense_expression() -> None:
    slices = [(name, adata.copy()) for name, adata in tiny_pair()]
    for _, adata in slices:
        adata.X = adata.X.toarray()
    dense = integrate(slices, settings=QUICK)
    assert not sparse.issparse(dense.X)
    np.testing.assert_array_equal(
        dense.obsm["STAligner"], integrate(tiny_pair(), settings=QUICK).obsm["STAligner"]
    )


def test_counts_in_the_smallest_type() -> None:
    slices = tiny_pair()
    for _, adata in slices:
        adata.X = adata.X.astype(np.uint8)
    result = integrate(slices, settings=QUICK)
    assert result.X.dtype == np.uint8
    np.testing.assert_array_equal(
        result.obsm["STAligner"], integrate(tiny_pair(), settings=QUICK).obsm["STAligner"]
    )
