"""Genes that slices name in different ways are matched where that is certain, and it is said."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pandas as pd
import pytest
from anndata import AnnData
from tiny import tiny_pair

from napari_staligner import InputError
from napari_staligner.core.prepare.gene_names import with_matched_genes
from napari_staligner.core.prepare.slices import shared_genes

ENSEMBL = [f"ENSMUSG{i:011d}" for i in range(40)]

NAMED: dict[str, Callable[[str], str]] = {
    "upper case": str.upper,
    "title case": str.title,
    "version": lambda gene: f"{gene}.{len(gene)}",
    "mm10_": lambda gene: f"mm10_{gene}",
    "GRCh38_": lambda gene: f"GRCh38_{gene}",
    "hg38___": lambda gene: f"hg38___{gene}",
    "GRCm39-2024-A_": lambda gene: f"GRCm39-2024-A_{gene}",
    "prefix, case and version": lambda gene: f"mm10___{gene.upper()}.1",
}


@pytest.mark.parametrize("rename", NAMED.values(), ids=NAMED)
@pytest.mark.parametrize("ensembl", [False, True], ids=["symbols", "Ensembl"])
def test_names_that_differ_in_form(rename: Callable[[str], str], *, ensembl: bool) -> None:
    slices = tiny_pair()
    genes = ENSEMBL if ensembl else slices[0][1].var_names.tolist()
    slices[0][1].var_names = genes
    slices[1][1].var_names = [rename(gene) for gene in genes]
    changed = slices[1][1].var_names[3] != genes[3]
    matched, notes = with_matched_genes(slices)
    assert matched[1][1].var_names.tolist() == genes
    assert slices[1][1].var_names[3] == rename(genes[3]), "the user's slice was changed"
    assert len(notes) == changed
    if notes:
        assert f"'{rename(genes[0])}' is '{genes[0]}'" in notes[0]
        assert "the result names genes as slice 'A' does" in notes[0]


COLUMNS = ("gene_ids", "feature_id", "ENSEMBL", "anything")


@pytest.mark.parametrize("column", COLUMNS)
@pytest.mark.parametrize("holder", [0, 1], ids=["first", "second"])
@pytest.mark.parametrize("version", ["", ".7"], ids=["bare", "version"])
def test_symbols_against_ensembl(column: str, holder: int, version: str) -> None:
    slices = tiny_pair()
    symbols = slices[0][1].var_names.tolist()
    slices[holder][1].var[column] = ENSEMBL
    slices[1 - holder][1].var_names = [gene + version for gene in ENSEMBL]
    first = slices[0][1].var_names.tolist()
    matched, (note,) = with_matched_genes(slices)
    assert matched[1][1].var_names.tolist() == first
    assert (f"by var['{column}']" in note) is (holder == 1)
    assert first == (symbols if holder == 0 else [gene + version for gene in ENSEMBL])


def test_both_slices_tell_both() -> None:
    """A third naming, a column of each, is what they have in common."""
    slices = tiny_pair()
    slices[0][1].var["gene_ids"] = ENSEMBL
    slices[1][1].var["feature_name"] = slices[1][1].var_names
    slices[1][1].var["ids"] = ENSEMBL
    slices[1][1].var_names = [f"probe{i}" for i in range(40)]
    matched, _ = with_matched_genes(slices)
    assert matched[1][1].var_names.equals(slices[0][1].var_names)


def test_names_that_fit_are_left_alone() -> None:
    slices = tiny_pair()
    slices[1][1].var["GENES"] = slices[1][1].var_names.str.upper()
    matched, notes = with_matched_genes(slices)
    assert not notes
    assert all(a is b for (_, a), (_, b) in zip(matched, slices, strict=True))


def test_a_panel_of_some_genes_is_no_other_naming() -> None:
    slices = tiny_pair()
    slices[1] = ("B", slices[1][1][:, :12].copy())
    assert with_matched_genes(slices) == (slices, [])


def test_genes_that_would_fall_together_stay_apart() -> None:
    slices = tiny_pair()
    names = [*map(str.upper, slices[1][1].var_names[:38]), "gene38", "GENE38"]
    slices[1][1].var_names = names
    matched, _ = with_matched_genes(slices)
    found = matched[1][1].var_names
    assert found.tolist() == [*slices[0][1].var_names[:38], "gene38", "GENE38"]
    assert found.is_unique


def test_values_stay_with_their_genes() -> None:
    slices = tiny_pair()
    order = np.random.default_rng(0).permutation(40)
    b = slices[1][1][:, order].copy()
    b.var_names = b.var_names.str.upper()
    matched, _ = with_matched_genes([slices[0], ("B", b)])
    back = matched[1][1][:, slices[1][1].var_names].X.toarray()
    np.testing.assert_array_equal(back, slices[1][1].X.toarray())


@pytest.mark.parametrize("odd", [0, 1])
def test_names_that_do_not_fit_are_shown(odd: int) -> None:
    genes = [pd.Index(["Th", "Reln"]), pd.Index(["AT1G01010"])]
    with pytest.raises(InputError, match=r"\('.*' there, '.*' in slice '.'\)") as caught:
        shared_genes(["A", "B"], genes if odd else genes[::-1])
    assert "'AT1G01010'" in str(caught.value)
    assert "'Reln'" in str(caught.value)


def test_a_single_slice() -> None:
    slices = tiny_pair()[:1]
    assert with_matched_genes(slices) == (slices, [])
    assert isinstance(slices[0][1], AnnData)
