"""Samples of four instruments, each as its software wrote it, in one run of the shell."""

from __future__ import annotations

import anndata as ad
import numpy as np
import pytest
from four_instruments import NAMES, four_instruments
from typer.testing import CliRunner

from napari_staligner import _keys as K
from napari_staligner.cli.app import app
from napari_staligner.core.result.provenance import sources_of

pytestmark = pytest.mark.filterwarnings("ignore:Writing zarr v2 data will no longer")

QUICK = "--pretrain-epochs 4 --epochs 4 --refresh 2 --hidden 16 --mnn-k 10 --seed 0".split()


def test_four_formats_in_one_run(tmp_path, monkeypatch):
    slices, paths = four_instruments(tmp_path, monkeypatch)
    out = tmp_path / "out.h5ad"
    words = ["integrate", *map(str, paths), "-o", str(out), *QUICK, "--domains", "2"]
    outcome = CliRunner().invoke(app, words)
    assert outcome.exit_code == 0, outcome.output
    result = ad.read_h5ad(out)
    assert result.obs[K.SLICE].value_counts().to_dict() == dict.fromkeys(NAMES, 64)
    for name, before in zip(NAMES, slices, strict=True):
        rows = (result.obs[K.SLICE] == name).to_numpy()
        total = np.asarray(result[rows, before.var_names].X.sum(axis=0)).ravel()
        np.testing.assert_array_equal(total, np.asarray(before.X.sum(axis=0)).ravel())
    assert sources_of(result)["chip"].choices == {"bin": "50"}
    for title in ("Visium", "Slide-seq", "Stereo-seq (.gem)", "SpatialData"):
        assert title in outcome.stderr
