"""Whatever pandas holds in the tables of slices: the joined file can be written and read."""

from __future__ import annotations

import datetime
from decimal import Decimal
from pathlib import Path

import anndata as ad
import numpy as np
import pandas as pd
import pytest
from scipy import sparse
from tiny import QUICK, tiny_pair

from napari_staligner import InputError, integrate, write_result
from napari_staligner.core.integrate import integrate_steps, prepare_steps
from napari_staligner.core.prepare.storable import storable_frames, storable_value
from napari_staligner.core.prepare.storable_columns import unwritable
from napari_staligner.core.progress import finish

NA = np.nan
KINDS = {
    "text": (list("abcd"), list("abcd")),
    "text with gaps": (["a", None, "c", NA], ["a", NA, "c", NA]),
    "numbers with gaps": (pd.Series([1, None, 2.5, 3], dtype=object), [1, NA, 2.5, 3]),
    "booleans": ([True, False, True, True], [True, False, True, True]),
    "booleans with gaps": ([True, None, False, NA], [True, NA, False, NA]),
    "nothing": ([None] * 4, [NA] * 4),
    "text and numbers": (["a", 1, 2.5, 3.0], ["a", "1", "2.5", "3"]),
    "booleans and text": ([True, "a", False, "b"], ["True", "a", "False", "b"]),
    "lists": ([[1], ["a", "b"], [], [None]], ["[1]", '["a", "b"]', "[]", "[null]"]),
    "tuples": ([(1, 2)] * 4, ["[1, 2]"] * 4),
    "dictionaries": ([{"a": 1}] * 4, ['{"a": 1}'] * 4),
    "sets": ([{2, 1}] * 4, ["[1, 2]"] * 4),
    "arrays": ([np.arange(2)] * 4, ["[0, 1]"] * 4),
    "dates": (pd.date_range("2020-01-01", periods=4), [f"2020-01-0{i}" for i in (1, 2, 3, 4)]),
    "dates of a zone": (
        pd.date_range("2020-01-01", periods=4, tz="UTC"),
        [f"2020-01-0{i} 00:00:00+00:00" for i in (1, 2, 3, 4)],
    ),
    "dates with gaps": (pd.to_datetime(["2020-01-01", None] * 2), ["2020-01-01", NA] * 2),
    "dates of Python": ([datetime.date(2020, 1, 1)] * 4, ["2020-01-01"] * 4),
    "durations": (pd.to_timedelta([1, 2, 3, 4], unit="D"), [f"{i} days" for i in (1, 2, 3, 4)]),
    "periods": (pd.period_range("2020", periods=4, freq="Y"), ["2020", "2021", "2022", "2023"]),
    "intervals": (pd.interval_range(0, 4), ["(0, 1]", "(1, 2]", "(2, 3]", "(3, 4]"]),
    "bins": (pd.cut([1, 2, 3, 4], [0, 2, 4]), ["(0, 2]", "(0, 2]", "(2, 4]", "(2, 4]"]),
    "decimals": ([Decimal("1.5"), Decimal("2.5")] * 2, [1.5, 2.5] * 2),
    "complex numbers": ([1j, 2.0, 3.0, 4.0], [1j, 2, 3, 4]),
    "paths": ([Path("x")] * 4, ["x"] * 4),
    "bytes": ([b"x", b"\xff"] * 2, ["x", "\\xff"] * 2),
    "huge whole numbers": ([10**30, 1, 2, 3], [str(10**30), "1", "2", "3"]),
    "numbers of 53 bits and more": (
        pd.Series([2**53 + 1, None, 1, 2], dtype=object),
        [2**53 + 1, NA, 1, 2],
    ),
    "objects": ([slice(1, 2)] * 4, ["slice(1, 2, None)"] * 4),
    "Int64": (pd.array([1, None, 3, 4], dtype="Int64"), [1, NA, 3, 4]),
    "Float64": (pd.array([1, None, 3, 4], dtype="Float64"), [1, NA, 3, 4]),
    "boolean": (pd.array([True, None, False, True], dtype="boolean"), [True, NA, False, True]),
    "string": (pd.array(["a", None, "b", "c"], dtype="string"), ["a", NA, "b", "c"]),
    "string without gaps": (pd.array(list("abcd"), dtype="string"), list("abcd")),
    "sparse": (pd.arrays.SparseArray([0, 0, 1, 1]), [0, 0, 1, 1]),
    "float16": (np.arange(4, dtype=np.float16), [0, 1, 2, 3]),
    "long double": (np.arange(4, dtype=np.longdouble), [0, 1, 2, 3]),
    "categories": (pd.Categorical(["b", "a", None, "b"]), ["b", "a", NA, "b"]),
    "categories of numbers": (pd.Categorical([2, 1, None, 2]), [2, 1, NA, 2]),
    "categories of both": (pd.Categorical(["a", 1, "a", 1]), ["a", "1", "a", "1"]),
    "categories that become one": (pd.Categorical(["1", 1, "1", 1]), ["1"] * 4),
    "categories of dates": (pd.Categorical(pd.to_datetime(["2020-01-01"] * 4)), ["2020-01-01"] * 4),
    "categories of nothing": (pd.Categorical([None] * 4), [NA] * 4),
    "a null character": (["a\0b"] * 4, ["a\\0b"] * 4),
    "half a character": (["\ud800"] * 4, ["\\ud800"] * 4),
}
SPOTS = list("wxyz")


def column(kind: str) -> pd.Series:
    values = KINDS[kind][0]
    made = values if isinstance(values, pd.Series) else pd.Series(values)
    return made.set_axis(SPOTS)


def joined(**columns: pd.Series | None) -> tuple[pd.Series, list[str]]:
    """Join the column of slices, write it, read it, and return it with the notes."""
    frames = {
        name: pd.DataFrame({} if values is None else {"k": values}, index=SPOTS)
        for name, values in columns.items()
    }
    before = {name: frame.copy() for name, frame in frames.items()}
    made, notes = storable_frames(frames, "obs")
    for name, frame in frames.items():
        pd.testing.assert_frame_equal(frame, before[name])
    slices = {name: ad.AnnData(np.ones((4, 1)), obs=frame) for name, frame in made.items()}
    whole = ad.concat(slices, index_unique="_", join="outer")
    assert not unwritable(whole.obs)
    return whole.obs["k"], notes


def same(found: pd.Series, expected: list) -> None:
    assert [NA if pd.isna(value) else value for value in found] == pytest.approx(
        expected, nan_ok=True
    )


@pytest.fixture
def read_back(tmp_path):
    def read_back(values: pd.Series) -> pd.Series:
        values = values.set_axis([f"spot{i}" for i in range(len(values))])
        adata = ad.AnnData(np.ones((len(values), 1)), obs=values.to_frame("k"))
        adata.write_h5ad(tmp_path / "out.h5ad")
        return ad.read_h5ad(tmp_path / "out.h5ad").obs["k"]

    return read_back


@pytest.mark.parametrize("kind", KINDS)
def test_a_column_of_one_kind(kind, read_back):
    found, notes = joined(A=column(kind), B=column(kind))
    same(read_back(found), KINDS[kind][1] * 2)
    assert len(notes) <= 1
    assert all(note.startswith("obs['k'] holds ") for note in notes)


@pytest.mark.parametrize("kind", KINDS)
def test_a_column_of_one_slice_only(kind, read_back):
    found, _ = joined(A=column(kind), B=None)
    same(read_back(found), KINDS[kind][1] + [NA] * 4)


@pytest.mark.parametrize("other", ["text", "numbers with gaps", "booleans", "categories"])
@pytest.mark.parametrize("kind", KINDS)
def test_any_two_kinds_in_two_slices(kind, other, read_back):
    found, _ = joined(A=column(kind), B=column(other))
    assert len(read_back(found)) == 8


def test_text_in_one_slice_and_numbers_in_others():
    found, notes = joined(A=column("text"), B=pd.Series([1, 2, 3, 4], SPOTS), C=column("text"))
    same(found[4:8], ["1", "2", "3", "4"])
    assert notes == ["obs['k'] holds text in 'A' and 'C' and numbers in 'B': it is kept as text."]
    # Clusters are the same ones where gaps have made floats of whole numbers.
    found, _ = joined(A=column("text"), B=pd.Series([1, 2.5, NA, 3], SPOTS))
    same(found[4:], ["1", "2.5", NA, "3"])


def test_booleans_in_one_slice_and_numbers_in_another():
    found, notes = joined(A=column("booleans"), B=pd.Series([1, 0, 2, 1], SPOTS))
    same(found, [1, 0, 1, 1, 1, 0, 2, 1])
    assert notes == ["obs['k'] holds booleans in 'A' and numbers in 'B': it is kept as numbers."]


def test_what_a_file_holds_is_kept_and_nothing_is_said():
    for kind in ("text", "booleans", "booleans with gaps", "Int64", "categories", "nothing"):
        assert joined(A=column(kind), B=column(kind))[1] == []
    found, _ = joined(A=column("booleans"), B=None)
    assert found.dtype == "boolean"
    ordered = pd.Series(pd.Categorical(list("abab"), ["b", "a"], ordered=True), SPOTS)
    assert joined(A=ordered, B=ordered)[0].dtype == ordered.dtype
    found, _ = joined(A=ordered, B=column("categories"))
    assert list(found.cat.categories) == ["b", "a"]


def test_names_of_columns(tmp_path):
    frame = pd.DataFrame(np.arange(20).reshape(4, 5), SPOTS, ["k", "k", "a/b", 3, "_index"])
    made, notes = storable_frames({"A": frame}, "obs")
    assert list(made["A"]) == ["k", "k (2)", "a_b", "3", "index"]
    assert made["A"]["k (2)"].tolist() == [1, 6, 11, 16]
    assert len(notes) == 1
    assert notes[0].startswith("Slice 'A': a file cannot hold all names of obs, so 'k' is called")
    assert notes[0].endswith("3 is called '3', and 1 more likewise.")
    ad.AnnData(np.ones((4, 1)), obs=made["A"]).write_h5ad(tmp_path / "out.h5ad")
    assert list(ad.read_h5ad(tmp_path / "out.h5ad").obs) == list(made["A"])


def test_names_of_rows():
    frame = pd.DataFrame({"barcode": list("abcd")}, index=pd.Index([1, 2.5, None, b"x"]))
    frame.index.name = "barcode"
    made = storable_frames({"A": frame}, "obs")[0]["A"]
    assert made.index.tolist() == ["1", "2.5", "None", "x"]
    assert made.index.name is None
    assert not unwritable(made)


ENTRIES = {
    "a tuple": ((1, 2), [1, 2]),
    "a list of both": (["a", 1], ["a", "1"]),
    "a ragged list": ([[1], [1, 2]], "[[1], [1, 2]]"),
    "a list of dictionaries": ([{"a": 1}], '[{"a": 1}]'),
    "a matrix as lists": ([[1, 2], [3, 4]], [[1, 2], [3, 4]]),
    "a date": (datetime.date(2020, 1, 1), "2020-01-01"),
    "a series": (pd.Series([1, 2]), [1, 2]),
    "an index": (pd.Index(["a"]), ["a"]),
    "a path": (Path("x"), "x"),
    "a range": (range(3), [0, 1, 2]),
    "bytes": (b"x", "x"),
    "a large number": (10**30, str(10**30)),
    "a list with a gap": ([1, None], [1, NA]),
    "text with a null": ("a\0", "a\\0"),
}


@pytest.mark.parametrize("kind", ENTRIES)
def test_entries_of_uns(kind):
    from anndata.io import read_elem, write_elem

    value, expected = ENTRIES[kind]
    lost: list[str] = []
    kept = storable_value({1: {"a/b": value, "none": None}}, "uns['spatial']", lost)
    assert not lost
    import h5py

    with h5py.File("nowhere", "w", driver="core", backing_store=False) as file:
        write_elem(file, "x", kept)
        found = read_elem(file["x"])
    assert list(found) == ["1"]
    assert list(found["1"]) == ["a_b"]
    got = found["1"]["a_b"]
    if isinstance(expected, str):
        assert got == expected
    else:
        assert np.shape(got) == np.shape(expected)
        assert np.ravel(got).tolist() == pytest.approx(np.ravel(expected).tolist(), nan_ok=True)


def test_what_cannot_be_written_of_uns_is_left_out():
    lost: list[str] = []
    kept = storable_value({"lib": {"images": {}, "model": len}}, "uns['spatial']", lost)
    assert kept == {"lib": {"images": {}}}
    assert lost == ["uns['spatial']['lib']['model']"]


def spoilt() -> list[tuple[str, ad.AnnData]]:
    """Two slices with a column of each kind, in obs and in var; the second lacks some."""
    slices = tiny_pair()
    for (_, adata), kinds in zip(slices, (list(KINDS), list(KINDS)[::2]), strict=True):
        for kind in kinds:
            for frame in (adata.obs, adata.var):
                values = column(kind).iloc[np.arange(len(frame)) % 4].set_axis(frame.index)
                frame[kind] = values
        adata.obs["bad/name"] = 1
        adata.obs["barcode"] = adata.obs_names
        adata.obs.index.name = "barcode"
        adata.uns["spatial"] = {"a/b": {"images": {}, "metadata": {"when": (None, 1), 3: len}}}
        adata.uns["half_colors"] = [(1, 2), "red"]
        adata.layers["half"] = adata.X.toarray().astype(np.float16)
    slices[0][1].obs["half"] = 1
    slices[1][1].var_names = [*slices[1][1].var_names[:-3], "X", "Y", "Z"]
    return slices


def test_a_result_of_all_of_them_is_written(tmp_path):
    slices, before = spoilt(), spoilt()
    result = integrate(slices, settings=QUICK)
    for (_, after), (_, adata) in zip(slices, before, strict=True):
        pd.testing.assert_frame_equal(after.obs, adata.obs)
        pd.testing.assert_frame_equal(after.var, adata.var)
        assert after.layers["half"].dtype == np.float16
        assert str(after.uns) == str(adata.uns)
    notes = list(result.uns["staligner"]["notes"])
    assert "obs['half'] holds numbers in 'A' and text in 'B': it is kept as text." in notes
    assert any("uns['spatial']['a/b']['metadata'][3] cannot be written" in note for note in notes)
    back = ad.read_h5ad(write_result(result, tmp_path / "out.h5ad"))
    for kind, (_, expected) in KINDS.items():
        same(back.obs[kind][:4], expected)
        same(back.var[kind][:4], expected)
    assert back.layers["half"].dtype == np.float32


def test_spots_whose_names_are_numbers(tmp_path):
    slices = tiny_pair()
    slices[0][1].obs.index = pd.RangeIndex(64)
    result = integrate(slices, settings=QUICK)
    assert result.obs_names[:2].tolist() == ["0_A", "1_A"]
    write_result(result, tmp_path / "out.h5ad")


def test_names_of_slices_that_are_no_text(tmp_path):
    (_, a), (_, b) = tiny_pair()
    result = integrate({1: a, 2: b}, settings=QUICK)
    assert list(result.obs["slice"].cat.categories) == ["1", "2"]
    write_result(result, tmp_path / "out.h5ad")


@pytest.mark.parametrize("name", ["a/b", "", "."])
def test_a_name_that_a_file_cannot_hold_is_refused(name):
    with pytest.raises(InputError, match=f"Slice '{name}' has a name that a file cannot hold"):
        integrate([tiny_pair()[0], (name, tiny_pair()[1][1])], settings=QUICK)


def test_a_layer_that_cannot_be_written_is_refused_before_the_training():
    slices = tiny_pair()
    for _, adata in slices:
        adata.layers["names"] = np.full(adata.shape, slice(1), dtype=object)
    with pytest.raises(InputError, match=r"layers\['names'\] holds values of type object"):
        next(step for step in integrate_steps(slices, QUICK) if step.loss)


def test_the_matrices_are_shared():
    slices = tiny_pair()
    ready = finish(prepare_steps(slices, QUICK)).slices
    assert all(
        sparse.issparse(held.X) and np.shares_memory(held.X.data, adata.X.data)
        for (_, held), (_, adata) in zip(ready, slices, strict=True)
    )
