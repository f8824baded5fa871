"""loess in a process of its own gives the same bits, and ends no other when it crashes."""

from __future__ import annotations

import os
import signal
import subprocess
import sys

import numpy as np
import psutil
import pytest
import scanpy as sc
from anndata import AnnData
from tiny import tiny_slice

from napari_staligner.core.prepare import loess_process as module
from napari_staligner.core.prepare.guards import variable_gene_table


def table():
    return variable_gene_table(tiny_slice(side=12, n_genes=200).X, 30, counts=True)


def test_the_same_bits_as_in_the_process_of_the_program():
    found = table()
    assert os.getpid() in module._started
    adata = AnnData(tiny_slice(side=12, n_genes=200).X)
    expected = sc.pp.highly_variable_genes(adata, n_top_genes=30, flavor="seurat_v3", inplace=False)
    assert found.equals(expected)


def test_what_crashes_it_costs_the_fit_and_the_next_one_is_made():
    expected, before = table(), module._process().pid
    # Too few points for its span; scanpy's own span does so with few genes.
    points = np.arange(9.0)
    with pytest.raises(ValueError, match="the process of loess has ended"):
        module._fitted(points, points, 1e-9, 2)
    assert not psutil.pid_exists(before)
    assert table().equals(expected)
    os.kill(module._process().pid, signal.SIGKILL)
    assert table() is None
    assert table().equals(expected)


def test_what_loess_refuses_is_said_and_costs_no_process():
    process = module._process()
    nothing = np.full(9, np.nan)
    with pytest.raises(ValueError, match="Chernobyl"):
        module._fitted(nothing, nothing, 0.3, 2)
    assert module._process() is process


def test_it_ends_with_the_program_that_started_it():
    code = (
        "from napari_staligner.core.prepare import loess_process as module\n"
        "print(module._process().pid, flush=True)\n"
        "input()"
    )
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
    with subprocess.Popen([sys.executable, "-c", code], **pipes) as program:
        child = psutil.Process(int(program.stdout.readline()))
        program.kill()
    child.wait(60)
