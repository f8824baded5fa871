"""The simulated olfactory bulb: what it promises, and that it is a fair test of integration."""

from __future__ import annotations

from typing import TYPE_CHECKING

import anndata
import numpy as np
import pytest
from scipy.ndimage import gaussian_filter
from scipy.sparse import csr_matrix, diags, issparse
from scipy.spatial import cKDTree
from sklearn.decomposition import PCA
from sklearn.metrics import adjusted_rand_score
from sklearn.mixture import GaussianMixture

from napari_staligner.core.evaluation.baselines import harmonize
from napari_staligner.samples import SLICE_NAMES, simulated_olfactory_bulb, write_sample

if TYPE_CHECKING:
    from pathlib import Path

    from anndata import AnnData

REGIONS = ["ONL", "GL", "EPL", "MCL", "IPL", "GCL", "RMS", "AOB", "AOBgr"]
SMALL = {"n_slide_seq": 300, "n_stereo_seq": 250, "n_genes": 400}


@pytest.fixture(scope="module")
def slices() -> list[AnnData]:
    return simulated_olfactory_bulb(n_slide_seq=3000, n_stereo_seq=2500)


def log_normalised(adata: AnnData, genes: list[str]) -> csr_matrix:
    counts = adata[:, genes].X
    scaled = csr_matrix(diags(1e4 / np.asarray(counts.sum(axis=1)).ravel()) @ counts)
    return scaled.log1p()


def principal_components(matrix: np.ndarray, n: int) -> np.ndarray:
    return PCA(n, svd_solver="randomized", random_state=0).fit_transform(matrix)


def same(one: AnnData, other: AnnData) -> bool:
    images = [next(iter(a.uns["spatial"].values()))["images"]["lowres"] for a in (one, other)]
    return (
        one.shape == other.shape
        and one.obs.equals(other.obs)
        and one.var_names.equals(other.var_names)
        and np.array_equal(one.obsm["spatial"], other.obsm["spatial"])
        and np.array_equal(*images)
        and (one.X != other.X).nnz == 0
    )


def test_a_seed_decides_every_bit() -> None:
    first, again, other = (simulated_olfactory_bulb(seed=s, **SMALL) for s in (3, 3, 4))
    for k in range(2):
        assert same(first[k], again[k])
        assert not same(first[k], other[k])


def test_the_size_of_one_slice_leaves_the_other_alone() -> None:
    first = simulated_olfactory_bulb(**SMALL)
    other = simulated_olfactory_bulb(**{**SMALL, "n_stereo_seq": 60})
    assert same(first[0], other[0])


def test_slots_have_the_promised_form(slices: list[AnnData]) -> None:
    assert [a.n_obs for a in slices] == [3000, 2500]
    for name, adata in zip(SLICE_NAMES, slices, strict=True):
        assert isinstance(adata.X, csr_matrix)
        assert adata.X.dtype == np.float32
        assert adata.obs["region"].cat.ordered
        assert list(adata.obs["region"].cat.categories) == REGIONS
        assert len(set(adata.uns["region_colors"])) == len(REGIONS)
        assert adata.obsm["spatial"].dtype == np.float64
        assert adata.obsm["spatial"].min() >= 0
        assert adata.obs_names.is_unique
        assert adata.var_names.is_unique
        assert set(adata.uns) == {"region_colors", "spatial"}
        image = adata.uns["spatial"][name]["images"]["lowres"]
        assert image.dtype == np.uint8
        assert image.ndim == 3
        assert 500 <= max(image.shape) <= 700


def test_each_slice_lacks_some_genes_of_the_other(slices: list[AnnData]) -> None:
    one, other = (set(adata.var_names) for adata in slices)
    assert len(one | other) == 1500
    assert len(one & other) == 1420
    assert {"Pcp4", "Slc17a7", "Th", "Apod", "Sox11", "Fxyd6", "Atp2b4"} <= one & other


def test_only_slide_seq_has_the_accessory_bulb(slices: list[AnnData]) -> None:
    shares = [adata.obs["region"].value_counts(normalize=True) for adata in slices]
    assert 0.05 < shares[0][["AOB", "AOBgr"]].sum() < 0.09
    assert shares[0].min() > 0.02
    assert set(shares[1].index[shares[1] == 0]) == {"AOB", "AOBgr"}
    assert shares[1][REGIONS[:7]].min() > 0.03


def test_counts_are_whole_and_overdispersed(slices: list[AnnData]) -> None:
    for adata in slices:
        assert (adata.X.data > 0).all()
        assert np.array_equal(adata.X.data, np.round(adata.X.data))
        counts = adata[adata.obs["region"] == "GCL"].X.toarray()
        expressed = counts.mean(axis=0) > 0.5
        assert expressed.sum() > 50
        assert (counts.var(axis=0) > counts.mean(axis=0))[expressed].all()


def test_beads_keep_apart_and_bins_lie_on_a_grid(slices: list[AnnData]) -> None:
    beads, bins = (adata.obsm["spatial"] for adata in slices)
    assert cKDTree(beads).query(beads, 2)[0][:, 1].min() > 15
    for axis in bins.T:
        steps = np.diff(np.unique(axis))
        assert np.allclose(steps, steps[0])


def test_spots_lie_on_the_tissue_of_the_image(slices: list[AnnData]) -> None:
    for adata in slices:
        ((_, entry),) = adata.uns["spatial"].items()
        grey = gaussian_filter(entry["images"]["lowres"].mean(axis=2), 1)
        tissue = np.abs(grey - np.median(grey[:8])) > 12
        assert 0.4 < tissue.mean() < 0.8
        pixels = adata.obsm["spatial"] * entry["scalefactors"]["tissue_lowres_scalef"]
        columns, rows = np.round(pixels).astype(int).T
        assert tissue[rows, columns].mean() > 0.98


def neighbour_means(slices: list[AnnData]) -> tuple[np.ndarray, np.ndarray]:
    """Components of the shared genes, averaged over seven spots, and the slice of each spot."""
    genes = sorted(set(slices[0].var_names) & set(slices[1].var_names))
    joined = np.vstack([log_normalised(a, genes).toarray() for a in slices])
    values, means = principal_components(joined, 30), []
    of_slice = np.repeat([0, 1], [a.n_obs for a in slices])
    for number, adata in enumerate(slices):
        near = cKDTree(adata.obsm["spatial"]).query(adata.obsm["spatial"], 7)[1]
        means.append(values[of_slice == number][near].mean(axis=1))
    return np.vstack(means), of_slice


def divided(values: np.ndarray) -> np.ndarray:
    mixture = GaussianMixture(9, covariance_type="tied", random_state=0, n_init=2)
    return mixture.fit_predict(values)


def test_platforms_separate_without_integration(slices: list[AnnData]) -> None:
    values, of_slice = neighbour_means(slices)
    labels = divided(values)
    shares = [of_slice[labels == k].mean() for k in range(9)]
    assert np.mean([max(p, 1 - p) for p in shares]) > 0.95


def test_simple_methods_find_the_layers_as_well_as_in_real_slices(slices: list[AnnData]) -> None:
    pytest.importorskip("harmonypy")
    regions = np.concatenate([adata.obs["region"].astype(str) for adata in slices])
    assert 0.5 < adjusted_rand_score(regions, divided(harmonize(*neighbour_means(slices)))) < 0.7


def test_markers_rise_as_in_real_slices(slices: list[AnnData]) -> None:
    values = log_normalised(slices[0], list(slices[0].var_names)).expm1()
    means = {
        name: dict(zip(slices[0].var_names, np.asarray(part.mean(axis=0)).ravel(), strict=True))
        for name in REGIONS
        for part in [values[(slices[0].obs["region"] == name).to_numpy()]]
    }
    homes = {"GL": "Calb2 Th Nrsn1", "EPL": "Slc6a11 Doc2g", "MCL": "Slc17a7 Gabrb2 Reln Shisa3"}
    homes |= {"GCL": "Nrgn Penk Pcp4", "RMS": "Sox11 Dcx Dlx2", "ONL": "Omp Fabp7 S100a5 Ccnd2"}
    rises = {
        gene: np.log2(means[name][gene] / np.mean([means[other][gene] for other in others]))
        for name, genes in homes.items()
        for others in [[other for other in REGIONS[:7] if other != name]]
        for gene in genes.split()
    }
    assert all(-0.2 < rise < 3 for rise in rises.values()), str(rises)
    assert np.mean([rise > 0.3 for rise in rises.values()]) > 0.9
    of_nerve = [rises.pop(gene) for gene in homes["ONL"].split()]
    assert np.mean(of_nerve) > np.mean(list(rises.values())) + 0.5


def test_the_accessory_bulb_is_like_the_main_one_but_for_a_few_genes(slices: list[AnnData]) -> None:
    values = log_normalised(slices[0], list(slices[0].var_names)).expm1()

    def mean(name: str) -> np.ndarray:
        chosen = values[(slices[0].obs["region"] == name).to_numpy()]
        return np.log(np.asarray(chosen.mean(axis=0)).ravel() + 1e-5)

    top = set(slices[0].var_names[np.argsort(mean("GCL") - mean("AOBgr"))[:20]])
    assert len(top & {"Atp2b4", "Lypd1", "Foxp2", "Grp", "Oxtr", "Chst15", "Rasgrp1"}) >= 4
    of_granule_cells = slices[0].var_names.isin(["Nrgn", "Penk", "Pcp4", "Meis2", "Camk4", "Gad2"])
    apart = {n: (mean("AOBgr") - mean(n))[of_granule_cells].mean() for n in ("GCL", "EPL", "AOB")}
    assert abs(apart["GCL"]) < 0.5 * min(apart["EPL"], apart["AOB"])


def test_cell_bodies_hold_more_than_fibres(slices: list[AnnData]) -> None:
    for adata in slices:
        depth = np.asarray(adata.X.sum(axis=1)).ravel()
        region = adata.obs["region"].to_numpy()
        of = {name: np.median(depth[region == name]) for name in REGIONS[:7]}
        assert 1.4 < of["GCL"] / of["ONL"] < 2.8
        assert 1.3 < of["MCL"] / of["EPL"] < 2.8


@pytest.mark.parametrize(("which", "n_domains"), [(0, 9), (1, 7)])
def test_layers_are_there_to_be_found(slices: list[AnnData], which: int, n_domains: int) -> None:
    adata = slices[which]
    n, values = adata.n_obs, log_normalised(adata, list(adata.var_names))
    near = cKDTree(adata.obsm["spatial"]).query(adata.obsm["spatial"], 7)[1]
    rows = np.arange(0, 7 * n + 1, 7)
    average = csr_matrix((np.full(7 * n, 1 / 7, np.float32), near.ravel(), rows), shape=(n, n))
    values = (average @ (average @ values)).toarray()
    mixture = GaussianMixture(n_domains, covariance_type="tied", random_state=0, n_init=2)
    labels = mixture.fit_predict(principal_components(values, 20))
    assert adjusted_rand_score(adata.obs["region"], labels) > 0.5


def test_written_slices_read_back(tmp_path: Path) -> None:
    paths = write_sample(tmp_path / "new", seed=1, **SMALL)
    assert [path.name for path in paths] == [f"{name}.h5ad" for name in SLICE_NAMES]
    for path, adata in zip(paths, simulated_olfactory_bulb(seed=1, **SMALL), strict=True):
        read = anndata.read_h5ad(path)
        assert issparse(read.X)
        assert same(read, adata)
        assert list(read.uns["region_colors"]) == adata.uns["region_colors"]


@pytest.mark.parametrize("size", [{"n_stereo_seq": 10}, {"n_slide_seq": 0}, {"n_genes": 100}])
def test_too_small_a_sample_is_refused(size: dict[str, int]) -> None:
    with pytest.raises(ValueError, match="ask for"):
        simulated_olfactory_bulb(**{**SMALL, **size})
