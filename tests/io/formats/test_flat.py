"""MERSCOPE, CosMx, Slide-seq, Spatial Transcriptomics and matrices of GEO."""

from __future__ import annotations

import made_formats as made
import numpy as np
import pytest

from napari_staligner import _keys as K
from napari_staligner.core.annotations.regions import microns_per_unit
from napari_staligner.core.prepare.notes import notes_of
from napari_staligner.io.formats import tables
from napari_staligner.io.formats.read import read_found
from napari_staligner.io.formats.sniff import sniff


def read_one(path, **chosen):
    ((_, adata),) = read_found(sniff(path), chosen)
    return adata


def test_merscope(tmp_path):
    adata = read_one(made.make_merscope(tmp_path))
    np.testing.assert_array_equal(adata.X.toarray(), made.counts()[:, :4])
    xy = np.random.default_rng(1).uniform(0, 500, (12, 2))
    np.testing.assert_allclose(adata.obsm[K.SPATIAL], xy)
    assert adata.obs_names[3] == "100000000000000003"  # more digits than a float has
    assert microns_per_unit(adata, adata.uns[K.SPATIAL])[0] == 1
    assert "1 probes that are controls are left out ('Blank-1'" in notes_of("A", adata)[1]


@pytest.mark.parametrize("own", [True, False])
def test_cosmx_lies_in_the_coordinates_that_all_views_share(tmp_path, own):
    adata = read_one(made.make_cosmx(tmp_path, own_places=own))
    assert adata.shape == (10, 4)
    assert list(adata.obs_names[:2]) == ["1_1", "1_2"]
    x = [1000 * view + 10 * cell for view in (1, 2) for cell in range(1, 6)]
    np.testing.assert_allclose(adata.obsm[K.SPATIAL], np.column_stack([x, [2005] * 10]))
    assert microns_per_unit(adata, adata.uns[K.SPATIAL])[0] == pytest.approx(0.12)
    said = " ".join(notes_of("A", adata))
    assert "2 rows of counts outside cells are left out" in said
    assert "('NegPrb1' is the first)" in said


@pytest.mark.parametrize("rows", [True, False])
def test_beads_may_be_rows_or_columns(tmp_path, rows):
    adata = read_one(made.make_slideseq(tmp_path, beads_are_rows=rows))
    np.testing.assert_array_equal(adata.X.toarray(), made.counts())
    assert list(adata.var_names) == list(made.GENES)


def test_spatial_transcriptomics_with_and_without_pixels(tmp_path):
    adata = read_one(made.make_st(tmp_path / "a"))
    np.testing.assert_allclose(adata.obsm[K.SPATIAL][5], [11 * 290.5, 11 * 291.5])
    assert "1 of 12 spots lie off the tissue (obs['selected'] is 0)" in notes_of("A", adata)[1]
    adata = read_one(made.make_st(tmp_path / "b", aligned=False))
    np.testing.assert_allclose(adata.obsm[K.SPATIAL][5], [11, 11])
    np.testing.assert_array_equal(adata.X.toarray(), made.counts())


def test_a_heading_of_r_without_a_place_for_names(tmp_path):
    made.make_st(tmp_path, aligned=False)
    path = tmp_path / "MOB1.tsv"
    path.write_text(path.read_text().removeprefix("\t"))
    adata = read_one(path)
    np.testing.assert_array_equal(adata.X.toarray(), made.counts())


def test_geo(tmp_path):
    adata = read_one(made.make_geo(tmp_path / "a"))
    np.testing.assert_allclose(adata.obsm[K.SPATIAL][:, 0], np.arange(12) * 3)
    assert "positions by 'x' and 'y' of 'GSM1_coordinates.csv.gz'" in notes_of("A", adata)[0]
    several = sniff(made.make_geo(tmp_path / "b", samples=("GSM1_", "GSM2_")))
    assert [name for name, _ in read_found(several)] == ["GSM1", "GSM2"]
    assert read_one(tmp_path / "b", sample="GSM2").obsm[K.SPATIAL][0, 1] == 8


def test_counts_without_positions_have_no_coordinates(tmp_path):
    adata = read_one(made.make_geo(tmp_path, places=False))
    assert K.SPATIAL not in adata.obsm
    assert "they have no coordinates" in notes_of("A", adata)[0]


def test_wide_tables_are_read_piece_by_piece(tmp_path, monkeypatch):
    monkeypatch.setattr(tables, "CELLS", 15)
    adata = read_one(made.make_merscope(tmp_path))
    np.testing.assert_array_equal(adata.X.toarray(), made.counts()[:, :4])
