"""The figure of a result from Python and the shell: right colours, a true bar, and sentences."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from anndata import AnnData
from typer.testing import CliRunner

from napari_staligner import InputError
from napari_staligner.cli.app import app
from napari_staligner.report.result_figure import result_figure


@pytest.fixture
def result():
    x, y = np.meshgrid(np.arange(10.0), np.arange(10.0))
    one = np.column_stack([x.ravel(), y.ravel()]) * 100
    adata = AnnData(np.repeat(np.arange(200, dtype=np.float32)[:, None], 2, axis=1))
    adata.var_names = ["Penk", "Omp"]
    adata.obs["slice"] = pd.Categorical(["a"] * 100 + ["b"] * 100)
    adata.obs["domain"] = pd.Categorical(np.where(np.arange(200) % 100 < 50, "top", "bottom"))
    adata.uns["domain_colors"] = ["#00ff00", "#ff0000"]
    adata.obsm["spatial"] = np.vstack([one, one])
    adata.obsm["spatial_aligned"] = np.vstack([one, one / 2])
    factors = {"microns_per_pixel": 2.0}
    adata.uns["spatial"] = {name: {"scalefactors": dict(factors)} for name in "ab"}
    return adata


def test_a_column_is_drawn_in_its_own_colours_with_names_and_a_bar(result):
    svg = result_figure(result, form="svg").decode()
    for text in ("a", "b", "domain", "top", "bottom", "500 µm"):
        assert f">{text}</text>" in svg
    assert "#00ff00" in svg
    assert "#ff0000" in svg
    assert ">a</text>" not in result_figure(result, slices=["b"], form="svg").decode()


@pytest.mark.parametrize("colors", [None, ["no colour", "#ff0000"], {"top": "#ff0000"}, "red"])
def test_colours_that_others_wrote_are_taken_as_far_as_they_can_be_read(result, colors):
    result.uns["domain_colors"] = colors
    svg = result_figure(result, form="svg").decode()
    assert ">top</text>" in svg
    assert ("#ff0000" in svg) == (colors not in (None, "red"))


def test_a_gene_has_a_scale_and_an_aligned_slice_the_bar_of_its_size_there(result):
    svg = result_figure(result, "Omp", form="svg").decode()
    assert ">Omp</text>" in svg
    assert "top" not in svg
    # In the common frame b is half as large, so a unit is twice as long: two scales, two bars.
    assert result_figure(result, aligned=True, form="svg").decode().count("µm</text>") == 2


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"color": "domian"}, "did you mean 'domain'"),
        ({"slices": ["c"]}, "choose of a, b"),
        ({"aligned": True}, "register the slices first"),
    ],
)
def test_what_cannot_be_drawn_is_a_sentence(result, wrong, said):
    del result.obsm["spatial_aligned"]
    with pytest.raises(InputError, match=said):
        result_figure(result, **wrong)


def test_the_shell_writes_it_and_refuses_in_a_sentence(result, tmp_path):
    file, target = tmp_path / "out.h5ad", tmp_path / "figure.png"
    result.obsm["STAligner"] = np.zeros((200, 3), dtype=np.float32)
    result.uns["staligner"] = {"params": {}, "slices": ["a", "b"]}
    result.write_h5ad(file)
    ran = CliRunner().invoke(app, ["figure", str(file), str(target), "--color", "Penk"])
    assert ran.exit_code == 0, ran.output
    assert target.read_bytes().startswith(b"\x89PNG")
    wrong = CliRunner().invoke(app, ["figure", str(file), str(target), "--color", "Pnk"])
    assert wrong.exit_code == 2
    assert "did you mean 'Penk'" in wrong.stderr.replace("\n", " ")
