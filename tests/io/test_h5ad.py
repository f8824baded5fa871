from __future__ import annotations

import os

import anndata as ad
import numpy as np
import pandas as pd
import pytest
from tiny import QUICK, tiny_pair, tiny_slice

from napari_staligner import InputError, integrate, read_slices, write_result
from napari_staligner.io import h5ad
from napari_staligner.io.atomic import check_target
from napari_staligner.io.h5ad import read_any, slices_of_result


@pytest.fixture(scope="module")
def result():
    (_, a), (_, b) = tiny_pair()
    a.var_names = ["only_a", *a.var_names[1:]]
    a.uns["spatial"] = {
        "lib": {
            "images": {"lowres": np.arange(48, dtype=np.uint8).reshape(4, 4, 3)},
            "scalefactors": {"tissue_lowres_scalef": 0.1},
        }
    }
    return integrate([("A", a), ("B", b)], settings=QUICK)


def test_a_result_comes_back_as_it_was(result, tmp_path):
    path = write_result(result, tmp_path / "out.h5ad")
    kind, back = read_any(path)
    assert kind == "result"
    assert (back.X != result.X).nnz == 0
    np.testing.assert_array_equal(back.obsm["STAligner"], result.obsm["STAligner"])
    for key in result.obsp:
        assert (back.obsp[key] != result.obsp[key]).nnz == 0
    pd.testing.assert_series_equal(back.obs["domain"], result.obs["domain"])
    assert list(back.uns["domain_colors"]) == list(result.uns["domain_colors"])
    np.testing.assert_array_equal(
        back.uns["staligner"]["transforms"]["B"], result.uns["staligner"]["transforms"]["B"]
    )
    assert list(tmp_path.iterdir()) == [path]


def test_slices_of_a_result_are_those_that_went_in(result, tmp_path):
    write_result(result, tmp_path / "out.h5ad")
    slices = dict(read_slices([tmp_path / "out.h5ad"]))
    assert list(slices) == ["A", "B"]
    for name, before in tiny_pair():
        # The genes of a slice come in the order in which all slices' genes were joined.
        there = slices[name][:, [f"gene{i}" for i in range(1, 40)]]
        assert (there.X != before[:, there.var_names].X).nnz == 0
        assert slices[name].obs_names.tolist() == before.obs_names.tolist()
        assert list(slices[name].obs) == ["half"]
        assert not slices[name].obsp
    assert "only_a" in slices["A"].var_names
    assert "only_a" not in slices["B"].var_names
    assert list(slices["A"].uns["spatial"]) == ["A"]
    assert "spatial" not in slices["B"].uns
    again = integrate(slices, settings=QUICK)
    np.testing.assert_array_equal(again.obsm["STAligner"], result.obsm["STAligner"])


def test_slices_keep_the_name_of_their_file_and_a_name_twice_gets_a_number(tmp_path):
    for folder in ("one", "two"):
        (tmp_path / folder).mkdir()
        tiny_slice().write_h5ad(tmp_path / folder / "bulb.h5ad")
    slices = read_slices([tmp_path / "one" / "bulb.h5ad", tmp_path / "two" / "bulb.h5ad"])
    assert [name for name, _ in slices] == ["bulb", "bulb (2)"]


@pytest.fixture
def joint(tmp_path):
    adata = ad.concat(
        [tiny_slice(seed=1), tiny_slice(seed=2)],
        label="section",
        keys=["s1", "s/2"],
        index_unique="-",
    )
    adata.uns["spatial"] = {"s1": {"images": {}}, "s2": {"images": {}}}
    path = tmp_path / "joint.h5ad"
    adata.write_h5ad(path)
    return path


def test_a_file_of_several_slices(joint):
    slices = dict(read_slices([joint], slice_key="section"))
    assert list(slices) == ["s1", "s_2"]
    assert slices["s1"].n_obs == 64
    assert list(slices["s1"].uns["spatial"]) == ["s1"]


def test_a_column_that_is_not_there(joint):
    with pytest.raises(InputError, match=r"'joint' has no obs\['sample'\].*'section'"):
        read_slices([joint], slice_key="sample")


def test_several_images_tell_the_slices_apart(tmp_path):
    adata = ad.concat(
        [tiny_slice(seed=1), tiny_slice(seed=2)],
        label="section",
        keys=["s1", "s2"],
        index_unique="-",
    )
    adata.uns["spatial"] = {"s1": {"images": {}}, "s2": {"images": {}}}
    adata.write_h5ad(tmp_path / "joint.h5ad")
    assert [name for name, _ in read_slices([tmp_path / "joint.h5ad"])] == ["s1", "s2"]


def test_a_file_that_is_cut_off(tmp_path):
    tiny_slice().write_h5ad(tmp_path / "cut.h5ad")
    whole = (tmp_path / "cut.h5ad").read_bytes()
    (tmp_path / "cut.h5ad").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(InputError, match=r"cut\.h5ad' cannot be read as \.h5ad .*export it again"):
        read_slices([tmp_path / "cut.h5ad"])


def test_a_file_of_another_format(tmp_path):
    (tmp_path / "notes.h5ad").write_text("gene,count\n")
    with pytest.raises(InputError, match=r"notes\.h5ad' cannot be read as \.h5ad"):
        read_slices([tmp_path / "notes.h5ad"])


def test_a_file_that_is_not_there(tmp_path):
    with pytest.raises(InputError, match="There is no file"):
        read_slices([tmp_path / "none.h5ad"])


def test_targets_that_cannot_be_written(result, tmp_path):
    with pytest.raises(InputError, match="does not exist"):
        write_result(result, tmp_path / "missing" / "out.h5ad")
    with pytest.raises(InputError, match="is a folder"):
        check_target(tmp_path)
    (tmp_path / "out.h5ad").write_text("precious")
    (tmp_path / "out.h5ad").chmod(0o400)
    with pytest.raises(InputError, match="is read-only"):
        write_result(result, tmp_path / "out.h5ad")
    assert (tmp_path / "out.h5ad").read_text() == "precious"


def test_a_read_only_folder(tmp_path):
    tmp_path.chmod(0o500)
    try:
        if os.access(tmp_path, os.W_OK):
            pytest.skip("this user may write anywhere")
        with pytest.raises(InputError, match="cannot be written to"):
            check_target(tmp_path / "out.h5ad")
    finally:
        tmp_path.chmod(0o700)


def test_a_failed_write_leaves_what_was_there(result, tmp_path, monkeypatch):
    target = tmp_path / "out.h5ad"
    target.write_text("precious")

    def full_disk(adata, path, **_):
        with open(path, "w") as half:
            half.write("half")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(h5ad, "write_anndata", full_disk)
    with pytest.raises(InputError, match="No space left on device"):
        write_result(result, target)
    assert target.read_text() == "precious"
    assert list(tmp_path.iterdir()) == [target]


@pytest.mark.parametrize(
    ("spoil", "slot"),
    [
        (lambda a: a.obs.insert(0, "k", [slice(1)] * a.n_obs), r"obs\['k'\]"),
        (
            lambda a: a.uns["staligner"].update(mine={"f": len}),
            r"uns\['staligner'\]\['mine'\]\['f'\]",
        ),
        (lambda a: a.obsm.update(when=pd.DataFrame({"t": [len] * a.n_obs}, a.obs_names)), "when"),
    ],
)
def test_what_a_file_cannot_hold_is_named(result, tmp_path, spoil, slot):
    spoilt = result.copy()
    spoil(spoilt)
    with pytest.raises(InputError, match=rf"out\.h5ad' cannot be written, because .*{slot}"):
        write_result(spoilt, tmp_path / "out.h5ad")
    assert not list(tmp_path.iterdir())


def test_slices_of_a_result_drop_what_was_computed(result):
    assert "alignment_confidence" not in slices_of_result(result)[0][1].obs
