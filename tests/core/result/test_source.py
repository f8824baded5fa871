"""Slices as the shell names them: text to source and back."""

from __future__ import annotations

import random

import pytest

from napari_staligner import InputError
from napari_staligner.core.result.provenance import mark_source, source_of
from napari_staligner.core.result.source import Source
from napari_staligner.io.sources import parse_source


@pytest.mark.parametrize(
    ("text", "source"),
    [
        ("A.h5ad", Source("A.h5ad")),
        ("A.h5ad[S1]", Source("A.h5ad", slice="S1")),
        ("A.h5ad[sample=S1]", Source("A.h5ad", choices={"sample": "S1"})),
        ("outs[bin=008um]", Source("outs", choices={"bin": "008um"})),
        (
            "x.zarr[table=t, system=aligned]",
            Source("x.zarr", choices={"table": "t", "system": "aligned"}),
        ),
        ("r.h5ad[left,counts=raw]", Source("r.h5ad", slice="left", choices={"counts": "raw"})),
        # Brackets that pair up need no quotes, nor does an equals sign in a value.
        ("A.h5ad[s=liver [1]]", Source("A.h5ad", choices={"s": "liver [1]"})),
        ("A.h5ad[s=a=b]", Source("A.h5ad", choices={"s": "a=b"})),
        ('A.h5ad[s="liver [1"]', Source("A.h5ad", choices={"s": "liver [1"})),
        (r'A.h5ad["3\" \\ left, top"]', Source("A.h5ad", slice='3" \\ left, top')),
        ("A.h5ad[s=]", Source("A.h5ad", choices={"s": ""})),
        # Brackets of a path stay in it.
        ("a[b].h5ad", Source("a[b].h5ad")),
        ("run[1]/A.h5ad[s=x]", Source("run[1]/A.h5ad", choices={"s": "x"})),
        ("outs[1][]", Source("outs[1]")),
        ("outs]", Source("outs]")),
        ("[S1]", Source("[S1]")),
    ],
)
def test_text_becomes_a_source(text, source):
    assert parse_source(text) == source
    assert parse_source(source.spec()) == source


NAMES = (
    *("S1", "liver [1]", "[", "]", "][", "a=b", "=", "a, b", ",", 'say "x"', '"', "\\", '\\"', "'"),
    *(" led", "trailed ", "é µ", "sample:x", "a/b", "$HOME", "new\nline", '"]', '",'),
)


@pytest.mark.parametrize("name", NAMES)
def test_any_name_comes_back(name):
    for source in (
        Source("A.h5ad", slice=name),
        Source("A.h5ad", choices={name: "x"}),
        Source("A.h5ad", choices={"s": name, name + "2": name}),
        Source("A.h5ad", slice=name, choices={"bin": name}),
        Source(f"{name}/A.h5ad", slice="S1"),
        Source(f"data/A{name}"),
    ):
        assert Source.from_spec(source.spec()) == source


def test_any_path_and_name_of_the_signs_of_the_brackets_come_back():
    draw = random.Random(0)

    def word(least, most):
        return "".join(draw.choices('ab[]=,"\\ ', k=draw.randint(least, most)))

    for _ in range(5000):
        choices = {word(1, 4): word(0, 4) for _ in range(draw.randint(0, 2))}
        source = Source(word(1, 7), slice=word(0, 4), choices=choices)
        assert Source.from_spec(source.spec()) == source


def test_a_file_whose_name_looks_like_brackets_is_taken_as_it_is(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert parse_source("outs[a=b]") == Source("outs", choices={"a": "b"})
    (tmp_path / "outs[a=b]").mkdir()
    assert parse_source("outs[a=b]") == Source("outs[a=b]")


def test_brackets_that_say_two_things_are_one_sentence():
    with pytest.raises(InputError, match=r"names two slices, 'left' and 'top'.*double quotes"):
        parse_source("A.h5ad[left, top]")
    with pytest.raises(InputError, match="chooses 's' twice"):
        parse_source("A.h5ad[s=1,s=2]")


@pytest.mark.parametrize("name", NAMES)
def test_a_file_keeps_where_a_slice_came_from(name, tmp_path):
    import anndata as ad

    source = Source("/data/A [1].h5ad", "0" * 64, choices={"a/b": name})
    adata = ad.AnnData(shape=(1, 1))
    mark_source(adata, source)
    adata.write_h5ad(tmp_path / "A.h5ad")
    assert source_of(ad.read_h5ad(tmp_path / "A.h5ad")) == source


def test_a_source_as_it_was_written_at_first_is_read():
    import anndata as ad

    old = {"path": "/A.h5ad", "sha256": "ab", "key": "sample", "value": "liver [1]"}
    adata = ad.AnnData(shape=(1, 1), uns={"staligner_source": old})
    assert source_of(adata) == Source("/A.h5ad", "ab", choices={"sample": "liver [1]"})
    adata.uns["staligner_source"] = {"path": "/A.h5ad", "sha256": "ab", "key": "", "value": ""}
    assert source_of(adata) == Source("/A.h5ad", "ab")
