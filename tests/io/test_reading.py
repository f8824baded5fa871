"""Files that are odd or hurt in parts are read, and what was left out is said."""

from __future__ import annotations

from pathlib import Path

import anndata as ad
import h5py
import numpy as np
import pandas as pd
import pytest
from anndata import AnnData
from scipy import sparse
from tiny import QUICK, tiny_pair, tiny_slice

from napari_staligner import InputError, integrate, read_slices
from napari_staligner.core.integrate import prepare_steps
from napari_staligner.core.prepare.concatenate import concatenate
from napari_staligner.core.prepare.notes import notes_of
from napari_staligner.core.progress import finish
from napari_staligner.io.h5ad import slices_of_result
from napari_staligner.io.session_file import open_file


@pytest.fixture
def file(tmp_path: Path) -> Path:
    adata = tiny_slice()
    adata.layers["twice"] = adata.X * 2
    adata.uns["kept"] = {"deep": {"good": 1, "bad": 2}, "other": "text"}
    adata.obsm["X_scVI"] = np.ones((64, 3), np.float32)
    path = tmp_path / "A.h5ad"
    adata.write_h5ad(path)
    return path


HURT = ("uns/kept/deep/bad", "uns/kept/other", "layers/twice", "obsm/X_scVI")


@pytest.mark.parametrize("element", HURT)
def test_what_cannot_be_read_is_left_out_and_said(file: Path, element: str) -> None:
    with h5py.File(file, "r+") as opened:
        opened[element].attrs["encoding-type"] = "of tomorrow"
    slot, *keys = element.split("/")
    where = slot + "".join(f"['{key}']" for key in keys)
    for backed in (False, True):
        ((name, adata),) = read_slices([file], backed=backed)
        assert adata.shape == (64, 40)
        (note,) = notes_of(name, adata)
        assert f"Slice 'A': {where} cannot be read (" in note
        assert note.endswith("was left out.")
        if slot == "uns":
            left = {"deep": {"good": 1, "bad": 2}, "other": "text"}
            del (left["deep"] if keys[-1] == "bad" else left)[keys[-1]]
            assert adata.uns["kept"] == left
    assert notes_of(*open_file(file).slices[0])


def test_a_file_without_its_counts_is_refused(file: Path) -> None:
    with h5py.File(file, "r+") as opened:
        opened["X"].attrs["encoding-type"] = "of tomorrow"
    for backed in (False, True):
        with pytest.raises(InputError, match=r"A\.h5ad' cannot be read"):
            read_slices([file], backed=backed)


STORED = {"csr": sparse.csr_matrix, "csc": sparse.csc_matrix, "dense": sparse.csr_matrix.toarray}


@pytest.mark.parametrize("stored", STORED)
@pytest.mark.parametrize("kind", [np.float64, np.int32], ids=["float64", "int32"])
def test_a_shape_of_another_type(tmp_path: Path, stored: str, kind: type) -> None:
    adata = tiny_slice()
    expected = adata.X.toarray()
    adata.X = STORED[stored](adata.X)
    adata.write_h5ad(tmp_path / "A.h5ad")
    with h5py.File(tmp_path / "A.h5ad", "r+") as file:
        shape = file["X"].attrs.get("shape")
        if shape is not None:
            file["X"].attrs["shape"] = np.asarray(shape, kind)
    for backed in (False, True):
        ((_, found),) = read_slices([tmp_path / "A.h5ad"], backed=backed)
        counts = found.X.compute() if hasattr(found.X, "compute") else found.X
        np.testing.assert_array_equal(
            counts.toarray() if sparse.issparse(counts) else counts, expected
        )


MATRICES = {
    "csr_array": sparse.csr_array,
    "csc_array": sparse.csc_array,
    "csc_matrix": sparse.csc_matrix,
    "float16": lambda m: m.toarray().astype(np.float16),
    "float64": lambda m: m.astype(np.float64),
    "int64": lambda m: m.astype(np.int64),
    "big-endian": lambda m: m.toarray().astype(">f4"),
    "objects": lambda m: m.toarray().astype(object),
}


@pytest.mark.parametrize("make", MATRICES.values(), ids=MATRICES)
def test_counts_of_any_type_give_the_same(make, tmp_path: Path) -> None:
    slices = tiny_pair()
    slices[0][1].X = make(slices[0][1].X)
    ready = finish(prepare_steps(slices, QUICK))
    joined, _ = concatenate(ready.slices, ready.genes, ready.layers)
    x = joined.X.toarray() if sparse.issparse(joined.X) else joined.X
    expected = np.vstack([adata.X.toarray() for _, adata in tiny_pair()])
    np.testing.assert_array_equal(x.astype(float), expected)
    joined.write_h5ad(tmp_path / "joined.h5ad")
    plain = finish(prepare_steps(tiny_pair(), QUICK)).expression
    for ours, theirs in zip(ready.expression, plain, strict=True):
        np.testing.assert_array_equal(ours.toarray(), theirs.toarray())


def test_half_floats_on_disk(tmp_path: Path) -> None:
    adata = tiny_slice()
    adata.X = adata.X.toarray().astype(np.float16)
    adata.write_h5ad(tmp_path / "A.h5ad")
    slices = read_slices([tmp_path / "A.h5ad"], backed=True)
    ready = finish(prepare_steps(slices, QUICK))
    expected = finish(prepare_steps([("A", tiny_slice())], QUICK))
    for ours, theirs in zip(ready.expression, expected.expression, strict=True):
        np.testing.assert_array_equal(ours.toarray(), theirs.toarray())


ODD = {
    "half floats": ("data", np.float16),
    "indices as floats": ("indices", np.float64),
    "indptr as floats": ("indptr", np.float64),
    "indptr unsigned": ("indptr", np.uint32),
}


@pytest.mark.parametrize("kind", ["csr_matrix", "csc_matrix"])
@pytest.mark.parametrize(("part", "dtype"), ODD.values(), ids=ODD)
def test_sparse_counts_of_odd_types(tmp_path: Path, kind: str, part: str, dtype: type) -> None:
    adata = tiny_slice()
    adata.X = getattr(sparse, kind)(adata.X)
    adata.write_h5ad(tmp_path / "A.h5ad")
    with h5py.File(tmp_path / "A.h5ad", "r+") as file:
        values = file[f"X/{part}"][:]
        del file[f"X/{part}"]
        file[f"X/{part}"] = values.astype(dtype)
        file[f"X/{part}"].attrs.update({"encoding-type": "array", "encoding-version": "0.2.0"})
    for backed in (False, True):
        ((_, found),) = read_slices([tmp_path / "A.h5ad"], backed=backed)
        (block,) = finish(prepare_steps([("A", found)], QUICK)).expression
        (expected,) = finish(prepare_steps([("A", tiny_slice())], QUICK)).expression
        np.testing.assert_array_equal(block.toarray(), expected.toarray())


def test_texts_are_no_counts() -> None:
    slices = tiny_pair()
    slices[1][1].X = np.full((56, 40), "many")
    with pytest.raises(InputError, match="'B': X holds values of type <U4, not numbers"):
        finish(prepare_steps(slices, QUICK))


# -- embeddings that the slices bring ------------------------------------------------------------


def test_embeddings_that_all_slices_have_are_carried_along(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    slices = tiny_pair()
    for name, adata in slices:
        adata.obsm["X_scVI"] = rng.normal(size=(adata.n_obs, 5)).astype(np.float32)
        adata.obsm["shares"] = pd.DataFrame({"a": 1.0, "b": 0.0}, index=adata.obs_names)
        adata.obsm["X_pca"] = adata.obsm["X_scVI"]
        adata.obsm["STAligner"] = adata.obsm["X_scVI"]
        adata.obsm["of unlike width"] = np.ones((adata.n_obs, len(name) + adata.n_obs % 3))
        adata.write_h5ad(tmp_path / f"{name}.h5ad")
    slices[0][1].obsm["alone"] = np.ones((64, 2))
    ready = finish(prepare_steps(slices, QUICK), (said := []).append)
    joined, _ = concatenate(ready.slices, ready.genes, ready.layers)
    # A run moves one that is called as ours aside first.
    assert {k for k in joined.obsm if "STAligner" not in k} == {"spatial", "X_scVI", "shares"}
    expected = np.vstack([adata.obsm["X_scVI"] for _, adata in slices])
    np.testing.assert_array_equal(joined.obsm["X_scVI"], expected)
    notes = " ".join(step.note for step in said if step.note)
    for key in ("alone", "of unlike width"):
        assert f"obsm['{key}'] of the slices is not in the result" in notes
    paths = [tmp_path / "A.h5ad", tmp_path / "B.h5ad"]
    result = integrate(read_slices(paths, backed=True), settings=QUICK)
    np.testing.assert_array_equal(result.obsm["X_scVI"], expected)
    assert result.obsm["STAligner"].shape == (120, QUICK.latent)
    ((_, back), _) = slices_of_result(result)
    assert set(back.obsm) == {"spatial", "X_scVI", "shares", "STAligner"}
    np.testing.assert_array_equal(back.obsm["STAligner"], slices[0][1].obsm["STAligner"])


def test_principal_components_of_one_file_are_carried_along(tmp_path: Path) -> None:
    parts = [adata for _, adata in tiny_pair()]
    joint = ad.concat(parts, label="sample", keys=["A", "B"], index_unique="-")
    joint.obsm["X_pca"] = np.random.default_rng(0).normal(size=(120, 4))
    joint.write_h5ad(tmp_path / "joint.h5ad")
    slices = read_slices([tmp_path / "joint.h5ad"])
    ready = finish(prepare_steps(slices, QUICK))
    joined, _ = concatenate(ready.slices, ready.genes, ready.layers)
    np.testing.assert_array_equal(joined.obsm["X_pca"], joint.obsm["X_pca"])


def test_opening_says_what_reading_guessed(tmp_path: Path) -> None:
    adata: AnnData = tiny_slice()
    adata.obs["x"], adata.obs["y"] = adata.obsm.pop("spatial").T
    adata.write_h5ad(tmp_path / "A.h5ad")
    content = open_file(tmp_path / "A.h5ad")
    assert content.slices[0][1].obsm["spatial"].shape == (64, 2)
    assert "obs['x'] and obs['y']" in content.notes[0]
