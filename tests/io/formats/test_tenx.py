"""Visium, Visium HD and Xenium."""

from __future__ import annotations

import gzip

import made_formats as made
import numpy as np
import pytest

from napari_staligner import _keys as K
from napari_staligner._errors import InputError
from napari_staligner.core.annotations.regions import microns_per_unit
from napari_staligner.core.prepare.notes import notes_of
from napari_staligner.io.formats.read import read_found
from napari_staligner.io.formats.sniff import sniff
from napari_staligner.io.images import tissue_image


def read_one(path, **chosen):
    ((name, adata),) = read_found(sniff(path), chosen)
    return name, adata


@pytest.mark.parametrize("version", [1, 2, 3])
@pytest.mark.parametrize("mtx", [False, True])
def test_visium_of_every_version(tmp_path, version, mtx):
    name, adata = read_one(made.make_visium(tmp_path / "liver" / "outs", version=version, mtx=mtx))
    assert name == "liver"
    assert list(adata.var_names) == list(made.GENES)
    assert list(adata.obs_names) == made.barcodes()
    np.testing.assert_array_equal(adata.X.toarray(), made.counts())
    table = made.positions()
    xy = table[["pxl_col_in_fullres", "pxl_row_in_fullres"]].to_numpy()
    np.testing.assert_allclose(adata.obsm[K.SPATIAL], xy)
    pixels, factor = tissue_image(adata)
    assert (pixels.shape, pixels.dtype, factor) == ((90, 110, 3), np.uint8, 0.15)
    assert microns_per_unit(adata, adata.uns[K.SPATIAL])[0] == pytest.approx(1 / made.PIXELS_PER_UM)
    assert notes_of("liver", adata) == [
        "Slice 'liver': Visium, 12 spots × 5 genes, image: hires, lowres."
    ]


def test_spots_are_matched_by_name_not_by_place(tmp_path):
    made.make_visium(tmp_path)
    table = made.positions()[::-1].reset_index(drop=True)
    made.put_spatial(tmp_path / "spatial", table, made.FACTORS)
    _, adata = read_one(tmp_path)
    expected = made.positions()[["pxl_col_in_fullres", "pxl_row_in_fullres"]].to_numpy()
    np.testing.assert_allclose(adata.obsm[K.SPATIAL], expected)


def test_what_does_not_match_is_counted(tmp_path):
    made.make_visium(tmp_path / "a")
    table = made.positions().assign(in_tissue=[0, 0, *[1] * 10])[:9]
    made.put_spatial(tmp_path / "a" / "spatial", table, made.FACTORS)
    matrix = made.counts()
    matrix[4] = 0
    made.write_10x_h5(tmp_path / "a" / "filtered_feature_bc_matrix.h5", made.barcodes(), matrix)
    _, adata = read_one(tmp_path)
    assert adata.n_obs == 9
    said = " ".join(notes_of("liver", adata))
    assert "3 of 12 spots in 'filtered_feature_bc_matrix.h5' have no position" in said
    assert "2 of 9 spots lie off the tissue" in said
    assert "1 of 9 spots have no counts" in said


def test_the_number_of_the_well_may_be_missing(tmp_path):
    made.make_visium(tmp_path)
    bare = [name.removesuffix("-1") for name in made.barcodes()]
    made.write_10x_h5(tmp_path / "filtered_feature_bc_matrix.h5", bare, made.counts())
    _, adata = read_one(tmp_path)
    assert list(adata.obs_names) == bare
    assert any("without the '-1'" in each for each in notes_of("liver", adata))


def test_the_raw_counts_are_taken_where_there_are_no_others(tmp_path):
    made.make_visium(tmp_path)
    (tmp_path / "filtered_feature_bc_matrix.h5").rename(tmp_path / "raw_feature_bc_matrix.h5")
    _, adata = read_one(tmp_path)
    assert any("counts are the raw ones" in each for each in notes_of("liver", adata))


def test_files_as_geo_lists_them(tmp_path):
    for sample in ("GSM1_liver_", "GSM2_lung_"):
        made.make_visium(tmp_path / "x")
        for path in (*(tmp_path / "x").iterdir(), *(tmp_path / "x" / "spatial").iterdir()):
            if path.is_file():
                data = path.read_bytes()
                end = "" if path.suffix == ".h5" else ".gz"
                target = tmp_path / "geo" / f"{sample}{path.name}{end}"
                target.parent.mkdir(exist_ok=True)
                target.write_bytes(gzip.compress(data) if end else data)
    found = sniff(tmp_path / "geo")
    assert found.choices == {"sample": ("GSM1_liver", "GSM2_lung")}
    assert [name for name, _ in read_found(found)] == ["GSM1_liver", "GSM2_lung"]
    name, adata = read_one(tmp_path / "geo", sample="GSM2_lung")
    assert (name, adata.shape) == ("GSM2_lung", (12, 5))
    assert tissue_image(adata) is not None
    with pytest.raises(InputError, match="no sample 'x': choose one of GSM1_liver, GSM2_lung"):
        read_one(tmp_path / "geo", sample="x")


@pytest.mark.parametrize(
    ("asked", "n"), [(None, 12), ("008um", 12), ("16", 6), ("16um", 6), ("square_002um", 24)]
)
def test_bins_of_visium_hd(tmp_path, asked, n):
    made.make_visium_hd(tmp_path / "gut" / "outs")
    chosen = {} if asked is None else {"bin": asked}
    name, adata = read_one(tmp_path / "gut", **chosen)
    assert (name, adata.n_obs) == ("gut", n)
    assert microns_per_unit(adata, adata.uns[K.SPATIAL])[0] == 0.25
    by_default = "by default (there is also [bin=002um], [bin=016um])"
    assert (by_default in notes_of("liver", adata)[0]) == (asked is None)


def test_a_size_of_bins_that_is_not_there(tmp_path):
    made.make_visium_hd(tmp_path, (2, 16))
    assert read_one(tmp_path)[1].n_obs == 6
    with pytest.raises(InputError, match="no bins of '8': choose one of 002um, 016um"):
        read_one(tmp_path, bin="8")


@pytest.mark.parametrize("parquet", [True, False])
def test_xenium(tmp_path, parquet):
    name, adata = read_one(made.make_xenium(tmp_path / "breast", parquet=parquet))
    assert (name, adata.shape) == ("breast", (12, 4))
    np.testing.assert_array_equal(adata.X.toarray(), made.counts()[:, :4])
    assert microns_per_unit(adata, adata.uns[K.SPATIAL])[0] == 1
    (library,) = adata.uns[K.SPATIAL].values()
    assert library["metadata"]["source_image_path"].endswith("morphology.ome.tif")
    assert "1 features that are no genes are left out" in notes_of("liver", adata)[1]


def test_a_slice_can_be_written_and_read_again(tmp_path):
    from anndata import read_h5ad

    _, adata = read_one(made.make_visium(tmp_path / "a"))
    adata.write_h5ad(tmp_path / "a.h5ad")
    again = read_h5ad(tmp_path / "a.h5ad")
    assert notes_of("liver", again) == notes_of("liver", adata)
    assert tissue_image(again)[0].shape == (90, 110, 3)
