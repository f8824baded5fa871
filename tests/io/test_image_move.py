"""A tissue image that was moved alone: every picture and export shows it where it was moved to."""

from __future__ import annotations

import json

import numpy as np
import pytest
from fakes import fake_result
from tiny import tiny_slice

from napari_staligner._errors import InputError
from napari_staligner.core.annotations.annotations import Annotations
from napari_staligner.core.prepare.image_move import image_move, move_image, moved_images
from napari_staligner.core.progress import finish
from napari_staligner.core.registration.transforms import about, apply, shifted, turned
from napari_staligner.core.result.access import spots_xy
from napari_staligner.io.annotations.geojson import read_geojson, write_geojson
from napari_staligner.io.export.slices import slice_steps
from napari_staligner.io.export.spatialdata import store_steps
from napari_staligner.io.h5ad import read_slices, slices_of_result
from napari_staligner.io.images import image_matrix, shown_picture, tissue_image
from napari_staligner.io.slice_card import slice_card_job

FACTOR = 0.5
MIDDLE = np.array([120.0, 80.0])
TURNED = shifted(np.array([30.0, -12.0])) @ about(MIDDLE, turned(25, mirrored=True))
PLACE = np.array([60.0, 40.0])
"""Column and row of the disk."""
THERE = apply(TURNED, PLACE[None] / FACTOR)[0]
"""Where it belongs, in coordinates of the spots."""


def library(pixels):
    return {"images": {"hires": pixels}, "scalefactors": {"tissue_hires_scalef": FACTOR}}


def spot_image(at, shape=(120, 160)):
    """A white image with one black disk at (column, row)."""
    y, x = np.mgrid[: shape[0], : shape[1]]
    pixels = np.full((*shape, 3), 255, dtype=np.uint8)
    pixels[np.hypot(x - at[0], y - at[1]) < 4] = 0
    return pixels


def where(adata):
    """Where the disk is shown, in coordinates of the spots."""
    return apply(shown_picture(adata).matrix, PLACE[None])[0]


def dark_middle(pixels):
    """Middle (column, row) of what is dark."""
    rows, columns = np.nonzero(pixels[..., 0] < 128)
    return np.array([columns.mean(), rows.mean()])


@pytest.fixture
def slice_with_image():
    adata = tiny_slice()
    adata.uns["spatial"] = {"lib": library(spot_image(PLACE))}
    return adata


def test_moving_writes_one_matrix_and_changes_neither_spots_nor_pixels(slice_with_image):
    adata = slice_with_image
    before, images = adata.uns["spatial"], adata.uns["spatial"]["lib"]["images"]
    move_image(adata, TURNED)
    assert "metadata" not in before["lib"], "the dictionaries of others stay as they are"
    assert adata.uns["spatial"]["lib"]["images"] is images
    np.testing.assert_array_equal(moved_images(adata), TURNED)
    move_image(adata, np.eye(3))
    assert "image_moved" not in adata.uns["spatial"]["lib"]["metadata"]


def test_every_reader_shows_a_pixel_where_it_was_moved_to(slice_with_image):
    adata = slice_with_image
    move_image(adata, TURNED)
    np.testing.assert_allclose(where(adata), THERE)
    pixels, factor = tissue_image(adata)
    np.testing.assert_allclose(dark_middle(pixels) / factor, THERE, atol=0.5)
    place = image_matrix(adata.uns["spatial"]["lib"])
    np.testing.assert_allclose(apply(place, PLACE[None])[0], THERE)


def test_a_file_keeps_it_and_nonsense_in_a_file_counts_as_not_moved(slice_with_image, tmp_path):
    move_image(slice_with_image, TURNED)
    slice_with_image.write_h5ad(tmp_path / "a.h5ad")
    ((_, again),) = read_slices([tmp_path / "a.h5ad"])
    np.testing.assert_array_equal(moved_images(again), TURNED)
    for nonsense in ("far away", np.zeros((3, 3)), np.full((3, 3), np.nan), [1, 2]):
        np.testing.assert_array_equal(
            image_move({"metadata": {"image_moved": nonsense}}), np.eye(3)
        )


def test_what_cannot_be_moved_is_said_in_a_sentence(slice_with_image):
    with pytest.raises(InputError, match="no tissue image of its own"):
        move_image(tiny_slice(), TURNED)
    with pytest.raises(InputError, match="shape \\(3, 3\\)"):
        move_image(slice_with_image, np.zeros((3, 3)))


@pytest.fixture
def result():
    """Integrated slices whose first image was moved."""
    slices, adata = fake_result()
    name = slices[0][0]
    adata.uns["spatial"] = {name: library(spot_image(PLACE))}
    move_image(adata, TURNED, name)
    return name, adata


def test_exported_slices_and_stores_have_it_where_it_lies(result, tmp_path):
    name, adata = result
    finish(slice_steps(adata, tmp_path))
    ((_, own),) = read_slices([tmp_path / f"{name}.h5ad"])
    np.testing.assert_array_equal(moved_images(own), np.eye(3))
    (drawn,) = own.uns["spatial"].values()
    np.testing.assert_allclose(dark_middle(drawn["images"]["hires"]) / FACTOR, THERE, atol=0.5)

    finish(store_steps(adata, tmp_path / "all.zarr"))
    again = dict(slices_of_result(read_slices_of(tmp_path / "all.zarr")))[name]
    np.testing.assert_allclose(where(again), THERE)
    pixels, factor = tissue_image(again)
    np.testing.assert_allclose(dark_middle(pixels) / factor, THERE, atol=0.5)


def test_an_image_that_another_program_moved_in_a_store_is_taken_where_it_is(result, tmp_path):
    import spatialdata
    from spatialdata.transformations import Affine, Sequence, get_transformation, set_transformation

    name, adata = result
    finish(store_steps(adata, tmp_path / "all.zarr"))
    store = spatialdata.read_zarr(tmp_path / "all.zarr")
    image = store.images[f"{name}_image"]
    again = Affine(turned(90.0), input_axes=("x", "y"), output_axes=("x", "y"))
    both = Sequence([get_transformation(image, name), again])
    set_transformation(image, both, name)
    store.write(tmp_path / "moved.zarr")
    found = dict(slices_of_result(read_slices_of(tmp_path / "moved.zarr")))[name]
    there = apply(turned(90.0), THERE[None])[0]
    np.testing.assert_allclose(where(found), there, atol=1e-6)


def read_slices_of(path):
    from napari_staligner.io.session_file import open_file

    return open_file(path).result


def test_the_move_that_a_card_proposes_mends_it():
    pixels, adata = np.full((200, 260, 3), 235, dtype=np.uint8), tiny_slice(side=20)
    pixels[20:180, 30:110] = pixels[120:180, 30:230] = (170, 90, 160)
    x, y = np.meshgrid(np.linspace(32, 228, 20), np.linspace(22, 178, 20))
    on = pixels[y.astype(int), x.astype(int), 0] == 170
    adata = adata[on.ravel()].copy()
    adata.obsm["spatial"] = np.column_stack([x[on], y[on]]) / FACTOR
    adata.uns["spatial"] = {"A": library(np.rot90(pixels, 1).copy())}
    card = finish(slice_card_job("A", adata).steps())
    assert card.fit.better == "turned by 90° clockwise"
    move_image(adata, card.mend)
    card = finish(slice_card_job("A", adata).steps())
    assert card.fit.share > 0.97
    assert card.mend is None
    assert card.on_image == 1.0


def test_outlines_in_pixels_of_the_image_land_on_the_same_spots(result, tmp_path):
    name, adata = result
    written, read = Annotations(), Annotations()
    for each in (written, read):
        each.carry_to(adata.obs_names)
    rows = np.flatnonzero((adata.obs["slice"] == name).to_numpy())[:40]
    written.use_template("Olfactory bulb")
    written.assign(rows, "GL", "lasso", [])
    write_geojson(adata, written, tmp_path / "a.geojson", slices=[name], coordinates="image")
    (feature,) = json.loads((tmp_path / "a.geojson").read_text())["features"]
    corners = np.array(feature["geometry"]["coordinates"][0])
    place = image_matrix(adata.uns["spatial"][name])
    assert inside_box(apply(place, corners), spots_xy(adata)[rows], margin=10)
    read_geojson(adata, read, tmp_path / "a.geojson")
    np.testing.assert_array_equal(read.codes() >= 0, written.codes() >= 0)


def inside_box(points, spots, margin):
    """Whether points lie no farther than a margin from the box of spots."""
    low, high = spots.min(axis=0) - margin, spots.max(axis=0) + margin
    return bool(((points >= low) & (points <= high)).all())
