from __future__ import annotations

import json
import os
import re
import subprocess
import sys

import anndata as ad
import pytest
from fakes import fake_result
from tiny import tiny_pair, tiny_slice
from typer.testing import CliRunner

from napari_staligner.cli.app import app
from napari_staligner.core.domains.number import stability_by_number

QUICK = "--pretrain-epochs 4 --epochs 4 --refresh 2 --hidden 16 --mnn-k 10 --seed 0".split()


@pytest.fixture
def files(tmp_path):
    paths = []
    for name, adata in tiny_pair():
        paths.append(str(tmp_path / f"{name}.h5ad"))
        adata.write_h5ad(paths[-1])
    return paths


def run(*arguments: object):
    return CliRunner().invoke(app, [str(a) for a in arguments])


def refused(outcome, *words: str) -> None:
    assert outcome.exit_code == 2
    message = outcome.stderr
    for word in words:
        assert word in message
    assert "Traceback" not in outcome.output
    # Notes on the input may come before; the error is the last line, and one.
    *notes, last = filter(None, message.splitlines())
    assert last.startswith("Error: ")
    assert all(note.startswith("Note: ") for note in notes)


def test_integrate_writes_the_result(files, tmp_path):
    outcome = run("integrate", *files, "-o", tmp_path / "out.h5ad", *QUICK, "--domains", 3)
    assert outcome.exit_code == 0, outcome.output
    assert "share only 40 variable genes" in outcome.stderr
    adata = ad.read_h5ad(tmp_path / "out.h5ad")
    assert adata.obs["domain"].nunique() == 3
    params = adata.uns["staligner"]["params"]
    assert (params["seed"], params["mnn_k"], params["hidden"], params["epochs"]) == (0, 10, 16, 4)


def test_options_win_over_the_preset(files, tmp_path):
    out = tmp_path / "out.h5ad"
    assert run("integrate", *files, "-o", out, "--preset", "visium", *QUICK).exit_code == 0
    params = ad.read_h5ad(out).uns["staligner"]["params"]
    assert params["mnn_k"] == 10
    assert params["resolution"] == 1.0
    without = [a for a in QUICK if a not in ("--mnn-k", "10")]
    assert run("integrate", *files, "-o", out, "--preset", "visium", *without).exit_code == 0
    assert ad.read_h5ad(out).uns["staligner"]["params"]["mnn_k"] == 50


def test_one_file_of_several_slices_in_a_chain(tmp_path):
    keys = ["s1", "s2", "s3"]
    joint = ad.concat(
        [tiny_slice(seed=i) for i in range(3)], label="section", keys=keys, index_unique="-"
    )
    joint.write_h5ad(tmp_path / "joint.h5ad")
    out = tmp_path / "out.h5ad"
    arguments = ["--slice-key", "section", "--chain", "-o", out, *QUICK]
    assert run("integrate", tmp_path / "joint.h5ad", *arguments).exit_code == 0
    kept = ad.read_h5ad(out).uns["staligner"]
    assert kept["pairs"].tolist() == [["s1", "s2"], ["s2", "s3"]]


def test_info(files, tmp_path):
    outcome = run("info", files[0])
    assert outcome.exit_code == 0
    assert "64 × 40" in outcome.output
    assert "counts" in outcome.output
    run("integrate", *files, "-o", tmp_path / "out.h5ad", *QUICK)
    outcome = run("info", tmp_path / "out.h5ad")
    assert "domain" in outcome.output
    assert "A, B" in outcome.output


def test_numbers_of_domains(files, tmp_path):
    out = tmp_path / "out.h5ad"
    run("integrate", *files, "-o", out, *QUICK)
    outcome = run("numbers", out, "--most", "3")
    assert outcome.exit_code == 0
    said = [re.findall(r"[\d.]+", line) for line in outcome.output.splitlines()]
    rows = [words for words in said if len(words) == 4]
    assert [number for number, *_ in rows] == ["2", "3"]
    told = stability_by_number(ad.read_h5ad(out), [2, 3])
    assert [float(mean) for _, mean, _, _ in rows] == told["mean"].round(3).tolist()
    assert [float(kept) for *_, kept in rows] == (100 * told["kept"]).round(1).tolist()
    refused(run("numbers", out, "--least", "4", "--most", "3"), "numbers from 2 to")
    refused(run("numbers", files[0]), "integrate them first")


def test_bad_input_is_one_sentence_and_exit_code_2(files, tmp_path):
    out = tmp_path / "out.h5ad"
    broken = tiny_slice()
    del broken.obsm["spatial"]
    broken.write_h5ad(tmp_path / "C.h5ad")
    (tmp_path / "text.h5ad").write_text("no HDF5")
    refused(run("integrate", files[0], tmp_path / "C.h5ad", "-o", out), "'C'", "obsm['spatial']")
    refused(run("integrate", tmp_path / "text.h5ad", "-o", out), "text.h5ad")
    refused(run("integrate", *files, "-o", tmp_path / "no" / "out.h5ad"), "does not exist")
    refused(run("integrate", *files, "-o", tmp_path / "out.txt"), "out.txt", "call it 'out.h5ad'")
    refused(run("integrate", *files, "-o", out, "--alpha", "2"), "alpha")
    refused(run("integrate", *files, "-o", out, "--radius", "0.1"), "radius 0.1")
    refused(run("integrate", *files, "-o", out, "--domains", "3", "--resolution", "1"), "not both")
    refused(run("integrate", *files, "-o", out, "--slice-key", "x"), "obs['x']")
    refused(run("info", tmp_path / "none.h5ad"), "There is no file")
    assert not out.exists()


def test_help_names_every_option():
    text = run("integrate", "--help").output
    for option in (
        "--output --slice-key --counts-layer --preset --domains --resolution --radius --neighbors "
        "--seed --device --epochs --pretrain-epochs --alpha --margin --mnn-k"
    ).split():
        assert option in text


def test_an_interrupt_leaves_no_file(files, tmp_path):
    """Ctrl+C amid the training, in a process of its own."""
    code = (
        "import os, signal, sys\n"
        # A shell's background jobs ignore it, and so do their children.
        "signal.signal(signal.SIGINT, signal.default_int_handler)\n"
        "from napari_staligner.core.training import matching\n"
        "draw = matching.Matcher.draw\n"
        "def interrupt(self, matches):\n"
        "    os.kill(os.getpid(), signal.SIGINT)\n"
        "    return draw(self, matches)\n"
        "matching.Matcher.draw = interrupt\n"
        "from napari_staligner.cli.app import app\n"
        "app(sys.argv[1:])\n"
    )
    out = tmp_path / "out.h5ad"
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", code, "integrate", *files, "-o", str(out), *QUICK],
        capture_output=True,
        text=True,
        env=os.environ | {"COLUMNS": "200"},
        check=False,
    )
    assert done.returncode == 130, done.stderr
    assert "Cancelled" in done.stderr
    assert "Traceback" not in done.stderr
    assert sorted(p.name for p in tmp_path.iterdir()) == ["A.h5ad", "B.h5ad"]


def test_settings_of_the_paper(files, tmp_path):
    out = tmp_path / "out.h5ad"
    arguments = ["-o", out, "--settings", "published", *QUICK]
    assert run("integrate", *files, *arguments).exit_code == 0
    params = ad.read_h5ad(out).uns["staligner"]["params"]
    assert (params["components"], params["offsets"], params["alpha"]) == (0, False, 0.5)
    assert params["epochs"] == 4  # what is given wins


@pytest.fixture
def result_file(tmp_path):
    from fakes import fake_result

    _, adata = fake_result((60, 50))
    adata.write_h5ad(tmp_path / "result.h5ad")
    return tmp_path / "result.h5ad"


def test_evaluate_prints_tables_and_writes_json(result_file, tmp_path):
    target = tmp_path / "figures.json"
    outcome = run("evaluate", result_file, "--labels", "region", "--json", target)
    assert outcome.exit_code == 0, outcome.output
    for word in (
        "Overall, against obs region",
        "iLISI",
        "PCA, not integrated",
        "By slice pair",
        "By label",
    ):
        assert word in outcome.output
    kept = json.loads(target.read_text())
    assert kept["file"] == "result.h5ad"
    assert kept["labels"] == "region"
    assert list(kept["embeddings"]) == ["X_pca", "STAligner"]
    after = kept["embeddings"]["STAligner"]
    assert after["pairs"][0]["slices"] == ["slice1", "slice2"]
    assert f"{after['overall']['clisi']:.3f}" in outcome.output
    assert {p.name for p in tmp_path.iterdir()} == {"result.h5ad", "figures.json"}


def test_evaluate_takes_the_embeddings_that_are_named(result_file):
    arguments = ["--embedding", "spatial_aligned", "--embedding", "STAligner"]
    outcome = run("evaluate", result_file, *arguments)
    assert outcome.exit_code == 0, outcome.output
    assert "spatial_aligned" in outcome.output
    assert "PCA" not in outcome.output
    assert "Without a column of labels" in outcome.stderr


def test_evaluate_compares_with_all_methods_and_keeps_them(result_file, tmp_path, monkeypatch):
    pytest.importorskip("harmonypy", reason="harmonypy is not installed (extra 'harmony')")
    from napari_staligner.core.evaluation import baselines
    from napari_staligner.core.evaluation.yardsticks.sedr import SedrJob

    monkeypatch.setattr(baselines, "SedrJob", lambda *parts: SedrJob(*parts, epochs=2))
    before = result_file.read_bytes()
    kept, picture = tmp_path / "kept.h5ad", tmp_path / "methods.svg"
    outcome = run(
        *("evaluate", result_file, "--yardsticks", "--labels", "region"),
        *("-o", kept, "--picture", picture),
    )
    assert outcome.exit_code == 0, outcome.output
    assert result_file.read_bytes() == before
    adata, drawn = ad.read_h5ad(kept), picture.read_text(encoding="utf-8")
    for key, title in baselines.TITLES.items():
        assert key in adata.obsm
        assert title.split(" +")[0].split(",")[0] in drawn
    assert len(adata.uns["sedr"]["loss"]) == 2
    # Another time nothing is left to compute.
    monkeypatch.setattr(baselines, "SedrJob", None)
    again = run("evaluate", kept, "--yardsticks", "--labels", "region")
    assert again.exit_code == 0, again.output
    assert again.output.splitlines()[:5] == outcome.output.splitlines()[:5]


def test_evaluate_refuses_what_it_cannot_use(files, result_file, tmp_path):
    target = tmp_path / "figures.json"
    out = ["--json", target]
    refused(run("evaluate", files[0], *out), "holds no integrated slices")
    refused(run("evaluate", tmp_path / "none.h5ad", *out), "There is no file")
    refused(run("evaluate", result_file, "--labels", "layer", *out), "obs['layer']", "'region'")
    refused(run("evaluate", result_file, "--labels", "depth", *out), "not of measurements")
    refused(run("evaluate", result_file, "--embedding", "scVI", *out), "obsm['scVI']")
    refused(run("evaluate", result_file, "--json", tmp_path / "no" / "f.json"), "does not exist")
    refused(run("evaluate", result_file, "--picture", tmp_path / "f.gif"), "end it with .png or")
    refused(run("evaluate", result_file, "-o", tmp_path / "no" / "f.h5ad"), "does not exist")
    assert not target.exists()


def test_register_writes_beside_and_in_place(files, tmp_path):
    out, other = tmp_path / "out.h5ad", tmp_path / "other.h5ad"
    run("integrate", *files, "-o", out, *QUICK, "--domains", 3)
    before = out.read_bytes()
    outcome = run("register", out, "--model", "similarity", "--reference", "B", "-o", other)
    assert outcome.exit_code == 0, outcome.output
    assert "Residuals in spot spacings" in outcome.output
    assert out.read_bytes() == before
    adata = ad.read_h5ad(other)
    assert adata.uns["staligner"]["registration"]["model"] == "similarity"
    assert adata.uns["staligner"]["transforms"]["B"].tolist() == [[1, 0, 0], [0, 1, 0], [0, 0, 1]]
    assert adata.obs["registration_residual"].dtype == "float32"
    assert run("register", other, "--landmark", "1", "--landmark", "2").exit_code == 0
    kept = ad.read_h5ad(other).uns["staligner"]["registration"]
    assert (kept["model"], kept["landmarks"].tolist()) == ("rigid", ["1", "2"])


def test_what_register_cannot_use_is_one_sentence(files, tmp_path):
    out = tmp_path / "out.h5ad"
    run("integrate", *files, "-o", out, *QUICK, "--domains", 3)
    before = out.read_bytes()
    refused(run("register", files[0]), "A.h5ad", "integrate them first")
    refused(run("register", tmp_path / "none.h5ad"), "There is no file")
    refused(run("register", out, "--reference", "X"), "'X'", "'A', 'B'")
    refused(run("register", out, "--landmark", "lake"), "'lake'", "'1'")
    refused(run("register", out, "-o", tmp_path / "no" / "out.h5ad"), "does not exist")
    assert out.read_bytes() == before


def test_annotations_come_in_and_go_out(tmp_path):
    from fakes import fake_result

    _, result = fake_result()
    result.obs_names = result.obs_names.str.replace("-slice", "_slice")
    file, table = tmp_path / "out.h5ad", tmp_path / "in.csv"
    result.write_h5ad(file)
    table.write_text("Barcode,annotation\nspot3,GL\nspot4,EPL\n")
    run = CliRunner().invoke
    said = run(app, ["annotations", str(file), "--import", str(table), "--slice", "slice2"])
    assert said.exit_code == 0, said.output
    out = tmp_path / "out.geojson"
    said = run(app, ["annotations", str(file), "--export", str(out)])
    assert said.exit_code == 0, said.output
    assert out.stat().st_size > 200
    said = run(app, ["annotations", str(file), "--import", str(out), "--by", "Ann"])
    assert said.exit_code == 0, said.output
    said = run(app, ["annotations", str(file)])
    assert "Cohen's kappa 1.000" in said.output
    assert run(app, ["annotations", str(file), "--export", "x.txt"]).exit_code == 2


def failing(monkeypatch, module: str, name: str, error: Exception) -> None:
    def fails(*_, **__):
        raise error

    monkeypatch.setattr(f"napari_staligner.{module}.{name}", fails)


@pytest.mark.parametrize(
    ("module", "name", "opening", "slot"),
    [
        (
            "core.result.confidence",
            "confidence_steps",
            "The confidence of the spots is missing",
            "obs",
        ),
        ("core.domains.domains", "domain_steps", "The domains are missing", "obs"),
        (
            "core.domains.domains",
            "presence",
            "The test in which slices the domains are is missing",
            "",
        ),
        (
            "core.registration",
            "register_steps",
            "The registration of the slices is missing",
            "obsm",
        ),
    ],
)
def test_a_stage_that_fails_costs_nothing_else(
    files, tmp_path, monkeypatch, module, name, opening, slot
):
    out = tmp_path / "out.h5ad"
    with monkeypatch.context() as patch:
        failing(patch, module, name, FloatingPointError("went wrong"))
        if name == "presence":
            failing(patch, "core.domains.presence", name, FloatingPointError("went wrong"))
        outcome = run("integrate", *files, "-o", out, *QUICK, "--domains", 2)
        assert outcome.exit_code == 0, outcome.output
        said = [line for line in outcome.stderr.splitlines() if line.startswith("Warning: ")]
        assert len(said) == 1
        assert said[0].startswith(f"Warning: {opening} (an unexpected FloatingPointError: went")
        assert "napari-staligner" in said[0]
        assert "Traceback" not in outcome.output
        assert f"Written to {out}" in outcome.output
        assert ad.read_h5ad(out).obsm["STAligner"].shape == (120, 30)
        info = run("info", out)
        assert info.exit_code == 0, info.output
        assert opening in info.output.replace("\n", "")
        # What fails once more is said once more, and the file keeps what it has.
        again = run("complete", out)
        assert again.exit_code == 0, again.output
        assert f"Warning: {opening}" in again.stderr
    outcome = run("complete", out)
    assert outcome.exit_code == 0, outcome.output
    assert "Warning" not in outcome.stderr
    back = ad.read_h5ad(out)
    assert {"alignment_confidence", "domain", "registration_residual"} <= set(back.obs)
    assert "presence" in back.uns["staligner"]
    assert not any("missing" in note for note in back.uns["staligner"]["notes"])
    assert "lacks nothing" in run("complete", out).output


def test_register_fills_the_gap(files, tmp_path, monkeypatch):
    out = tmp_path / "out.h5ad"
    with monkeypatch.context() as patch:
        failing(patch, "core.registration", "register_steps", MemoryError())
        outcome = run("integrate", *files, "-o", out, *QUICK, "--domains", 2)
    assert "The registration of the slices is missing (not enough memory)" in outcome.stderr
    assert run("register", out).exit_code == 0
    assert not any("missing" in note for note in ad.read_h5ad(out).uns["staligner"]["notes"])


@pytest.fixture
def trained(files, tmp_path, monkeypatch):
    """A run of the shell whose target breaks while it trains, and what it gives."""
    from fakes import fake_result

    from napari_staligner.core import integrate
    from napari_staligner.core.progress import Progress

    out = tmp_path / "there" / "out.h5ad"
    out.parent.mkdir()

    def trained(spoil):
        def steps(*_):
            yield Progress("align", 1, 2)
            spoil(out)
            return fake_result((30, 25))[1]

        monkeypatch.setattr(integrate, "integrate_steps", steps)
        return run("integrate", *files, "-o", out)

    return out, trained


def test_a_target_that_became_a_folder(trained):
    out, run_and = trained
    outcome = run_and(lambda path: path.mkdir())
    assert outcome.exit_code == 0, outcome.output
    other = out.with_name("out (2).h5ad")
    assert f"Warning: The result had to be written to '{other}'" in outcome.stderr
    assert f"Written to {other}" in outcome.output
    assert ad.read_h5ad(other).n_obs == 55


def test_a_folder_that_is_gone_and_cannot_come_back(trained):
    from napari_staligner.io.user_folder import user_folder

    _, run_and = trained

    def spoil(path):
        path.parent.rmdir()
        path.parent.write_text("in the way")

    outcome = run_and(spoil)
    assert outcome.exit_code == 0, outcome.output
    assert str(user_folder() / "out.h5ad") in outcome.stderr
    assert ad.read_h5ad(user_folder() / "out.h5ad").n_obs == 55


def test_a_disk_that_is_full(trained, monkeypatch):
    from napari_staligner.io import elsewhere
    from napari_staligner.io.user_folder import user_folder

    out, run_and = trained
    write = elsewhere.write_result

    def full(adata, path):
        if path.parent == out.parent:
            raise OSError(28, "No space left on device")
        return write(adata, path)

    monkeypatch.setattr(elsewhere, "write_result", full)
    outcome = run_and(lambda _: None)
    assert outcome.exit_code == 0
    assert "No space left on device" in outcome.stderr
    assert ad.read_h5ad(user_folder() / "out.h5ad").n_obs == 55


def test_nothing_can_be_written_anywhere(trained, monkeypatch):
    out, run_and = trained
    failing(monkeypatch, "io.elsewhere", "write_result", OSError(28, "No space left on device"))
    refused(run_and(lambda _: None), "could not be written anywhere", "No space left on device")
    assert not out.exists()


def test_an_error_of_ours_is_a_sentence_too(files, monkeypatch):
    failing(monkeypatch, "io.h5ad", "read_any", ZeroDivisionError("by zero"))
    outcome = run("info", files[0])
    assert outcome.exit_code == 1
    assert "Error: This failed (an unexpected ZeroDivisionError: by zero; please report it)" in (
        outcome.stderr
    )
    assert "Traceback" not in outcome.output


def test_export_hands_a_result_on_and_says_where(tmp_path):
    result = fake_result()[1]
    result.write_h5ad(tmp_path / "result.h5ad")
    words = ["export", tmp_path / "result.h5ad", "--to", "slices", tmp_path / "out"]
    outcome = run(*words)
    assert outcome.exit_code == 0, outcome.output
    assert f"2 slices written to {tmp_path / 'out'}" in outcome.output
    assert "Note: Slice 'slice1' is written as the result holds it" in outcome.stderr
    assert (tmp_path / "out" / "slice2.h5ad").is_file()
    refused(run(*words), "is there already", "--overwrite")
    assert run(*words, "--overwrite").exit_code == 0
    tiny_slice().write_h5ad(tmp_path / "slice.h5ad")
    words = ["export", tmp_path / "slice.h5ad", "--to", "csv", tmp_path / "tables"]
    refused(run(*words), "holds no integrated slices")
    assert not (tmp_path / "tables").exists()
