"""Images of any size: opened as pyramids, in their channels, and only if they are of the sample."""

from __future__ import annotations

import json

import made_formats as made
import numpy as np
import pytest
import tifffile

from napari_staligner import _keys as K
from napari_staligner._errors import InputError
from napari_staligner.core.prepare.notes import notes_of
from napari_staligner.io import scans
from napari_staligner.io.formats.read import read_found
from napari_staligner.io.formats.sniff import sniff
from napari_staligner.io.images import shown_picture, tissue_image
from napari_staligner.io.scans import open_scan

RGB = np.random.default_rng(0).integers(0, 255, (64, 96, 3), dtype=np.uint8)
STAINS = np.random.default_rng(1).integers(0, 3000, (3, 64, 96), dtype=np.uint16)
NAMES = ["DAPI", "18S", "Vimentin"]


@pytest.fixture
def small_overviews(monkeypatch):
    monkeypatch.setattr(scans, "OVERVIEW", 32)


def write(path, pixels, **options):
    tifffile.imwrite(path, pixels, **options)
    return path


TIFFS = {
    "plain": {"photometric": "rgb"},
    "strips": {"photometric": "rgb", "compression": "zlib", "rowsperstrip": 7},
    "tiles": {"photometric": "rgb", "compression": "lzw", "tile": (16, 32)},
    "big": {"photometric": "rgb", "bigtiff": True, "tile": (16, 16)},
    "planes": {"photometric": "rgb", "planarconfig": "separate"},
}


@pytest.mark.parametrize("options", TIFFS.values(), ids=TIFFS)
def test_colours_of_a_tiff_as_a_pyramid(tmp_path, small_overviews, options):
    first = "S" if "planarconfig" in options else ""
    pixels = np.moveaxis(RGB, 2, 0) if first else RGB
    scan = open_scan(write(tmp_path / "a.tif", pixels, **options))
    assert [level.shape for level in scan.levels] == [(64, 96, 3), (32, 48, 3), (16, 24, 3)]
    np.testing.assert_array_equal(scan.levels[0].compute(), RGB)
    mean = RGB.reshape(32, 2, 48, 2, 3).mean(axis=(1, 3))
    assert abs(scan.levels[1].compute().astype(float) - mean).max() <= 1
    assert scan.overview.shape == (16, 24, 3)
    assert scan.channels == ()


@pytest.mark.parametrize("depth", ["uint16", "float32"])
def test_colours_of_other_depths(tmp_path, depth):
    pixels = RGB.astype("uint16") * 257 if depth == "uint16" else (RGB / 255).astype(depth)
    scan = open_scan(write(tmp_path / "a.tif", pixels, photometric="rgb"))
    np.testing.assert_array_equal(scan.overview, RGB)


def write_ome(path, planes, names, **options):
    with tifffile.TiffWriter(path) as file:
        tell = {"axes": "CYX", "Channel": {"Name": names}}
        file.write(planes, subifds=1, tile=(32, 32), metadata=tell, **options)
        file.write(planes[:, ::2, ::2], subfiletype=1, tile=(32, 32), **options)
    return path


def test_channels_of_an_ome_tiff_with_its_own_levels(tmp_path, small_overviews):
    path = write_ome(tmp_path / "a.ome.tif", STAINS, NAMES, photometric="minisblack")
    scan = open_scan(path)
    assert scan.channels == tuple(NAMES)
    assert [level.shape for level in scan.levels] == [(3, 64, 96), (3, 32, 48), (3, 16, 24)]
    np.testing.assert_array_equal(scan.levels[1].compute(), STAINS[:, ::2, ::2])
    assert scans.channel_colors(scan.channels) == ["blue", "green", "magenta"]


OTHERS = {
    "one grey": (STAINS[0], {}, ("channel 1",), (1, 64, 96)),
    "a volume": (STAINS, {"metadata": {"axes": "ZYX"}, "ome": True}, ("channel 1",), (1, 64, 96)),
    "two unnamed": (
        STAINS[:2],
        {"metadata": {"axes": "CYX"}, "ome": True, "photometric": "minisblack"},
        ("channel 1", "channel 2"),
        (2, 64, 96),
    ),
}


@pytest.mark.parametrize(("pixels", "options", "names", "shape"), OTHERS.values(), ids=OTHERS)
def test_what_else_a_tiff_holds(tmp_path, pixels, options, names, shape):
    scan = open_scan(write(tmp_path / "a.tif", pixels, **options))
    assert scan.channels == names
    assert scan.levels[0].shape == shape


@pytest.mark.parametrize("content", [b"", b"II*\0", b"no image at all"])
def test_what_is_no_image_is_said(tmp_path, content):
    (tmp_path / "a.tif").write_bytes(content)
    with pytest.raises(InputError, match=r"a\.tif"):
        open_scan(tmp_path / "a.tif")


def test_a_file_that_was_changed_is_opened_again(tmp_path):
    path = write(tmp_path / "a.tif", RGB, photometric="rgb")
    assert open_scan(path) is open_scan(path)
    write(path, RGB[:40], photometric="rgb")
    assert open_scan(path).size == (40, 96)


# -- in the folders of instruments ----------------------------------------------------------------


def read_one(folder):
    ((name, adata),) = read_found(sniff(folder))
    return adata, notes_of(name, adata)


def test_the_scan_of_visium_lies_under_its_spots(tmp_path):
    made.make_visium(tmp_path / "A")
    # The small image has 90 × 110 pixels at 0.15 pixels per coordinate.
    write(tmp_path / "A" / "slide.tif", np.zeros((600, 733, 3), np.uint8), photometric="rgb")
    adata, notes = read_one(tmp_path / "A")
    assert "'slide.tif' is shown from the disk: 733 × 600 pixels, in colours" in notes[-1]
    picture = shown_picture(adata)
    np.testing.assert_array_equal(picture.matrix, np.eye(3))
    assert [level.shape[:2] for level in picture.scan.levels] == [(600, 733), (90, 110)]
    # What was read is the small one.
    np.testing.assert_array_equal(picture.scan.overview, tissue_image(adata)[0])


def test_the_scan_of_another_slide_is_not_shown(tmp_path):
    made.make_visium(tmp_path / "A")
    write(tmp_path / "A" / "slide.tif", np.zeros((500, 733, 3), np.uint8), photometric="rgb")
    adata, notes = read_one(tmp_path / "A")
    assert "it has 733 × 500 pixels, where the image hires tells of 733 × 600" in notes[-1]
    assert shown_picture(adata).scan.size == (90, 110)


def test_a_scan_that_is_gone_leaves_the_small_image(tmp_path):
    made.make_visium(tmp_path / "A")
    scan = write(tmp_path / "A" / "s.tif", np.zeros((600, 733, 3), np.uint8), photometric="rgb")
    adata, _ = read_one(tmp_path / "A")
    scan.unlink()
    assert shown_picture(adata).scan.size == (90, 110)


def test_the_stains_of_xenium_in_micrometres(tmp_path):
    made.make_xenium(tmp_path / "A")
    told = {"pixel_size": 0.5, "images": {"morphology_focus_filepath": "focus.ome.tif"}}
    (tmp_path / "A" / "experiment.xenium").write_text(json.dumps(told))
    planes = np.random.default_rng(0).integers(0, 900, (2, 1000, 1000), dtype=np.uint16)
    write_ome(tmp_path / "A" / "focus.ome.tif", planes, NAMES[:2], photometric="minisblack")
    adata, notes = read_one(tmp_path / "A")
    assert "1,000 × 1,000 pixels, channels DAPI, 18S" in notes[-1]
    picture = shown_picture(adata)
    np.testing.assert_allclose(picture.matrix, np.diag([0.5, 0.5, 1]))
    pixels, factor = tissue_image(adata)
    # Of the coarsest level, which the file itself holds.
    assert (pixels.shape, factor) == ((500, 500, 3), 1)
    # It goes into a file and comes back.
    adata.write_h5ad(tmp_path / "A.h5ad")
    from napari_staligner import read_slices

    ((_, again),) = read_slices([tmp_path / "A.h5ad"])
    assert shown_picture(again).scan.channels == ("DAPI", "18S")


def test_the_stains_of_merscope_lie_where_its_transform_says(tmp_path):
    made.make_merscope(tmp_path / "A")
    images = tmp_path / "A" / "images"
    images.mkdir()
    (images / "micron_to_mosaic_pixel_transform.csv").write_text("2 0 100\n0 2 60\n0 0 1\n")
    for stain in ("DAPI", "PolyT"):
        for plane in (0, 1, 2):
            write(images / f"mosaic_{stain}_z{plane}.tif", np.full((1200, 1200), plane, "uint16"))
    adata, notes = read_one(tmp_path / "A")
    assert "'mosaic_DAPI_z1.tif' is shown from the disk" in notes[-1]
    picture = shown_picture(adata)
    assert picture.scan.channels == ("DAPI", "PolyT")
    assert (picture.scan.overview == 1).all()
    np.testing.assert_allclose(picture.matrix @ (100, 60, 1), (0, 0, 1))
    library = adata.uns[K.SPATIAL]["A"]
    assert library["metadata"]["source_image_path"].endswith("mosaic_DAPI_z1.tif")
    assert tissue_image(adata) is not None
