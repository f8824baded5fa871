from __future__ import annotations

from mmap import mmap
from pathlib import Path

import anndata as ad
import numpy as np
import pytest
from scipy import sparse
from tiny import QUICK, tiny_slice

from napari_staligner import integrate, read_slices, write_result
from napari_staligner.core.prepare import expression as module
from napari_staligner.core.prepare.expression import Expression
from napari_staligner.core.prepare.on_disk import on_disk

STORED = {"csr": sparse.csr_matrix, "csc": sparse.csc_matrix, "dense": sparse.csr_matrix.toarray}


def three_slices() -> list[tuple[str, ad.AnnData]]:
    """A third of the genes' names differ; one slice alone has the layer ``lone``."""
    slices = []
    for seed, (name, stored) in enumerate(STORED.items()):
        adata = tiny_slice(seed=seed)
        adata.var_names = [f"gene{i + (3 * seed if i < 10 else 0)}_{i}" for i in range(40)]
        adata.layers["twice"] = stored(adata.X * 2)
        if name == "csc":
            adata.layers["lone"] = adata.X * 3
        adata.X = stored(adata.X)
        slices.append((name, adata))
    return slices


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("slices")
    for name, adata in three_slices():
        adata.write_h5ad(folder / f"{name}.h5ad")
    return folder


@pytest.fixture(scope="module")
def in_memory(folder) -> ad.AnnData:
    result = integrate(three_slices(), settings=QUICK)
    return ad.read_h5ad(write_result(result, folder / "in_memory.h5ad"))


def files_of(folder: Path) -> list[Path]:
    return [folder / f"{name}.h5ad" for name in STORED]


def assert_same(result: ad.AnnData, expected: ad.AnnData) -> None:
    """Bit for bit what was found, and the same counts, as they were stored or sparse."""
    np.testing.assert_array_equal(result.obsm["STAligner"], expected.obsm["STAligner"])
    assert result.obs["domain"].tolist() == expected.obs["domain"].tolist()
    assert result.obs_names.tolist() == expected.obs_names.tolist()
    assert result.var.equals(expected.var)
    for ours, theirs in (
        (result.X, expected.X),
        (result.layers["twice"], expected.layers["twice"]),
    ):
        assert sparse.issparse(ours)
        np.testing.assert_array_equal(ours.toarray(), sparse.csr_matrix(theirs).toarray())
    assert set(result.layers) == {"twice"}
    assert set(result.obsp) == set(expected.obsp)


def test_slices_left_on_disk_give_the_same_result(folder, in_memory, tmp_path):
    slices = read_slices(files_of(folder), backed=True)
    assert all(on_disk(adata.X) for _, adata in slices)
    result = integrate(slices, settings=QUICK)
    assert on_disk(result.X)
    assert_same(ad.read_h5ad(write_result(result, tmp_path / "out.h5ad")), in_memory)


def test_slices_that_anndata_opened_backed_are_left_there(folder, in_memory, tmp_path):
    slices = {path.stem: ad.read_h5ad(path, backed="r") for path in files_of(folder)}
    result = integrate(slices, settings=QUICK)
    assert on_disk(result.X)
    assert_same(ad.read_h5ad(write_result(result, tmp_path / "out.h5ad")), in_memory)


@pytest.mark.filterwarnings("ignore:Writing zarr v2 data:UserWarning")
def test_zarr_folders_are_read_as_files_are(folder):
    (_, whole), (_, other) = three_slices()[:2]
    other.write_zarr(folder / "csc.zarr")
    for backed in (False, True):
        ((name, adata),) = read_slices([folder / "csc.zarr"], backed=backed)
        assert name == "csc"
        assert on_disk(adata.X) is backed
        assert adata.uns["staligner_source"]["sha256"]
        result = integrate({"csr": whole, name: adata}, settings=QUICK)
        counts = result[result.obs["slice"] == "csc", other.var_names].to_memory().X
        counts = counts.compute() if on_disk(counts) else counts
        np.testing.assert_array_equal(counts.toarray(), other.X.toarray())


def test_one_slice_of_a_file_is_left_on_disk(folder):
    path = folder / "csr.h5ad"
    right = ad.read_h5ad(path)
    right = right[right.obs["half"] == "right"]
    by_key = dict(read_slices([path], slice_key="half", backed=True))["right"]
    ((_, named),) = read_slices([f"{path}[half=right]"], backed=True)
    for adata in (by_key, named):
        assert on_disk(adata.X)
        np.testing.assert_array_equal(adata.X.compute().toarray(), right.X.toarray())


def test_one_matrix_of_all_slices_is_the_same_in_a_scratch_file(monkeypatch):
    blocks = [sparse.random(30, 20, 0.2, "csr", np.float32, random_state=seed) for seed in (0, 1)]
    held = Expression.held(blocks)
    there = held.stacked()
    monkeypatch.setattr(module, "HOLD_BYTES", 0)
    spooled = held.stacked()
    owner = spooled.data
    while isinstance(owner, np.ndarray):
        owner = owner.base
    assert isinstance(owner, mmap)
    assert (spooled != there).nnz == 0
    np.testing.assert_array_equal(there.toarray(), sparse.vstack(blocks).toarray())
    np.testing.assert_array_equal(spooled[[3, 40]].toarray(), there[[3, 40]].toarray())
