"""What ends a process in compiled code never gets there."""

from __future__ import annotations

import ast
import importlib

import h5py
import numpy as np
import pytest
from conftest import PROJECT
from scipy import sparse
from tiny import tiny_slice

from napari_staligner import InputError, read_slices
from napari_staligner.core.prepare.guards import GUARDS, check_structure, variable_gene_table
from napari_staligner.core.prepare.matrices import with_plain_matrices
from napari_staligner.core.prepare.on_disk import in_memory

SOURCE = PROJECT / "src" / "napari_staligner"


def varying(n_genes: int, n_spots: int = 9) -> np.ndarray:
    counts = np.full((n_spots, 40), 2.0)
    counts[:, :n_genes] = np.random.default_rng(0).poisson(3, (n_spots, n_genes))
    return counts


@pytest.mark.parametrize(
    "counts",
    [
        *(varying(n) for n in (0, 1, 2, 3, 5, 19)),
        np.zeros((9, 40)),
        np.zeros((9, 0)),
        np.zeros((0, 40)),
        varying(40, 1),
        varying(40) * 1e-300,
        np.where(varying(40) > 5, np.nan, 1.0),
        np.where(varying(40) > 5, np.inf, 1.0),
    ],
)
@pytest.mark.parametrize("kind", [True, False])
def test_what_crashes_loess_is_kept_from_it(counts, kind):
    assert variable_gene_table(sparse.csr_matrix(counts), 10, counts=kind) is None


def test_what_can_be_fitted_is():
    table = variable_gene_table(tiny_slice(n_genes=200).X, 30, counts=True)
    assert table["highly_variable"].sum() == 30


def read_whole(path):
    """Read a slice that is left on disk at first."""
    ((_, kept),) = read_slices([path], backed=True)
    return in_memory(kept.X)


@pytest.mark.parametrize("make", [sparse.csr_matrix, sparse.csc_matrix])
@pytest.mark.parametrize(("part", "number"), [("indices", 10**6), ("indices", -1), ("indptr", 99)])
def test_indices_outside_of_a_matrix_are_refused(tmp_path, make, part, number):
    adata = tiny_slice(side=4)
    adata.X = make(adata.X)
    adata.write_h5ad(tmp_path / "a.h5ad")
    with h5py.File(tmp_path / "a.h5ad", "r+") as file:
        file[f"X/{part}"][2] = number
    with pytest.raises(InputError):
        read_slices([tmp_path / "a.h5ad"])
    with pytest.raises(InputError):
        read_whole(tmp_path / "a.h5ad")
    getattr(adata.X, part)[2] = number
    with pytest.raises(InputError, match="Slice 'a': X"):
        with_plain_matrices("a", adata)


def test_other_matrices_are_left_alone():
    for matrix in (None, np.zeros(3), sparse.coo_matrix((2, 2)), sparse.csr_array((2, 2))):
        check_structure("x", matrix)


def test_every_guard_is_where_it_says():
    for guard in GUARDS:
        module, name = guard.where.split(":")
        assert callable(getattr(importlib.import_module(f"napari_staligner.{module}"), name))


CRASHED = ("highly_variable_genes", "loess", "umap", "memmap")
"""Names of functions of others that were seen to end a process, or to hold it."""


def callers(name: str) -> set[str]:
    """Modules that call or import a function of another package."""
    found = set()
    for path in SOURCE.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            called = isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute)
            if called and node.func.attr == name and ast.unparse(node.func).startswith("sc."):
                found.add(".".join(path.relative_to(SOURCE).with_suffix("").parts))
            if isinstance(node, ast.ImportFrom) and "skmisc" in str(node.module):
                found.add(".".join(path.relative_to(SOURCE).with_suffix("").parts))
    return found


def test_what_crashed_is_called_from_guards_alone():
    guarded = {guard.where.split(":")[0] for guard in GUARDS}
    for name in CRASHED:
        assert callers(name) <= guarded, name


def test_the_page_lists_every_guard():
    page = (PROJECT / "docs" / "reliability.md").read_text(encoding="utf-8")
    for guard in GUARDS:
        row = (
            f"| {guard.callee} | {guard.kept} | {guard.case} | {guard.instead} | `{guard.where}` |"
        )
        assert row in page
