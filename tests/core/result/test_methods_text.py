"""The paragraph for a paper tells the figures of the result, and of nothing that it lacks."""

from __future__ import annotations

from dataclasses import replace

import anndata
import numpy as np
import pytest
from tiny import QUICK, tiny_pair
from typer.testing import CliRunner

from napari_staligner import InputError, integrate, methods_text, write_result
from napari_staligner.cli.app import app


@pytest.fixture(scope="module")
def result():
    return integrate(
        tiny_pair(), settings=replace(QUICK, pretrain_epochs=3, epochs=5, seed=7, tolerance=0)
    )


def test_the_figures_are_those_of_the_result(result):
    said = methods_text(result)
    assert "2 slices, A (64 spots) and B (56 spots), by 40 variable genes" in said
    assert "3 epochs of reconstruction and 5 epochs with triplets" in said
    assert "k = 10" in said
    assert "the seed was 7" in said
    confidence = float(np.nanmedian(result.obs["alignment_confidence"]))
    assert f"confidence of the alignment was {confidence:.2f}" in said
    assert "2 domains were found in the embedding, averaged over each spot and its" in said
    assert "2 % of a slice, by a Gaussian mixture" in said
    residual = float(np.nanmedian(result.obs["registration_residual"]))
    assert "registered to A by their embeddings with rigid motions" in said
    assert f"the median residual was {residual:.1f}" in said
    assert f"torch {result.uns['staligner']['provenance']['versions']['torch']}" in said
    assert "\n" not in said


def test_domains_that_were_found_anew_are_those_told(result):
    from napari_staligner import find_domains

    again = find_domains(result, 3, copy=True)
    assert "3 domains were found" in methods_text(again)
    leiden = find_domains(result, resolution=0.5, copy=True)
    assert "by Leiden (resolution 0.5)" in methods_text(leiden)


def test_what_is_missing_is_left_out(result):
    bare = result.copy()
    del bare.obs["domain"], bare.obsp["mutual_neighbors"], bare.obs["alignment_confidence"]
    del bare.uns["staligner"]["registration"], bare.uns["staligner"]["presence"]
    said = methods_text(bare)
    assert not [w for w in ("domain", "registered", "confidence", "one slice,") if w in said]


def test_values_that_were_no_counts_are_not_called_counts():
    slices = tiny_pair()
    for _, adata in slices[1:]:
        totals = np.asarray(adata.X.sum(axis=1))
        adata.X = adata.X.multiply(1e4 / totals).log1p().tocsr().astype(np.float32)
    said = methods_text(integrate(slices, settings=QUICK))
    assert "values of B were normalised already" in said


def test_slices_alone_are_refused():
    with pytest.raises(InputError, match="integrate them first"):
        methods_text(tiny_pair()[0][1])


def test_the_shell_prints_it_for_a_file(result, tmp_path):
    write_result(result, tmp_path / "out.h5ad")
    done = CliRunner().invoke(app, ["methods", str(tmp_path / "out.h5ad")])
    assert done.exit_code == 0
    assert done.stdout.strip() == methods_text(anndata.read_h5ad(tmp_path / "out.h5ad"))
