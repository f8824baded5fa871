"""Every kind through the functions that the shell, the docks and napari call."""

from __future__ import annotations

import made_formats as made
import numpy as np
import pytest
from fakes import fake_slice
from typer.testing import CliRunner

from napari_staligner import _keys as K
from napari_staligner._errors import InputError
from napari_staligner.cli.app import app
from napari_staligner.core.prepare.counts import with_counts_layer
from napari_staligner.core.prepare.notes import notes_of
from napari_staligner.core.result.provenance import source_of
from napari_staligner.core.result.source import Source
from napari_staligner.io.h5ad import read_any, read_slices, read_source
from napari_staligner.io.session_file import open_file
from napari_staligner.io.sources import check_unchanged
from napari_staligner.layers.reader import get_reader

MAKERS = {
    "visium": made.make_visium,
    "visium_hd": made.make_visium_hd,
    "xenium": made.make_xenium,
    "merscope": made.make_merscope,
    "cosmx": made.make_cosmx,
    "slideseq": made.make_slideseq,
    "st": made.make_st,
    "mtx": made.make_geo,
    "A.gem.gz": made.make_gem,
    "A.gef": made.make_gef,
    "A.cellbin.gef": made.make_cell_gef,
    "A.zarr": made.make_store,
}


@pytest.mark.parametrize("kind", MAKERS)
def test_what_was_read_can_be_read_again_by_what_it_says_of_itself(tmp_path, kind):
    path = MAKERS[kind](tmp_path / kind)
    ((name, adata),) = read_slices([path])
    source = source_of(adata)
    assert source.path == str(path.resolve())
    check_unchanged(name, source)
    again = read_source(Source.from_spec(source.spec()))
    np.testing.assert_array_equal(again.X.toarray(), adata.X.toarray())
    np.testing.assert_allclose(again.obsm[K.SPATIAL], adata.obsm[K.SPATIAL])
    assert read_any(path)[0] == "slices"
    assert open_file(path).slices[0][0] == name
    assert notes_of(name, adata)[0].startswith(f"Slice {name!r}: ")


def test_defaults_are_written_down(tmp_path):
    for path, spec in (
        (made.make_visium_hd(tmp_path / "outs"), "[bin=008um]"),
        (made.make_gem(tmp_path / "A.gem"), "[bin=50]"),
        (made.make_cell_gef(tmp_path / "A.cellbin.gef"), "[bin=cell]"),
    ):
        ((_, adata),) = read_slices([path])
        assert source_of(adata).part() == spec


def test_only_what_is_read_counts_as_a_change(tmp_path):
    outs = made.make_visium_hd(tmp_path / "outs")
    ((name, adata),) = read_slices([f"{outs}[bin=016um]"])
    (outs / "possorted_genome_bam.bam").write_bytes(b"much")
    made.put_image(outs / "binned_outputs/square_008um/spatial/tissue_hires_image.png", (5, 5))
    check_unchanged(name, source_of(adata))
    made.put_image(outs / "binned_outputs/square_016um/spatial/tissue_hires_image.png", (5, 5))
    with pytest.raises(InputError, match="has changed since"):
        check_unchanged(name, source_of(adata))


def test_spots_on_the_tissue_alone(tmp_path):
    made.make_visium(tmp_path / "liver")
    table = made.positions().assign(in_tissue=[0, 0, *[1] * 10])
    made.put_spatial(tmp_path / "liver" / "spatial", table, made.FACTORS)
    ((name, adata),) = read_slices([f"{tmp_path / 'liver'}[in_tissue=1]"])
    assert (name, adata.n_obs) == ("liver", 10)
    assert read_source(source_of(adata)).n_obs == 10
    with pytest.raises(InputError, match=r"no spots whose obs\['in_tissue'\] is '2': .* 0, 1"):
        read_slices([f"{tmp_path / 'liver'}[in_tissue=2]"])


def test_one_of_several_regions_by_its_name(tmp_path):
    store = made.make_store(tmp_path / "A.zarr", regions=("liver", "lung"))
    assert [name for name, _ in read_slices([store])] == ["liver", "lung"]
    ((name, adata),) = read_slices([f"{store}[lung,system=aligned]"])
    assert name == "lung"
    assert read_source(source_of(adata)).obsm[K.SPATIAL][0, 0] == adata.obsm[K.SPATIAL][0, 0]


def test_a_column_called_as_a_choice_of_another_format(tmp_path):
    adata = fake_slice(20)
    adata.obs["bin"] = ["a"] * 5 + ["b"] * 15
    adata.write_h5ad(tmp_path / "A.h5ad")
    ((name, part),) = read_slices([f"{tmp_path / 'A.h5ad'}[bin=b]"])
    assert (name, part.n_obs) == ("b", 15)


def test_the_counts_of_a_file_are_left_on_disk(tmp_path):
    adata = fake_slice(20)
    adata.layers["raw_counts"] = adata.X * 3
    adata.write_h5ad(tmp_path / "A.h5ad")
    ((_, read),) = read_slices([f"{tmp_path / 'A.h5ad'}[counts=raw_counts]"], backed=True)
    assert hasattr(read.X, "compute")
    assert hasattr(read.layers["raw_counts"], "compute")
    assert with_counts_layer("A", read, None)[1] == "raw_counts"
    assert source_of(read).part() == "[counts=raw_counts]"


def test_info_says_what_was_taken_for_what(tmp_path):
    made.make_visium_hd(tmp_path / "gut")
    done = CliRunner().invoke(app, ["info", f"{tmp_path / 'gut'}[bin=16]"])
    assert done.exit_code == 0, done.output
    assert "Slice 'gut': Visium HD, bins of 16 µm, 6 spots × 5 genes" in done.output


@pytest.mark.parametrize("name", ["outs", "a.rds", "A.gem"])
def test_info_says_in_a_sentence_what_is_wrong(tmp_path, name):
    (tmp_path / "outs" / "spatial").mkdir(parents=True)
    (tmp_path / "outs" / "raw_feature_bc_matrix.h5").write_bytes(b"")
    (tmp_path / "a.rds").write_bytes(b"\x1f\x8b")
    (tmp_path / "A.gem").write_bytes(b"")
    done = CliRunner().invoke(app, ["info", str(tmp_path / name)])
    assert done.exit_code == 2
    assert str(tmp_path / name) in done.output
    assert "There is no file" not in done.output


def test_napari_reads_folders(tmp_path):
    path = str(made.make_visium(tmp_path / "liver"))
    with pytest.warns(UserWarning, match="'liver': Visium, 12 spots × 5 genes"):
        image, spots = get_reader(path)(path)
    assert (image[2], spots[2]) == ("image", "points")
    assert len(spots[0]) == 12
    assert get_reader(str(made.put_image(tmp_path / "x" / "a.png"))) is None
    assert get_reader(str(tmp_path / "x")) is None
