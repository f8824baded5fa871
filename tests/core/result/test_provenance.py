"""The command that makes a result again, and where its slices came from."""

from __future__ import annotations

import shlex
from dataclasses import replace

import anndata as ad
import numpy as np
import pytest
from fakes import fake_result
from tiny import QUICK, tiny_pair
from typer.testing import CliRunner

from napari_staligner import InputError, Settings, integrate, read_slices, write_result
from napari_staligner.cli import app as cli
from napari_staligner.core.result.provenance import (
    options_of,
    settings_of,
    shell_command,
    source_of,
    sources_of,
)
from napari_staligner.core.settings import parse_pair, parse_setting
from napari_staligner.io.h5ad import read_any, slices_of_result
from napari_staligner.io.session_file import read_record
from napari_staligner.io.sources import check_unchanged, parse_source

NAMES = ("A", "B: left", "C")


@pytest.mark.parametrize(
    "settings",
    [
        Settings(),
        Settings().as_named("published"),
        Settings(domains=7, seed=0).with_preset("visium"),
        Settings(resolution=0.7, radius=150.5, smooth=True, device="cpu", counts_layer="raw"),
        Settings(n_neighbors=6, positives="nearest", latent=12, offsets=False, components=40),
        Settings(learning_rate=1.2345e-3, clip=2.5, precision="float32", tolerance=0.0),
        replace(Settings().as_named("published"), epochs=20, pairs=(("A", "B: left"),)),
        Settings(pairs=(("A", "B: left"), ("B: left", "C"))),
    ],
)
def test_the_options_give_the_settings_again(settings, monkeypatch, tmp_path):
    got = []
    monkeypatch.setattr(cli, "_integrate", lambda *args: got.append(args))
    words = ["integrate", *NAMES, "-o", str(tmp_path / "out.h5ad"), *options_of(settings, NAMES)]
    done = CliRunner().invoke(cli.app, words)
    assert done.exit_code == 0, done.output
    _, _, _, chosen, chain, pairs, _ = got[0]
    if chain:
        chosen = replace(chosen, pairs=(("A", "B: left"), ("B: left", "C")))
    elif pairs:
        chosen = replace(chosen, pairs=tuple(parse_pair(pair, NAMES) for pair in pairs))
    assert chosen == settings


def test_what_is_no_setting_and_no_pair_is_one_sentence():
    assert parse_setting("offsets=no") == ("offsets", False)
    assert parse_setting("latent=12") == ("latent", 12)
    with pytest.raises(InputError, match=r"no setting 'colour'.*latent"):
        parse_setting("colour=red")
    with pytest.raises(InputError, match="Setting 'latent' is 'many': give a whole number"):
        parse_setting("latent=many")
    with pytest.raises(InputError, match="'A:D' is no pair of slices"):
        parse_pair("A:D", NAMES)


@pytest.fixture
def folder(tmp_path):
    for name, adata in tiny_pair():
        adata.obs["half"] = np.where(np.arange(adata.n_obs) % 2, "odd", "even")
        adata.write_h5ad(tmp_path / f"{name}.h5ad")
    return tmp_path


def test_the_recorded_command_gives_bitwise_the_same_embedding(folder):
    slices = read_slices(sorted(folder.glob("*.h5ad")))
    settings = replace(QUICK, alpha=0.3, latent=12, domains=3, seed=5)
    first = integrate(slices, settings=settings)
    out = folder / "again.h5ad"
    words = shlex.split(shell_command(first, str(out)))
    assert words[0] == "napari-staligner"
    done = CliRunner().invoke(cli.app, words[1:])
    assert done.exit_code == 0, done.output
    again = ad.read_h5ad(out)
    np.testing.assert_array_equal(again.obsm["STAligner"], first.obsm["STAligner"])
    assert (again.obs["domain"].astype(str) == first.obs["domain"].astype(str)).all()
    assert settings_of(again) == settings
    assert shell_command(again, str(out)) == shell_command(first, str(out))


def test_a_result_of_before_tells_that_its_genes_and_input_were_others(folder):
    result = integrate(read_slices(sorted(folder.glob("*.h5ad"))), settings=QUICK)
    assert settings_of(result) == QUICK
    for name in ("ranked", "wide"):
        del result.uns["staligner"]["params"][name]
    assert settings_of(result) == replace(QUICK, ranked=False, wide=False)
    assert "--set ranked=False --set wide=False" in shell_command(result)


def test_slices_out_of_a_result_know_the_files_they_came_from(folder):
    """Genes lie in another order there: what comes out must not depend on it."""
    ((_, b),) = read_slices([folder / "B.h5ad"])
    b = b[:, ::-1].copy()
    b.write_h5ad(folder / "B.h5ad")
    slices = read_slices(sorted(folder.glob("*.h5ad")))
    settings = replace(QUICK, domains=3)
    first = integrate(slices, settings=settings)
    path = write_result(first, folder / "out.h5ad")
    _, back = read_any(path)
    assert sources_of(back)["B"].path == str(folder / "B.h5ad")
    second = integrate(slices_of_result(back), settings=settings)
    np.testing.assert_array_equal(second.obsm["STAligner"], first.obsm["STAligner"])
    assert shell_command(second) == shell_command(first)


def test_the_command_stays_on_one_line_where_it_is_not_on_a_terminal(tmp_path):
    _, result = fake_result((30, 30))
    folder = "/data/" + "a long name of a folder/" * 50
    kept = {name: {"path": f"{folder}{name}.h5ad"} for name in ("slice1", "slice2")}
    result.uns["staligner"]["provenance"] = {"sources": kept}
    command = shell_command(result)
    result.write_h5ad(tmp_path / "r.h5ad")
    done = CliRunner().invoke(cli.app, ["info", str(tmp_path / "r.h5ad")])
    assert len(command) > 2000
    assert command in done.output


def test_slices_from_memory_have_no_command():
    result = integrate(tiny_pair(), settings=replace(QUICK, domains=3))
    assert sources_of(result) == {}
    assert shell_command(result) == ""


def test_one_slice_of_several_in_a_file_is_named(folder):
    (_, odd), (_, even) = read_slices(
        [f"{folder / 'A.h5ad'}[half=odd]", f"{folder / 'A.h5ad'}[half=even]"]
    )
    assert set(odd.obs["half"]) == {"odd"}
    assert set(even.obs["half"]) == {"even"}
    source = source_of(odd)
    assert source.spec() == f"{folder / 'A.h5ad'}[half=odd]"
    assert len(source.sha256) == 64
    by_key = dict(read_slices([folder / "A.h5ad"], slice_key="half"))
    assert source_of(by_key["odd"]) == source
    with pytest.raises(InputError, match=r"no slice 'left' in obs\['half'\].*'even', 'odd'"):
        read_slices([f"{folder / 'A.h5ad'}[half=left]"])


def test_a_file_that_is_gone_or_changed_is_said(folder):
    ((_, a),) = read_slices([folder / "A.h5ad"])
    source = source_of(a)
    check_unchanged("A", source)
    a[:50].copy().write_h5ad(folder / "A.h5ad")
    with pytest.raises(InputError, match="The file of slice 'A' has changed"):
        check_unchanged("A", source)
    (folder / "A.h5ad").unlink()
    with pytest.raises(InputError, match="The file of slice 'A' is gone"):
        check_unchanged("A", source)


def test_the_sample_is_a_source():
    ((name, adata),) = read_slices(["sample:Stereo-seq"])
    assert name == "Stereo-seq"
    assert source_of(adata).spec() == "sample:Stereo-seq"
    check_unchanged(name, source_of(adata))
    with pytest.raises(InputError, match="no sample slice 'Visium'"):
        read_slices(["sample:Visium"])
    assert parse_source("a[b].h5ad").spec() == "a[b].h5ad"


@pytest.mark.parametrize("values", [("liver [1]", "liver [2]"), (" a,b", "a,b"), ('3"', "x=1]")])
def test_a_slice_of_a_joint_file_is_found_again_whatever_its_name(values, tmp_path):
    _, a = tiny_pair()[0]
    a.obs["s"] = np.where(np.arange(a.n_obs) % 2, *values)
    a.write_h5ad(tmp_path / "joint.h5ad")
    for name, part in read_slices([tmp_path / "joint.h5ad"], slice_key="s"):
        spec = source_of(part).spec()
        ((again, found),) = read_slices([spec])
        assert again == name.removesuffix(" (2)")
        assert found.obs_names.equals(part.obs_names)
        assert source_of(found) == source_of(part)


def test_a_part_of_a_part_and_a_slice_of_a_result_are_named(folder, tmp_path):
    _, a = tiny_pair()[0]
    a.obs["s"], a.obs["half"] = np.arange(a.n_obs) % 3 == 0, np.arange(a.n_obs) % 2
    a.write_h5ad(tmp_path / "joint.h5ad")
    ((_, part),) = read_slices([f"{tmp_path / 'joint.h5ad'}[s=True,half=1]"])
    assert (part.obs["s"] & (part.obs["half"] == 1)).all()
    assert source_of(part).choices == {"s": "True", "half": "1"}
    result = integrate(read_slices(sorted(folder.glob("[AB].h5ad"))), settings=QUICK)
    write_result(result, folder / "r.h5ad")
    for spec in ("[B]", "[slice=B]"):
        ((name, b),) = read_slices([f"{folder / 'r.h5ad'}{spec}"])
        assert name == "B"
        assert b.n_obs == (result.obs["slice"] == "B").sum()
    with pytest.raises(InputError, match="'r' has no slice 'C': choose one of 'A', 'B'"):
        read_slices([f"{folder / 'r.h5ad'}[C]"])


def test_sessions_of_before_keep_the_part_that_they_took(folder):
    source = '{"path": "/A.h5ad", "sha256": "ab", "key": "half", "value": "odd"}'
    text = f'{{"slices": [{{"name": "A", "source": {source}}}, {{"name": "B", "source": null}}]}}'
    record = read_record(text)
    assert record.slices[0].source.spec() == "/A.h5ad[half=odd]"
    assert read_record(record.to_json()) == record
