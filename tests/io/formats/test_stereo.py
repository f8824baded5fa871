"""Stereo-seq."""

from __future__ import annotations

import made_formats as made
import numpy as np
import pandas as pd
import pytest

from napari_staligner import _keys as K
from napari_staligner._errors import InputError
from napari_staligner.core.annotations.regions import microns_per_unit
from napari_staligner.core.prepare.notes import notes_of
from napari_staligner.io.formats import stereo
from napari_staligner.io.formats.read import read_found
from napari_staligner.io.formats.sniff import sniff


def read_one(path, **chosen):
    ((name, adata),) = read_found(sniff(path), chosen)
    return name, adata


def expected(size: int) -> pd.DataFrame:
    """Counts by the place of the bin and gene."""
    table = made.molecules()
    table["x"], table["y"] = table["x"] // size, table["y"] // size
    return table.pivot_table(
        index=["y", "x"], columns="geneID", values="MIDCount", aggfunc="sum", fill_value=0
    )


def check_bins(adata, size):
    wanted = expected(size)
    got = pd.DataFrame(adata.X.toarray(), columns=adata.var_names)[list(wanted.columns)]
    np.testing.assert_array_equal(got.to_numpy(), wanted.to_numpy())
    y, x = np.array(wanted.index.to_list()).T
    np.testing.assert_allclose(adata.obsm[K.SPATIAL], np.column_stack([x + 0.5, y + 0.5]) * size)
    assert microns_per_unit(adata, adata.uns[K.SPATIAL])[0] == 0.5


@pytest.mark.parametrize("name", ["A.gem", "A.gem.gz", "A.gef"])
@pytest.mark.parametrize("size", [None, 20, 50])
def test_square_bins(tmp_path, monkeypatch, name, size):
    monkeypatch.setattr(stereo, "ROWS", 70)  # several pieces
    path = (made.make_gef if name == "A.gef" else made.make_gem)(tmp_path / name)
    got, adata = read_one(path, **({} if size is None else {"bin": str(size)}))
    assert got == "A"
    check_bins(adata, size or 50)
    assert ("by default" in notes_of("A", adata)[0]) == (size is None)
    assert f"bins of {size or 50} × {size or 50} spots of the chip" in notes_of("A", adata)[0]


def test_bins_of_a_gef_are_made_of_finer_ones(tmp_path):
    path = made.make_gef(tmp_path / "A.gef", bins=(20, 50))
    check_bins(read_one(path, bin="100")[1], 100)
    with pytest.raises(InputError, match=r"it holds bins of 20, 50; choose a multiple"):
        read_one(path, bin="30")


def test_cells_of_a_gem(tmp_path, monkeypatch):
    monkeypatch.setattr(stereo, "ROWS", 70)
    _, adata = read_one(made.make_gem(tmp_path / "A.gem.gz"), bin="cell")
    table = made.molecules()
    inside = table[table["CellID"] > 0]
    assert list(adata.obs_names) == ["7", "9"]
    np.testing.assert_allclose(adata.obsm[K.SPATIAL], inside.groupby("CellID")[["x", "y"]].mean())
    assert adata.X.sum() == inside["MIDCount"].sum()
    outside = table["MIDCount"].sum() - inside["MIDCount"].sum()
    assert f"{outside:,} molecules outside cells are left out" in notes_of("A", adata)[1]


def test_cells_of_a_gef(tmp_path):
    name, adata = read_one(made.make_cell_gef(tmp_path / "A.cellbin.gef"))
    assert (name, list(adata.obs_names)) == ("A", ["5", "6", "7"])
    np.testing.assert_array_equal(adata.X.toarray(), made.counts(3))
    np.testing.assert_allclose(adata.obsm[K.SPATIAL], [[0, 7], [10, 7], [20, 7]])


def test_names_of_genes_are_taken_over_their_numbers(tmp_path):
    table = made.molecules().rename(columns={"geneID": "geneName"})
    table.insert(0, "geneID", "E" + table["geneName"])
    _, adata = read_one(made.make_gem(tmp_path / "A.gem", table))
    assert set(adata.var_names) == set(made.GENES)
    assert list(adata.var["gene_ids"]) == [f"E{name}" for name in adata.var_names]


def test_of_a_folder_the_file_of_the_tissue_is_meant(tmp_path):
    for name in ("A.gef", "A.tissue.gef", "A.raw.gef"):
        made.make_gef(tmp_path / name)
    assert sniff(tmp_path).path.name == "A.tissue.gef"
    (tmp_path / "A.tissue.gef").unlink()
    with pytest.raises(InputError, match="several samples"):
        sniff(tmp_path)


@pytest.mark.parametrize("asked", ["0", "-5", "x", "1.5", "20000"])
def test_sizes_that_are_none(tmp_path, asked):
    with pytest.raises(InputError, match="choose a number of spots of the chip"):
        read_one(made.make_gem(tmp_path / "A.gem"), bin=asked)
